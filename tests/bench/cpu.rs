//! Processor time, from the system's own books, a process at a time.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux that user space sees.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process whose time is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    /// As the table names it.
    pub(crate) name: &'static str,
    /// Its process id.
    pub(crate) pid: u32,
    /// Whether its children's time is its own: PostgreSQL has one a connection.
    pub(crate) with_children: bool,
}

/// A span being measured.
pub(crate) struct Meter {
    watched: Vec<(Watched, f64)>,
    began: Instant,
}

/// What a span took.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    /// By the clock on the wall.
    pub(crate) wall: Duration,
    /// Seconds of processor time, a process.
    pub(crate) cpu: Vec<(&'static str, f64)>,
}

impl Meter {
    /// Begins now. This process is counted too, as `bench`.
    pub(crate) fn start(watched: &[Watched]) -> Self {
        let own = Watched { name: "bench", pid: std::process::id(), with_children: false };
        let all = std::iter::once(own).chain(watched.iter().copied());
        Self { watched: all.map(|w| (w, seconds(&w))).collect(), began: Instant::now() }
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends now.
    pub(crate) fn stop(&self) -> Spent {
        let wall = self.began.elapsed();
        let cpu = self.watched.iter().map(|(w, before)| (w.name, (seconds(w) - before).max(0.0))).collect();
        Spent { wall, cpu }
    }
}

impl Spent {
    /// So many a second.
    pub(crate) fn rate(&self, events: usize) -> f64 {
        events as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    /// Microseconds of processor time for one, a process.
    pub(crate) fn each(&self, events: usize) -> Vec<(&'static str, f64)> {
        let each = |seconds: f64| seconds * 1e6 / events.max(1) as f64;
        self.cpu.iter().map(|(name, seconds)| (*name, each(*seconds))).collect()
    }
}

/// What a process has used so far; 0 for one that has ended.
fn seconds(watched: &Watched) -> f64 {
    let Some(own) = stat(watched.pid) else { return 0.0 };
    if !watched.with_children {
        return own.ticks / TICKS_PER_SECOND;
    }
    let children: f64 = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| stat(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .filter(|child| child.parent == watched.pid)
        .map(|child| child.ticks)
        .sum();
    (own.ticks + own.ended_children + children) / TICKS_PER_SECOND
}

struct Stat {
    parent: u32,
    /// Its own.
    ticks: f64,
    /// Of its children that have ended.
    ended_children: f64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, spaces too.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: ticks(11)? + ticks(12)?,
        ended_children: ticks(13)? + ticks(14)?,
    })
}
