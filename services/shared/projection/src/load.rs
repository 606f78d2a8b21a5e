//! Loading: the log from its beginning into the empty tables of a new generation.
//!
//! Live, every batch leaves all indexes and all derived rows right behind it. Over a log that is folded from its
//! beginning that is most of the work, and none of it is looked at before the end. So a new generation begins without
//! indexes; one worker takes all of its partitions and loads them in one transaction:
//!
//! ```text
//! feed -> Gather (a task of its own) --- the first copy of an event id ---> Load::add: rows, sums in memory
//!           \--- further copies, voids, what cannot be read: kept                   |
//!                                                                                   v
//!   COPY, COPY, … while the log is read -> Load::prepare, and their indexes
//!     -> ReadModel::finish_load: rows of sums, derived rows -> the other indexes
//!     -> what was kept, folded like any batch, alone on the generation -> checkpoints -> COMMIT
//! ```
//!
//! Nothing is seen before the last commit: no row and no position. A load that is killed begins again. One that has gathered
//! as much as it may hold in memory ends early, one that meets a row which the tables cannot take is given up; either way
//! what is left is folded in batches, which comes to the same tables.
//!
//! Beside a live generation the same is done in steps: each COPY, each index, each part of what is derived or was kept in a
//! transaction of its own. One that is open for minutes keeps every row version of those minutes, and rows that each batch
//! writes anew, such as checkpoints, get slower to find the longer it lasts. Nobody reads a generation that is not loaded, so
//! nothing is seen early; what a killed load leaves is removed before the next.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Namespace;
use domain::position::Offsets;
use event_log::{Log, ReadError, Record};
use sqlx::PgConnection;
use tokio::sync::mpsc;

use crate::background::{self, Pace};
use crate::checkpoint::{self, Held};
use crate::copy::{CopyBuffer, copy_in};
use crate::database::{self, Class, classify};
use crate::failpoint::{Step, reach};
use crate::feed::Feed;
use crate::fold::{FoldError, Folder};
use crate::generation::{self, Generation};
use crate::model::{BatchTx, Event, ReadModel};
use crate::status::Status;
use crate::unit::{self, Advance, Content, Decoded, Unit};

/// Pieces that wait for the database.
const PIECES_MAX: usize = 2;
/// What a load may gather in memory, about; writing it takes as much again.
pub(crate) const HELD_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Behind a load so many events may be left to be folded in batches.
const LEFT_EVENTS_MAX: i64 = 5_000;
/// How often a load says how far it is.
const TELL_PAUSE: Duration = Duration::from_secs(5);
/// What sorting may take in memory. More processes at it would come off the other models.
const SORTING: &str = "SET LOCAL maintenance_work_mem = '256MB'; SET LOCAL work_mem = '64MB';
    SET LOCAL max_parallel_maintenance_workers = 0";
/// Removing what a killed load has left waits so long at a time for those who are looking at it.
const EMPTY_TIMEOUT: &str = "SET LOCAL lock_timeout = '500ms'";
/// Those who came meanwhile are let by for so long.
const EMPTY_PAUSE: Duration = Duration::from_secs(2);
/// Bytes of rows that a step writes, about.
pub(crate) const STEP_ROW_BYTES: usize = 512 * 1024;
/// Bytes that an event id takes in the set of those seen.
const SEEN_BYTES: usize = 9;

/// What a read model makes of a log that it meets from the beginning. Its tables are empty and have no indexes but their
/// own.
pub trait Load: Send + 'static {
    /// Takes in an event that was not added before and is no void; events come in any order.
    fn add(&mut self, event: &Event);

    /// Rows of the tables that have a row an event, filled since they were last taken: statements as
    /// [`copy_in`] wants them.
    fn take_rows(&mut self) -> Vec<(String, CopyBuffer)>;

    /// How many bytes those rows take so far.
    fn row_bytes(&self) -> usize;

    /// What it holds besides, in bytes, about.
    fn held_bytes(&self) -> usize;

    /// Works out what is still to be written, on a thread of its own and at this pace. Nothing is added after it.
    fn prepare(&mut self, _: &Pace) {}
}

/// Of a model that has none.
impl Load for Infallible {
    fn add(&mut self, _: &Event) {
        match *self {}
    }

    fn take_rows(&mut self) -> Vec<(String, CopyBuffer)> {
        match *self {}
    }

    fn row_bytes(&self) -> usize {
        match *self {}
    }

    fn held_bytes(&self) -> usize {
        match *self {}
    }
}

/// Why a load ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// PostgreSQL refused a statement, or was lost.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// What was kept could not be folded, or somebody else holds a partition.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log could not be read on.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What a load has committed.
pub(crate) struct Loaded {
    pub(crate) events: u64,
    pub(crate) aside: u64,
    pub(crate) advances: BTreeMap<i32, Advance>,
}

/// Event ids are hashes already: their first half tells them apart, and where two should share it, the second takes the
/// way of a copy, which looks closer. The bits that say "version 5" are turned to where a table does not look.
#[derive(Default)]
struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, id: u64) {
        self.0 = id.rotate_left(36);
    }
}

/// Everything read so far.
pub(crate) struct Gather<L> {
    load: L,
    seen: HashSet<u64, BuildHasherDefault<First>>,
    kept: Vec<Record>,
    kept_bytes: usize,
    last: BTreeMap<i32, Record>,
    events: u64,
    /// Copies and what cannot be read among them.
    records: u64,
}

impl<L: Load> Gather<L> {
    pub(crate) fn new(load: L) -> Self {
        Self {
            load,
            seen: HashSet::default(),
            kept: Vec::new(),
            kept_bytes: 0,
            last: BTreeMap::new(),
            events: 0,
            records: 0,
        }
    }

    pub(crate) fn add(&mut self, decoded: Vec<Decoded>) {
        self.records += decoded.len() as u64;
        for Decoded { record, content } in decoded {
            match content {
                Content::Event(interaction) if interaction.voids().is_none() && self.is_first(interaction.event_id) => {
                    let Record { partition, offset, .. } = record;
                    let event = Event { partition, offset, value: record.value.clone(), interaction: *interaction };
                    self.load.add(&event);
                    self.events += 1;
                }
                Content::Created => {}
                Content::Event(_) | Content::Broken(_) => {
                    self.kept_bytes += record.size() + size_of::<Record>();
                    self.kept.push(record.clone());
                }
            }
            self.last.insert(record.partition, record);
        }
    }

    fn is_first(&mut self, event_id: uuid::Uuid) -> bool {
        self.seen.insert(event_id.as_u64_pair().0)
    }

    pub(crate) fn take_rows(&mut self) -> Vec<(String, CopyBuffer)> {
        self.load.take_rows()
    }

    fn held_bytes(&self) -> usize {
        self.load.held_bytes() + self.seen.capacity() * SEEN_BYTES + self.kept_bytes
    }
}

/// Rows on their way, or the end.
enum Piece<L> {
    Rows { rows: Vec<(String, CopyBuffer)>, events: u64 },
    End(Box<Gather<L>>),
}

/// Where a load's events come from, and how much of them it may hold.
pub(crate) struct Source {
    pub(crate) feed: Feed,
    /// Says where they end.
    pub(crate) log: Log,
    /// Where each partition begins.
    pub(crate) from: Offsets,
    pub(crate) held_max: usize,
    pub(crate) tenure: Tenure,
    /// Is told how many events have been read.
    pub(crate) status: Status,
}

/// How long the transactions of a load last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// One from the beginning to the end.
    Whole,
    /// Each as long as a step.
    Steps,
}

/// How much a load does at a time.
struct Helping {
    /// Events taken from the feed, and of those that were kept.
    events: usize,
    /// Bytes of rows that go to PostgreSQL at once: each COPY costs something of its own, and waits in memory.
    row_bytes: usize,
}

impl Tenure {
    /// As much as is quickest; beside a live generation, as little as holds nobody up for long.
    fn helping(self) -> Helping {
        match self {
            Self::Whole => Helping { events: 5_000, row_bytes: 4 * 1024 * 1024 },
            Self::Steps => Helping { events: 1_000, row_bytes: STEP_ROW_BYTES },
        }
    }

    /// What begins a step.
    fn begin(self, g: &Generation, settings: &str) -> Option<String> {
        (self == Self::Steps).then(|| format!("BEGIN; SET LOCAL search_path = {}; {settings}", g.schema))
    }

    /// Ends a step, and begins the next.
    async fn step(self, connection: &mut PgConnection, g: &Generation, settings: &str) -> Result<(), sqlx::Error> {
        match self.begin(g, settings) {
            Some(begin) => sqlx::raw_sql(&format!("COMMIT; {begin}")).execute(connection).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// Executes statements, a step each.
    async fn execute(self, connection: &mut PgConnection, g: &Generation, statements: &str) -> Result<(), sqlx::Error> {
        match self.begin(g, SORTING) {
            None => _ = sqlx::raw_sql(statements).execute(connection).await?,
            Some(begin) => {
                let mut cx = BatchTx::of_steps(connection, g.lock_key, Some(begin), Instant::now());
                for statement in statements.split_inclusive(";\n") {
                    sqlx::raw_sql(statement).execute(&mut *cx).await?;
                    cx.step().await?;
                }
            }
        }
        Ok(())
    }
}

/// How far a load goes: to the log's end, about.
struct Goal {
    log: Log,
    from: Offsets,
    /// Where each partition ended when that was last asked.
    ends: Offsets,
    /// Those that had nothing more when they were last read.
    ended: BTreeSet<i32>,
}

impl Goal {
    /// Whether it is reached. The end moves on while it is read for, and where much comes in it is never met: what is left
    /// then is little enough to be folded in batches.
    async fn is_reached(&mut self, last: &BTreeMap<i32, Record>) -> bool {
        let left = |ends: &Offsets| -> i64 {
            let next = |p: &i32, from: &i64| last.get(p).map_or(*from, |record| record.offset + 1);
            let open = self.from.iter().filter(|(p, _)| !self.ended.contains(p));
            // Of a partition without an end nothing is known.
            open.map(|(p, from)| ends.get(p).map_or(i64::MAX, |end| (end - next(p, from)).max(0)))
                .fold(0, i64::saturating_add)
        };
        if self.from.keys().all(|p| self.ended.contains(p)) {
            return true;
        }
        // While Kafka does not answer, reading will tell.
        if self.ends.is_empty() {
            self.ends = self.log.ends().await.unwrap_or_default();
        }
        if left(&self.ends) > 0 {
            return false;
        }
        let Ok(ends) = self.log.ends().await else { return false };
        let is_reached = left(&ends) <= LEFT_EVENTS_MAX;
        self.ends = ends;
        is_reached
    }
}

/// Reads until the log's end is near, or that of memory.
async fn gather<L: Load>(
    Source { mut feed, log, from, held_max, tenure, status }: Source,
    mut gathered: Gather<L>,
    pieces: mpsc::Sender<Result<Piece<L>, ReadError>>,
) {
    let mut goal = Goal { log, from, ends: Offsets::new(), ended: BTreeSet::new() };
    let helping = tenure.helping();
    loop {
        let taken = match feed.take(helping.events).await {
            Ok(taken) => taken,
            Err(error) => {
                // Nobody may be listening any more.
                let _ = pieces.send(Err(error)).await;
                return;
            }
        };
        let began = Instant::now();
        goal.ended.retain(|partition| taken.decoded.iter().all(|d| d.record.partition != *partition));
        goal.ended.extend(taken.at_end);
        gathered.add(taken.decoded);
        let worked = began.elapsed();
        let is_end = gathered.held_bytes() > held_max || goal.is_reached(&gathered.last).await;
        if is_end || gathered.load.row_bytes() >= helping.row_bytes {
            let rows = Piece::Rows { rows: gathered.take_rows(), events: gathered.events };
            if pieces.send(Ok(rows)).await.is_err() {
                return;
            }
        }
        status.change(|s| s.loading_events = Some(gathered.records));
        if tenure == Tenure::Steps {
            background::rest(worked).await;
        }
        if is_end {
            let _ = pieces.send(Ok(Piece::End(Box::new(gathered)))).await;
            return;
        }
    }
}

/// Loads what `source` brings. `None`: somebody else has loaded the generation meanwhile.
pub(crate) async fn load<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    generation: &Generation,
    namespace: &Namespace,
    source: Source,
    load: M::Load,
    held: &Held,
) -> Result<Option<Loaded>, LoadError> {
    let tenure = source.tenure;
    let is_mine = match tenure {
        Tenure::Whole => {
            clear(connection, generation).await?;
            begin(connection, generation).await?
        }
        Tenure::Steps => begin_steps(connection, model, generation).await?,
    };
    if !is_mine {
        return Ok(None);
    }
    reach(Step::LoadBegun);
    let name = model.name();
    tracing::info!(model = name, "loading the log from its beginning");
    let (sender, mut pieces) = mpsc::channel(PIECES_MAX);
    // Ends with this load: the set aborts it when dropped.
    let mut task = tokio::task::JoinSet::new();
    task.spawn(gather(source, Gather::new(load), sender));
    let (began, mut told) = (Instant::now(), Instant::now());
    while let Some(piece) = pieces.recv().await {
        match piece? {
            Piece::Rows { rows, events } => {
                let copying = Instant::now();
                copy(connection, rows).await?;
                tenure.step(connection, generation, "").await?;
                reach(Step::LoadCopied);
                if tenure == Tenure::Steps {
                    // Half as long as others: the next rows are gathered meanwhile.
                    background::rest(copying.elapsed() / 2).await;
                }
                if told.elapsed() > TELL_PAUSE {
                    told = Instant::now();
                    let rate = events as f64 / began.elapsed().as_secs_f64();
                    tracing::info!(model = name, events, a_second = rate.round(), "loading");
                }
            }
            Piece::End(gathered) => {
                let loaded = finish(connection, model, generation, namespace, *gathered, Some(held), tenure).await?;
                if tenure == Tenure::Steps {
                    end_steps(connection, generation).await?;
                }
                let seconds = began.elapsed().as_secs_f64();
                tracing::info!(model = name, events = loaded.events, seconds, "loaded");
                return Ok(Some(loaded));
            }
        }
    }
    Err(ReadError::Fatal("gathering has ended".into()).into())
}

/// Gives back the space of a load that was not committed: its rows are seen by nobody and still fill the tables. While
/// somebody reads them, it is left for the next time.
async fn clear(connection: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN; SET LOCAL lock_timeout = '200ms'").execute(&mut *connection).await?;
    let cleared: Result<(), sqlx::Error> = async {
        let alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
            .bind(g.lock_key)
            .fetch_one(&mut *connection)
            .await?;
        if let Some(tables) = filled_tables(connection, g).await?
            && alone
            && !generation::is_loaded(connection, g).await?
        {
            sqlx::raw_sql(&format!("TRUNCATE {tables}")).execute(&mut *connection).await?;
        }
        Ok(())
    }
    .await;
    let (end, failed) = match cleared {
        Ok(()) => ("COMMIT", None),
        Err(error) if classify(&error) == Class::Conflict => ("ROLLBACK", None),
        Err(error) => ("ROLLBACK", Some(error)),
    };
    sqlx::raw_sql(end).execute(connection).await?;
    failed.map_or(Ok(()), Err)
}

/// The tables of a generation that have ever had a row, as a list in SQL.
async fn filled_tables(connection: &mut PgConnection, g: &Generation) -> Result<Option<String>, sqlx::Error> {
    const FILLED: &str = "SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0";
    sqlx::query_scalar(FILLED).bind(&g.schema).fetch_one(connection).await
}

/// Begins a load of many transactions, with nothing of an earlier one. `false`, and no transaction: the generation is loaded
/// already. Nobody else loads it until [`end_steps`] or the session's end.
async fn begin_steps<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    g: &Generation,
) -> Result<bool, sqlx::Error> {
    sqlx::query("SELECT pg_advisory_lock($1)").bind(g.lock_key).execute(&mut *connection).await?;
    if generation::is_loaded(connection, g).await? {
        end_steps(connection, g).await?;
        return Ok(false);
    }
    empty(connection, model, g).await?;
    sqlx::raw_sql(&each_table(g, UNATTENDED)).execute(&mut *connection).await?;
    let begin = format!("BEGIN; SET LOCAL search_path = {}", g.schema);
    sqlx::raw_sql(&begin).execute(connection).await?;
    Ok(true)
}

/// Lets others fold the generation.
pub(crate) async fn end_steps(connection: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(g.lock_key).execute(connection).await.map(|_| ())
}

/// Removes what a load of many transactions has left: rows, and the indexes that loads make. Waits for those who are looking at
/// a table.
pub(crate) async fn empty<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    g: &Generation,
) -> Result<(), sqlx::Error> {
    loop {
        match try_to_empty(connection, model, g).await {
            Err(error) if classify(&error) == Class::Conflict => {
                sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
                tokio::time::sleep(EMPTY_PAUSE).await;
            }
            emptied => return emptied,
        }
    }
}

async fn try_to_empty<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    g: &Generation,
) -> Result<(), sqlx::Error> {
    const INDEXES: &str = "SELECT c.relname::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1";
    sqlx::raw_sql(&format!("BEGIN; {EMPTY_TIMEOUT}")).execute(&mut *connection).await?;
    if let Some(tables) = filled_tables(connection, g).await? {
        sqlx::raw_sql(&format!("TRUNCATE {tables}")).execute(&mut *connection).await?;
    }
    let indexes: Vec<String> = sqlx::query_scalar(INDEXES).bind(&g.schema).fetch_all(&mut *connection).await?;
    // Others came with the tables.
    let words: Vec<&str> =
        [model.row_indexes_sql(), model.indexes_sql()].iter().flat_map(|sql| sql.split_whitespace()).collect();
    let is_loads = |index: &&String| words.windows(3).any(|words| words == ["INDEX", index.as_str(), "ON"]);
    for index in indexes.iter().filter(is_loads) {
        sqlx::raw_sql(&format!("DROP INDEX {}.{index}", g.schema)).execute(&mut *connection).await?;
    }
    sqlx::raw_sql("COMMIT").execute(connection).await.map(|_| ())
}

/// Begins the transaction of a load. `false`, and no transaction: the generation is loaded already.
pub(crate) async fn begin(connection: &mut PgConnection, g: &Generation) -> Result<bool, sqlx::Error> {
    let begin = format!("BEGIN; SET LOCAL search_path = {}; SELECT pg_advisory_xact_lock({})", g.schema, g.lock_key);
    sqlx::raw_sql(&begin).execute(&mut *connection).await?;
    if generation::is_loaded(connection, g).await? {
        sqlx::raw_sql("ROLLBACK").execute(connection).await?;
        return Ok(false);
    }
    Ok(true)
}

pub(crate) async fn copy(connection: &mut PgConnection, rows: Vec<(String, CopyBuffer)>) -> Result<(), sqlx::Error> {
    for (statement, buffer) in rows {
        copy_in(connection, &statement, buffer).await?;
    }
    Ok(())
}

/// Ends a load: what is derived, the indexes, what was kept, the checkpoints.
pub(crate) async fn finish<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    g: &Generation,
    namespace: &Namespace,
    gathered: Gather<M::Load>,
    held: Option<&Held>,
    tenure: Tenure,
) -> Result<Loaded, LoadError> {
    let Gather { mut load, seen, kept, last, mut events, .. } = gathered;
    drop(seen);
    // Ends with this load, which may be abandoned.
    let wanted = Arc::new(());
    let pace = match tenure {
        Tenure::Whole => Pace::at_once(),
        Tenure::Steps => Pace::with_rests(&wanted),
    };
    let preparing = tokio::task::spawn_blocking(move || {
        load.prepare(&pace);
        pace.rest();
        load
    });
    let prepared = async { preparing.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic())) };
    sqlx::raw_sql(SORTING).execute(&mut *connection).await?;
    let load = match tenure {
        Tenure::Whole => {
            tenure.execute(connection, g, model.row_indexes_sql()).await?;
            prepared.await
        }
        // Both at once would leave others no processor where there are two.
        Tenure::Steps => {
            let load = prepared.await;
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
            // Whoever reads a row first notes that it was committed: for an index all at once, every page read and written.
            // A vacuum rests, and has to come by anyway.
            if let Some(tables) = filled_tables(connection, g).await? {
                vacuum(connection, &tables).await?;
            }
            let begin = tenure.begin(g, SORTING).expect("it is made in steps");
            sqlx::raw_sql(&begin).execute(&mut *connection).await?;
            tenure.execute(connection, g, model.row_indexes_sql()).await?;
            load
        }
    };
    let begin = tenure.begin(g, SORTING);
    model.finish_load(&mut BatchTx::of_steps(connection, g.lock_key, begin, Instant::now()), load).await?;
    tenure.step(connection, g, SORTING).await?;
    tenure.execute(connection, g, model.indexes_sql()).await?;
    let mut folder = Folder::within_transaction(model, g.clone(), *namespace);
    let mut aside = 0;
    for some in kept.chunks(tenure.helping().events) {
        let began = Instant::now();
        let decoded = |record: &Record| Decoded::new(record.clone(), namespace, |brief| model.needs(brief));
        let folded = folder.fold(connection, model, Unit::new(some.iter().map(decoded).collect()), None).await?;
        events += folded.events;
        aside += folded.aside;
        if let Some(begin) = tenure.begin(g, SORTING) {
            BatchTx::of_steps(connection, g.lock_key, Some(begin), began).step().await?;
        }
    }
    // As late as can be: newcomers wait for this row.
    generation::note_loaded(connection, g).await?;
    let advances = unit::advances(last.values());
    if let Some(held) = held
        && !checkpoint::write(connection, g, held, &advances).await?
    {
        return Err(FoldError::Fenced.into());
    }
    reach(Step::LoadBeforeCommit);
    sqlx::raw_sql("COMMIT").execute(connection).await?;
    Ok(Loaded { events, aside, advances })
}

/// How often it is asked whether the other models are loaded.
const ANALYZE_PAUSE: Duration = Duration::from_secs(1);
/// How long that is waited for.
const ANALYZE_WAIT: Duration = Duration::from_mins(10);

/// Before what is left of a load is tried to be settled again.
const SETTLE_PAUSE: Duration = Duration::from_secs(5);
/// The lock of whoever settles, above that of the generation; those between are the model's.
const SETTLE_LOCK: i64 = 15;
/// PostgreSQL's own vacuum would look after each table as its steps are committed, several times and beside work that is not
/// to be held up.
const UNATTENDED: &str = "SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)";
const ATTENDED: &str = "RESET (autovacuum_enabled, toast.autovacuum_enabled)";

/// Alters each table of a generation.
fn each_table(g: &Generation, change: &str) -> String {
    format!(
        "DO $$
         DECLARE
             altered regclass;
         BEGIN
             FOR altered IN SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('{}') AND relkind = 'r'
                 ORDER BY oid LOOP
                 EXECUTE format('ALTER TABLE %s {change}', altered);
             END LOOP;
         END
         $$",
        g.schema
    )
}

/// Whether PostgreSQL's own vacuum is kept from tables of a generation: [`settle`] is due once it is loaded.
pub(crate) async fn is_unattended(connection: &mut PgConnection, g: &Generation) -> Result<bool, sqlx::Error> {
    const UNATTENDED: &str = "SELECT EXISTS (
        SELECT FROM pg_class WHERE relnamespace = to_regnamespace($1) AND 'autovacuum_enabled=off' = ANY (reloptions))";
    sqlx::query_scalar(UNATTENDED).bind(&g.schema).fetch_one(connection).await
}

/// Does for the tables of a generation that was loaded in steps what PostgreSQL's own vacuum would do, in a session that gives
/// way, and leaves them to that vacuum from then on. Once it is read, they are left to it at once. What fails is tried again, and
/// what is not done when the process ends is done by the next one.
pub(crate) async fn settle(database_url: String, g: Generation, is_urgent: bool) {
    let mut told = false;
    loop {
        match try_to_settle(&database_url, &g, is_urgent).await {
            Ok(true) => return,
            // Another worker is at it, or was.
            Ok(false) => {}
            Err(error) if !told => {
                told = true;
                tracing::warn!(%error, schema = g.schema, "the tables of a load are not vacuumed yet");
            }
            Err(_) => {}
        }
        tokio::time::sleep(SETTLE_PAUSE).await;
    }
}

/// Whether there is nothing left to do.
async fn try_to_settle(database_url: &str, g: &Generation, is_urgent: bool) -> Result<bool, sqlx::Error> {
    let connect = async {
        let mut connection = database::connect(database_url, &format!("rapport {} vacuum", g.model)).await?;
        let lock = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(g.lock_key + SETTLE_LOCK);
        let is_mine: bool = lock.fetch_one(&mut connection).await?;
        Ok::<_, sqlx::Error>((is_mine, is_unattended(&mut connection, g).await?, connection))
    };
    let Ok(connected) = tokio::time::timeout(SETTLE_PAUSE, connect).await else { return Ok(false) };
    let (is_mine, is_unattended, mut connection) = connected?;
    if !is_unattended || !is_mine {
        return Ok(!is_unattended);
    }
    let attended = each_table(g, ATTENDED);
    let tables = filled_tables(&mut connection, g).await?;
    let began = Instant::now();
    if is_urgent {
        sqlx::query(&attended).persistent(false).execute(&mut connection).await?;
    } else {
        background::give_way(&mut connection).await?;
    }
    if let Some(tables) = tables {
        // First what is waited for.
        let analyze = format!("ANALYZE {tables}");
        sqlx::query(&analyze).persistent(false).execute(&mut connection).await?;
        if !is_urgent {
            vacuum(&mut connection, &tables).await?;
        }
    }
    if !is_urgent {
        sqlx::query(&attended).persistent(false).execute(&mut connection).await?;
    }
    tracing::info!(model = g.model, seconds = began.elapsed().as_secs_f64(), "vacuumed and analyzed");
    Ok(true)
}

/// At the pace of PostgreSQL's own vacuum.
async fn vacuum(connection: &mut PgConnection, tables: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SET vacuum_cost_delay = '2ms'").execute(&mut *connection).await?;
    // A process more would not give way.
    let vacuum = format!("VACUUM (PARALLEL 0) {tables}");
    sqlx::query(&vacuum).persistent(false).execute(connection).await.map(|_| ())
}

/// Tells the planner what the tables of a generation hold. Until PostgreSQL's own vacuum comes by, which is a minute later,
/// statements are planned for tables that it has never looked at, and some of them then read a whole one. On a connection
/// of its own, so that folding goes on, and once no other live one is being loaded: until then nobody reads all of them, and
/// the processors have better things to do. One that fails is left to that vacuum.
pub(crate) async fn analyze(database_url: String, g: Generation) {
    const LOADING: &str = "SELECT EXISTS (
        SELECT FROM backbone.generations AS g JOIN backbone.leases AS l USING (model, generation)
        WHERE g.state = 'live' AND NOT g.loaded AND l.expires_at > clock_timestamp())";
    let analyzed = async {
        let mut connection = database::connect(&database_url, &format!("rapport {} analyze", g.model)).await?;
        let began = Instant::now();
        loop {
            let is_loading: bool = sqlx::query_scalar(LOADING).fetch_one(&mut connection).await?;
            if !is_loading || began.elapsed() > ANALYZE_WAIT {
                break;
            }
            tokio::time::sleep(ANALYZE_PAUSE).await;
        }
        if let Some(tables) = filled_tables(&mut connection, &g).await? {
            let began = Instant::now();
            let analyze = format!("ANALYZE {tables}");
            sqlx::query(&analyze).persistent(false).execute(&mut connection).await?;
            tracing::info!(model = g.model, seconds = began.elapsed().as_secs_f64(), "analyzed");
        }
        Ok::<(), sqlx::Error>(())
    };
    if let Err(error) = analyzed.await {
        tracing::warn!(%error, schema = g.schema, "the tables of a load were not analyzed");
    }
}
