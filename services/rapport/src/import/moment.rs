use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// Reads a date or a time in a `strftime` format as RFC 3339. Without a time of day it is the day's first moment;
/// without an offset of its own it is in `zone` (an IANA name).
///
/// A local time that comes twice, when clocks go back, is the first of the two; one that clocks leap over is read by
/// the clock from before the leap.
pub(crate) fn read(text: &str, format: &str, zone: &str) -> Result<String, String> {
    let zone: Tz = zone
        .parse()
        .map_err(|_| format!("date: there is no time zone \"{zone}\"; they are named like \"Europe/Berlin\""))?;
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format))
        .map_err(|e| format!("date: \"{text}\" does not match \"{format}\": {e}"))?;
    if let Ok(at) = parsed.to_datetime() {
        return Ok(write(&at));
    }
    let date = parsed.to_naive_date().map_err(|e| format!("date: \"{text}\" read by \"{format}\" is no date: {e}"))?;
    let local = date.and_time(parsed.to_naive_time().unwrap_or(NaiveTime::MIN));
    localize(local, zone).map(|at| write(&at)).ok_or_else(|| format!("date: \"{text}\" is beyond the calendar"))
}

fn localize(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Tz>> {
    zone.from_local_datetime(&local).earliest().or_else(|| {
        // No clock leaps by more than a day.
        let before = local.checked_sub_signed(TimeDelta::days(1))?;
        let at = zone.from_local_datetime(&before).earliest()?;
        at.checked_add_signed(TimeDelta::days(1))
    })
}

fn write<Z: TimeZone>(at: &DateTime<Z>) -> String
where
    Z::Offset: std::fmt::Display,
{
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let berlin = "Europe/Berlin";
        for (text, format, zone, expected) in [
            ("2016-11-08", "%Y-%m-%d", "UTC", "2016-11-08T00:00:00Z"),
            ("8.7.2016 14:05", "%d.%m.%Y %H:%M", berlin, "2016-07-08T14:05:00+02:00"),
            ("2016-11-08T10:00:00-0500", "%Y-%m-%dT%H:%M:%S%z", berlin, "2016-11-08T10:00:00-05:00"),
            ("2024-10-27 02:30", "%Y-%m-%d %H:%M", berlin, "2024-10-27T02:30:00+02:00"),
            ("2024-03-31 02:30", "%Y-%m-%d %H:%M", berlin, "2024-03-31T03:30:00+02:00"),
            ("1700000000", "%s", "UTC", "2023-11-14T22:13:20Z"),
        ] {
            assert_eq!(read(text, format, zone).as_deref(), Ok(expected), "{text}");
        }
        for (text, format, zone) in [
            ("", "%Y-%m-%d", "UTC"),
            ("2016-02-30", "%Y-%m-%d", "UTC"),
            ("2016-11-08", "%Y-%m-%d", "Mars"),
            ("10:00", "%H:%M", "UTC"),
        ] {
            assert!(read(text, format, zone).is_err(), "{text}");
        }
    }
}
