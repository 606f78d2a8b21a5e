//! PostgreSQL as requests meet it: transactions from a pool; and whether it answers at all, asked on another connection.

use std::time::Duration;

use service_kit::Health;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction, postgres::PgConnectOptions};
use tokio::time::{sleep, timeout};

use crate::{past, problem::Problem, progress::Progress};

/// The condition of readiness that PostgreSQL answers.
pub(crate) const DATABASE: &str = "database";
/// The condition of readiness that all models are there.
pub(crate) const MODELS: &str = "models";

/// How often it is asked whether the database answers.
const READINESS_INTERVAL: Duration = Duration::from_secs(1);
/// How long one such question may take.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// What a transaction may do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// Nothing but read.
    Read,
    /// Write what it takes back at its end.
    Write,
}

/// Where requests get their transactions from.
pub(crate) struct Database {
    pool: PgPool,
    health: Health,
}

impl Database {
    /// Requests share `pool`; what [`watch`] finds is in `health`.
    pub(crate) fn new(pool: PgPool, health: Health) -> Self {
        Self { pool, health }
    }

    /// Begins the transaction of one request.
    pub(crate) async fn begin(&self, access: Access) -> Result<Transaction<'static, Postgres>, Problem> {
        let begin = match access {
            Access::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Access::Write => "BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE",
        };
        match self.pool.begin_with(begin).await {
            // The pool tries to connect until its time is up, and then says no more than that: whether there was nobody
            // to connect to, or every connection was taken, is known here alone.
            Err(sqlx::Error::PoolTimedOut) if !self.answers() => Err(Problem::unavailable()),
            Err(error) if matches!(access, Access::Write) => Err(past::not_made(error)),
            begun => Ok(begun?),
        }
    }

    fn answers(&self) -> bool {
        self.health.snapshot().get(DATABASE).is_some_and(|condition| condition.holds)
    }
}

/// A connection beside the pool, on which checkpoints are read: requests that fill the pool cannot delay it.
pub(crate) struct Checkpoints {
    database: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Checkpoints {
    /// Connects with the first reading.
    pub(crate) fn new(database: PgConnectOptions) -> Self {
        Self { database, connection: None }
    }

    /// One reading. A connection that has lain idle may have died with a restarted server, so a failure on an old
    /// connection is tried once more on a new one. Dropped in the middle of it, the next reading begins with a new one.
    pub(crate) async fn read(&mut self) -> Result<Progress, sqlx::Error> {
        if let Some(mut connection) = self.connection.take()
            && let Ok(progress) = Progress::read_if_any(&mut connection).await
        {
            self.connection = Some(connection);
            return Ok(progress);
        }
        let mut connection = PgConnection::connect_with(&self.database).await?;
        let progress = Progress::read_if_any(&mut connection).await?;
        self.connection = Some(connection);
        Ok(progress)
    }
}

/// Asks the database again and again whether it answers, and whether all models are there.
pub(crate) async fn watch(mut checkpoints: Checkpoints, health: Health) {
    loop {
        match timeout(READINESS_TIMEOUT, checkpoints.read()).await {
            Ok(Ok(progress)) => {
                health.holds(DATABASE);
                match progress.missing()[..] {
                    [] => health.holds(MODELS),
                    ref missing => health.fails(MODELS, format!("no live generation of {}", missing.join(", "))),
                }
            }
            Ok(Err(error)) => health.fails(DATABASE, error.to_string()),
            Err(_) => health.fails(DATABASE, format!("no answer within {} s", READINESS_TIMEOUT.as_secs())),
        }
        sleep(READINESS_INTERVAL).await;
    }
}
