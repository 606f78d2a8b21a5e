//! Times are microseconds since 1970 UTC inside, RFC 3339 outside.

use chrono::{DateTime, SecondsFormat, Utc};

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds in a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds in a day of 24 hours.
pub const DAY: i64 = 24 * 60 * MINUTE;
/// 1900-01-01T00:00:00Z, the earliest time an event may have.
pub const EARLIEST: i64 = -2_208_988_800 * SECOND;
/// The last microsecond of the year 9999, the latest time that RFC 3339 can write.
pub const LATEST: i64 = 253_402_300_800 * SECOND - 1;

/// RFC 3339 in UTC with as many fraction digits as needed; `None` beyond the years chrono can write.
pub fn format(micros: i64) -> Option<String> {
    let at: DateTime<Utc> = DateTime::from_timestamp_micros(micros)?;
    Some(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Reads RFC 3339; digits beyond microseconds are cut off (toward the past).
pub fn parse(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|t| t.timestamp_micros())
}

/// For columns and JSON that want a chrono value. Times in the log are checked on receipt, so this saturates only for
/// records that another producer wrote.
pub fn to_chrono(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1900-01-01T00:00:00Z", EARLIEST),
            ("9999-12-31T23:59:59.999999Z", LATEST),
            ("2026-03-01T10:00:00.250Z", 1_772_359_200_250_000),
        ] {
            assert_eq!(parse(text), Some(micros));
            assert_eq!(format(micros).as_deref(), Some(text));
        }
        assert_eq!(parse("2026-03-01T12:00:00.2500009+02:00"), Some(1_772_359_200_250_000));
        assert_eq!(parse("2026-03-01"), None);
    }
}
