//! Waiting for a position: one poller reads the checkpoints for everybody who waits, and sleeps while nobody does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::Position;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    database::Checkpoints,
    metrics,
    progress::{Compared, Progress},
};

/// How often checkpoints are read while somebody waits. PostgreSQL's NOTIFY would be no substitute: it does not reach
/// replicas, and a reader must ask the server that it reads from.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// After a failed reading the next one comes this much later.
const POLL_RETRY: Duration = Duration::from_millis(100);
/// A reading that takes longer has failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// What the poller saw last.
#[derive(Clone, Debug)]
struct Seen {
    progress: Progress,
    /// Counts readings that failed like the one before: whoever waits learns of those that came after they began. One alone
    /// may be a moment's trouble.
    failures: u64,
}

/// Where waiting stands: a cheap clone of one shared state.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    seen: watch::Receiver<Seen>,
    waiters: Arc<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    count: AtomicUsize,
    arrived: Notify,
}

/// How waiting ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Worth reading again: the poller saw the position reached, or another log.
    ReadAgain,
    /// The deadline passed.
    TimedOut,
    /// The checkpoints cannot be read.
    Unavailable,
}

impl Waiting {
    /// The shared state and the poller that feeds it, which is to be run beside the server.
    pub(crate) fn new(checkpoints: Checkpoints) -> (Self, Poller) {
        let (sender, seen) = watch::channel(Seen { progress: Progress::default(), failures: 0 });
        let waiters = Arc::<Waiters>::default();
        (Self { seen, waiters: waiters.clone() }, Poller { checkpoints, sender, waiters })
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.waiters.count.load(Ordering::SeqCst)
    }

    /// Waits until all models have reached `position`.
    pub(crate) async fn until(&self, position: &Position, deadline: Instant) -> Waited {
        let _one = OneMore::new(&self.waiters);
        let mut seen = self.seen.clone();
        let failures = seen.borrow_and_update().failures;
        loop {
            {
                let now = seen.borrow_and_update();
                if now.failures != failures {
                    return Waited::Unavailable;
                }
                if !matches!(now.progress.compare(position), Compared::Behind(_)) {
                    return Waited::ReadAgain;
                }
            }
            match timeout_at(deadline, seen.changed()).await {
                Ok(Ok(())) => {}
                // The poller has gone: the service is shutting down.
                Ok(Err(_)) => return Waited::Unavailable,
                Err(_) => return Waited::TimedOut,
            }
        }
    }
}

/// Somebody who waits, counted for as long as they do.
struct OneMore<'a>(&'a Waiters);

impl<'a> OneMore<'a> {
    fn new(waiters: &'a Waiters) -> Self {
        let before = waiters.count.fetch_add(1, Ordering::SeqCst);
        metrics::waiting(before + 1);
        waiters.arrived.notify_one();
        Self(waiters)
    }
}

impl Drop for OneMore<'_> {
    fn drop(&mut self) {
        let before = self.0.count.fetch_sub(1, Ordering::SeqCst);
        metrics::waiting(before - 1);
    }
}

/// Reads the checkpoints while somebody waits.
pub(crate) struct Poller {
    checkpoints: Checkpoints,
    sender: watch::Sender<Seen>,
    waiters: Arc<Waiters>,
}

impl Poller {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut has_failed = false;
        loop {
            while self.waiters.count.load(Ordering::SeqCst) == 0 {
                has_failed = false;
                self.waiters.arrived.notified().await;
            }
            let read = timeout(POLL_TIMEOUT, self.checkpoints.read()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
            let pause = match read {
                Ok(progress) => {
                    has_failed = false;
                    self.saw(progress);
                    POLL_INTERVAL
                }
                Err(error) => {
                    // That the database is away is told once, as a condition of readiness.
                    tracing::debug!(%error, "checkpoints cannot be read");
                    if std::mem::replace(&mut has_failed, true) {
                        self.sender.send_modify(|seen| seen.failures += 1);
                    }
                    POLL_RETRY
                }
            };
            sleep(pause).await;
        }
    }

    /// Wakes the waiters only where something moved: most readings find the same as the last.
    fn saw(&self, progress: Progress) {
        self.sender.send_if_modified(|seen| {
            let moved = seen.progress != progress;
            seen.progress = progress;
            moved
        });
    }
}
