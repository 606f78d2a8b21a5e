//! A report, read whole by each of the public ways to it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::stack::Stack;

/// The largest limit of a report.
const LIMIT_MAX: u32 = 100_000;

/// A public way to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `GET /reports/NAME`, as JSON.
    HttpJson,
    /// `GET /reports/NAME`, as CSV.
    HttpCsv,
    /// `rapport report NAME --format json`.
    CommandJson,
    /// `rapport report NAME --format csv`.
    CommandCsv,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HttpJson, Self::HttpCsv, Self::CommandJson, Self::CommandCsv];

    /// Reads all rows of a report, named with its parameters as in a query string: `sales.cart_funnel?idle_min=30`.
    ///
    /// # Panics
    /// There is no such report, or it has more rows than an answer may have: part of a report is not the report.
    pub async fn rows(self, stack: &Stack, asked: &str) -> Vec<Row> {
        let (name, parameters) = asked.split_once('?').unwrap_or((asked, ""));
        let parameters: Vec<(&str, &str)> = parameters.split('&').filter_map(|p| p.split_once('=')).collect();
        match self {
            Self::HttpJson => from_json(&by_http(stack, name, &parameters, "json").await),
            Self::HttpCsv => from_csv(&by_http(stack, name, &parameters, "csv").await),
            Self::CommandJson => from_json(&by_command(stack, name, &parameters, "json")),
            Self::CommandCsv => from_csv(&by_command(stack, name, &parameters, "csv")),
        }
    }
}

async fn by_http(stack: &Stack, name: &str, parameters: &[(&str, &str)], format: &str) -> String {
    let request = stack.http.get(stack.query(&format!("/api/v1/reports/{name}"))).query(parameters);
    let request = request.query(&[("limit", LIMIT_MAX.to_string().as_str()), ("format", format)]);
    let answer = request.send().await.expect("the query service answers");
    let whole = answer.headers().get("rapport-truncated").is_some_and(|truncated| truncated == "false");
    let status = answer.status();
    let body = answer.text().await.expect("a whole answer");
    assert!(status.is_success(), "{name} {parameters:?}: {status} {body}");
    assert!(whole, "{name} {parameters:?} has more rows than came");
    body
}

fn by_command(stack: &Stack, name: &str, parameters: &[(&str, &str)], format: &str) -> String {
    let mut arguments = vec!["report".to_owned(), name.to_owned(), "--format".to_owned(), format.to_owned()];
    let limit = format!("limit={LIMIT_MAX}");
    for parameter in parameters.iter().map(|(name, value)| format!("{name}={value}")).chain([limit]) {
        arguments.extend(["--param".to_owned(), parameter]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = stack.rapport(&arguments);
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {notes}");
    assert!(!notes.contains("more rows"), "{arguments:?}: {notes}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// A row of a report: the text of each cell by its column. Numbers have all of their digits, lists are JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct Row(HashMap<String, Option<String>>);

impl Row {
    /// The text of a cell; `None` for NULL, and in CSV for an empty text.
    ///
    /// # Panics
    /// There is no such column.
    pub fn text(&self, column: &str) -> Option<&str> {
        let cell = self.0.get(column).unwrap_or_else(|| panic!("there is no column {column}: {self:?}"));
        cell.as_deref()
    }

    /// The whole number in a cell; `None` for NULL.
    ///
    /// # Panics
    /// There is no such column, or no whole number in it.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.text(column).map(|text| text.parse().unwrap_or_else(|e| panic!("{column}: {e}: {text}")))
    }
}

#[derive(Deserialize)]
struct Document {
    columns: Vec<Column>,
    row_count: usize,
    truncated: bool,
    rows: Vec<HashMap<String, Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

fn from_json(body: &str) -> Vec<Row> {
    let document: Document = serde_json::from_str(body).expect("a document with columns and rows");
    assert!(!document.truncated, "the report has more rows than came");
    assert_eq!(document.row_count, document.rows.len());
    let cell = |value: &RawValue| match value.get() {
        "null" => None,
        text => Some(serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())),
    };
    let row = |cells: &HashMap<String, Box<RawValue>>| {
        assert_eq!(cells.len(), document.columns.len(), "a cell for every column");
        Row(document.columns.iter().map(|column| (column.name.clone(), cell(&cells[&column.name]))).collect())
    };
    document.rows.iter().map(row).collect()
}

/// Reads RFC 4180 with a heading.
fn from_csv(text: &str) -> Vec<Row> {
    let mut lines = csv_lines(text).into_iter();
    let names = lines.next().expect("a line of names");
    let row = |cells: Vec<String>| {
        assert_eq!(cells.len(), names.len(), "a cell for every column: {cells:?}");
        let cells = cells.into_iter().map(|cell| Some(cell).filter(|cell| !cell.is_empty()));
        Row(names.iter().cloned().zip(cells).collect())
    };
    lines.map(row).collect()
}

fn csv_lines(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                line.push(std::mem::take(&mut cell));
                lines.push(std::mem::take(&mut line));
            }
            c => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && line.is_empty(), "the last line is not ended");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_the_same_rows() {
        let json = r#"{"columns":[{"name":"a"},{"name":"n"},{"name":"l"}],"row_count":2,"truncated":false,
            "rows":[{"a":"x, \"y\"\r\nz","n":-1.50,"l":["k:1"]},{"a":null,"n":12,"l":[]}]}"#;
        let csv = "a,n,l\r\n\"x, \"\"y\"\"\r\nz\",-1.50,\"[\"\"k:1\"\"]\"\r\n,12,[]\r\n";
        let rows = from_json(json);
        assert_eq!(rows, from_csv(csv));
        assert_eq!((rows[0].text("a"), rows[0].text("n")), (Some("x, \"y\"\r\nz"), Some("-1.50")));
        assert_eq!((rows[1].text("a"), rows[1].integer("n"), rows[0].text("l")), (None, Some(12), Some(r#"["k:1"]"#)));
    }

    #[test]
    #[should_panic(expected = "more rows")]
    fn a_part_of_a_report_is_none() {
        from_json(r#"{"columns":[],"row_count":0,"truncated":true,"rows":[]}"#);
    }
}
