//! Figures, and the table they are printed as.

use std::time::Duration;

use crate::cpu::Spent;

/// Durations, to ask percentiles of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// From single measurements.
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The duration that so many per cent stay below; zero without measurements.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }
}

/// What a figure stands beside.
#[derive(Clone, Debug)]
pub(crate) enum Limit {
    /// It is a limit itself.
    Itself,
    /// Events a second of this limit.
    Rate(&'static str, f64),
    /// The median of this limit.
    Median(&'static str, Duration),
}

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// Events a second.
    pub(crate) rate: f64,
    /// How long single events took, where that was measured.
    pub(crate) latencies: Option<Latencies>,
    /// Microseconds of processor time an event, a process.
    pub(crate) cpu: Vec<(&'static str, f64)>,
    /// What to hold it against.
    pub(crate) limit: Limit,
}

impl Figure {
    /// From a measured span in which so many events were done.
    pub(crate) fn new(what: impl Into<String>, events: usize, spent: &Spent, limit: Limit) -> Self {
        Self { what: what.into(), rate: spent.rate(events), latencies: None, cpu: spent.each(events), limit }
    }

    /// With the durations of single events.
    pub(crate) fn with(mut self, latencies: Latencies) -> Self {
        self.latencies = Some(latencies);
        self
    }

    fn cells(&self) -> [String; 7] {
        let percentile =
            |percent| self.latencies.as_ref().map_or_else(|| "-".into(), |l| millis(l.percentile(percent)));
        let cpu: Vec<String> =
            self.cpu.iter().filter(|(_, us)| *us >= 0.05).map(|(name, us)| format!("{name} {us:.1}")).collect();
        let sum: f64 = self.cpu.iter().map(|(_, us)| us).sum();
        let (limit, ratio) = match &self.limit {
            Limit::Itself => ("is one".into(), "-".into()),
            Limit::Rate(name, rate) => (format!("{name} {rate:.0}/s"), format!("{:.2}", self.rate / rate.max(1e-9))),
            Limit::Median(name, median) => {
                let own = self.latencies.as_ref().map_or(Duration::ZERO, |l| l.percentile(50));
                let ratio = own.as_secs_f64() / median.as_secs_f64().max(1e-9);
                (format!("{name} p50 {}", millis(*median)), format!("{ratio:.2}x"))
            }
        };
        let cpu = format!("{sum:.1} = {}", if cpu.is_empty() { "0".into() } else { cpu.join(" + ") });
        [self.what.clone(), format!("{:.0}", self.rate), percentile(50), percentile(99), limit, ratio, cpu]
    }
}

const HEAD: [&str; 7] = ["what", "a second", "p50 ms", "p99 ms", "limit beside it", "ratio", "CPU us each"];

/// Prints all figures as one table.
pub(crate) fn print(figures: &[Figure]) {
    let rows: Vec<[String; 7]> =
        std::iter::once(HEAD.map(str::to_owned)).chain(figures.iter().map(Figure::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 | 4 => format!("{cell:<width$}"),
            6 => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        if number == 0 {
            println!("{}", "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1)));
        }
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}
