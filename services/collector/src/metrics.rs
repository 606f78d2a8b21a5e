//! What the collector measures. Labels are bounded: outcomes, statuses and modes, never types or ids.

use service_kit::{Metric, messaging};

/// Events by what became of them.
pub const EVENTS_TOTAL: &str = "rapport_collector_events_total";
/// Requests to `POST /events`.
pub const REQUESTS_TOTAL: &str = "rapport_collector_requests_total";
/// The size of requests.
pub const REQUEST_EVENTS: &str = "rapport_collector_request_events";
/// Bytes of bodies read.
pub const BODY_BYTES_TOTAL: &str = "rapport_collector_body_bytes_total";
/// From a request whole to its answer.
pub const REQUEST_SECONDS: &str = "rapport_collector_request_seconds";
/// From handing records to Kafka to their confirmation.
pub const APPEND_SECONDS: &str = "rapport_collector_append_seconds";
/// Records handed to Kafka and not yet confirmed.
pub const WAITING_RECORDS: &str = "rapport_collector_waiting_records";

/// What can become of an event.
pub(crate) const OUTCOMES: [&str; 3] = ["accepted", "rejected", "retry"];

/// All of them.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        EVENTS_TOTAL,
        &["outcome"],
        "Events answered: accepted (on all in-sync replicas), rejected (kept with the reason), retry (to be sent again)",
    ),
    Metric::counter(
        REQUESTS_TOTAL,
        &["status", "mode"],
        "Requests to POST /events answered, by HTTP status and by CloudEvents mode; 429 and 503 are refusals",
    ),
    Metric::histogram(REQUEST_EVENTS, &[], "Events of a request to POST /events that could be read"),
    Metric::counter(BODY_BYTES_TOTAL, &[], "Bytes of bodies read"),
    Metric::histogram(REQUEST_SECONDS, &[], "Seconds from a request whole to its answer"),
    Metric::histogram(APPEND_SECONDS, &[], "Seconds from handing a request's records to Kafka to their confirmation"),
    Metric::gauge(WAITING_RECORDS, &[], "Records handed to Kafka and not yet confirmed"),
];

/// Notes how many records wait for Kafka.
pub(crate) fn waiting(records: usize) {
    metrics::gauge!(WAITING_RECORDS).set(records as f64);
}

/// Says what each metric is, and shows the counters of events from the beginning: one that appears with its first increment
/// seems never to have moved.
pub(crate) fn begin() {
    service_kit::describe(METRICS);
    service_kit::describe(messaging::METRICS);
    for outcome in OUTCOMES {
        metrics::counter!(EVENTS_TOTAL, "outcome" => outcome).increment(0);
    }
}
