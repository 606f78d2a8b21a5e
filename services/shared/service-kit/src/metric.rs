/// What one number of `/metrics` is. Each crate keeps a table of its own, which `deploy/metrics.md` is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Under which name Prometheus knows it. Units stand last: `_seconds`, `_bytes`, `_events`; counters end in `_total`.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// The labels it may carry.
    pub labels: &'static [&'static str],
    /// What it counts, when, and in which unit.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only up, from 0 at the start of the process.
    Counter,
    /// Up and down.
    Gauge,
    /// Values by their size.
    Histogram,
}

impl MetricKind {
    /// As `# TYPE` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// A number that only goes up.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Counter, labels, help }
    }

    /// A number that goes up and down.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Gauge, labels, help }
    }

    /// Values by their size.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: MetricKind::Histogram, labels, help }
    }
}

/// Says what each metric is, for `# HELP` of `/metrics`.
pub fn describe(all: &[Metric]) {
    for Metric { name, kind, help, .. } in all {
        match kind {
            MetricKind::Counter => metrics::describe_counter!(*name, *help),
            MetricKind::Gauge => metrics::describe_gauge!(*name, *help),
            MetricKind::Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}
