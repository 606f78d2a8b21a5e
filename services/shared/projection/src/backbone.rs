//! The `backbone` schema: the only one with migrations.

use sqlx::{Connection as _, PgConnection};

/// Numbered, in order, never changed once released.
const MIGRATIONS: &[(i32, &str)] = &[
    (1, include_str!("../sql/backbone/0001_backbone.sql")),
    (2, include_str!("../sql/backbone/0002_loaded.sql")),
    // Nothing but what roles do: the analysts' time limits.
    (3, ""),
    (4, include_str!("../sql/backbone/0004_has_reached.sql")),
    (5, include_str!("../sql/backbone/0005_generations.sql")),
    (6, include_str!("../sql/backbone/0006_moments.sql")),
];
/// Runs behind any migration: a change of it needs one.
const ROLES: &str = include_str!("../sql/backbone/roles.sql");

/// Held while schemas are created, so that services that start together do it one after another.
pub const SETUP_LOCK_KEY: i64 = 7_265_677_081;

/// Lets one at a time set things up, until its transaction ends; it is on disk then. Whoever is stopped in the middle of
/// it holds the others up for half a minute and not for ever.
pub(crate) async fn lock_setup(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    const LIMITS: &str = "SET LOCAL synchronous_commit = on; SET LOCAL idle_in_transaction_session_timeout = '30s'";
    sqlx::raw_sql(LIMITS).execute(&mut *tx).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SETUP_LOCK_KEY).execute(tx).await?;
    Ok(())
}

/// Why the `backbone` schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// A newer version has been here.
    #[error("the database is at backbone migration {found}, this version knows only {known}; start the newer version")]
    Newer {
        /// Migration found.
        found: i32,
        /// The last one known.
        known: i32,
    },
    /// PostgreSQL is older than 15.
    #[error("PostgreSQL {version} is too old; 15 or newer is needed")]
    TooOld {
        /// What the server says.
        version: String,
    },
    /// A time zone PostgreSQL does not know.
    #[error("PostgreSQL knows no time zone {0:?}; see pg_timezone_names")]
    TimeZone(String),
    /// A statement failed.
    #[error("the backbone schema could not be brought up to date")]
    Database(#[from] sqlx::Error),
}

/// Creates or migrates the `backbone` schema, the role `analyst` and the schema `workspace`. Safe to call from many
/// services at once.
///
/// # Errors
/// The server is too old, has been used by a newer version, or refuses a statement.
pub async fn migrate(connection: &mut PgConnection) -> Result<(), BackboneError> {
    let (number, version): (i32, String) =
        sqlx::query_as("SELECT current_setting('server_version_num')::int, current_setting('server_version')")
            .fetch_one(&mut *connection)
            .await?;
    if number < 150_000 {
        return Err(BackboneError::TooOld { version });
    }
    let mut tx = connection.begin().await?;
    lock_setup(&mut tx).await?;
    sqlx::raw_sql(
        "CREATE SCHEMA IF NOT EXISTS backbone;
         CREATE TABLE IF NOT EXISTS backbone.migrations (
             version integer PRIMARY KEY,
             applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
         )",
    )
    .execute(&mut *tx)
    .await?;
    let found: i32 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM backbone.migrations").fetch_one(&mut *tx).await?;
    let known = MIGRATIONS.last().map_or(0, |(version, _)| *version);
    if found > known {
        return Err(BackboneError::Newer { found, known });
    }
    for (version, sql) in MIGRATIONS.iter().filter(|(version, _)| *version > found) {
        sqlx::raw_sql(sql).execute(&mut *tx).await?;
        sqlx::query("INSERT INTO backbone.migrations (version) VALUES ($1)").bind(version).execute(&mut *tx).await?;
    }
    if found < known {
        sqlx::raw_sql(ROLES).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Sets the zone in which reports cut days and months. Only views read it: nothing is folded again.
///
/// # Errors
/// PostgreSQL does not know the zone, or refuses the statement.
pub async fn set_reporting_timezone(connection: &mut PgConnection, zone: &str) -> Result<(), BackboneError> {
    let mut tx = connection.begin().await?;
    lock_setup(&mut tx).await?;
    let (known, current): (bool, String) =
        sqlx::query_as("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1), backbone.reporting_timezone()")
            .bind(zone)
            .fetch_one(&mut *tx)
            .await?;
    if !known {
        return Err(BackboneError::TimeZone(zone.to_owned()));
    }
    if current != zone {
        // The name was found among PostgreSQL's own, and quotes are doubled: nothing else can get in here.
        let literal = zone.replace('\'', "''");
        let function = format!(
            "CREATE OR REPLACE FUNCTION backbone.reporting_timezone() RETURNS text
             LANGUAGE sql STABLE PARALLEL SAFE RETURN '{literal}'::text"
        );
        sqlx::raw_sql(&function).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(())
}
