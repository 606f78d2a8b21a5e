//! Files to read from: plain or gzip, with a count of the bytes taken from them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;

/// A file's content, and its length on disk where it has one. `read` counts the bytes taken from the disk.
pub(super) fn open(path: &Path, read: Arc<AtomicU64>) -> io::Result<(Box<dyn BufRead + Send>, Option<u64>)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory; only mail is read from directories",
        ));
    }
    let length = metadata.is_file().then_some(metadata.len());
    let mut input = BufReader::new(Counted { file, read });
    let packed = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { (Box::new(BufReader::new(MultiGzDecoder::new(input))), length) } else { (Box::new(input), length) })
}

/// What is wrong with a text that begins like this, if its characters are of two bytes or four.
pub(super) fn wide_text(start: &[u8]) -> Option<&'static str> {
    let marked = start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff");
    // Without a mark: one of two bytes is zero as long as the text is Latin.
    let wide = start.len() >= 4 && (start[0] == 0) != (start[1] == 0) && (start[2] == 0) != (start[3] == 0);
    (marked || wide).then_some("the file is UTF-16, not UTF-8; `iconv -f UTF-16 -t UTF-8` converts it")
}

struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_two_bytes_a_character() {
        for (start, wide) in [
            (&b"\xff\xfea\0"[..], true),
            (b"\xfe\xff\0a", true),
            (b"a\0,\0b\0", true),
            (b"\0a\0,\0b", true),
            (b"a,b\n", false),
            (b"\0\0\0\0", false),
            (b"", false),
            ("ä,b".as_bytes(), false),
        ] {
            assert_eq!(wide_text(start).is_some(), wide, "{start:?}");
        }
    }
}
