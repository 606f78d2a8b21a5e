//! The oracle: every read model computed naively from the whole set of records, in another way than the projectors do
//! it. Slow, short, and without a database. What it says is what the tables must say.

pub mod identity;

use std::collections::{BTreeMap, BTreeSet};

use domain::{EventId, Interaction, Namespace};

use crate::history::Recorded;

/// The set of interactions: of each event the copy that counts, the others that differ, and what is voided.
pub struct Set {
    /// The counted copy of each event, voided or not, in the order of facts.
    pub counted: Vec<Interaction>,
    /// Of each event with differing copies: every copy, each once with its least time of receipt.
    pub differing: Vec<Interaction>,
    /// Events taken back.
    pub voided: BTreeSet<EventId>,
}

impl Set {
    /// The set that these records make, whatever their order and number.
    pub fn new(records: &[Recorded], namespace: &Namespace) -> Self {
        let mut copies: BTreeMap<EventId, BTreeMap<[u8; 32], Interaction>> = BTreeMap::new();
        for record in records {
            let event = Interaction::decode(&record.value, record.received_at, namespace).expect("a record of ours");
            let same = copies.entry(event.event_id).or_default();
            match same.get(&event.hash) {
                Some(known) if known.received_at <= event.received_at => {}
                _ => {
                    same.insert(event.hash, event);
                }
            }
        }
        let mut counted: Vec<Interaction> =
            copies.values().filter_map(|c| c.values().min_by_key(|e| e.copy_order()).cloned()).collect();
        counted.sort_by(|a, b| a.stamp.cmp(&b.stamp));
        let differing = copies.into_values().filter(|c| c.len() > 1).flat_map(BTreeMap::into_values).collect();
        let voids: BTreeSet<EventId> = counted.iter().filter(|e| e.voids().is_some()).map(|e| e.event_id).collect();
        let voided = counted.iter().filter_map(Interaction::voids).filter(|target| !voids.contains(target)).collect();
        Self { counted, differing, voided }
    }

    /// What folds see: counted and not taken back, in the order of facts.
    pub fn facts(&self) -> Vec<&Interaction> {
        self.counted.iter().filter(|e| !self.voided.contains(&e.event_id)).collect()
    }
}
