//! Whether Kafka confirms records, as publishing finds out: told in the log once each way, and to readiness.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// This long after the last failure nothing is said against readiness any more. A collector that is not ready may be sent
/// nothing, and what is sent is all that can show that Kafka confirms again.
const HELD_AGAINST: Duration = Duration::from_secs(30);

/// What is known of an outage. One a collector.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    now: Mutex<Option<Failing>>,
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

    /// Whether records are confirmed, as far as is known.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self) -> Result<(), String> {
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
}
