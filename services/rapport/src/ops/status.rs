use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::position::Offsets;
use domain::{Position, time};
use event_log::{Log, LogError};
use serde_json::{Value, json};
use service_kit::Config;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use uuid::Uuid;

use super::{STATEMENT_TIMEOUT, connect, is_undefined, log_options, rejected};
use crate::cli::Output;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// A partition of a live generation; no partition before its projector has started.
struct Place {
    model: String,
    generation: i32,
    schema_name: String,
    definition: String,
    dead_letters: i64,
    workers: i64,
    partition: Option<i32>,
    next_offset: Option<i64>,
    epoch: Option<i64>,
    holder: Option<Uuid>,
    expires_at: Option<DateTime<Utc>>,
    expires_in_ms: Option<i64>,
    now_us: i64,
}

impl FromRow<'_, PgRow> for Place {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            model: row.try_get("model")?,
            generation: row.try_get("generation")?,
            schema_name: row.try_get("schema_name")?,
            definition: row.try_get("definition")?,
            dead_letters: row.try_get("dead_letters")?,
            workers: row.try_get("workers")?,
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

/// What Kafka says of the log.
struct LogState {
    log: Log,
    ends: Offsets,
    rejected: i64,
}

/// `rapport status`. Without Kafka it shows what PostgreSQL knows, and ends as something that could not be reached.
pub(crate) async fn status(config: &Config, output: Output) -> Outcome {
    let mut database = connect(config, STATEMENT_TIMEOUT).await?;
    let rows: Vec<Place> = match sqlx::query_as(include_str!("../../sql/status.sql")).fetch_all(&mut database).await {
        Ok(rows) => rows,
        Err(error) if is_undefined(&error) => Vec::new(),
        Err(error) => return Err(error).or_exit(Exit::Unavailable),
    };
    // The read models stand where they stand, also while Kafka is away.
    let log = log_state(config).await?;
    let mut models: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for row in rows {
        models.entry(row.model.clone()).or_default().push(row);
    }
    let mut documents = Vec::new();
    for rows in models.values() {
        documents.push(model(rows, log.as_ref().ok()).await);
    }
    let known = log.as_ref().ok();
    let document = json!({
        "log_id": known.map(|l| l.log.log_id()),
        "log_end": known.map(|l| &l.ends),
        "log_end_unknown": log.as_ref().err().map(ToString::to_string),
        "models": documents,
        "rejected": known.map(|l| l.rejected),
    });
    if output.json {
        say::json(&document);
    } else {
        print(&document);
    }
    if known.is_some() { Ok(()) } else { Err(Failure::told(Exit::Unavailable)) }
}

async fn log_state(config: &Config) -> Outcome<Result<LogState, LogError>> {
    let log = match Log::open(&log_options(config)?).await {
        Ok(log) => log,
        Err(error) => return Ok(Err(error)),
    };
    let ends = match log.ends().await {
        Ok(ends) => ends,
        Err(error) => return Ok(Err(error)),
    };
    let rejected = rejected::count(&log).await?;
    Ok(Ok(LogState { log, ends, rejected }))
}

async fn model(rows: &[Place], log: Option<&LogState>) -> Value {
    let first = &rows[0];
    let next: Offsets = rows.iter().filter_map(|r| r.partition.zip(r.next_offset)).collect();
    let lag = |partition: i32| {
        let end = log?.ends.get(&partition)?;
        Some((end - next.get(&partition).copied().unwrap_or(0)).max(0))
    };
    let lags = log.map(|l| l.ends.keys().filter_map(|p| Some((*p, lag(*p)?))).collect::<Offsets>());
    let partitions: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let partition = row.partition?;
            let held = row.holder.filter(|_| row.expires_in_ms.is_some_and(|ms| ms > 0));
            Some(json!({
                "partition": partition,
                "next_offset": row.next_offset,
                "log_end": log.and_then(|l| l.ends.get(&partition)),
                "lag_events": lag(partition),
                "epoch": row.epoch,
                "holder": held,
                "lease_expires_at": row.expires_at,
                "lease_expires_in_ms": row.expires_in_ms,
            }))
        })
        .collect();
    let lag_seconds = match (log, &lags) {
        (Some(log), Some(lags)) => lag_seconds(&log.log, lags, &next, first.now_us).await,
        _ => None,
    };
    json!({
        "model": first.model,
        "generation": first.generation,
        "schema": first.schema_name,
        "definition": first.definition,
        "position": log.map(|l| Position::new(l.log.log_id(), next.clone()).token()),
        "lag_events": lags.map(|l| l.values().sum::<i64>()),
        "lag_seconds": lag_seconds,
        "dead_letters": first.dead_letters,
        "workers": first.workers,
        "partitions": partitions,
    })
}

/// For how long the oldest event that is not folded has been waiting since its receipt.
async fn lag_seconds(log: &Log, lags: &Offsets, next: &Offsets, now_us: i64) -> Option<f64> {
    let waiting: Offsets =
        lags.iter().filter(|(_, lag)| **lag > 0).map(|(p, _)| (*p, next.get(p).copied().unwrap_or(0))).collect();
    if waiting.is_empty() {
        return Some(0.0);
    }
    let records = log.read_at(&waiting).await.ok()?;
    let oldest = records.values().map(|r| r.received_at).min()?;
    Some((now_us - oldest).max(0) as f64 / time::SECOND as f64)
}

fn print(document: &Value) {
    if let Some(reason) = document["log_end_unknown"].as_str() {
        say::note(format_args!("the log's end, and so every lag, is unknown: {reason}"));
    }
    let models = document["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    if models.is_empty() {
        say::line(format_args!("no read model yet: no projector has run on this database"));
    }
    let mut rows = vec![
        ["model", "generation", "lag events", "lag s", "workers", "leased", "dead letters", "schema"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for model in models {
        let partitions = model["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let leased = partitions.iter().filter(|p| !p["holder"].is_null()).count();
        let lag_s = model["lag_seconds"].as_f64().map_or("?".to_owned(), |s| format!("{s:.1}"));
        rows.push(vec![
            plain(&model["model"]),
            plain(&model["generation"]),
            plain(&model["lag_events"]),
            lag_s,
            plain(&model["workers"]),
            format!("{leased} of {}", partitions.len()),
            plain(&model["dead_letters"]),
            plain(&model["schema"]),
        ]);
    }
    if !models.is_empty() {
        say::table(&rows);
        say::line(format_args!(""));
        say::table(&leases(models));
    }
    if let Some(rejected) = document["rejected"].as_i64() {
        say::line(format_args!("\nrejected events kept: {rejected}"));
    }
}

fn leases(models: &[Value]) -> Vec<Vec<String>> {
    let mut rows = vec![
        ["model", "partition", "next", "log end", "lag", "epoch", "holder", "lease ends in s"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for model in models {
        for partition in model["partitions"].as_array().into_iter().flatten() {
            let seconds = partition["lease_expires_in_ms"]
                .as_i64()
                .map_or("-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1000.0));
            rows.push(vec![
                plain(&model["model"]),
                plain(&partition["partition"]),
                plain(&partition["next_offset"]),
                plain(&partition["log_end"]),
                plain(&partition["lag_events"]),
                plain(&partition["epoch"]),
                partition["holder"].as_str().map_or("nobody".to_owned(), |h| h.chars().take(8).collect()),
                seconds,
            ]);
        }
    }
    rows
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "?".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
