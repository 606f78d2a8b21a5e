//! `GET /models`: where each read model stands, beside the log's end.

use std::collections::BTreeMap;

use domain::{Position, position::Offsets};
use serde_json::{Value, json};

use crate::{
    http::{Answer, App},
    log_end::{Ends, LogEnd},
    problem::Problem,
    progress::{Progress, Reached},
    snapshot::{Snapshot, Wanted},
};

/// What the `backbone` schema says of a live generation, beside its checkpoints.
struct Generation {
    model: String,
    definition: String,
    dead_letters: i64,
    /// PostgreSQL's clock, microseconds UTC: the one clock of this answer.
    now: i64,
}

/// Answers with every model that has a live generation.
pub(crate) async fn list(app: &App, wanted: &Wanted) -> Result<Answer, Problem> {
    let mut snapshot = Snapshot::at(&app.database, &app.waiting, wanted).await?;
    let generations = read(&mut snapshot).await?;
    let (progress, dead_letters) = (snapshot.progress.clone(), snapshot.dead_letters());
    // The connection goes back before Kafka is asked.
    snapshot.close().await?;
    let ends = app.log_end.ends().await;
    let mut models = Vec::new();
    for generation in &generations {
        let Some(reached) = progress.models.get(&generation.model) else { continue };
        let lag_seconds = lag_seconds(&app.log_end, reached, &ends, generation.now).await;
        models.push(model(generation, reached, &progress, &ends, lag_seconds));
    }
    let mut body = json!({
        "log_id": progress.log_id,
        "log_end": ends.as_ref().ok(),
        "models": models,
        "missing": progress.missing(),
    });
    if let Err(reason) = &ends {
        body["log_end_unknown"] = json!(reason);
    }
    if let Some(letters) = dead_letters {
        body["dead_letters"] = letters;
    }
    Ok(Answer::json(progress.token(), body.to_string()))
}

async fn read(snapshot: &mut Snapshot) -> Result<Vec<Generation>, sqlx::Error> {
    if snapshot.progress.models.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String, i64, i64)> =
        sqlx::query_as(include_str!("../sql/models.sql")).fetch_all(snapshot.connection()).await?;
    Ok(rows
        .into_iter()
        .map(|(model, definition, dead_letters, now)| Generation { model, definition, dead_letters, now })
        .collect())
}

fn model(
    generation: &Generation,
    reached: &Reached,
    progress: &Progress,
    ends: &Ends,
    lag_seconds: Option<f64>,
) -> Value {
    let lags = ends.as_ref().ok().map(|ends| lags(reached, ends));
    let mut partitions: BTreeMap<i32, Value> = BTreeMap::new();
    let known = reached.next.keys().chain(ends.iter().flat_map(|e| e.keys()));
    for partition in known {
        partitions.entry(*partition).or_insert_with(|| {
            json!({
                "partition": partition,
                "next_offset": reached.next.get(partition),
                "log_end": ends.as_ref().ok().and_then(|e| e.get(partition)),
                "lag_events": lags.as_ref().and_then(|l| l.get(partition)),
            })
        });
    }
    json!({
        "model": generation.model,
        "generation": reached.generation,
        "definition": generation.definition,
        "position": progress.log_id.map(|log_id| Position::new(log_id, reached.next.clone()).token()),
        "lag_events": lags.as_ref().map(|l| l.values().sum::<i64>()),
        "lag_seconds": lag_seconds,
        "dead_letters": generation.dead_letters,
        "partitions": partitions.into_values().collect::<Vec<_>>(),
    })
}

/// Events between a model and the log's end. What the snapshot read first can only be behind what Kafka says later; a
/// log that ends earlier is another or a truncated one, and the projector's to complain about.
fn lags(reached: &Reached, ends: &Offsets) -> BTreeMap<i32, i64> {
    ends.iter()
        .map(|(partition, end)| (*partition, (end - reached.next.get(partition).copied().unwrap_or(0)).max(0)))
        .collect()
}

/// How long the oldest event that the model has not folded has been waiting since its receipt: seconds, 0 where it
/// has folded everything, unknown where Kafka does not say.
async fn lag_seconds(log_end: &LogEnd, reached: &Reached, ends: &Ends, now: i64) -> Option<f64> {
    let ends = ends.as_ref().ok()?;
    let behind: Offsets = lags(reached, ends)
        .into_iter()
        .filter(|(_, lag)| *lag > 0)
        .map(|(partition, _)| (partition, reached.next.get(&partition).copied().unwrap_or(0)))
        .collect();
    if behind.is_empty() {
        return Some(0.0);
    }
    let received_at = log_end.received_at(&behind).await.ok()?;
    // Offsets may have gaps: a partition whose next record stands later says nothing here.
    let oldest = received_at.values().min()?;
    Some((now - oldest).max(0) as f64 / domain::time::SECOND as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_counted_from_what_is_reached() {
        let reached = Reached { generation: 1, schema: String::new(), next: Offsets::from([(0, 4), (1, 9)]) };
        let lags = lags(&reached, &Offsets::from([(0, 10), (1, 9), (2, 3)]));
        assert_eq!(lags, BTreeMap::from([(0, 6), (1, 0), (2, 3)]));
    }
}
