//! Sharing out work among tasks, with a line every two seconds about how far it has come.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{Outcome, table::Latencies};

/// Between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Prints how far something has come, now and then.
pub(crate) struct Progress {
    what: String,
    began: Instant,
    printed: Mutex<Instant>,
}

impl Progress {
    /// Begins now.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let now = Instant::now();
        Self { what: what.into(), began: now, printed: Mutex::new(now) }
    }

    /// Takes note of how much is done.
    pub(crate) fn at(&self, done: usize, of: usize) {
        let mut printed = self.printed.lock().expect("nothing panics while it is held");
        if printed.elapsed() >= PROGRESS_INTERVAL {
            *printed = Instant::now();
            let rate = done as f64 / self.began.elapsed().as_secs_f64();
            println!("  {}: {done} of {of}, {rate:.0}/s", self.what);
        }
    }
}

/// Numbers to be worked off by several tasks.
pub(crate) struct Queue {
    next: AtomicUsize,
    first: usize,
    end: usize,
    chunk: usize,
    progress: Progress,
}

impl Queue {
    /// The numbers of `range`, at most `chunk` at a time.
    pub(crate) fn new(what: impl Into<String>, range: Range<usize>, chunk: usize) -> Self {
        let progress = Progress::new(what);
        Self { next: AtomicUsize::new(range.start), first: range.start, end: range.end, chunk, progress }
    }

    /// The next ones; `None` when all are taken.
    pub(crate) fn take(&self) -> Option<Range<usize>> {
        let start = self.next.fetch_add(self.chunk, Ordering::Relaxed);
        if start >= self.end {
            return None;
        }
        self.progress.at(start - self.first, self.end - self.first);
        Some(start..(start + self.chunk).min(self.end))
    }
}

/// Waits for all tasks; what each measured, together.
///
/// # Errors
/// The first error of a task; the others are given up.
pub(crate) async fn finish(mut tasks: JoinSet<Outcome<Vec<Duration>>>) -> Outcome<Latencies> {
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended??);
    }
    Ok(Latencies::new(all))
}
