//! The one place that reads a clock, for measurements only: nothing in a fold does.

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970 UTC.
#[expect(clippy::disallowed_methods, reason = "for measurements: no fold sees it")]
pub(crate) fn now_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
