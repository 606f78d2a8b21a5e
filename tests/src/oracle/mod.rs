//! The oracle: every read model computed naively from the whole set of records, in another way than the projectors do
//! it. Slow, short, and without a database. What it says is what the tables must say.

pub mod carts;
pub mod customer360;
pub mod identity;
pub mod sales;
pub mod service;

use std::collections::{BTreeMap, BTreeSet};

use domain::{EventId, Interaction, Namespace};
use serde_json::{Value, value::RawValue};

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

/// The rows of each view, as JSON.
#[derive(Debug, Default)]
pub struct Rows(pub BTreeMap<&'static str, Vec<Box<RawValue>>>);

impl Rows {
    /// One row more.
    pub fn push(&mut self, view: &'static str, row: &impl serde::Serialize) {
        let row = serde_json::value::to_raw_value(row).expect("a row is JSON");
        self.0.entry(view).or_default().push(row);
    }

    /// One row more, with a column whose JSON stands as it is, digit for digit.
    pub fn push_with(&mut self, view: &'static str, row: &Value, column: &str, raw: &str) {
        self.0.entry(view).or_default().push(with_raw(row, column, raw));
    }

    /// All rows of a view as one JSON array.
    pub fn array(&self, view: &str) -> String {
        let rows: Vec<&str> = self.0.get(view).into_iter().flatten().map(|row| row.get()).collect();
        format!("[{}]", rows.join(","))
    }
}

fn with_raw(row: &Value, column: &str, raw: &str) -> Box<RawValue> {
    let text = row.to_string();
    let open = text.strip_suffix('}').expect("a row is an object");
    RawValue::from_string(format!("{open},{}:{raw}}}", Value::from(column))).expect("a row is JSON")
}

/// A time as PostgreSQL reads it.
fn time(micros: i64) -> Value {
    domain::time::format(micros).map_or(Value::Null, Value::from)
}

/// An amount as `backbone.decimal` writes it: two digits, for histories know only such currencies. Without a currency
/// the digits are unknown and taken as two.
fn decimal(minor: Option<i128>, _currency: Option<&str>) -> Value {
    minor.map_or(Value::Null, |m| {
        let (sign, value) = (if m < 0 { "-" } else { "" }, m.unsigned_abs());
        format!("{sign}{}.{:02}", value / 100, value % 100).into()
    })
}

/// The owner of an entity whose facts, in order, these are.
fn owner(facts: &[&Interaction]) -> Option<uuid::Uuid> {
    facts.iter().find_map(|e| e.subject.as_ref()).map(|s| s.id)
}
