//! Writing to the terminal or a pipe. A reader that has gone away (`| head`) is no error.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::failure::{Exit, Failure, Outcome};

/// A line for people, beside a command's result.
pub(crate) fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A line that says why a command failed.
pub(crate) fn error(line: Arguments<'_>) {
    note(line);
}

/// A line of a command's result.
pub(crate) fn line(line: Arguments<'_>) {
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// A JSON document as a command's result.
pub(crate) fn json(document: &serde_json::Value) {
    line(format_args!("{document:#}"));
}

/// Writes a result that may be long. `Ok(false)` when nobody reads any more.
pub(crate) fn write(bytes: &[u8]) -> Outcome<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Unavailable, format_args!("could not write the result: {error}"))),
    }
}

/// Rows as columns of equal width, the first row as the heading.
pub(crate) fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(format_args!("{}", cells.join("  ").trim_end()));
    }
}
