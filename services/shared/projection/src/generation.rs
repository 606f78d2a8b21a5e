//! A model's tables as a generation: a schema of their own, the definition they were folded by, the stable views on them.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::backbone::{BackboneError, SETUP_LOCK_KEY, lock_setup};
use crate::database::{Class, classify};
use crate::load;
use crate::model::ReadModel;

/// Replacing a view waits this long for running queries before it lets them pass and tries again.
const VIEW_LOCK_TIMEOUT: &str = "200ms";
/// The pause between two tries.
const VIEW_RETRY_PAUSE: Duration = Duration::from_millis(300);
/// After this many tries somebody's query has been holding a view for a minute: say so.
const VIEW_TRIES_MAX: u32 = 120;

/// Where and by which definition a model's tables are folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The model's name.
    pub model: String,
    /// Counts up with each new one.
    pub number: i32,
    /// SHA-256 of schema, settings and fold version, hexadecimal.
    pub definition: String,
    /// The schema of its tables.
    pub schema: String,
    /// Its advisory lock.
    pub lock_key: i64,
}

/// Why a model's tables are not ready to be folded into.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The `backbone` schema.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The tables were folded from another log.
    #[error(
        "this database was folded from log {found}, Kafka now holds log {wanted}: the topic was recreated, or one of the \
         two addresses is wrong; name an empty database to fold this log from its beginning"
    )]
    OtherLog {
        /// What the database says.
        found: Uuid,
        /// What Kafka says.
        wanted: Uuid,
    },
    /// Schema, fold settings or folds are not those that the live generation was built with.
    #[error(
        "{schema} was folded by another definition ({found}) than this version's ({wanted}): its schema, fold settings or \
         folds have changed; start the version (or restore the settings) that built it, or fold into an empty database"
    )]
    DefinitionChanged {
        /// The live generation's schema.
        schema: String,
        /// Its definition, shortened.
        found: String,
        /// Ours, shortened.
        wanted: String,
    },
    /// Somebody's queries hold the stable views.
    #[error("the views of {model} could not be replaced: queries have been holding them for a minute; end them")]
    ViewsHeld {
        /// Whose views.
        model: String,
    },
    /// A statement failed.
    #[error("the tables or views of {model} could not be created")]
    Database {
        /// Whose tables.
        model: String,
        /// What PostgreSQL says.
        source: sqlx::Error,
    },
}

/// The definition of a model: what its rows are a function of, besides the events.
pub fn definition<M: ReadModel>(model: &M) -> String {
    let (settings, version) = (model.settings(), model.fold_version().to_string());
    let text = [model.schema_sql(), model.row_indexes_sql(), model.indexes_sql(), &settings, &version].join("\0");
    hex(&Sha256::digest(text))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The model's live generation, created with its views if there is none. `partitions` is the log's number of them.
///
/// # Errors
/// The database belongs to another log, or the live generation to another definition; PostgreSQL refuses a statement.
pub async fn ensure<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    log_id: Uuid,
    partitions: i32,
) -> Result<Generation, GenerationError> {
    let failed = |source| GenerationError::Database { model: model.name().to_owned(), source };
    let mut tx = connection.begin().await.map_err(failed)?;
    let (generation, views_hash) = ensure_tables(&mut tx, model, log_id).await?;
    rows_of_partitions(&mut tx, &generation, partitions).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    let wanted = hex(&Sha256::digest(model.views()));
    if views_hash.as_deref() != Some(wanted.as_str()) {
        replace_views(connection, model, &generation, &wanted).await?;
    }
    Ok(generation)
}

async fn ensure_tables<M: ReadModel>(
    tx: &mut PgConnection,
    model: &M,
    log_id: Uuid,
) -> Result<(Generation, Option<String>), GenerationError> {
    let failed = |source| GenerationError::Database { model: model.name().to_owned(), source };
    lock_setup(tx).await.map_err(failed)?;
    sqlx::query("INSERT INTO backbone.log (log_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(log_id)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    let found: Uuid =
        sqlx::query_scalar("SELECT log_id FROM backbone.log").fetch_one(&mut *tx).await.map_err(failed)?;
    if found != log_id {
        return Err(GenerationError::OtherLog { found, wanted: log_id });
    }
    let wanted = definition(model);
    if let Some((generation, views_hash)) = live(tx, model.name()).await.map_err(failed)? {
        if generation.definition != wanted {
            let short = |text: &str| text.chars().take(12).collect();
            return Err(GenerationError::DefinitionChanged {
                found: short(&generation.definition),
                wanted: short(&wanted),
                schema: generation.schema,
            });
        }
        return Ok((generation, views_hash));
    }
    Ok((create(tx, model, &wanted).await.map_err(failed)?, None))
}

/// The live generation of a model and the hash of its views.
async fn live(tx: &mut PgConnection, model: &str) -> Result<Option<(Generation, Option<String>)>, sqlx::Error> {
    let row: Option<(i32, String, String, i64, Option<String>)> = sqlx::query_as(
        "SELECT generation, definition, schema_name, lock_key, views_hash
         FROM backbone.generations WHERE model = $1 AND state = 'live'",
    )
    .bind(model)
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|(number, definition, schema, lock_key, views_hash)| {
        (Generation { model: model.to_owned(), number, definition, schema, lock_key }, views_hash)
    }))
}

/// The live generation of a model, if there is one.
///
/// # Errors
/// PostgreSQL refuses the statement.
pub async fn find_live(connection: &mut PgConnection, model: &str) -> Result<Option<Generation>, sqlx::Error> {
    Ok(live(connection, model).await?.map(|(generation, _)| generation))
}

async fn create<M: ReadModel>(tx: &mut PgConnection, model: &M, definition: &str) -> Result<Generation, sqlx::Error> {
    let name = model.name();
    let number: i32 =
        sqlx::query_scalar("SELECT coalesce(max(generation), 0) + 1 FROM backbone.generations WHERE model = $1")
            .bind(name)
            .fetch_one(&mut *tx)
            .await?;
    let schema = format!("{name}_g{number}");
    sqlx::raw_sql(&format!("CREATE SCHEMA {schema}; SET LOCAL search_path = {schema}")).execute(&mut *tx).await?;
    sqlx::raw_sql(model.schema_sql()).execute(&mut *tx).await?;
    sqlx::raw_sql("RESET search_path").execute(&mut *tx).await?;
    let lock_key: i64 = sqlx::query_scalar(
        "INSERT INTO backbone.generations (model, generation, definition, schema_name, state, loaded)
         VALUES ($1, $2, $3, $4, 'live', false) RETURNING lock_key",
    )
    .bind(name)
    .bind(number)
    .bind(definition)
    .bind(&schema)
    .fetch_one(&mut *tx)
    .await?;
    tracing::info!(model = name, schema, "generation created");
    Ok(Generation { model: name.to_owned(), number, definition: definition.to_owned(), schema, lock_key })
}

/// Whether batches may be folded into a generation: it has its indexes.
pub(crate) async fn is_loaded(connection: &mut PgConnection, g: &Generation) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT loaded FROM backbone.generations WHERE model = $1 AND generation = $2")
        .bind(&g.model)
        .bind(g.number)
        .fetch_one(connection)
        .await
}

/// Notes that a generation is loaded and has its indexes.
pub(crate) async fn note_loaded(connection: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE backbone.generations SET loaded = true WHERE model = $1 AND generation = $2")
        .bind(&g.model)
        .bind(g.number)
        .execute(connection)
        .await?;
    Ok(())
}

/// Has batches folded into a generation from the beginning: it gets its indexes while it is empty.
pub(crate) async fn index_empty<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    g: &Generation,
) -> Result<(), sqlx::Error> {
    if load::begin(connection, g).await? {
        sqlx::raw_sql(model.row_indexes_sql()).execute(&mut *connection).await?;
        sqlx::raw_sql(model.indexes_sql()).execute(&mut *connection).await?;
        note_loaded(connection, g).await?;
        sqlx::raw_sql("COMMIT").execute(connection).await?;
    }
    Ok(())
}

/// A checkpoint and a lease a partition; a partition added to the topic later begins at 0 as well.
async fn rows_of_partitions(tx: &mut PgConnection, g: &Generation, partitions: i32) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO backbone.checkpoints (model, generation, definition, partition)
         SELECT $1, $2, $3, generate_series(0, $4 - 1) ON CONFLICT DO NOTHING",
    )
    .bind(&g.model)
    .bind(g.number)
    .bind(&g.definition)
    .bind(partitions)
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO backbone.leases (model, generation, partition)
         SELECT $1, $2, generate_series(0, $3 - 1) ON CONFLICT DO NOTHING",
    )
    .bind(&g.model)
    .bind(g.number)
    .bind(partitions)
    .execute(tx)
    .await?;
    Ok(())
}

/// Creates or replaces the stable views. Waits for no reader for long and lets none queue.
async fn replace_views<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    generation: &Generation,
    hash: &str,
) -> Result<(), GenerationError> {
    let name = model.name();
    let views = model.views().replace("{model}", name).replace("{schema}", &generation.schema);
    let statements = format!(
        "SET LOCAL lock_timeout = '{VIEW_LOCK_TIMEOUT}';
         SELECT pg_advisory_xact_lock({SETUP_LOCK_KEY});
         CREATE SCHEMA IF NOT EXISTS {name};
         {views}
;
         GRANT USAGE ON SCHEMA {name} TO analyst;
         GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO analyst;
         UPDATE backbone.generations SET views_hash = '{hash}' WHERE model = '{name}' AND generation = {}",
        generation.number
    );
    for _ in 0..VIEW_TRIES_MAX {
        // Several statements in one simple query are one transaction.
        match sqlx::raw_sql(&statements).execute(&mut *connection).await {
            Ok(_) => return Ok(()),
            Err(error) if classify(&error) == Class::Conflict => tokio::time::sleep(VIEW_RETRY_PAUSE).await,
            Err(source) => return Err(GenerationError::Database { model: name.to_owned(), source }),
        }
    }
    Err(GenerationError::ViewsHeld { model: name.to_owned() })
}

/// Drops a generation with its tables and the views on them. For tests and for a repair from scratch: a running
/// projector of it stops at its next checkpoint.
///
/// # Errors
/// PostgreSQL refuses a statement.
pub async fn drop(connection: &mut PgConnection, generation: &Generation) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    lock_setup(&mut tx).await?;
    sqlx::raw_sql(&format!("DROP SCHEMA IF EXISTS {} CASCADE", generation.schema)).execute(&mut *tx).await?;
    sqlx::query("DELETE FROM backbone.generations WHERE model = $1 AND generation = $2")
        .bind(&generation.model)
        .bind(generation.number)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}
