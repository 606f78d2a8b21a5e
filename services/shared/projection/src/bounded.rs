//! Bounded entities (an order, a case, a call): their facts are kept, and their rows are derived again from those facts,
//! in order, whenever one comes.
//!
//! The path of one event, in the transaction of its batch:
//!
//! ```text
//! entities that the events name, locked in key order -> earlier facts read -> facts written
//!   -> fold(earlier), fold(all) -> what differs is replaced
//! ```
//!
//! A model's schema has, beside its own tables:
//!
//! ```sql
//! CREATE TABLE entities (kind text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL); -- unique together
//! CREATE TABLE facts (
//!     event_id uuid NOT NULL, -- unique
//!     received_at bigint NOT NULL, hash bytea NOT NULL, voided boolean NOT NULL,
//!     stamp bytea, subject_id uuid, partition integer, log_offset bigint, value bytea, correlated text COLLATE "C",
//!     order_id text COLLATE "C" -- one such column for each kind of entity, and an index (order_id, stamp) on it
//! );
//! ```
//!
//! and `voids` (see [`crate::facts`]). A model that is loaded ([`Facts`]) has the indexes of `facts` in its
//! `row_indexes_sql`, those of `entities` and of what is derived in its `indexes_sql`. `correlated` is `kind:key` of a second
//! entity that an event names by its `correlationid`. An event that names no entity of the model has a row too, with NULL from `stamp` on: a copy of it that
//! does may come, or have come, and only one of the two counts.

mod load;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;

use domain::{Brief, Entity, Stamp, owner::owner};
use futures::TryStreamExt;
use prost::Message;
use rapport_proto::v1;
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

pub use load::{Facts, finish_load};

use crate::{
    batch::Batch,
    copy::{CopyBuffer, copy_in},
    facts,
    failpoint::{Step, reach},
    model::{ApplyError, BatchTx, Event, Mode},
};

/// This many facts of an entity count, the first in order; an entity with more is flagged. Its owner alone is looked for
/// among all of them.
pub const FACTS_MAX: usize = 10_000;
/// Facts are read back for this many entities at a time, so that sorting them stays in memory.
const ENTITIES_READ_MAX: usize = 500;
/// PostgreSQL's code for a unique violation.
const UNIQUE_VIOLATION: &str = "23505";

/// A kind of entity and the column of `facts` that holds its key.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// `order`, `case`, `call`.
    pub kind: &'static str,
    /// `order_id`, `case_id`, `call_id`.
    pub column: &'static str,
}

/// One event as a fold sees it. Folds get the facts of an entity in the order of their stamps, each once, none voided.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// Its place in the order of facts.
    pub stamp: &'a Stamp,
    /// The subject it names.
    pub subject_id: Option<Uuid>,
    /// What was published.
    pub wire: &'a v1::Interaction,
}

impl Fact<'_> {
    /// When it happened, microseconds UTC.
    pub fn occurred_at(&self) -> i64 {
        self.stamp.occurred_at()
    }

    /// Which event it is.
    pub fn event_id(&self) -> Uuid {
        self.stamp.event_id()
    }
}

/// What a model of bounded entities adds to its facts: pure folds, and how their rows are written.
pub trait Bounded: Send + Sync {
    /// The kinds of entities it keeps.
    const KINDS: &'static [Kind];

    /// The rows of one entity; its default has none.
    type Rows: Default + Send + Sync;

    /// Folds the facts of one entity. `owner`: the subject of the first identified one, also of those that do not count.
    /// `capped`: there are more than [`Bounded::facts_max`], which do not count.
    fn derive(&self, entity: &Entity, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> Self::Rows;

    /// Writes what has changed, table by table with [`replace`].
    fn write(
        &self,
        connection: &mut PgConnection,
        changes: &[Change<Self::Rows>],
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// How many facts of an entity count. A model that lowers it says so in its settings.
    fn facts_max(&self) -> usize {
        FACTS_MAX
    }
}

/// The rows of an entity before and after a batch.
#[derive(Debug)]
pub struct Change<R> {
    /// Whose rows.
    pub entity: Entity,
    /// What stands in the tables; `None` where that is not known, and everything is to be replaced.
    pub before: Option<R>,
    /// What is to stand there.
    pub after: R,
}

/// A derived table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The kind of entity whose rows it has.
    pub kind: &'static str,
    /// The column that holds the entity's key.
    pub key: &'static str,
    /// All its columns, in the order in which rows are encoded.
    pub columns: &'static [&'static str],
}

/// Replaces the rows of one table where they differ. `rows` picks the table's rows out of an entity's; `encode` puts
/// one row's columns (the row is begun already).
///
/// # Errors
/// What PostgreSQL says.
pub async fn replace<R, T: PartialEq>(
    connection: &mut PgConnection,
    table: &Table,
    changes: &[Change<R>],
    rows: fn(&R) -> &[T],
    encode: fn(&T, &mut CopyBuffer),
) -> Result<(), sqlx::Error> {
    let columns = i16::try_from(table.columns.len()).expect("a table has a few dozen columns");
    let mut gone: Vec<&str> = Vec::new();
    let mut buffer = CopyBuffer::new(columns);
    for change in changes.iter().filter(|c| c.entity.kind == table.kind) {
        let after = rows(&change.after);
        match change.before.as_ref().map(rows) {
            Some(before) if before == after => continue,
            Some([]) => {}
            _ => gone.push(&change.entity.key),
        }
        for row in after {
            buffer.begin_row();
            encode(row, &mut buffer);
        }
    }
    if !gone.is_empty() {
        let delete = format!("DELETE FROM {} WHERE {} = ANY($1::text[])", table.name, table.key);
        sqlx::query(&delete).bind(&gone).execute(&mut *connection).await?;
    }
    let copy = format!("COPY {} ({}) FROM STDIN BINARY", table.name, table.columns.join(", "));
    copy_in(connection, &copy, buffer).await?;
    Ok(())
}

/// Applies a batch to a model of bounded entities.
///
/// # Errors
/// As [`crate::ReadModel::apply`].
pub async fn apply<B: Bounded>(model: &B, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
    let mut events: Vec<&Event> = batch.events.iter().collect();
    events.sort_unstable_by_key(|e| e.interaction.event_id);
    if mode == Mode::Optimistic && events.iter().any(|e| e.interaction.voids().is_some()) {
        return Err(ApplyError::NeedsExclusive);
    }
    prefer_indexes(cx).await?;
    match mode {
        Mode::Optimistic => extend(model, cx, &events).await.map_err(|e| on_duplicate(e, ApplyError::NeedsCareful)),
        Mode::Careful => {
            let known = known(cx, &events).await?;
            if events.iter().any(|e| known.get(&e.interaction.event_id).is_some_and(|stored| is_lesser(e, stored))) {
                return Err(ApplyError::NeedsExclusive);
            }
            events.retain(|e| !known.contains_key(&e.interaction.event_id));
            if events.iter().any(|e| e.interaction.voids().is_some()) {
                return Err(ApplyError::NeedsExclusive);
            }
            // Another worker may append a copy between that look and our COPY: only alone can the two be compared.
            extend(model, cx, &events).await.map_err(|e| on_duplicate(e, ApplyError::NeedsExclusive))
        }
        Mode::Exclusive => revise(model, cx, events).await.map_err(ApplyError::Database),
    }
}

/// Whether a model of bounded entities needs an event: [`crate::ReadModel::needs`].
pub fn needs<B: Bounded>(brief: &Brief<'_>) -> bool {
    brief.names(|kind| B::KINDS.iter().any(|k| k.kind == kind))
}

fn names_one<B: Bounded>(event: &Event) -> bool {
    event.interaction.entities.iter().any(|e| is_kind::<B>(e))
}

fn is_kind<B: Bounded>(entity: &Entity) -> bool {
    B::KINDS.iter().any(|k| k.kind == entity.kind)
}

/// The planner must not read a whole table because it was small when it was last analyzed: every statement here looks
/// up keys.
///
/// # Errors
/// What PostgreSQL says.
pub async fn prefer_indexes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const SQL: &str = "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
        set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)";
    sqlx::query(SQL).execute(connection).await?;
    Ok(())
}

fn on_duplicate(error: sqlx::Error, answer: ApplyError) -> ApplyError {
    match error.as_database_error().and_then(|e| e.code()) {
        Some(code) if code == UNIQUE_VIOLATION => answer,
        _ => ApplyError::Database(error),
    }
}

/// A copy as it stands in `facts`: when received, and its hash.
type StoredCopy = (i64, Vec<u8>);

async fn known(connection: &mut PgConnection, events: &[&Event]) -> Result<HashMap<Uuid, StoredCopy>, sqlx::Error> {
    const SQL: &str = "SELECT event_id, received_at, hash FROM facts WHERE event_id = ANY($1)";
    let rows = sqlx::query(SQL).bind(ids(events)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

fn ids(events: &[&Event]) -> Vec<Uuid> {
    events.iter().map(|e| e.interaction.event_id).collect()
}

fn is_lesser(event: &Event, stored: &StoredCopy) -> bool {
    (event.interaction.received_at, event.interaction.hash.as_slice()) < (stored.0, stored.1.as_slice())
}

/// Adds facts that are new, and derives what they name from the earlier facts and these.
async fn extend<B: Bounded>(model: &B, connection: &mut PgConnection, events: &[&Event]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    let naming: Vec<Uuid> = events.iter().filter(|e| names_one::<B>(e)).map(|e| e.interaction.event_id).collect();
    let voided = facts::voided(connection, &naming).await?;
    let is_voided = |event: &Event| voided.contains(&event.interaction.event_id);
    let mut named: BTreeMap<&Entity, Vec<&Event>> = BTreeMap::new();
    for &event in events {
        for entity in event.interaction.entities.iter().filter(|e| is_kind::<B>(e)) {
            let facts = named.entry(entity).or_default();
            if !is_voided(event) {
                facts.push(event);
            }
        }
    }
    let entities: Vec<&Entity> = named.keys().copied().collect();
    let old = lock(connection, &entities).await?;
    let mut changes = Vec::with_capacity(named.len());
    read_back(model, connection, &old, |entity, earlier, beyond| {
        changes.push(extended(model, entity, earlier, beyond, named.remove(entity).unwrap_or_default()));
    })
    .await?;
    changes.extend(named.into_iter().map(|(entity, new)| extended(model, entity, &[], None, new)));
    write_facts::<B>(connection, events, is_voided).await?;
    model.write(connection, &changes).await
}

/// What new facts make of an entity. Its fold before them is what stands in the tables, so nothing needs to be read
/// for the comparison; folding twice costs microseconds, and writing rows that have not changed ten times that.
fn extended<B: Bounded>(
    model: &B,
    entity: &Entity,
    earlier: &[Stored],
    beyond: Option<&Identified>,
    new: Vec<&Event>,
) -> Change<B::Rows> {
    let mut all: Vec<Fact<'_>> = earlier.iter().map(Stored::fact).collect();
    let before = fold(model, entity, &all, beyond);
    all.extend(new.into_iter().map(fact));
    all.sort_unstable_by_key(|f| f.stamp);
    Change { entity: entity.clone(), before: Some(before), after: fold(model, entity, &all, beyond) }
}

/// Folds the facts that are at hand, in order. `beyond`: see [`read_back`].
fn fold<B: Bounded>(model: &B, entity: &Entity, facts: &[Fact<'_>], beyond: Option<&Identified>) -> B::Rows {
    if facts.is_empty() {
        return B::Rows::default();
    }
    let max = model.facts_max();
    model.derive(entity, owner_of(facts, beyond), &facts[..facts.len().min(max)], facts.len() > max)
}

/// The owner by all facts, the one that is not at hand in its place.
fn owner_of(facts: &[Fact<'_>], beyond: Option<&Identified>) -> Option<Uuid> {
    let place = beyond.map_or(facts.len(), |first| facts.partition_point(|f| *f.stamp < first.stamp));
    let subjects = |facts: &[Fact<'_>]| owner(facts.iter().map(|f| f.subject_id));
    let (earlier, later) = facts.split_at(place);
    owner([subjects(earlier), beyond.map(|first| first.subject_id), subjects(later)])
}

fn fact(event: &Event) -> Fact<'_> {
    let interaction = &event.interaction;
    Fact { stamp: &interaction.stamp, subject_id: interaction.subject.as_ref().map(|s| s.id), wire: &interaction.wire }
}

/// Applies voids and lesser copies, alone on the generation: facts first, then everything they touch is derived again.
async fn revise<B: Bounded>(
    model: &B,
    connection: &mut PgConnection,
    mut events: Vec<&Event>,
) -> Result<(), sqlx::Error> {
    let known = known(connection, &events).await?;
    events.retain(|e| known.get(&e.interaction.event_id).is_none_or(|stored| is_lesser(e, stored)));
    let replaced: Vec<Uuid> = ids(&events).into_iter().filter(|id| known.contains_key(id)).collect();
    let mut touched: BTreeSet<Entity> = BTreeSet::new();
    if !replaced.is_empty() {
        let delete = format!("DELETE FROM facts WHERE event_id = ANY($1) RETURNING {}", entity_columns::<B>());
        touched_by::<B>(&sqlx::query(&delete).bind(&replaced).fetch_all(&mut *connection).await?, &mut touched)?;
    }
    touched.extend(events.iter().flat_map(|e| &e.interaction.entities).filter(|e| is_kind::<B>(e)).cloned());
    write_facts::<B>(connection, &events, |_| false).await?;
    let doubtful = facts::keep_voids(connection, events.iter().map(|e| &e.interaction)).await?;
    let voided: Vec<Uuid> = facts::voided(connection, &doubtful).await?.into_iter().collect();
    let update = format!(
        "UPDATE facts SET voided = NOT voided WHERE event_id = ANY($1) AND voided <> (event_id = ANY($2)) RETURNING {}",
        entity_columns::<B>()
    );
    let changed = sqlx::query(&update).bind(&doubtful).bind(&voided).fetch_all(&mut *connection).await?;
    touched_by::<B>(&changed, &mut touched)?;
    let entities: Vec<&Entity> = touched.iter().collect();
    lock(connection, &entities).await?;
    let mut changes = Vec::with_capacity(entities.len());
    read_back(model, connection, &entities, |entity, stored, beyond| {
        let all: Vec<Fact<'_>> = stored.iter().map(Stored::fact).collect();
        changes.push(Change { entity: entity.clone(), before: None, after: fold(model, entity, &all, beyond) });
    })
    .await?;
    model.write(connection, &changes).await
}

/// `order_id, correlated`: what tells which entities a fact names.
fn entity_columns<B: Bounded>() -> String {
    B::KINDS.iter().map(|k| k.column).chain(["correlated"]).collect::<Vec<_>>().join(", ")
}

/// The entities in rows of [`entity_columns`].
fn touched_by<B: Bounded>(rows: &[PgRow], touched: &mut BTreeSet<Entity>) -> Result<(), sqlx::Error> {
    for row in rows {
        for (column, kind) in B::KINDS.iter().enumerate() {
            touched.extend(row.try_get::<Option<String>, _>(column)?.map(|key| Entity { kind: kind.kind, key }));
        }
        let correlated: Option<String> = row.try_get(B::KINDS.len())?;
        let Some((kind, key)) = correlated.as_deref().and_then(|c| c.split_once(':')) else { continue };
        touched
            .extend(B::KINDS.iter().filter(|k| k.kind == kind).map(|k| Entity { kind: k.kind, key: key.to_owned() }));
    }
    Ok(())
}

/// Inserts the entities that are missing and locks the others, in key order (they come sorted). Returns those that were
/// there: only they can have earlier facts.
async fn lock<'e>(connection: &mut PgConnection, entities: &[&'e Entity]) -> Result<Vec<&'e Entity>, sqlx::Error> {
    const INSERT: &str = "INSERT INTO entities (kind, key) SELECT * FROM unnest($1::text[], $2::text[])
        ON CONFLICT DO NOTHING RETURNING kind, key";
    const LOCK: &str = "SELECT FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS named (kind, key, n)
        JOIN entities USING (kind, key) ORDER BY n FOR UPDATE OF entities";
    let columns = |entities: &[&'e Entity]| -> (Vec<&'static str>, Vec<&'e str>) {
        entities.iter().map(|e| (e.kind, e.key.as_str())).unzip()
    };
    if entities.is_empty() {
        return Ok(Vec::new());
    }
    let (kinds, keys) = columns(entities);
    let rows = sqlx::query(INSERT).bind(kinds).bind(keys).fetch_all(&mut *connection).await?;
    let mut new: HashSet<(&str, &str)> = HashSet::with_capacity(rows.len());
    for row in &rows {
        new.insert((row.try_get(0)?, row.try_get(1)?));
    }
    let old: Vec<&Entity> = entities.iter().copied().filter(|e| !new.contains(&(e.kind, e.key.as_str()))).collect();
    if !old.is_empty() {
        let (kinds, keys) = columns(&old);
        sqlx::query(LOCK).bind(kinds).bind(keys).execute(connection).await?;
    }
    reach(Step::AfterEntities);
    Ok(old)
}

/// A fact read back.
struct Stored {
    stamp: Stamp,
    subject_id: Option<Uuid>,
    wire: v1::Interaction,
}

impl Stored {
    fn fact(&self) -> Fact<'_> {
        Fact { stamp: &self.stamp, subject_id: self.subject_id, wire: &self.wire }
    }

    /// From `stamp, subject_id, value`, beginning at the column `first`.
    fn from_row(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        let stamp = Stamp::from_bytes(row.try_get(first)?).ok_or_else(|| broken("a stamp that is too short"))?;
        let value: &[u8] = row.try_get(first + 2)?;
        let wire = v1::Interaction::decode(value).map_err(|_| broken("a value that is no interaction"))?;
        Ok(Self { stamp, subject_id: row.try_get(first + 1)?, wire })
    }
}

fn broken(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("a row of facts has {what}: was it written by hand?").into())
}

/// A fact that names a subject.
struct Identified {
    stamp: Stamp,
    subject_id: Uuid,
}

/// Hands each of these entities its unvoided facts, in order: at most one more than count. One entity's facts are in
/// memory at a time. Where there are more and none of those names a subject, the first that does, beyond them, is handed
/// over too: it tells the owner.
async fn read_back<'e, B: Bounded>(
    model: &B,
    connection: &mut PgConnection,
    entities: &[&'e Entity],
    mut take: impl FnMut(&'e Entity, &[Stored], Option<&Identified>) + Send,
) -> Result<(), sqlx::Error> {
    let max = model.facts_max();
    for kind in B::KINDS {
        let of_kind: Vec<&Entity> = entities.iter().copied().filter(|e| e.kind == kind.kind).collect();
        for some in of_kind.chunks(ENTITIES_READ_MAX) {
            // Who owns these cannot be asked while the answer is still coming in, nor can the facts of all of them be
            // kept until then: they are read once more.
            let mut unowned: Vec<&'e Entity> = Vec::new();
            read_some(connection, kind, some, max, |entity, facts| {
                if facts.len() > max && owner(facts.iter().map(|f| f.subject_id)).is_none() {
                    unowned.push(entity);
                } else {
                    take(entity, facts, None);
                }
            })
            .await?;
            for entity in unowned {
                let beyond = first_identified(connection, kind, &entity.key).await?;
                read_some(connection, kind, &[entity], max, |entity, facts| take(entity, facts, beyond.as_ref()))
                    .await?;
            }
        }
    }
    Ok(())
}

/// Hands each of these entities, all of one kind, its first `max + 1` facts.
async fn read_some<'e>(
    connection: &mut PgConnection,
    kind: &Kind,
    entities: &[&'e Entity],
    max: usize,
    mut take: impl FnMut(&'e Entity, &[Stored]) + Send,
) -> Result<(), sqlx::Error> {
    let sql = read_back_sql(kind);
    let keys: Vec<&str> = entities.iter().map(|e| e.key.as_str()).collect();
    // One more than count, to see that there are more.
    let limit = i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = sqlx::query(&sql).bind(keys).bind(limit).fetch(connection);
    let (mut at, mut facts) = (0, Vec::new());
    while let Some(row) = rows.try_next().await? {
        let n = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or(at);
        while at < n {
            take(entities[at], &facts);
            facts.clear();
            at += 1;
        }
        facts.push(Stored::from_row(&row, 1)?);
    }
    for entity in &entities[at..] {
        take(entity, &facts);
        facts.clear();
    }
    Ok(())
}

/// The first unvoided fact of an entity that names a subject.
async fn first_identified(
    connection: &mut PgConnection,
    Kind { kind, column }: &Kind,
    key: &str,
) -> Result<Option<Identified>, sqlx::Error> {
    let first = |of: String| {
        format!(
            "(SELECT stamp, subject_id FROM facts WHERE {of} AND subject_id IS NOT NULL AND NOT voided
                ORDER BY stamp LIMIT 1)"
        )
    };
    let (named, correlated) = (first(format!("{column} = $1")), first(format!("correlated = '{kind}:' || $1")));
    let sql = format!("{named} UNION ALL {correlated} ORDER BY stamp LIMIT 1");
    let Some(row) = sqlx::query(&sql).bind(key).fetch_optional(connection).await? else { return Ok(None) };
    let stamp = Stamp::from_bytes(row.try_get(0)?).ok_or_else(|| broken("a stamp that is too short"))?;
    Ok(Some(Identified { stamp, subject_id: row.try_get(1)? }))
}

/// The facts of the entities whose keys are `$1`, with the number of the key, at most `$2` of each.
fn read_back_sql(Kind { kind, column }: &Kind) -> String {
    format!(
        "SELECT named.n, fact.stamp, fact.subject_id, fact.value
        FROM unnest($1::text[]) WITH ORDINALITY AS named (key, n), LATERAL (
            (SELECT stamp, subject_id, value FROM facts WHERE {column} = named.key AND NOT voided ORDER BY stamp LIMIT $2)
            UNION ALL
            (SELECT stamp, subject_id, value FROM facts WHERE correlated = '{kind}:' || named.key AND NOT voided
                ORDER BY stamp LIMIT $2)
            ORDER BY stamp LIMIT $2
        ) AS fact ORDER BY named.n, fact.stamp"
    )
}

/// Writes facts (sorted by event id) with COPY.
async fn write_facts<B: Bounded>(
    connection: &mut PgConnection,
    events: &[&Event],
    is_voided: impl Fn(&Event) -> bool,
) -> Result<(), sqlx::Error> {
    let size = events.iter().map(|e| if names_one::<B>(e) { e.value.len() + 256 } else { 128 }).sum();
    let mut buffer = fact_rows::<B>(size);
    for event in events {
        put_fact::<B>(event, is_voided(event), &mut buffer);
    }
    copy_in(connection, &copy_facts::<B>(), buffer).await?;
    reach(Step::AfterFacts);
    Ok(())
}

fn copy_facts<B: Bounded>() -> String {
    const COLUMNS: &str = "event_id, received_at, hash, voided, stamp, subject_id, partition, log_offset, value";
    format!("COPY facts ({COLUMNS}, {}) FROM STDIN BINARY", entity_columns::<B>())
}

/// Columns of `facts`: those of every event, those of one that names an entity, one a kind, `correlated`.
const fn fact_columns<B: Bounded>() -> usize {
    4 + 5 + B::KINDS.len() + 1
}

fn fact_rows<B: Bounded>(bytes: usize) -> CopyBuffer {
    let columns = i16::try_from(fact_columns::<B>()).expect("a model keeps a few kinds of entities");
    CopyBuffer::with_capacity(columns, bytes)
}

fn put_fact<B: Bounded>(event: &Event, is_voided: bool, buffer: &mut CopyBuffer) {
    let interaction = &event.interaction;
    buffer
        .begin_row()
        .put_uuid(interaction.event_id)
        .put_i64(interaction.received_at)
        .put_bytes(&interaction.hash)
        .put_bool(is_voided);
    if names_one::<B>(event) {
        put_naming::<B>(event, buffer);
    } else {
        for _ in 4..fact_columns::<B>() {
            buffer.put_null();
        }
    }
}

/// The columns from `stamp` on, of an event that names an entity.
fn put_naming<B: Bounded>(event: &Event, buffer: &mut CopyBuffer) {
    let interaction = &event.interaction;
    buffer
        .put_bytes(interaction.stamp.as_bytes())
        .put_opt(interaction.subject.as_ref().map(|s| s.id), CopyBuffer::put_uuid)
        .put_i32(event.partition)
        .put_i64(event.offset)
        .put_bytes(&event.value);
    for kind in B::KINDS {
        buffer.put_opt(interaction.entity(kind.kind), CopyBuffer::put_text);
    }
    // An event names one entity of a kind in its data; another can only come from `correlationid`.
    let is_second = |e: &&Entity| is_kind::<B>(e) && interaction.entity(e.kind) != Some(e.key.as_str());
    let second = interaction.entities.iter().find(is_second).map(ToString::to_string);
    buffer.put_opt(second.as_deref(), CopyBuffer::put_text);
}
