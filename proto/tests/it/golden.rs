//! The bytes of every type, as they were when it was last looked at: `golden/events.ndjson` and `golden/events.hex`,
//! line by line. A difference that is meant is renewed by `make proto`.

use crate::example_events;
use prost::Message;
use rapport_proto::{json, v1};
use std::fmt::Write as _;

#[test]
fn bytes_are_as_they_were() {
    let events: Vec<_> = include_str!("../../golden/events.ndjson").lines().collect();
    let bytes: Vec<_> = include_str!("../../golden/events.hex").lines().collect();
    let examples = example_events::all();
    assert_eq!(events.len(), examples.len(), "a type has no golden bytes: run make proto");
    assert_eq!(bytes.len(), examples.len());
    for ((event, bytes), (info, example)) in events.iter().zip(bytes).zip(examples) {
        assert_eq!(*event, example.to_string(), "{} has other fields: run make proto", info.name);
        let read: v1::Interaction = json::read(event.as_bytes()).unwrap();
        assert_eq!(hex(&read.encode_to_vec()), bytes, "{} has other bytes", info.name);
        let decoded = v1::Interaction::decode(&*unhex(bytes)).unwrap();
        assert_eq!(decoded, read);
        let written = String::from_utf8(json::write(&decoded, Vec::new())).unwrap();
        assert_eq!(written, *event);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Vec<u8> {
    let bytes = (0..text.len()).step_by(2);
    bytes.map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
