//! One copy of each event in a batch.

use std::cmp::Ordering;
use std::collections::HashMap;

use uuid::Uuid;

use crate::model::Event;

/// What is folded in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One an event id: of the copies in this batch the one with the least `(received_at, hash)`. In order of arrival.
    pub events: Vec<Event>,
    /// The differing greater copies, one for each other hash, with its least `received_at`.
    pub copies: Vec<Event>,
    /// Every record of an event of which there is more than one, equal ones too.
    pub arrivals: Vec<Arrival>,
}

/// Where a record of an event stands, and which copy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Of which event.
    pub event_id: Uuid,
    /// Of the record's value.
    pub hash: [u8; 32],
    /// Microseconds UTC.
    pub received_at: i64,
    /// Where in the log.
    pub partition: i32,
    /// Where in its partition.
    pub offset: i64,
}

impl Arrival {
    /// Of this record.
    pub fn of(event: &Event) -> Self {
        let Event { partition, offset, interaction, .. } = event;
        let (event_id, hash, received_at) = (interaction.event_id, interaction.hash, interaction.received_at);
        Self { event_id, hash, received_at, partition: *partition, offset: *offset }
    }
}

impl Batch {
    /// Reduces records to one copy an event id.
    pub fn reduce(records: Vec<Event>) -> Self {
        let mut batch = Self { events: Vec::with_capacity(records.len()), ..Self::default() };
        // Where each event stands, and whether it has come more than once.
        let mut seen: HashMap<Uuid, (usize, bool)> = HashMap::with_capacity(records.len());
        for event in records {
            match seen.get_mut(&event.interaction.event_id) {
                None => {
                    seen.insert(event.interaction.event_id, (batch.events.len(), false));
                    batch.events.push(event);
                }
                Some((at, is_noted)) => {
                    if !std::mem::replace(is_noted, true) {
                        batch.arrivals.push(Arrival::of(&batch.events[*at]));
                    }
                    batch.arrivals.push(Arrival::of(&event));
                    batch.another(*at, event);
                }
            }
        }
        batch
    }

    /// No event at all.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// A second record of `events[at]`'s event id: the least stays in `events`, each other hash stands once in `copies`.
    fn another(&mut self, at: usize, mut event: Event) {
        let counted = &mut self.events[at];
        if compare(&event, counted) == Ordering::Less {
            std::mem::swap(counted, &mut event);
        }
        let (id, hash) = (counted.interaction.event_id, counted.interaction.hash);
        // The hash that counts now may be listed from before; the one that no longer counts is listed instead.
        self.copies.retain(|c| c.interaction.event_id != id || c.interaction.hash != hash);
        if event.interaction.hash == hash {
            return;
        }
        let listed = |c: &&mut Event| c.interaction.event_id == id && c.interaction.hash == event.interaction.hash;
        match self.copies.iter_mut().find(listed) {
            Some(copy) if compare(&event, copy) == Ordering::Less => *copy = event,
            Some(_) => {}
            None => self.copies.push(event),
        }
    }
}

/// The order of copies: `(received_at, hash)`. Where both are equal the records are one copy.
fn compare(a: &Event, b: &Event) -> Ordering {
    a.interaction.copy_order().cmp(&b.interaction.copy_order())
}
