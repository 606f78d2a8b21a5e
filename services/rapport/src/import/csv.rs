//! CSV as programs write it: quotes, doubled quotes, line breaks inside quotes, LF or CRLF, UTF-8.
//!
//! Written for files that are not all right: a record that cannot be read names its line and column, and reading goes
//! on at the line after the one it began on. So a quote that is never closed costs one row, not the rest of the file.

use std::io::{self, BufRead};

use super::lines::BYTE_ORDER_MARK;

/// A longer record is refused: most likely a quote was not closed. It bounds the memory that a file can take.
const RECORD_BYTES_MAX: usize = 1024 * 1024;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// What most files are that are not UTF-8.
const CONVERT: &str = "; of a Windows-1252 file, iconv -f WINDOWS-1252 -t UTF-8 makes it that";

/// A cell as it was read: its text, or nothing when it is not UTF-8.
pub(crate) type Cell = Option<String>;

/// A record, whole or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The line it begins on, counted from 1.
    pub(crate) line: u64,
    /// What could be read of it, in the order of the columns.
    pub(crate) cells: Vec<Cell>,
    /// Why it cannot be used.
    pub(crate) fault: Option<Fault>,
}

/// Where in a file something is wrong, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Counted from 1.
    pub(crate) line: u64,
    /// In characters, counted from 1; `None` when the whole line is meant.
    pub(crate) column: Option<u64>,
    pub(crate) reason: String,
}

/// Reads records one by one, in constant memory.
pub(crate) struct CsvReader<R> {
    input: R,
    delimiter: u8,
    columns: Option<usize>,
    buffer: Vec<u8>,
    start: usize,
    line: u64,
    ended: bool,
}

impl<R: BufRead> CsvReader<R> {
    pub(crate) fn new(input: R, delimiter: u8) -> Self {
        Self { input, delimiter, columns: None, buffer: Vec::new(), start: 0, line: 1, ended: false }
    }

    /// From now on a record must have this many cells.
    pub(crate) fn expect_columns(&mut self, columns: usize) {
        self.columns = Some(columns);
    }

    /// The line that the next record begins on, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        self.line
    }

    /// The next record that is not an empty line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        self.skip_empty_lines()?;
        let mut wanted = 0;
        loop {
            let pending = &self.buffer[self.start..];
            if pending.is_empty() && self.ended {
                return Ok(None);
            }
            match parse(pending, self.delimiter, self.ended) {
                Parsed::Whole { spans, used } => return Ok(Some(self.take(spans, used))),
                Parsed::Malformed { spans, at, reason } => return self.refuse(&spans, at, reason.to_owned()).map(Some),
                Parsed::Unfinished if pending.len() > RECORD_BYTES_MAX => {
                    let reason = format!("the record is longer than {RECORD_BYTES_MAX} bytes: is a quote not closed?");
                    return self.refuse(&[], 0, reason).map(Some);
                }
                Parsed::Unfinished => {
                    // Twice as much each time: a record is parsed from its start again, in linear time overall.
                    wanted = (pending.len() * 2).max(wanted + 1);
                    self.fill(wanted)?;
                }
            }
        }
    }

    fn skip_empty_lines(&mut self) -> io::Result<()> {
        loop {
            if self.buffer.len() - self.start < 3 && !self.ended {
                self.fill(3)?;
            }
            let pending = &self.buffer[self.start..];
            if self.line == 1 && pending.starts_with(BYTE_ORDER_MARK) {
                self.start += BYTE_ORDER_MARK.len();
            } else if pending.starts_with(b"\n") || pending.starts_with(b"\r\n") {
                self.start += if pending[0] == b'\n' { 1 } else { 2 };
                self.line += 1;
            } else {
                return Ok(());
            }
        }
    }

    /// Reads until `wanted` bytes are pending, or to the end.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        while self.buffer.len() < wanted.max(CHUNK_BYTES) {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                self.ended = true;
                break;
            }
            let used = chunk.len();
            self.buffer.extend_from_slice(chunk);
            self.input.consume(used);
        }
        Ok(())
    }

    fn take(&mut self, spans: Vec<Span>, used: usize) -> Record {
        let line = self.line;
        let bytes = &self.buffer[self.start..self.start + used];
        let mut fault = None;
        let mut cells = Vec::with_capacity(spans.len());
        for (index, span) in spans.into_iter().enumerate() {
            match String::from_utf8(span.text) {
                Ok(text) => cells.push(Some(text)),
                Err(_) => {
                    let reason = format!("column {} is not valid UTF-8{CONVERT}", index + 1);
                    fault.get_or_insert_with(|| place(bytes, span.at, line, reason));
                    cells.push(None);
                }
            }
        }
        if let Some(columns) = self.columns.filter(|columns| *columns != cells.len()) {
            let found = cells.len();
            let hint = if columns == 1 { "; is the delimiter another one?" } else { "" };
            let reason = format!("{found} {}, expected {columns}{hint}", if found == 1 { "cell" } else { "cells" });
            fault = Some(Fault { line, column: None, reason });
            // Its line breaks may have been swallowed by a stray quote: only its first line is given up.
            let used = bytes.iter().position(|b| *b == b'\n').map_or(used, |at| at + 1);
            self.advance(used);
        } else {
            self.advance(used);
        }
        Record { line, cells, fault }
    }

    /// Gives up the first line of what is pending.
    fn refuse(&mut self, spans: &[Span], at: usize, reason: String) -> io::Result<Record> {
        let line = self.line;
        let pending = &self.buffer[self.start..];
        let fault = Some(place(pending, at, line, reason));
        let cells = spans.iter().map(|s| String::from_utf8(s.text.clone()).ok()).collect();
        loop {
            let pending = &self.buffer[self.start..];
            if let Some(end) = pending.iter().position(|b| *b == b'\n') {
                self.advance(end + 1);
                break;
            }
            self.start = self.buffer.len();
            if self.ended {
                break;
            }
            self.fill(1)?;
        }
        Ok(Record { line, cells, fault })
    }

    fn advance(&mut self, used: usize) {
        let lines = self.buffer[self.start..self.start + used].iter().filter(|b| **b == b'\n').count();
        self.line += lines as u64;
        self.start += used;
    }
}

/// A cell's bytes and where it begins in the record.
#[derive(Debug)]
struct Span {
    text: Vec<u8>,
    at: usize,
}

enum Parsed {
    Whole {
        spans: Vec<Span>,
        used: usize,
    },
    /// The spans before the fault, and where it is.
    Malformed {
        spans: Vec<Span>,
        at: usize,
        reason: &'static str,
    },
    Unfinished,
}

/// Reads one record from the start of `bytes`; `ended` says that nothing follows them.
fn parse(bytes: &[u8], delimiter: u8, ended: bool) -> Parsed {
    let mut spans = Vec::new();
    let mut at = 0;
    loop {
        let begins = at;
        let text = if bytes.get(at) == Some(&b'"') {
            match quoted(bytes, at) {
                Some((text, end)) => {
                    at = end;
                    text
                }
                None if ended => {
                    return Parsed::Malformed { spans, at, reason: "the quote that opens here is never closed" };
                }
                None => return Parsed::Unfinished,
            }
        } else {
            while at < bytes.len() && bytes[at] != delimiter && bytes[at] != b'\n' {
                at += 1;
            }
            let end = if bytes.get(at) == Some(&b'\n') && at > begins && bytes[at - 1] == b'\r' { at - 1 } else { at };
            bytes[begins..end].to_vec()
        };
        match bytes.get(at) {
            Some(b) if *b == delimiter => {
                spans.push(Span { text, at: begins });
                at += 1;
            }
            Some(b'\n') => {
                spans.push(Span { text, at: begins });
                return Parsed::Whole { spans, used: at + 1 };
            }
            Some(b'\r') if bytes.get(at + 1) == Some(&b'\n') => {
                spans.push(Span { text, at: begins });
                return Parsed::Whole { spans, used: at + 2 };
            }
            // Only after a closing quote: unquoted text runs up to a delimiter or the line's end.
            Some(b'\r') if at + 1 == bytes.len() && !ended => return Parsed::Unfinished,
            Some(_) => {
                return Parsed::Malformed {
                    spans,
                    at,
                    reason: "text after a closing quote; a quote inside a cell is written twice",
                };
            }
            None if ended => {
                spans.push(Span { text, at: begins });
                return Parsed::Whole { spans, used: at };
            }
            None => return Parsed::Unfinished,
        }
    }
}

/// The text of the cell whose quote opens at `at`, and where it ends; `None` when it does not.
fn quoted(bytes: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    let mut at = at + 1;
    loop {
        let quote = at + bytes[at..].iter().position(|b| *b == b'"')?;
        text.extend_from_slice(&bytes[at..quote]);
        if bytes.get(quote + 1) != Some(&b'"') {
            return Some((text, quote + 1));
        }
        text.push(b'"');
        at = quote + 2;
    }
}

/// The line and column of an offset into a record that begins on `line`.
fn place(bytes: &[u8], at: usize, line: u64, reason: String) -> Fault {
    let before = &bytes[..at];
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let lines = before.iter().filter(|b| **b == b'\n').count() as u64;
    let column = String::from_utf8_lossy(&before[line_start..]).chars().count() as u64 + 1;
    Fault { line: line + lines, column: Some(column), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], columns: Option<usize>) -> Vec<Record> {
        let mut reader = CsvReader::new(io::BufReader::with_capacity(2, text), b',');
        if let Some(columns) = columns {
            reader.expect_columns(columns);
        }
        std::iter::from_fn(|| reader.next().expect("memory can be read")).collect()
    }

    fn check(text: &str, rows: &[(u64, &[&str])]) {
        let found = read(text.as_bytes(), None);
        assert!(found.iter().all(|r| r.fault.is_none()), "{found:?}");
        let found: Vec<(u64, Vec<String>)> =
            found.into_iter().map(|r| (r.line, r.cells.into_iter().flatten().collect())).collect();
        let rows: Vec<(u64, Vec<String>)> =
            rows.iter().map(|(line, cells)| (*line, cells.iter().map(|c| (*c).to_owned()).collect())).collect();
        assert_eq!(found, rows, "{text:?}");
    }

    #[test]
    fn whole_records() {
        check("a,b\nc,d\n", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\nc,d", &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("\u{feff}a\n\n\r\nb\n", &[(1, &["a"]), (4, &["b"])]);
        check("\"a,\"\"b\"\"\",\"x\ny\"\r\n\"\",z", &[(1, &["a,\"b\"", "x\ny"]), (3, &["", "z"])]);
        check("5\" nail,,\n", &[(1, &["5\" nail", "", ""])]);
        check("", &[]);
        check("a\rb,c", &[(1, &["a\rb", "c"])]);
    }

    #[test]
    fn a_fault_costs_one_line() {
        let faults = |text: &[u8]| {
            let records = read(text, Some(2));
            let good: Vec<u64> = records.iter().filter(|r| r.fault.is_none()).map(|r| r.line).collect();
            let bad: Vec<(u64, Option<u64>)> =
                records.iter().filter_map(|r| r.fault.as_ref()).map(|f| (f.line, f.column)).collect();
            (good, bad)
        };
        assert_eq!(faults(b"a,b\nc\nd,e\n"), (vec![1, 3], vec![(2, None)]));
        assert_eq!(faults(b"a,b\nc,\"d\ne,f\ng,h"), (vec![1, 3, 4], vec![(2, Some(3))]));
        assert_eq!(faults(b"a,b\nc,\"d\"x\ne,f\n"), (vec![1, 3], vec![(2, Some(6))]));
        assert_eq!(faults(b"a,\"b\nc,\"d\"\ne,f\n"), (vec![2, 3], vec![(2, Some(4))]));
        assert_eq!(faults(b"\xc3\xa4,\xff\nc,d\n"), (vec![2], vec![(1, Some(3))]));
    }

    #[test]
    fn an_endless_record_is_given_up() {
        let mut text = b"a,\"b\n".to_vec();
        text.extend(b"c,d\n".repeat(RECORD_BYTES_MAX / 2));
        let records = read(&text, Some(2));
        assert_eq!(records.iter().filter(|r| r.fault.is_some()).count(), 1);
        assert_eq!(records.len(), 1 + RECORD_BYTES_MAX / 2);
    }
}
