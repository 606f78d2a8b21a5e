//! Times: RFC 3339 outside, microseconds since 1970 UTC inside.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};

/// The microseconds since 1970 UTC of an RFC 3339 date-time; what is finer is cut off towards the past.
pub fn parse(text: &str) -> Option<i64> {
    if let Some(micros) = parse_utc(text.as_bytes()) {
        return Some(micros);
    }
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_micros())
}

/// As [`parse`], of what most senders write: `2026-03-01T10:00:00Z`, with up to 6 digits of a fraction. `None` is no
/// verdict: any other form is left to the general parser.
fn parse_utc(text: &[u8]) -> Option<i64> {
    let number = |digits: &[u8]| -> Option<u32> {
        let all_digits = digits.iter().all(u8::is_ascii_digit);
        all_digits.then(|| digits.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0')))
    };
    let [date @ .., b'Z'] = text else { return None };
    let (date, fraction) = date.split_at_checked(19)?;
    let marks = [date[4], date[7], date[10], date[13], date[16]];
    if marks != *b"--T::" {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => {
            number(digits)? * 10_u32.pow(6 - u32::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    let year = i32::try_from(number(&date[..4])?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(&date[5..7])?, number(&date[8..10])?)?;
    let (hour, minute) = (number(&date[11..13])?, number(&date[14..16])?);
    let time = day.and_hms_micro_opt(hour, minute, number(&date[17..19])?, micros)?;
    Some(time.and_utc().timestamp_micros())
}

/// As [`parse`], of a full-date (`2026-12-24`: its midnight, UTC) or a date-time.
pub fn parse_date(text: &str) -> Option<i64> {
    match day(text) {
        Some(day) => Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros()),
        None => parse(text),
    }
}

/// A calendar day, `2026-12-24`.
pub fn day(text: &str) -> Option<NaiveDate> {
    let shaped = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    shaped.then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())?
}

/// Minutes since midnight of a time of day, `00:00` to `24:00`.
pub fn clock_minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    if !two_digits(hour) || !two_digits(minute) {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= 24 * 60).then_some(minutes)
}

/// The normal form: UTC with `Z`, no fraction, or one of 3 or of 6 digits.
///
/// A count of microseconds that no year from 0 to 9999 has is written as the nearest that one has.
pub fn format(micros: i64) -> String {
    let mut text = Vec::with_capacity(27);
    write(micros, &mut text);
    String::from_utf8(text).expect("the text of a time is ASCII")
}

/// Appends the normal form.
pub(crate) fn write(micros: i64, to: &mut Vec<u8>) {
    // The first and last microsecond that RFC 3339 can write: years 0000 and 9999.
    let micros = micros.clamp(-62_167_219_200_000_000, 253_402_300_799_999_999);
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    let mut part = |value: u32, digits: u32, after: &[u8]| {
        for power in (0..digits).rev() {
            let digit = value / 10_u32.pow(power) % 10;
            to.push(b"0123456789"[digit as usize]);
        }
        to.extend_from_slice(after);
    };
    part(u32::try_from(time.year()).unwrap_or(0), 4, b"-");
    part(time.month(), 2, b"-");
    part(time.day(), 2, b"T");
    part(time.hour(), 2, b":");
    part(time.minute(), 2, b":");
    match time.nanosecond() / 1000 {
        0 => part(time.second(), 2, b"Z"),
        us if us % 1000 == 0 => {
            part(time.second(), 2, b".");
            part(us / 1000, 3, b"Z");
        }
        us => {
            part(time.second(), 2, b".");
            part(us, 6, b"Z");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_normal_form() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(parse(text).map(format).as_deref(), want, "{text}");
        };
        check("2026-03-01T10:00:00Z", Some("2026-03-01T10:00:00Z"));
        check("2026-03-01T10:00:00.25+02:00", Some("2026-03-01T08:00:00.250Z"));
        check("2026-03-01t10:00:00.5z", Some("2026-03-01T10:00:00.500Z"));
        check("2026-03-01T10:00:00.123450Z", Some("2026-03-01T10:00:00.123450Z"));
        check("2026-03-01T10:00:00.0000019Z", Some("2026-03-01T10:00:00.000001Z"));
        check("1969-12-31T23:59:59.9999999Z", Some("1969-12-31T23:59:59.999999Z"));
        check("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z"));
        check("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00Z"));
        check("0000-01-01T00:00:00+10:00", Some("0000-01-01T00:00:00Z"));
        check("9999-12-31T23:59:59.999999Z", Some("9999-12-31T23:59:59.999999Z"));
        for wrong in [
            "2026-03-01",
            "2026-03-01T10:00:00",
            "2026-02-30T10:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T10:00:00.Z",
            "+026-03-01T10:00:00Z",
            "now",
            "",
        ] {
            check(wrong, None);
        }
        assert_eq!(format(i64::MIN), "0000-01-01T00:00:00Z");
        assert_eq!(format(i64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn days_and_clocks() {
        assert_eq!(parse_date("1970-01-02"), Some(86_400_000_000));
        assert_eq!(parse_date("1970-01-01T00:00:01Z"), Some(1_000_000));
        assert_eq!(parse_date("1970-02-30"), None);
        assert_eq!(clock_minutes("09:30"), Some(570));
        assert_eq!(clock_minutes("24:00"), Some(1440));
        for wrong in ["24:01", "9:30", "09:60", "0930", "+9:30"] {
            assert_eq!(clock_minutes(wrong), None, "{wrong}");
        }
    }
}
