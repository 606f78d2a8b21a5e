//! Cuts a request's body into the texts of its events, without building a tree: each is read, judged and kept on its own.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// The body as text. JSON is UTF-8, and checking it once lets every later step work on text.
pub(crate) fn text(body: &[u8]) -> Result<&str, Refusal> {
    match std::str::from_utf8(body) {
        Ok(text) if text.trim_ascii().is_empty() => {
            Err(Refusal::Malformed("the body is empty; it should hold JSON".into()))
        }
        Ok(text) => Ok(text),
        Err(e) => Err(Refusal::Malformed(format!(
            "the body is not UTF-8: byte {} is no part of a character",
            e.valid_up_to() + 1
        ))),
    }
}

/// The body as one JSON value.
pub(crate) fn one(text: &str) -> Result<&str, Refusal> {
    serde_json::from_str::<&RawValue>(text).map(RawValue::get).map_err(|e| malformed(&e))
}

/// The body as an array of at most `events_max` JSON values.
pub(crate) fn array(text: &str, events_max: usize) -> Result<Vec<&str>, Refusal> {
    if !text.trim_ascii_start().starts_with('[') {
        one(text)?;
        return Err(Refusal::Malformed(
            "a batch is an array of events; one event alone is sent as application/cloudevents+json".into(),
        ));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let items = reader.deserialize_seq(Items { events_max }).map_err(|e| malformed(&e))?;
    let Some(items) = items else { return Err(Refusal::TooManyEvents { events_max }) };
    reader.end().map_err(|e| malformed(&e))?;
    Ok(items)
}

fn malformed(e: &serde_json::Error) -> Refusal {
    let what = e.to_string();
    // serde_json says where at the end of its sentence; here it comes first, in words.
    let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
    Refusal::Malformed(format!("the body is no JSON: line {}, column {}: {what}", e.line(), e.column()))
}

struct Items {
    events_max: usize,
}

impl<'de> Visitor<'de> for Items {
    /// `None`: more than `events_max`.
    type Value = Option<Vec<&'de str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&RawValue>()? {
            if items.len() < self.events_max {
                items.push(item.get());
            } else {
                // The rest is scanned, so that the answer does not depend on what stands behind the limit.
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                return Ok(None);
            }
        }
        Ok(Some(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Result<&[&str], &str>) {
        match (array(body, 3), expected) {
            (Ok(items), Ok(expected)) => assert_eq!(items, expected, "{body}"),
            (Err(refusal), Err(part)) => assert!(refusal.to_string().contains(part), "{body}: {refusal}"),
            (got, expected) => panic!("{body}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn arrays() {
        check("[]", Ok(&[]));
        check(" [ {\"a\": 1.50} ,null, \"x\" ]\n", Ok(&["{\"a\": 1.50}", "null", "\"x\""]));
        check("[1,2,3,4]", Err("more than 3 events"));
        check("{}", Err("is an array"));
        check("[1,", Err("line 1, column 3"));
        check("[1]x", Err("line 1, column 4"));
        check("[1,\n 2,\n tru]", Err("line 3"));
    }

    #[test]
    fn depth_is_no_danger_here() {
        let deep = format!("[{}1{}]", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(array(&deep, 3).expect("an array").len(), 1);
    }

    #[test]
    fn texts() {
        assert!(text(b"\xff").is_err());
        assert!(text(b"{\"a\":\"\xc3").expect_err("cut").to_string().contains("byte 7"));
        assert!(text(b" \n").expect_err("empty").to_string().contains("empty"));
        assert_eq!(text("ä".as_bytes()).expect("text"), "ä");
    }
}
