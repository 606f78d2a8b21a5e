//! Whether Kafka confirms records, as publishing finds out: told in the log once each way, and to readiness. And whether what
//! it confirms is still the log.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// This long after the last failure nothing is said against readiness any more. A collector that is not ready may be sent
/// nothing, and what is sent is all that can show that Kafka confirms again.
const HELD_AGAINST: Duration = Duration::from_secs(30);

/// Why nothing is appended any more.
const ANOTHER_LOG: &str = "the topic holds another log now (it was deleted and created again), or has lost records that were \
     acknowledged: restore it, or start the collector again to go on with what is there";

/// What is known of an outage. One a collector.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    now: Mutex<Option<Failing>>,
    is_another_log: AtomicBool,
}

#[derive(Debug)]
struct Failing {
    /// What the first record that failed was answered with.
    reason: String,
    /// When the last one failed.
    last: Instant,
}

impl Outage {
    /// A request's records were not confirmed.
    pub(crate) fn failed(&self, reason: String) {
        let mut now = self.lock();
        match &mut *now {
            Some(failing) => failing.last = Instant::now(),
            None => {
                tracing::warn!(reason, "kafka does not confirm records; publishers are told to send again");
                *now = Some(Failing { reason, last: Instant::now() });
            }
        }
    }

    /// All of a request's records were confirmed.
    pub(crate) fn confirmed(&self) {
        if self.lock().take().is_some() {
            tracing::info!("kafka confirms records again");
        }
    }

    /// The topic is not the log that was opened. Nothing that would be confirmed from here on could ever be read as a part of
    /// it, until [`Self::own_log_again`].
    pub(crate) fn is_another_log(&self) {
        if !self.is_another_log.swap(true, Ordering::Relaxed) {
            tracing::error!(reason = ANOTHER_LOG, "nothing is appended any more; publishers are told to send again");
        }
    }

    /// The topic holds the log that was opened: it was restored, or a broker had told otherwise for a moment.
    pub(crate) fn own_log_again(&self) {
        if self.is_another_log.swap(false, Ordering::Relaxed) {
            tracing::info!("the topic holds this collector's log again");
        }
    }

    /// Whether what is appended goes into the log that was opened, as far as is known.
    pub(crate) fn is_own_log(&self) -> bool {
        !self.is_another_log.load(Ordering::Relaxed)
    }

    /// Whether records are confirmed, as far as is known.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.is_own_log() {
            return Err(ANOTHER_LOG.to_owned());
        }
        match &*self.lock() {
            Some(failing) if failing.last.elapsed() < HELD_AGAINST => {
                Err(format!("records are not confirmed: {}", failing.reason))
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Failing>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_is_told_until_records_are_confirmed_or_long_not_refused() {
        let outage = Outage::default();
        assert_eq!(outage.check(), Ok(()));
        outage.failed("may not write".into());
        outage.failed("too late".into());
        assert_eq!(outage.check(), Err("records are not confirmed: may not write".into()));
        outage.confirmed();
        assert_eq!(outage.check(), Ok(()));

        outage.failed("too late".into());
        let long_ago = Instant::now().checked_sub(HELD_AGAINST).expect("the machine has been up for longer");
        if let Some(failing) = &mut *outage.lock() {
            failing.last = long_ago;
        }
        assert_eq!(outage.check(), Ok(()));
        outage.failed("still too late".into());
        assert_eq!(outage.check(), Err("records are not confirmed: too late".into()));
    }

    #[test]
    fn another_log_passes_once_it_is_its_own_again() {
        let outage = Outage::default();
        assert!(outage.is_own_log());
        outage.is_another_log();
        outage.confirmed();
        assert_eq!((outage.is_own_log(), outage.check()), (false, Err(ANOTHER_LOG.to_owned())));
        outage.own_log_again();
        assert_eq!((outage.is_own_log(), outage.check()), (true, Ok(())));
    }
}
