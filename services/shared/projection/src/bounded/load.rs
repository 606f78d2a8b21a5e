//! Loading facts: every event's row first, in any order; then all facts of one entity after another, each derived once.

use std::marker::PhantomData;

use domain::{Entity, Stamp, owner::owner};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::{
    Bounded, Change, Fact, Identified, Kind, Stored, broken, copy_facts, fact_rows, fold, prefer_indexes, put_fact,
};
use crate::copy::{CopyBuffer, copy_in};
use crate::load::Load;
use crate::model::{BatchTx, Event};

/// Facts read back at a time.
const FACTS_READ: usize = 1_000;
/// Entities whose rows are written at a time, a step each.
const ENTITIES_WRITTEN: usize = 500;

/// The facts of a model of bounded entities, on their way into its tables.
pub struct Facts<B> {
    rows: CopyBuffer,
    of: PhantomData<fn() -> B>,
}

impl<B: Bounded> Default for Facts<B> {
    fn default() -> Self {
        Self { rows: fact_rows::<B>(0), of: PhantomData }
    }
}

impl<B: Bounded + 'static> Load for Facts<B> {
    fn add(&mut self, event: &Event) {
        put_fact::<B>(event, false, &mut self.rows);
    }

    fn take_rows(&mut self) -> Vec<(String, CopyBuffer)> {
        let next = fact_rows::<B>(self.rows.bytes());
        vec![(copy_facts::<B>(), std::mem::replace(&mut self.rows, next))]
    }

    fn row_bytes(&self) -> usize {
        self.rows.bytes()
    }

    fn held_bytes(&self) -> usize {
        0
    }
}

/// Derives all entities from the facts that were loaded: [`crate::ReadModel::finish_load`].
///
/// # Errors
/// What PostgreSQL says.
pub async fn finish_load<B: Bounded>(model: &B, cx: &mut BatchTx<'_>) -> Result<(), sqlx::Error> {
    for kind in B::KINDS {
        derive_kind(model, cx, *kind).await?;
    }
    Ok(())
}

/// The facts of one entity, as far as they have been read: at most one more than count.
struct Reading {
    entity: Entity,
    facts: Vec<Stored>,
    /// One of those names a subject.
    is_owned: bool,
    /// Where none does: the first beyond them that does.
    beyond: Option<Identified>,
}

impl Reading {
    /// Adds a row of `key, stamp, subject_id, value`.
    fn add(&mut self, row: &PgRow, max: usize) -> Result<(), sqlx::Error> {
        if self.facts.len() <= max {
            let fact = Stored::from_row(row, 1)?;
            self.is_owned |= owner([fact.subject_id]).is_some();
            self.facts.push(fact);
        } else if !self.is_owned
            && let Some(subject_id) = row.try_get(2)?
        {
            let stamp = Stamp::from_bytes(row.try_get(1)?).ok_or_else(|| broken("a stamp that is too short"))?;
            (self.is_owned, self.beyond) = (true, Some(Identified { stamp, subject_id }));
        }
        Ok(())
    }

    fn derived<B: Bounded>(self, model: &B) -> Change<B::Rows> {
        let facts: Vec<Fact<'_>> = self.facts.iter().map(Stored::fact).collect();
        let after = fold(model, &self.entity, &facts, self.beyond.as_ref());
        Change { entity: self.entity, before: Some(B::Rows::default()), after }
    }
}

/// Facts in the order of their entities and, within one, of their stamps: those behind the key `$1` and the stamp `$2`.
/// Two indexes bring them in that order, from wherever one begins: no cursor is kept, and nothing is sorted as a whole.
fn facts_behind(Kind { kind, column }: Kind) -> String {
    // Behind all texts that begin with `kind:`, and before all others: `;` is next to `:`.
    format!(
        "SELECT key, stamp, subject_id, value FROM (
             (SELECT {column} AS key, stamp, subject_id, value FROM facts
              WHERE {column} IS NOT NULL AND ({column}, stamp) > ($1, $2)
              ORDER BY {column}, stamp LIMIT {FACTS_READ})
             UNION ALL
             (SELECT substr(correlated, {}), stamp, subject_id, value FROM facts
              WHERE correlated IS NOT NULL AND (correlated, stamp) > ('{kind}:' || $1, $2) AND correlated < '{kind};'
              ORDER BY correlated, stamp LIMIT {FACTS_READ})
         ) AS named ORDER BY key, stamp LIMIT {FACTS_READ}",
        kind.chars().count() + 2
    )
}

/// Derives all entities of one kind.
async fn derive_kind<B: Bounded>(model: &B, cx: &mut BatchTx<'_>, kind: Kind) -> Result<(), sqlx::Error> {
    let behind = facts_behind(kind);
    let (mut key, mut stamp) = (String::new(), Vec::<u8>::new());
    let mut reading: Option<Reading> = None;
    let mut changes = Vec::new();
    prefer_indexes(cx).await?;
    loop {
        let rows = sqlx::query(&behind).bind(&key).bind(&stamp).persistent(false).fetch_all(&mut **cx).await?;
        for row in &rows {
            let key: &str = row.try_get(0)?;
            if reading.as_ref().is_none_or(|r| r.entity.key != key) {
                let entity = Entity { kind: kind.kind, key: key.to_owned() };
                let before = reading.replace(Reading { entity, facts: Vec::new(), is_owned: false, beyond: None });
                changes.extend(before.map(|r| r.derived(model)));
            }
            if let Some(reading) = &mut reading {
                reading.add(row, model.facts_max())?;
            }
        }
        let is_end = rows.len() < FACTS_READ;
        match rows.last() {
            Some(last) if !is_end => (key, stamp) = (last.try_get(0)?, last.try_get(1)?),
            _ => changes.extend(reading.take().map(|r| r.derived(model))),
        }
        if is_end || changes.len() >= ENTITIES_WRITTEN {
            write(model, cx, &changes).await?;
            changes.clear();
            cx.step().await?;
            prefer_indexes(cx).await?;
        }
        if is_end {
            return Ok(());
        }
    }
}

/// Writes entities and what was derived of them.
async fn write<B: Bounded>(
    model: &B,
    connection: &mut PgConnection,
    changes: &[Change<B::Rows>],
) -> Result<(), sqlx::Error> {
    let mut rows = CopyBuffer::new(2);
    for change in changes {
        rows.begin_row().put_text(change.entity.kind).put_text(&change.entity.key);
    }
    copy_in(connection, "COPY entities (kind, key) FROM STDIN BINARY", rows).await?;
    model.write(connection, changes).await
}
