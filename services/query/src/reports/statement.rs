//! From a request's parameters to one statement. Values are bound and never become part of it; names come from
//! PostgreSQL's catalogue and are quoted all the same.

use std::{fmt::Write as _, time::Duration};

use serde_json::Value as Json;
use uuid::Uuid;

use super::{
    LIMIT_DEFAULT, LIMIT_MAX,
    catalogue::{Reading, Report},
};
use crate::{params::Params, problem::Problem, views::quoted};

/// Digits that a decimal number may have here; PostgreSQL takes more.
const DECIMAL_CHARS_MAX: usize = 100;

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Statement {
    /// With `$1`, `$2` ... where the values go; one row more than the limit tells whether there are more.
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
    /// Rows of the answer at most.
    pub(crate) limit: u64,
}

/// A value, as it came.
#[derive(Debug)]
pub(crate) struct Value {
    parameter: String,
    pub(crate) text: String,
}

impl Statement {
    /// Reads the parameters; all that is wrong with them is answered at once.
    pub(crate) fn read(report: &Report, mut params: Params) -> Result<Self, Problem> {
        let limit = params.number("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
        let mut values = Vec::new();
        let from = source(report, &mut params, &mut values);
        let mut conditions = Vec::new();
        for column in &report.columns {
            let Some(reading) = column.reading() else { continue };
            let Some(text) = taken(&mut params, &column.name, &column.kind, reading) else { continue };
            values.push(Value { parameter: column.name.clone(), text });
            let (name, n) = (quoted(&column.name), values.len());
            conditions.push(match reading {
                Reading::OneOf => format!("${n}::text = ANY ({name})"),
                _ => format!("{name} = ${n}::{}", column.kind),
            });
        }
        finish(report, params)?;
        let names: Vec<String> = report.columns.iter().map(|c| quoted(&c.name)).collect();
        let order: Vec<String> = report.columns.iter().filter(|c| c.sorts()).map(|c| quoted(&c.name)).collect();
        let mut sql = format!("SELECT {}\nFROM {from}", names.join(", "));
        if !conditions.is_empty() {
            let _ = write!(sql, "\nWHERE {}", conditions.join(" AND "));
        }
        if !order.is_empty() {
            let _ = write!(sql, "\nORDER BY {}", order.join(", "));
        }
        let _ = write!(sql, "\nLIMIT {}", limit + 1);
        Ok(Self { sql, values, limit })
    }

    /// The parameters that were given, by name.
    pub(crate) fn given(&self) -> Json {
        self.values.iter().map(|value| (value.parameter.clone(), Json::from(value.text.as_str()))).collect()
    }

    /// For people: the statement with its values in their places, so that it can be run as it stands, and where the view
    /// comes from.
    pub(crate) fn shown(&self, report: &Report, timeout: Duration, definition: &str) -> String {
        let mut text = format!("-- {}: {}\n", report.name, report.comment().replace('\n', " "));
        let _ =
            writeln!(text, "-- Run as role analyst, read only, at most {} ms, in time zone UTC.", timeout.as_millis());
        for value in &self.values {
            let _ = writeln!(text, "-- parameter {} = {}", value.parameter, value.text.replace(['\n', '\r'], " "));
        }
        let _ = writeln!(text, "-- One row more than limit = {} tells whether there are more.", self.limit);
        text.push_str(&self.inlined());
        text.push_str(";\n");
        if !definition.is_empty() {
            let _ = writeln!(text, "\n-- {} is this view:", report.name);
            definition.lines().for_each(|line| {
                let _ = writeln!(text, "-- {line}");
            });
        }
        text
    }

    pub(crate) fn inlined(&self) -> String {
        let mut text = String::with_capacity(self.sql.len());
        let mut rest = self.sql.as_str();
        // Nothing but places begins with a dollar sign: names of columns with one are quoted, and never followed by ::.
        while let Some(at) = rest.find('$') {
            let after = &rest[at + 1..];
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let value = after[..digits].parse::<usize>().ok().and_then(|n| self.values.get(n.wrapping_sub(1)));
            text.push_str(&rest[..at]);
            match value.filter(|_| after[digits..].starts_with("::")) {
                Some(value) => text.push_str(&literal(&value.text)),
                None => text.push_str(&rest[at..=at + digits]),
            }
            rest = &after[digits..];
        }
        text.push_str(rest);
        text
    }
}

/// What is selected from: the view; or, where one of its arguments is given, the function of the same name with `_at`.
fn source(report: &Report, params: &mut Params, values: &mut Vec<Value>) -> String {
    let mut given = Vec::new();
    let mut at_given = false;
    let mut at_argument = None;
    for (parameter, argument) in report.parameters() {
        if parameter == "at" {
            at_argument = Some(argument);
        }
        let Some(text) = taken(params, parameter, &argument.kind, argument.reading()) else { continue };
        at_given |= parameter == "at";
        values.push(Value { parameter: parameter.to_owned(), text });
        given.push(format!("{} => ${}::{}", quoted(&argument.name), values.len(), argument.kind));
    }
    if given.is_empty() {
        return report.relation();
    }
    if let Some(at) = at_argument.filter(|argument| !at_given && argument.default.is_none()) {
        given.push(format!("{} => now()", quoted(&at.name)));
    }
    format!("{}({})", report.function(), given.join(", "))
}

/// Takes a parameter whose text must fit a type.
fn taken(params: &mut Params, name: &str, kind: &str, reading: Reading) -> Option<String> {
    let text = params.take(name)?;
    match read(&text, reading) {
        Ok(text) => Some(text),
        Err(what) => {
            params.fault("bad_value", name, format!("{name} is {what} ({kind})"));
            None
        }
    }
}

/// The text as PostgreSQL is given it, or what it should be.
fn read(text: &str, reading: Reading) -> Result<String, String> {
    let fits = match reading {
        Reading::Text | Reading::OneOf | Reading::Other => !text.contains('\0'),
        Reading::Boolean => matches!(text, "true" | "false"),
        Reading::Integer { min, max } => text.parse().is_ok_and(|n: i64| (min..=max).contains(&n)),
        Reading::Decimal => is_decimal(text),
        Reading::Uuid => Uuid::try_parse(text).is_ok(),
        Reading::Time => {
            // A plus sign that was not percent-encoded arrives as a space.
            let time = domain::time::parse(&text.replace(' ', "+")).and_then(domain::time::format);
            return time.ok_or_else(|| "a time like 2026-03-01T10:00:00Z".to_owned());
        }
        Reading::Day => is_day(text),
    };
    if fits {
        return Ok(text.to_owned());
    }
    Err(match reading {
        Reading::Text | Reading::OneOf | Reading::Other => "a text without U+0000".into(),
        Reading::Boolean => "true or false".into(),
        Reading::Integer { min, max } => format!("a whole number from {min} to {max}"),
        Reading::Decimal => "a decimal number like 12.50".into(),
        Reading::Uuid => "a UUID".into(),
        Reading::Time => "a time like 2026-03-01T10:00:00Z".into(),
        Reading::Day => "a day like 2026-03-01".into(),
    })
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    text.len() <= DECIMAL_CHARS_MAX && digits(whole) && digits(fraction)
}

/// A day of the calendar: one that has a midnight.
fn is_day(text: &str) -> bool {
    text.len() == 10 && domain::time::parse(&format!("{text}T00:00:00Z")).is_some()
}

/// A text of SQL, quoted. Backslashes mean nothing in it (`standard_conforming_strings`).
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What is left over is no parameter: said with what there is.
fn finish(report: &Report, params: Params) -> Result<(), Problem> {
    let mut known: Vec<&str> = report.parameters().map(|(name, _)| name).collect();
    known.extend(report.columns.iter().filter(|c| c.reading().is_some()).map(|c| c.name.as_str()));
    known.extend(super::RESERVED);
    known.dedup();
    params.finish_naming("report", &known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::catalogue::tests::orders;

    fn params(given: &[(&str, &str)]) -> Params {
        Params::new(given.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    fn read(given: &[(&str, &str)]) -> Statement {
        Statement::read(&orders(), params(given)).unwrap_or_else(|problem| panic!("{given:?}: {problem:?}"))
    }

    const COLUMNS: &str = r#"SELECT "order_id", "net", "line_count", "placed_at", "flags", "payload", "limit""#;
    const ORDER: &str = r#"ORDER BY "order_id", "net", "line_count", "placed_at", "flags", "limit""#;

    #[test]
    fn a_view_with_filters() {
        let statement = read(&[("order_id", "o'1 -- $2"), ("flags", "late"), ("limit", "10")]);
        let from = r#"FROM "sales"."orders""#;
        let conditions = r#"WHERE "order_id" = $1::text AND $2::text = ANY ("flags")"#;
        assert_eq!(statement.sql, format!("{COLUMNS}\n{from}\n{conditions}\n{ORDER}\nLIMIT 11"));
        let texts: Vec<_> = statement.values.iter().map(|value| value.text.as_str()).collect();
        assert_eq!(texts, ["o'1 -- $2", "late"]);
        let shown = statement.shown(&orders(), Duration::from_secs(30), "SELECT 1;");
        assert!(shown.contains(r#""order_id" = 'o''1 -- $2'::text AND 'late'::text = ANY"#), "{shown}");
        assert!(shown.contains("-- parameter flags = late\n") && shown.ends_with("-- SELECT 1;\n"), "{shown}");
    }

    #[test]
    fn a_function_where_it_depends_on_a_time() {
        let statement = read(&[("at", "2026-03-01T12:00:00 02:00"), ("idle", "1 hour")]);
        let from = r#"FROM "sales"."orders_at"("asked_at" => $1::timestamp with time zone, "idle" => $2::interval)"#;
        assert_eq!(statement.sql, format!("{COLUMNS}\n{from}\n{ORDER}\nLIMIT 1001"));
        assert_eq!(statement.values[0].text, "2026-03-01T10:00:00Z");
    }

    #[test]
    fn values_must_fit_their_column() {
        for (name, value, fits) in [
            ("line_count", "2147483648", false),
            ("line_count", "1; DROP TABLE x", false),
            ("net", "-1.50", true),
            ("net", "1e400000", false),
            ("net", "NaN", false),
            ("placed_at", "2026-02-30T00:00:00Z", false),
            ("order_id", "a\0b", false),
            ("at", "infinity", false),
            ("format", "json", false),
            ("payload", "{}", false),
            ("nonsense", "1", false),
        ] {
            assert_eq!(Statement::read(&orders(), params(&[(name, value)])).is_ok(), fits, "{name}={value}");
        }
    }
}
