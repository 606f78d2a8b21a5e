use std::io::{self, BufRead};

use super::chunks::{Chunk, Chunks};
use super::condense::{Condensed, Condenser, End, HEADER_BYTES_MAX, begins_mail};
use crate::import::csv::Fault;
use crate::import::source::wide_text;

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The messages of one file.
pub(super) struct Messages<R> {
    chunks: Chunks<R>,
    layout: Layout,
    /// The line of the `From ` line read last: the next message begins there.
    separator: Option<u64>,
    began: bool,
    over: bool,
}

/// How messages lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As the file's first line says: a mailbox begins with a `From ` line, and each of its messages with such a line
    /// after a blank one; any other file is one message.
    ByFirstLine,
    /// One message, whatever stands in front of it.
    Single,
}

/// A message, or what is wrong where one should be.
pub(super) struct Found {
    /// The line it begins on, counted from 1.
    pub(super) line: u64,
    pub(super) content: Result<Condensed, Fault>,
}

impl<R: BufRead> Messages<R> {
    pub(super) fn new(input: R, layout: Layout) -> Self {
        Self { chunks: Chunks::new(input), layout, separator: None, began: false, over: false }
    }

    /// The line reached, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.chunks.line().max(1)
    }

    /// The next message; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if !std::mem::replace(&mut self.began, true) {
            self.begin()?;
        }
        if self.over { Ok(None) } else { self.message().map(Some) }
    }

    /// Reads up to the first message, and how the file is laid out.
    fn begin(&mut self) -> io::Result<()> {
        loop {
            let Some(chunk) = self.chunks.next()? else {
                // An empty mailbox is one all the same; an empty message is none.
                self.over = self.layout == Layout::ByFirstLine;
                return Ok(());
            };
            if chunk.is_blank() {
                continue;
            }
            if chunk.bytes.starts_with(b"From ") {
                self.separator = Some(self.chunks.line());
            } else {
                self.layout = Layout::Single;
                self.chunks.unread();
            }
            return Ok(());
        }
    }

    fn message(&mut self) -> io::Result<Found> {
        let separator = self.separator.take();
        let many = self.layout == Layout::ByFirstLine;
        let mut condenser = Condenser::new();
        let (mut first, mut after_blank, mut fault) = (None, false, None);
        loop {
            let Some(chunk) = self.chunks.next()? else {
                self.over = true;
                break;
            };
            if many && after_blank && chunk.begins && is_separator(chunk.bytes) {
                self.separator = Some(self.chunks.line());
                break;
            }
            after_blank = chunk.is_blank();
            let quoted = chunk.begins && is_quoted(chunk.bytes);
            if first.is_none() && !begins_mail(chunk.bytes) && !quoted {
                fault = Some(no_mail(chunk.bytes));
                if !many {
                    // There is nothing else in the file to look for.
                    self.over = true;
                    break;
                }
            }
            let in_header = condenser.in_header();
            if !(quoted && in_header) {
                condenser.take(if many && quoted { Chunk { bytes: &chunk.bytes[1..], ..chunk } } else { chunk });
            }
            first = first.or(Some(self.chunks.line()));
        }
        let condensed = condenser.finish();
        let line = separator.or(first).unwrap_or_else(|| self.line());
        let at_start = |reason: String| Fault { line, column: None, reason };
        let content = match fault.map(at_start).or_else(|| self.cut_off(&condensed, first.is_none(), line)) {
            Some(fault) => Err(fault),
            None if condensed.header_too_long => {
                Err(at_start(format!("the message's header is longer than {HEADER_BYTES_MAX} bytes")))
            }
            None => Ok(condensed),
        };
        Ok(Found { line, content })
    }

    /// Whether the file ends before the message does: imported like this, the whole of it would be known later, and stay
    /// cut off for ever.
    fn cut_off(&self, condensed: &Condensed, empty: bool, line: u64) -> Option<Fault> {
        if !self.over {
            return None;
        }
        let at_end = |what: &str| {
            let reason = format!("the file ends {what} the message that begins on line {line}; was it cut off?");
            Some(Fault { line: self.line(), column: Some(self.chunks.width() + 1), reason })
        };
        let mid_line = !self.chunks.ended();
        let many = self.layout == Layout::ByFirstLine;
        match condensed.end {
            _ if empty => at_end("in front of"),
            End::Header if many || mid_line => at_end("in the header of"),
            // Many programs forget the last boundary, and leave a text without its last line break.
            End::Open | End::File if many && self.chunks.width() > 0 => at_end("before the last part of"),
            End::File if mid_line => at_end("in the middle of an attachment of"),
            // A mailbox ends with a line break, as each of its lines does; a file of one message may do without.
            _ if many && mid_line => at_end("in the middle of a line of"),
            _ => None,
        }
    }
}

fn no_mail(line: &[u8]) -> String {
    if line.is_empty() {
        return "the message has no header".to_owned();
    }
    wide_text(line).map_or_else(
        || "this is no mail: it begins neither with a header field (`Name: ...`) nor with a `From ` line".to_owned(),
        str::to_owned,
    )
}

/// Whether a line separates two messages of a mailbox: `From ann@example.com Thu Aug 22 12:36:23 2002`. A sentence that
/// begins with the word has no date like that.
fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else { return false };
    let words: Vec<&str> = match std::str::from_utf8(rest) {
        Ok(text) => text.split_ascii_whitespace().collect(),
        Err(_) => return false,
    };
    let is_number = |word: &&str, digits: std::ops::RangeInclusive<usize>| {
        digits.contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit())
    };
    words.windows(5).enumerate().any(|(at, window)| {
        WEEKDAYS.contains(&window[0])
            && MONTHS.contains(&window[1])
            && is_number(&window[2], 1..=2)
            && window[3].contains(':')
            // A zone may stand before the year.
            && words[at + 4..].iter().take(3).any(|word| is_number(word, 4..=4))
    })
}

/// Whether a line stands for one that begins with `From ` and is none that separates: `>From `, `>>From ` and so on.
fn is_quoted(line: &[u8]) -> bool {
    let unquoted = line.iter().position(|b| *b != b'>').unwrap_or(line.len());
    unquoted > 0 && line[unquoted..].starts_with(b"From ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEPARATOR: &str = "From a@b.example Thu Aug 22 12:36:23 2002\n";

    /// (line, text kept) of a message, or the place and the reason.
    type Read = Result<(u64, String), (u64, Option<u64>, String)>;

    fn read(text: &[u8], layout: Layout) -> Vec<Read> {
        let mut messages = Messages::new(text, layout);
        std::iter::from_fn(|| messages.next().expect("memory can be read"))
            .map(|found| match found.content {
                Ok(condensed) => Ok((found.line, String::from_utf8_lossy(&condensed.bytes).into_owned())),
                Err(fault) => Err((fault.line, fault.column, fault.reason)),
            })
            .collect()
    }

    fn texts(text: &str) -> Vec<(u64, String)> {
        read(text.as_bytes(), Layout::ByFirstLine).into_iter().map(|m| m.expect("a message")).collect()
    }

    #[test]
    fn a_mailbox() {
        let text = format!(
            "{SEPARATOR}>From x\nA: 1\n\n>From here\n>>From there\nFrom the start it was clear:\n\nFrom now on\n\n\
             {SEPARATOR}A: 2\n\nend\n"
        );
        let first = "A: 1\n\nFrom here\n>From there\nFrom the start it was clear:\n\nFrom now on\n\n".to_owned();
        let expected = [(1, first), (11, "A: 2\n\nend\n".to_owned())];
        assert_eq!(texts(&text), expected);
        assert_eq!(texts(&text.replace('\n', "\r\n")), expected);
        assert_eq!(texts(""), []);
    }

    #[test]
    fn separators() {
        for line in [
            "From a@b.example Thu Aug 22 12:36:23 2002",
            "From ann at example.com  Thu Aug  2 12:36:23 2002",
            "From 123@xxx Mon Jan 01 00:00:00 +0000 2010",
            "From - Mon Jan 1 00:00 CET 2010",
        ] {
            assert!(is_separator(line.as_bytes()), "{line}");
        }
        for line in ["From here on", "From Monday, Aug 22 at 12:00", ">From a Thu Aug 22 12:36:23 2002"] {
            assert!(!is_separator(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn one_message_a_file() {
        for text in
            ["A: 1\n\nFrom a Thu Aug 22 12:36:23 2002\n>From x", "\n\nA: 1\n\nFrom a Thu Aug 22 12:36:23 2002\n>From x"]
        {
            let found = texts(text);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].1, "A: 1\n\nFrom a Thu Aug 22 12:36:23 2002\n>From x");
        }
        let eml = format!("{SEPARATOR}A: 1\n\nx\n\n{SEPARATOR}\n");
        assert_eq!(read(eml.as_bytes(), Layout::Single).len(), 1);
    }

    #[test]
    fn a_file_that_was_cut_off() {
        let whole = format!("{SEPARATOR}A: 1\n\nx\n\n");
        let multipart = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n";
        for (rest, line, column) in [
            (SEPARATOR.to_owned(), 6, 42),
            (format!("{SEPARATOR}A: 2"), 7, 5),
            (format!("{SEPARATOR}A: 2\n"), 7, 5),
            (format!("{SEPARATOR}A: 2\n\nHel"), 9, 4),
            (format!("{SEPARATOR}{multipart}"), 11, 6),
        ] {
            let mut found = read(format!("{whole}{rest}").as_bytes(), Layout::ByFirstLine);
            let last = found.pop().expect("a message");
            let (at, width, reason) = last.expect_err(&rest);
            assert_eq!((at, width), (line, Some(column)), "{reason}");
            assert!(reason.contains("on line 6; was it cut off?"), "{reason}");
            assert!(found.len() == 1 && found[0].is_ok());
        }
        assert!(read(multipart.trim_end().as_bytes(), Layout::Single)[0].is_ok());
        let file = multipart.replace("--b\n\nHello\n", "--b\nContent-Transfer-Encoding: base64\n\nQUJD");
        assert!(read(file.as_bytes(), Layout::Single)[0].is_err());
        assert!(read(format!("{SEPARATOR}{multipart}\n{whole}").as_bytes(), Layout::ByFirstLine)[0].is_ok());
    }

    #[test]
    fn what_is_no_mail() {
        for (text, says) in
            [(&b"{\"a\": 1}"[..], "no mail"), (b"\xff\xfeF\0r\0o\0m\0", "UTF-16"), (b"\0\x01\x02", "no mail")]
        {
            let found = read(text, Layout::ByFirstLine);
            assert!(found.len() == 1, "{found:?}");
            let (line, _, reason) = found[0].clone().expect_err("no mail");
            assert!(line == 1 && reason.contains(says), "{reason}");
        }
        assert_eq!(read(b"", Layout::Single).len(), 1);
        // Among others, the others go in.
        let text = format!("{SEPARATOR}\nrubbish\n\n{SEPARATOR}A: 1\n\n");
        let found = read(text.as_bytes(), Layout::ByFirstLine);
        assert!(found.len() == 2 && found[0].is_err() && found[1].is_ok(), "{found:?}");
    }
}
