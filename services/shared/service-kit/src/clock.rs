use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// The time of day, as a value that is passed: nothing but this reads the system's clock.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::set`] moves it, with all its clones: for tests.
    pub fn fixed(now: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now.timestamp_micros()))))
    }

    /// Now.
    pub fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.now_us()).expect("a clock stays within the years that a date can hold")
    }

    /// Now, as microseconds since 1970.
    pub fn now_us(&self) -> i64 {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
            Source::System => Utc::now().timestamp_micros(),
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Moves a fixed clock. The machine's clock stays what it is.
    pub fn set(&self, now: DateTime<Utc>) {
        if let Source::Manual(held) = &self.0 {
            held.store(now.timestamp_micros(), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::System => formatter.write_str("Clock::system"),
            Source::Manual(_) => write!(formatter, "Clock::fixed({})", self.now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let start = DateTime::from_timestamp(1_772_438_400, 0).expect("a time");
        let clock = Clock::fixed(start);
        let copy = clock.clone();
        assert_eq!(copy.now(), start);
        clock.set(start + chrono::Duration::microseconds(1));
        assert_eq!(copy.now_us(), start.timestamp_micros() + 1);
    }
}
