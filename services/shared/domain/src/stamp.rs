//! The one order of facts: `(occurred_at, rank of the type, sequence, event_id)`, encoded so that bytes compare like it.

use crate::ids::EventId;

/// Of a text sequence, this many bytes take part in the order (an index entry has a limit); beyond it the event id decides.
pub const SEQUENCE_BYTES_MAX: usize = 64;

/// A position in the order of facts. Unique for an event, because the event id is its last part. Stored as `bytea`:
/// PostgreSQL compares it as this type does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(Vec<u8>);

impl Stamp {
    /// `occurred_at` in microseconds UTC; `sequence` as published: absent sorts before integers, integers before texts.
    pub fn new(occurred_at: i64, rank: u16, sequence: Option<&str>, event_id: EventId) -> Self {
        let mut bytes = Vec::with_capacity(8 + 2 + 9 + 16);
        bytes.extend_from_slice(&biased(occurred_at));
        bytes.extend_from_slice(&rank.to_be_bytes());
        match sequence {
            None => bytes.push(0),
            Some(text) => match text.parse::<i64>() {
                Ok(number) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&biased(number));
                }
                Err(_) => {
                    bytes.push(2);
                    let text = text.as_bytes();
                    bytes.extend_from_slice(&text[..text.len().min(SEQUENCE_BYTES_MAX)]);
                    bytes.push(0);
                }
            },
        }
        bytes.extend_from_slice(event_id.as_bytes());
        Self(bytes)
    }

    /// Reads back what [`Stamp::as_bytes`] gave (a column, a page cursor). `None` if it is too short to be one.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= 8 + 2 + 1 + 16).then_some(Self(bytes))
    }

    /// The bytes, in order.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// When it happened, microseconds UTC.
    pub fn occurred_at(&self) -> i64 {
        let mut eight = [0; 8];
        eight.copy_from_slice(&self.0[..8]);
        (u64::from_be_bytes(eight) ^ SIGN) as i64
    }

    /// Which event it is.
    pub fn event_id(&self) -> EventId {
        let mut sixteen = [0; 16];
        sixteen.copy_from_slice(&self.0[self.0.len() - 16..]);
        EventId::from_bytes(sixteen)
    }
}

impl std::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stamp({} {})", self.occurred_at(), self.event_id())
    }
}

const SIGN: u64 = 1 << 63;

/// Big-endian with the sign bit turned, so that negative numbers sort first.
fn biased(number: i64) -> [u8; 8] {
    (number as u64 ^ SIGN).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn sequence() -> impl Strategy<Value = Option<String>> {
        prop_oneof![Just(None), any::<i64>().prop_map(|n| Some(n.to_string())), "[a-c]{0,3}".prop_map(Some)]
    }

    /// The order as the design states it, written without the encoding.
    fn key(sequence: &Option<String>) -> (u8, i64, String) {
        match sequence {
            None => (0, 0, String::new()),
            Some(t) => t.parse().map_or_else(|_| (2, 0, t.clone()), |n| (1, n, String::new())),
        }
    }

    proptest! {
        #[test]
        fn bytes_compare_like_the_parts(
            a in (-3i64..3, 0u16..3, sequence(), 0u128..3), b in (-3i64..3, 0u16..3, sequence(), 0u128..3),
        ) {
            let stamp = |(t, r, s, e): &(i64, u16, Option<String>, u128)| Stamp::new(*t, *r, s.as_deref(), Uuid::from_u128(*e));
            let parts = |(t, r, s, e): &(i64, u16, Option<String>, u128)| (*t, *r, key(s), *e);
            prop_assert_eq!(stamp(&a).cmp(&stamp(&b)), parts(&a).cmp(&parts(&b)));
            prop_assert_eq!(stamp(&a).occurred_at(), a.0);
            prop_assert_eq!(stamp(&a).event_id(), Uuid::from_u128(a.3));
        }
    }
}
