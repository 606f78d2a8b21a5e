//! What stands in the live tables about one entity, or one customer, held against what the log says of it, and put right.
//!
//! The records that say something of it come from the log ([`Source`]), never from the tables. They are folded on their own, by
//! the model's own code, into tables that are made for this and thrown away ([`crate::scratch`]); a model says which of its
//! tables' rows tell of which names ([`Repairable`]). Rows that differ are replaced by those that were folded:
//!
//! ```text
//! names -> the tables know more names -> the log is read for all of them -> ... until nothing is added
//!       -> one transaction: alone in the generation -> records before its checkpoints -> folded apart
//!          -> rows held against each other -> replaced -> held against each other once more -> COMMIT
//! ```
//!
//! Nothing of the generation moves meanwhile, so that no event is lost or counts twice. A look alone ([`Repair::is_trial`])
//! takes a snapshot instead and makes nobody wait. What cannot be put right so is refused, and left as it was.

mod bounded;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;

use domain::position::Offsets;
use domain::{Entity, Interaction};
use event_log::{Log, Record};
use serde_json::{Map, Value};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

pub use bounded::{finds, parts};

use crate::compare::{Counts, Difference, PLAN_AS_USUAL};
use crate::digest;
use crate::generation::{self, Generation, GenerationError};
use crate::model::ReadModel;
use crate::positions;
use crate::scratch::{Scratch, ScratchError};

/// Below all keys that generations have, and beside those of the past.
const SCRATCH_LOCK_KEY: i64 = -77_000;

/// What is looked at: whatever says something of one of these belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Events, each with all of its copies and voids.
    pub events: BTreeSet<Uuid>,
    /// Entities.
    pub entities: BTreeSet<Entity>,
    /// Subjects.
    pub subjects: BTreeSet<Uuid>,
    /// Identifiers that link, in normal form.
    pub identifiers: BTreeSet<String>,
    /// Those of the identifiers that are hubs, or that the log has not been asked about yet: nothing is known by their neighbours.
    pub unfollowed: BTreeSet<String>,
    /// What joins messages to threads.
    pub threads: BTreeSet<String>,
}

impl Names {
    /// Whether `other` has nothing that is not here.
    pub fn covers(&self, other: &Self) -> bool {
        other.events.is_subset(&self.events)
            && other.entities.is_subset(&self.entities)
            && other.subjects.is_subset(&self.subjects)
            && other.identifiers.is_subset(&self.identifiers)
            && other.threads.is_subset(&self.threads)
    }

    /// Adds all that `other` has.
    pub fn add(&mut self, other: Self) {
        self.events.extend(other.events);
        self.entities.extend(other.entities);
        self.subjects.extend(other.subjects);
        self.identifiers.extend(other.identifiers);
        self.threads.extend(other.threads);
    }
}

/// What tables know of names.
#[derive(Debug, Default)]
pub struct Stored {
    /// More names: rows stand there that belong to what is looked at.
    pub names: Names,
    /// Which entities a row of an event says it names. Where the event does not, the row is wrong, and so may be theirs.
    pub said: Vec<(Uuid, Entity)>,
}

/// What a statement of [`Find`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Event ids.
    Events,
    /// Kinds and keys of entities.
    Entities,
    /// Ids of subjects.
    Subjects,
    /// Identifiers.
    Identifiers,
    /// What joins messages.
    Threads,
    /// Event ids, kinds and keys of entities: [`Stored::said`].
    Said,
}

/// A statement that finds more names in a model's tables. `{schema}` stands for the tables' schema; the names that are known stand
/// in `repair_events (event_id)`, `repair_entities (kind, key, entity_id)`, `repair_subjects (subject_id)`,
/// `repair_identifiers (identifier, followed)`, `repair_threads (node)`; `repair_parties (party)` has the ids of subjects and
/// entities.
#[derive(Clone, Debug)]
pub struct Find {
    /// What it gives.
    pub what: What,
    /// The statement.
    pub sql: String,
}

/// Rows of a model's tables that tell of the names, however they are told apart from others.
#[derive(Clone, Debug)]
pub struct Part {
    /// The table's name.
    pub table: &'static str,
    /// The columns that name a row.
    pub key: &'static [&'static str],
    /// A SELECT of the rows, `{schema}` for the schema of the live tables or of those that were folded apart.
    pub rows: String,
    /// The event behind a row `q` of them, as an expression of type uuid.
    pub set_by: String,
    /// Rows that were not folded are left: which there are depends on how events arrived, and more do no harm.
    pub keeps_more: bool,
    /// How rows are replaced.
    pub replaced: Replaced,
}

/// How the rows of a part are replaced.
#[derive(Clone, Debug)]
pub enum Replaced {
    /// Those that this condition on the table `r` holds for go; those that were folded come.
    Where(String),
    /// With others, by [`Repairable::together`].
    Together,
}

impl Part {
    /// The rows of a table that a condition on `r` holds for.
    pub fn of(table: &'static str, key: &'static [&'static str], condition: &str, set_by: &str) -> Self {
        Self {
            table,
            key,
            rows: format!("SELECT r.* FROM {{schema}}.{table} AS r WHERE {condition}"),
            set_by: set_by.to_owned(),
            keeps_more: false,
            replaced: Replaced::Where(condition.to_owned()),
        }
    }

    /// The same, and rows that were not folded are left.
    #[must_use]
    pub fn keeping_more(self) -> Self {
        Self { keeps_more: true, ..self }
    }
}

/// A read model that says which rows tell of what.
pub trait Repairable: ReadModel {
    /// How its tables are asked for more names.
    fn finds(&self) -> Vec<Find>;

    /// Statements run once the names are complete and the records are folded apart, before rows are held against each other:
    /// `{live}`, `{scratch}`.
    fn prepare(&self) -> Vec<String> {
        Vec::new()
    }

    /// All rows of all of its tables that tell of the names.
    fn parts(&self) -> Vec<Part>;

    /// Replaces the rows of all parts that are replaced together: they name each other by numbers that differ from one fold to
    /// another. `{live}`, `{scratch}`.
    fn together(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The log, as far as it says something of the names.
pub trait Source: Send {
    /// Why it could not be read.
    type Error: Send;

    /// All records before `next` that say something of the names. `None`: they lead to names that earlier ones have not been
    /// looked at for.
    fn until(&mut self, next: &Offsets) -> impl Future<Output = Result<Option<Vec<Record>>, Self::Error>> + Send;

    /// The names, and whether these names of a table's are all among them, or lead nowhere.
    fn takes(&mut self, stored: Stored) -> bool;

    /// The names as they are now.
    fn names(&self) -> &Names;
}

/// Why nothing was held against anything.
#[derive(Debug, thiserror::Error)]
pub enum RepairError<E> {
    /// There is no live generation yet, it was folded by another version or with other settings, or it belongs to another log.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The model has no live generation.
    #[error("{0} has no live generation yet; is its projector running?")]
    NotLive(String),
    /// Another generation became the live one meanwhile.
    #[error("another generation of {0} became the live one meanwhile; try again")]
    Swapped(String),
    /// The records could not be folded.
    #[error("the records could not be folded: {0}")]
    Fold(String),
    /// Rows still differ once they have been replaced: more is wrong than what belongs to it.
    #[error(
        "{rows} rows of {model} would still differ, so nothing was changed there: more is wrong than what belongs to this; \
         `rapport replay {model}` folds all of it anew"
    )]
    Unsound {
        /// The model.
        model: String,
        /// How many rows.
        rows: usize,
    },
    /// The log could not be read.
    #[error("the log could not be read")]
    Source(E),
    /// PostgreSQL refused a statement.
    #[error("the rows could not be held against the log")]
    Database(#[from] sqlx::Error),
}

/// How one model's rows compare with the log.
#[derive(Clone, Debug)]
pub struct Held {
    /// The live generation.
    pub generation: Generation,
    /// Where it stood.
    pub next: Offsets,
    /// Of each table that was looked at: how many rows differ.
    pub tables: Vec<(&'static str, Counts)>,
    /// The rows that differ; `live` as they stood, `other` as the log has them.
    pub differences: Vec<Difference>,
}

/// What became of an attempt.
#[derive(Debug)]
pub enum Looked {
    /// The rows were held against the log, and put right unless this was a trial.
    Held(Held),
    /// More names came up: the log has to be read for those.
    More,
}

/// One look at one model, or its repair.
pub struct Repair<'a, M> {
    /// The model.
    pub model: &'a M,
    /// The log that its tables were folded from.
    pub log: &'a Log,
    /// Only looks, in a snapshot.
    pub is_trial: bool,
}

impl<M: Repairable> Repair<'_, M> {
    /// Asks the live tables for more names.
    ///
    /// # Errors
    /// There is no live generation that this version's folds have made, or PostgreSQL refuses a statement.
    pub async fn stored<E>(&self, connection: &mut PgConnection, names: &Names) -> Result<Stored, RepairError<E>> {
        let live = self.live(connection).await?;
        let mut tx = connection.begin().await?;
        name_tables(&mut tx, self.log, names).await?;
        let stored = find(&mut tx, self.model, &live).await;
        let rolled_back = tx.rollback().await;
        let stored = stored?;
        rolled_back?;
        Ok(stored)
    }

    /// Holds the rows of the live generation against what the log says, and replaces those that differ.
    ///
    /// # Errors
    /// See [`RepairError`]; then everything is as it was.
    pub async fn run<S: Source>(
        &self,
        connection: &mut PgConnection,
        source: &mut S,
    ) -> Result<Looked, RepairError<S::Error>> {
        let live = self.live(connection).await?;
        let mut tx = connection.begin().await?;
        let looked = self.within(&mut tx, &live, source).await;
        let is_done = matches!(&looked, Ok(Looked::Held(held)) if !self.is_trial && !held.differences.is_empty());
        if is_done {
            tx.commit().await?;
            return looked;
        }
        // A lost connection has rolled back by itself; what it was lost over says more.
        let rolled_back = tx.rollback().await;
        let looked = looked?;
        rolled_back?;
        Ok(looked)
    }

    /// The live generation, if these folds have made it.
    async fn live<E>(&self, connection: &mut PgConnection) -> Result<Generation, RepairError<E>> {
        let live = generation::find_live(connection, self.model.name()).await?;
        let live = live.ok_or_else(|| RepairError::NotLive(self.model.name().to_owned()))?;
        let wanted = generation::definition(self.model);
        if live.definition != wanted {
            return Err(generation::changed(&live, &wanted).into());
        }
        match positions::log_id(connection).await? {
            Some(found) if found != self.log.log_id() => {
                Err(GenerationError::OtherLog { found, wanted: self.log.log_id() }.into())
            }
            _ => Ok(live),
        }
    }

    async fn within<S: Source>(
        &self,
        tx: &mut PgConnection,
        live: &Generation,
        source: &mut S,
    ) -> Result<Looked, RepairError<S::Error>> {
        if self.is_trial {
            sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *tx).await?;
        }
        // Until the end no other generation becomes the live one, and nobody folds into this one.
        sqlx::query("LOCK TABLE backbone.swaps IN ACCESS SHARE MODE").execute(&mut *tx).await?;
        if !self.is_trial {
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(live.lock_key).execute(&mut *tx).await?;
        }
        if generation::find_live(tx, &live.model).await?.as_ref() != Some(live) {
            return Err(RepairError::Swapped(live.model.clone()));
        }
        let next = generation::checkpoints(tx, live).await?;
        let Some(records) = source.until(&next).await.map_err(RepairError::Source)? else { return Ok(Looked::More) };
        let letters = letters(tx, live).await?;
        let is_folded = |r: &&Record| {
            next.get(&r.partition).is_some_and(|next| r.offset < *next) && !letters.contains(&(r.partition, r.offset))
        };
        let records: Vec<Record> = records.iter().filter(is_folded).cloned().collect();
        loop {
            let before = source.names().clone();
            name_tables(tx, self.log, &before).await?;
            let stored = find(tx, self.model, live).await?;
            if !source.takes(stored) {
                return Ok(Looked::More);
            }
            if before.covers(source.names()) {
                break;
            }
        }
        let scratch = self.scratch(live);
        scratch.create(tx, self.model).await?;
        scratch.fold(tx, self.model, self.log.namespace(), &records).await.map_err(|error| match error {
            ScratchError::Database(error) => RepairError::Database(error),
            ScratchError::Fold(reason) => RepairError::Fold(reason),
        })?;
        sqlx::raw_sql(PLAN_AS_USUAL).execute(&mut *tx).await?;
        sqlx::raw_sql(digest::FIXED).execute(&mut *tx).await?;
        let pair = Pair { model: self.model, live, scratch: &scratch, places: places(&records) };
        pair.prepare(tx).await?;
        let (tables, differences) = pair.compare(tx).await?;
        if !self.is_trial && !differences.is_empty() {
            pair.replace(tx, &differences).await?;
            pair.prepare(tx).await?;
            let (_, left) = pair.compare(tx).await?;
            if !left.is_empty() {
                return Err(RepairError::Unsound { model: live.model.clone(), rows: left.len() });
            }
            let (tables, views) = (scratch.schema(), scratch.views());
            let drop = format!(
                "SET LOCAL client_min_messages = warning; DROP SCHEMA {views} CASCADE; DROP SCHEMA {tables} CASCADE"
            );
            sqlx::raw_sql(&drop).execute(&mut *tx).await?;
        }
        Ok(Looked::Held(Held { generation: live.clone(), next, tables, differences }))
    }

    fn scratch(&self, live: &Generation) -> Scratch {
        let name = format!("repair_{}", &Uuid::from_u128(rand::random()).simple().to_string()[..12]);
        Scratch::of(self.model, &name, SCRATCH_LOCK_KEY + 16 * i64::from(live.number % 16))
    }
}

/// Where dead letters of a generation stand: they are not folded there.
async fn letters(tx: &mut PgConnection, live: &Generation) -> Result<BTreeSet<(i32, i64)>, sqlx::Error> {
    let letters = "SELECT partition, log_offset FROM backbone.dead_letters WHERE model = $1 AND generation = $2";
    let rows: Vec<(i32, i64)> = sqlx::query_as(letters).bind(&live.model).bind(live.number).fetch_all(tx).await?;
    Ok(rows.into_iter().collect())
}

/// Writes the names where statements find them, until the end of the transaction.
async fn name_tables(tx: &mut PgConnection, log: &Log, names: &Names) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS pg_temp.repair_events, pg_temp.repair_entities, pg_temp.repair_subjects,
             pg_temp.repair_identifiers, pg_temp.repair_threads, pg_temp.repair_parties;
         CREATE TEMP TABLE repair_events (event_id uuid PRIMARY KEY) ON COMMIT DROP;
         CREATE TEMP TABLE repair_entities (kind text, key text, entity_id uuid) ON COMMIT DROP;
         CREATE TEMP TABLE repair_subjects (subject_id uuid PRIMARY KEY) ON COMMIT DROP;
         CREATE TEMP TABLE repair_identifiers (identifier text PRIMARY KEY, followed boolean) ON COMMIT DROP;
         CREATE TEMP TABLE repair_threads (node text COLLATE \"C\" PRIMARY KEY) ON COMMIT DROP;
         CREATE TEMP TABLE repair_parties (party uuid PRIMARY KEY) ON COMMIT DROP",
    )
    .execute(&mut *tx)
    .await?;
    let events: Vec<Uuid> = names.events.iter().copied().collect();
    sqlx::query("INSERT INTO pg_temp.repair_events SELECT unnest($1::uuid[])").bind(events).execute(&mut *tx).await?;
    let (kinds, keys): (Vec<&str>, Vec<&str>) = names.entities.iter().map(|e| (e.kind, e.key.as_str())).unzip();
    let ids: Vec<Uuid> = names.entities.iter().map(|e| log.namespace().entity_id(e.kind, &e.key)).collect();
    sqlx::query("INSERT INTO pg_temp.repair_entities SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[])")
        .bind(kinds)
        .bind(keys)
        .bind(ids)
        .execute(&mut *tx)
        .await?;
    let subjects: Vec<Uuid> = names.subjects.iter().copied().collect();
    sqlx::query("INSERT INTO pg_temp.repair_subjects SELECT unnest($1::uuid[])")
        .bind(subjects)
        .execute(&mut *tx)
        .await?;
    let followed: Vec<bool> = names.identifiers.iter().map(|i| !names.unfollowed.contains(i)).collect();
    sqlx::query("INSERT INTO pg_temp.repair_identifiers SELECT * FROM unnest($1::text[], $2::bool[])")
        .bind(names.identifiers.iter().map(String::as_str).collect::<Vec<_>>())
        .bind(followed)
        .execute(&mut *tx)
        .await?;
    let threads: Vec<&str> = names.threads.iter().map(String::as_str).collect();
    sqlx::query("INSERT INTO pg_temp.repair_threads SELECT unnest($1::text[])").bind(threads).execute(&mut *tx).await?;
    sqlx::raw_sql(
        "INSERT INTO pg_temp.repair_parties
             SELECT subject_id FROM pg_temp.repair_subjects UNION SELECT entity_id FROM pg_temp.repair_entities;
         ANALYZE pg_temp.repair_events; ANALYZE pg_temp.repair_entities; ANALYZE pg_temp.repair_subjects;
         ANALYZE pg_temp.repair_identifiers; ANALYZE pg_temp.repair_threads; ANALYZE pg_temp.repair_parties",
    )
    .execute(tx)
    .await?;
    Ok(())
}

async fn find<M: Repairable>(tx: &mut PgConnection, model: &M, live: &Generation) -> Result<Stored, sqlx::Error> {
    let mut stored = Stored::default();
    for Find { what, sql } in model.finds() {
        let sql = sql.replace("{schema}", &live.schema);
        let names = &mut stored.names;
        match what {
            What::Events => names.events.extend(ids(tx, &sql).await?),
            What::Subjects => names.subjects.extend(ids(tx, &sql).await?),
            What::Identifiers => names.identifiers.extend(texts(tx, &sql).await?),
            What::Threads => names.threads.extend(texts(tx, &sql).await?),
            What::Entities => {
                let rows: Vec<(String, String)> = sqlx::query_as(&sql).persistent(false).fetch_all(&mut *tx).await?;
                names.entities.extend(rows.into_iter().filter_map(|(kind, key)| entity(&kind, key)));
            }
            What::Said => {
                let rows: Vec<(Uuid, String, String)> =
                    sqlx::query_as(&sql).persistent(false).fetch_all(&mut *tx).await?;
                let said = rows.into_iter().filter_map(|(event, kind, key)| Some((event, entity(&kind, key)?)));
                stored.said.extend(said);
            }
        }
    }
    Ok(stored)
}

async fn ids(tx: &mut PgConnection, sql: &str) -> Result<Vec<Uuid>, sqlx::Error> {
    let rows: Vec<Option<Uuid>> = sqlx::query_scalar(sql).persistent(false).fetch_all(tx).await?;
    Ok(rows.into_iter().flatten().collect())
}

async fn texts(tx: &mut PgConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let rows: Vec<Option<String>> = sqlx::query_scalar(sql).persistent(false).fetch_all(tx).await?;
    Ok(rows.into_iter().flatten().collect())
}

/// An entity of a kind that events can name; what was written by hand may have any other.
pub fn entity(kind: &str, key: String) -> Option<Entity> {
    let kinds = domain::interaction::ENTITY_KINDS.iter().chain([&domain::interaction::SESSION]);
    kinds.copied().find(|known| *known == kind).map(|kind| Entity { kind, key })
}

/// Where each record stands, and which event, received when, it is.
type Places = HashMap<(i64, i64), (Uuid, i64)>;

fn places(records: &[Record]) -> Places {
    let place = |r: &Record| {
        let wire = <rapport_proto::v1::Interaction as prost::Message>::decode(r.value.clone()).ok()?;
        let event = domain::ids::event_id(wire.source.as_deref()?, wire.id.as_deref()?);
        Some(((i64::from(r.partition), r.offset), (event, r.received_at)))
    };
    records.iter().filter_map(place).collect()
}

/// Live tables and tables that were folded apart.
struct Pair<'a, M> {
    model: &'a M,
    live: &'a Generation,
    scratch: &'a Scratch,
    places: Places,
}

/// A row: as text, and the event behind it.
type Row = (String, Option<Uuid>);

impl<M: Repairable> Pair<'_, M> {
    fn filled(&self, sql: &str) -> String {
        sql.replace("{live}", &self.live.schema).replace("{scratch}", self.scratch.schema())
    }

    async fn prepare(&self, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
        for statement in self.model.prepare() {
            sqlx::raw_sql(&self.filled(&statement)).execute(&mut *tx).await?;
        }
        Ok(())
    }

    async fn compare(
        &self,
        tx: &mut PgConnection,
    ) -> Result<(Vec<(&'static str, Counts)>, Vec<Difference>), sqlx::Error> {
        let (mut tables, mut differences) = (Vec::new(), Vec::new());
        for part in self.model.parts() {
            let live = self.rows(tx, &part, &self.live.schema).await?;
            let other = self.rows(tx, &part, self.scratch.schema()).await?;
            let found = self.differences(&part, live, other)?;
            let mut counts = Counts::default();
            for difference in &found {
                match (&difference.live, &difference.other) {
                    (None, _) => counts.added += 1,
                    (_, None) => counts.removed += 1,
                    _ => counts.changed += 1,
                }
            }
            tables.push((part.table, counts));
            differences.extend(found);
        }
        Ok((tables, differences))
    }

    async fn rows(&self, tx: &mut PgConnection, part: &Part, schema: &str) -> Result<Vec<Row>, sqlx::Error> {
        let rows = part.rows.replace("{schema}", schema);
        let sql = format!("SELECT to_json(q)::text, ({})::uuid FROM ({rows}) AS q", part.set_by);
        let sql = self.filled(&sql.replace("{schema}", schema));
        sqlx::query_as(&sql).persistent(false).fetch_all(tx).await
    }

    fn differences(&self, part: &Part, live: Vec<Row>, other: Vec<Row>) -> Result<Vec<Difference>, sqlx::Error> {
        // Equal rows are equal texts, and most are: only the others are looked into.
        let mut surplus: HashMap<&str, i64> = HashMap::new();
        live.iter().for_each(|(text, _)| *surplus.entry(text).or_default() += 1);
        other.iter().for_each(|(text, _)| *surplus.entry(text).or_default() -= 1);
        let mut keyed: BTreeMap<String, (Vec<Parsed>, Vec<Parsed>)> = BTreeMap::new();
        for (is_live, rows) in [(true, &live), (false, &other)] {
            for (text, event) in rows.iter().filter(|(text, _)| surplus.get(text.as_str()) != Some(&0)) {
                let row: Map<String, Value> = serde_json::from_str(text).map_err(|e| sqlx::Error::Decode(e.into()))?;
                let key: Vec<&Value> = part.key.iter().filter_map(|column| row.get(*column)).collect();
                let both = keyed.entry(serde_json::to_string(&key).unwrap_or_default()).or_default();
                let side = if is_live { &mut both.0 } else { &mut both.1 };
                side.push((row, *event));
            }
        }
        let mut differences = Vec::new();
        for (live, other) in keyed.into_values() {
            let (mut live, mut other) = (live.into_iter(), other.into_iter());
            loop {
                let (live, other) = (live.next(), other.next());
                if live.is_none() && other.is_none() {
                    break;
                }
                differences.extend(self.difference(part, live, other));
            }
        }
        Ok(differences)
    }

    fn difference(&self, part: &Part, live: Option<Parsed>, other: Option<Parsed>) -> Option<Difference> {
        if other.is_none() && part.keeps_more {
            return None;
        }
        let events = [&live, &other].into_iter().flatten().filter_map(|(_, event)| *event);
        let events: Vec<Uuid> = events.collect::<BTreeSet<_>>().into_iter().collect();
        let (mut live, mut other) = (live.map(|(row, _)| row), other.map(|(row, _)| row));
        let some = live.as_ref().or(other.as_ref())?;
        let key: Map<String, Value> =
            part.key.iter().filter_map(|c| Some(((*c).to_owned(), some.get(*c)?.clone()))).collect();
        if let (Some(live), Some(other)) = (&mut live, &mut other) {
            if self.is_another_record(live, other) {
                ["partition", "log_offset"].iter().for_each(|c| drop((live.remove(*c), other.remove(*c))));
            }
            let same: Vec<String> =
                live.iter().filter(|(c, v)| other.get(*c) == Some(*v)).map(|(c, _)| c.clone()).collect();
            same.iter().for_each(|c| drop((live.remove(c), other.remove(c))));
            if live.is_empty() && other.is_empty() {
                return None;
            }
        }
        Some(Difference { view: part.table.to_owned(), key, live, other, events })
    }

    /// Whether both rows are of one event, and stand for two records of it that are equal: either may be the one that counts.
    fn is_another_record(&self, live: &Map<String, Value>, other: &Map<String, Value>) -> bool {
        let at = |row: &Map<String, Value>| {
            let place = (row.get("partition")?.as_i64()?, row.get("log_offset")?.as_i64()?);
            self.places.get(&place).copied()
        };
        at(live).is_some_and(|record| Some(record) == at(other))
    }

    /// Replaces the rows of the parts that differ.
    async fn replace(&self, tx: &mut PgConnection, differences: &[Difference]) -> Result<(), sqlx::Error> {
        let mut is_together = false;
        for part in self.model.parts() {
            if !differences.iter().any(|d| d.view == part.table) {
                continue;
            }
            let Replaced::Where(condition) = &part.replaced else {
                is_together = true;
                continue;
            };
            let (table, live, scratch) = (part.table, &self.live.schema, self.scratch.schema());
            let columns = digest::columns(tx, live, table, &[]).await?;
            let columns: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
            let columns = columns.join(", ");
            if !part.keeps_more {
                let delete = self.filled(&format!("DELETE FROM {live}.{table} AS r WHERE {condition}"));
                sqlx::query(&delete).persistent(false).execute(&mut *tx).await?;
            }
            let insert = self.filled(&format!(
                "INSERT INTO {live}.{table} ({columns}) SELECT {columns} FROM {scratch}.{table} AS r WHERE {condition}
                 ON CONFLICT DO NOTHING"
            ));
            sqlx::query(&insert).persistent(false).execute(&mut *tx).await?;
        }
        if is_together {
            for statement in self.model.together() {
                sqlx::raw_sql(&self.filled(&statement)).execute(&mut *tx).await?;
            }
        }
        Ok(())
    }
}

/// A row that was looked into, and the event behind it.
type Parsed = (Map<String, Value>, Option<Uuid>);

/// What an event names that a read model knows it by, beside what [`Interaction`] holds.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Which event.
    pub event_id: Uuid,
    /// Which copy: when it was received, and its hash.
    pub copy: (i64, [u8; 32]),
    /// The event that it takes back.
    pub voids: Option<Uuid>,
    /// The subject that it is about.
    pub own: Option<Uuid>,
    /// All subjects that it names, each with its identifiers.
    pub named: Vec<(Uuid, Vec<String>)>,
    /// Both sides of an explicit link.
    pub link: Option<(String, String)>,
    /// The entities that it names.
    pub entities: Vec<Entity>,
    /// What joins it to a thread.
    pub threads: Vec<String>,
}

impl Said {
    /// What any event says; subjects, links and threads are for the models to add.
    pub fn of(interaction: &Interaction) -> Self {
        Self {
            event_id: interaction.event_id,
            copy: interaction.copy_order(),
            voids: interaction.voids(),
            own: interaction.subject.as_ref().map(|subject| subject.id),
            entities: interaction.entities.clone(),
            ..Self::default()
        }
    }
}
