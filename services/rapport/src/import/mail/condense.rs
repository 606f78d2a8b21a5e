use mail_parser::MimeHeaders;
use sha2::{Digest, Sha256};

use super::chunks::Chunk;
use super::parser::parser;
use crate::import::rows::first_half;

/// A longer header is refused: no mail program writes one.
pub(super) const HEADER_BYTES_MAX: usize = 256 * 1024;

/// What is kept of the body of a part that is text, in bytes as they were transferred.
const TEXT_BYTES_MAX: usize = 512 * 1024;

/// What is kept of a message altogether; of what lies beyond only sizes are known.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Parts beyond these are neither kept nor listed.
const PARTS_MAX: usize = 200;

/// Multiparts inside each other; an inner one is a part without parts.
const NESTING_MAX: usize = 20;

/// The fields that make a message what it is, whichever way it took and in whichever folder it lies.
const OWN_FIELDS: [&str; 9] =
    ["message-id", "date", "from", "sender", "to", "cc", "subject", "in-reply-to", "references"];

/// What is kept of a message while it is read line by line: its header, the headers of its parts and the beginning of
/// each text. Attachments are counted, never kept: memory is bounded, whatever their size.
#[derive(Debug)]
pub(super) struct Condensed {
    /// A message that a parser understands.
    pub(super) bytes: Vec<u8>,
    /// Its parts that have no parts themselves, in order.
    pub(super) parts: Vec<Part>,
    /// The hash of what makes it this message: the fields its sender wrote, and its whole body.
    pub(super) hash: [u8; 16],
    /// How far its end is its end.
    pub(super) end: End,
    /// Its header did not fit.
    pub(super) header_too_long: bool,
    /// Not all of its text is here: one is long, or a part that is text lies beyond what is kept.
    pub(super) text_cut: bool,
}

/// A part without parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    /// `image/png`; empty where the part does not say.
    pub(super) media_type: String,
    /// The file's name.
    pub(super) name: Option<String>,
    /// It says that it is an attachment.
    pub(super) attached: bool,
    /// The file's bytes where it was sent as base64, else the bytes as transferred.
    pub(super) size_bytes: u64,
}

impl Part {
    /// Whether it is a file that came with the mail, and not what the mail says.
    pub(super) fn is_attachment(&self) -> bool {
        let says = matches!(self.media_type.as_str(), "" | "text/plain" | "text/html");
        self.attached || self.name.is_some() || !says
    }
}

/// Where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In its header.
    Header,
    /// Before the end of its last multipart.
    Open,
    /// In the middle of a file that is sent along.
    File,
    /// Where it should.
    Whole,
}

/// Condenses one message.
pub(super) struct Condenser {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    hash: Sha256,
    /// Blank lines that count only if something follows them: those at the end are the mailbox's.
    blank_lines: u64,
    /// The delimiters of the multiparts that are open, the innermost last.
    boundaries: Vec<Vec<u8>>,
    at: At,
    /// The line at hand goes on.
    goes_on: Line,
    header_too_long: bool,
    text_cut: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In the header that begins at this offset; the first is the message's own.
    Header { start: usize },
    /// In a part's body, of which so many bytes were kept.
    Body { kept: usize, kept_max: usize, encoding: Encoding },
    /// Between parts, where nothing counts.
    Between,
}

/// How a part was transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Base64,
    /// As it is, and nobody says in which characters.
    Unnamed,
    Other,
}

/// What the pieces of a long line are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Header,
    Body,
    Ignored,
}

impl Condenser {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            parts: Vec::new(),
            hash: Sha256::new(),
            blank_lines: 0,
            boundaries: Vec::new(),
            at: At::Header { start: 0 },
            goes_on: Line::Ignored,
            header_too_long: false,
            text_cut: false,
        }
    }

    /// Whether the message's own header is still being read.
    pub(super) fn in_header(&self) -> bool {
        self.at == At::Header { start: 0 }
    }

    /// Takes the next line, or the next piece of one.
    pub(super) fn take(&mut self, chunk: Chunk<'_>) {
        if !chunk.begins {
            return self.take_rest(chunk);
        }
        if let At::Header { start } = self.at {
            let goes_on = start < self.bytes.len() && matches!(chunk.bytes.first(), Some(b' ' | b'\t'));
            if goes_on || is_field(chunk.bytes) {
                return self.take_field(start, chunk);
            }
            self.end_header(start);
            if chunk.bytes.is_empty() {
                self.goes_on = Line::Ignored;
                return;
            }
            // Neither a field nor a blank line: the header ends here all the same.
        }
        if !self.take_boundary(chunk.bytes) {
            self.goes_on = Line::Body;
            self.take_body(chunk);
        }
    }

    fn take_rest(&mut self, chunk: Chunk<'_>) {
        match (self.goes_on, self.at) {
            (Line::Header, At::Header { start }) => self.keep_field(start, chunk),
            (Line::Body, _) => self.take_body(chunk),
            _ => {}
        }
    }

    fn take_field(&mut self, start: usize, chunk: Chunk<'_>) {
        self.goes_on = Line::Header;
        self.keep_field(start, chunk);
    }

    fn keep_field(&mut self, start: usize, chunk: Chunk<'_>) {
        if self.bytes.len() - start + chunk.bytes.len() > HEADER_BYTES_MAX {
            self.header_too_long |= start == 0;
            return;
        }
        match std::str::from_utf8(chunk.bytes) {
            Ok(_) => self.bytes.extend_from_slice(chunk.bytes),
            // Bytes that no header may hold.
            Err(_) => self.bytes.extend(latin(chunk.bytes).bytes()),
        }
        if chunk.ends {
            self.bytes.push(b'\n');
        }
    }

    /// The header that begins at `start` is whole: what kind of part follows?
    fn end_header(&mut self, start: usize) {
        if !self.bytes.is_empty() && !self.bytes.ends_with(b"\n") {
            self.bytes.push(b'\n');
        }
        self.bytes.push(b'\n');
        let header = self.bytes[start..].to_vec();
        if start == 0 {
            self.hash_fields(&header);
        }
        let (part, encoding, boundary) = describe(&header);
        let skipped = self.is_full() && start > 0;
        if skipped {
            self.bytes.truncate(start);
        }
        self.at = match boundary.filter(|_| self.boundaries.len() < NESTING_MAX) {
            Some(boundary) => {
                self.boundaries.push(boundary);
                At::Between
            }
            None if skipped => {
                self.text_cut |= !part.is_attachment();
                At::Between
            }
            None => {
                let kept_max = if part.is_attachment() { 0 } else { TEXT_BYTES_MAX };
                self.parts.push(part);
                At::Body { kept: 0, kept_max, encoding }
            }
        };
    }

    /// Whether no part beyond those that are here is kept.
    fn is_full(&self) -> bool {
        self.bytes.len() > MESSAGE_BYTES_MAX || self.parts.len() >= PARTS_MAX
    }

    fn hash_fields(&mut self, header: &[u8]) {
        let text = String::from_utf8_lossy(header);
        let mut counts = false;
        for line in text.lines() {
            if !line.starts_with([' ', '\t']) {
                let name = line.split(':').next().unwrap_or_default().trim_end();
                counts = OWN_FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name));
            }
            if counts {
                // Programs fold anew: only the words count.
                line.split_ascii_whitespace().for_each(|word| self.hash.update(word));
            }
        }
        self.hash.update(b"\n\n");
    }

    /// Whether the line stands between two parts, or after the last.
    fn take_boundary(&mut self, line: &[u8]) -> bool {
        let Some(rest) = line.strip_prefix(b"--") else { return false };
        let found = self.boundaries.iter().enumerate().rev().find_map(|(index, boundary)| {
            let rest = rest.strip_prefix(&boundary[..])?;
            match rest.trim_ascii_end() {
                b"" => Some((index, false)),
                b"--" => Some((index, true)),
                _ => None,
            }
        });
        let Some((index, last)) = found else { return false };
        self.end_part(true);
        self.hash_line(line, true);
        // What follows is skipped then, so that nothing needs to be kept apart; and lines like this can be any number.
        if !self.is_full() {
            if !matches!(self.bytes.last(), None | Some(b'\n')) {
                self.bytes.push(b'\n');
            }
            self.bytes.extend_from_slice(line);
            self.bytes.push(b'\n');
        }
        self.goes_on = Line::Ignored;
        if last {
            self.boundaries.truncate(index);
            self.at = At::Between;
        } else {
            self.boundaries.truncate(index + 1);
            self.at = At::Header { start: self.bytes.len() };
        }
        true
    }

    fn take_body(&mut self, chunk: Chunk<'_>) {
        if chunk.is_blank() {
            self.blank_lines += 1;
        } else {
            self.hash_line(chunk.bytes, chunk.begins);
        }
        let At::Body { kept, kept_max, encoding } = &mut self.at else { return };
        if let Some(part) = self.parts.last_mut() {
            part.size_bytes += size(chunk, *encoding == Encoding::Base64);
        }
        let room = kept_max.saturating_sub(*kept).min(MESSAGE_BYTES_MAX.saturating_sub(self.bytes.len()));
        let part = &chunk.bytes[..chunk.bytes.len().min(room)];
        self.text_cut |= *kept_max > 0 && part.len() < chunk.bytes.len();
        match std::str::from_utf8(part) {
            Err(_) if *encoding == Encoding::Unnamed => self.bytes.extend(latin(part).bytes()),
            _ => self.bytes.extend_from_slice(part),
        }
        *kept += part.len() + 1;
        if chunk.ends && room > 0 {
            self.bytes.push(b'\n');
        }
    }

    /// The part's body is over: its size is known.
    fn end_part(&mut self, at_boundary: bool) {
        let (At::Body { encoding, .. }, Some(part)) = (self.at, self.parts.last_mut()) else { return };
        if encoding == Encoding::Base64 {
            // Four characters are three bytes.
            part.size_bytes = part.size_bytes * 3 / 4;
        } else if at_boundary {
            // The line break before a boundary belongs to it.
            part.size_bytes = part.size_bytes.saturating_sub(1);
        }
    }

    fn hash_line(&mut self, bytes: &[u8], begins: bool) {
        if begins {
            for _ in 0..=std::mem::take(&mut self.blank_lines) {
                self.hash.update(b"\n");
            }
        }
        self.hash.update(bytes);
    }

    /// The message is over.
    pub(super) fn finish(mut self) -> Condensed {
        let mut end = match self.at {
            _ if self.boundaries.is_empty() => End::Whole,
            At::Body { encoding: Encoding::Base64, .. } => End::File,
            _ => End::Open,
        };
        if let At::Header { start } = self.at {
            end = End::Header;
            self.end_header(start);
        }
        self.end_part(false);
        let hash = first_half(self.hash.clone());
        let Self { bytes, parts, header_too_long, text_cut, .. } = self;
        Condensed { bytes, parts, hash, end, header_too_long, text_cut }
    }
}

/// Whether a line begins a header field: a name of printable characters, and a colon.
fn is_field(line: &[u8]) -> bool {
    name(line).is_some_and(|name| name.iter().all(u8::is_ascii_graphic))
}

/// Whether a text that begins with this line can be a mail: the first field has a usual name. JSON would pass for a field.
pub(super) fn begins_mail(line: &[u8]) -> bool {
    name(line).is_some_and(|name| name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b)))
}

fn name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|b| *b == b':')?;
    Some(line[..colon].trim_ascii_end()).filter(|name| !name.is_empty())
}

/// Bytes of which nobody says what they mean: Latin-1 is what programs that send such mean, and every byte is text in it.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// How much a piece of a body adds to its part's size: characters of base64, or bytes with line breaks.
fn size(chunk: Chunk<'_>, base64: bool) -> u64 {
    let counts = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    let size =
        if base64 { chunk.bytes.iter().filter(counts).count() } else { chunk.bytes.len() + usize::from(chunk.ends) };
    size as u64
}

/// What a header says of the part it stands before: the part, its encoding, its delimiter where it has parts.
fn describe(header: &[u8]) -> (Part, Encoding, Option<Vec<u8>>) {
    let Some(parsed) = parser().parse_headers(header) else {
        return (Part::default(), Encoding::Unnamed, None);
    };
    let kind = parsed.content_type();
    let boundary = kind
        .filter(|kind| kind.ctype().eq_ignore_ascii_case("multipart"))
        .and_then(|kind| kind.attribute("boundary"))
        .filter(|boundary| !boundary.is_empty())
        .map(|boundary| boundary.as_bytes().to_vec());
    let media_type = kind.map(|kind| match kind.subtype() {
        Some(subtype) => format!("{}/{subtype}", kind.ctype()).to_lowercase(),
        // RFC 1049 had types without a subtype.
        None => match kind.ctype().to_lowercase() {
            text if text == "text" => "text/plain".to_owned(),
            other => other,
        },
    });
    let part = Part {
        media_type: media_type.unwrap_or_default(),
        name: parsed.attachment_name().map(str::to_owned).filter(|name| !name.is_empty()),
        attached: parsed.content_disposition().is_some_and(|d| d.ctype().eq_ignore_ascii_case("attachment")),
        size_bytes: 0,
    };
    let named = kind.is_some_and(|kind| kind.attribute("charset").is_some());
    let encoding = match parsed.content_transfer_encoding().map(|e| e.trim().to_ascii_lowercase()).as_deref() {
        Some("base64") => Encoding::Base64,
        Some("quoted-printable") => Encoding::Other,
        _ if named => Encoding::Other,
        _ => Encoding::Unnamed,
    };
    (part, encoding, boundary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::mail::chunks::Chunks;

    fn condense(text: &[u8]) -> Condensed {
        let mut chunks = Chunks::new(text);
        let mut condenser = Condenser::new();
        while let Some(chunk) = chunks.next().expect("memory can be read") {
            condenser.take(chunk);
            assert!(condenser.bytes.len() < MESSAGE_BYTES_MAX + HEADER_BYTES_MAX);
        }
        condenser.finish()
    }

    fn with_attachment(encoding: &str, body: &str) -> String {
        format!(
            "From: a@b.example\nContent-Type: multipart/mixed;\n boundary=\"x=y\"\n\npreamble\n--x=y\n\
             Content-Type: text/plain\n\nHello\n\n--x=y\nContent-Type: application/pdf; name=\"a.pdf\"\n\
             Content-Transfer-Encoding: {encoding}\n\n{body}\n--x=y--\nepilogue\n"
        )
    }

    #[test]
    fn attachments_are_counted_and_not_kept() {
        for (encoding, body, size) in
            [("base64", "SGVs\nbG8=", 5), ("BASE64", &*"QUJD\n".repeat(1_000_000), 3_000_000), ("7bit", "abc", 3)]
        {
            let found = condense(with_attachment(encoding, body).as_bytes());
            let sizes: Vec<_> = found.parts.iter().map(|p| (p.is_attachment(), p.size_bytes)).collect();
            assert_eq!(sizes, [(false, 6), (true, size)], "{encoding}");
            assert_eq!(found.parts[1].name.as_deref(), Some("a.pdf"));
            assert_eq!(found.end, End::Whole);
            assert!(found.bytes.len() < 400, "{}", String::from_utf8_lossy(&found.bytes));
            assert!(found.bytes.windows(6).any(|w| w == b"Hello\n"));
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let line = "x".repeat(10 * TEXT_BYTES_MAX);
        for text in [format!("From: a\n\n{line}"), format!("From: a\n\n{}", "words\n".repeat(TEXT_BYTES_MAX))] {
            let found = condense(text.as_bytes());
            assert!(found.bytes.len() <= TEXT_BYTES_MAX + 100, "{}", found.bytes.len());
            assert!(found.bytes.len() > TEXT_BYTES_MAX / 2, "{}", found.bytes.len());
        }
        let found = condense(format!("From: a\nX: {line}\n\nHello").as_bytes());
        assert!(found.header_too_long && found.bytes.len() < HEADER_BYTES_MAX + 100);
    }

    #[test]
    fn of_any_number_of_parts_the_first_are_kept() {
        let head = "From: a\nContent-Type: multipart/mixed; boundary=b\n\n";
        // `condense` looks at what is held after each line.
        let empty = condense(format!("{head}{}--b--\n", "--b\n".repeat(1_000_000)).as_bytes());
        assert!(empty.parts.len() == PARTS_MAX && empty.text_cut, "{} parts", empty.parts.len());
        assert!(empty.bytes.capacity() < 100 * 1024, "{}", empty.bytes.capacity());
        assert_eq!(empty.end, End::Whole);

        // Multiparts count as no part, and fill the message all the same.
        let inner = "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n".repeat(200_000);
        let nested = condense(format!("{head}{inner}--c--\n--b--\n").as_bytes());
        assert!(nested.parts.len() <= PARTS_MAX && nested.bytes.len() < MESSAGE_BYTES_MAX + HEADER_BYTES_MAX);

        let text = |n: usize| format!("--b\nContent-Type: text/plain\n\ntext {n} ends\n");
        let file = "--b\nContent-Type: image/png\n\nx\n".repeat(PARTS_MAX);
        let texts = |count: usize| (0..count).map(text).collect::<String>();
        let holds = |found: &Condensed, n: usize| {
            let text = format!("text {n} ends");
            found.bytes.windows(text.len()).any(|w| w == text.as_bytes())
        };
        let whole = condense(format!("{head}{}--b--\n", texts(PARTS_MAX)).as_bytes());
        assert!(holds(&whole, PARTS_MAX - 1) && !whole.text_cut);
        let cut = condense(format!("{head}{}--b--\n", texts(PARTS_MAX + 1)).as_bytes());
        assert!(holds(&cut, PARTS_MAX - 1) && !holds(&cut, PARTS_MAX) && cut.text_cut);
        // A file that is not listed is no text.
        let files = condense(format!("{head}{}{file}--b--\n", texts(1)).as_bytes());
        assert!(holds(&files, 0) && !files.text_cut && files.parts.len() == PARTS_MAX);
    }

    #[test]
    fn where_a_message_ends() {
        for (text, end) in [
            ("From: a\n", End::Header),
            ("From: a\n\n", End::Whole),
            ("From: a\nno field\nmore", End::Whole),
            ("From: a\nX-Copyright(C): a\n>Received: b\n", End::Header),
            ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello", End::Open),
            ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHello\n--b--", End::Whole),
            ("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\nQUJD", End::File),
        ] {
            assert_eq!(condense(text.as_bytes()).end, end, "{text}");
        }
    }

    #[test]
    fn what_makes_a_message_this_one() {
        let hash = |text: &str| condense(text.as_bytes()).hash;
        let mail = hash("From: a\nSubject: one two\n\nHello\n\nyou");
        for same in [
            "Received: x\nFrom: a\nSubject: one\n two\nStatus: RO\n\nHello\n\nyou\n\n",
            "From: a\r\nSubject: one two\r\n\r\nHello\r\n\r\nyou\r\n",
        ] {
            assert_eq!(hash(same), mail, "{same}");
        }
        assert_ne!(mail, hash("From: a\nSubject: one two\n\nHello\nyou"));
        assert_ne!(mail, hash("From: b\nSubject: one two\n\nHello\n\nyou"));
    }

    #[test]
    fn bytes_that_no_header_may_hold() {
        let found = condense(b"Subject: gr\xfc\xdfe\nFrom: \xc3\xa4\n\nbody \xfc");
        assert_eq!(found.bytes, "Subject: grüße\nFrom: ä\n\nbody ü".as_bytes());
        // A part that names its characters is left to them.
        let named = condense(b"Content-Type: text/plain; charset=koi8-r\n\n\xc1");
        assert!(named.bytes.ends_with(b"\n\xc1"));
    }
}
