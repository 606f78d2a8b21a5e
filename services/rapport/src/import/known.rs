use std::collections::HashSet;
use std::time::Duration;

use domain::position::Offsets;
use sqlx::{PgConnection, Row};
use tokio::time::Instant;
use uuid::Uuid;

use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::say;

/// How often customer360 is asked how far it is.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long it may stand still before the import is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// When it is said what is being waited for.
const TOLD_AFTER: Duration = Duration::from_secs(2);

/// Asks customer360 which events it has. Only events that were on the log when it was opened are asked for.
pub(super) struct Known {
    connection: PgConnection,
    query: String,
}

impl Known {
    /// Waits until customer360 has folded the log up to `ends`.
    pub(super) async fn open(mut connection: PgConnection, ends: &Offsets) -> Outcome<Self> {
        let started = Instant::now();
        let mut told = false;
        let mut best = (i64::MAX, Instant::now());
        loop {
            let reached = reached(&mut connection).await?;
            let missing: i64 = ends
                .iter()
                .map(|(partition, end)| (end - reached.next.get(partition).copied().unwrap_or(0)).max(0))
                .sum();
            if let (0, Some(schema)) = (missing, &reached.schema) {
                let query = query(schema);
                return Ok(Self { connection, query });
            }
            if missing < best.0 || reached.is_loading {
                best = (missing, Instant::now());
            }
            if best.1.elapsed() > PATIENCE {
                let sentence = format_args!(
                    "customer360 is {missing} records behind the log's end and has not moved for {} s; is its projector running? \
                     `rapport status` shows it",
                    PATIENCE.as_secs()
                );
                return Err(Failure::new(Exit::TryAgain, sentence));
            }
            if !told && started.elapsed() > TOLD_AFTER {
                told = true;
                say::note(format_args!("waiting for customer360, {missing} records behind the log's end"));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Which of these events are known.
    pub(super) async fn of(&mut self, ids: &[Uuid]) -> Outcome<HashSet<Uuid>> {
        let found: Vec<Uuid> = sqlx::query_scalar(&self.query)
            .bind(ids)
            .fetch_all(&mut self.connection)
            .await
            .or_exit(Exit::Unavailable)?;
        Ok(found.into_iter().collect())
    }
}

/// The table itself, not the view: a voided event is known too. So is one among the dead letters.
fn query(schema: &str) -> String {
    include_str!("../../sql/known_events.sql").replace("{schema}", &format!("\"{}\"", schema.replace('"', "\"\"")))
}

#[derive(Default)]
struct Reached {
    schema: Option<String>,
    next: Offsets,
    /// A projector is at work on a load, which comes further all at once.
    is_loading: bool,
}

async fn reached(connection: &mut PgConnection) -> Outcome<Reached> {
    let rows = match sqlx::query(include_str!("../../sql/customer360_reached.sql")).fetch_all(connection).await {
        Ok(rows) => rows,
        // No projector has ever run on this database: its schema is not there.
        Err(error) if crate::ops::is_undefined(&error) => Vec::new(),
        Err(error) => return Err(error).or_exit(Exit::Unavailable),
    };
    let mut reached = Reached::default();
    for row in rows {
        reached.schema = Some(row.try_get("schema_name").or_exit(Exit::Internal)?);
        reached.is_loading = row.try_get("is_loading").or_exit(Exit::Internal)?;
        let (partition, next): (Option<i32>, Option<i64>) =
            (row.try_get("partition").or_exit(Exit::Internal)?, row.try_get("next_offset").or_exit(Exit::Internal)?);
        reached.next.extend(partition.zip(next));
    }
    Ok(reached)
}
