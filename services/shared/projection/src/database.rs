//! Connections, and what PostgreSQL's errors ask of us.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _};

/// Limits that an administrator set for a role or a database are meant for people's queries. A batch that runs into one is
/// the same batch when it is tried again; how long anything may take is decided here. PostgreSQL 17 knows one more.
const NO_TIMEOUTS: &str = "
    SET statement_timeout = 0;
    SET lock_timeout = 0;
    SET idle_in_transaction_session_timeout = 0;
    SET idle_session_timeout = 0;
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'transaction_timeout'";

/// A statement whose client has gone ends within a second, and with it its locks: sorting an index looks at no socket by
/// itself. A server whose system cannot tell goes on without.
const NOTICE_A_CLOSED_SOCKET: &str = "DO $$ BEGIN
        PERFORM set_config('client_connection_check_interval', '1s', false);
    EXCEPTION WHEN OTHERS THEN NULL; END $$";

/// Connects; `name` is what `pg_stat_activity` shows.
///
/// # Errors
/// The address cannot be read or the server does not answer.
pub async fn connect(database_url: &str, name: &str) -> Result<PgConnection, sqlx::Error> {
    let options = PgConnectOptions::from_str(database_url)?.application_name(name).disable_statement_logging();
    let mut connection = options.connect().await?;
    // Rows of a batch are found again by its checkpoint, so its commit need not wait for the disk. Whatever must not be
    // given out twice (leases, generations) turns this on again for its transaction.
    connection.execute("SET synchronous_commit = off; SET timezone = 'UTC'; SET client_min_messages = warning").await?;
    connection.execute(NO_TIMEOUTS).await?;
    notice_a_closed_socket(&mut connection).await?;
    Ok(connection)
}

/// Has PostgreSQL end what it is at for a client that has gone.
///
/// # Errors
/// The connection is lost.
pub async fn notice_a_closed_socket(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(NOTICE_A_CLOSED_SOCKET).await.map(|_| ())
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 23505: an event was known already, or somebody was quicker.
    UniqueViolation,
    /// A deadlock or a serialization failure: the same again.
    Conflict,
    /// A value the tables cannot take: the event behind it must stand aside.
    Data,
    /// No space, no memory, a cancelled statement: the same again, after a pause.
    Resources,
    /// The connection is gone, or the server is going.
    Lost,
    /// A statement that can never work (a missing table, a missing right): stop.
    Broken,
}

/// Classifies an error by its SQLSTATE.
pub fn classify(error: &sqlx::Error) -> Class {
    let database = match error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            return Class::Lost;
        }
        sqlx::Error::Encode(_) => return Class::Data,
        _ => return Class::Broken,
    };
    let code = database.code().unwrap_or_default();
    match &*code {
        "23505" => Class::UniqueViolation,
        "57P01" | "57P02" | "57P03" | "57P05" => Class::Lost,
        "55P03" => Class::Conflict,
        "P0001" => Class::Data,
        _ => match code.get(..2).unwrap_or_default() {
            "40" => Class::Conflict,
            "21" | "22" | "23" | "44" | "54" => Class::Data,
            "08" => Class::Lost,
            "53" | "55" | "57" | "58" | "XX" => Class::Resources,
            _ => Class::Broken,
        },
    }
}
