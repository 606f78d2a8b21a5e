//! Rows as CSV (RFC 4180): a line of names, then a line a row, ended by CR LF.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::catalogue::Report;
use crate::problem::Problem;

/// Writes rows that are JSON objects.
pub(crate) fn write(report: &Report, rows: &[String]) -> Result<String, Problem> {
    let names: Vec<&str> = report.columns.iter().map(|column| column.name.as_str()).collect();
    let mut out = String::with_capacity(rows.iter().map(String::len).sum::<usize>() / 2 + 256);
    names.iter().enumerate().for_each(|(n, name)| {
        separate(&mut out, n);
        field(&mut out, name);
    });
    out.push_str("\r\n");
    for row in rows {
        let values: HashMap<String, &RawValue> =
            serde_json::from_str(row).map_err(|e| Problem::internal("PostgreSQL's JSON cannot be read", &e))?;
        for (n, name) in names.iter().enumerate() {
            separate(&mut out, n);
            if let Some(value) = values.get(*name) {
                cell(&mut out, value.get());
            }
        }
        out.push_str("\r\n");
    }
    Ok(out)
}

fn separate(out: &mut String, n: usize) {
    if n > 0 {
        out.push(',');
    }
}

/// A value of JSON as a cell: nothing for null, the text of a string, all else as it is written (numbers with all of
/// their digits).
fn cell(out: &mut String, value: &str) {
    match serde_json::from_str::<String>(value) {
        Ok(text) => field(out, &harmless(&text)),
        Err(_) if value == "null" => {}
        Err(_) => field(out, value),
    }
}

/// A text that a spreadsheet would take for a formula is given an apostrophe in front, which makes it a text again.
fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    match text.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') => format!("'{text}").into(),
        _ => text.into(),
    }
}

fn field(out: &mut String, text: &str) {
    if text.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        for (value, expected) in [
            ("null", ""),
            ("-12.50", "-12.50"),
            ("123456789012345678901234567890.10", "123456789012345678901234567890.10"),
            ("true", "true"),
            (r#""plain""#, "plain"),
            (r#""=1+1""#, "'=1+1"),
            (r#""+4930123456""#, "'+4930123456"),
            (r#""-5""#, "'-5"),
            (r#""@SUM(A1)""#, "'@SUM(A1)"),
            (r#""\t=1""#, "'\t=1"),
            (r#""=HYPERLINK(\"x\",\"y\")""#, r#""'=HYPERLINK(""x"",""y"")""#),
            (r#""two\nlines""#, "\"two\nlines\""),
            (r#"["a","b"]"#, r#""[""a"",""b""]""#),
        ] {
            let mut out = String::new();
            cell(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn a_table() {
        let rows =
            [r#"{"order_id":"a,b","net":1.50,"line_count":2,"placed_at":null,"flags":[],"payload":{},"limit":1}"#];
        let text = write(&crate::reports::catalogue::tests::orders(), &rows.map(str::to_owned)).expect("JSON");
        assert_eq!(text, "order_id,net,line_count,placed_at,flags,payload,limit\r\n\"a,b\",1.50,2,,[],{},1\r\n");
    }
}
