//! Mail to events: mailboxes, maildirs, files of one message.
//!
//! ```text
//! files ──> chunks ──> mailbox (messages) ──> condense (without attachments) ──> message (an event) ── program (jq) ──> events
//! ```

mod chunks;
mod condense;
mod dates;
mod files;
mod mailbox;
mod message;
mod parser;

use std::collections::HashSet;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::csv::Fault;
use super::groups::{self, Defaults, Outcome};
use super::mapping::Mapping;
use super::program::{Program, hex};
use super::rows::first_half;
use super::source;
use condense::Condensed;
use files::{Files, MailFile};
use mailbox::{Found, Messages};
use message::{Mail, Ours};

/// A longer Message-ID stands in an event's id as its hash.
const ID_BYTES_MAX: usize = 500;

/// How much of a mail's hash stands in its event's id: it only has to tell apart mails by one Message-ID.
const ID_HASH_BYTES: usize = 8;

/// Maps the messages of a file or of a directory to events.
///
/// An event's id is the mail's Message-ID and the hash of what its sender wrote: the same mail in two folders, or imported
/// twice, is one, and two mails by one Message-ID are two, whichever comes first and in whichever import.
pub(crate) struct Mails<'m> {
    mapping: &'m Mapping,
    program: Program,
    ours: Ours,
    files: Files,
    current: Option<Current>,
    read: Arc<AtomicU64>,
    /// The hashes of the ids so far: 16 bytes a mail.
    seen: HashSet<[u8; 16]>,
}

struct Current {
    file: Arc<str>,
    messages: Messages<Box<dyn BufRead + Send>>,
}

impl<'m> Mails<'m> {
    pub(crate) fn new(mapping: &'m Mapping, program: Program, path: &Path, read: Arc<AtomicU64>) -> Self {
        let files = Files::new(path, &mapping.files);
        let ours = Ours::new(&mapping.ours);
        Self { mapping, program, ours, files, current: None, read, seen: HashSet::new() }
    }

    /// What became of the next message, or of a file that cannot be read; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Outcome> {
        loop {
            let Some(current) = &mut self.current else {
                match self.open()? {
                    Ok(()) => continue,
                    Err(outcome) => return Some(outcome),
                }
            };
            let file = current.file.clone();
            match current.messages.next() {
                Ok(Some(found)) => return Some(self.outcome(file, found)),
                Ok(None) => self.current = None,
                Err(error) => {
                    let line = current.messages.line();
                    self.current = None;
                    let reason = format!("the file cannot be read any further: {error}");
                    return Some(rejected(file, Fault { line, column: None, reason }));
                }
            }
        }
    }

    fn open(&mut self) -> Option<Result<(), Outcome>> {
        let unreadable = |path: &Path, error: std::io::Error| {
            let reason = format!("it cannot be read: {error}");
            rejected(path.display().to_string().into(), Fault { line: 1, column: None, reason })
        };
        let MailFile { path, layout } = match self.files.next()? {
            Ok(file) => file,
            Err((path, error)) => return Some(Err(unreadable(&path, error))),
        };
        Some(match source::open(&path, self.read.clone()) {
            Ok((input, _)) => {
                let file = path.display().to_string().into();
                self.current = Some(Current { file, messages: Messages::new(input, layout) });
                Ok(())
            }
            Err(error) => Err(unreadable(&path, error)),
        })
    }

    fn outcome(&mut self, file: Arc<str>, found: Found) -> Outcome {
        let Found { line, content } = found;
        let fault = |reason: String| Fault { line, column: None, reason };
        let mapped = content.and_then(|condensed| {
            let mail = message::read(&condensed, &self.ours).map_err(fault)?;
            let Some(id) = self.id(&mail, &condensed) else { return Ok(None) };
            self.map(mail, &id, line).map(Some).map_err(fault)
        });
        match mapped {
            Ok(Some(events)) => Outcome { file: Some(file), rows: 1, repeated: 0, events: Ok(events) },
            Ok(None) => Outcome { file: Some(file), rows: 1, repeated: 1, events: Ok(Vec::new()) },
            Err(fault) => rejected(file, fault),
        }
    }

    /// The event's id; `None` where the same mail was there already.
    fn id(&mut self, mail: &Mail, condensed: &Condensed) -> Option<String> {
        let id = event_id(&mail.message_id, &condensed.hash);
        self.seen.insert(first_half(Sha256::new_with_prefix(&id))).then_some(id)
    }

    fn map(&self, mail: Mail, id: &str, line: u64) -> Result<Vec<groups::Event>, String> {
        let event = mail.event;
        let mut input = Map::new();
        input.insert("line".to_owned(), line.into());
        input.insert("rows".to_owned(), Value::Array(vec![Value::Object(event)]));
        let text = Value::Object(input).to_string();
        let input = jaq_json::read::parse_single(text.as_bytes()).map_err(|e| format!("the mail as JSON: {e}"))?;
        let defaults = Defaults { source: &self.mapping.source, id, sequence: None };
        groups::events(&self.program, input, &defaults, line)
    }
}

/// `<1@x>#0123456789abcdef`: the Message-ID, or its hash where it is long, and the beginning of the mail's hash.
fn event_id(message_id: &str, hash: &[u8; 16]) -> String {
    let own = hex(&hash[..ID_HASH_BYTES]);
    if message_id.len() <= ID_BYTES_MAX {
        return format!("{message_id}#{own}");
    }
    format!("{}#{own}", hex(&first_half(Sha256::new_with_prefix(message_id))))
}

fn rejected(file: Arc<str>, fault: Fault) -> Outcome {
    Outcome { file: Some(file), rows: 1, repeated: 0, events: Err(vec![fault]) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MAPPING: &str = "format = \"mail\"\nsource = \"s\"\nours = [\"@us.example\"]\n";
    const SEPARATOR: &str = "From a@b.example Thu Aug 22 12:36:23 2002\n";

    fn message(id: &str, text: &str) -> String {
        format!("From: ann@x.example\nDate: Thu, 22 Aug 2002 12:36:23 GMT\nMessage-ID: {id}\n\n{text}\n")
    }

    fn import(mapping: &str, path: &Path) -> Vec<Outcome> {
        let mapping = Mapping::parse(mapping).expect("a mapping");
        let program = Program::compile(&mapping.program).expect("a program");
        let mut mails = Mails::new(&mapping, program, path, Arc::default());
        std::iter::from_fn(|| mails.next()).collect()
    }

    fn import_text(mapping: &str, text: &[u8]) -> Vec<Outcome> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("box");
        std::fs::write(&file, text).expect("written");
        import(mapping, &file)
    }

    fn events(outcomes: &[Outcome]) -> Vec<Value> {
        let events = outcomes.iter().filter_map(|o| o.events.as_ref().ok()).flatten();
        events.map(|e| serde_json::from_slice(&e.json).expect("JSON")).collect()
    }

    #[test]
    fn the_same_mail_is_one_event() {
        let (a, other) = (message("<1@x>", "a"), message("<1@x>", "other"));
        let traced = format!("Received: from somewhere\n{a}");
        let text: String = [&a, &other, &traced, &other].map(|m| format!("{SEPARATOR}{m}\n")).concat();
        let outcomes = import_text(MAPPING, text.as_bytes());
        assert_eq!(outcomes.iter().map(|o| o.repeated).collect::<Vec<_>>(), [0, 0, 1, 1]);
        let found = events(&outcomes);
        let hashes: Vec<_> = found.iter().filter_map(|e| e["id"].as_str()?.strip_prefix("<1@x>#")).collect();
        assert!(hashes.len() == 2 && hashes.iter().all(|h| h.len() == 16) && hashes[0] != hashes[1], "{hashes:?}");
        assert!(found.iter().all(|e| e["data"]["message_id"] == "<1@x>" && e["source"] == "s"));
        // A second import, also of a mailbox that has grown, finds the same ids.
        let grown = format!("{text}{SEPARATOR}{}\n", message("<2@x>", "b"));
        let again = events(&import_text(MAPPING, grown.as_bytes()));
        assert_eq!((&again[..2], again.len()), (&found[..], 3));
    }

    #[test]
    fn an_id_does_not_depend_on_what_else_is_imported() {
        let (a, other) = (message("<1@x>", "a"), message("<1@x>", "other"));
        let ids = |mails: &[&String]| {
            let text: String = mails.iter().map(|mail| format!("{SEPARATOR}{mail}\n")).collect();
            let found = events(&import_text(MAPPING, text.as_bytes()));
            found.iter().map(|e| e["id"].to_string()).collect::<Vec<_>>()
        };
        let (one, two) = (ids(&[&a]), ids(&[&other]));
        assert_ne!(one, two, "each in an import of its own");
        assert_eq!(ids(&[&a, &other]), [&one[..], &two[..]].concat());
        assert_eq!(ids(&[&other, &a]), [&two[..], &one[..]].concat());
        // Another way, another folder.
        let moved = format!("Return-Path: <b@y.example>\nReceived: from somewhere\nX-Status: RO\n{a}\n\n");
        assert_eq!(ids(&[&moved]), one);
    }

    #[test]
    fn a_long_message_id_is_hashed() {
        let (long, other) = ("<".repeat(ID_BYTES_MAX + 1), ">".repeat(ID_BYTES_MAX + 1));
        assert_eq!(event_id(&long, &[7; 16]).len(), 32 + 1 + 2 * ID_HASH_BYTES);
        assert_ne!(event_id(&long, &[7; 16]), event_id(&other, &[7; 16]));
        assert_eq!(event_id("<1@x>", &[7; 16]), "<1@x>#0707070707070707");
    }

    #[test]
    fn a_directory_of_everything() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &[u8]| std::fs::write(directory.path().join(name), text).expect("written");
        write(
            "1.mbox",
            format!("{SEPARATOR}{}\n{SEPARATOR}{}", message("<1@x>", "a"), message("<2@x>", "b")).as_bytes(),
        );
        write("2.eml", message("<3@x>", "c").replace('\n', "\r\n").as_bytes());
        write("3.json", b"{}");
        write("4.mbox", format!("{SEPARATOR}{}\n{SEPARATOR}From: x", message("<4@x>", "d")).as_bytes());
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, message("<5@x>", &"e\n".repeat(200_000)).as_bytes()).expect("packed");
        let packed = packed.finish().expect("packed");
        write("5.txt.gz", &packed);
        write("6.txt.gz", &packed[..packed.len() / 2]);
        let outcomes = import(MAPPING, directory.path());
        let ids: Vec<_> = events(&outcomes).iter().map(|e| e["data"]["message_id"].clone()).collect();
        assert_eq!(ids, ["<1@x>", "<2@x>", "<3@x>", "<4@x>", "<5@x>"]);
        let faults: Vec<_> = outcomes
            .iter()
            .filter_map(|o| {
                let fault = o.events.as_ref().err()?.first()?;
                let name = o.file.as_deref().and_then(|f| f.rsplit('/').next())?;
                Some((name, fault.line, fault.column, fault.reason.clone()))
            })
            .collect();
        assert_eq!(faults.len(), 3, "{faults:?}");
        for (fault, (name, line, says)) in
            faults.iter().zip([("3.json", 1, "no mail"), ("4.mbox", 8, "cut off"), ("6.txt.gz", 5, "any further")])
        {
            assert_eq!(fault.0, name);
            assert!(fault.1 >= line && fault.3.contains(says), "{fault:?}");
        }
        let only_eml = format!("{MAPPING}files = [\".eml\"]");
        assert_eq!(events(&import(&only_eml, directory.path())).len(), 1);
    }

    #[test]
    fn a_program_can_add_to_it() {
        let mapping = format!(
            "{MAPPING}program = '''.rows[0] | (.data.text | capture(\"case (?<case_id>[0-9]+)\") // {{}}) as $n | .data += $n'''"
        );
        let text = format!("{SEPARATOR}{}\n{SEPARATOR}{}", message("<1@x>", "about case 77"), message("<2@x>", "b"));
        let found = events(&import_text(&mapping, text.as_bytes()));
        assert_eq!(found.iter().map(|e| e["data"].get("case_id")).collect::<Vec<_>>(), [Some(&json!("77")), None]);
    }

    #[test]
    fn the_shipped_mappings_are_understood() {
        for text in [
            include_str!("../../../mappings/mail.toml").to_owned(),
            include_str!("../../../mappings/spam-assassin-mail.toml").to_owned(),
            // The example in it, without the number signs.
            include_str!("../../../mappings/mail.toml")
                .replace("# program", "program")
                .replace("# .rows", ".rows")
                .replace("# '''", "'''"),
        ] {
            let message = message("<1@x>", "a").replace("\nDate", "\nSubject: [case 12] x\nDate");
            let found = events(&import_text(&text, message.as_bytes()));
            assert_eq!(
                (&found[0]["type"], &found[0]["subject"]),
                (&json!("email.message.received"), &json!("email:ann@x.example"))
            );
            assert_eq!(found[0]["data"].get("case_id").is_some(), text.contains("\nprogram"));
        }
    }
}
