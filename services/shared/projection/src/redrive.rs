//! Dead letters folded again, into the generation they belong to, each exactly once, whatever is folded, built or swapped
//! meanwhile.
//!
//! One transaction holds the generation's lock alone, as a batch with a void does, so that no worker's batch is under way in
//! it. A letter goes in the transaction that its rows come in; which copies of its event came before or come after makes no
//! difference, since events are told apart by their ids and the least copy counts.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use event_log::{Log, Record};
use serde_json::{Map, Value};
use sqlx::types::Json;
use sqlx::{Connection as _, PgConnection};

use crate::database::{Class, classify};
use crate::fold::{FoldError, Folder};
use crate::generation::{self, Generation, GenerationError};
use crate::model::ReadModel;
use crate::positions;
use crate::unit::{Decoded, Unit};

/// So many letters are folded in one transaction at most: the workers of the generation wait for it.
const LETTERS_MAX: usize = 200;
/// A transaction that loses to somebody else's locks (a generation that is being dropped) is tried so often.
const TRIES_MAX: u32 = 5;
/// The pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Where in the log a dead letter's record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
}

/// What became of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was folded and is no dead letter any more.
    Folded,
    /// It could not be folded this time either and stays, with this error.
    Failed(String),
    /// It was not there: somebody else has redriven it, or its generation was dropped.
    Gone,
}

/// Why dead letters could not be redriven at all.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// Their generation is of another definition than this version's, or the tables belong to another log.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// A missing table, a missing right, a mistake in the model: nothing is wrong with the letters.
    #[error("the dead letters of {schema} cannot be folded: {reason}")]
    Broken {
        /// The generation's schema.
        schema: String,
        /// Why.
        reason: String,
    },
    /// PostgreSQL refused a statement or was lost.
    #[error("the dead letters could not be redriven")]
    Database(#[from] sqlx::Error),
}

/// A redrive of dead letters of one generation.
pub struct Redrive<'a, M> {
    /// The model that folds them.
    pub model: &'a M,
    /// The log that the tables were folded from.
    pub log: &'a Log,
    /// Whose dead letters they are.
    pub generation: &'a Generation,
    /// They are folded to see whether they can be, and everything is left as it was.
    pub is_trial: bool,
}

impl<M: ReadModel> Redrive<'_, M> {
    /// Folds the dead letters at `places`. `told` hears what became of each once that is certain.
    ///
    /// # Errors
    /// See [`RedriveError`]; what `told` has heard is done all the same.
    pub async fn run(
        &self,
        connection: &mut PgConnection,
        places: &[Place],
        mut told: impl FnMut(Place, Fate),
    ) -> Result<(), RedriveError> {
        self.check(connection).await?;
        for some in places.chunks(LETTERS_MAX) {
            for (place, fate) in self.redrive(connection, some).await? {
                told(place, fate);
            }
        }
        Ok(())
    }

    /// That these folds may write these tables.
    async fn check(&self, connection: &mut PgConnection) -> Result<(), RedriveError> {
        let wanted = generation::definition(self.model);
        if self.generation.definition != wanted {
            return Err(generation::changed(self.generation, &wanted).into());
        }
        match positions::log_id(connection).await? {
            Some(found) if found != self.log.log_id() => {
                Err(GenerationError::OtherLog { found, wanted: self.log.log_id() }.into())
            }
            _ => Ok(()),
        }
    }

    /// As many letters as one transaction takes, in as many attempts as that takes.
    async fn redrive(
        &self,
        connection: &mut PgConnection,
        places: &[Place],
    ) -> Result<BTreeMap<Place, Fate>, RedriveError> {
        let mut tries = 1;
        loop {
            match self.attempt(connection, places).await {
                Err(RedriveError::Database(error)) if classify(&error) == Class::Conflict && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                redriven => return redriven,
            }
        }
    }

    async fn attempt(
        &self,
        connection: &mut PgConnection,
        places: &[Place],
    ) -> Result<BTreeMap<Place, Fate>, RedriveError> {
        let mut tx = connection.begin().await?;
        let redriven = self.fold(&mut tx, places).await;
        if redriven.is_ok() && !self.is_trial {
            tx.commit().await?;
            return redriven;
        }
        // A lost connection has rolled back by itself; what it was lost over says more.
        let rolled_back = tx.rollback().await;
        let redriven = redriven?;
        rolled_back?;
        Ok(redriven)
    }

    /// Folds what is there of them, alone in the generation.
    async fn fold(&self, tx: &mut PgConnection, places: &[Place]) -> Result<BTreeMap<Place, Fate>, RedriveError> {
        let g = self.generation;
        let alone = format!("SET LOCAL search_path = {}; SELECT pg_advisory_xact_lock({})", g.schema, g.lock_key);
        sqlx::raw_sql(&alone).execute(&mut *tx).await?;
        let mut fates: BTreeMap<Place, Fate> = places.iter().map(|place| (*place, Fate::Gone)).collect();
        let records = if is_there(tx, g).await? { take(tx, g, places).await? } else { Vec::new() };
        if records.is_empty() {
            return Ok(fates);
        }
        let namespace = self.log.namespace();
        let decoded = |record| Decoded::new(record, namespace, |brief| self.model.needs(brief));
        let unit = Unit::new(records.into_iter().map(decoded).collect());
        let mut folder = Folder::within_transaction(self.model, g.clone(), *namespace);
        folder.fold(tx, self.model, unit, None).await.map_err(|error| self.refused(error))?;
        fates.extend(remove_folded(tx, g, places).await?.into_iter().map(|place| (place, Fate::Folded)));
        fates.extend(left(tx, g, places).await?.into_iter().map(|(place, error)| (place, Fate::Failed(error))));
        Ok(fates)
    }

    fn refused(&self, error: FoldError) -> RedriveError {
        match error {
            FoldError::Lost(error) | FoldError::Short(error) => RedriveError::Database(error),
            error @ (FoldError::Broken(_) | FoldError::Fenced) => {
                RedriveError::Broken { schema: self.generation.schema.clone(), reason: error.to_string() }
            }
        }
    }
}

/// Whether it is still this generation, and is not about to go.
async fn is_there(tx: &mut PgConnection, g: &Generation) -> Result<bool, sqlx::Error> {
    let there = "SELECT EXISTS (SELECT FROM backbone.generations
                                WHERE model = $1 AND generation = $2 AND lock_key = $3 AND loaded AND state <> 'dropping')";
    sqlx::query_scalar(there).bind(&g.model).bind(g.number).bind(g.lock_key).fetch_one(tx).await
}

type Row = (i32, i64, DateTime<Utc>, Vec<u8>, Vec<u8>, Json<Map<String, Value>>);

/// Locks the letters and marks them, and makes records of them again, in the order of each partition. One that cannot be
/// folded loses its mark when it is set aside again; nobody else ever sees one.
async fn take(tx: &mut PgConnection, g: &Generation, places: &[Place]) -> Result<Vec<Record>, sqlx::Error> {
    let (partitions, offsets) = columns(places);
    let mut rows: Vec<Row> = sqlx::query_as(
        "UPDATE backbone.dead_letters AS d SET created_at = '-infinity'
         FROM unnest($3::int[], $4::bigint[]) AS p (partition, log_offset)
         WHERE d.model = $1 AND d.generation = $2 AND d.partition = p.partition AND d.log_offset = p.log_offset
         RETURNING d.partition, d.log_offset, d.received_at, d.key, d.value, d.headers",
    )
    .bind(&g.model)
    .bind(g.number)
    .bind(partitions)
    .bind(offsets)
    .fetch_all(tx)
    .await?;
    rows.sort_by_key(|row| (row.0, row.1));
    Ok(rows.into_iter().map(record).collect())
}

fn record((partition, offset, received_at, key, value, headers): Row) -> Record {
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?.as_bytes())));
    Record::kept(partition, offset, received_at.timestamp_micros(), key, value, headers)
}

/// Removes the letters that still have their mark: they were folded.
async fn remove_folded(tx: &mut PgConnection, g: &Generation, places: &[Place]) -> Result<Vec<Place>, sqlx::Error> {
    let (partitions, offsets) = columns(places);
    let rows: Vec<(i32, i64)> = sqlx::query_as(
        "DELETE FROM backbone.dead_letters AS d
         USING unnest($3::int[], $4::bigint[]) AS p (partition, log_offset)
         WHERE d.model = $1 AND d.generation = $2 AND d.partition = p.partition AND d.log_offset = p.log_offset
           AND d.created_at = '-infinity'
         RETURNING d.partition, d.log_offset",
    )
    .bind(&g.model)
    .bind(g.number)
    .bind(partitions)
    .bind(offsets)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|(partition, offset)| Place { partition, offset }).collect())
}

/// The letters that are still there, and why.
async fn left(tx: &mut PgConnection, g: &Generation, places: &[Place]) -> Result<Vec<(Place, String)>, sqlx::Error> {
    let (partitions, offsets) = columns(places);
    let rows: Vec<(i32, i64, String)> = sqlx::query_as(
        "SELECT d.partition, d.log_offset, d.error
         FROM backbone.dead_letters AS d
         JOIN unnest($3::int[], $4::bigint[]) AS p (partition, log_offset) USING (partition, log_offset)
         WHERE d.model = $1 AND d.generation = $2",
    )
    .bind(&g.model)
    .bind(g.number)
    .bind(partitions)
    .bind(offsets)
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|(partition, offset, error)| (Place { partition, offset }, error)).collect())
}

fn columns(places: &[Place]) -> (Vec<i32>, Vec<i64>) {
    places.iter().map(|place| (place.partition, place.offset)).unzip()
}
