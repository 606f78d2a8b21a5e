//! One batch into one transaction: the three modes, what is tried again, what is set aside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use domain::Namespace;
use rand::Rng as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::checkpoint::{self, Held};
use crate::database::{Class, classify};
use crate::dead_letters;
use crate::failpoint::{Step, reach};
use crate::generation::Generation;
use crate::metrics::{Figures, Retry};
use crate::model::{ApplyError, BatchTx, Mode, ReadModel};
use crate::status::{Part, Status};
use crate::unit::Unit;

/// The first pause before an attempt is made again; it doubles …
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// … up to this one.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A unique violation in a mode that looked first comes from somebody quicker: after this many it is the event's own.
const RACES_MAX: u32 = 8;
/// A server that is short of something once may have it the next moment; the second time the status says so …
const SHORTAGES_TOLD: u32 = 2;
/// … and after this many attempts it tells of conflicts too, of which some are to be expected.
const ATTEMPTS_TOLD: u32 = 8;
/// Within a load an attempt is made this often: the load's own transaction may be what is in the way.
const ATTEMPTS_WITHIN_MAX: u32 = 3;
/// After a batch that was known in part, at most this many batches look first.
const CAREFUL_MAX: u32 = 64;

const SAVEPOINT: &str = "SAVEPOINT unit";
const RELEASE: &str = "RELEASE SAVEPOINT unit";
const ROLLBACK_TO: &str = "ROLLBACK TO SAVEPOINT unit";

/// Why folding ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    /// The connection is gone; whether the last commit went through is not known.
    #[error("the connection to PostgreSQL was lost")]
    Lost(#[source] sqlx::Error),
    /// Somebody else holds a partition of the batch.
    #[error("another worker has taken over a partition")]
    Fenced,
    /// A part of a load cannot be folded now: what would make it possible is held by the load itself.
    #[error("the load cannot go on: {0}")]
    Short(#[source] sqlx::Error),
    /// It cannot work: a missing table, a missing right, a mistake in the model.
    #[error("{0}")]
    Broken(String),
}

impl FoldError {
    /// In a word, for figures.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Lost(_) => "connection_lost",
            Self::Fenced => "fenced",
            Self::Short(_) => "shortage",
            Self::Broken(_) => "broken",
        }
    }
}

/// What a committed unit did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Folded {
    pub(crate) events: u64,
    pub(crate) aside: u64,
}

/// Folds units into a generation. Remembers whether looking first has paid lately.
pub(crate) struct Folder {
    generation: Generation,
    namespace: Namespace,
    fold: String,
    /// Whose status is told of a unit that fails over and over.
    told: (Status, Uuid),
    figures: Figures,
    /// Batches still to begin in [`Mode::Careful`].
    careful_left: u32,
    /// How many the next run of known events will be.
    careful_run: u32,
    /// Units are parts of a transaction that somebody else began, alone on the generation, and will end.
    is_within: bool,
    /// What cannot be folded is counted, and not kept.
    is_scratch: bool,
}

enum Attempt {
    Committed,
    Poison { reason: String, event: Option<usize> },
}

impl Folder {
    pub(crate) fn new<M: ReadModel>(model: &M, generation: Generation, namespace: Namespace) -> Self {
        let fold = format!("{} {}", model.name(), model.fold_version());
        let figures = Figures::new(model.name(), &generation);
        Self {
            generation,
            namespace,
            fold,
            told: Default::default(),
            figures,
            careful_left: 0,
            careful_run: 1,
            is_within: false,
            is_scratch: false,
        }
    }

    /// One whose units are parts of a transaction that the caller has begun, with the generation's lock held alone: each
    /// is a savepoint.
    pub(crate) fn within_transaction<M: ReadModel>(model: &M, generation: Generation, namespace: Namespace) -> Self {
        Self { is_within: true, ..Self::new(model, generation, namespace) }
    }

    /// The same, of tables that nobody sees: what cannot be folded is no dead letter.
    pub(crate) fn in_scratch<M: ReadModel>(model: &M, tables: Generation, namespace: Namespace) -> Self {
        Self { is_scratch: true, ..Self::within_transaction(model, tables, namespace) }
    }

    /// The same, with a worker's status that is told why a unit fails over and over.
    pub(crate) fn telling(self, status: Status, worker: Uuid) -> Self {
        Self { told: (status, worker), ..self }
    }

    /// Folds a unit, beginning in `mode` or in the one that recent batches suggest. Splits it where an event cannot be
    /// folded, until that one stands alone and is set aside. `held` moves with each commit; without it no checkpoint is
    /// written.
    pub(crate) async fn fold<M: ReadModel>(
        &mut self,
        connection: &mut PgConnection,
        model: &M,
        unit: Unit,
        mut held: Option<&mut Held>,
    ) -> Result<Folded, FoldError> {
        let mut folded = Folded::default();
        let mut units = VecDeque::from([unit]);
        while let Some(unit) = units.pop_front() {
            match self.commit(connection, model, &unit, held.as_deref()).await? {
                Attempt::Committed => {
                    folded.events += unit.batch.events.len() as u64;
                    folded.aside += unit.aside.len() as u64;
                    if let Some(held) = held.as_deref_mut() {
                        held.advance(&unit.advances());
                    }
                }
                // Nothing of a model's was in it: what stands aside cannot be set aside once more.
                Attempt::Poison { reason, .. } if unit.batch.is_empty() => return Err(FoldError::Broken(reason)),
                Attempt::Poison { reason, .. } if unit.records.len() == 1 => {
                    let record = unit.records.into_iter().next().expect("its length was just looked at");
                    tracing::warn!(
                        model = model.name(),
                        messaging.destination.partition.id = record.partition,
                        messaging.kafka.offset = record.offset,
                        reason,
                        "event set aside as a dead letter"
                    );
                    units.push_front(Unit::set_aside(record, reason));
                }
                Attempt::Poison { event, .. } => {
                    for part in unit.split(event, &self.namespace, |brief| model.needs(brief)).into_iter().rev() {
                        units.push_front(part);
                    }
                }
            }
        }
        Ok(folded)
    }

    /// One unit in as many attempts as it takes.
    async fn commit<M: ReadModel>(
        &mut self,
        connection: &mut PgConnection,
        model: &M,
        unit: &Unit,
        held: Option<&Held>,
    ) -> Result<Attempt, FoldError> {
        let mut mode = self.first_mode();
        let (mut pause, mut attempts, mut races, mut shortages) = (PAUSE_MIN, 0, 0, 0);
        loop {
            attempts += 1;
            let error = match self.attempt(connection, model, unit, mode, held).await {
                Ok(Took { fold, commit }) => {
                    self.remember(mode);
                    if !self.is_within {
                        self.figures.committed(mode, fold.as_secs_f64(), commit.as_secs_f64());
                    }
                    return Ok(Attempt::Committed);
                }
                Err(AttemptError::Fold(error)) => return Err(error),
                Err(AttemptError::Apply(error)) => error,
            };
            let error = match error {
                // There is no session any more to roll anything back in.
                ApplyError::Database(error) if classify(&error) == Class::Lost => return Err(FoldError::Lost(error)),
                error => error,
            };
            self.rollback(connection).await?;
            // Another mode, or the same again and why.
            let wanted = match error {
                ApplyError::NeedsCareful => Ok(Mode::Careful),
                ApplyError::NeedsExclusive => Ok(Mode::Exclusive),
                ApplyError::Refused { event, reason } => return Ok(Attempt::Poison { reason, event: Some(event) }),
                ApplyError::Database(error) => match classify(&error) {
                    Class::UniqueViolation if mode == Mode::Optimistic => Ok(Mode::Careful),
                    Class::UniqueViolation if races < RACES_MAX => {
                        races += 1;
                        Err((Retry::Race, error))
                    }
                    Class::UniqueViolation | Class::Data => {
                        return Ok(Attempt::Poison { reason: error.to_string(), event: None });
                    }
                    Class::Conflict | Class::Resources if self.is_within && attempts >= ATTEMPTS_WITHIN_MAX => {
                        return Err(FoldError::Short(error));
                    }
                    Class::Conflict => Err((Retry::Conflict, error)),
                    Class::Resources => {
                        tracing::warn!(model = model.name(), %error, "PostgreSQL is short of something, trying again");
                        shortages += 1;
                        Err((Retry::Shortage, error))
                    }
                    Class::Lost | Class::Broken => return Err(FoldError::Broken(error.to_string())),
                },
            };
            match wanted {
                Ok(next) if next > mode => mode = next,
                Ok(next) => {
                    let name = model.name();
                    return Err(FoldError::Broken(format!(
                        "{name} asked for {next:?} while it was applied in {mode:?}"
                    )));
                }
                Err((why, error)) => {
                    if shortages >= SHORTAGES_TOLD || attempts >= ATTEMPTS_TOLD {
                        self.told.0.fails(
                            self.told.1,
                            Part::Fold,
                            format!("a batch is tried again and again: {error}"),
                        );
                    }
                    self.figures.retried(why);
                    let jitter = rand::rng().random_range(0.5..1.5);
                    tokio::time::sleep(pause.mul_f64(jitter)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// One transaction, committed or left to be rolled back.
    async fn attempt<M: ReadModel>(
        &self,
        connection: &mut PgConnection,
        model: &M,
        unit: &Unit,
        mode: Mode,
        held: Option<&Held>,
    ) -> Result<Took, AttemptError> {
        let (g, shared) = (&self.generation, if mode == Mode::Exclusive { "" } else { "_shared" });
        let begin = format!(
            "BEGIN; SET LOCAL search_path = {}; SELECT pg_advisory_xact_lock{shared}({})",
            g.schema, g.lock_key
        );
        let (begin, end) = if self.is_within { (SAVEPOINT, RELEASE) } else { (begin.as_str(), "COMMIT") };
        reach(Step::BeforeBegin);
        sqlx::raw_sql(begin).execute(&mut *connection).await?;
        reach(Step::AfterLock);
        let began = Instant::now();
        if !unit.batch.is_empty() {
            let mut cx = BatchTx::new(connection, g.lock_key);
            model.apply(&mut cx, &unit.batch, mode).await.map_err(AttemptError::Apply)?;
        }
        reach(Step::AfterDerive);
        if !unit.aside.is_empty() && !self.is_scratch {
            dead_letters::insert(connection, g, &self.fold, &unit.aside).await?;
        }
        if let Some(held) = held {
            let advances = unit.advances();
            if !checkpoint::write(connection, g, held, &advances).await? {
                self.rollback(connection).await.map_err(AttemptError::Fold)?;
                return Err(AttemptError::Fold(FoldError::Fenced));
            }
        }
        reach(Step::AfterCheckpoint);
        let folded = Instant::now();
        sqlx::raw_sql(end).execute(&mut *connection).await?;
        reach(Step::AfterCommit);
        Ok(Took { fold: folded - began, commit: folded.elapsed() })
    }

    async fn rollback(&self, connection: &mut PgConnection) -> Result<(), FoldError> {
        let rollback = if self.is_within { ROLLBACK_TO } else { "ROLLBACK" };
        sqlx::raw_sql(rollback).execute(connection).await.map(|_| ()).map_err(FoldError::Lost)
    }

    fn first_mode(&self) -> Mode {
        match self.careful_left {
            _ if self.is_within => Mode::Exclusive,
            0 => Mode::Optimistic,
            _ => Mode::Careful,
        }
    }

    /// Redelivered stretches are long: after a batch that held known events the next ones look first, twice as many
    /// each time that turns out right.
    fn remember(&mut self, took: Mode) {
        if self.careful_left > 0 {
            self.careful_left -= 1;
        } else if took == Mode::Optimistic {
            self.careful_run = 1;
        } else {
            self.careful_left = self.careful_run;
            self.careful_run = (self.careful_run * 2).min(CAREFUL_MAX);
        }
    }
}

/// How long the parts of a transaction took.
struct Took {
    fold: Duration,
    commit: Duration,
}

enum AttemptError {
    Apply(ApplyError),
    Fold(FoldError),
}

impl From<sqlx::Error> for AttemptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Apply(ApplyError::Database(error))
    }
}
