//! A model's tables as a generation: a schema of their own, the definition they were folded by, the stable views on them.

use std::time::{Duration, Instant};

use domain::position::Offsets;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{Connection as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::backbone::{BackboneError, lock_setup};
use crate::background;
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

/// What a generation is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The stable views show it.
    Live,
    /// It is being built, or waits to be swapped in.
    Building,
    /// It was live before, and is folded on, so that it can be again.
    Retired,
    /// It is about to go: nobody folds it any more.
    Dropping,
}

impl State {
    /// As it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Building => "building",
            Self::Retired => "retired",
            Self::Dropping => "dropping",
        }
    }
}

/// A generation and what is known of it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Which.
    pub generation: Generation,
    /// What it is there for.
    pub state: State,
    /// Whether its log has been loaded: it is not, for as long as nothing of it is seen.
    pub is_loaded: bool,
    /// Why nobody folds it any more.
    pub failure: Option<String>,
    /// Events that a load has read so far.
    pub loading_events: Option<i64>,
    /// Whether a worker is at it.
    pub is_attended: bool,
    /// When it was created, RFC 3339.
    pub created_at: String,
    /// When another one took its place: the newest of these is the one to go back to.
    pub retired_at: Option<String>,
    pub(crate) views: Option<String>,
}

/// The statements that put views on a generation's tables, and their hash.
pub(crate) struct Views {
    pub(crate) statements: String,
    pub(crate) hash: String,
}

impl Views {
    /// The stable ones, of this definition.
    pub(crate) fn of<M: ReadModel>(model: &M, generation: &Generation) -> Self {
        Self::under(model, model.name(), generation)
    }

    /// The same under another schema.
    pub(crate) fn under<M: ReadModel>(model: &M, schema: &str, generation: &Generation) -> Self {
        let statements = model.views().replace("{model}", schema).replace("{schema}", &generation.schema);
        Self { statements, hash: hex(&Sha256::digest(model.views())) }
    }

    /// Puts the stable views on a generation, within a transaction, and notes how.
    pub(crate) async fn create(&self, tx: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
        let name = &g.model;
        let statements = format!(
            "CREATE SCHEMA IF NOT EXISTS {name};
             {}
;
             GRANT USAGE ON SCHEMA {name} TO analyst;
             GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO analyst",
            self.statements
        );
        sqlx::raw_sql(&statements).execute(&mut *tx).await?;
        sqlx::query("UPDATE backbone.generations SET views_hash = $3, views = $4 WHERE model = $1 AND generation = $2")
            .bind(&g.model)
            .bind(g.number)
            .bind(&self.hash)
            .bind(&self.statements)
            .execute(tx)
            .await?;
        Ok(())
    }
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
         folds have changed; `rapport replay {model}` builds a generation by this one and swaps it in, while a projector of \
         the version (or with the settings) that built {schema} keeps it up to date"
    )]
    DefinitionChanged {
        /// Whose tables.
        model: String,
        /// The generation's schema.
        schema: String,
        /// Its definition, shortened.
        found: String,
        /// Ours, shortened.
        wanted: String,
    },
    /// Another one is being built.
    #[error(
        "{schema} is being built already, by another version: `rapport generation drop {model}` removes it, or swap it in with \
         the version that builds it"
    )]
    OtherBuilt {
        /// Whose tables.
        model: String,
        /// Its schema.
        schema: String,
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

/// That a generation was folded by another definition than this one.
pub(crate) fn changed(generation: &Generation, wanted: &str) -> GenerationError {
    GenerationError::DefinitionChanged {
        model: generation.model.clone(),
        found: short(&generation.definition),
        wanted: short(wanted),
        schema: generation.schema.clone(),
    }
}

/// A definition as people are shown it.
pub fn short(definition: &str) -> String {
    definition.chars().take(12).collect()
}

/// Sees to it that a model has a live generation, with its views where it is of this definition. One of another is left as it
/// is. `partitions` is the log's number of them.
///
/// # Errors
/// The database belongs to another log; PostgreSQL refuses a statement.
pub async fn ensure<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    log_id: Uuid,
    partitions: i32,
) -> Result<Generation, GenerationError> {
    let failed = |source| GenerationError::Database { model: model.name().to_owned(), source };
    let mut tx = connection.begin().await.map_err(failed)?;
    ensure_log(&mut tx, model.name(), log_id).await?;
    let wanted = definition(model);
    let (generation, views_hash) = match live(&mut tx, model.name()).await.map_err(failed)? {
        Some(live) => live,
        None => (create(&mut tx, model, &wanted, State::Live).await.map_err(failed)?, None),
    };
    for own in list(&mut tx, model.name()).await.map_err(failed)? {
        if own.generation.definition == wanted {
            rows_of_partitions(&mut tx, &own.generation, partitions).await.map_err(failed)?;
        }
    }
    tx.commit().await.map_err(failed)?;
    let views = Views::of(model, &generation);
    if generation.definition == wanted && views_hash.as_deref() != Some(views.hash.as_str()) {
        replace_views(connection, &generation, &views).await?;
    }
    Ok(generation)
}

async fn ensure_log(tx: &mut PgConnection, model: &str, log_id: Uuid) -> Result<(), GenerationError> {
    let failed = |source| GenerationError::Database { model: model.to_owned(), source };
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
    Ok(())
}

/// Begins to build a generation of this definition beside the live one: projectors of this version find it and fold it. One
/// that is being built already is gone on with.
///
/// # Errors
/// One of another definition is being built; the database belongs to another log; PostgreSQL refuses a statement.
pub async fn build<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    log_id: Uuid,
    partitions: i32,
) -> Result<Generation, GenerationError> {
    let failed = |source| GenerationError::Database { model: model.name().to_owned(), source };
    let wanted = definition(model);
    let mut tx = connection.begin().await.map_err(failed)?;
    ensure_log(&mut tx, model.name(), log_id).await?;
    let listed = list(&mut tx, model.name()).await.map_err(failed)?;
    let generation = match listed.into_iter().find(|l| l.state == State::Building) {
        Some(building) if building.generation.definition == wanted => building.generation,
        Some(building) => {
            return Err(GenerationError::OtherBuilt {
                model: model.name().to_owned(),
                schema: building.generation.schema,
            });
        }
        None => create(&mut tx, model, &wanted, State::Building).await.map_err(failed)?,
    };
    rows_of_partitions(&mut tx, &generation, partitions).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(generation)
}

/// The generations of a model, the oldest first.
///
/// # Errors
/// PostgreSQL refuses the statement (no `backbone` schema: 42P01).
pub async fn list(connection: &mut PgConnection, model: &str) -> Result<Vec<Listed>, sqlx::Error> {
    let rows = sqlx::query(
        r#"SELECT g.generation, g.definition, g.schema_name, g.lock_key, g.state, g.loaded, g.failure, g.views,
                to_char(g.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
                to_char(g.retired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS retired_at,
                (SELECT max(w.loading_events) FROM backbone.workers AS w
                 WHERE (w.model, w.generation) = (g.model, g.generation) AND w.expires_at > clock_timestamp()
                ) AS loading_events,
                EXISTS (SELECT FROM backbone.workers AS w
                        WHERE (w.model, w.generation) = (g.model, g.generation) AND w.expires_at > clock_timestamp()
                          AND backbone.is_session(w.pid, w.backend_start)) AS is_attended
         FROM backbone.generations AS g WHERE g.model = $1 ORDER BY g.generation"#,
    )
    .bind(model)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| listed(model, row)).collect()
}

/// The schema of the generation whose turn it is to be loaded beside a live one, of whichever model: builds load one at a time,
/// and each is looked after and folded on to the log's end before the next.
///
/// # Errors
/// PostgreSQL refuses the statement.
pub async fn being_loaded(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT g.schema_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
         JOIN backbone.workers AS w ON a.application_name = format('rapport %s %s', w.model, w.worker)
         JOIN backbone.generations AS g USING (model, generation)
         WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint << 32) + l.objid::bigint = $1
           AND a.datname = current_database() AND g.state = 'building'
         LIMIT 1",
    )
    .bind(background::BUILD_LOCK_KEY)
    .fetch_optional(connection)
    .await
}

fn listed(model: &str, row: &PgRow) -> Result<Listed, sqlx::Error> {
    let state = match row.try_get("state")? {
        "live" => State::Live,
        "building" => State::Building,
        "dropping" => State::Dropping,
        _ => State::Retired,
    };
    let generation = Generation {
        model: model.to_owned(),
        number: row.try_get("generation")?,
        definition: row.try_get("definition")?,
        schema: row.try_get("schema_name")?,
        lock_key: row.try_get("lock_key")?,
    };
    Ok(Listed {
        generation,
        state,
        is_loaded: row.try_get("loaded")?,
        failure: row.try_get("failure")?,
        loading_events: row.try_get("loading_events")?,
        is_attended: row.try_get("is_attended")?,
        created_at: row.try_get("created_at")?,
        retired_at: row.try_get("retired_at")?,
        views: row.try_get("views")?,
    })
}

/// How far a generation has come.
///
/// # Errors
/// PostgreSQL refuses the statement.
pub async fn checkpoints(connection: &mut PgConnection, g: &Generation) -> Result<Offsets, sqlx::Error> {
    let rows: Vec<(i32, i64)> =
        sqlx::query_as("SELECT partition, next_offset FROM backbone.checkpoints WHERE model = $1 AND generation = $2")
            .bind(&g.model)
            .bind(g.number)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().collect())
}

/// Notes why nobody folds a generation any more.
pub(crate) async fn note_failure(
    connection: &mut PgConnection,
    model: &str,
    number: i32,
    failure: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE backbone.generations SET failure = $3 WHERE model = $1 AND generation = $2")
        .bind(model)
        .bind(number)
        .bind(failure)
        .execute(connection)
        .await?;
    Ok(())
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

async fn create<M: ReadModel>(
    tx: &mut PgConnection,
    model: &M,
    definition: &str,
    state: State,
) -> Result<Generation, sqlx::Error> {
    const NEXT_NUMBER: &str = "INSERT INTO backbone.generation_numbers AS n (model, last) VALUES ($1, 1)
        ON CONFLICT (model) DO UPDATE SET last = n.last + 1 RETURNING last";
    let name = model.name();
    let number: i32 = sqlx::query_scalar(NEXT_NUMBER).bind(name).fetch_one(&mut *tx).await?;
    let schema = format!("{name}_g{number}");
    sqlx::raw_sql(&format!("CREATE SCHEMA {schema}; SET LOCAL search_path = {schema}")).execute(&mut *tx).await?;
    sqlx::raw_sql(model.schema_sql()).execute(&mut *tx).await?;
    sqlx::raw_sql("RESET search_path").execute(&mut *tx).await?;
    let lock_key: i64 = sqlx::query_scalar(
        "INSERT INTO backbone.generations (model, generation, definition, schema_name, state, loaded)
         VALUES ($1, $2, $3, $4, $5, false) RETURNING lock_key",
    )
    .bind(name)
    .bind(number)
    .bind(definition)
    .bind(&schema)
    .bind(state.name())
    .fetch_one(&mut *tx)
    .await?;
    tracing::info!(model = name, schema, state = state.name(), "generation created");
    Ok(Generation { model: name.to_owned(), number, definition: definition.to_owned(), schema, lock_key })
}

/// Whether batches may be folded into a generation: it has its indexes. Nothing is folded into one that is gone.
pub(crate) async fn is_loaded(connection: &mut PgConnection, g: &Generation) -> Result<bool, sqlx::Error> {
    let loaded = sqlx::query_scalar("SELECT loaded FROM backbone.generations WHERE model = $1 AND generation = $2")
        .bind(&g.model)
        .bind(g.number)
        .fetch_optional(connection)
        .await?;
    loaded.ok_or_else(|| sqlx::Error::Protocol(format!("{} is gone", g.schema)))
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

/// Creates or replaces the stable views of the live generation. Waits for no reader for long and lets none queue.
async fn replace_views(
    connection: &mut PgConnection,
    generation: &Generation,
    views: &Views,
) -> Result<(), GenerationError> {
    let failed = |source| GenerationError::Database { model: generation.model.clone(), source };
    for _ in 0..VIEW_TRIES_MAX {
        let mut tx = connection.begin().await.map_err(failed)?;
        match replace_views_within(&mut tx, generation, views).await {
            Ok(()) => return tx.commit().await.map_err(failed),
            Err(error) if classify(&error) == Class::Conflict => {
                tx.rollback().await.map_err(failed)?;
                tokio::time::sleep(VIEW_RETRY_PAUSE).await;
            }
            Err(source) => return Err(failed(source)),
        }
    }
    Err(GenerationError::ViewsHeld { model: generation.model.clone() })
}

async fn replace_views_within(
    tx: &mut PgConnection,
    generation: &Generation,
    views: &Views,
) -> Result<(), sqlx::Error> {
    lock_setup(tx).await?;
    // Another one may have become the live one since it was looked at.
    if find_live(tx, &generation.model).await?.as_ref() == Some(generation) {
        sqlx::raw_sql(&format!("SET LOCAL lock_timeout = '{VIEW_LOCK_TIMEOUT}'")).execute(&mut *tx).await?;
        views.create(tx, generation).await?;
    }
    Ok(())
}

/// Drops a generation with its tables. The live one goes with its views: that is for tests and for a repair from scratch.
/// Projectors leave it first; what they are at in it is broken off. Waits for readers of its tables for up to `patience`.
///
/// # Errors
/// Somebody's statements hold its tables for longer (55P03), or PostgreSQL refuses a statement.
pub async fn drop(
    connection: &mut PgConnection,
    generation: &Generation,
    patience: Duration,
) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    lock_setup(&mut tx).await?;
    sqlx::query("UPDATE backbone.generations SET state = 'dropping' WHERE model = $1 AND generation = $2")
        .bind(&generation.model)
        .bind(generation.number)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    let began = Instant::now();
    loop {
        let mut tx = connection.begin().await?;
        match drop_within(&mut tx, generation).await {
            Ok(()) => return tx.commit().await,
            Err(error) if classify(&error) == Class::Conflict && began.elapsed() < patience => {
                tx.rollback().await?;
                tokio::time::sleep(VIEW_RETRY_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn drop_within(tx: &mut PgConnection, g: &Generation) -> Result<(), sqlx::Error> {
    // A load keeps its tables, or its place as their only one, until its session ends.
    sqlx::query(
        "SELECT pg_terminate_backend(a.pid) FROM backbone.leases AS l
         JOIN pg_stat_activity AS a ON a.pid = l.pid AND a.backend_start = l.backend_start
         WHERE l.model = $1 AND l.generation = $2 AND a.pid <> pg_backend_pid()",
    )
    .bind(&g.model)
    .bind(g.number)
    .execute(&mut *tx)
    .await?;
    sqlx::raw_sql(&format!(
        "SET LOCAL synchronous_commit = on; SET LOCAL lock_timeout = '1s'; SELECT pg_advisory_xact_lock({});
         DROP SCHEMA IF EXISTS {} CASCADE",
        g.lock_key, g.schema
    ))
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM backbone.generations WHERE model = $1 AND generation = $2")
        .bind(&g.model)
        .bind(g.number)
        .execute(tx)
        .await?;
    Ok(())
}
