//! Files to import, from any bytes: for fuzzing, and for nothing else.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;

use rapport_proto::{json, v1};
use tempfile::NamedTempFile;

use super::csv::{CsvReader, Record};
use super::groups::{Event, Groups, Outcome};
use super::mail::Mails;
use super::mapping::Mapping;
use super::program::Program;

/// So few bytes at a time that what is read does not fit: it must not depend on how the bytes arrive. The first ones tell
/// UTF-16, which a file's first piece always holds.
const PIECE_BYTES: usize = 4;

/// A file with a header, and a program that uses every function of ours.
const WITH_HEADER: &str = r#"
format = "csv"
source = "fuzz"
program = '''
.rows[0] as $row | {
  type: "case.opened",
  subject: "email:\($row.email // "")",
  data: {rows, row: ($row | hash), cents: (try minor($row.price; 2) catch .),
         day: (try date($row.day; "%d.%m.%Y"; "Europe/Berlin") catch .), read: (try ($row.json | fromjson) catch .)}
}
'''
"#;

/// A file without a header, its rows grouped.
const GROUPED: &str = r#"
format = "csv"
source = "fuzz"
header = false
columns = ["k", "v", "n"]
group_by = ["k"]
ignore = ["n"]
program = '{type: "t", data: {key, line, v: [.rows[].v]}}'
"#;

const LINES: &str = r#"
format = "ndjson"
source = "fuzz"
ignore = ["n"]
program = '.rows[] | {type: "t", data: .}'
"#;

const MAIL: &str = r#"
format = "mail"
source = "fuzz"
ours = ["@us.example", "ann@x.example"]
"#;

struct Ready {
    mapping: Mapping,
    program: Program,
}

impl Ready {
    fn of(text: &str) -> Self {
        let mapping = Mapping::parse(text).expect("a mapping of ours");
        let program = Program::compile(&mapping.program).expect("a program of ours");
        Self { mapping, program }
    }

    fn outcomes(&self, input: impl BufRead) -> Result<Vec<Outcome>, String> {
        let mut groups = Groups::open(&self.mapping, self.program.clone(), input).map_err(|e| e.to_string())?;
        let mut outcomes = Vec::new();
        while let Some(outcome) = groups.next().map_err(|e| e.to_string())? {
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

thread_local! {
    static READY_WITH_HEADER: Ready = Ready::of(WITH_HEADER);
    static READY_GROUPED: Ready = Ready::of(GROUPED);
    static READY_LINES: Ready = Ready::of(LINES);
    static READY_MAIL: Ready = Ready::of(MAIL);
    static MAILBOX: RefCell<NamedTempFile> = RefCell::new(NamedTempFile::new().expect("a temporary file"));
}

/// Reads a file of CSV: its delimiter, and what follows.
///
/// # Panics
/// What is read depends on how the bytes arrive, or what it becomes is no event.
pub fn csv(data: &[u8]) {
    let Some((first, file)) = data.split_first() else { return };
    let delimiter = if first.is_ascii() && !matches!(first, b'"' | b'\n' | b'\r') { *first } else { b',' };
    let whole = records(file, delimiter);
    assert_eq!(whole, records(BufReader::with_capacity(PIECE_BYTES, file), delimiter));
    assert!(whole.is_sorted_by(|one, next| one.line < next.line), "two records begin on one line");
    if delimiter == b',' {
        rows(&READY_WITH_HEADER, file);
        rows(&READY_GROUPED, file);
    }
}

fn records(input: impl BufRead, delimiter: u8) -> Vec<Record> {
    let mut reader = CsvReader::new(input, delimiter);
    std::iter::from_fn(|| reader.next().expect("memory can be read")).collect()
}

/// Reads a file of NDJSON.
///
/// # Panics
/// As [`csv`].
pub fn ndjson(data: &[u8]) {
    rows(&READY_LINES, data);
}

fn rows(ready: &'static std::thread::LocalKey<Ready>, file: &[u8]) {
    ready.with(|ready| {
        let whole = ready.outcomes(file);
        assert_eq!(whole, ready.outcomes(BufReader::with_capacity(PIECE_BYTES, file)));
        let outcomes = whole.unwrap_or_default();
        let mut ids: Vec<_> = events(&outcomes).map(|event| event.event_id).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|one, next| one < next), "two rows are one event");
        events(&outcomes).for_each(is_json);
    });
}

fn events(outcomes: &[Outcome]) -> impl Iterator<Item = &Event> {
    outcomes.iter().filter_map(|outcome| outcome.events.as_ref().ok()).flatten()
}

fn is_json(event: &Event) {
    let json = serde_json::from_slice::<serde::de::IgnoredAny>(&event.json);
    assert!(json.is_ok(), "an event is no JSON: {}", event.json.escape_ascii());
}

/// Reads a mailbox, or a message.
///
/// # Panics
/// What a mail becomes is no event of the contract, or another one when it is read again.
pub fn mail(data: &[u8]) {
    READY_MAIL.with(|ready| {
        MAILBOX.with_borrow_mut(|file| {
            rewrite(file, data).expect("a temporary file can be written");
            let outcomes = mails(ready, file);
            assert_eq!(outcomes, mails(ready, file));
            for event in events(&outcomes) {
                if let Err(faults) = json::read::<v1::Interaction>(&event.json) {
                    panic!("a mail's event is refused: {faults:?} {}", event.json.escape_ascii());
                }
            }
        });
    });
}

fn rewrite(file: &mut NamedTempFile, data: &[u8]) -> io::Result<()> {
    io::Seek::rewind(file)?;
    file.as_file().set_len(0)?;
    file.write_all(data)
}

fn mails(ready: &Ready, file: &NamedTempFile) -> Vec<Outcome> {
    let mut mails = Mails::new(&ready.mapping, ready.program.clone(), file.path(), Arc::default());
    std::iter::from_fn(|| mails.next()).collect()
}

/// Reads a mapping, and compiles its program. The program is not run: it is the operator's own, and may never end.
pub fn mapping(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(mapping) = Mapping::parse(text) {
        drop(Program::compile(&mapping.program));
    }
}
