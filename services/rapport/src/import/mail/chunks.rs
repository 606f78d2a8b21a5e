use std::io::{self, BufRead};

use crate::import::lines::BYTE_ORDER_MARK;

/// A longer line comes in pieces: no line of a mail has to fit into memory.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// A text line by line, in constant memory: LF or CRLF, lines of any length.
pub(super) struct Chunks<R> {
    input: R,
    bytes: Vec<u8>,
    /// The line that the chunk is of, counted from 1.
    line: u64,
    /// The chunk is its line's first.
    begins: bool,
    /// The chunk is its line's last, and a line break follows.
    ends: bool,
    /// The chunk is to be read once more.
    again: bool,
}

/// A line without its end, or a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) begins: bool,
    pub(super) ends: bool,
}

impl Chunk<'_> {
    /// A whole line with nothing in it.
    pub(super) fn is_blank(&self) -> bool {
        self.begins && self.bytes.is_empty()
    }
}

impl<R: BufRead> Chunks<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, bytes: Vec::new(), line: 0, begins: false, ends: true, again: false }
    }

    /// Which line the last chunk is of, counted from 1; 0 before the first.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// How many characters of the line the last chunk has.
    pub(super) fn width(&self) -> u64 {
        String::from_utf8_lossy(&self.bytes).chars().count() as u64
    }

    /// Whether the last chunk was followed by a line break.
    pub(super) fn ended(&self) -> bool {
        self.ends
    }

    /// The last chunk is read once more.
    pub(super) fn unread(&mut self) {
        self.again = true;
    }

    /// The next chunk; `None` at the end. A byte-order mark before the first line is dropped.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk<'_>>> {
        if !std::mem::take(&mut self.again) && !self.read()? {
            return Ok(None);
        }
        Ok(Some(Chunk { bytes: &self.bytes, begins: self.begins, ends: self.ends }))
    }

    fn read(&mut self) -> io::Result<bool> {
        if self.input.fill_buf()?.is_empty() {
            return Ok(false);
        }
        self.bytes.clear();
        self.begins = self.ends;
        self.ends = false;
        self.line += u64::from(self.begins);
        while !self.ends && self.bytes.len() < CHUNK_BYTES_MAX {
            let available = self.input.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let available = &available[..available.len().min(CHUNK_BYTES_MAX - self.bytes.len())];
            let end = available.iter().position(|b| *b == b'\n');
            self.bytes.extend_from_slice(&available[..end.unwrap_or(available.len())]);
            self.ends = end.is_some();
            let used = end.map_or(available.len(), |at| at + 1);
            self.input.consume(used);
        }
        if self.ends && self.bytes.last() == Some(&b'\r') {
            self.bytes.pop();
        }
        if self.line == 1 && self.begins && self.bytes.starts_with(BYTE_ORDER_MARK) {
            self.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length() {
        let long = "x".repeat(CHUNK_BYTES_MAX + 5);
        let text = format!("\u{feff}a\r\n\n{long}\nend");
        // A tiny buffer: chunks must not depend on how the bytes arrive.
        let mut chunks = Chunks::new(io::BufReader::with_capacity(3, text.as_bytes()));
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next().expect("memory can be read") {
            found.push((chunk.bytes.len(), chunk.begins, chunk.ends));
            assert!(chunks.bytes.capacity() <= 2 * CHUNK_BYTES_MAX);
        }
        let expected =
            [(1, true, true), (0, true, true), (CHUNK_BYTES_MAX, true, false), (5, false, true), (3, true, false)];
        assert_eq!(found, expected);
        assert_eq!((chunks.line(), chunks.ended()), (4, false));
    }

    #[test]
    fn a_chunk_can_be_read_twice() {
        let mut chunks = Chunks::new(&b"a\nb\n"[..]);
        let mut next = |again: bool| {
            let bytes = chunks.next().expect("memory can be read").map(|c| c.bytes.to_vec());
            if again {
                chunks.unread();
            }
            bytes
        };
        assert_eq!(
            [next(true), next(false), next(false), next(false)],
            [Some(b"a".to_vec()), Some(b"a".to_vec()), Some(b"b".to_vec()), None]
        );
    }
}
