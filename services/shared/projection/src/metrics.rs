//! Names of what a projector measures. Labels: `model`, and `partition` or `mode` where said.

/// Events folded (copies that changed nothing among them).
pub const EVENTS_TOTAL: &str = "rapport_projector_events_total";
/// Batches committed, by the `mode` that they took.
pub const BATCHES_TOTAL: &str = "rapport_projector_batches_total";
/// From the first event of a batch in hand to its commit.
pub const BATCH_SECONDS: &str = "rapport_projector_batch_seconds";
/// From an event's receipt to its commit, measured on the last event of each batch.
pub const VISIBLE_SECONDS: &str = "rapport_projector_visible_seconds";
/// Events of a `partition` between its checkpoint and the log's end.
pub const LAG_EVENTS: &str = "rapport_projector_lag_events";
/// Partitions held by this process.
pub const PARTITIONS_HELD: &str = "rapport_projector_partitions_held";
/// Records set aside.
pub const DEAD_LETTERS_TOTAL: &str = "rapport_projector_dead_letters_total";
/// Attempts that were rolled back and made again (deadlocks, serialization failures, resources).
pub const RETRIES_TOTAL: &str = "rapport_projector_retries_total";
/// Times a worker had to connect to PostgreSQL again or lost its leases.
pub const RECONNECTS_TOTAL: &str = "rapport_projector_reconnects_total";

pub(crate) fn count_batch(model: &'static str, mode: crate::model::Mode) {
    let mode = match mode {
        crate::model::Mode::Optimistic => "optimistic",
        crate::model::Mode::Careful => "careful",
        crate::model::Mode::Exclusive => "exclusive",
    };
    ::metrics::counter!(BATCHES_TOTAL, "model" => model, "mode" => mode).increment(1);
}
