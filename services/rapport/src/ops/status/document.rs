use domain::Position;
use domain::position::Offsets;
use serde_json::{Value, json};

use super::look::{LogState, Place, by_generation, next_offsets};
use super::rates::{Rates, folded};

/// What both servers said, or why they did not: `models` are the live generations, `generations` all of them.
/// `unknown`: why the generations are not those of now.
pub(super) fn document(places: &[Place], unknown: Option<&str>, log: Result<&LogState, &str>, rates: &Rates) -> Value {
    let known = log.ok();
    let generations = by_generation(places);
    let live = generations.values().filter(|places| places[0].state == "live");
    let mut document = json!({
        "log_id": known.map(|l| l.log_id),
        "log_end": known.map(|l| &l.ends),
        "log_end_unknown": log.err(),
        "models": live.map(|places| model(places, known, rates)).collect::<Vec<_>>(),
        "generations": generations.values().map(|places| generation(places, known, rates)).collect::<Vec<_>>(),
        "rejected": known.map(|l| l.rejected),
    });
    if let Some(reason) = unknown {
        document["models_unknown"] = json!(reason);
    }
    document
}

fn lag(log: &LogState, next: &Offsets, partition: i32) -> Option<i64> {
    let end = log.ends.get(&partition)?;
    Some((end - next.get(&partition).copied().unwrap_or(0)).max(0))
}

fn lag_events(log: Option<&LogState>, next: &Offsets) -> Option<i64> {
    log.map(|log| log.ends.keys().filter_map(|partition| lag(log, next, *partition)).sum())
}

fn model(places: &[&Place], log: Option<&LogState>, rates: &Rates) -> Value {
    let (first, next) = (places[0], next_offsets(places));
    json!({
        "model": first.model,
        "generation": first.generation,
        "schema": first.schema_name,
        "definition": first.definition,
        "position": log.map(|l| Position::new(l.log_id, next.clone()).token()),
        "lag_events": lag_events(log, &next),
        "lag_seconds": log.and_then(|l| l.waiting.get(&first.model)),
        "events_per_second": rates.of(&first.model, first.generation),
        "dead_letters": first.dead_letters,
        "workers": first.workers,
        "partitions": partitions(places, log, &next),
    })
}

fn partitions(places: &[&Place], log: Option<&LogState>, next: &Offsets) -> Vec<Value> {
    let of = |place: &&Place| {
        let partition = place.partition?;
        let held = place.holder.filter(|_| place.expires_in_ms.is_some_and(|ms| ms > 0));
        Some(json!({
            "partition": partition,
            "next_offset": place.next_offset,
            "log_end": log.and_then(|l| l.ends.get(&partition)),
            "lag_events": log.and_then(|l| lag(l, next, partition)),
            "epoch": place.epoch,
            "holder": held,
            "lease_expires_at": place.expires_at,
            "lease_expires_in_ms": place.expires_in_ms,
        }))
    };
    places.iter().filter_map(of).collect()
}

fn generation(places: &[&Place], log: Option<&LogState>, rates: &Rates) -> Value {
    let (first, next) = (places[0], next_offsets(places));
    let end: Option<i64> = log.map(|l| l.ends.values().sum());
    let rate = rates.of(&first.model, first.generation);
    let left = end.map(|end| (end - folded(places)).max(0));
    let seconds_left = left.zip(rate).filter(|(left, rate)| *left > 0 && *rate > 0.0);
    json!({
        "model": first.model,
        "generation": first.generation,
        "schema": first.schema_name,
        "state": first.state,
        "is_built": first.loaded,
        "is_folded": first.workers > 0 && first.failure.is_none(),
        "failure": first.failure,
        "records": folded(places),
        "log_end": end,
        "lag_events": lag_events(log, &next),
        "lag_seconds": log.filter(|_| first.state == "live").and_then(|l| l.waiting.get(&first.model)),
        "events_per_second": rate,
        "seconds_left": seconds_left.map(|(left, rate)| left as f64 / rate),
        "dead_letters": first.dead_letters,
        "partitions": partitions(places, log, &next),
    })
}
