//! Records: one that was read, one that is to be appended.

use bytes::Bytes;
use domain::{receipt, time};
use rapport_proto::v1;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders, Timestamp};

/// `ce_type` of the record that names the log. It is no interaction.
pub const LOG_CREATED_TYPE: &str = "io.rapport.log.created";
/// The header with the time of receipt: RFC 3339 with microseconds.
pub const RECEIVED_AT_HEADER: &str = "ce_recordedtime";

/// One record of the log. Cloning copies no bytes.
#[derive(Clone, Debug)]
pub struct Record {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Kafka's own timestamp, milliseconds since 1970; 0 if the record has none.
    pub timestamp_ms: i64,
    /// When a collector had read the event, microseconds UTC: the header, else Kafka's timestamp.
    pub received_at: i64,
    /// Whether it names the log (offset 0 of partition 0, and later ones that lost the race): not to be folded.
    pub created: bool,
    /// The key; empty if it has none.
    pub key: Bytes,
    /// The value; empty if it has none.
    pub value: Bytes,
    headers: Bytes,
}

/// What a record's headers take, about.
const HEADERS_BYTES: usize = 384;

impl Record {
    /// Copies a message out of the client's memory, in one allocation.
    pub(crate) fn copy_of(message: &BorrowedMessage<'_>) -> Self {
        let key = message.key().unwrap_or_default();
        let value = message.payload().unwrap_or_default();
        let headers = message.headers();
        // Asking for a header costs more than room for a few bytes too many: they are gone through once.
        let mut bytes = Vec::with_capacity(key.len() + value.len() + HEADERS_BYTES);
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(key);
        let mut received_at = None;
        let mut created = false;
        for header in headers.iter().flat_map(|h| h.iter()) {
            let text = header.value.unwrap_or_default();
            match header.key {
                RECEIVED_AT_HEADER => received_at = std::str::from_utf8(text).ok().and_then(time::parse),
                "ce_type" => created = text == LOG_CREATED_TYPE.as_bytes(),
                _ => {}
            }
            put_header(&mut bytes, header.key, text);
        }
        let bytes = Bytes::from(bytes);
        let timestamp_ms = match message.timestamp() {
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => ms,
            Timestamp::NotAvailable => 0,
        };
        Self {
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms,
            received_at: received_at.unwrap_or(timestamp_ms.saturating_mul(1000)),
            created,
            key: bytes.slice(value.len()..value.len() + key.len()),
            value: bytes.slice(..value.len()),
            headers: bytes.slice(value.len() + key.len()..),
        }
    }

    /// A record that was not read from Kafka: a value at a place, without key and headers.
    pub fn bare(partition: i32, offset: i64, received_at: i64, value: Bytes) -> Self {
        Self {
            partition,
            offset,
            timestamp_ms: received_at.div_euclid(1000),
            received_at,
            created: false,
            key: Bytes::new(),
            value,
            headers: Bytes::new(),
        }
    }

    /// A record as it was kept elsewhere. The time of receipt is the one that was kept, whatever the headers say.
    pub fn kept<'h>(
        partition: i32,
        offset: i64,
        received_at: i64,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    ) -> Self {
        let mut bytes = Vec::with_capacity(HEADERS_BYTES);
        let mut created = false;
        for (name, text) in headers {
            created |= name == "ce_type" && text == LOG_CREATED_TYPE.as_bytes();
            put_header(&mut bytes, name, text);
        }
        let bare = Self::bare(partition, offset, received_at, value.into());
        Self { created, key: key.into(), headers: bytes.into(), ..bare }
    }

    /// The headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.headers[..];
        std::iter::from_fn(move || {
            let (name, after) = part(rest)?;
            let (value, after) = part(after)?;
            rest = after;
            Some((std::str::from_utf8(name).unwrap_or_default(), value))
        })
    }

    /// The value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(n, _)| *n == name).and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Bytes it holds in memory.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len() + self.headers.len()
    }
}

fn put_header(bytes: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
        bytes.extend_from_slice(part);
    }
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// A record to be appended. One with an empty key has none: any partition may take it.
#[derive(Debug)]
pub struct NewRecord {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) headers: OwnedHeaders,
    pub(crate) partition: Option<i32>,
}

impl NewRecord {
    /// A record without headers. The key chooses the partition.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), headers: OwnedHeaders::new_with_capacity(8), partition: None }
    }

    /// A record read before, once more: key, value and headers byte for byte. The key chooses the partition.
    pub fn again(record: &Record) -> Self {
        let again = Self::new(&record.key[..], &record.value[..]);
        record.headers().fold(again, |again, (name, value)| again.header(name, value))
    }

    /// The record of a normalized interaction: `value` is its encoding, `received_at` microseconds UTC. The key is the
    /// one all producers must choose; the headers repeat what other CloudEvents consumers read.
    pub fn of(wire: &v1::Interaction, value: Vec<u8>, received_at: i64) -> Self {
        let mut record = Self::new(receipt::key(wire), value).header("ce_specversion", "1.0");
        for (name, value) in [("ce_id", &wire.id), ("ce_source", &wire.source), ("ce_type", &wire.r#type)] {
            record = record.header(name, value.as_deref().unwrap_or_default());
        }
        if let Some(at) = wire.occurred_at.and_then(time::format) {
            record = record.header("ce_time", at);
        }
        if let Some(subject) = wire.subject.as_deref() {
            record = record.header("ce_subject", subject);
        }
        record
            .header(RECEIVED_AT_HEADER, time::format(received_at).unwrap_or_default())
            .header("content-type", "application/protobuf")
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers = self.headers.insert(Header { key, value: Some(value.as_ref()) });
        self
    }

    /// Into this partition, whatever the key says.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back() {
        let headers = [("ce_type", &b"order.placed"[..]), ("ce_id", b"7"), ("empty", b"")];
        let record = Record::kept(3, 17, 1_772_438_400_000_001, &b"key"[..], &b"value"[..], headers);
        assert_eq!(record.headers().collect::<Vec<_>>(), headers);
        assert_eq!((record.partition, record.offset, record.received_at), (3, 17, 1_772_438_400_000_001));
        assert_eq!((&record.key[..], &record.value[..], record.created), (&b"key"[..], &b"value"[..], false));
        assert_eq!((record.header("ce_id"), record.header("ce_time")), (Some("7"), None));
        let created = Record::kept(0, 0, 0, Bytes::new(), Bytes::new(), [("ce_type", LOG_CREATED_TYPE.as_bytes())]);
        assert!(created.created);
    }
}
