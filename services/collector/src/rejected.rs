//! What is kept of a rejected event: its bytes as they came, and why it was rejected. A record of the rejected topic is
//! one JSON document, so that any consumer can read it.

use std::borrow::Cow;

use rapport_proto::json::Fault;
use serde::{Deserialize, Serialize};

/// One record of the rejected topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedRecord<'a> {
    /// When the collector had read it, RFC 3339 with microseconds.
    pub received_at: Cow<'a, str>,
    /// How it came: `structured`, `batch` or `binary`. A binary event is kept in the structured form it stands for.
    pub mode: Cow<'a, str>,
    /// The request's content type, as sent.
    pub content_type: Cow<'a, str>,
    /// The event's `id`, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Cow<'a, str>>,
    /// Why it was rejected.
    pub errors: Vec<Reason<'a>>,
    /// The event, byte for byte.
    pub event: Cow<'a, str>,
    /// The event's whole length in bytes, where it was too large to be kept whole and only its beginning is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_from_bytes: Option<u64>,
}

/// One reason for a rejection, as in the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason<'a> {
    /// Stable code, such as `missing_field`.
    pub code: Cow<'a, str>,
    /// Where in the event, as a JSON pointer.
    pub pointer: Cow<'a, str>,
    /// A sentence.
    pub detail: Cow<'a, str>,
}

impl<'a> From<&'a Fault> for Reason<'a> {
    fn from(fault: &'a Fault) -> Self {
        Self { code: fault.code.into(), pointer: fault.pointer.as_str().into(), detail: fault.detail.as_str().into() }
    }
}

/// A rejected event, to be kept.
pub(crate) struct Kept<'a> {
    pub(crate) received_at: &'a str,
    pub(crate) mode: &'static str,
    pub(crate) content_type: &'a str,
    pub(crate) id: Option<&'a str>,
    pub(crate) faults: &'a [Fault],
    pub(crate) event: &'a str,
    /// At most so many bytes of the event are kept.
    pub(crate) bytes_max: usize,
}

impl Kept<'_> {
    /// The record's value.
    pub(crate) fn to_value(&self) -> Vec<u8> {
        let whole = self.event.len();
        let event = &self.event[..self.event.floor_char_boundary(self.bytes_max)];
        let record = RejectedRecord {
            received_at: self.received_at.into(),
            mode: self.mode.into(),
            content_type: self.content_type.into(),
            id: self.id.map(Cow::Borrowed),
            errors: self.faults.iter().map(Reason::from).collect(),
            event: event.into(),
            cut_from_bytes: (event.len() < whole).then_some(whole as u64),
        };
        serde_json::to_vec(&record).expect("a record of texts is always JSON")
    }
}

impl RejectedRecord<'_> {
    /// Reads a record's value.
    pub fn parse(value: &[u8]) -> Result<RejectedRecord<'static>, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(event: &str, bytes_max: usize) -> RejectedRecord<'static> {
        let faults =
            [Fault { code: "missing_field", pointer: "/data/order_id".into(), detail: "order_id is required".into() }];
        let kept = Kept {
            received_at: "2026-03-01T10:00:00Z",
            mode: "batch",
            content_type: "application/cloudevents-batch+json",
            id: Some("e1"),
            faults: &faults,
            event,
            bytes_max,
        };
        RejectedRecord::parse(&kept.to_value()).expect("our own record")
    }

    #[test]
    fn bytes_come_back_as_they_came() {
        let event = " {\"id\":\"e1\", \"price\":1.50, \"text\":\"\\u00e4ä\"\n}";
        let record = kept(event, 1000);
        assert_eq!(record.event, event);
        assert_eq!((record.errors[0].code.as_ref(), record.cut_from_bytes), ("missing_field", None));
    }

    #[test]
    fn long_events_are_cut_between_characters() {
        let record = kept("aäb", 2);
        assert_eq!((record.event.as_ref(), record.cut_from_bytes), ("a", Some(4)));
    }
}
