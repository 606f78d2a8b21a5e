//! Every parser that meets outside bytes, each behind a function that takes any bytes at all and panics where a promise is
//! broken. `cargo fuzz` runs them for as long as one likes (`make fuzz`); `make check` gives them what was found so far, and
//! variations of it.
//!
//! | target | bytes from | what must hold of any |
//! |---|---|---|
//! | `event` | whoever publishes | what is accepted comes back from the log equal as JSON, in one form, and every model can fold it |
//! | `request` | whoever publishes | headers and body of each mode: each event is JSON, what is rejected is kept as it came |
//! | `record` | any program that writes to the topic | a record is refused or folded, in whichever order it is asked; what is shown of it is JSON |
//! | `token` | clients | positions read back as they are written, bytes of a place in the order of facts too |
//! | `identifier` | events, clients | a normal form is its own normal form; lists come back |
//! | `number` | events | times, days, decimals: two readers agree, what is written reads back |
//! | `question` | clients of query | references, parameters, cursors, search bodies: read back; no value becomes SQL |
//! | `csv`, `ndjson` | files to import | the same rows however the bytes arrive, no two of them one event, all JSON |
//! | `mail` | mailboxes, messages | every mail that is an event is one that the collector accepts, the same each time |
//! | `mapping` | an operator | a mapping and its program are read or refused |
//! | `settings` | an operator | `rapport.toml`, variables, `up.toml`: read or refused; every setting has its kind |
//! | `resume` | an earlier `log forward` | it goes on where the log has something |
//!
//! What PostgreSQL and Kafka answer is read by their clients. Programs of a mapping are not run here: they may never end.
//!
//! | module | responsibility |
//! |---|---|
//! | `events` | events as JSON, as records |
//! | `values` | tokens, identifiers, numbers |
//! | `settings` | configuration |
//! | `mutate` | variations of bytes, from a seed |
//! | `same` | JSON that is equal |

mod events;
mod mutate;
mod same;
mod settings;
mod values;

pub use collector::fuzz::request;
pub use events::{event, record};
pub use mutate::Mutator;
pub use query::fuzz::question;
pub use rapport::fuzz::{csv, mail, mapping, ndjson, resume};
pub use settings::settings;
pub use values::{identifier, number, token};

/// A parser, and what is worth trying with it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As its file in `tests/fuzz/fuzz_targets` and its folder in `tests/fuzz/corpus` are called.
    pub name: &'static str,
    /// Panics where a promise is broken.
    pub run: fn(&[u8]),
    /// How many variations of the corpus the short run takes: fewer where each costs more.
    pub variations: usize,
    /// Texts that its parser knows, and some that such parsers stumble over.
    pub tokens: &'static [&'static str],
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    Target { name: "event", run: event, variations: 20_000, tokens: EVENT },
    Target { name: "request", run: request, variations: 10_000, tokens: EVENT },
    Target { name: "record", run: record, variations: 20_000, tokens: &[] },
    Target { name: "token", run: token, variations: 50_000, tokens: &["p1.", "t1.", "AAAA", "_-"] },
    Target { name: "identifier", run: identifier, variations: 20_000, tokens: IDENTIFIER },
    Target { name: "number", run: number, variations: 50_000, tokens: NUMBER },
    Target { name: "question", run: question, variations: 20_000, tokens: QUESTION },
    Target { name: "csv", run: csv, variations: 3_000, tokens: CSV },
    Target { name: "ndjson", run: ndjson, variations: 5_000, tokens: EVENT },
    Target { name: "mail", run: mail, variations: 3_000, tokens: MAIL },
    Target { name: "mapping", run: mapping, variations: 500, tokens: MAPPING },
    Target { name: "settings", run: settings, variations: 3_000, tokens: SETTINGS },
    Target {
        name: "resume",
        run: resume,
        variations: 3_000,
        tokens: &["\"next\"", "-1", "9223372036854775807", "null"],
    },
];

const EVENT: &[&str] = &[
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "[[[[[[[[",
    "{\"a\":",
    "\"data\":",
    "\"data_base64\":\"AA==\"",
    "\"time\":",
    "\"type\":\"order.placed\"",
    "\"type\":\"com.acme.x\"",
    "\"sequence\":\"7\"",
    "\"correlationid\":\"case:7\"",
    "\"identifiers\":\"email:a@b,%2C\"",
    "\"subject\":\"phone:030 123456\"",
    "\\u0000",
    "\\ud800",
    "\\u00e4",
    "-0",
    "1e400",
    "1.50",
    "99999999999999999999",
    "\u{feff}",
    "\r\n",
    "ce-id: %C3%BC",
    "content-type: application/cloudevents-batch+json",
];
const IDENTIFIER: &[&str] = &[
    "email:",
    "phone:",
    "+49",
    "0049",
    "030",
    "customer_no:",
    "external.crm:",
    "user_id:",
    "@",
    "\u{130}",
    "\u{1e9e}",
    "\u{3a3}",
    "%2C",
    ",",
    "null",
    ";ext=7",
    "tel:",
    " ",
    "\u{a0}",
];
const NUMBER: &[&str] = &[
    "-",
    "+",
    "0",
    "00",
    ".",
    "e",
    "E-9",
    "e+18",
    "2026-03-01",
    "T10:00:00",
    "Z",
    "+02:00",
    "-00:00",
    ".123456789",
    ":60",
    "24:00",
    "9999-12-31",
    "0000-01-01",
];
const QUESTION: &[&str] = &[
    "?",
    "&",
    "=",
    "%00",
    "%27",
    "'",
    "''",
    "$1",
    "$2::text",
    "--",
    "cursor=t1.",
    "cursor=s1.",
    "position=p1.",
    "limit=1",
    "from=",
    "to=2026-03-01T10:00:00+02:00",
    "order_id=",
    "flags=",
    "idle=1 hour",
    "at=",
    "{\"q\":\"",
    "\n",
];
const CSV: &[&str] = &[
    "\"",
    "\"\"",
    ",",
    ";",
    "\n",
    "\r\n",
    "\r",
    "\u{feff}",
    "\0",
    "email",
    "price",
    "day",
    "json",
    "21.11.2026",
    "1,5",
    "[[[[",
    "\u{fffd}",
];
const MAIL: &[&str] = &[
    "From ",
    ">From ",
    "From: ",
    "To: ",
    "Date: Thu, 22 Aug 2002 12:36:23 GMT",
    "Message-ID: <1@x>",
    "In-Reply-To: <",
    "References: ",
    "Subject: =?utf-8?q?=C3=BC?=",
    "=?iso-2022-jp?b?GyRC?=",
    "Content-Type: multipart/mixed; boundary=\"b\"",
    "Content-Type: text/html; charset=utf-7",
    "Content-Transfer-Encoding: base64",
    "Content-Transfer-Encoding: quoted-printable",
    "Content-Disposition: attachment; filename*=utf-8''%ff",
    "\n\n",
    "--b",
    "--b--",
    "\r\n",
    "message/rfc822",
    "<",
    ">",
    ";",
];
const MAPPING: &[&str] = &[
    "format = \"csv\"",
    "format = \"mail\"",
    "program = '''",
    "'''",
    "source = ",
    "delimiter = \"\u{e4}\"",
    "group_by = [\"a\"]",
    "def f: f; f",
    "reduce",
    "[",
    "(",
    "|",
    "\\(",
    "minor(",
    "date(",
    "as $x",
];
const SETTINGS: &[&str] = &[
    "[kafka]",
    "[",
    "]",
    "=",
    "\"",
    "port_base",
    "bind",
    "\"ms\"",
    "1s",
    "1h",
    "MiB",
    "-1",
    "99999999999999999999",
    "true",
    "acks",
    "\n",
];
