use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::position::Offsets;
use domain::time;
use event_log::{Log, LogError, LogOptions, Topic};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};
use uuid::Uuid;

use crate::ops::is_undefined;

/// A partition of a generation; no partition before its projector has started.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) model: String,
    pub(super) generation: i32,
    pub(super) schema_name: String,
    pub(super) definition: String,
    pub(super) state: String,
    pub(super) loaded: bool,
    pub(super) failure: Option<String>,
    pub(super) dead_letters: i64,
    pub(super) workers: i64,
    pub(super) loading_events: Option<i64>,
    pub(super) partition: Option<i32>,
    pub(super) next_offset: Option<i64>,
    pub(super) epoch: Option<i64>,
    pub(super) holder: Option<Uuid>,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) expires_in_ms: Option<i64>,
    pub(super) now_us: i64,
}

impl FromRow<'_, PgRow> for Place {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            model: row.try_get("model")?,
            generation: row.try_get("generation")?,
            schema_name: row.try_get("schema_name")?,
            definition: row.try_get("definition")?,
            state: row.try_get("state")?,
            loaded: row.try_get("loaded")?,
            failure: row.try_get("failure")?,
            dead_letters: row.try_get("dead_letters")?,
            workers: row.try_get("workers")?,
            loading_events: row.try_get("loading_events")?,
            partition: row.try_get("partition")?,
            next_offset: row.try_get("next_offset")?,
            epoch: row.try_get("epoch")?,
            holder: row.try_get("holder")?,
            expires_at: row.try_get("expires_at")?,
            expires_in_ms: row.try_get("expires_in_ms")?,
            now_us: row.try_get("now_us")?,
        })
    }
}

/// The partitions of each generation, in order: model and number.
pub(super) type Generations<'p> = BTreeMap<(&'p str, i32), Vec<&'p Place>>;

/// Places by the generation that they are of.
pub(super) fn by_generation(places: &[Place]) -> Generations<'_> {
    let mut generations = Generations::new();
    for place in places {
        generations.entry((&place.model, place.generation)).or_default().push(place);
    }
    generations
}

/// How far a generation has come in each partition.
pub(super) fn next_offsets(places: &[&Place]) -> Offsets {
    places.iter().filter_map(|p| p.partition.zip(p.next_offset)).collect()
}

/// What PostgreSQL knows: every generation. Nothing where no projector has ever run.
pub(super) async fn places(database: &mut PgConnection) -> Result<Vec<Place>, sqlx::Error> {
    match sqlx::query_as(include_str!("../../../sql/status.sql")).fetch_all(database).await {
        Ok(places) => Ok(places),
        Err(error) if is_undefined(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// What Kafka says of the log.
#[derive(Clone, Debug)]
pub(super) struct LogState {
    pub(super) log_id: Uuid,
    pub(super) ends: Offsets,
    pub(super) rejected: i64,
    /// For how long the oldest event that a live generation has not folded has been waiting since its receipt, seconds.
    pub(super) waiting: BTreeMap<String, f64>,
}

/// The log, opened once it can be.
pub(super) struct Kafka {
    options: LogOptions,
    log: Option<Log>,
}

impl Kafka {
    pub(super) fn new(options: LogOptions) -> Self {
        Self { options, log: None }
    }

    /// How far the log reaches, and since when what is not folded at these places waits.
    ///
    /// # Errors
    /// A sentence saying why it cannot be asked.
    pub(super) async fn look(&mut self, places: &[Place]) -> Result<LogState, String> {
        let log = match &self.log {
            Some(log) => log.clone(),
            None => self.log.insert(Log::open(&self.options).await.map_err(|e| e.to_string())?).clone(),
        };
        read(&log, places).await.map_err(|error| error.to_string())
    }
}

async fn read(log: &Log, places: &[Place]) -> Result<LogState, LogError> {
    let ends = log.ends().await?;
    let rejected = log.watermarks(Topic::Rejected).await?.values().map(|w| w.end - w.start).sum();
    let mut waiting = BTreeMap::new();
    for ((model, _), places) in by_generation(places) {
        if places[0].state != "live" {
            continue;
        }
        if let Some(seconds) = oldest(log, &ends, &next_offsets(&places), places[0].now_us).await {
            waiting.insert(model.to_owned(), seconds);
        }
    }
    Ok(LogState { log_id: log.log_id(), ends, rejected, waiting })
}

async fn oldest(log: &Log, ends: &Offsets, next: &Offsets, now_us: i64) -> Option<f64> {
    let next = |partition: &i32| next.get(partition).copied().unwrap_or(0);
    let open: Offsets = ends
        .iter()
        .map(|(p, end)| (*p, *end, next(p)))
        .filter(|(_, end, next)| end > next)
        .map(|(p, _, next)| (p, next))
        .collect();
    if open.is_empty() {
        return Some(0.0);
    }
    let records = log.read_at(&open).await.ok()?;
    let received = records.values().map(|r| r.received_at).min()?;
    Some((now_us - received).max(0) as f64 / time::SECOND as f64)
}
