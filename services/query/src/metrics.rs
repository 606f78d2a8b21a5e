//! What this service measures, and how it is fed.

use std::time::Duration;

use axum::http::StatusCode;
use service_kit::Metric;

/// Requests answered.
pub const REQUESTS: &str = "rapport_query_requests_total";
/// How long answers took.
pub const REQUEST_SECONDS: &str = "rapport_query_request_seconds";
/// How many requests wait for a position now.
pub const WAITING: &str = "rapport_query_waiting";
/// Requests that had to wait for their position.
pub const WAITS: &str = "rapport_query_waits_total";
/// How long they waited.
pub const WAIT_SECONDS: &str = "rapport_query_wait_seconds";

/// All of them.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        REQUESTS,
        &["route", "status"],
        "Requests answered, by route (the pattern, never the reference in it) and HTTP status",
    ),
    Metric::histogram(REQUEST_SECONDS, &["route"], "Seconds that answers took, waiting included"),
    Metric::gauge(WAITING, &[], "Requests that wait for a position now"),
    Metric::counter(
        WAITS,
        &["outcome"],
        "Requests that had to wait for their position: reached, timed_out (503 position-not-reached), unavailable (the \
         checkpoints could not be read)",
    ),
    Metric::histogram(WAIT_SECONDS, &["outcome"], "Seconds that such a request waited"),
];

/// How waiting for a position ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    Reached,
    TimedOut,
    Unavailable,
}

impl WaitEnd {
    const ALL: [Self; 3] = [Self::Reached, Self::TimedOut, Self::Unavailable];

    fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Tells the recorder what they mean, and shows the counters of waits from the beginning.
pub(crate) fn begin() {
    service_kit::describe(METRICS);
    for end in WaitEnd::ALL {
        metrics::counter!(WAITS, "outcome" => end.name()).increment(0);
    }
}

pub(crate) fn answered(route: &str, status: StatusCode, took: Duration) {
    metrics::counter!(REQUESTS, "route" => route.to_owned(), "status" => status.as_str().to_owned()).increment(1);
    metrics::histogram!(REQUEST_SECONDS, "route" => route.to_owned()).record(took.as_secs_f64());
}

pub(crate) fn waiting(now: usize) {
    metrics::gauge!(WAITING).set(now as f64);
}

pub(crate) fn waited(end: WaitEnd, took: Duration) {
    metrics::counter!(WAITS, "outcome" => end.name()).increment(1);
    metrics::histogram!(WAIT_SECONDS, "outcome" => end.name()).record(took);
}
