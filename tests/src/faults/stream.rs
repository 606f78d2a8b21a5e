//! The events that are published: a company's story of all types, a spiteful history, and a bulk that never ends; copies,
//! differing copies, late ones, voids and some that have to be rejected among them, in an order that means nothing.

use std::collections::VecDeque;
use std::process::Command;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom, seq::SliceRandom};
use serde_json::{Value, json};

use crate::stack::{binary, command};
use crate::{history, load};

/// Events of one request.
const BATCH: usize = 20;
/// Of these, so many of the company's story and the spiteful history, until all of those are told.
const PREPARED_A_BATCH: usize = 8;
/// Events of the company's story: the fewest that `rapport demo` tells.
const COMPANY: usize = 1_000;
/// Events of the spiteful history: few people and entities, who would only grow longer with more.
const SPITEFUL: usize = 800;
/// Batches that are kept, to be published again.
const KEPT: usize = 64;

/// An endless stream of batches; the same seed gives the same.
pub(super) struct Stream {
    rng: StdRng,
    prepared: VecDeque<Value>,
    before: VecDeque<Vec<Value>>,
    count: u64,
}

impl Stream {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut prepared = company(seed);
        prepared.extend(history::told(seed, SPITEFUL).into_iter().map(|(event, _)| event));
        prepared.shuffle(&mut rng);
        Self { rng, prepared: prepared.into(), before: VecDeque::new(), count: 0 }
    }

    /// The next batch. One in ten was published before, as a whole.
    pub(super) fn batch(&mut self) -> Vec<Value> {
        if self.rng.random_bool(0.1)
            && let Some(again) = self.before.make_contiguous().choose(&mut self.rng)
        {
            let mut again = again.clone();
            again.shuffle(&mut self.rng);
            return again;
        }
        let prepared = self.prepared.len().min(PREPARED_A_BATCH);
        let mut batch: Vec<Value> = self.prepared.drain(..prepared).collect();
        while batch.len() < BATCH {
            let event = self.bulk();
            batch.push(event);
        }
        batch.shuffle(&mut self.rng);
        if self.before.len() == KEPT {
            self.before.pop_front();
        }
        self.before.push_back(batch.clone());
        batch
    }

    /// One more of the bulk, now and then another copy of an earlier one, what takes that back, or what is no event.
    fn bulk(&mut self) -> Value {
        let earlier =
            self.before.make_contiguous().choose(&mut self.rng).and_then(|b| b.choose(&mut self.rng)).cloned();
        self.count += 1;
        let id = format!("b{}", self.count);
        match (self.rng.random_range(0..200), earlier) {
            (0..4, Some(mut copy)) => {
                copy["time"] = domain::time::format(history::START + self.rng.random_range(0..86_400_000_000)).into();
                copy
            }
            (4, Some(earlier)) => json!({
                "specversion": "1.0", "source": "load", "id": id, "type": "interaction.voided",
                "time": domain::time::format(history::START),
                "data": {"voided_source": earlier["source"], "voided_id": earlier["id"]},
            }),
            (5, _) => json!({"specversion": "1.0", "source": "load", "id": id, "type": "order.placed",
                "time": domain::time::format(history::START), "data": {"lines": []}}),
            _ => load::event(&mut self.rng, &id),
        }
    }
}

/// The story that `rapport demo` tells by this seed.
fn company(seed: u64) -> Vec<Value> {
    let mut demo: Command = command(binary());
    demo.args(["demo", "--print", "--events", &COMPANY.to_string(), "--seed", &seed.to_string()]);
    let output = demo.current_dir(std::env::temp_dir()).output().expect("the rapport binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("an event")).collect()
}
