//! A mail, received or sent, and whether a machine wrote it.

use rapport_proto::v1::interaction::Data;
use serde_json::Value;

use super::replies::is_human;

/// What the two types of mail have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mail<'a> {
    pub(crate) is_sent: bool,
    pub(crate) message_id: Option<&'a str>,
    pub(crate) from: Option<&'a str>,
    pub(crate) title: Option<&'a str>,
    pub(crate) in_reply_to: Option<&'a str>,
    pub(crate) references: &'a [String],
    pub(crate) case_id: Option<&'a str>,
    /// Microseconds UTC, as its `Date` says.
    pub(crate) sent_at: Option<i64>,
    auto: Option<bool>,
    extra_json: &'a [u8],
}

/// The two bodies have the same fields and no type in common.
macro_rules! mail {
    ($body:expr, $is_sent:expr) => {
        Mail {
            is_sent: $is_sent,
            message_id: $body.message_id.as_deref(),
            from: $body.from.as_deref(),
            title: $body.subject.as_deref(),
            in_reply_to: $body.in_reply_to.as_deref(),
            references: &$body.references,
            case_id: $body.case_id.as_deref(),
            sent_at: $body.sent_at,
            auto: $body.auto,
            extra_json: &$body.extra_json,
        }
    };
}

impl<'a> Mail<'a> {
    /// The mail that this body is, if it is one.
    pub(crate) fn of(data: &'a Data) -> Option<Self> {
        match data {
            Data::EmailMessageReceived(body) => Some(mail!(body, false)),
            Data::EmailMessageSent(body) => Some(mail!(body, true)),
            _ => None,
        }
    }

    /// Whether a machine wrote it: as `auto` states; where nobody states it, as the mail shows by its headers (RFC 3834
    /// and those that mail programs used before it), by whom it is from, or by how its title begins. Sender and title are
    /// guesses, and do not count against an `actor` that is a person: people answer from `noreply` addresses too.
    pub(crate) fn is_automatic(&self, actor: Option<&str>) -> bool {
        let looks_automatic =
            || is_from_machine(self.from.unwrap_or_default()) || has_automatic_title(self.title.unwrap_or_default());
        self.auto.unwrap_or_else(|| {
            has_automatic_header(self.extra_json) || (!actor.is_some_and(is_human) && looks_automatic())
        })
    }
}

/// Local parts of addresses that nobody writes from by hand.
const MACHINES: &[&str] = &[
    "mailer-daemon",
    "postmaster",
    "no-reply",
    "noreply",
    "no_reply",
    "do-not-reply",
    "donotreply",
    "do_not_reply",
    "auto-reply",
    "autoreply",
];

/// How mail programs begin the titles of absence notices, acknowledgements and returned mail, in lower case.
const TITLES: &[&str] = &[
    "automatic reply:",
    "auto reply:",
    "auto-reply:",
    "autoreply:",
    "auto response:",
    "auto-response:",
    "out of office:",
    "out of office autoreply:",
    "out of the office:",
    "automatische antwort:",
    "abwesenheitsnotiz:",
    "réponse automatique",
    "respuesta automática:",
    "risposta automatica:",
    "automatisch antwoord:",
    "autosvar:",
    "undeliverable:",
    "undelivered mail returned to sender",
    "delivery status notification",
    "mail delivery failed",
    "returned mail:",
];

/// `Name <local@domain>` or `local@domain`; a tag after `+` belongs to nobody.
fn is_from_machine(from: &str) -> bool {
    let address = from.rsplit_once('<').map_or(from, |(_, rest)| rest);
    let local = address.split(['@', '+', '>']).next().unwrap_or_default().trim().to_lowercase();
    MACHINES.contains(&local.as_str())
}

fn has_automatic_title(title: &str) -> bool {
    let title = title.trim_start().to_lowercase();
    TITLES.iter().any(|begin| title.starts_with(begin))
}

/// Headers stand among the fields that the catalogue does not know: under `headers` (an object, or a list of pairs or of
/// objects with `name` and `value`), or each by itself (`auto_submitted`).
fn has_automatic_header(extra_json: &[u8]) -> bool {
    if extra_json.is_empty() {
        return false;
    }
    let Ok(Value::Object(extra)) = serde_json::from_slice(extra_json) else { return false };
    let listed = match extra.get("headers") {
        Some(Value::Object(headers)) => headers.iter().any(|(name, value)| says_automatic(name, value)),
        Some(Value::Array(headers)) => headers.iter().any(|header| match header {
            Value::Array(pair) => {
                matches!(pair.as_slice(), [Value::String(name), value] if says_automatic(name, value))
            }
            Value::Object(header) => {
                let name = header.get("name").and_then(Value::as_str).unwrap_or_default();
                header.get("value").is_some_and(|value| says_automatic(name, value))
            }
            _ => false,
        }),
        _ => false,
    };
    listed || extra.iter().any(|(name, value)| says_automatic(name, value))
}

fn says_automatic(name: &str, value: &Value) -> bool {
    let value = match value {
        Value::String(text) => text.trim().to_lowercase(),
        Value::Array(values) => return values.iter().any(|value| says_automatic(name, value)),
        _ => return false,
    };
    // `auto-replied; owner-email=...`: what follows a blank or a semicolon is detail.
    let word = value.split([';', ' ', '\t']).next().unwrap_or_default();
    match name.to_lowercase().replace('_', "-").as_str() {
        "auto-submitted" => !matches!(word, "" | "no"),
        "x-autoreply" | "x-autorespond" | "x-autoresponder" | "x-auto-reply" => !matches!(word, "" | "no" | "false"),
        "precedence" | "x-precedence" => matches!(word, "auto_reply" | "auto-reply"),
        "return-path" => value == "<>",
        "x-failed-recipients" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rapport_proto::v1::EmailMessageReceived;
    use serde_json::json;

    use super::*;

    fn automatic(auto: Option<bool>, from: &str, title: &str, extra: &Value) -> bool {
        automatic_by(None, auto, from, title, extra)
    }

    fn automatic_by(actor: Option<&str>, auto: Option<bool>, from: &str, title: &str, extra: &Value) -> bool {
        let body = EmailMessageReceived {
            auto,
            from: Some(from.into()),
            subject: Some(title.into()),
            extra_json: extra.to_string().into_bytes(),
            ..EmailMessageReceived::default()
        };
        Mail::of(&Data::EmailMessageReceived(body)).expect("a mail").is_automatic(actor)
    }

    #[test]
    fn what_is_stated_goes_before_what_is_seen() {
        let headers = json!({"headers": {"Auto-Submitted": "auto-replied"}});
        assert!(automatic(Some(true), "ann@b.example", "Re: A question", &json!({})));
        assert!(!automatic(Some(false), "noreply@b.example", "Automatic reply: A question", &headers));
        assert!(automatic(None, "ann@b.example", "Re: A question", &headers));
    }

    #[test]
    fn a_stated_person_goes_before_sender_and_title() {
        let (plain, headers) = (json!({}), json!({"headers": {"Auto-Submitted": "auto-replied"}}));
        for (actor, auto, extra, expected) in [
            (Some("human:ann"), None, &plain, false),
            (Some("human:ann"), Some(true), &plain, true),
            (Some("human:ann"), Some(false), &headers, false),
            (Some("human:ann"), None, &headers, true),
            (Some("customer"), None, &plain, true),
            (Some("bot:b"), None, &plain, true),
            (None, None, &plain, true),
        ] {
            for (from, title) in [("noreply@b.example", "A question"), ("ann@b.example", "Out of Office: back soon")] {
                let found = automatic_by(actor, auto, from, title, extra);
                assert_eq!(found, expected, "{actor:?}, {auto:?}, {extra}, {from}");
            }
        }
    }

    #[test]
    fn headers_of_automatic_mail() {
        for (extra, expected) in [
            (json!({"headers": {"Auto-Submitted": "auto-generated"}}), true),
            (json!({"headers": {"auto-submitted": "auto-replied; owner-email=\"a@b\""}}), true),
            (json!({"headers": {"Auto-Submitted": "no"}}), false),
            (json!({"headers": {"Auto-Submitted": "No"}}), false),
            (json!({"auto_submitted": "auto-replied"}), true),
            (json!({"headers": [["X-Autoreply", "yes"]]}), true),
            (json!({"headers": [{"name": "Precedence", "value": "auto_reply"}]}), true),
            (json!({"headers": {"Precedence": "bulk"}}), false),
            (json!({"headers": {"Return-Path": ["<>"]}}), true),
            (json!({"headers": {"Return-Path": "<ann@b.example>"}}), false),
            (json!({"headers": {"X-Failed-Recipients": "ann@b.example"}}), true),
            (json!({"headers": 7, "other": null}), false),
            (json!([]), false),
        ] {
            assert_eq!(automatic(None, "ann@b.example", "Re: A question", &extra), expected, "{extra}");
        }
    }

    #[test]
    fn senders_and_titles_of_automatic_mail() {
        for (from, title, expected) in [
            ("Mail Delivery <MAILER-DAEMON@b.example>", "Hello", true),
            ("noreply+7@b.example", "Hello", true),
            ("Ann Noreply <ann@b.example>", "Hello", false),
            ("", "", false),
            ("ann@b.example", "Automatic reply: A question", true),
            ("ann@b.example", " Out of Office: until Monday", true),
            ("ann@b.example", "RÉPONSE AUTOMATIQUE : une question", true),
            ("ann@b.example", "Re: Automatic reply: A question", false),
            ("ann@b.example", "Out of office chairs", false),
        ] {
            assert_eq!(automatic(None, from, title, &json!({})), expected, "{from}, {title}");
        }
    }
}
