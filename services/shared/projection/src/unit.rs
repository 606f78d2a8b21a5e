//! A stretch of records on its way into one transaction.

use std::collections::BTreeMap;

use domain::{Brief, Interaction, Namespace};
use event_log::Record;
use sha2::{Digest as _, Sha256};

use crate::batch::Batch;
use crate::model::Event;

/// What a record turned out to be.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// An interaction.
    Event(Box<Interaction>),
    /// The record that names the log: nothing to fold.
    Created,
    /// No interaction at all; says why.
    Broken(String),
}

/// A record and what it turned out to be.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) record: Record,
    pub(crate) content: Content,
}

impl Decoded {
    /// `needs`: whether the model has to see an event whole.
    pub(crate) fn new(record: Record, namespace: &Namespace, needs: impl Fn(&Brief<'_>) -> bool) -> Self {
        let content = if record.created {
            Content::Created
        } else {
            let needs = |brief: &Brief<'_>| brief.is_void() || needs(brief);
            match Interaction::decode_needed(&record.value, record.received_at, namespace, needs) {
                Ok(interaction) => Content::Event(Box::new(interaction)),
                Err(error) => Content::Broken(error.to_string()),
            }
        };
        Self { record, content }
    }
}

/// A record that stands aside, and why.
#[derive(Clone, Debug)]
pub(crate) struct Aside {
    pub(crate) record: Record,
    pub(crate) reason: String,
}

/// Where a partition stands once a unit is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) next: i64,
    pub(crate) last_offset: i64,
    pub(crate) last_hash: Vec<u8>,
    pub(crate) last_received_at: i64,
}

/// The hash of a record's value: tells copies of one event apart, and one log from another.
pub(crate) fn hash_of(record: &Record) -> [u8; 32] {
    Sha256::digest(&record.value).into()
}

/// How far records, in the order of each partition, take the partitions.
pub(crate) fn advances<'r>(records: impl IntoIterator<Item = &'r Record>) -> BTreeMap<i32, Advance> {
    let mut last: BTreeMap<i32, &Record> = BTreeMap::new();
    for record in records {
        last.insert(record.partition, record);
    }
    let advance = |record: &Record| Advance {
        next: record.offset + 1,
        last_offset: record.offset,
        last_hash: hash_of(record).to_vec(),
        last_received_at: record.received_at,
    };
    last.into_iter().map(|(partition, record)| (partition, advance(record))).collect()
}

/// What one transaction folds: the reduced batch, what stands aside, and the records they came from (to split it).
pub(crate) struct Unit {
    pub(crate) records: Vec<Record>,
    pub(crate) batch: Batch,
    pub(crate) aside: Vec<Aside>,
}

impl Unit {
    pub(crate) fn new(decoded: Vec<Decoded>) -> Self {
        let mut records = Vec::with_capacity(decoded.len());
        let mut events = Vec::with_capacity(decoded.len());
        let mut aside = Vec::new();
        for Decoded { record, content } in decoded {
            match content {
                Content::Event(interaction) => events.push(Event {
                    partition: record.partition,
                    offset: record.offset,
                    value: record.value.clone(),
                    interaction: *interaction,
                }),
                Content::Created => {}
                Content::Broken(reason) => aside.push(Aside { record: record.clone(), reason }),
            }
            records.push(record);
        }
        Self { records, batch: Batch::reduce(events), aside }
    }

    /// A single record that cannot be folded.
    pub(crate) fn set_aside(record: Record, reason: String) -> Self {
        let aside = vec![Aside { record: record.clone(), reason }];
        Self { records: vec![record], batch: Batch::default(), aside }
    }

    /// In parts: around the record that was refused, where it is known, else in halves. Each is decoded again: this is
    /// rare, and keeping what was decoded would cost every batch.
    pub(crate) fn split(
        self,
        refused: Option<usize>,
        namespace: &Namespace,
        needs: impl Fn(&Brief<'_>) -> bool,
    ) -> Vec<Self> {
        let at = refused.and_then(|event| {
            let event = self.batch.events.get(event)?;
            self.records.iter().position(|r| (r.partition, r.offset) == (event.partition, event.offset))
        });
        let (from, to) = match at {
            Some(at) => (at, at + 1),
            None => (self.records.len() / 2, self.records.len() / 2),
        };
        [&self.records[..from], &self.records[from..to], &self.records[to..]]
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| Self::new(part.iter().map(|r| Decoded::new(r.clone(), namespace, &needs)).collect()))
            .collect()
    }

    /// How far it takes each partition.
    pub(crate) fn advances(&self) -> BTreeMap<i32, Advance> {
        advances(&self.records)
    }
}
