use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, SecondsFormat, TimeZone};
use domain::time::{EARLIEST, LATEST};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Zones by name, in minutes east of Greenwich: those of RFC 822 and what European programs write.
const ZONES: [(&str, i32); 17] = [
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("MET", 60),
    ("CEST", 120),
    ("MEST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("JST", 540),
];

/// Reads the date of a mail, as RFC 5322 and older programs write it, as RFC 3339.
///
/// Years of two digits are read as RFC 5322 says. A zone that is missing, unknown or beyond a day is Greenwich, as RFC
/// 5322 says of unknown ones. `None`: there is no date to be read, or none that an event may have.
pub(super) fn read(text: &str) -> Option<String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text.trim()) {
        return write(at);
    }
    let text = without_comments(text).replace(',', " ");
    let mut words = text.split_ascii_whitespace().peekable();
    // A weekday, right or wrong, says nothing that the date does not.
    words.next_if(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()) && month(word).is_none());
    let (first, second) = (words.next()?, words.next()?);
    // `16-Sep-02 03:27:38`
    if let [day, named, year] = first.split('-').collect::<Vec<_>>()[..] {
        return at(day, named, year, second, words.next());
    }
    let (third, fourth) = (words.next()?, words.next()?);
    match month(first) {
        // `Sep 16 03:27:38 2002`, as C libraries write it, has the time before the year.
        Some(_) if third.contains(':') => at(second, first, fourth, third, words.next()),
        Some(_) => at(second, first, third, fourth, words.next()),
        None => at(first, second, third, fourth, words.next()),
    }
}

fn at(day: &str, named: &str, year: &str, time: &str, zone: Option<&str>) -> Option<String> {
    let year = match (year.parse::<i32>().ok()?, year.len()) {
        (year @ 0..50, 2) => 2000 + year,
        (year @ 50..100, 2) | (year, 3) => 1900 + year,
        (year, _) => year,
    };
    let date = NaiveDate::from_ymd_opt(year, month(named)?, day.parse().ok()?)?;
    let mut parts = time.split([':', '.']).map(|part| part.parse::<u32>().ok());
    let (hour, minute) = (parts.next()??, parts.next()??);
    // A leap second is the one before it: clocks that show it are rare, and lists in order need none.
    let second = parts.next().unwrap_or(Some(0))?.min(59);
    let offset = FixedOffset::east_opt(zone.map_or(0, offset_min) * 60)?;
    offset.from_local_datetime(&date.and_hms_opt(hour, minute, second)?).single().and_then(write)
}

/// In minutes.
fn offset_min(zone: &str) -> i32 {
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let digits = zone.trim_start_matches(['+', '-']).replace(':', "");
    if zone.starts_with(['+', '-']) && digits.len() == 4 {
        let hours_and_minutes = digits.parse::<i32>().unwrap_or(0);
        let minutes = hours_and_minutes / 100 * 60 + hours_and_minutes % 100;
        return if minutes < 24 * 60 { sign * minutes } else { 0 };
    }
    ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(zone)).map_or(0, |(_, minutes)| *minutes)
}

fn month(word: &str) -> Option<u32> {
    let start = word.get(..3)?.to_ascii_lowercase();
    MONTHS.iter().position(|month| *month == start).and_then(|index| u32::try_from(index + 1).ok())
}

/// `None`: no event may have that time, or RFC 3339, whose years have four digits, cannot write it.
fn write(at: DateTime<FixedOffset>) -> Option<String> {
    let can_be = (EARLIEST..=LATEST).contains(&at.timestamp_micros()) && at.year() <= 9999;
    can_be.then(|| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// What stands in parentheses is for people.
fn without_comments(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' if depth > 0 => {
                    depth -= 1;
                    return false;
                }
                _ => {}
            }
            depth == 0
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("Thu, 22 Aug 2002 18:26:25 +0700", Some("2002-08-22T18:26:25+07:00")),
            (" Tue, 20 Aug 2002 9:39:22 +0100 (BST)", Some("2002-08-20T09:39:22+01:00")),
            ("22 Jul 2002 15:55:30 -0000", Some("2002-07-22T15:55:30Z")),
            ("Fri, 6 Sep 2002 08:44:38 EDT", Some("2002-09-06T08:44:38-04:00")),
            ("Sun, 25 Aug 2002 16:50:54 UT", Some("2002-08-25T16:50:54Z")),
            ("Mon, 16 Sep 2002 03:27:38 (GMT)", Some("2002-09-16T03:27:38Z")),
            ("Mon, 16 Sep 02 03:27 +0530", Some("2002-09-16T03:27:00+05:30")),
            ("Mon, 16 Sep 102 03:27 GMT", Some("2002-09-16T03:27:00Z")),
            ("16-Sep-97 03:27:60 PST", Some("1997-09-16T03:27:59-08:00")),
            ("Mon Sep 16 03:27:38 2002", Some("2002-09-16T03:27:38Z")),
            ("Montag, 16 Sep 2002 03:27:38 +9900", Some("2002-09-16T03:27:38Z")),
            ("2002-09-16T03:27:38+02:00", Some("2002-09-16T03:27:38+02:00")),
            ("Mon, 31 Feb 2002 03:27:38 GMT", None),
            ("Mon, 16 Sep 2002 25:27:38 GMT", None),
            ("Thu, 22 Aug 20021 12:36:23 GMT", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some("9999-12-31T23:59:59Z")),
            ("Sat, 1 Jan 10000 00:59:59 +0100", None),
            ("Sun, 31 Dec 1899 23:59:59 GMT", None),
            ("1899-12-31T23:59:59Z", None),
            ("yesterday", None),
            ("", None),
            ("ä ö ü ß", None),
        ] {
            assert_eq!(read(text).as_deref(), expected, "{text}");
        }
    }
}
