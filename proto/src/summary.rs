//! The one line that the timeline shows of an event.

use crate::v1::Money;
use std::fmt::Write as _;

/// The longest line, in characters.
pub(crate) const LINE_CHARS_MAX: usize = 200;

/// What the timeline says of a body. Implemented by generated code alone.
pub(crate) trait Body {
    fn entities<'a>(&'a self, _to: &mut Vec<(&'static str, &'a str)>) {}

    /// The channel that the event names.
    fn channel(&self) -> Option<&str> {
        None
    }

    /// The direction that the event names.
    fn direction(&self) -> Option<&str> {
        None
    }

    fn summary(&self, line: &mut Line);
}

/// A line being written.
#[derive(Default)]
pub(crate) struct Line(String);

/// A field's value in words.
pub(crate) trait Say {
    fn is_there(&self) -> bool;
    fn say(&self, line: &mut String);
}

impl Line {
    pub(crate) fn text(&mut self, text: &str) {
        self.0.push_str(text);
    }

    pub(crate) fn say(&mut self, value: &impl Say) {
        value.say(&mut self.0);
    }

    /// On one line, single blanks, cut to [`LINE_CHARS_MAX`].
    pub(crate) fn finish(self) -> String {
        if is_plain(self.0.as_bytes()) {
            return self.0;
        }
        // Cut early, for a text may be very long.
        let mut line = String::with_capacity(self.0.len().min(4 * LINE_CHARS_MAX));
        let is_blank = |c: char| c.is_whitespace() || c.is_control();
        let (mut chars, mut blank) = (0, false);
        for c in self.0.chars() {
            if is_blank(c) {
                blank = !line.is_empty();
                continue;
            }
            let needed = if blank { 2 } else { 1 };
            if chars + needed > LINE_CHARS_MAX {
                if chars == LINE_CHARS_MAX {
                    line.pop();
                }
                line.push('…');
                break;
            }
            if std::mem::take(&mut blank) {
                line.push(' ');
            }
            line.push(c);
            chars += needed;
        }
        line
    }
}

/// Short enough, and ASCII words with single blanks between them: most lines are, and are done.
fn is_plain(line: &[u8]) -> bool {
    let mut before = b' ';
    let is_plain = line.len() <= LINE_CHARS_MAX
        && line.iter().all(|&byte| {
            let fits = byte.is_ascii_graphic() || (byte == b' ' && before != b' ');
            before = byte;
            fits
        });
    is_plain && (before != b' ' || line.is_empty())
}

impl From<&str> for Line {
    fn from(text: &str) -> Self {
        Line(text.into())
    }
}

impl Say for Option<String> {
    fn is_there(&self) -> bool {
        self.as_deref().is_some_and(|text| !text.is_empty())
    }

    fn say(&self, line: &mut String) {
        line.push_str(self.as_deref().unwrap_or_default());
    }
}

impl Say for Option<i64> {
    fn is_there(&self) -> bool {
        self.is_some()
    }

    fn say(&self, line: &mut String) {
        if let Some(value) = self {
            let _ = write!(line, "{value}");
        }
    }
}

impl Say for Option<bool> {
    fn is_there(&self) -> bool {
        self.is_some()
    }

    fn say(&self, line: &mut String) {
        line.push_str(match self {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        });
    }
}

impl Say for Option<Money> {
    fn is_there(&self) -> bool {
        self.as_ref().is_some_and(|m| m.amount_minor.is_some())
    }

    fn say(&self, line: &mut String) {
        let Some(money) = self else { return };
        let currency = money.currency.as_deref().unwrap_or_default();
        let amount = money.amount_minor.unwrap_or_default();
        let digits = minor_digits(currency);
        let sign = if amount < 0 { "-" } else { "" };
        let unit = 10_u64.pow(digits as u32);
        let (whole, rest) = (amount.unsigned_abs() / unit, amount.unsigned_abs() % unit);
        let _ = match digits {
            0 => write!(line, "{sign}{whole} {currency}"),
            _ => write!(line, "{sign}{whole}.{rest:0digits$} {currency}"),
        };
    }
}

/// How many digits of a currency's amount are after the point (ISO 4217).
fn minor_digits(currency: &str) -> usize {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_bounded_length() {
        let check = |text: &str, want: &str| assert_eq!(Line::from(text).finish(), want);
        check("  a\r\n\tb  c\u{7} ", "a b c");
        for (text, want) in
            [("", ""), (" ", ""), ("a b", "a b"), ("a  b", "a b"), (" a", "a"), ("a ", "a"), ("a\u{7f}b", "a b")]
        {
            check(text, want);
        }
        let long = "ä".repeat(200);
        check(&long, &long);
        let cut = "ä".repeat(199) + "…";
        check(&"ä".repeat(201), &cut);
        check(&("ä".repeat(199) + " b"), &cut);
        assert_eq!(Line::from(&*"x y".repeat(1000)).finish().chars().count(), 200);
    }

    #[test]
    fn money_in_its_own_digits() {
        let check = |amount_minor, currency: &str, want: &str| {
            let mut line = String::new();
            let money =
                Money { amount_minor: Some(amount_minor), currency: Some(currency.into()), extra_json: Vec::new() };
            Some(money).say(&mut line);
            assert_eq!(line, want);
        };
        check(12990, "EUR", "129.90 EUR");
        check(-5, "EUR", "-0.05 EUR");
        check(500, "JPY", "500 JPY");
        check(1234, "KWD", "1.234 KWD");
        check(i64::MIN, "USD", "-92233720368547758.08 USD");
    }
}
