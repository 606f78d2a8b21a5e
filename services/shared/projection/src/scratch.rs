//! A few events folded on their own, by the same code as a generation, in tables that are empty before and after: for
//! questions about the past.
//!
//! The tables are made once and kept; what is folded into them is never committed. Whoever uses them holds their lock.

use domain::{Interaction, Namespace};
use event_log::Record;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;

use crate::fold::{FoldError, Folder};
use crate::generation::{self, Generation, Views, hex};
use crate::model::ReadModel;
use crate::unit::{Decoded, Unit};

/// Records folded at a time.
const RECORDS_AT_ONCE: usize = 2_000;

/// Why events could not be folded.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// PostgreSQL refused a statement.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A batch could not be folded at all.
    #[error("{0}")]
    Fold(String),
}

impl From<FoldError> for ScratchError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::Lost(error) | FoldError::Short(error) => Self::Database(error),
            other => Self::Fold(other.to_string()),
        }
    }
}

/// Tables and views of one model.
#[derive(Clone, Debug)]
pub struct Scratch {
    generation: Generation,
    views: String,
}

impl Scratch {
    /// Those of this name. `lock_key` and the fifteen keys behind it are theirs, below all that generations have.
    pub fn of<M: ReadModel>(model: &M, name: &str, lock_key: i64) -> Self {
        let generation = Generation {
            model: model.name().to_owned(),
            number: 0,
            definition: generation::definition(model),
            schema: format!("{name}_{}", model.name()),
            lock_key,
        };
        Self { views: format!("{}_views", generation.schema), generation }
    }

    /// The schema of its tables.
    pub fn schema(&self) -> &str {
        &self.generation.schema
    }

    /// The schema of its views, which are called as the stable ones.
    pub fn views(&self) -> &str {
        &self.views
    }

    /// Makes tables and views, within the caller's transaction. Nothing in them survives PostgreSQL, or has to.
    ///
    /// # Errors
    /// They are there already, or PostgreSQL refuses a statement.
    pub async fn create<M: ReadModel>(&self, connection: &mut PgConnection, model: &M) -> Result<(), sqlx::Error> {
        const TABLES: &str = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = $1";
        let (schema, views) = (self.schema(), self.views());
        let make = format!("CREATE SCHEMA {schema}; CREATE SCHEMA {views}; SET LOCAL search_path = {schema}");
        for statements in [&make, model.schema_sql(), model.row_indexes_sql(), model.indexes_sql()] {
            sqlx::raw_sql(statements).execute(&mut *connection).await?;
        }
        let tables: Vec<String> = sqlx::query_scalar(TABLES).bind(schema).fetch_all(&mut *connection).await?;
        for table in tables {
            sqlx::raw_sql(&format!("ALTER TABLE {table} SET UNLOGGED")).execute(&mut *connection).await?;
        }
        sqlx::raw_sql("RESET search_path").execute(&mut *connection).await?;
        let views = Views::under(model, views, &self.generation);
        sqlx::raw_sql(&views.statements).execute(connection).await?;
        Ok(())
    }

    /// Folds records into the empty tables, within the caller's transaction, which is rolled back in the end. `search_path`
    /// is the tables' schema afterwards. Returns how many could not be folded: they would be dead letters.
    ///
    /// # Errors
    /// A batch cannot be folded at all, or PostgreSQL refuses a statement.
    pub async fn fold<M: ReadModel>(
        &self,
        connection: &mut PgConnection,
        model: &M,
        namespace: &Namespace,
        records: &[Record],
    ) -> Result<u64, ScratchError> {
        let path = format!("SET LOCAL search_path = {}", self.schema());
        sqlx::query(&path).persistent(false).execute(&mut *connection).await?;
        let mut folder = Folder::in_scratch(model, self.generation.clone(), *namespace);
        let mut aside = 0;
        for some in records.chunks(RECORDS_AT_ONCE) {
            let decoded = |r: &Record| Decoded::new(r.clone(), namespace, |brief| model.needs(brief));
            let unit = Unit::new(some.iter().map(decoded).collect());
            let folded = folder.fold(connection, model, unit, None).await;
            aside += folded?.aside;
        }
        Ok(aside)
    }
}

/// What the tables and views of a model are a function of, in short: other ones have another name.
pub fn fingerprint(models: &[(String, &'static str)]) -> String {
    let mut hash = Sha256::new();
    for (definition, views) in models {
        hash.update(definition);
        hash.update(views);
    }
    hex(&hash.finalize()[..4])
}

/// The records among these copies that count: of each event the least, if it had occurred by the time. What cannot be read
/// counts as it is.
pub fn counting(copies: Vec<Record>, occurred_by: Option<i64>, namespace: &Namespace) -> Vec<Record> {
    let mut counting = std::collections::BTreeMap::new();
    let mut unread = Vec::new();
    for record in copies {
        match Interaction::decode(&record.value, record.received_at, namespace) {
            Ok(read) => {
                let order = (read.received_at, read.hash);
                let at = counting.entry(read.event_id).or_insert_with(|| (order, read.occurred_at, record.clone()));
                if order < at.0 {
                    *at = (order, read.occurred_at, record);
                }
            }
            Err(_) => unread.push(record),
        }
    }
    let occurred = |at: i64| occurred_by.is_none_or(|by| at <= by);
    let counted = counting.into_values().filter(|(_, at, _)| occurred(*at)).map(|(_, _, record)| record);
    counted.chain(unread).collect()
}
