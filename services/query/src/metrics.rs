//! The names of this service's metrics, and how they are fed.

use std::time::Duration;

use axum::http::StatusCode;

/// Requests answered, by `route` (the pattern, never the reference in it) and `status`.
pub const REQUESTS: &str = "rapport_query_requests_total";
/// How long answers took, by `route`.
pub const REQUEST_SECONDS: &str = "rapport_query_request_seconds";
/// How many requests wait for a position now.
pub const WAITING: &str = "rapport_query_waiting";

/// Tells the recorder what they mean.
pub(crate) fn describe() {
    metrics::describe_counter!(REQUESTS, "Requests answered, by route and status");
    metrics::describe_histogram!(
        REQUEST_SECONDS,
        metrics::Unit::Seconds,
        "How long answers took, waiting included, by route"
    );
    metrics::describe_gauge!(WAITING, "Requests that wait for a position");
}

pub(crate) fn answered(route: &str, status: StatusCode, took: Duration) {
    metrics::counter!(REQUESTS, "route" => route.to_owned(), "status" => status.as_str().to_owned()).increment(1);
    metrics::histogram!(REQUEST_SECONDS, "route" => route.to_owned()).record(took.as_secs_f64());
}

pub(crate) fn waiting(now: usize) {
    metrics::gauge!(WAITING).set(now as f64);
}
