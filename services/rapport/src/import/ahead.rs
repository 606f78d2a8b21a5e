//! What the reading thread has read ahead of the import.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::groups::Outcome;

/// Outcomes ahead.
const OUTCOMES_MAX: usize = 256;

/// How large they are together, in bytes of JSON; one that is larger is ahead alone.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What an outcome takes beside its text, in bytes; more than less.
const OVERHEAD_BYTES: usize = 256;

/// The reading thread's end.
pub(super) struct Sender {
    runtime: Handle,
    room: Arc<Semaphore>,
    outcomes: mpsc::Sender<(OwnedSemaphorePermit, Outcome)>,
}

/// The import's end.
pub(super) struct Receiver(mpsc::Receiver<(OwnedSemaphorePermit, Outcome)>);

/// Two ends between which there is little, however large what comes through is. To be called inside a runtime.
pub(super) fn channel() -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::channel(OUTCOMES_MAX);
    let room = Arc::new(Semaphore::new(BYTES_MAX));
    (Sender { runtime: Handle::current(), room, outcomes: sender }, Receiver(receiver))
}

impl Sender {
    /// Waits for room. Whether somebody still listens. Not to be called on a thread of the runtime.
    pub(super) fn send(&self, outcome: Outcome) -> bool {
        let bytes = u32::try_from(size(&outcome).min(BYTES_MAX)).unwrap_or(u32::MAX);
        // When nobody listens any more, what lies there is dropped, and so there is room.
        let room = self.runtime.block_on(self.room.clone().acquire_many_owned(bytes));
        room.is_ok_and(|room| self.outcomes.blocking_send((room, outcome)).is_ok())
    }
}

impl Receiver {
    /// The next outcome; `None` when there are no more.
    pub(super) async fn recv(&mut self) -> Option<Outcome> {
        let (_room, outcome) = self.0.recv().await?;
        Some(outcome)
    }
}

fn size(outcome: &Outcome) -> usize {
    let texts: usize = match &outcome.events {
        Ok(events) => events.iter().map(|event| event.json.len() + OVERHEAD_BYTES).sum(),
        Err(faults) => faults.iter().map(|fault| fault.reason.len() + OVERHEAD_BYTES).sum(),
    };
    texts + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::import::groups::Event;

    fn outcome(bytes: usize) -> Outcome {
        let event = Event { event_id: Uuid::nil(), line: 1, json: vec![b' '; bytes] };
        Outcome { file: None, rows: 1, repeated: 0, events: Ok(vec![event]) }
    }

    /// Reads a hundred outcomes of this size ahead; answers with how many got through, and with the receiver.
    async fn fill(bytes: usize) -> (Arc<AtomicUsize>, Receiver, tokio::task::JoinHandle<bool>) {
        let (sender, receiver) = channel();
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let reading = tokio::task::spawn_blocking(move || {
            (0..100).all(|_| {
                let taken = sender.send(outcome(bytes));
                counted.fetch_add(usize::from(taken), Ordering::Relaxed);
                taken
            })
        });
        (sent, receiver, reading)
    }

    #[tokio::test]
    async fn large_outcomes_wait_for_room() {
        for (bytes, ahead_max) in [(1024 * 1024, 7), (3 * BYTES_MAX, 1)] {
            let (sent, mut receiver, reading) = fill(bytes).await;
            for received in 0..100 {
                assert!(receiver.recv().await.is_some());
                if received < 3 {
                    // Time enough to read more than there is room for.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                // One more may be there than is counted, or the other way round.
                assert!(sent.load(Ordering::Relaxed) <= received + 1 + ahead_max, "{bytes}: {sent:?} of {received}");
            }
            assert!(receiver.recv().await.is_none() && reading.await.expect("no panic"), "{bytes}");
        }
    }

    #[tokio::test]
    async fn small_outcomes_are_read_ahead_of_us() {
        let (sent, _receiver, reading) = fill(100).await;
        assert!(reading.await.expect("no panic"), "nothing waits");
        assert_eq!(sent.load(Ordering::Relaxed), 100);
    }

    #[tokio::test]
    async fn reading_ends_when_nobody_listens() {
        let (_, receiver, reading) = fill(BYTES_MAX / 2).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(receiver);
        assert!(!reading.await.expect("no panic"));
    }

    #[test]
    fn faults_have_a_size_too() {
        let fault = crate::import::csv::Fault { line: 1, column: None, reason: "x".repeat(1000) };
        let outcome = Outcome { file: None, rows: 1, repeated: 0, events: Err(vec![fault; 100]) };
        assert!((100_000..200_000).contains(&size(&outcome)));
    }
}
