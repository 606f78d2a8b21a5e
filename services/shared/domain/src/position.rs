//! Where in the log something stands. Clients hold on to the token; its content is ours.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

/// Partition -> the next offset to read.
pub type Offsets = BTreeMap<i32, i64>;

/// A position: log id, and how far in each partition. One set of offsets stands for all models; a read that found them
/// at different points lists each model that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The log it belongs to; a token of another log is refused.
    pub log_id: Uuid,
    /// Partition -> next offset, for every model not named in `models`.
    pub next: Offsets,
    /// What a publish appended first, a partition: with `next`, the range in which its dead letters would lie.
    pub first: Offsets,
    /// Where models differ: name -> partition -> next offset.
    pub models: BTreeMap<String, Offsets>,
}

/// Why a token was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position is the text a publish or a query returned in `Rapport-Position`, like `p1.AbC…`; this is not one")]
pub struct NotAPosition;

const PREFIX: &str = "p1.";
/// Lists in a token are at most this long: a hostile token cannot make us allocate.
const ENTRIES_MAX: u64 = 10_000;

impl Position {
    /// The position at these offsets.
    pub fn new(log_id: Uuid, next: Offsets) -> Self {
        Self { log_id, next, ..Self::default() }
    }

    /// One position from what each model has reached: offsets all share stand once.
    pub fn of_models(log_id: Uuid, models: BTreeMap<String, Offsets>) -> Self {
        let mut all = models.values();
        match all.next() {
            Some(first) if all.all(|offsets| offsets == first) => Self::new(log_id, first.clone()),
            _ => Self { log_id, models, ..Self::default() },
        }
    }

    /// What a model must have reached.
    pub fn for_model(&self, model: &str) -> &Offsets {
        self.models.get(model).unwrap_or(&self.next)
    }

    /// Notes one appended record.
    pub fn appended(&mut self, partition: i32, offset: i64) {
        let next = self.next.entry(partition).or_insert(offset + 1);
        *next = (*next).max(offset + 1);
        let first = self.first.entry(partition).or_insert(offset);
        *first = (*first).min(offset);
    }

    /// The token: `p1.` and base64url.
    pub fn token(&self) -> String {
        let mut bytes = self.log_id.as_bytes().to_vec();
        offsets(&mut bytes, &self.next);
        offsets(&mut bytes, &self.first);
        number(&mut bytes, self.models.len() as u64);
        for (name, next) in &self.models {
            number(&mut bytes, name.len() as u64);
            bytes.extend_from_slice(name.as_bytes());
            offsets(&mut bytes, next);
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a token.
    pub fn parse(token: &str) -> Result<Self, NotAPosition> {
        let bytes = token.strip_prefix(PREFIX).and_then(|t| URL_SAFE_NO_PAD.decode(t).ok()).ok_or(NotAPosition)?;
        Reader(&bytes).position().ok_or(NotAPosition)
    }
}

fn number(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

fn offsets(to: &mut Vec<u8>, offsets: &Offsets) {
    number(to, offsets.len() as u64);
    for (partition, offset) in offsets {
        number(to, u64::from(partition.unsigned_abs()));
        number(to, offset.unsigned_abs());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn position(mut self) -> Option<Position> {
        let log_id = Uuid::from_slice(self.take(16)?).ok()?;
        let (next, first) = (self.offsets()?, self.offsets()?);
        let mut models = BTreeMap::new();
        for _ in 0..self.count()? {
            let length = self.count()?;
            let name = std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()?.to_owned();
            models.insert(name, self.offsets()?);
        }
        self.0.is_empty().then_some(Position { log_id, next, first, models })
    }

    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn count(&mut self) -> Option<u64> {
        self.number().filter(|n| *n <= ENTRIES_MAX)
    }

    fn offsets(&mut self) -> Option<Offsets> {
        let mut offsets = Offsets::new();
        for _ in 0..self.count()? {
            let partition = i32::try_from(self.number()?).ok()?;
            offsets.insert(partition, i64::try_from(self.number()?).ok()?);
        }
        Some(offsets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn there_and_back(id in any::<u128>(), next in btree_map(0..i32::MAX, 0..i64::MAX, 0..9), first in btree_map(0..9, 0..i64::MAX, 0..3),
                          models in btree_map("[a-z0-9]{1,12}", btree_map(0..99, 0..i64::MAX, 0..4), 0..4)) {
            let position = Position { log_id: Uuid::from_u128(id), next, first, models };
            prop_assert_eq!(Position::parse(&position.token()), Ok(position));
        }

        #[test]
        fn any_text_is_answered(text in "(p1\\.)?[A-Za-z0-9_-]{0,80}") {
            let _ = Position::parse(&text);
        }
    }

    #[test]
    fn equal_offsets_stand_once() {
        let at = |n| Offsets::from([(0, n)]);
        let id = Uuid::from_u128(1);
        let same = Position::of_models(id, BTreeMap::from([("a".into(), at(3)), ("b".into(), at(3))]));
        assert_eq!(same, Position::new(id, at(3)));
        let apart = Position::of_models(id, BTreeMap::from([("a".into(), at(3)), ("b".into(), at(4))]));
        assert_eq!((apart.for_model("a"), apart.for_model("b")), (&at(3), &at(4)));
    }
}
