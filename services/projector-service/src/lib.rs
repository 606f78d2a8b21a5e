//! The read model *service*: cases with their history, calls with their legs.
//!
//! The path of one event:
//!
//! ```text
//! batch -> events that name a case or a call -> those locked, earlier facts read -> facts written     (projection::bounded)
//!       -> folds::case, folds::call of the facts before and now -> rows that differ replaced         (tables)
//! analyst -> service.cases, service.calls ...                                                        (sql/views.sql)
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | [`folds`] | pure: the facts of a case or a call to its rows |
//! | `tables` | the derived tables and their rows' encoding |
//! | `sql/schema.sql` | the tables of a generation |
//! | `sql/indexes.sql` | the indexes of its facts, created once they are loaded |
//! | `sql/views.sql` | what analysts read, every column explained |

pub mod folds;
mod tables;

use domain::{Brief, Entity};
use projection::{
    ApplyError, Batch, BatchTx, Mode, ReadModel,
    bounded::{self, Bounded, Change, Fact, Facts, Kind},
};
use sqlx::PgConnection;
use uuid::Uuid;

/// Raised whenever [`folds`] give other rows for the same events.
const FOLD_VERSION: u32 = 2;

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
    type Load = Facts<Self>;

    fn name(&self) -> &'static str {
        "service"
    }

    fn schema_sql(&self) -> &'static str {
        include_str!("../sql/schema.sql")
    }

    fn row_indexes_sql(&self) -> &'static str {
        include_str!("../sql/indexes.sql")
    }

    fn load(&self) -> Option<Self::Load> {
        Some(Facts::default())
    }

    async fn finish_load(&self, cx: &mut BatchTx<'_>, _: Self::Load) -> Result<(), sqlx::Error> {
        bounded::finish_load(self, cx).await
    }

    fn views(&self) -> &'static str {
        include_str!("../sql/views.sql")
    }

    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("cases", &[]), ("case_spans", &[]), ("calls", &[]), ("call_legs", &[])]
    }

    fn fold_version(&self) -> u32 {
        FOLD_VERSION
    }

    fn settings(&self) -> String {
        format!("facts_max={}", bounded::FACTS_MAX)
    }

    fn needs(&self, brief: &Brief<'_>) -> bool {
        bounded::needs::<Self>(brief)
    }

    async fn apply(&self, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
        bounded::apply(self, cx, batch, mode).await
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
