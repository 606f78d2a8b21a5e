//! Two generations of one model at one position: their digests, and the rows in which they differ.
//!
//! The live generation folds on while it is looked at. So the other one is held still, and the snapshot is taken once the live
//! one has passed it; the events that the other one lacks are folded into it within the transaction of that snapshot, which is
//! rolled back at the end. Nobody waits but the other generation's workers.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::position::Offsets;
use domain::{Position, time};
use event_log::{Log, LogError, ReadError, Reader, Topic};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use crate::digest::{self, ModelDigest, ViewDigest};
use crate::fold::{FoldError, Folder};
use crate::generation::{self, Generation, Listed, State, Views};
use crate::model::ReadModel;
use crate::unit::{Decoded, Unit};

/// Between two looks at checkpoints that are to come closer.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// Records folded at a time, and read at a time.
const RECORDS_MAX: usize = 5000;
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// More is not folded within a comparison: nobody else can fold the generation meanwhile.
const LACKS_MAX: i64 = 100_000;
/// While records that are known to be there are waited for.
const READ_WAIT: Duration = Duration::from_secs(1);
/// Folding prefers indexes; what reads whole views must not.
pub(crate) const PLAN_AS_USUAL: &str = "SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL enable_hashjoin TO DEFAULT; \
                             SET LOCAL enable_mergejoin TO DEFAULT; SET LOCAL plan_cache_mode TO DEFAULT";

/// Why two generations could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// There is no such generation, it is not built yet, or this version cannot fold it.
    #[error("{0}")]
    Unfit(String),
    /// The live generation did not come past the other one.
    #[error("the live generation is {events} events behind {schema} and does not catch up; is its projector running?")]
    LiveBehind {
        /// The other generation's schema.
        schema: String,
        /// By how much.
        events: i64,
    },
    /// Too much would have to be folded for the comparison.
    #[error(
        "{schema} is {events} events behind the live generation: does a projector of the version that built it run?"
    )]
    OtherBehind {
        /// The other generation's schema.
        schema: String,
        /// By how much.
        events: i64,
    },
    /// Kafka has said nothing for long.
    #[error("Kafka has brought nothing of the log for {seconds} s; is it running?")]
    Silent {
        /// For how long.
        seconds: u64,
    },
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What the other one lacks could not be folded.
    #[error("the events that {schema} lacks could not be folded: {reason}")]
    Fold {
        /// The other generation's schema.
        schema: String,
        /// Why.
        reason: String,
    },
    /// PostgreSQL refuses a statement.
    #[error("the generations could not be compared")]
    Database(#[from] sqlx::Error),
}

/// One view in both generations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewComparison {
    /// In the live one.
    pub live: ViewDigest,
    /// In the other one.
    pub other: ViewDigest,
    /// Columns that only the live one has, and such that only the other one has: they are in neither digest.
    pub only: (Vec<String>, Vec<String>),
    /// Rows that only the other one has, that only the live one has, and that differ.
    pub counts: Counts,
}

/// How many rows differ, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Only the other generation has them.
    pub added: i64,
    /// Only the live one has them.
    pub removed: i64,
    /// Both have them, with other values.
    pub changed: i64,
}

/// A row in which the generations differ. `None` on one side: it is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Of which view.
    pub view: String,
    /// What names the row.
    pub key: Map<String, Value>,
    /// In the live generation: the columns that differ, or all of a row that is not in the other one.
    pub live: Option<Map<String, Value>>,
    /// In the other one.
    pub other: Option<Map<String, Value>>,
    /// The events that its values say they were set by.
    pub events: Vec<Uuid>,
}

/// An event that a differing row names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its source and id, as published.
    pub source: String,
    /// See `source`.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// When it occurred, RFC 3339.
    pub occurred_at: String,
    /// Where in the log it stands.
    pub partition: i32,
    /// Where in its partition.
    pub log_offset: i64,
}

/// Two generations at one position.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The live generation.
    pub live: Generation,
    /// The one it was compared with.
    pub other: Generation,
    /// Where both stood.
    pub position: Position,
    /// View by view.
    pub views: Vec<ViewComparison>,
    /// Rows that differ, at most as many a view as were asked for.
    pub differences: Vec<Difference>,
    /// The events that they name, as far as customer360 knows them.
    pub events: BTreeMap<Uuid, Named>,
}

impl Comparison {
    /// Whether every row is the same in both.
    pub fn is_identical(&self) -> bool {
        self.views.iter().all(|v| v.live == v.other)
    }
}

/// Compares a generation with the live one, both as they are at one position. `differences_max`: how many differing rows of
/// each view are told.
///
/// # Errors
/// See [`CompareError`].
pub async fn compare<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    log: &Log,
    number: i32,
    differences_max: u32,
    patience: Duration,
) -> Result<Comparison, CompareError> {
    let (live, other) = pair(connection, model, number).await?;
    // Folding takes this lock shared for each batch: the other generation stands still from here on.
    sqlx::query("SELECT pg_advisory_lock($1)").bind(other.lock_key).execute(&mut *connection).await?;
    let held = Held { model, log, live, other, differences_max, patience };
    let compared = held.compare(connection).await;
    let unlocked =
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(held.other.lock_key).execute(&mut *connection).await;
    let compared = compared?;
    unlocked?;
    Ok(compared)
}

/// The digest of any generation that is built, by this version's views.
///
/// # Errors
/// There is no such generation, or PostgreSQL refuses a statement.
pub async fn digest_of<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    generation: &Generation,
) -> Result<(ModelDigest, Offsets), sqlx::Error> {
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
    let computed = async {
        let at = generation::checkpoints(connection, generation).await?;
        let schema = own_views(connection, model, generation).await?;
        Ok((digest::in_schema(connection, model, &schema).await?, at))
    }
    .await;
    sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    computed
}

async fn pair<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    number: i32,
) -> Result<(Generation, Generation), CompareError> {
    let name = model.name();
    let mut listed = generation::list(connection, name).await?;
    let mut take = |fits: &dyn Fn(&Listed) -> bool| listed.iter().position(fits).map(|at| listed.remove(at));
    let live = take(&|l| l.state == State::Live)
        .ok_or_else(|| CompareError::Unfit(format!("{name} has no live generation to compare with")))?;
    let other = take(&|l| l.generation.number == number)
        .ok_or_else(|| CompareError::Unfit(format!("{name} has no generation {number} beside the live one")))?;
    if !other.is_loaded || other.state == State::Dropping {
        return Err(CompareError::Unfit(format!("{} is not built yet", other.generation.schema)));
    }
    if other.generation.definition != generation::definition(model) {
        return Err(CompareError::Unfit(
            generation::changed(&other.generation, &generation::definition(model)).to_string(),
        ));
    }
    Ok((live.generation, other.generation))
}

/// Puts this version's views on a generation, under a schema of their own; the transaction is rolled back later.
async fn own_views<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    generation: &Generation,
) -> Result<String, sqlx::Error> {
    let schema = format!("{}_compared", generation.schema);
    let views = Views::under(model, &schema, generation);
    sqlx::raw_sql(&format!("CREATE SCHEMA {schema}; {}", views.statements)).execute(connection).await?;
    Ok(schema)
}

/// A comparison while the other generation stands still.
struct Held<'a, M> {
    model: &'a M,
    log: &'a Log,
    live: Generation,
    other: Generation,
    differences_max: u32,
    patience: Duration,
}

impl<M: ReadModel> Held<'_, M> {
    async fn compare(&self, connection: &mut PgConnection) -> Result<Comparison, CompareError> {
        let from = generation::checkpoints(connection, &self.other).await?;
        self.passed(connection, &from).await?;
        // Locked before the snapshot is taken: until the end no other generation becomes the live one.
        sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE backbone.swaps IN ACCESS SHARE MODE")
            .execute(&mut *connection)
            .await?;
        let compared = self.compare_within(connection, &from).await;
        // A lost connection has rolled back by itself.
        let ended = sqlx::raw_sql("ROLLBACK").execute(connection).await;
        let compared = compared?;
        ended?;
        Ok(compared)
    }

    /// Waits until the live generation has come past the other one.
    async fn passed(&self, connection: &mut PgConnection, other: &Offsets) -> Result<(), CompareError> {
        let began = Instant::now();
        loop {
            let live = generation::checkpoints(connection, &self.live).await?;
            let behind: i64 = other.iter().map(|(p, next)| (next - live.get(p).copied().unwrap_or(0)).max(0)).sum();
            if behind == 0 {
                return Ok(());
            }
            if began.elapsed() > self.patience {
                return Err(CompareError::LiveBehind { schema: self.other.schema.clone(), events: behind });
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn compare_within(&self, connection: &mut PgConnection, from: &Offsets) -> Result<Comparison, CompareError> {
        if generation::find_live(connection, &self.live.model).await?.as_ref() != Some(&self.live) {
            return Err(CompareError::Unfit(format!("{} is not live any more", self.live.schema)));
        }
        let to = generation::checkpoints(connection, &self.live).await?;
        let lacks: i64 = to.iter().map(|(p, next)| (next - from.get(p).copied().unwrap_or(0)).max(0)).sum();
        if lacks > LACKS_MAX {
            return Err(CompareError::OtherBehind { schema: self.other.schema.clone(), events: lacks });
        }
        self.catch_up(connection, from, &to).await?;
        sqlx::raw_sql(PLAN_AS_USUAL).execute(&mut *connection).await?;
        sqlx::raw_sql(digest::FIXED).execute(&mut *connection).await?;
        let schema = own_views(connection, self.model, &self.other).await?;
        let (mut views, mut differences) = (Vec::new(), Vec::new());
        for (view, left_out) in self.model.digested() {
            let both = Both::of(connection, self.model, view, left_out, &schema).await?;
            let (live, other) = both.digests(connection).await?;
            let mut counts = Counts::default();
            if live != other {
                counts = both.counts(connection).await?;
                differences.extend(both.differences(connection, self.differences_max).await?);
            }
            views.push(ViewComparison { live, other, only: both.only, counts });
        }
        let events = events(connection, &differences).await?;
        let position = Position::new(self.log.log_id(), to);
        let (live, other) = (self.live.clone(), self.other.clone());
        Ok(Comparison { live, other, position, views, differences, events })
    }

    /// Folds what the other generation lacks.
    async fn catch_up(&self, connection: &mut PgConnection, from: &Offsets, to: &Offsets) -> Result<(), CompareError> {
        let mut left: Offsets = to
            .iter()
            .map(|(p, next)| (*p, *next))
            .filter(|(p, next)| from.get(p).copied().unwrap_or(0) < *next)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let starts: Offsets = left.keys().map(|p| (*p, from.get(p).copied().unwrap_or(0))).collect();
        let mut reader = Reader::open(self.log, Topic::Log, &starts)?;
        sqlx::raw_sql(&format!("SET LOCAL search_path = {}", self.other.schema)).execute(&mut *connection).await?;
        let mut folder = Folder::within_transaction(self.model, self.other.clone(), *self.log.namespace());
        let mut last_news = Instant::now();
        while !left.is_empty() {
            let fetched = reader.next(RECORDS_MAX, BYTES_MAX, READ_WAIT).await?;
            if !fetched.is_empty() {
                last_news = Instant::now();
            } else if last_news.elapsed() > self.patience {
                return Err(CompareError::Silent { seconds: self.patience.as_secs() });
            }
            let wanted = |r: &event_log::Record| left.get(&r.partition).is_some_and(|end| r.offset < *end);
            let decoded: Vec<Decoded> = fetched
                .records
                .iter()
                .filter(|r| wanted(r))
                .map(|r| Decoded::new(r.clone(), self.log.namespace(), |brief| self.model.needs(brief)))
                .collect();
            for record in &fetched.records {
                if left.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                    left.remove(&record.partition);
                }
            }
            // Offsets may have gaps: at a partition's end nothing more comes.
            left.retain(|partition, _| !fetched.at_end.contains(partition));
            if !decoded.is_empty() {
                folder
                    .fold(connection, self.model, Unit::new(decoded), None)
                    .await
                    .map_err(|error| self.unfolded(&error))?;
            }
        }
        Ok(())
    }

    fn unfolded(&self, error: &FoldError) -> CompareError {
        CompareError::Fold { schema: self.other.schema.clone(), reason: error.to_string() }
    }
}

/// One view of both generations.
struct Both {
    view: String,
    /// The columns that both have and the digest covers, in the live one's order.
    columns: Vec<String>,
    only: (Vec<String>, Vec<String>),
    key: Vec<String>,
    live: String,
    other: String,
}

impl Both {
    async fn of<M: ReadModel>(
        connection: &mut PgConnection,
        model: &M,
        view: &str,
        left_out: &[&str],
        schema: &str,
    ) -> Result<Self, sqlx::Error> {
        let live = digest::columns(connection, model.name(), view, &[]).await?;
        let other = digest::columns(connection, schema, view, left_out).await?;
        let without = |all: &[String], known: &[String]| -> Vec<String> {
            all.iter().filter(|c| !known.contains(c) && !left_out.contains(&c.as_str())).cloned().collect()
        };
        let only = (without(&live, &other), without(&other, &live));
        let columns: Vec<String> = live.into_iter().filter(|c| other.contains(c)).collect();
        let key = model.row_key(view).iter().map(|c| (*c).to_owned()).collect();
        Ok(Self {
            columns,
            only,
            key,
            live: format!("{}.{view}", model.name()),
            other: format!("{schema}.{view}"),
            view: view.to_owned(),
        })
    }

    async fn digests(&self, connection: &mut PgConnection) -> Result<(ViewDigest, ViewDigest), sqlx::Error> {
        // A view that the live generation does not have yet has no columns in common: it has no rows to compare.
        if self.columns.is_empty() {
            let none = ViewDigest { view: self.view.clone(), count: 0, sum: 0 };
            return Ok((none.clone(), none));
        }
        let live = digest::digest(connection, &self.view, &self.columns, &self.live, None).await?;
        Ok((live, digest::digest(connection, &self.view, &self.columns, &self.other, None).await?))
    }

    /// The rows that differ, as `l` and `o`, each with `key`, the row and all of its text.
    fn joined(&self, what: &str) -> String {
        let row = |columns: &[String]| {
            let quoted: Vec<String> = columns.iter().map(|c| format!("r.\"{c}\"")).collect();
            format!("ROW({})::text", quoted.join(", "))
        };
        let side = |from: &str| {
            format!("(SELECT r, {} AS key, {} AS whole FROM {from} AS r)", row(&self.key), row(&self.columns))
        };
        format!(
            "SELECT {what} FROM {} AS l FULL JOIN {} AS o ON o.key = l.key WHERE l.whole IS DISTINCT FROM o.whole",
            side(&self.live),
            side(&self.other)
        )
    }

    async fn counts(&self, connection: &mut PgConnection) -> Result<Counts, sqlx::Error> {
        let sql = self.joined(
            "count(*) FILTER (WHERE l.key IS NULL), count(*) FILTER (WHERE o.key IS NULL),
             count(*) FILTER (WHERE l.key = o.key)",
        );
        let (added, removed, changed) = sqlx::query_as(&sql).persistent(false).fetch_one(connection).await?;
        Ok(Counts { added, removed, changed })
    }

    async fn differences(&self, connection: &mut PgConnection, max: u32) -> Result<Vec<Difference>, sqlx::Error> {
        let sql = self.joined(
            "CASE WHEN l.key IS NOT NULL THEN to_json(l.r)::text END, CASE WHEN o.key IS NOT NULL THEN to_json(o.r)::text END",
        ) + &format!(" ORDER BY coalesce(l.key, o.key) COLLATE \"C\" LIMIT {max}");
        let rows: Vec<(Option<String>, Option<String>)> =
            sqlx::query_as(&sql).persistent(false).fetch_all(connection).await?;
        let parse = |text: Option<String>| -> Result<Option<Map<String, Value>>, sqlx::Error> {
            text.map(|t| serde_json::from_str(&t)).transpose().map_err(|e| sqlx::Error::Decode(e.into()))
        };
        rows.into_iter().map(|(live, other)| Ok(self.difference(parse(live)?, parse(other)?))).collect()
    }

    fn difference(&self, live: Option<Map<String, Value>>, other: Option<Map<String, Value>>) -> Difference {
        let some = live.as_ref().or(other.as_ref());
        let key = self.key.iter().filter_map(|c| Some((c.clone(), some?.get(c)?.clone()))).collect();
        let differs = |c: &&String| live.as_ref().and_then(|l| l.get(*c)) != other.as_ref().and_then(|o| o.get(*c));
        let columns: Vec<&String> = self.columns.iter().filter(differs).collect();
        let set_by = |row: &Option<Map<String, Value>>| row.as_ref()?.get("set_by")?.as_str()?.parse().ok();
        let mut events: Vec<Uuid> = [set_by(&live), set_by(&other)].into_iter().flatten().collect();
        events.dedup();
        let part = |row: Option<Map<String, Value>>| {
            row.map(|row| columns.iter().filter_map(|c| Some(((*c).clone(), row.get(*c)?.clone()))).collect())
        };
        Difference { view: self.view.clone(), key, live: part(live), other: part(other), events }
    }
}

/// What customer360 knows of the events that differing rows name.
async fn events(
    connection: &mut PgConnection,
    differences: &[Difference],
) -> Result<BTreeMap<Uuid, Named>, sqlx::Error> {
    let ids: Vec<Uuid> = differences.iter().flat_map(|d| d.events.iter().copied()).collect();
    let known: bool = sqlx::query_scalar("SELECT to_regclass('customer360.timeline') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if ids.is_empty() || !known {
        return Ok(BTreeMap::new());
    }
    /// Event, source, id, type, microseconds since 1970, partition, offset.
    type Row = (Uuid, String, String, String, i64, i32, i64);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT event_id, source, id, type, (extract(epoch FROM occurred_at) * 1000000)::bigint, partition, log_offset
         FROM customer360.timeline WHERE event_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let named = |(event, source, id, kind, micros, partition, log_offset): Row| {
        let occurred_at = time::format(micros).unwrap_or_default();
        (event, Named { source, id, kind, occurred_at, partition, log_offset })
    };
    Ok(rows.into_iter().map(named).collect())
}
