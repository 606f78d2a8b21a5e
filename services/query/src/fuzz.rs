//! What a question to query brings, read from any bytes: for fuzzing, and for nothing else.

use std::time::Duration;

use axum::{extract::Query, http::Uri};
use domain::identifier::Normalizer;

use crate::{
    params::Params,
    reference::Reference,
    reports::{self, Statement},
    search::{self, Question},
    snapshot::Wanted,
    timeline::{self, Filter},
};

/// Reads `data` as a question: a line with a reference, one with a query string, and a body.
///
/// # Panics
/// What was read does not read back as itself, or a parameter's value becomes part of a statement.
pub fn question(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, query, body) = (line(), line(), line());
    if let Ok(path) = std::str::from_utf8(path) {
        reference(path);
    }
    if let Some(given) = parameters(query) {
        of_timeline(given.clone());
        of_search(given.clone());
        of_report(given);
    }
    if let Ok(question) = Question::read(body) {
        reads_back(&question);
    }
}

fn parameters(query: &[u8]) -> Option<Vec<(String, String)>> {
    let uri = Uri::try_from([b"/?", query].concat()).ok()?;
    Query::try_from_uri(&uri).ok().map(|Query(given)| given)
}

fn reference(path: &str) {
    let normalizer = Normalizer::new("DE", &[]).expect("a country");
    let Ok(read) = Reference::parse(path, &normalizer) else { return };
    let written = match &read {
        Reference::Id(id) => id.to_string(),
        Reference::Identifier(identifier) => identifier.to_string(),
    };
    assert!(Reference::parse(&written, &normalizer).is_ok_and(|again| again == read), "another reference: {written}");
}

fn of_timeline(given: Vec<(String, String)>) {
    for (_, text) in given.iter().filter(|(name, _)| name == "cursor") {
        let Some(stamp) = timeline::read_cursor(text) else { continue };
        assert_eq!(timeline::read_cursor(&timeline::write_cursor(stamp.as_bytes())), Some(stamp));
    }
    let mut params = Params::new(given);
    // Positions have a target of their own.
    drop(Wanted::take(&mut params, None, Duration::ZERO));
    Filter::take(&mut params).bounds();
}

fn of_search(given: Vec<(String, String)>) {
    let mut params = Params::new(given);
    if let Ok(question) = Question::take(&mut params) {
        reads_back(&question);
    }
}

fn reads_back(question: &Question) {
    let Some(after) = &question.after else { return };
    assert_eq!(search::Cursor::read(&after.write()).as_ref(), Some(after));
}

fn of_report(given: Vec<(String, String)>) {
    let report = reports::example();
    if let Ok(statement) = Statement::read(&report, Params::new(given)) {
        let inlined = without_texts(&statement.inlined());
        assert_eq!(inlined, without_places(&statement.sql), "a value has become part of the statement");
        assert!(statement.values.iter().all(|value| !value.text.contains('\0')), "PostgreSQL cannot take U+0000");
    }
}

/// The statement without its quoted texts. A doubled quote inside of one ends it and begins it again: nothing of it is
/// left either way.
fn without_texts(sql: &str) -> String {
    let mut parts = sql.split('\'');
    let mut outside = String::new();
    while let Some(part) = parts.next() {
        outside.push_str(part);
        // What stands between this quote and the next one.
        parts.next();
    }
    assert!(sql.matches('\'').count().is_multiple_of(2), "a text does not end: {sql}");
    outside
}

/// The statement without the places of its values.
fn without_places(sql: &str) -> String {
    let mut parts = sql.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}
