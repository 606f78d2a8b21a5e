use std::io::{self, BufRead};

use jaq_json::{Map, Val};
use sha2::{Digest, Sha256};

use super::csv::{CsvReader, Fault, Record};
use super::lines::Lines;
use super::mapping::{Format, Mapping};
use super::source::wide_text;

/// A longer line of an NDJSON file is refused.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// JSON that is nested deeper is refused: whoever reads it or writes it calls itself at each level, and an event of that
/// depth is refused anyhow.
const DEPTH_MAX: usize = 128;

/// What a cell takes besides its text.
const CELL_BYTES: usize = 32;

/// A row of the file, usable or not.
pub(crate) struct Row {
    /// The line it begins on, counted from 1.
    pub(crate) line: u64,
    /// Its cells in the columns it is grouped by; `None` when they cannot be read.
    pub(crate) key: Option<Vec<String>>,
    pub(crate) content: Result<Content, Fault>,
}

/// A usable row.
pub(crate) struct Content {
    /// Of everything that makes the row what it is.
    pub(crate) hash: [u8; 16],
    /// About how much memory it takes.
    pub(crate) bytes: usize,
    /// An object: column name to text (CSV), or the line itself (NDJSON).
    pub(crate) value: Val,
}

/// The file as a whole cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("the file could not be read: {0}")]
    Read(#[from] io::Error),
    #[error("line {line}, column {column}: {detail}")]
    Header { line: u64, column: u64, detail: String },
}

/// Reads the rows of a file as its mapping says.
pub(crate) struct Rows<'m, R> {
    mapping: &'m Mapping,
    source: Source<R>,
}

enum Source<R> {
    Csv { reader: CsvReader<R>, columns: Vec<Val>, key: Vec<usize>, hashed: Vec<usize> },
    Ndjson(Lines<R>),
}

impl<'m, R: BufRead> Rows<'m, R> {
    pub(crate) fn open(mapping: &'m Mapping, mut input: R) -> Result<Self, FileError> {
        if let Some(detail) = wide_text(input.fill_buf()?) {
            return Err(FileError::Header { line: 1, column: 1, detail: detail.to_owned() });
        }
        let source = match mapping.format {
            Format::Csv => open_csv(mapping, input)?,
            // Mails have a reader of their own.
            Format::Ndjson | Format::Mail => Source::Ndjson(Lines::new(input, LINE_BYTES_MAX)),
        };
        Ok(Self { mapping, source })
    }

    /// The line reached, counted from 1.
    pub(crate) fn line(&self) -> u64 {
        match &self.source {
            Source::Csv { reader, .. } => reader.line(),
            Source::Ndjson(lines) => lines.number().max(1),
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Row>> {
        match &mut self.source {
            Source::Csv { reader, columns, key, hashed } => {
                Ok(reader.next()?.map(|record| csv_row(record, columns, key, hashed)))
            }
            Source::Ndjson(lines) => loop {
                let Some(line) = lines.next()? else { return Ok(None) };
                if line.too_long {
                    let reason = format!("the line is longer than {LINE_BYTES_MAX} bytes");
                    let fault = Fault { line: line.number, column: None, reason };
                    return Ok(Some(Row { line: line.number, key: None, content: Err(fault) }));
                }
                if !line.bytes.trim_ascii().is_empty() {
                    return Ok(Some(json_row(self.mapping, line.number, &line.bytes)));
                }
            },
        }
    }
}

fn open_csv<R: BufRead>(mapping: &Mapping, input: R) -> Result<Source<R>, FileError> {
    let mut reader = CsvReader::new(input, u8::try_from(mapping.delimiter).unwrap_or(b','));
    let (line, names) = if mapping.header { header(&mut reader)? } else { (1, mapping.columns.clone()) };
    let find = |name: &String| names.iter().position(|n| n == name);
    if let Some(twice) = names.iter().enumerate().find_map(|(i, name)| (find(name) != Some(i)).then_some(name)) {
        return Err(FileError::Header { line, column: 1, detail: format!("there are two columns named \"{twice}\"") });
    }
    if let Some(missing) = mapping.require.iter().chain(&mapping.group_by).find(|name| find(name).is_none()) {
        let detail = format!(
            "there is no column \"{missing}\", which the mapping needs; the columns are {}. Is the delimiter another one?",
            names.iter().map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(", ")
        );
        return Err(FileError::Header { line, column: 1, detail });
    }
    reader.expect_columns(names.len());
    let key = mapping.group_by.iter().filter_map(find).collect();
    let hashed = (0..names.len()).filter(|i| !mapping.ignore.contains(&names[*i])).collect();
    Ok(Source::Csv { reader, columns: names.into_iter().map(Val::from).collect(), key, hashed })
}

fn header<R: BufRead>(reader: &mut CsvReader<R>) -> Result<(u64, Vec<String>), FileError> {
    let record = reader.next()?.ok_or_else(|| FileError::Header {
        line: 1,
        column: 1,
        detail: "the file is empty; its first line should name the columns".to_owned(),
    })?;
    match record.fault {
        Some(fault) => {
            let (line, column) = (fault.line, fault.column.unwrap_or(1));
            Err(FileError::Header { line, column, detail: format!("the names of the columns: {}", fault.reason) })
        }
        None => Ok((record.line, record.cells.into_iter().flatten().collect())),
    }
}

fn csv_row(record: Record, columns: &[Val], key: &[usize], hashed: &[usize]) -> Row {
    let Record { line, cells, fault } = record;
    let key = key.iter().map(|i| cells.get(*i).cloned().flatten()).collect();
    let content = match fault {
        Some(fault) => Err(fault),
        None => {
            let mut hash = Sha256::new();
            for cell in hashed.iter().filter_map(|i| cells[*i].as_deref()) {
                hash.update((cell.len() as u64).to_be_bytes());
                hash.update(cell);
            }
            let bytes = cells.iter().flatten().map(|c| c.len() + CELL_BYTES).sum();
            let pairs = columns.iter().cloned().zip(cells.into_iter().map(|c| Val::from(c.unwrap_or_default())));
            Ok(Content { hash: first_half(hash), bytes, value: Val::obj(pairs.collect()) })
        }
    };
    Row { line, key, content }
}

fn json_row(mapping: &Mapping, line: u64, bytes: &[u8]) -> Row {
    let fault = |column, reason| Row { line, key: None, content: Err(Fault { line, column, reason }) };
    // serde_json is the stricter reader: it knows columns, and no comments or NaN.
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
        return fault(Some(error.column() as u64), crate::publish::not_json(&error));
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        let column = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).chars().count() as u64 + 1;
        return fault(Some(column), "not valid UTF-8".to_owned());
    }
    if let Some(reason) = too_deep(bytes) {
        return fault(None, reason);
    }
    let object = match jaq_json::read::parse_single(bytes) {
        Ok(Val::Obj(object)) => object,
        Ok(_) => return fault(None, "a row is a JSON object, this is another value".to_owned()),
        Err(error) => return fault(None, format!("not JSON: {error}")),
    };
    if let Some(missing) =
        mapping.require.iter().chain(&mapping.group_by).find(|name| !object.contains_key(&text(name)))
    {
        return fault(None, format!("there is no field \"{missing}\", which the mapping needs"));
    }
    let key = mapping.group_by.iter().map(|name| object.get(&text(name)).map(ToString::to_string)).collect();
    let value = Val::Obj(object);
    let hash = first_half(Sha256::new_with_prefix(canonical(&without(&value, &mapping.ignore))));
    Row { line, key, content: Ok(Content { hash, bytes: bytes.len(), value }) }
}

/// Why a text of JSON is not to be read as a value: it is nested too deep, or cannot be told from one that is.
pub(super) fn too_deep(json: &[u8]) -> Option<String> {
    let opens = json.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opens <= DEPTH_MAX {
        return None;
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(json) {
        return Some(crate::publish::not_json(&error));
    }
    (depth(json) > DEPTH_MAX).then(|| format!("arrays and objects are nested deeper than {DEPTH_MAX}"))
}

/// How deep the arrays and objects of a text of JSON are nested.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn without(value: &Val, ignored: &[String]) -> Val {
    match value {
        Val::Obj(object) if !ignored.is_empty() => {
            let kept: Map = object
                .iter()
                .filter(|(name, _)| !ignored.iter().any(|i| text(i) == **name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            Val::obj(kept)
        }
        other => other.clone(),
    }
}

/// JSON text that is the same for equal values: members sorted, the digits of numbers as they came.
pub(crate) fn canonical(value: &Val) -> Vec<u8> {
    let style = jaq_json::write::Pp { sort_keys: true, ..Default::default() };
    let mut bytes = Vec::new();
    jaq_json::write::write(&mut bytes, &style, 0, value).expect("writing to memory cannot fail");
    bytes
}

pub(crate) fn text(text: &str) -> Val {
    Val::from(text.to_owned())
}

pub(crate) fn first_half(hash: Sha256) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.finalize()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn json_that_is_nested_too_deep() {
        for (json, says) in [
            (nested(DEPTH_MAX), None),
            (nested(DEPTH_MAX + 1), Some("nested deeper than 128")),
            (nested(500_000), Some("nested deeper than 128")),
            (format!("[{}1]", "[],".repeat(DEPTH_MAX)), None),
            (format!("\"\\\"{}\"", "[".repeat(1000)), None),
            // A comment that only jq understands, with a quote that would hide what follows.
            (format!("# \"\n{}", nested(500_000)), Some("not JSON")),
        ] {
            let found = too_deep(json.as_bytes());
            assert_eq!(found.is_some(), says.is_some(), "{} bytes: {found:?}", json.len());
            assert!(found.unwrap_or_default().contains(says.unwrap_or_default()));
        }
    }

    #[test]
    fn a_row_that_is_nested_too_deep_is_one_fault() {
        let mapping = Mapping::parse("format = \"ndjson\"\nsource = \"s\"\nprogram = \".\"").expect("a mapping");
        let text = format!("{{\"a\":{}}}\n{{\"a\":1}}\n", nested(300_000));
        let mut rows = Rows::open(&mapping, text.as_bytes()).expect("a file");
        let faults: Vec<_> = std::iter::from_fn(|| rows.next().expect("memory can be read"))
            .map(|row| row.content.err().map(|fault| (fault.line, fault.reason)))
            .collect();
        assert_eq!(faults, [Some((1, "arrays and objects are nested deeper than 128".to_owned())), None]);
    }
}
