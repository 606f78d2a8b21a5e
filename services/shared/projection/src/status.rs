//! What a projector knows about itself: for `/readyz`, metrics and `status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::position::Offsets;
use uuid::Uuid;

/// One partition held by this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The next offset to fold.
    pub next_offset: i64,
    /// The log's end when it was last asked.
    pub end_offset: Option<i64>,
    /// The end was met, and nothing has come since that is not folded.
    pub at_end: bool,
    /// When the last record folded was received, microseconds UTC; `None` before the first.
    pub last_received_at: Option<i64>,
    /// When it was last seen folded to the log's end, or taken; microseconds UTC.
    pub seen_at_end: i64,
}

impl PartitionStatus {
    /// Records between checkpoint and end; `None` before the end was asked for.
    pub fn lag_events(&self) -> Option<i64> {
        self.end_offset.map(|end| (end - self.next_offset).max(0))
    }

    /// For how long it has been behind at `now` (microseconds UTC), at most: 0 at the end, else since the last record
    /// folded was received, or since it was seen at its end where that is later. A lone event after a quiet night is not a
    /// night late. `None` before the end was asked for.
    pub fn lag_seconds(&self, now: i64) -> Option<f64> {
        if self.lag_events()? == 0 {
            return Some(0.0);
        }
        let since = self.last_received_at.map_or(self.seen_at_end, |received| received.max(self.seen_at_end));
        Some((now - since).max(0) as f64 / 1e6)
    }
}

/// A projector at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Partitions held by this process.
    pub partitions: BTreeMap<i32, PartitionStatus>,
    /// Workers connected to PostgreSQL and sure of their leases.
    pub workers_running: usize,
    /// Records set aside since the start.
    pub dead_letters: u64,
    /// Events folded since the start.
    pub events: u64,
    /// Events that a load has read so far, while one is at work.
    pub loading_events: Option<u64>,
    /// What goes wrong in some worker and has not worked since.
    pub last_error: Option<String>,
    /// Why the log could not be asked for its ends, or is not as it was made; `None` if all is well with it.
    pub log_error: Option<String>,
}

impl Snapshot {
    /// Every partition held has been folded to its end. True as well for a process that holds none.
    pub fn caught_up(&self) -> bool {
        self.partitions.values().all(|p| p.at_end)
    }

    /// Records not folded yet, over all partitions held.
    pub fn lag_events(&self) -> i64 {
        self.partitions.values().filter_map(PartitionStatus::lag_events).sum()
    }

    /// Whether it does its work: some worker runs, and nothing stands in its way.
    ///
    /// # Errors
    /// A sentence saying what does.
    pub fn ready(&self) -> Result<(), String> {
        match self.last_error.as_ref().or(self.log_error.as_ref()) {
            Some(error) => Err(error.clone()),
            None if self.workers_running == 0 => Err("no worker is connected to PostgreSQL and Kafka yet".into()),
            None => Ok(()),
        }
    }
}

/// Shared by workers, monitor and handle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status(Arc<Mutex<Shared>>);

/// One of the two things a worker does, each on a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Fold,
    Heartbeat,
}

#[derive(Debug, Default)]
struct Shared {
    snapshot: Snapshot,
    /// What does not work, by whose it is: what works elsewhere must not hide it.
    troubles: BTreeMap<(Uuid, Part), String>,
}

impl Status {
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.lock().snapshot);
    }

    /// This part of a worker does not work, for this reason.
    pub(crate) fn fails(&self, worker: Uuid, part: Part, reason: impl Into<String>) {
        let mut shared = self.lock();
        shared.troubles.insert((worker, part), reason.into());
        shared.snapshot.last_error = shared.troubles.values().next().cloned();
    }

    /// This part of a worker works, or is no more.
    pub(crate) fn works(&self, worker: Uuid, part: Part) {
        let mut shared = self.lock();
        shared.troubles.remove(&(worker, part));
        shared.snapshot.last_error = shared.troubles.values().next().cloned();
    }

    /// Why this part of a worker does not work.
    pub(crate) fn trouble(&self, worker: Uuid, part: Part) -> Option<String> {
        self.lock().troubles.get(&(worker, part)).cloned()
    }

    /// Takes note of the log's ends as they were asked for at `now`, microseconds UTC, and of what is wrong with it all the same.
    pub(crate) fn ends(&self, ends: &Offsets, now: i64, log_error: Option<String>) {
        let snapshot = &mut self.lock().snapshot;
        snapshot.log_error = log_error;
        for (partition, status) in &mut snapshot.partitions {
            status.end_offset = ends.get(partition).copied().or(status.end_offset);
            if status.lag_events() == Some(0) {
                status.seen_at_end = now;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_late_since_it_was_last_on_time() {
        let second = 1_000_000;
        let behind = |last_received_at, seen_at_end| {
            PartitionStatus { next_offset: 5, end_offset: Some(7), last_received_at, seen_at_end, ..Default::default() }
                .lag_seconds(100 * second)
        };
        assert_eq!(behind(Some(90 * second), 40 * second), Some(10.0), "the last record folded");
        assert_eq!(behind(Some(10 * second), 97 * second), Some(3.0), "a quiet night");
        assert_eq!(behind(None, 60 * second), Some(40.0), "nothing folded yet");
        assert_eq!(behind(Some(101 * second), 0), Some(0.0), "clocks differ");
        let at_end = PartitionStatus { next_offset: 7, end_offset: Some(7), ..Default::default() };
        assert_eq!(at_end.lag_seconds(100 * second), Some(0.0));
        assert_eq!(PartitionStatus::default().lag_seconds(0), None, "the end is not known");
    }

    #[test]
    fn what_works_elsewhere_hides_no_trouble() {
        let (status, one, two) = (Status::default(), Uuid::from_u128(1), Uuid::from_u128(2));
        status.change(|s| s.workers_running = 2);
        assert_eq!(status.snapshot().ready(), Ok(()));
        status.fails(one, Part::Fold, "no space");
        status.works(two, Part::Fold);
        status.works(one, Part::Heartbeat);
        assert_eq!(status.snapshot().ready(), Err("no space".to_owned()));
        assert_eq!(status.trouble(one, Part::Fold).as_deref(), Some("no space"));
        status.fails(two, Part::Heartbeat, "no answer");
        status.works(one, Part::Fold);
        assert_eq!(status.snapshot().ready(), Err("no answer".to_owned()));
        status.works(two, Part::Heartbeat);
        assert_eq!(status.snapshot().ready(), Ok(()));
    }
}
