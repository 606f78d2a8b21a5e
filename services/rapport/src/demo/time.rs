//! When people do things: eighteen months that end on a fixed day, with weekdays, hours and a season.

use domain::time::{MINUTE, SECOND};

use super::rng::Dice;

pub(super) use domain::time::DAY;

/// Microseconds since 1970, UTC.
pub(super) type Moment = i64;

/// Microseconds in an hour.
pub(super) const HOUR: i64 = 60 * MINUTE;

/// 2025-04-01T00:00:00Z, a Tuesday: the first day.
pub(super) const START: Moment = 1_743_465_600 * SECOND;

/// 2026-10-01T00:00:00Z: nothing happens from here on.
pub(super) const END: Moment = 1_790_812_800 * SECOND;

/// Days when nobody of the company works.
pub(super) const HOLIDAYS: [&str; 6] =
    ["2025-05-05", "2025-12-25", "2025-12-26", "2026-01-01", "2026-04-06", "2026-05-04"];

/// When the call centre and the desk work, hours UTC; inside the opening hours also when clocks are put forward.
pub(super) const WORK_HOURS: std::ops::Range<i64> = 9..18;

/// How many of a thousand candidates for a visit are taken, Monday to Sunday.
const WEEKDAY_SHARE: [u32; 7] = [640, 600, 600, 620, 660, 850, 1000];

/// How busy the web site is, hour by hour.
const HOUR_SHARE: [u32; 24] =
    [6, 3, 2, 1, 1, 3, 10, 22, 34, 40, 44, 46, 50, 48, 44, 42, 46, 54, 64, 78, 90, 82, 52, 20];

/// The day that a moment lies in, as its first moment.
pub(super) fn day(at: Moment) -> Moment {
    at - at.rem_euclid(DAY)
}

/// 0 is Monday.
pub(super) fn weekday(at: Moment) -> usize {
    // 1970-01-01 was a Thursday.
    (at.div_euclid(DAY) + 3).rem_euclid(7) as usize
}

/// Whether the company's agents work on that day.
pub(super) fn is_working_day(at: Moment) -> bool {
    weekday(at) < 5 && !HOLIDAYS.contains(&date(at).as_str())
}

/// `2026-03-01`.
pub(super) fn date(at: Moment) -> String {
    domain::time::to_chrono(at).format("%Y-%m-%d").to_string()
}

/// RFC 3339.
pub(super) fn text(at: Moment) -> String {
    domain::time::format(at).expect("a moment of the demo is a date of this century")
}

/// A moment within `days` days after `from` at which people look around and buy.
pub(super) fn leisure(dice: &mut Dice, from: Moment, days: i64) -> Moment {
    loop {
        let on = day(from) + dice.between(0, days.max(1)) * DAY;
        if !dice.chance(WEEKDAY_SHARE[weekday(on)]) {
            continue;
        }
        let hour = dice.weighted(&HOURS, |hour| HOUR_SHARE[*hour as usize]);
        let at = on + hour * HOUR + within_an_hour(dice);
        return if at > from { at } else { at + DAY };
    }
}

const HOURS: [i64; 24] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23];

/// When somebody first comes: more come each month, and most before Christmas.
pub(super) fn first_visit(dice: &mut Dice) -> Moment {
    let days = (END - START) / DAY - 8;
    let drawn = match dice.between(0, 99) {
        0..40 => dice.between(0, days).max(dice.between(0, days)),
        // The last week of November to the twentieth of December of the first year.
        40..48 => dice.between(235, 263),
        _ => dice.between(0, days),
    };
    leisure(dice, START + drawn * DAY, 7)
}

/// The first moment from `earliest` on at which an agent can act, not to the second.
pub(super) fn at_work(dice: &mut Dice, earliest: Moment) -> Moment {
    let open = |on: Moment| on + WORK_HOURS.start * HOUR;
    let mut on = day(earliest);
    if is_working_day(on) && earliest < on + (WORK_HOURS.end - 1) * HOUR {
        let soon = 2 * MINUTE + dice.between(0, 15 * MINUTE / 1000) * 1000;
        return if earliest >= open(on) { earliest + soon } else { open(on) + soon };
    }
    on += DAY;
    while !is_working_day(on) {
        on += DAY;
    }
    open(on) + dice.between(0, 3 * HOUR / 1000) * 1000
}

/// Later than `from` by something between two numbers of seconds, to the millisecond.
pub(super) fn later(dice: &mut Dice, from: Moment, seconds: (i64, i64)) -> Moment {
    from + dice.between(seconds.0 * 1000, seconds.1 * 1000) * 1000
}

fn within_an_hour(dice: &mut Dice) -> i64 {
    dice.between(0, HOUR / 1000 - 1) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_weekdays() {
        assert_eq!((date(START).as_str(), weekday(START)), ("2025-04-01", 1));
        assert_eq!((date(END).as_str(), weekday(END)), ("2026-10-01", 3));
        for holiday in HOLIDAYS {
            let at = domain::time::parse(&format!("{holiday}T12:00:00Z")).expect("a day");
            assert!(weekday(at) < 5 && !is_working_day(at), "{holiday}");
        }
    }

    #[test]
    fn agents_work_by_day() {
        let mut dice = Dice::new(1, 0);
        for _ in 0..2000 {
            let asked = START + dice.between(0, (END - START) / 1000) * 1000;
            let at = at_work(&mut dice, asked);
            let hour = at.rem_euclid(DAY) / HOUR;
            assert!(at > asked && is_working_day(at) && WORK_HOURS.contains(&hour), "{} {}", text(asked), text(at));
        }
    }

    #[test]
    fn evenings_are_busy_and_nights_are_not() {
        let mut dice = Dice::new(1, 0);
        let mut hours = [0; 24];
        for _ in 0..5000 {
            let at = first_visit(&mut dice);
            assert!((START..END + DAY).contains(&at), "{}", text(at));
            hours[(at.rem_euclid(DAY) / HOUR) as usize] += 1;
        }
        assert!(hours[20] > 5 * hours[3].max(1) && hours[20] > hours[8], "{hours:?}");
    }
}
