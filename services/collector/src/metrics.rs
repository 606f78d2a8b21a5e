//! Names of the collector's metrics. Labels are bounded: outcomes, statuses and modes, never types or ids.

/// Events by `outcome`: `accepted`, `rejected`, `retry`.
pub const EVENTS_TOTAL: &str = "rapport_collector_events_total";
/// Requests to `POST /events` by `status` and `mode`.
pub const REQUESTS_TOTAL: &str = "rapport_collector_requests_total";
/// Bytes of bodies read.
pub const BODY_BYTES_TOTAL: &str = "rapport_collector_body_bytes_total";
/// From a request whole to its answer, seconds.
pub const REQUEST_SECONDS: &str = "rapport_collector_request_seconds";
/// From handing records to Kafka to their confirmation, seconds.
pub const APPEND_SECONDS: &str = "rapport_collector_append_seconds";
/// Records handed to Kafka and not yet confirmed.
pub const WAITING_RECORDS: &str = "rapport_collector_waiting_records";

/// Notes how many records wait for Kafka.
pub(crate) fn waiting(records: usize) {
    metrics::gauge!(WAITING_RECORDS).set(records as f64);
}

/// Says what each metric is, for `/metrics`.
pub(crate) fn describe() {
    metrics::describe_counter!(EVENTS_TOTAL, "events by outcome: accepted, rejected, retry");
    metrics::describe_counter!(REQUESTS_TOTAL, "requests to POST /events by status and mode");
    metrics::describe_counter!(BODY_BYTES_TOTAL, metrics::Unit::Bytes, "bytes of bodies read");
    metrics::describe_histogram!(REQUEST_SECONDS, metrics::Unit::Seconds, "from a request whole to its answer");
    metrics::describe_histogram!(
        APPEND_SECONDS,
        metrics::Unit::Seconds,
        "from handing records to Kafka to their confirmation"
    );
    metrics::describe_gauge!(WAITING_RECORDS, "records handed to Kafka and not yet confirmed");
}
