//! What a projector knows about itself: for `/readyz`, metrics and `status`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::position::Offsets;

/// One partition held by this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The next offset to fold.
    pub next_offset: i64,
    /// The log's end when it was last asked.
    pub end_offset: Option<i64>,
    /// The end was met, and nothing has come since that is not folded.
    pub at_end: bool,
}

impl PartitionStatus {
    /// Records between checkpoint and end; `None` before the end was asked for.
    pub fn lag_events(&self) -> Option<i64> {
        self.end_offset.map(|end| (end - self.next_offset).max(0))
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
    /// What went wrong last in a worker and has not worked since.
    pub last_error: Option<String>,
    /// Why the log could not be asked for its ends; `None` if it could.
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
pub(crate) struct Status(Arc<Mutex<Snapshot>>);

impl Status {
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.lock());
    }

    /// Takes note of the log's ends.
    pub(crate) fn ends(&self, ends: &Offsets) {
        let mut snapshot = self.lock();
        snapshot.log_error = None;
        for (partition, status) in &mut snapshot.partitions {
            status.end_offset = ends.get(partition).copied().or(status.end_offset);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
