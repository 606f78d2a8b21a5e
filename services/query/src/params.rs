//! Query parameters, read strictly: an unknown or repeated one is a fault, not a silence, and all faults of a request are
//! answered at once.

use domain::nearest::nearest;

use crate::problem::{Fault, Kind, Problem};

/// The parameters of a request, taken one by one.
pub(crate) struct Params {
    given: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Params {
    /// `given`: decoded, as they came.
    pub(crate) fn new(given: Vec<(String, String)>) -> Self {
        Self { given, faults: Vec::new() }
    }

    /// Takes a parameter. Empty text counts as not given (`?channel=` from a form).
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let mut found = Vec::new();
        self.given.retain(|(n, value)| {
            let wanted = n == name;
            if wanted {
                found.push(value.clone());
            }
            !wanted
        });
        if found.len() > 1 {
            self.fault("repeated_parameter", name, format!("{name} is given {} times; give it once", found.len()));
        }
        if found.iter().any(|value| value.contains('\0')) {
            self.fault("bad_text", name, format!("{name} holds U+0000, which no event and no text here can hold"));
            return None;
        }
        found.pop().filter(|value| !value.is_empty())
    }

    /// Takes a parameter that is not to be empty: a program whose variable was never set must not get another answer than
    /// it asked for.
    pub(crate) fn take_filled(&mut self, name: &str) -> Option<String> {
        if self.given.iter().any(|(n, value)| n == name && value.is_empty()) {
            self.fault("empty_parameter", name, format!("{name} is empty; leave it out or give its text"));
        }
        self.take(name)
    }

    /// Takes a whole number within bounds.
    pub(crate) fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.take(name)?;
        match text.parse::<u64>() {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                self.fault(
                    "out_of_range",
                    name,
                    format!("{name} is a whole number from {} to {}", range.start(), range.end()),
                );
                None
            }
        }
    }

    /// Takes an RFC 3339 time: microseconds UTC.
    pub(crate) fn time(&mut self, name: &str) -> Option<i64> {
        let text = self.take(name)?;
        // A plus sign that was not percent-encoded arrives as a space: `12:00:00+02:00` is what was meant.
        let time = domain::time::parse(&text.replace(' ', "+"));
        if time.is_none() {
            self.fault("bad_time", name, format!("{name} is a time like 2026-03-01T10:00:00Z (RFC 3339)"));
        }
        time
    }

    /// Notes a fault found elsewhere.
    pub(crate) fn fault(&mut self, code: &'static str, parameter: &str, detail: String) {
        self.faults.push(Fault { code, pointer: parameter.to_owned(), detail });
    }

    /// All taken: what is left over is unknown here.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        self.finish_with(|_| "is no parameter of this path".to_owned())
    }

    /// The same, saying which parameters there are, and which of them a misspelt one may have meant.
    pub(crate) fn finish_naming(self, what: &str, known: &[&str]) -> Result<(), Problem> {
        let all = known.join(", ");
        self.finish_with(|name| {
            let hint = nearest(name, known.iter().copied());
            let hint = hint.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            format!("is no parameter of this {what}{hint}; there are {all}")
        })
    }

    fn finish_with(mut self, says: impl Fn(&str) -> String) -> Result<(), Problem> {
        let mut unknown: Vec<String> =
            std::mem::take(&mut self.given).into_iter().map(|(name, _)| clip(&name)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        for name in unknown {
            let detail = format!("{name} {}", says(&name));
            self.fault("unknown_parameter", &name, detail);
        }
        if self.faults.is_empty() {
            return Ok(());
        }
        let detail = self.faults[0].detail.clone();
        Err(Problem::new(Kind::Parameter, detail).with_errors(self.faults))
    }
}

/// A parameter's name is echoed back, but not a megabyte of it.
fn clip(name: &str) -> String {
    name.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(given: &[(&str, &str)]) -> Params {
        Params::new(given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn taken_read_and_nothing_left() {
        let mut p = params(&[("limit", "7"), ("from", "2026-03-01T12:00:00 02:00"), ("channel", "")]);
        assert_eq!(p.number("limit", 1..=500), Some(7));
        assert_eq!(p.time("from"), domain::time::parse("2026-03-01T10:00:00Z"));
        assert_eq!(p.take("channel"), None);
        assert!(p.finish().is_ok());
    }

    #[test]
    fn postgresql_is_never_given_a_text_that_it_cannot_take() {
        let mut p = params(&[("channel", "a\0b")]);
        assert_eq!(p.take("channel"), None);
        assert!(p.finish().is_err());
    }

    #[test]
    fn every_fault_at_once() {
        let mut p = params(&[("limit", "0"), ("from", "yesterday"), ("type", "a"), ("type", "b"), ("valid_at", "x")]);
        p.number("limit", 1..=500);
        p.time("from");
        p.take("type");
        let codes: Vec<_> = p.faults.iter().map(|f| f.code).collect();
        assert_eq!(codes, ["out_of_range", "bad_time", "repeated_parameter"]);
        assert!(p.finish().is_err());
        let Err(problem) =
            params(&[("curency", "EUR"), ("nonsense", "1")]).finish_naming("report", &["currency", "limit"])
        else {
            panic!("both are unknown");
        };
        let said = format!("{problem:?}");
        assert!(said.contains("curency is no parameter of this report (did you mean currency?); there are"), "{said}");
        assert!(said.contains("nonsense is no parameter of this report; there are currency, limit"), "{said}");
        let mut p = params(&[("position", "")]);
        assert_eq!(p.take_filled("position"), None);
        assert!(p.finish().is_err(), "an empty position is not none");
    }
}
