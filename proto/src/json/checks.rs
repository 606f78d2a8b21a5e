//! What a text must look like: each check answers the code and the problem of one that does not.

use super::codes;
use crate::time;

type Wrong = Option<(&'static str, &'static str)>;

pub(crate) fn currency(text: &str) -> Wrong {
    let fits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    let problem = "must be a currency of three capital letters, as EUR";
    (!fits).then_some((codes::BAD_CURRENCY, problem))
}

pub(crate) fn identifier(text: &str) -> Wrong {
    let parts = text.split_once(':');
    let fits = parts.is_some_and(|(k, v)| !k.trim().is_empty() && !v.trim().is_empty());
    let problem = "must be an identifier of the form kind:value";
    (!fits).then_some((codes::BAD_IDENTIFIER, problem))
}

pub(crate) fn day(text: &str) -> Wrong {
    let problem = "must be a day, as 2026-12-24";
    time::day(text).is_none().then_some((codes::BAD_TIME, problem))
}

pub(crate) fn clock(text: &str) -> Wrong {
    let problem = "must be a time of day from 00:00 to 24:00";
    let fits = time::clock_minutes(text).is_some();
    (!fits).then_some((codes::BAD_TIME, problem))
}
