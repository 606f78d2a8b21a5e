//! How far the live generations have come, and whether that is far enough.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Position;
use domain::position::Offsets;
use sqlx::PgConnection;
use uuid::Uuid;

/// While somebody waits, checkpoints are read this often.
pub const WAIT_PAUSE: Duration = Duration::from_millis(2);

/// A model that has not reached a position in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Which model.
    pub model: String,
    /// Which partition.
    pub partition: i32,
    /// The next offset it folds; `None`: it has no checkpoint there.
    pub next: Option<i64>,
    /// The next offset asked for.
    pub wanted: i64,
}

/// A record set aside by a live generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which model could not fold it.
    pub model: String,
    /// Where it stands in the log.
    pub partition: i32,
    /// Where in the partition.
    pub log_offset: i64,
    /// Which event, as far as it could be read.
    pub event_id: Option<Uuid>,
    /// Its type, as far as it could be read.
    pub event_type: Option<String>,
    /// Why.
    pub error: String,
}

/// The log that this database was folded from; `None` before the first projector has started.
///
/// # Errors
/// PostgreSQL refuses the statement (no `backbone` schema: 42P01).
pub async fn log_id(connection: &mut PgConnection) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar("SELECT log_id FROM backbone.log").fetch_optional(connection).await
}

/// How far each live generation has come: model -> partition -> next offset.
///
/// # Errors
/// PostgreSQL refuses the statement.
pub async fn read(connection: &mut PgConnection) -> Result<BTreeMap<String, Offsets>, sqlx::Error> {
    let rows: Vec<(String, i32, i64)> = sqlx::query_as(
        "SELECT c.model, c.partition, c.next_offset
         FROM backbone.checkpoints c JOIN backbone.generations g USING (model, generation) WHERE g.state = 'live'",
    )
    .fetch_all(connection)
    .await?;
    let mut models: BTreeMap<String, Offsets> = BTreeMap::new();
    for (model, partition, next) in rows {
        models.entry(model).or_default().insert(partition, next);
    }
    Ok(models)
}

/// What is still missing for these models to have reached the position, given how far they have come. Empty: reached.
/// A model or partition without a checkpoint has not been reached.
pub fn behind(position: &Position, models: &[&str], at: &BTreeMap<String, Offsets>) -> Vec<Behind> {
    let mut behind = Vec::new();
    for model in models {
        let reached = at.get(*model);
        for (&partition, &wanted) in position.for_model(model) {
            let next = reached.and_then(|offsets| offsets.get(&partition)).copied();
            if next.is_none_or(|next| next < wanted) {
                behind.push(Behind { model: (*model).to_owned(), partition, next, wanted });
            }
        }
    }
    behind
}

/// Waits until these models have reached the position or the time has passed; returns what is still missing then.
///
/// # Errors
/// PostgreSQL refuses a statement.
pub async fn wait(
    connection: &mut PgConnection,
    position: &Position,
    models: &[&str],
    timeout: Duration,
) -> Result<Vec<Behind>, sqlx::Error> {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let missing = behind(position, models, &read(connection).await?);
        if missing.is_empty() || tokio::time::Instant::now() >= deadline {
            return Ok(missing);
        }
        tokio::time::sleep(WAIT_PAUSE).await;
    }
}

/// The dead letters of live generations among what a publish appended: offsets from `first` up to `next`.
///
/// # Errors
/// PostgreSQL refuses the statement.
pub async fn dead_letters(connection: &mut PgConnection, position: &Position) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let ranges: Vec<(i32, i64, i64)> = position
        .first
        .iter()
        .filter_map(|(partition, first)| Some((*partition, *first, *position.next.get(partition)?)))
        .collect();
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    /// Model, partition, offset, event, type, error.
    type Row = (String, i32, i64, Option<Uuid>, Option<String>, String);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT d.model, d.partition, d.log_offset, d.event_id, d.type, d.error
         FROM UNNEST($1::int[], $2::bigint[], $3::bigint[]) AS r(partition, first_offset, next_offset)
         JOIN backbone.dead_letters d
           ON d.partition = r.partition AND d.log_offset >= r.first_offset AND d.log_offset < r.next_offset
         JOIN backbone.generations g ON (g.model, g.generation) = (d.model, d.generation) AND g.state = 'live'
         ORDER BY d.model, d.partition, d.log_offset",
    )
    .bind(ranges.iter().map(|r| r.0).collect::<Vec<_>>())
    .bind(ranges.iter().map(|r| r.1).collect::<Vec<_>>())
    .bind(ranges.iter().map(|r| r.2).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    let letter = |(model, partition, log_offset, event_id, event_type, error)| DeadLetter {
        model,
        partition,
        log_offset,
        event_id,
        event_type,
        error,
    };
    Ok(rows.into_iter().map(letter).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_without_a_checkpoint_is_not_reached() {
        let position = Position::new(Uuid::nil(), Offsets::from([(0, 5), (1, 2)]));
        let at = |offsets: &[(i32, i64)]| BTreeMap::from([("sales".to_owned(), offsets.iter().copied().collect())]);
        assert!(behind(&position, &["sales"], &at(&[(0, 5), (1, 9)])).is_empty());
        let missing = behind(&position, &["sales"], &at(&[(0, 4)]));
        assert_eq!(missing.iter().map(|b| (b.partition, b.next)).collect::<Vec<_>>(), [(0, Some(4)), (1, None)]);
        assert_eq!(behind(&position, &["service"], &at(&[(0, 5), (1, 2)])).len(), 2);
        assert!(behind(&Position::default(), &["service"], &at(&[])).is_empty());
    }
}
