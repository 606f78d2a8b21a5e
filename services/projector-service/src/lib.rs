//! The read model *service*: cases with their history, calls with their legs, threads of messages and who waits in them.
//!
//! The path of one event:
//!
//! ```text
//! batch -> events that name a case or a call -> those locked, earlier facts read -> facts written     (projection::bounded)
//!       -> folds::case, folds::call of the facts before and now -> rows that differ replaced         (tables)
//!       -> messages: joined to their threads under a lock, folds::thread -> rows that differ         (threads)
//! analyst -> service.cases, service.calls ...                                                        (sql/views.sql)
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | [`folds`] | pure: the facts of a case or a call, or what events tell of a thread, to its rows |
//! | `tables` | the derived tables of cases and calls and their rows' encoding |
//! | `load` | a log from its beginning, into empty tables |
//! | `repair` | which rows tell of a case, a call, a thread |
//! | `threads` | which messages are one thread, and the tables of threads |
//! | `sql/schema.sql` | the tables of a generation |
//! | `sql/row_indexes.sql`, `sql/indexes.sql` | the indexes of its facts, created once they are loaded, and of what is derived from them |
//! | `sql/views.sql` | what analysts read, every column explained |
//!
//! A thread is not bounded by an id that its messages name: it is a component of messages, which merges with another one
//! when a message comes that links them, and falls apart when that message is taken back. So it has tables of its own,
//! and only batches with messages pay for them: `threads` says how.
//!
//! `service.waiting` depends on now (a wait that lasts has an age), so no digest covers it: [`OF_NOW`]. Everything that it
//! is made of stands in `threads` and `thread_waits`, which digests cover. `service.waiting_at` cuts the waits of each
//! thread at a time; which messages are one thread it takes from all that is known, for a link that came late was one
//! all along.

pub mod folds;
mod load;
mod repair;
mod tables;
mod threads;

use domain::{Brief, Entity};
use projection::{
    ApplyError, Batch, BatchTx, Mode, ReadModel,
    bounded::{self, Bounded, Change, Fact, Kind},
};
use sqlx::PgConnection;
use uuid::Uuid;

pub use load::Loading;
pub use repair::nodes;

/// Raised whenever [`folds`] give other rows for the same events.
const FOLD_VERSION: u32 = 5;

/// The views that depend on now. Every other view of the model is digested.
pub const OF_NOW: &[&str] = &["waiting"];

/// The read model.
#[derive(Clone, Copy, Debug, Default)]
pub struct Service;

/// The rows of one entity: those of a case, or those of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Empty for a call.
    pub of_case: folds::CaseRows,
    /// Empty for a case.
    pub of_call: folds::CallRows,
}

impl ReadModel for Service {
    type Load = Loading;

    fn name(&self) -> &'static str {
        "service"
    }

    fn schema_sql(&self) -> &'static str {
        include_str!("../sql/schema.sql")
    }

    fn row_indexes_sql(&self) -> &'static str {
        include_str!("../sql/row_indexes.sql")
    }

    fn indexes_sql(&self) -> &'static str {
        include_str!("../sql/indexes.sql")
    }

    fn load(&self) -> Option<Self::Load> {
        Some(Loading::default())
    }

    async fn finish_load(&self, cx: &mut BatchTx<'_>, load: Loading) -> Result<(), sqlx::Error> {
        bounded::finish_load(self, cx).await?;
        load.finish(cx).await
    }

    fn views(&self) -> &'static str {
        include_str!("../sql/views.sql")
    }

    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[
            ("cases", &[]),
            ("case_spans", &[]),
            ("calls", &[]),
            ("call_legs", &[]),
            ("threads", &[]),
            ("thread_waits", &[]),
            ("messages", &[]),
        ]
    }

    fn row_key(&self, view: &str) -> &'static [&'static str] {
        match view {
            "cases" => &["case_id"],
            "case_spans" => &["case_id", "span_no"],
            "calls" => &["call_id"],
            "call_legs" => &["call_id", "leg_no"],
            "threads" => &["thread_id"],
            "thread_waits" => &["thread_id", "wait_no"],
            _ => &["thread_id", "message_id", "set_by"],
        }
    }

    fn fold_version(&self) -> u32 {
        FOLD_VERSION
    }

    fn settings(&self) -> String {
        format!("facts_max={}", bounded::FACTS_MAX)
    }

    fn needs(&self, brief: &Brief<'_>) -> bool {
        bounded::needs::<Self>(brief) || folds::telling::needs(brief)
    }

    async fn apply(&self, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
        let before = threads::before(cx, batch, mode).await?;
        bounded::apply(self, cx, batch, mode).await?;
        threads::apply(cx, batch, mode, before).await
    }
}

impl Bounded for Service {
    const KINDS: &'static [Kind] =
        &[Kind { kind: "case", column: "case_id" }, Kind { kind: "call", column: "call_id" }];

    type Rows = Rows;

    fn derive(&self, entity: &Entity, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> Rows {
        match entity.kind {
            "case" => Rows { of_case: folds::case(&entity.key, owner, facts, capped), ..Rows::default() },
            _ => Rows { of_call: folds::call(&entity.key, owner, facts, capped), ..Rows::default() },
        }
    }

    async fn write(&self, connection: &mut PgConnection, changes: &[Change<Rows>]) -> Result<(), sqlx::Error> {
        tables::write(connection, changes).await
    }
}
