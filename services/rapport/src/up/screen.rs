use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Width of the names in front of the lines.
const NAME_WIDTH: usize = 11;

/// Where everything is printed, line by line, with the name of who said it in front. Clones share it.
#[derive(Clone)]
pub(super) struct Screen {
    out: Arc<Mutex<io::Stdout>>,
    colour: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let colour = io::stdout().is_terminal() && !plain;
        Self { out: Arc::new(Mutex::new(io::stdout())), colour }
    }

    /// A line of our own.
    pub(super) fn note(&self, line: &str) {
        self.print("rapport", line);
    }

    /// A line of one of the processes.
    pub(super) fn print(&self, name: &str, line: &str) {
        let (on, off) = if self.colour { (colour(name), "\x1b[0m") } else { ("", "") };
        self.write(&format!("{on}{name:<NAME_WIDTH$} |{off} {line}\n"));
    }

    /// Text without a name in front.
    pub(super) fn plain(&self, text: &str) {
        self.write(text);
    }

    fn write(&self, text: &str) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // A terminal that has gone away is no reason to stop serving.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn colour(name: &str) -> &'static str {
    match name {
        "rapport" => "\x1b[1m",
        "collector" => "\x1b[32m",
        "sales" => "\x1b[34m",
        "service" => "\x1b[35m",
        "customer360" => "\x1b[36m",
        "query" => "\x1b[33m",
        _ => "\x1b[90m",
    }
}
