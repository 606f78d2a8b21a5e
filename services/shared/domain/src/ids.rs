//! Name-based ids: equal names give equal ids on every machine and in every replay.

use sha1::{Digest as _, Sha1};
use uuid::{Builder, Uuid};

use crate::identifier::Identifier;

/// The id of an event in the log: a function of the `source` and `id` it was published with.
pub type EventId = Uuid;

/// `event_id` = UUIDv5(URL namespace, source 0x00 id), source and id as sent.
pub fn event_id(source: &str, id: &str) -> EventId {
    let mut name = Vec::with_capacity(source.len() + id.len() + 1);
    name.extend_from_slice(source.as_bytes());
    name.push(0);
    name.extend_from_slice(id.as_bytes());
    v5(Uuid::NAMESPACE_URL, &name)
}

/// UUIDv5 in the URL namespace, of a text that is too long to stand for itself.
pub fn name_id(name: &str) -> Uuid {
    v5(Uuid::NAMESPACE_URL, name.as_bytes())
}

/// UUIDv5 (RFC 9562): some of them are computed for every event in every model, with the processor's own SHA-1 where it
/// has one.
fn v5(namespace: Uuid, name: &[u8]) -> Uuid {
    let hash = Sha1::new().chain_update(namespace.as_bytes()).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Builder::from_sha1_bytes(bytes).into_uuid()
}

/// The log's secret: subject ids cannot be guessed from an e-mail address without it. It stands in the log's first
/// record and is copied when a log is rewritten, so that ids outlive the topic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Namespace(Uuid);

impl Namespace {
    /// Wraps the namespace read from the log's first record.
    pub const fn new(secret: Uuid) -> Self {
        Self(secret)
    }

    /// The secret itself, for the log's first record only.
    pub const fn secret(&self) -> Uuid {
        self.0
    }

    /// The id of the subject that these linking identifiers name. Order and repetition do not matter.
    pub fn subject_id<'a>(&self, identifiers: impl IntoIterator<Item = &'a Identifier>) -> Uuid {
        let mut texts: Vec<String> = identifiers.into_iter().map(ToString::to_string).collect();
        texts.sort_unstable();
        texts.dedup();
        v5(self.0, texts.join("\0").as_bytes())
    }

    /// The id of an entity (`order:77`), in a space of its own beside the subjects'.
    pub fn entity_id(&self, kind: &str, key: &str) -> Uuid {
        v5(self.0, format!("entity\0{kind}:{key}").as_bytes())
    }
}

// The namespace is a secret: it must not reach a log line by way of `{:?}`.
impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Namespace(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_pinned() {
        // Published ids must never change: computed once with Python's uuid.uuid5(NAMESPACE_URL, "shop\0e1").
        assert_eq!(event_id("shop", "e1").to_string(), "ebc112d4-42f5-5f4d-b999-ba7372ef031b");
        assert_ne!(event_id("sho", "pe1"), event_id("shop", "e1"));
    }

    #[test]
    fn subject_ids_ignore_order_and_repetition() {
        let ns = Namespace::new(Uuid::from_u128(7));
        let [a, b] = ["email:a@b.c", "phone:+4930123456"].map(|t| Identifier::parse(t).expect("an identifier"));
        assert_eq!(ns.subject_id([&a, &b]), ns.subject_id([&b, &a, &b]));
        assert_ne!(ns.subject_id([&a]), ns.subject_id([&a, &b]));
        assert_ne!(ns.subject_id([&a]), Namespace::new(Uuid::from_u128(8)).subject_id([&a]));
    }
}
