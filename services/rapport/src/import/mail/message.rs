use std::collections::BTreeSet;

use domain::interaction::list_entry;
use mail_parser::{Addr, Address, Message};
use serde_json::{Map, Value, json};

use super::condense::Condensed;
use super::dates;
use super::parser::parser;

/// What an event holds of a mail's text, in bytes of JSON: an event is at most 256 KiB.
const TEXT_BYTES_MAX: usize = 128 * 1024;

/// How far an event may lie ahead of its receipt, less than the collector allows by default: receipt comes later.
const AHEAD_MICROS: i64 = 23 * 60 * domain::time::MINUTE;

/// Addresses of one field; the others are left out.
const ADDRESSES_MAX: usize = 500;

/// Messages that a mail refers to: the first, which began the thread, and the last ones before it.
const REFERENCES_MAX: usize = 100;

/// Attachments that are listed.
const ATTACHMENTS_MAX: usize = 100;

/// A longer subject, name or id is cut: no program writes one.
const WORDS_BYTES_MAX: usize = 2048;

/// A longer address is none.
const ADDRESS_BYTES_MAX: usize = 320;

/// Who *we* are: addresses, and domains with an `@` in front.
#[derive(Clone, Debug, Default)]
pub(super) struct Ours(BTreeSet<String>);

impl Ours {
    pub(super) fn new(addresses: &[String]) -> Self {
        Self(addresses.iter().map(|address| address.trim().to_lowercase()).collect())
    }

    fn has(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let domain = address.rfind('@').map(|at| &address[at..]);
        self.0.contains(&address) || domain.is_some_and(|domain| self.0.contains(domain))
    }
}

/// A mail as an event of the catalogue, but for its `id` and `source`.
#[derive(Debug)]
pub(super) struct Mail {
    /// With its angle brackets; made of the mail's hash where the mail has none.
    pub(super) message_id: String,
    /// `type`, `time`, `subject`, `participants`, `data`.
    pub(super) event: Map<String, Value>,
}

/// Reads a mail.
///
/// # Errors
/// Why it cannot be an event: nobody sent it, or at no time.
pub(super) fn read(condensed: &Condensed, ours: &Ours) -> Result<Mail, String> {
    let message = parser().parse(&condensed.bytes).ok_or("it has no header that can be read")?;
    let header = Header::of(&condensed.bytes);
    let from = sender(&message, &header)
        .ok_or("it has no sender: neither `From` nor `Sender` nor `Return-Path` holds an address")?;
    let sent_at = sent_at(&header).ok_or_else(|| match header.first("date") {
        Some(date) => format!("its `Date` \"{}\" cannot be read, and no `Received` field holds a date", words(date)),
        None => "it has no date: neither a `Date` nor a `Received` field holds one".to_owned(),
    })?;
    let to = addresses(message.all_to());
    let cc = addresses(message.header_values("Cc").filter_map(|value| value.as_address()));
    let sent = ours.has(&from.0);
    let said = header.first("message-id").and_then(message_id);
    let message_id =
        said.unwrap_or_else(|| format!("<{}@no-message-id.invalid>", crate::import::program::hex(&condensed.hash)));

    let mut data = Map::new();
    let mut set = |name: &str, value: Value| data.insert(name.to_owned(), value);
    set("message_id", json!(message_id));
    set("from", json!(from.0));
    if let Some(name) = &from.1 {
        set("from_name", json!(name));
    }
    set("to", json!(bare(&to)));
    if !cc.is_empty() {
        set("cc", json!(bare(&cc)));
    }
    set("sent_at", json!(sent_at));
    set("subject", json!(cut(&words(message.subject().unwrap_or_default()), WORDS_BYTES_MAX)));
    if let Some(parent) = header.first("in-reply-to").and_then(in_reply_to) {
        set("in_reply_to", json!(parent));
    }
    let references = references(&header);
    if !references.is_empty() {
        set("references", json!(references));
    }
    let (text, whole) = text(&message);
    if !text.is_empty() {
        set("text", json!(text));
    }
    if !whole || condensed.text_cut {
        set("text_cut", json!(true));
    }
    if is_automatic(&header) {
        set("auto", json!(true));
    }
    let attachments = attachments(condensed);
    if !attachments.is_empty() {
        set("attachments", json!(attachments));
    }

    // Who it is about: who wrote to us, or whom we wrote to first.
    let others = || to.iter().chain(&cc).map(|(address, _)| address).filter(|address| !ours.has(address));
    let about = if sent { others().next().cloned() } else { Some(from.0.clone()) };
    let participants: BTreeSet<String> = others()
        .filter(|address| Some(*address) != about.as_ref())
        .map(|address| list_entry(&format!("email:{address}")))
        .collect();
    let mut event = Map::new();
    event.insert("type".to_owned(), json!(if sent { "email.message.sent" } else { "email.message.received" }));
    event.insert("time".to_owned(), json!(occurred_at(&header, sent_at)));
    if let Some(about) = about {
        event.insert("subject".to_owned(), json!(format!("email:{about}")));
    }
    if !participants.is_empty() {
        let list: Vec<String> = participants.into_iter().collect();
        event.insert("participants".to_owned(), json!(list.join(",")));
    }
    event.insert("data".to_owned(), Value::Object(data));
    Ok(Mail { message_id, event })
}

/// The fields of a mail's header, in order, unfolded and else as they stand: what a parser makes of a field that is not
/// as it should be is not what it says.
struct Header(Vec<(String, String)>);

impl Header {
    fn of(message: &[u8]) -> Self {
        let end = message.windows(2).position(|pair| pair == b"\n\n").unwrap_or(message.len());
        // PostgreSQL stores no U+0000, and no id or date means anything by one.
        let text = String::from_utf8_lossy(&message[..end]).replace('\0', "");
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match (line.split_once(':'), fields.last_mut()) {
                (_, Some((_, value))) if line.starts_with([' ', '\t']) => value.push_str(line),
                (Some((name, value)), _) => {
                    fields.push((name.trim_end().to_lowercase(), value.trim_start().to_owned()))
                }
                (None, _) => {}
            }
        }
        Self(fields)
    }

    fn all<'h>(&'h self, name: &'static str) -> impl Iterator<Item = &'h str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.trim())
    }

    fn first(&self, name: &'static str) -> Option<&str> {
        self.all(name).next()
    }
}

fn sender(message: &Message<'_>, header: &Header) -> Option<(String, Option<String>)> {
    let first = |name: &'static str| {
        addresses(message.header_values(name).filter_map(|value| value.as_address())).into_iter().next()
    };
    first("From").or_else(|| first("Sender")).or_else(|| {
        let path = header.first("return-path")?.trim_matches(['<', '>', ' ']);
        is_address(path).then(|| (path.to_owned(), None))
    })
}

/// Address and name of each, in order, each address once.
fn addresses<'a>(fields: impl Iterator<Item = &'a Address<'a>>) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let single = fields.flat_map(|field| field.iter());
    for Addr { name, address } in single {
        let Some(address) = address.as_deref().map(|a| a.trim().to_lowercase()).filter(|a| is_address(a)) else {
            continue;
        };
        let name = name.as_deref().map(words).filter(|n| !n.is_empty()).map(|n| cut(&n, WORDS_BYTES_MAX).to_owned());
        if found.len() < ADDRESSES_MAX && !found.iter().any(|(known, _)| *known == address) {
            found.push((address, name));
        }
    }
    found
}

fn is_address(text: &str) -> bool {
    let inside = text.split_once('@').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty());
    inside
        && text.len() <= ADDRESS_BYTES_MAX
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,;:\"".contains(c))
}

fn bare(addresses: &[(String, Option<String>)]) -> Vec<&str> {
    addresses.iter().map(|(address, _)| address.as_str()).collect()
}

/// `Date`, else when the last server received it, which is the first `Received` field.
fn sent_at(header: &Header) -> Option<String> {
    header.first("date").and_then(dates::read).or_else(|| received_at(header))
}

/// When it was sent. A clock that is years ahead is not believed: then when the last server received it.
fn occurred_at(header: &Header, sent_at: String) -> String {
    let is_past = |at: &String| domain::time::parse(at).is_some_and(|at| at <= now_micros() + AHEAD_MICROS);
    if is_past(&sent_at) {
        return sent_at;
    }
    received_at(header).filter(is_past).unwrap_or(sent_at)
}

fn received_at(header: &Header) -> Option<String> {
    let (_, date) = header.first("received")?.rsplit_once(';')?;
    dates::read(date)
}

fn now_micros() -> i64 {
    service_kit::Clock::system().now_us()
}

/// The ids in a field, with their angle brackets.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let open = rest.find('<')?;
            rest = &rest[open..];
            let end = rest[1..].find(['<', '>'])? + 1;
            let id = &rest[..=end];
            // Of `<<a>` the second bracket opens.
            rest = if id.ends_with('>') { &rest[end + 1..] } else { &rest[end..] };
            if id.ends_with('>') && id.len() > 2 && id.len() <= WORDS_BYTES_MAX && !id.contains(char::is_whitespace) {
                return Some(id);
            }
        }
    })
}

/// The id in a `Message-ID` field; some programs forget the brackets.
fn message_id(text: &str) -> Option<String> {
    let bare = || {
        let word: String = text.split_whitespace().collect::<String>().replace(['<', '>'], "");
        (!word.is_empty()).then(|| format!("<{}>", cut(&word, WORDS_BYTES_MAX)))
    };
    ids(text).next().map(str::to_owned).or_else(bare)
}

/// The message that this one answers: the last id in the field. In prose (`Message from Ann <ann@example.com> of ...
/// <id>`) the ones before it are addresses; of several ids the last is the latest. A field without an id names its
/// parent in words, which are kept where they are no mere phrase: they have a number, that of a date.
fn in_reply_to(text: &str) -> Option<String> {
    let as_said = || {
        let said = words(text);
        let bare_id = said.contains('@') && !said.contains([' ', '<', '>']);
        let said = if bare_id { format!("<{said}>") } else { said };
        said.contains(|c: char| c.is_ascii_digit()).then(|| cut(&said, WORDS_BYTES_MAX).to_owned())
    };
    ids(text).last().map(str::to_owned).or_else(as_said)
}

fn references(header: &Header) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for id in header.all("references").flat_map(ids) {
        if !found.iter().any(|known| known == id) {
            found.push(id.to_owned());
        }
        if found.len() > REFERENCES_MAX {
            found.remove(1);
        }
    }
    found
}

/// What the mail says, without attachments, and whether that is all of it.
fn text(message: &Message<'_>) -> (String, bool) {
    let mut text = String::new();
    let mut cost = 0;
    for part in 0..message.text_body_count() {
        let Some(said) = message.body_text(part) else { continue };
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        for c in said.trim_end().chars() {
            // PostgreSQL stores no U+0000, and no reader misses other control characters.
            if c == '\r' || (c.is_control() && !matches!(c, '\n' | '\t')) {
                continue;
            }
            cost += if matches!(c, '"' | '\\' | '\n' | '\t') { 2 } else { c.len_utf8() };
            if cost > TEXT_BYTES_MAX {
                return (text, false);
            }
            text.push(c);
        }
    }
    (text, true)
}

/// Written by a machine, as RFC 3834 and the programs before it say so. `Precedence: bulk` is what mailing lists set on
/// what people write: without a list it is a machine's.
fn is_automatic(header: &Header) -> bool {
    let is_set = |name| header.first(name).is_some_and(|value| !value.is_empty() && !value.eq_ignore_ascii_case("no"));
    let value = |name| header.first(name).map(|value| value.to_ascii_lowercase()).unwrap_or_default();
    let submitted = value("auto-submitted");
    // Parameters and comments may follow the keyword.
    let submitted = submitted.split([';', ' ', '(', '\t']).next().unwrap_or_default();
    let listed = header.0.iter().any(|(name, _)| {
        name.starts_with("list-")
            || matches!(name.as_str(), "x-beenthere" | "x-mailing-list" | "mailing-list" | "x-loop")
    });
    let precedence = value("precedence");
    !matches!(submitted, "" | "no")
        || ["x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-failed-recipients"].into_iter().any(is_set)
        // Nobody is to be told of it if it cannot be delivered: it tells of one that could not.
        || value("return-path") == "<>"
        || matches!(precedence.as_str(), "auto_reply" | "auto-reply")
        || (matches!(precedence.as_str(), "bulk" | "junk") && !listed)
}

fn attachments(condensed: &Condensed) -> Vec<Value> {
    let listed = condensed.parts.iter().filter(|part| part.is_attachment()).take(ATTACHMENTS_MAX);
    listed
        .map(|part| {
            let mut entry = Map::new();
            if let Some(name) = &part.name {
                entry.insert("name".to_owned(), json!(cut(&words(name), WORDS_BYTES_MAX)));
            }
            if !part.media_type.is_empty() {
                entry.insert("media_type".to_owned(), json!(cut(&words(&part.media_type), WORDS_BYTES_MAX)));
            }
            entry.insert("size_bytes".to_owned(), json!(part.size_bytes));
            Value::Object(entry)
        })
        .collect()
}

/// Words with one space between them, without control characters.
fn words(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The beginning of a text, in whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::mail::chunks::Chunks;
    use crate::import::mail::condense::Condenser;

    const USUAL: &str = "From: Ann <Ann@Customer.example>\nTo: support@us.example\nDate: Thu, 22 Aug 2002 18:26:25 +0700\n\
                         Message-ID: <m1@x>\nSubject: Hi\n";

    fn mail(text: &[u8]) -> Result<Value, String> {
        let mut chunks = Chunks::new(text);
        let mut condenser = Condenser::new();
        while let Some(chunk) = chunks.next().expect("memory can be read") {
            condenser.take(chunk);
        }
        let ours = Ours::new(&["@Us.example".to_owned(), "boss@home.example".to_owned()]);
        read(&condenser.finish(), &ours).map(|mail| Value::Object(mail.event))
    }

    fn with(header: &str) -> Value {
        mail(format!("{USUAL}{header}\n\nbody").as_bytes()).expect(header)
    }

    #[test]
    fn a_mail_is_an_event() {
        let text = format!(
            "{USUAL}Cc: Bob <bob@customer.example>,\n boss@home.example, ann@customer.example\nReferences: <a@x> <b@x>\n <a@x>\n\
             MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>Hello</p>\n\
             --b\nContent-Type: image/png; name=\"=?utf-8?q?gr=C3=BCn.png?=\"\nContent-Transfer-Encoding: base64\n\nQUJD\n--b--\n"
        );
        let expected = json!({
            "type": "email.message.received",
            "time": "2002-08-22T18:26:25+07:00",
            "subject": "email:ann@customer.example",
            "participants": "email:bob@customer.example",
            "data": {
                "message_id": "<m1@x>",
                "from": "ann@customer.example",
                "from_name": "Ann",
                "to": ["support@us.example"],
                "cc": ["bob@customer.example", "boss@home.example", "ann@customer.example"],
                "sent_at": "2002-08-22T18:26:25+07:00",
                "subject": "Hi",
                "references": ["<a@x>", "<b@x>"],
                "text": "Hello",
                "attachments": [{"name": "grün.png", "media_type": "image/png", "size_bytes": 3}],
            }
        });
        assert_eq!(mail(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn who_sent_it() {
        let sent = mail(
            b"From: support@us.example\nTo: boss@home.example, Ann <ann@x.example>\nCc: \"Q, R\" <q@x.example>\n\
              Date: Thu, 22 Aug 2002 18:26:25 UT\n\nHello",
        )
        .expect("a mail");
        assert_eq!(sent["type"], "email.message.sent");
        assert_eq!(
            (&sent["subject"], &sent["participants"]),
            (&json!("email:ann@x.example"), &json!("email:q@x.example"))
        );
        let alone = mail(b"From: boss@home.example\nDate: Thu, 22 Aug 2002 18:26:25 UT\n\nHello").expect("a mail");
        assert!(alone.get("subject").is_none() && alone["data"]["to"] == json!([]));
        assert_eq!(alone["data"]["subject"], "");
        let path = mail(b"Return-Path: <a@x.example>\nFrom: nobody\nDate: Thu, 22 Aug 2002 18:26:25 UT\n\nHello")
            .expect("a mail");
        assert_eq!(path["data"]["from"], "a@x.example");
        // The parser of mails read `UT` and the line break as one word, and with it the next line.
        let dated_first = mail(
            b"Return-Path: <bounce@y.example>\nDate: Thu, 22 Aug 2002 18:26:25 UT\nFrom: Ann <ann@x.example>\n\nHello",
        )
        .expect("a mail");
        assert_eq!(dated_first["data"]["from"], "ann@x.example");
        let nobody = mail(b"From: nobody\nDate: Thu, 22 Aug 2002 18:26:25 UT\n\nHello").expect_err("from nobody");
        assert!(nobody.contains("no sender"), "{nobody}");
    }

    #[test]
    fn when_it_was_sent() {
        let sent = |dates: &str| mail(format!("From: a@x\n{dates}\n\nHello").as_bytes()).map(|m| m["time"].clone());
        let received = "Received: from a by b;\n Fri, 23 Aug 2002 10:00:00 GMT\nReceived: from c by a; Thu, 22 Aug 2002 10:00:00 GMT\n";
        assert_eq!(sent("Date: Thu, 22 Aug 2002 9:26:25 EDT"), Ok(json!("2002-08-22T09:26:25-04:00")));
        assert_eq!(sent(&format!("{received}Date: sometime")), Ok(json!("2002-08-23T10:00:00Z")));
        assert!(sent("Date: sometime").is_err_and(|e| e.contains("\"sometime\" cannot be read")));
        assert!(sent("Subject: x").is_err_and(|e| e.contains("has no date")));
    }

    #[test]
    fn a_date_far_ahead_is_not_when_it_occurred() {
        let found = |fields: &str| mail(format!("From: a@x\n{fields}\n\nHello").as_bytes()).expect(fields);
        let received = |date: &str| format!("Received: from b by c; {date}\n");
        let then = received("Fri, 23 Aug 2002 10:00:00 GMT") + &received("Thu, 22 Aug 2002 10:00:00 GMT");
        let far = "Date: Thu, 22 Aug 2999 18:26:25 GMT";
        let (time, sent_at) = (json!("2002-08-23T10:00:00Z"), json!("2999-08-22T18:26:25Z"));

        let event = found(&format!("{then}{far}"));
        assert_eq!((&event["time"], &event["data"]["sent_at"]), (&time, &sent_at), "what it says of itself stays");
        // Nothing better is known.
        for received in [String::new(), received("sometime"), received("Thu, 22 Aug 2998 10:00:00 GMT")] {
            assert_eq!(found(&format!("{received}{far}"))["time"], sent_at, "{received}");
        }
        // The collector takes what is up to a day ahead.
        let ahead = |hours: i64| {
            let date = (service_kit::Clock::system().now() + chrono::TimeDelta::hours(hours)).to_rfc2822();
            found(&format!("{then}Date: {date}"))
        };
        assert!(ahead(22)["time"] == ahead(22)["data"]["sent_at"] && ahead(22)["time"] != time);
        assert_eq!(ahead(25)["time"], time);
    }

    #[test]
    fn what_it_answers() {
        for (field, expected) in [
            ("<a@x>", Some("<a@x>")),
            ("Your message of\n \"Thu, 22 Aug 2002 18:42:33 BST.\"\n <a@x>", Some("<a@x>")),
            ("Message from Ann <ann@x.example> of \"Thu, 22 Aug 2002.\" <a@x>", Some("<a@x>")),
            ("<a@x>; from ann@x.example on Thu, Aug 29, 2002 at 03:31:11PM +0100", Some("<a@x>")),
            ("<a@x> <b@x>", Some("<b@x>")),
            ("a1@x", Some("<a1@x>")),
            ("Ann's message of\n \"22 Aug 2002\"", Some("Ann's message of \"22 Aug 2002\"")),
            ("your message", None),
            ("<a b@x>", None),
            ("", None),
        ] {
            let found = with(&format!("In-Reply-To: {field}"));
            assert_eq!(found["data"].get("in_reply_to").and_then(Value::as_str), expected, "{field}");
        }
        let many: String = (0..300).map(|n| format!(" <r{n}@x>")).collect();
        let references = with(&format!("References:{many}"))["data"]["references"].clone();
        assert_eq!(references.as_array().map(Vec::len), Some(REFERENCES_MAX));
        assert_eq!((&references[0], &references[99]), (&json!("<r0@x>"), &json!("<r299@x>")));
    }

    #[test]
    fn fields_without_what_no_event_may_hold() {
        let ids = "In-Reply-To: <0\0@x>\nReferences: <a\0x>";
        let mail = mail(format!("{}{ids}\n\nbody", USUAL.replace("<m1@x>", "<1\0@x>")).as_bytes()).expect("a mail");
        assert_eq!(mail["data"]["message_id"], "<1@x>");
        assert_eq!((&mail["data"]["in_reply_to"], &mail["data"]["references"]), (&json!("<0@x>"), &json!(["<ax>"])));
    }

    #[test]
    fn what_a_machine_wrote() {
        for (header, auto) in [
            ("Auto-Submitted: auto-replied", true),
            ("Auto-Submitted: auto-generated; owner=x", true),
            ("Auto-Submitted: no", false),
            ("Auto-Submitted: No (really)", false),
            ("X-Autoreply: yes", true),
            ("X-Autorespond: we are away", true),
            ("X-Autoreply: no", false),
            ("Precedence: auto_reply", true),
            ("Precedence: bulk", true),
            ("Precedence: junk", true),
            ("Precedence: bulk\nList-Id: <x.example>", false),
            ("Precedence: bulk\nX-BeenThere: x@y.example", false),
            ("Precedence: list", false),
            ("Return-Path: <>", true),
            ("X-Failed-Recipients: a@x", true),
            ("X-Auto-Response-Suppress: All", false),
        ] {
            assert_eq!(with(header)["data"].get("auto").is_some(), auto, "{header}");
        }
    }

    #[test]
    fn words_in_any_encoding() {
        let subject = |field: &[u8]| {
            let text = [USUAL.trim_end_matches("Subject: Hi\n").as_bytes(), b"Subject: ", field, b"\n\nx"].concat();
            mail(&text).expect("a mail")["data"]["subject"].clone()
        };
        assert_eq!(subject("=?iso-8859-1?Q?gr=FC=DFe?=\n =?utf-8?B?IMOk?=".as_bytes()), "grüße ä");
        assert_eq!(subject(b"gr\xfc\xdfe"), "grüße");
        assert_eq!(subject("grüße".as_bytes()), "grüße");
        assert_eq!(subject(b"folded\r\n\tover lines"), "folded over lines");
        assert_eq!(subject(b"=?gb2312?B?xOO6ww==?="), "你好");
        let body =
            [USUAL.as_bytes(), b"Content-Type: text/plain; charset=windows-1252\n\n\x80 5\0\x01\r\nq\n"].concat();
        assert_eq!(mail(&body).expect("a mail")["data"]["text"], "€ 5\nq");
    }

    #[test]
    fn a_long_text_fits_an_event() {
        for text in ["\"\\\n".repeat(200_000), "ä".repeat(300_000), "<p>x</p>".repeat(200_000)] {
            let event = mail(format!("{USUAL}\n{text}").as_bytes()).expect("a mail");
            assert!(event.to_string().len() < 200 * 1024, "{}", event.to_string().len());
            assert_eq!(event["data"]["text_cut"], true);
        }
        assert!(with("X: y")["data"].get("text_cut").is_none());
    }

    #[test]
    fn a_mail_without_an_id_has_one() {
        let id = |text: &str| {
            mail(format!("From: a@x\nDate: Thu, 22 Aug 2002 18:26:25 UT\n{text}").as_bytes()).expect("a mail")["data"]["message_id"].clone()
        };
        assert_eq!(id("\nHello"), id("Received: x\n\nHello\n\n"));
        assert_ne!(id("\nHello"), id("\nHello you"));
        assert_eq!(id("Message-ID: a@x\n\nHello"), "<a@x>");
    }
}
