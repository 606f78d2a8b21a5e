//! What a read model is to the runtime.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use bytes::Bytes;
use domain::{Brief, Interaction};
use sqlx::PgConnection;

use crate::background;
use crate::batch::Batch;
use crate::copy::{CopyBuffer, copy_in};
use crate::failpoint::{Step, reach};
use crate::load::{Load, STEP_ROW_BYTES};

/// One record of the log, decoded.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where in the log it stands.
    pub partition: i32,
    /// Where in its partition.
    pub offset: i64,
    /// The record's value as published: what its hash covers.
    pub value: Bytes,
    /// What it says; of an event that the model does not need ([`ReadModel::needs`]) ids, type and hash only.
    pub interaction: Interaction,
}

/// How carefully a batch is applied. The runtime starts with the first and moves on when it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// No event of the batch is thought to be known: facts go straight into their table, and a unique violation
    /// rolls back and has the batch applied again in [`Mode::Careful`].
    Optimistic,
    /// Known events are looked up first. Equal and greater copies are skipped (differing ones listed); a lesser copy or
    /// a void is answered with [`ApplyError::NeedsExclusive`].
    Careful,
    /// The generation's lock is held alone: voids and lesser copies are applied, and what they touched is derived again.
    Exclusive,
}

/// Why a batch was not applied. The transaction is rolled back in every case.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Apply it again in [`Mode::Careful`].
    #[error("the batch holds events that are known already")]
    NeedsCareful,
    /// Apply it again in [`Mode::Exclusive`].
    #[error("the batch holds a void or a lesser copy of a known event")]
    NeedsExclusive,
    /// PostgreSQL refused or was lost; the runtime decides by the error's class.
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
    /// This event can never be folded; it is set aside as a dead letter.
    #[error("event {event} of the batch cannot be folded: {reason}")]
    Refused {
        /// Index into [`Batch::events`].
        event: usize,
        /// A sentence for the dead letter.
        reason: String,
    },
}

/// The transaction a batch is applied in. Dereferences to the connection (`&mut **cx` is an executor); `search_path`
/// is the generation's schema. It must not be committed, rolled back or left in another `search_path`.
pub struct BatchTx<'t> {
    connection: &'t mut PgConnection,
    lock_key: i64,
    /// What begins a step, and since when this one lasts.
    steps: Option<(String, Instant)>,
}

impl<'t> BatchTx<'t> {
    /// Wraps an open transaction of a generation whose advisory lock is `lock_key`.
    pub fn new(connection: &'t mut PgConnection, lock_key: i64) -> Self {
        Self { connection, lock_key, steps: None }
    }

    /// The same of a load that is made of many, each of which `begin` begins; this one was begun at `since`.
    pub(crate) fn of_steps(
        connection: &'t mut PgConnection,
        lock_key: i64,
        begin: Option<String>,
        since: Instant,
    ) -> Self {
        Self { connection, lock_key, steps: begin.map(|begin| (begin, since)) }
    }

    /// Of a load beside a live generation: ends the transaction and, after a rest, begins the next, so that none is open for
    /// long. What was set or declared for the transaction is gone then. Elsewhere nothing happens.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub async fn step(&mut self) -> Result<(), sqlx::Error> {
        let Some((begin, since)) = &mut self.steps else { return Ok(()) };
        sqlx::query("COMMIT").execute(&mut *self.connection).await?;
        reach(Step::LoadStepped);
        background::rest(since.elapsed()).await;
        *since = Instant::now();
        for statement in begin.split(';') {
            sqlx::query(statement).persistent(false).execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    /// Writes rows as [`copy_in`] does; of a load beside a live generation some at a time, a step each.
    ///
    /// # Errors
    /// Those of [`copy_in`].
    pub async fn copy_in_steps(&mut self, statement: &str, rows: CopyBuffer) -> Result<(), sqlx::Error> {
        if self.steps.is_none() {
            return copy_in(self, statement, rows).await.map(|_| ());
        }
        for helping in rows.into_helpings(STEP_ROW_BYTES) {
            copy_in(self, statement, helping).await?;
            self.step().await?;
        }
        Ok(())
    }

    /// The generation's advisory lock, taken by the runtime. `lock_key + 1` to `lock_key + 14` are the model's own.
    pub fn lock_key(&self) -> i64 {
        self.lock_key
    }
}

impl Deref for BatchTx<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection
    }
}

impl DerefMut for BatchTx<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection
    }
}

/// A read model: tables, views and how a batch of events changes them. Its tables must be a function of the *set* of
/// events: no order of arrival, batching or repetition may show in a digested view.
pub trait ReadModel: Send + Sync + 'static {
    /// `sales`, `service`, `customer360`: the name of its stable schema and of its checkpoints.
    fn name(&self) -> &'static str;

    /// `CREATE TABLE …` statements with unqualified names, run with `search_path` = the generation's schema.
    fn schema_sql(&self) -> &'static str;

    /// `CREATE INDEX …` statements for the tables whose rows a load writes as they come, run once it has: unique indexes
    /// take the place of primary keys, for which readers would have to wait. Each statement ends with `;` at a line's end, and
    /// names its index in lower case.
    fn row_indexes_sql(&self) -> &'static str {
        ""
    }

    /// The same for the tables that a load writes at its end.
    fn indexes_sql(&self) -> &'static str {
        ""
    }

    /// How it takes in a log from its beginning; `Infallible` where it has no way of its own.
    type Load: Load;

    /// Begins to take in a log, into tables that are empty and have no indexes but their own. `None`: in batches, like anything else.
    fn load(&self) -> Option<Self::Load> {
        None
    }

    /// Writes what a load has not written yet; between two parts of the work [`BatchTx::step`]. Indexes come after it.
    fn finish_load(
        &self,
        cx: &mut BatchTx<'_>,
        load: Self::Load,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send {
        let _ = (cx, load);
        std::future::ready(Ok(()))
    }

    /// `CREATE OR REPLACE VIEW {model}.x AS SELECT … FROM {schema}.y` and `COMMENT ON …`, one statement after another;
    /// the runtime puts the stable schema for `{model}` and the generation's for `{schema}`. Views list their columns.
    fn views(&self) -> &'static str;

    /// The views its digest covers, each with the columns left out of it (those that tell of arrival).
    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])];

    /// The columns that name a row of a digested view: no two rows share them.
    fn row_key(&self, view: &str) -> &'static [&'static str];

    /// Raised whenever a fold gives other rows for the same events.
    fn fold_version(&self) -> u32;

    /// The settings its folds use, as canonical text: part of the definition. Empty if there are none.
    fn settings(&self) -> String;

    /// Whether it has to see an event whole. Working an event out costs more than reading it, and most events are nothing
    /// to most models; but every model is told of every event's identity, because of two differing copies only one
    /// counts. Depends on nothing but the event. Voids are always needed.
    fn needs(&self, brief: &Brief<'_>) -> bool {
        let _ = brief;
        true
    }

    /// Folds a batch. Other workers fold theirs at the same time: rows that more than one of them may write are locked in
    /// key order, and before anything is derived from what they hold.
    fn apply(
        &self,
        cx: &mut BatchTx<'_>,
        batch: &Batch,
        mode: Mode,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;
}
