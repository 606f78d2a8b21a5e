//! Making another generation the live one: the stable views are put on its tables in one transaction. Readers of the old one
//! read on; nobody waits for long, since each try gives up after a moment and lets those who came behind it pass.

use std::fmt;
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::time::Instant;

use crate::backbone::lock_setup;
use crate::database::{Class, classify};
use crate::failpoint::{Step, reach};
use crate::generation::{self, Generation, State, Views};
use crate::model::ReadModel;

/// Locks the table that readers of one snapshot share, and all views: whoever wants to read one meanwhile waits as long as
/// this does. The time for all of them together is bounded, not for each.
const LOCK_VIEWS: &str = "DO $$
    DECLARE
        until timestamptz := clock_timestamp() + interval '{ms} ms';
        statement text;
    BEGIN
        FOR statement IN
            SELECT 'LOCK TABLE backbone.swaps IN ACCESS EXCLUSIVE MODE'
            UNION ALL
            (SELECT format('ALTER VIEW %s OWNER TO CURRENT_USER', c.oid::regclass) FROM pg_class AS c
             WHERE c.relnamespace = to_regnamespace('{model}') AND c.relkind = 'v' ORDER BY c.oid)
        LOOP
            PERFORM set_config(
                'lock_timeout', greatest(1, ceil(extract(epoch FROM until - clock_timestamp()) * 1000))::text, true);
            EXECUTE statement;
        END LOOP;
    END
    $$;
    SET LOCAL lock_timeout = '150ms'";
/// How long the first tries may take for that, and all after them: those who come behind wait as long. Long ones get past
/// readers that are never all done; with the views put in their place and the commit it stays below a second.
const LOCK_MS: [u32; 4] = [20, 100, 300, 800];
/// Between two tries readers are left alone for so many times as long as one may take.
const PAUSE_FACTOR: u32 = 6;
/// A transaction that has held a view for so long is likely to go on: to try beside it would hold others up for nothing …
const LONG: Duration = Duration::from_secs(2);
/// … but where there is always one, it has to be tried.
const LONG_PATIENCE: Duration = Duration::from_secs(15);
/// A generation that nobody folds does not catch up.
const UNATTENDED_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at who holds the views, and two tries at least: for those who waited behind one.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The same where the generation is behind: the live one folds on meanwhile.
const BEHIND_PAUSE: Duration = Duration::from_millis(500);
/// A generation that is so few events behind is waited for while the live one stands still: where events come in all the
/// time, two that are folded side by side are hardly ever even.
const CLOSE_EVENTS: i64 = 2_000;
/// For so long at each try. What is published meanwhile is seen later by as much, and by what it takes to lock the views.
const EVEN_WAIT: Duration = Duration::from_millis(400);
const EVEN_PAUSE: Duration = Duration::from_millis(10);
/// For how long the live one's checkpoints may be held by somebody else.
const CHECKPOINTS_MS: u32 = 500;
/// How often it is told what is waited for.
const TELL_PAUSE: Duration = Duration::from_secs(2);

/// What a swap waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The generation is so many events behind the live one.
    Behind(i64),
    /// A batch of the live one has not ended.
    Busy,
    /// Somebody's transactions hold the views.
    Held(Holders),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Behind(events) => write!(f, "it is {events} events behind the live generation"),
            Self::Busy => f.write_str("a batch of the live generation has not ended"),
            Self::Held(holders) => holders.fmt(f),
        }
    }
}

/// Who holds the views of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    /// How many transactions.
    pub transactions: i64,
    /// The process of the oldest one, as `pg_stat_activity` lists it.
    pub pid: Option<i32>,
    /// Since when that is open, in seconds; of other users' only those know who may read all statistics.
    pub seconds: Option<i64>,
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transactions = match self.transactions {
            0 => return f.write_str("by now nobody holds the views"),
            1 => "transaction holds",
            _ => "transactions hold",
        };
        write!(f, "{} {transactions} the views", self.transactions)?;
        match (self.pid, self.seconds) {
            (Some(pid), Some(seconds)) => write!(f, ", the oldest one (pid {pid}) since {seconds} s"),
            (Some(pid), None) => write!(f, ", one of them is of pid {pid}"),
            (None, _) => Ok(()),
        }
    }
}

/// Why a generation did not become the live one.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// It does not exist, or is live already.
    #[error("{0}")]
    Unfit(String),
    /// It was folded by another definition than this version's, and the statements for its views are not known.
    #[error(
        "{schema} was folded by another definition ({found}) than this version's ({wanted}): swap it in with the version \
         that built it"
    )]
    OtherDefinition {
        /// Its schema.
        schema: String,
        /// Its definition, shortened.
        found: String,
        /// Ours, shortened.
        wanted: String,
    },
    /// It has not reached the live one in time.
    #[error(
        "{schema} is {events} events behind the live generation and does not catch up; does a projector of the version that \
         built it run?"
    )]
    Behind {
        /// Its schema.
        schema: String,
        /// By how much.
        events: i64,
    },
    /// The live generation's batches do not end.
    #[error(
        "{schema} could not be swapped in for {seconds} s: a batch of the live generation does not end; `rapport status` says \
         what its projector does"
    )]
    Busy {
        /// The generation's schema.
        schema: String,
        /// For how long it was tried.
        seconds: u64,
    },
    /// Queries have been holding the views all the time.
    #[error(
        "the views of {model} could not be put on {schema}: somebody's queries have been holding them for {seconds} s \
         ({holders}); end them (see pg_stat_activity) or try again later"
    )]
    Held {
        /// Whose views.
        model: String,
        /// The generation's schema.
        schema: String,
        /// For how long it was tried.
        seconds: u64,
        /// Who does so now.
        holders: Holders,
    },
    /// The views of the generation lack columns that the stable ones have gained since, or have others.
    #[error(
        "the stable views of {model} cannot be put on {schema}, whose own were others ({reason}): views only ever gain \
         columns; `rapport replay {model}` builds a generation that has them all"
    )]
    FewerColumns {
        /// Whose views.
        model: String,
        /// The generation's schema.
        schema: String,
        /// What PostgreSQL says.
        reason: String,
    },
    /// A statement failed.
    #[error("the generation could not be swapped in")]
    Database(#[from] sqlx::Error),
}

/// Makes a generation the live one, once it has reached the live one's checkpoint in every partition. Its views are
/// `model`'s where it was built by this definition, else those it had when it was live. `outgoing`: what becomes of the one
/// that is live: retired, to go back to; or, when that is what happens here, building, to be swapped in again. `tell` is told
/// now and then what it waits for.
///
/// # Errors
/// It does not fit, does not catch up or its views are held for longer than `patience`.
pub async fn swap<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    number: i32,
    outgoing: State,
    patience: Duration,
    mut tell: impl FnMut(&Waiting),
) -> Result<Generation, SwapError> {
    let found = generation::list(connection, model.name()).await?.into_iter().find(|g| g.generation.number == number);
    let Some(found) = found else {
        return Err(SwapError::Unfit(format!("{} has no generation {number}", model.name())));
    };
    match found.state {
        State::Live => return Err(SwapError::Unfit(format!("{} is live already", found.generation.schema))),
        State::Building | State::Retired if found.is_loaded => {}
        _ => return Err(SwapError::Unfit(format!("{} is not built yet", found.generation.schema))),
    }
    let views = match (found.generation.definition == generation::definition(model), found.views) {
        (true, _) => Views::of(model, &found.generation),
        (false, Some(statements)) => Views { statements, hash: String::new() },
        (false, None) => {
            return Err(SwapError::OtherDefinition {
                found: generation::short(&found.generation.definition),
                wanted: generation::short(&generation::definition(model)),
                schema: found.generation.schema,
            });
        }
    };
    let (began, mut held) = (Instant::now(), 0);
    let (mut tried_at, mut told_at) = (began, began);
    loop {
        let seconds = holders(connection, &found.generation.model).await?.seconds;
        let is_long = seconds.is_some_and(|seconds| seconds >= LONG.as_secs().cast_signed());
        // Beside one that does not end, only a long try gets past the others.
        let lock_ms = if is_long { LOCK_MS.len() - 1 } else { held.min(LOCK_MS.len() - 1) };
        let lock_ms = LOCK_MS[lock_ms];
        let tried = if is_long && tried_at.elapsed() < LONG_PATIENCE {
            Tried::Held
        } else {
            tried_at = Instant::now();
            let tried = attempt(connection, &found.generation, &views, outgoing, lock_ms).await?;
            held += usize::from(matches!(tried, Tried::Held));
            tried
        };
        let is_over = began.elapsed() > patience;
        let Generation { model, schema, .. } = found.generation.clone();
        let (waiting, pause) = match tried {
            Tried::Swapped => return Ok(found.generation),
            Tried::Behind(events) if is_over || left_alone(connection, &found.generation, began).await? => {
                return Err(SwapError::Behind { schema, events });
            }
            Tried::Busy if is_over => return Err(SwapError::Busy { schema, seconds: patience.as_secs() }),
            Tried::Behind(events) => (Waiting::Behind(events), BEHIND_PAUSE),
            Tried::Busy => (Waiting::Busy, BEHIND_PAUSE),
            Tried::Held => {
                let holders = holders(connection, &model).await?;
                if is_over {
                    return Err(SwapError::Held { model, schema, seconds: patience.as_secs(), holders });
                }
                let others = Duration::from_millis((lock_ms * PAUSE_FACTOR).into()).max(RETRY_PAUSE);
                (Waiting::Held(holders), if is_long { RETRY_PAUSE } else { others })
            }
        };
        if told_at.elapsed() > TELL_PAUSE {
            told_at = Instant::now();
            tell(&waiting);
        }
        tokio::time::sleep(pause).await;
    }
}

/// Who holds the views of a model, beside us.
async fn holders(connection: &mut PgConnection, model: &str) -> Result<Holders, sqlx::Error> {
    const HOLDERS: &str = "WITH held AS (
            SELECT l.pid, min(a.xact_start) AS since
            FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a USING (pid)
            WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid()
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND (l.relation = 'backbone.swaps'::regclass
                    OR l.relation IN (
                        SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'v'))
            GROUP BY l.pid
        )
        SELECT count(*) AS transactions, (array_agg(pid ORDER BY since))[1] AS pid,
            floor(extract(epoch FROM clock_timestamp() - min(since)))::bigint AS seconds
        FROM held";
    let (transactions, pid, seconds) = sqlx::query_as(HOLDERS).bind(model).fetch_one(connection).await?;
    Ok(Holders { transactions, pid, seconds })
}

/// Whether nobody has folded a generation for a while.
async fn left_alone(connection: &mut PgConnection, g: &Generation, since: Instant) -> Result<bool, sqlx::Error> {
    if since.elapsed() < UNATTENDED_PATIENCE {
        return Ok(false);
    }
    let listed = generation::list(connection, &g.model).await?;
    Ok(listed.iter().any(|l| l.generation == *g && !l.is_attended))
}

enum Tried {
    Swapped,
    Behind(i64),
    /// The live one's checkpoints are held by a batch.
    Busy,
    Held,
}

async fn attempt(
    connection: &mut PgConnection,
    g: &Generation,
    views: &Views,
    outgoing: State,
    lock_ms: u32,
) -> Result<Tried, SwapError> {
    let mut tx = connection.begin().await?;
    let tried = match attempt_within(&mut tx, g, views, outgoing, lock_ms).await {
        Ok(Tried::Swapped) => {
            reach(Step::SwapBeforeCommit);
            let committed = tx.commit().await;
            reach(Step::SwapAfterCommit);
            committed.map(|()| Tried::Swapped)
        }
        Ok(tried) => tx.rollback().await.map(|()| tried),
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    };
    match tried {
        Err(error) if classify(&error) == Class::Conflict => Ok(Tried::Held),
        Err(error) if is_fewer_columns(&error) => {
            Err(SwapError::FewerColumns { model: g.model.clone(), schema: g.schema.clone(), reason: error.to_string() })
        }
        tried => Ok(tried?),
    }
}

async fn attempt_within(
    tx: &mut PgConnection,
    g: &Generation,
    views: &Views,
    outgoing: State,
    lock_ms: u32,
) -> Result<Tried, sqlx::Error> {
    lock_setup(tx).await?;
    sqlx::raw_sql(&format!("SET LOCAL lock_timeout = '{CHECKPOINTS_MS}ms'")).execute(&mut *tx).await?;
    // The live one's checkpoints before any view: no reader waits until the two are even.
    let began = Instant::now();
    loop {
        match behind(tx, g).await {
            Err(error) if classify(&error) == Class::Conflict => return Ok(Tried::Busy),
            Err(error) => return Err(error),
            Ok(..=0) => break,
            Ok(events) if events > CLOSE_EVENTS || began.elapsed() > EVEN_WAIT => return Ok(Tried::Behind(events)),
            Ok(_) => tokio::time::sleep(EVEN_PAUSE).await,
        }
    }
    let lock_views = LOCK_VIEWS.replace("{model}", &g.model).replace("{ms}", &lock_ms.to_string());
    sqlx::raw_sql(&lock_views).execute(&mut *tx).await?;
    views.create(tx, g).await?;
    sqlx::query(
        "UPDATE backbone.generations
         SET state = $2, retired_at = CASE WHEN $2 = 'retired' THEN clock_timestamp() END
         WHERE model = $1 AND state = 'live'",
    )
    .bind(&g.model)
    .bind(outgoing.name())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE backbone.generations SET state = 'live', retired_at = NULL, failure = NULL
         WHERE model = $1 AND generation = $2",
    )
    .bind(&g.model)
    .bind(g.number)
    .execute(&mut *tx)
    .await?;
    Ok(Tried::Swapped)
}

/// How many events a generation is behind the live one, whose checkpoints stand still from here on; its own may move.
async fn behind(tx: &mut PgConnection, g: &Generation) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(
        "WITH live AS MATERIALIZED (
             SELECT c.partition, c.next_offset
             FROM backbone.checkpoints AS c JOIN backbone.generations AS g USING (model, generation)
             WHERE g.model = $1 AND g.state = 'live' FOR UPDATE OF c
         )
         SELECT coalesce(sum(greatest(live.next_offset - coalesce(other.next_offset, 0), 0)), 0)::bigint
         FROM live LEFT JOIN backbone.checkpoints AS other
           ON other.model = $1 AND other.generation = $2 AND other.partition = live.partition",
    )
    .bind(&g.model)
    .bind(g.number)
    .fetch_one(tx)
    .await
}

/// A view would lose a column, or have another one in its place.
fn is_fewer_columns(error: &sqlx::Error) -> bool {
    const INVALID_TABLE_DEFINITION: &str = "42P16";
    error.as_database_error().and_then(|e| e.code()).is_some_and(|code| code == INVALID_TABLE_DEFINITION)
}
