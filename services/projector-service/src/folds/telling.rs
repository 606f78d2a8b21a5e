//! What one event tells of a thread.

use domain::{Interaction, Stamp};
use rapport_proto::v1::interaction::Data;
use uuid::Uuid;

use super::{mail::Mail, message_id, replies::is_human};

/// One event of a thread: a message of it, or any other event that names it (which can tell whose thread it is).
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// Its place in the order of facts.
    pub stamp: Stamp,
    /// The subject it names.
    pub subject_id: Option<Uuid>,
    /// The published thread that it names; of two the least.
    pub thread_key: Option<String>,
    /// The message it tells of.
    pub message: Option<Message>,
}

/// A message, as one event tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Which message it is: two events with one key tell of one message. A mail's is its id in angle brackets.
    pub key: String,
    /// As published.
    pub message_id: Option<String>,
    /// The key of the mail that it answers.
    pub parent_key: Option<String>,
    /// As published.
    pub in_reply_to: Option<String>,
    /// `email`, `sms`, `chat`, `whatsapp`, `fax`, `letter`.
    pub channel: String,
    /// It went out.
    pub outbound: bool,
    /// Who wrote it.
    pub writer: Writer,
    /// The customer cannot see it.
    pub internal: bool,
    /// Who wrote it, as published.
    pub actor: Option<String>,
    /// A mail's subject line.
    pub title: Option<String>,
    /// The case it names.
    pub case_id: Option<String>,
    /// A mail's own date, microseconds UTC: it may differ from when the event says that it occurred. No fold asks for it.
    pub sent_at: Option<i64>,
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// The customer, by hand.
    Customer,
    /// One of our people.
    Agent,
    /// A partner of ours.
    Partner,
    /// A program, on either side: an acknowledgement, an absence notice, a bot.
    Machine,
}

impl Writer {
    /// As the tables have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Agent => "agent",
            Self::Partner => "partner",
            Self::Machine => "machine",
        }
    }

    /// Reads back [`Writer::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Customer, Self::Agent, Self::Partner, Self::Machine].into_iter().find(|w| w.as_str() == text)
    }
}

impl Message {
    /// Of several events that tell of one message, the one with the least standing counts, of those the first: a mail
    /// that was both sent and received is ours, and one that any of them calls internal or a machine's is so.
    pub fn standing(&self) -> i16 {
        match self.writer {
            _ if self.internal => 0,
            Writer::Machine | Writer::Partner => 1,
            Writer::Agent => 2,
            Writer::Customer => 3,
        }
    }
}

/// Whether an event is a message, whatever it names.
pub fn is_message(data: &Data) -> bool {
    matches!(
        data,
        Data::EmailMessageReceived(_) | Data::EmailMessageSent(_) | Data::MessageReceived(_) | Data::MessageSent(_)
    )
}

/// What an event tells of a thread, and what joins it to other events: never empty, each text once. Two events with a
/// text in common are in one thread. `None` if it is no message and names no thread.
pub fn telling(event: &Interaction) -> Option<(Telling, Vec<String>)> {
    let data = event.wire.data.as_ref();
    // Sorted, as entities are: the first is the least.
    let mut nodes: Vec<String> =
        event.entities.iter().filter(|e| e.kind == "thread").map(|e| message_id::of_thread(&e.key)).collect();
    nodes.sort_unstable();
    let thread_key = nodes.first().cloned();
    let message = if let Some(mail) = data.and_then(Mail::of) {
        Some(of_mail(event, &mail, &mut nodes))
    } else {
        data.and_then(|data| of_message(event, data, thread_key.as_deref()))
    };
    if nodes.is_empty() {
        // Nothing can ever be joined to it, but it waits for an answer like any other.
        nodes.push(message.as_ref()?.key.clone());
    }
    nodes.sort_unstable();
    nodes.dedup();
    let subject_id = event.subject.as_ref().map(|s| s.id);
    Some((Telling { stamp: event.stamp.clone(), subject_id, thread_key, message }, nodes))
}

/// The key of a message that has no id.
fn nameless(event: &Interaction) -> String {
    format!("event:{}", event.event_id)
}

fn of_mail(event: &Interaction, mail: &Mail<'_>, nodes: &mut Vec<String>) -> Message {
    let own = mail.message_id.and_then(message_id::own).unwrap_or_else(|| nameless(event));
    let parent = mail.in_reply_to.and_then(message_id::parent).filter(|parent| *parent != own);
    nodes.push(own.clone());
    nodes.extend(parent.clone());
    nodes.extend(mail.references.iter().flat_map(|entry| message_id::all(entry)));
    let wrote = Wrote { is_sent: mail.is_sent, is_automatic: mail.is_automatic(event.wire.actor.as_deref()) };
    Message {
        key: own,
        message_id: text(mail.message_id),
        parent_key: parent,
        in_reply_to: text(mail.in_reply_to),
        channel: "email".to_owned(),
        outbound: wrote.is_ours(event),
        writer: wrote.writer(event),
        internal: false,
        actor: event.wire.actor.clone(),
        title: text(mail.title),
        case_id: text(mail.case_id),
        sent_at: mail.sent_at,
    }
}

fn of_message(event: &Interaction, data: &Data, thread_key: Option<&str>) -> Option<Message> {
    /// The two bodies have the same fields and no type in common.
    macro_rules! message {
        ($body:expr, $is_sent:expr) => {{
            let wrote = Wrote { is_sent: $is_sent, is_automatic: $body.auto == Some(true) };
            let channel = $body.channel.clone().unwrap_or_default();
            let id = text($body.message_id.as_deref());
            Message {
                // Ids of other channels are unique within their thread at best.
                key: id.as_ref().map_or_else(
                    || nameless(event),
                    |id| message_id::bounded(format!("{}\n{channel}\n{id}", thread_key.unwrap_or_default())),
                ),
                message_id: id,
                parent_key: None,
                in_reply_to: None,
                channel,
                outbound: wrote.is_ours(event),
                writer: wrote.writer(event),
                internal: $body.visibility.as_deref() == Some("internal"),
                actor: event.wire.actor.clone(),
                title: None,
                case_id: text($body.case_id.as_deref()),
                sent_at: None,
            }
        }};
    }
    match data {
        Data::MessageReceived(body) => Some(message!(body, false)),
        Data::MessageSent(body) => Some(message!(body, true)),
        _ => None,
    }
}

/// What a message's type and body say of its writer.
#[derive(Clone, Copy)]
struct Wrote {
    is_sent: bool,
    is_automatic: bool,
}

impl Wrote {
    fn is_ours(self, event: &Interaction) -> bool {
        self.is_sent && event.wire.actor.as_deref() != Some("customer")
    }

    /// Nobody named: an agent, unless a machine says that it is one.
    fn writer(self, event: &Interaction) -> Writer {
        match event.wire.actor.as_deref() {
            _ if self.is_automatic => Writer::Machine,
            _ if !self.is_ours(event) => Writer::Customer,
            None => Writer::Agent,
            Some(actor) if is_human(actor) => Writer::Agent,
            Some(actor) if actor.starts_with("partner:") => Writer::Partner,
            Some(_) => Writer::Machine,
        }
    }
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Whether an event has to be seen whole for the threads: it is a message, or it names a thread.
pub fn needs(brief: &domain::Brief<'_>) -> bool {
    brief.data().is_some_and(is_message) || brief.names(|kind| kind == "thread")
}

#[cfg(test)]
mod tests {
    use domain::Namespace;
    use prost::Message as _;
    use rapport_proto::v1;
    use serde_json::{Value, json};

    use super::*;

    fn told(kind: &str, data: Value, envelope: &[(&str, &str)]) -> Option<(Telling, Vec<String>)> {
        let mut event = json!({"specversion": "1.0", "id": "e", "source": "test", "type": kind,
            "time": "2026-03-02T08:00:00Z", "data": data});
        for (name, value) in envelope {
            event[*name] = (*value).into();
        }
        let text = event.to_string();
        let wire: v1::Interaction = rapport_proto::json::read(text.as_bytes()).expect("an event");
        let event = Interaction::decode(&wire.encode_to_vec(), 5, &Namespace::new(Uuid::nil())).expect("one of ours");
        telling(&event)
    }

    fn mail(id: &str, more: Value) -> Value {
        let mut data = json!({"message_id": id, "from": "a@b.example", "to": [], "sent_at": "2026-03-02T08:00:00Z",
            "subject": "A question"});
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data
    }

    fn chat(more: Value) -> Value {
        let mut data = json!({"channel": "chat", "message_id": "1", "thread_id": "t", "text": "Hello"});
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data
    }

    #[test]
    fn what_joins_events() {
        let references = json!({"in_reply_to": "Ann <ann@b> wrote <2@b>", "references": ["<3@b> <2@b>", "4@b"]});
        for (kind, data, envelope, nodes) in [
            ("email.message.received", mail("1@b", references), vec![], vec!["<1@b>", "<2@b>", "<3@b>", "<4@b>"]),
            ("email.message.sent", mail("<1@b>", json!({"in_reply_to": "<1@b>"})), vec![], vec!["<1@b>"]),
            ("email.message.sent", mail("<1@b>", json!({})), vec![("correlationid", "thread:t")], vec!["<1@b>", "t"]),
            ("message.sent", chat(json!({})), vec![("correlationid", "thread:u")], vec!["t", "u"]),
            ("message.received", chat(json!({"thread_id": "<1@b>"})), vec![], vec!["<1@b>"]),
            ("note.added", json!({"text": "x"}), vec![("correlationid", "thread:t")], vec!["t"]),
        ] {
            let (telling, joined) = told(kind, data, &envelope).expect("a telling");
            assert_eq!(joined, nodes, "{kind}");
            assert_eq!(telling.message.is_some(), kind != "note.added");
        }
        assert_eq!(told("note.added", json!({"text": "x"}), &[("correlationid", "case:7")]), None);
    }

    #[test]
    fn a_mail_without_a_readable_id_stands_alone() {
        let (telling, nodes) = told("email.message.received", mail("<>", json!({})), &[]).expect("a telling");
        let message = telling.message.expect("a message");
        assert_eq!(nodes, [message.key.as_str()]);
        assert!(message.key.starts_with("event:"), "{}", message.key);
    }

    #[test]
    fn who_wrote_it() {
        for (kind, actor, auto, writer, outbound) in [
            ("received", None, None, Writer::Customer, false),
            ("received", Some("human:ann"), None, Writer::Customer, false),
            ("received", None, Some(true), Writer::Machine, false),
            ("sent", None, None, Writer::Agent, true),
            ("sent", None, Some(false), Writer::Agent, true),
            ("sent", None, Some(true), Writer::Machine, true),
            ("sent", Some("human:ann"), None, Writer::Agent, true),
            ("sent", Some("human:ann"), Some(true), Writer::Machine, true),
            ("sent", Some("bot:b"), None, Writer::Machine, true),
            ("sent", Some("partner:p"), None, Writer::Partner, true),
            ("sent", Some("customer"), None, Writer::Customer, false),
        ] {
            let envelope: Vec<(&str, &str)> = actor.map(|actor| ("actor", actor)).into_iter().collect();
            for (kind, data) in [
                (format!("email.message.{kind}"), mail("<1@b>", json!({"auto": auto}))),
                (format!("message.{kind}"), chat(json!({"auto": auto}))),
            ] {
                let message = told(&kind, data, &envelope).and_then(|(t, _)| t.message).expect("a message");
                assert_eq!((message.writer, message.outbound), (writer, outbound), "{kind} {actor:?} {auto:?}");
            }
        }
    }

    #[test]
    fn automatic_mail_is_a_machines_though_nobody_says_so() {
        for (kind, actor, more, writer) in [
            ("sent", None, json!({"subject": "Automatic reply: A question"}), Writer::Machine),
            ("sent", None, json!({"from": "noreply@b.example"}), Writer::Machine),
            ("received", None, json!({"from": "noreply@b.example"}), Writer::Machine),
            // Who is named wrote it, whatever the address looks like, unless a header says otherwise.
            ("sent", Some("human:ann"), json!({"subject": "Automatic reply: A question"}), Writer::Agent),
            ("sent", Some("human:ann"), json!({"from": "noreply@b.example"}), Writer::Agent),
            ("sent", Some("human:ann"), json!({"headers": {"Auto-Submitted": "auto-replied"}}), Writer::Machine),
        ] {
            let envelope: Vec<(&str, &str)> = actor.map(|actor| ("actor", actor)).into_iter().collect();
            let told = told(&format!("email.message.{kind}"), mail("<1@b>", more.clone()), &envelope);
            let message = told.and_then(|(telling, _)| telling.message).expect("a message");
            assert_eq!(message.writer, writer, "{kind} {actor:?} {more}");
        }
    }
}
