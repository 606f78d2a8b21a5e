//! The jq program of a mapping, with functions of our own beside jq's:
//!
//! | function | |
//! |---|---|
//! | `minor($amount; $digits)` | exact decimal text (or number) as minor units, halves away from zero |
//! | `date($text; $format; $zone)` | a date or time in a format of chrono's `strftime` and an IANA zone, as RFC 3339 |
//! | `hash` | 32 hexadecimal digits that are the same for equal inputs |
//!
//! `now` and `env` answer with an error: a program that knew them would make other events at each import.

use std::rc::Rc;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::native::{Fun, bome, run, v};
use jaq_core::{Compiler, Ctx, Vars, compile, data::JustLut, load};
use jaq_json::{Num, Val};
use sha2::{Digest, Sha256};

use super::moment;
use super::rows::{canonical, first_half, too_deep};
use domain::money::Decimal;

/// A group that makes more events is refused: the program most likely never ends.
const EVENTS_MAX: usize = 10_000;

/// A compiled program. It stays in the thread it was compiled in; copies of it are cheap.
#[derive(Clone)]
pub(crate) struct Program {
    filter: Rc<jaq_core::Filter<JustLut<Val>>>,
}

impl Program {
    /// Compiles jq; the error says what is wrong and where in the program.
    pub(crate) fn compile(code: &str) -> Result<Self, String> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let loader = Loader::new(defs);
        let arena = Arena::default();
        let modules = loader
            .load(&arena, File { code, path: () })
            .map_err(|errors| list(code, errors.into_iter().map(|(_, e)| load_faults(e))))?;
        // Ours first: of two functions with one name the first counts.
        let funs = own().chain(jaq_core::funs()).chain(jaq_std::funs()).chain(jaq_json::funs());
        let filter = Compiler::default()
            .with_funs(funs)
            .compile(modules)
            .map_err(|errors| list(code, errors.into_iter().map(|(_, e)| e.into_iter().map(undefined).collect())))?;
        Ok(Self { filter: Rc::new(filter) })
    }

    /// What the program makes of one input.
    pub(crate) fn run(&self, input: Val) -> Result<Vec<Val>, String> {
        let ctx = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let mut outputs = Vec::new();
        for output in self.filter.id.run((ctx, input)) {
            match output {
                Ok(value) => outputs.push(value),
                Err(exception) => {
                    return Err(exception
                        .get_err()
                        .map_or_else(|_| "the program called `halt`".to_owned(), |e| said(e.into_val())));
                }
            }
            if outputs.len() > EVENTS_MAX {
                return Err(format!("the program makes more than {EVENTS_MAX} events of it"));
            }
        }
        Ok(outputs)
    }
}

/// What `error("…")` said: text without quotes.
fn said(value: Val) -> String {
    match value {
        Val::TStr(text) => String::from_utf8_lossy(&text).into_owned(),
        other => other.to_string(),
    }
}

/// Where in the program (its rest from there on) something is wrong, and what.
type Spot<'a> = (&'a str, String);

fn load_faults(error: load::Error<&str>) -> Vec<Spot<'_>> {
    match error {
        load::Error::Io(errors) => errors,
        load::Error::Lex(errors) => {
            errors.into_iter().map(|(expected, at)| (at, format!("expected {}", expected.as_str()))).collect()
        }
        load::Error::Parse(errors) => {
            errors.into_iter().map(|(expected, at)| (at, format!("expected {}", expected.as_str()))).collect()
        }
    }
}

fn undefined<'a>((name, what): compile::Error<&'a str>) -> Spot<'a> {
    let detail = match what {
        compile::Undefined::Filter(arity) if arity > 0 => format!("there is no function `{name}` of {arity} arguments"),
        compile::Undefined::Filter(_) => format!("there is no function `{name}`"),
        other => format!("there is no {} `{name}`", other.as_str()),
    };
    (name, detail)
}

fn list<'a>(code: &'a str, faults: impl Iterator<Item = Vec<Spot<'a>>>) -> String {
    let lines = faults.flatten().map(|(at, detail)| {
        // An empty rest is the end of the program.
        let offset = if at.is_empty() { code.len() } else { load::span(code, at).start.min(code.len()) };
        let before = code.get(..offset).unwrap_or(code);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line} of the program, column {column}: {detail}")
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// A function's name, its parameters, what it does.
type Native = (&'static str, Box<[jaq_core::Bind]>, jaq_core::RunPtr<JustLut<Val>>);

fn own() -> impl Iterator<Item = Fun<JustLut<Val>>> {
    let functions: [Native; 6] = [
        ("minor", v(2), |mut cv| {
            // Arguments come off in the reverse of their order.
            let digits = cv.0.pop_var();
            bome(minor(&cv.0.pop_var(), &digits))
        }),
        ("date", v(3), |mut cv| {
            let (zone, format) = (cv.0.pop_var(), cv.0.pop_var());
            bome(date(&cv.0.pop_var(), &format, &zone))
        }),
        ("hash", v(0), |cv| {
            let hash = first_half(Sha256::new_with_prefix(canonical(&cv.1)));
            bome(Ok(Val::from(hex(&hash))))
        }),
        // jq's own calls itself for each level of what it reads, and ends the process where that is deep enough.
        ("fromjson", v(0), |cv| match from_json(&cv.1) {
            Ok(values) => Box::new(values.into_iter().map(Ok)),
            Err(error) => bome(Err(error)),
        }),
        ("now", v(0), |_| bome(refuse("`now`: what a mapping makes of a row must be the same at every import"))),
        ("env", v(0), |_| bome(refuse("`env`: what a mapping makes of a row must be the same on every machine"))),
    ];
    functions.into_iter().map(|function| run::<JustLut<Val>>(function))
}

type Answer = Result<Val, jaq_json::Error>;

fn refuse(reason: impl ToString) -> Answer {
    Err(jaq_json::Error::str(reason))
}

fn from_json(text: &Val) -> Result<Vec<Val>, jaq_json::Error> {
    let Val::TStr(text) = text else {
        return Err(jaq_json::Error::str(format_args!("fromjson reads text, not {text}")));
    };
    if let Some(reason) = too_deep(text) {
        return Err(jaq_json::Error::str(format_args!("fromjson: {reason}")));
    }
    let values: Result<Vec<Val>, _> = jaq_json::read::parse_many(text).collect();
    values.map_err(|error| jaq_json::Error::str(format_args!("fromjson: {error}")))
}

fn minor(amount: &Val, digits: &Val) -> Answer {
    let Val::Num(Num::Int(digits @ 0..=9)) = digits else {
        return refuse(format!("minor: the number of digits is 0 to 9, not {digits}"));
    };
    let text = match amount {
        Val::TStr(text) => String::from_utf8_lossy(text).trim().to_owned(),
        Val::Num(number) => number.to_string(),
        other => return refuse(format!("minor: an amount is text or a number, not {other}")),
    };
    let plain = text.strip_prefix('+').unwrap_or(&text);
    let digits = u32::try_from(*digits).unwrap_or(0);
    match Decimal::parse(plain).map(|d| isize::try_from(d.to_minor(digits))) {
        Some(Ok(minor)) => Ok(Val::from(minor)),
        Some(Err(_)) => refuse(format!("minor: \"{text}\" is too large for an amount of money")),
        None => refuse(format!(
            "minor: \"{text}\" is not a decimal number (like -1234.56; at most 9 digits after the point)"
        )),
    }
}

fn date(text: &Val, format: &Val, zone: &Val) -> Answer {
    let (Val::TStr(text), Val::TStr(format), Val::TStr(zone)) = (text, format, zone) else {
        return refuse("date: text, format and zone are text");
    };
    let [text, format, zone] = [text, format, zone].map(|t| String::from_utf8_lossy(t));
    moment::read(text.trim(), &format, &zone).map(Val::from).or_else(refuse)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to memory cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str, input: &str, expected: Result<&[&str], &str>) {
        let input = jaq_json::read::parse_single(input.as_bytes()).expect("JSON");
        let found = Program::compile(code).and_then(|p| p.run(input));
        match (&found, expected) {
            (Ok(values), Ok(texts)) => {
                assert_eq!(values.iter().map(ToString::to_string).collect::<Vec<_>>(), texts, "{code}")
            }
            (Err(error), Err(says)) => assert!(error.contains(says), "{code}: {error}"),
            _ => panic!("{code}: {found:?}"),
        }
    }

    #[test]
    fn money() {
        check(
            r#"[minor(("1.005", "-1.005", "0.125", " 12 ", "+3.1", "1e2"); 2)]"#,
            "null",
            Ok(&["[101,-101,13,1200,310,10000]"]),
        );
        check(".x | minor(.; 2)", r#"{"x": 70.005}"#, Ok(&["7001"]));
        check(r#"minor("5"; 0)"#, "null", Ok(&["5"]));
        check(r#"minor("1,5"; 2)"#, "null", Err("\"1,5\" is not a decimal number"));
        check(r#"minor(""; 2)"#, "null", Err("not a decimal number"));
        check(r#"minor("999999999999999999"; 9)"#, "null", Err("too large"));
        check(r#"minor(null; 2)"#, "null", Err("not null"));
        check(r#"minor("1"; 12)"#, "null", Err("0 to 9"));
    }

    #[test]
    fn dates_and_hashes() {
        check(r#"date("11/08/2016"; "%m/%d/%Y"; "Europe/Berlin")"#, "null", Ok(&["\"2016-11-08T00:00:00+01:00\""]));
        check(r#"date("13/08/2016"; "%m/%d/%Y"; "UTC")"#, "null", Err("\"13/08/2016\""));
        check("[hash, (. + {c: 1} | hash)] | .[0] == .[1]", r#"{"a": 1}"#, Ok(&["false"]));
        check("hash", r#"{"a": 1, "b": 2}"#, Ok(&["\"43258cff783fe7036d8a43033f830adf\""]));
        check("hash", r#"{"b": 2, "a": 1}"#, Ok(&["\"43258cff783fe7036d8a43033f830adf\""]));
    }

    #[test]
    fn faults_of_a_program() {
        check("now", "null", Err("at every import"));
        check("env", "null", Err("on every machine"));
        check(r#""[1,{\"a\":1.50}] 2" | [fromjson]"#, "null", Ok(&[r#"[[1,{"a":1.50}],2]"#]));
        check("fromjson", "\"[1\"", Err("fromjson: "));
        check("fromjson", "1", Err("fromjson reads text, not 1"));
        check("\"[\" * 1000000 | fromjson", "null", Err("not JSON"));
        check("(\"[\" * 500000 + \"]\" * 500000) | fromjson", "null", Err("nested deeper than 128"));
        check("error(\"no such customer\")", "null", Err("no such customer"));
        check("halt", "null", Err("halt"));
        check(".a | tonumber", r#"{"a": "x"}"#, Err("x"));
        check(
            "{\n a: foo(1)\n}",
            "null",
            Err("line 2 of the program, column 5: there is no function `foo` of 1 arguments"),
        );
        check("\"ä\" | foo", "null", Err("line 1 of the program, column 7: there is no function `foo`"));
        check("{ a: ", "null", Err("line 1 of the program, column 6: expected"));
        check("range(infinite)", "null", Err("more than 10000 events"));
    }
}
