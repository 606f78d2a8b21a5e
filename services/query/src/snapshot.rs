//! One snapshot over the three models: a read-only REPEATABLE READ transaction that also reads the checkpoints, opened
//! only at or after the position that the client asked for.

use std::time::Duration;

use domain::Position;
use projection::positions::{self, Behind, DeadLetter};
use serde_json::{Value, json};
use sqlx::{PgConnection, Postgres, Transaction};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    database::{Access, Database},
    metrics::{self, WaitEnd},
    params::Params,
    problem::{Kind, Problem},
    progress::{self, Compared, MODELS, Progress},
    waiting::{Waited, Waiting},
};

/// The largest `wait_ms`.
const WAIT_MS_MAX: u64 = 60_000;
/// Of the dead letters in a position's range, this many are named.
const DEAD_LETTERS_MAX: usize = 100;

/// What a request asks to be waited for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    position: Option<Position>,
    wait: Duration,
}

impl Wanted {
    /// From the header `Rapport-Position` or the parameter `position`; the parameter wins, being the more deliberate.
    pub(crate) fn take(params: &mut Params, header: Option<&str>, wait_default: Duration) -> Result<Self, Problem> {
        let wait = params.number("wait_ms", 0..=WAIT_MS_MAX).map_or(wait_default, Duration::from_millis);
        let token = params
            .take_filled("position")
            .or_else(|| header.map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned));
        let position = match token {
            Some(token) => Some(Position::parse(&token).map_err(|why| Problem::new(Kind::Position, why.to_string()))?),
            None => None,
        };
        Ok(Self { position, wait })
    }

    /// The same, or this position where none is asked for.
    pub(crate) fn or_position(&self, position: &Position) -> Self {
        Self { position: self.position.clone().or_else(|| Some(position.clone())), ..self.clone() }
    }
}

/// The schemas in which a snapshot's views are, by the names that statements have for them: `{sales}.orders`.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) sales: String,
    pub(crate) service: String,
    pub(crate) customer360: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { sales: "sales".into(), service: "service".into(), customer360: "customer360".into() }
    }
}

impl Names {
    /// Puts them into a statement.
    pub(crate) fn sql(&self, text: &str) -> String {
        let named = text.replace("{sales}", &self.sales).replace("{service}", &self.service);
        named.replace("{customer360}", &self.customer360)
    }
}

/// An open snapshot.
pub(crate) struct Snapshot {
    transaction: Transaction<'static, Postgres>,
    /// What the three models had reached in it.
    pub(crate) progress: Progress,
    /// Dead letters among the events that the position's publish appended.
    dead_letters: Option<Value>,
    /// Where its views are.
    pub(crate) names: Names,
    /// One of those who fold the past, until it is closed.
    folding: Option<OwnedSemaphorePermit>,
}

impl Snapshot {
    /// Opens a snapshot in which the wanted position is reached, waiting for it if need be. Checked again inside the
    /// snapshot, since only that is what the answer is read from.
    pub(crate) async fn at(database: &Database, waiting: &Waiting, wanted: &Wanted) -> Result<Self, Problem> {
        Self::opened_at(database, Access::Read, waiting, wanted).await
    }

    /// The same, with tables that may be written until it is closed, which takes everything back.
    pub(crate) async fn writable_at(database: &Database, waiting: &Waiting, wanted: &Wanted) -> Result<Self, Problem> {
        Self::opened_at(database, Access::Write, waiting, wanted).await
    }

    async fn opened_at(
        database: &Database,
        access: Access,
        waiting: &Waiting,
        wanted: &Wanted,
    ) -> Result<Self, Problem> {
        let Some(position) = &wanted.position else { return Self::open(database, access).await };
        let deadline = Instant::now() + wanted.wait;
        // Since it has had to wait at all.
        let mut waiting_since: Option<Instant> = None;
        let ended = |since: Option<Instant>, end| {
            if let Some(since) = since {
                metrics::waited(end, since.elapsed());
            }
        };
        loop {
            let last = Instant::now() >= deadline;
            let mut snapshot = Self::open(database, access).await?;
            match snapshot.progress.compare(position) {
                Compared::Reached => {
                    ended(waiting_since, WaitEnd::Reached);
                    snapshot.find_dead_letters(position).await?;
                    return Ok(snapshot);
                }
                Compared::OtherLog => return Err(other_log(&snapshot.progress)),
                Compared::Behind(behind) if last => {
                    ended(waiting_since, WaitEnd::TimedOut);
                    return Err(not_reached(&snapshot.progress, &behind, wanted.wait));
                }
                Compared::Behind(_) => {}
            }
            snapshot.close().await?;
            waiting_since.get_or_insert_with(Instant::now);
            if waiting.until(position, deadline).await == Waited::Unavailable {
                ended(waiting_since, WaitEnd::Unavailable);
                return Err(Problem::unavailable());
            }
        }
    }

    async fn open(database: &Database, access: Access) -> Result<Self, Problem> {
        let mut transaction = database.begin(access).await?;
        // Before the snapshot is taken: a generation swapped in behind it would be read as it was then, which may be less
        // than the positions that are read here.
        match sqlx::query("LOCK TABLE backbone.swaps IN ACCESS SHARE MODE").execute(&mut *transaction).await {
            Ok(_) => {}
            // A database of before, in which nothing is swapped yet, or one without anything.
            Err(error) if progress::is_nothing_there(&error) => {
                transaction.rollback().await?;
                transaction = database.begin(access).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let progress = match Progress::read(&mut transaction).await {
            Ok(progress) => progress,
            Err(error) if progress::is_nothing_there(&error) => {
                // No projector has ever started here. The error spoils the transaction; a new one takes its place.
                transaction.rollback().await?;
                transaction = database.begin(access).await?;
                Progress::default()
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { transaction, progress, dead_letters: None, names: Names::default(), folding: None })
    }

    /// Ends the transaction in time, so that its connection goes back to the pool clean.
    pub(crate) async fn close(self) -> Result<(), Problem> {
        self.transaction.rollback().await.map_err(Problem::from)
    }

    /// The connection, once all three models are there. Unqualified names are customer360's tables from then on: the
    /// stable views are for people, and what a page asks by customer needs the indexes behind them.
    pub(crate) async fn models(&mut self) -> Result<&mut PgConnection, Problem> {
        let missing = self.progress.missing();
        if let (true, Some(graph)) = (missing.is_empty(), self.progress.models.get("customer360")) {
            let path = format!("\"{}\", pg_catalog", graph.schema.replace('"', "\"\""));
            sqlx::query("SELECT set_config('search_path', $1, true)")
                .bind(path)
                .execute(&mut *self.transaction)
                .await?;
            return Ok(&mut self.transaction);
        }
        let detail = format!("no live generation of {}; is its projector running?", missing.join(", "));
        Err(Problem::new(Kind::ModelsNotReady, detail).with("models", json!(missing)).at(self.progress.token()))
    }

    /// The connection, whichever models are there.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Shows another progress and other views from here on.
    pub(crate) fn become_past(&mut self, progress: Progress, names: Names, folding: OwnedSemaphorePermit) {
        (self.progress, self.names, self.folding) = (progress, names, Some(folding));
    }

    /// Whether it shows the past.
    pub(crate) fn is_past(&self) -> bool {
        self.folding.is_some()
    }

    /// The dead letters as the answer's member; `None` where there are none to be named.
    pub(crate) fn dead_letters(&self) -> Option<Value> {
        self.dead_letters.clone()
    }

    async fn find_dead_letters(&mut self, position: &Position) -> Result<(), Problem> {
        let letters = positions::dead_letters(&mut self.transaction, position).await?;
        self.dead_letters =
            (!letters.is_empty()).then(|| letters.iter().take(DEAD_LETTERS_MAX).map(dead_letter).collect());
        Ok(())
    }
}

fn dead_letter(letter: &DeadLetter) -> Value {
    json!({
        "model": letter.model,
        "partition": letter.partition,
        "offset": letter.log_offset,
        "event_id": letter.event_id,
        "type": letter.event_type,
        "error": letter.error,
    })
}

pub(crate) fn other_log(progress: &Progress) -> Problem {
    Problem::new(
        Kind::OtherLog,
        "this position was given out for another log than the one the read models are built from; \
         publish and ask against the same installation, and drop positions from before the log was rewritten",
    )
    .at(progress.token())
}

pub(crate) fn not_reached(progress: &Progress, behind: &[Behind], wait: Duration) -> Problem {
    let names: Vec<_> = MODELS.into_iter().filter(|model| behind.iter().any(|b| b.model == *model)).collect();
    let detail = match progress.log_id {
        None => "no read model has been started yet".to_owned(),
        Some(_) => format!("after {} ms, {} had not reached the position", wait.as_millis(), names.join(", ")),
    };
    Problem::new(Kind::NotReached, detail).with("models", progress::behind_json(behind)).at(progress.token())
}
