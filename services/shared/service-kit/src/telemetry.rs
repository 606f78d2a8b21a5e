use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::messaging;

/// Bounds of every histogram whose name ends in `_seconds`: 0.5 ms to 30 s.
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Bounds of every histogram whose name ends in `_events`.
const EVENTS_BUCKETS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0, 20_000.0];

/// How often values that were recorded are folded into the histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The format that the setting `log_format` names.
    pub fn from_setting(value: &str) -> Self {
        if value == "json" { Self::Json } else { Self::Text }
    }
}

/// Logs or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter {filter:?} cannot be read: {detail}")]
    Filter { filter: String, detail: String },
    #[error("{what} have been set up in this process already")]
    Twice { what: &'static str },
}

/// Sends the process's log lines to the standard error, with times in UTC.
///
/// # Errors
/// When `filter` cannot be read, or another logger is in place.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), detail: error.to_string() })?;
    // Nobody may be left to read the standard error. Complaining there about it would panic in whatever task wanted
    // to log, the one that stops the service first of all.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let done = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| TelemetryError::Twice { what: "logs" })
}

/// Makes the process's metrics readable: the handle renders them as Prometheus' text.
///
/// # Errors
/// When another recorder is in place.
pub fn init_metrics() -> Result<PrometheusHandle, TelemetryError> {
    // A full name goes before a suffix.
    let messaging = |name: &str| (Matcher::Full(name.to_owned()), messaging::SECONDS_BUCKETS);
    let buckets = [
        messaging(messaging::OPERATION_SECONDS),
        messaging(messaging::PROCESS_SECONDS),
        (Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS),
        (Matcher::Suffix("_events".to_owned()), EVENTS_BUCKETS),
    ];
    buckets
        .into_iter()
        .try_fold(PrometheusBuilder::new(), |builder, (matcher, bounds)| {
            builder.set_buckets_for_metric(matcher, bounds)
        })
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|_| TelemetryError::Twice { what: "metrics" })
}

/// Keeps the recorded values from piling up where nobody scrapes. Runs until `shutdown`.
pub async fn keep_metrics_small(handle: PrometheusHandle, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
        handle.run_upkeep();
    }
}
