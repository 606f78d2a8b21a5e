use std::io::{self, BufRead};

/// A line of a file, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Its bytes; empty when it is too long.
    pub(crate) bytes: Vec<u8>,
    /// Longer than the limit: it was skipped and not kept.
    pub(crate) too_long: bool,
}

/// Reads lines of bounded length in constant memory: a longer one is skipped and said to be too long.
pub(crate) struct Lines<R> {
    input: R,
    bytes_max: usize,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, bytes_max: usize) -> Self {
        Self { input, bytes_max, number: 0 }
    }

    /// The line read last, counted from 1; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; `None` at the end. A byte-order mark before the first one is dropped.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let (mut too_long, mut any) = (false, false);
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            any = true;
            let end = chunk.iter().position(|b| *b == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if too_long || bytes.len() + part.len() > self.bytes_max {
                too_long = true;
                bytes.clear();
            } else {
                bytes.extend_from_slice(part);
            }
            let used = end.map_or(chunk.len(), |at| at + 1);
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if self.number == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(Line { number: self.number, bytes, too_long }))
    }
}

/// U+FEFF in UTF-8, which some programs write in front of a file.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], bytes_max: usize) -> Vec<(u64, String, bool)> {
        // A tiny buffer: lines must not depend on how the bytes arrive.
        let mut lines = Lines::new(io::BufReader::with_capacity(3, text), bytes_max);
        std::iter::from_fn(|| lines.next().expect("memory can be read"))
            .map(|l| (l.number, String::from_utf8(l.bytes).expect("text"), l.too_long))
            .collect()
    }

    #[test]
    fn ends_marks_and_limits() {
        let text = b"\xef\xbb\xbfone\r\n\ntoo long\nlast";
        let lines = [(1, "one"), (2, ""), (3, ""), (4, "last")].map(|(n, t)| (n, t.to_owned(), n == 3));
        assert_eq!(read(text, 7), lines);
        assert_eq!(read(b"", 7), []);
        assert_eq!(read(b"a\n", 7), [(1, "a".to_owned(), false)]);
    }
}
