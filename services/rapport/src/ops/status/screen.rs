//! The terminal's second screen: what was on it before comes back when this is dropped, however the command ends.

use std::io::{self, Write};

use rustix::termios::tcgetwinsize;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[2K";
/// From the cursor on.
const CLEAR_REST: &str = "\x1b[J";

/// Of a terminal that does not know how large it is.
const SIZE: (usize, usize) = (80, 24);

/// A terminal taken over.
pub(super) struct Screen(());

impl Screen {
    /// # Errors
    /// The terminal is gone.
    pub(super) fn enter() -> io::Result<Self> {
        put(ENTER)?;
        Ok(Self(()))
    }

    /// Shows these lines, cut to the terminal as it is now.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&self, lines: &[String]) -> io::Result<()> {
        let size = tcgetwinsize(io::stdout()).map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let (columns, rows) = size.ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(SIZE);
        put(&frame(lines, columns, rows))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = put(LEAVE);
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One screen of text. No line end behind the last line: it would move all of it up.
fn frame(lines: &[String], columns: usize, rows: usize) -> String {
    let hidden = lines.len().saturating_sub(rows);
    let mut shown: Vec<String> = lines.iter().take(rows).cloned().collect();
    if let (true, Some(last)) = (hidden > 0, shown.last_mut()) {
        *last = format!("... {} more lines", hidden + 1);
    }
    // What came from a server may hold anything; a control character would tear the screen.
    let fitted = |line: &String| -> String {
        let printed = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        printed.take(columns).collect()
    };
    // Cleared before it is written: behind a line that fills its row, the cursor stands on its last character still. The last
    // line goes with all that stood below it.
    let last = shown.len().saturating_sub(1);
    let clear = |row: usize| if row == last { CLEAR_REST } else { CLEAR_LINE };
    let drawn: Vec<String> =
        shown.iter().enumerate().map(|(row, line)| format!("{}{}", clear(row), fitted(line))).collect();
    format!("{HOME}{}", drawn.join("\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_terminal() {
        let lines: Vec<String> = ["one line", "two\nlines", "three", "four"].map(str::to_owned).to_vec();
        assert_eq!(frame(&lines, 5, 9), "\x1b[H\x1b[2Kone l\r\n\x1b[2Ktwo l\r\n\x1b[2Kthree\r\n\x1b[Jfour");
        assert_eq!(frame(&lines, 80, 2), "\x1b[H\x1b[2Kone line\r\n\x1b[J... 3 more lines");
    }
}
