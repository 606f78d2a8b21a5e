//! What a projector measures. Everything is said of one generation of one model: by `model` and `generation`, further labels
//! where the table below names them.

use std::collections::{BTreeMap, BTreeSet};

use service_kit::Metric;

use crate::generation::{Generation, Listed, State};
use crate::model::Mode;
use crate::status::Snapshot;

/// Events folded.
pub const EVENTS_TOTAL: &str = "rapport_projector_events_total";
/// Batches committed.
pub const BATCHES_TOTAL: &str = "rapport_projector_batches_total";
/// The size of batches.
pub const BATCH_EVENTS: &str = "rapport_projector_batch_events";
/// From the first event of a batch in hand to its commit.
pub const BATCH_SECONDS: &str = "rapport_projector_batch_seconds";
/// What a batch's fold takes of that.
pub const FOLD_SECONDS: &str = "rapport_projector_fold_seconds";
/// What its COMMIT takes of that.
pub const COMMIT_SECONDS: &str = "rapport_projector_commit_seconds";
/// From receipt to commit.
pub const VISIBLE_SECONDS: &str = "rapport_projector_visible_seconds";
/// Where a partition's checkpoint stands.
pub const CHECKPOINT_OFFSET: &str = "rapport_projector_checkpoint_offset";
/// Where the log ends.
pub const LOG_END_OFFSET: &str = "rapport_projector_log_end_offset";
/// Between the two.
pub const LAG_EVENTS: &str = "rapport_projector_lag_events";
/// For how long a partition has been behind.
pub const LAG_SECONDS: &str = "rapport_projector_lag_seconds";
/// Leases of this process.
pub const PARTITIONS_HELD: &str = "rapport_projector_partitions_held";
/// Leases taken from others.
pub const TAKEOVERS_TOTAL: &str = "rapport_projector_lease_takeovers_total";
/// Batches that were not committed because somebody else held a partition by then.
pub const FENCED_BATCHES_TOTAL: &str = "rapport_projector_fenced_batches_total";
/// Records set aside by this process.
pub const DEAD_LETTERS_TOTAL: &str = "rapport_projector_dead_letters_total";
/// Records that stand aside.
pub const DEAD_LETTERS: &str = "rapport_projector_dead_letters";
/// Attempts that were rolled back and made again.
pub const RETRIES_TOTAL: &str = "rapport_projector_retries_total";
/// Sessions that ended before their time.
pub const RECONNECTS_TOTAL: &str = "rapport_projector_reconnects_total";
/// How far a load is.
pub const LOAD_EVENTS: &str = "rapport_projector_load_events";
/// What a generation is there for.
pub const GENERATION_STATE: &str = "rapport_projector_generation_state";
/// Whether nobody folds a generation any more.
pub const GENERATION_FAILED: &str = "rapport_projector_generation_failed";

const OF_GENERATION: &[&str] = &["model", "generation"];
const OF_PARTITION: &[&str] = &["model", "generation", "partition"];

/// All of them.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        EVENTS_TOTAL,
        OF_GENERATION,
        "Events folded, copies that changed nothing among them; its rate is how fast",
    ),
    Metric::counter(
        BATCHES_TOTAL,
        &["model", "generation", "mode"],
        "Transactions of events committed, by the mode they took: optimistic, careful (looked first what is known), exclusive \
         (alone on the generation)",
    ),
    Metric::histogram(BATCH_EVENTS, OF_GENERATION, "Events of a batch that was committed; loads are none"),
    Metric::histogram(
        BATCH_SECONDS,
        OF_GENERATION,
        "Seconds from the first event of a batch in hand to its commit, further attempts included",
    ),
    Metric::histogram(FOLD_SECONDS, OF_GENERATION, "Seconds that folding took within a batch's transaction"),
    Metric::histogram(COMMIT_SECONDS, OF_GENERATION, "Seconds that PostgreSQL took to commit a batch"),
    Metric::histogram(
        VISIBLE_SECONDS,
        OF_GENERATION,
        "Seconds from the receipt of the last event of a batch to its commit; of the live generation alone",
    ),
    Metric::gauge(CHECKPOINT_OFFSET, OF_PARTITION, "The next offset to fold of a partition that this process holds"),
    Metric::gauge(
        LOG_END_OFFSET,
        OF_PARTITION,
        "The offset that the next record of a partition held here will get, asked each second",
    ),
    Metric::gauge(
        LAG_EVENTS,
        OF_PARTITION,
        "Records between the checkpoint and the log's end of a partition held here; else 0",
    ),
    Metric::gauge(
        LAG_SECONDS,
        OF_PARTITION,
        "0 while the checkpoint of a partition held here is at the log's end; else seconds since the latest of: the receipt of \
         the last record folded, the last moment it was seen at the end, and, where nothing was folded yet, its being taken",
    ),
    Metric::gauge(PARTITIONS_HELD, OF_GENERATION, "Partitions whose lease this process holds"),
    Metric::counter(
        TAKEOVERS_TOTAL,
        OF_GENERATION,
        "Partitions taken whose last holder had not given them back: its lease had lapsed or its session was gone",
    ),
    Metric::counter(
        FENCED_BATCHES_TOTAL,
        OF_GENERATION,
        "Batches and loads rolled back at their commit because another worker had taken a partition; nothing of them was written",
    ),
    Metric::counter(DEAD_LETTERS_TOTAL, OF_GENERATION, "Records that this process could not fold and set aside"),
    Metric::gauge(
        DEAD_LETTERS,
        OF_GENERATION,
        "Rows of backbone.dead_letters now, whoever set them aside; every process of the model shows the same",
    ),
    Metric::counter(
        RETRIES_TOTAL,
        &["model", "generation", "reason"],
        "Attempts at a batch rolled back and made again: conflict (a deadlock, a serialization failure), race (somebody wrote \
         the same row), shortage (PostgreSQL's disk or memory)",
    ),
    Metric::counter(
        RECONNECTS_TOTAL,
        OF_GENERATION,
        "Times a worker began again from its checkpoints: a connection or a lease was lost",
    ),
    Metric::gauge(
        LOAD_EVENTS,
        OF_GENERATION,
        "Records that the load of a new generation has read here, 0 where none is at work; it ends at the log's end",
    ),
    Metric::gauge(
        GENERATION_STATE,
        &["model", "generation", "state"],
        "1 for the state of a generation: live, building, retired (was live before), dropping; 0 for one it has left",
    ),
    Metric::gauge(
        GENERATION_FAILED,
        OF_GENERATION,
        "1 where the workers of a generation have ended for a reason that does not pass (`rapport generation list`), else 0",
    ),
];

/// What one generation's workers measure. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    model: &'static str,
    generation: String,
}

/// Why an attempt at a batch is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    Conflict,
    Race,
    Shortage,
}

impl Retry {
    const ALL: [Self; 3] = [Self::Conflict, Self::Race, Self::Shortage];

    fn name(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Race => "race",
            Self::Shortage => "shortage",
        }
    }
}

type Labels = [(&'static str, String); 2];

impl Figures {
    pub(crate) fn new(model: &'static str, generation: &Generation) -> Self {
        Self::numbered(model, generation.number)
    }

    fn numbered(model: &'static str, number: i32) -> Self {
        Self { model, generation: number.to_string() }
    }

    fn labels(&self) -> Labels {
        [("model", self.model.to_owned()), ("generation", self.generation.clone())]
    }

    fn and(&self, label: &'static str, value: impl ToString) -> [(&'static str, String); 3] {
        let [model, generation] = self.labels();
        [model, generation, (label, value.to_string())]
    }

    fn count(&self, name: &'static str, by: u64) {
        ::metrics::counter!(name, &self.labels()).increment(by);
    }

    fn took(&self, name: &'static str, seconds: f64) {
        ::metrics::histogram!(name, &self.labels()).record(seconds);
    }

    /// Shows every counter from the beginning: one that appears with its first increment seems never to have moved.
    pub(crate) fn begin(&self) {
        for name in [EVENTS_TOTAL, TAKEOVERS_TOTAL, FENCED_BATCHES_TOTAL, DEAD_LETTERS_TOTAL, RECONNECTS_TOTAL] {
            self.count(name, 0);
        }
        for retry in Retry::ALL {
            ::metrics::counter!(RETRIES_TOTAL, &self.and("reason", retry.name())).increment(0);
        }
    }

    /// A transaction was committed, in this mode; its fold and its COMMIT took so many seconds.
    pub(crate) fn committed(&self, mode: Mode, fold_s: f64, commit_s: f64) {
        let mode = match mode {
            Mode::Optimistic => "optimistic",
            Mode::Careful => "careful",
            Mode::Exclusive => "exclusive",
        };
        ::metrics::counter!(BATCHES_TOTAL, &self.and("mode", mode)).increment(1);
        self.took(FOLD_SECONDS, fold_s);
        self.took(COMMIT_SECONDS, commit_s);
    }

    /// Events have come in, and records were set aside.
    pub(crate) fn folded(&self, events: u64, aside: u64) {
        self.count(EVENTS_TOTAL, events);
        self.count(DEAD_LETTERS_TOTAL, aside);
    }

    /// A batch was so large and took so long.
    pub(crate) fn batch(&self, events: u64, seconds: f64) {
        self.took(BATCH_EVENTS, events as f64);
        self.took(BATCH_SECONDS, seconds);
    }

    /// Readers see an event so long after its receipt.
    pub(crate) fn visible(&self, seconds: f64) {
        self.took(VISIBLE_SECONDS, seconds);
    }

    pub(crate) fn retried(&self, why: Retry) {
        ::metrics::counter!(RETRIES_TOTAL, &self.and("reason", why.name())).increment(1);
    }

    pub(crate) fn reconnected(&self) {
        self.count(RECONNECTS_TOTAL, 1);
    }

    pub(crate) fn fenced(&self) {
        self.count(FENCED_BATCHES_TOTAL, 1);
    }

    pub(crate) fn took_over(&self, partitions: usize) {
        self.count(TAKEOVERS_TOTAL, partitions as u64);
    }

    fn gauge(&self, name: &'static str, value: f64) {
        ::metrics::gauge!(name, &self.labels()).set(value);
    }

    fn of_partition(&self, name: &'static str, partition: i32, value: f64) {
        ::metrics::gauge!(name, &self.and("partition", partition)).set(value);
    }

    /// How a generation is doing here. `shown`: the partitions that were shown before; those held by others now are no longer
    /// behind here.
    pub(crate) fn show(&self, snapshot: &Snapshot, shown: &mut BTreeSet<i32>) {
        self.gauge(PARTITIONS_HELD, snapshot.partitions.len() as f64);
        self.gauge(LOAD_EVENTS, snapshot.loading_events.unwrap_or(0) as f64);
        for gone in shown.iter().filter(|partition| !snapshot.partitions.contains_key(partition)) {
            for name in [CHECKPOINT_OFFSET, LOG_END_OFFSET, LAG_EVENTS, LAG_SECONDS] {
                self.of_partition(name, *gone, 0.0);
            }
        }
        *shown = snapshot.partitions.keys().copied().collect();
        let now = crate::clock::now_micros();
        for (partition, status) in &snapshot.partitions {
            self.of_partition(CHECKPOINT_OFFSET, *partition, status.next_offset as f64);
            if let (Some(end), Some(lag)) = (status.end_offset, status.lag_events()) {
                self.of_partition(LOG_END_OFFSET, *partition, end as f64);
                self.of_partition(LAG_EVENTS, *partition, lag as f64);
                self.of_partition(LAG_SECONDS, *partition, status.lag_seconds(now).unwrap_or(0.0));
            }
        }
    }
}

/// What the generations of a model are there for, as they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct States {
    shown: BTreeMap<i32, State>,
}

impl States {
    pub(crate) fn show(&mut self, model: &'static str, listed: &[Listed]) {
        let now: BTreeMap<i32, State> = listed.iter().map(|l| (l.generation.number, l.state)).collect();
        let state = |number: i32, state: State, holds: f64| {
            let figures = Figures::numbered(model, number);
            ::metrics::gauge!(GENERATION_STATE, &figures.and("state", state.name())).set(holds);
        };
        for (number, before) in self.shown.iter().filter(|(number, before)| now.get(number) != Some(before)) {
            state(*number, *before, 0.0);
            if !now.contains_key(number) {
                let gone = Figures::numbered(model, *number);
                gone.gauge(GENERATION_FAILED, 0.0);
                gone.gauge(DEAD_LETTERS, 0.0);
            }
        }
        for one in listed {
            state(one.generation.number, one.state, 1.0);
            let failed = f64::from(u8::from(one.failure.is_some()));
            Figures::numbered(model, one.generation.number).gauge(GENERATION_FAILED, failed);
        }
        self.shown = now;
    }

    /// How many records stand aside, by generation; those of which nothing is said have none.
    pub(crate) fn show_letters(&self, model: &'static str, letters: &BTreeMap<i32, i64>) {
        for number in self.shown.keys() {
            let count = letters.get(number).copied().unwrap_or(0);
            Figures::numbered(model, *number).gauge(DEAD_LETTERS, count as f64);
        }
    }
}
