//! A projector: workers that share the partitions of one model, in this process and others.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::position::Offsets;
use event_log::{Log, LogError};
use service_kit::messaging;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::attend::{Attendant, Attended};
use crate::backbone::BackboneError;
use crate::generation::{GenerationError, Listed};
use crate::metrics::{self, Figures};
use crate::model::ReadModel;
use crate::status::{Snapshot, Status};
use crate::worker::Worker;
use crate::{backbone, database, generation};

/// The log's ends are asked for this often.
const MONITOR_PAUSE: Duration = Duration::from_secs(1);
/// Every so many times it is also asked whether it is still the same log.
const IDENTITY_EVERY: u32 = 15;
/// Between two tries to reach PostgreSQL at the start.
const START_PAUSE: Duration = Duration::from_millis(500);

/// How to run a projector.
#[derive(Clone, Debug)]
pub struct ProjectorOptions {
    /// PostgreSQL.
    pub database_url: String,
    /// Workers of this process; each folds its partitions with a connection of its own.
    pub workers: usize,
    /// Events folded in one transaction, at most (about).
    pub batch_events_max: usize,
    /// How long a worker may be silent before others take its partitions.
    pub lease_ttl: Duration,
    /// The zone in which reports cut days; `None` leaves it as it is.
    pub reporting_timezone: Option<String>,
}

impl ProjectorOptions {
    /// One worker, batches of 5,000, leases of ten seconds.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            workers: 1,
            batch_events_max: 5000,
            lease_ttl: Duration::from_secs(10),
            reporting_timezone: None,
        }
    }
}

/// Why a projector could not start or had to stop. None of these gets better by trying again.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// The tables are not ready.
    #[error(transparent)]
    Generation(#[from] GenerationError),
    /// The `backbone` schema is not ready.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// PostgreSQL refused to be connected to.
    #[error("PostgreSQL cannot be used: {reason}; check the database URL, the role and its rights")]
    Database {
        /// What it says.
        reason: String,
    },
    /// The topic is not the one that was folded.
    #[error(
        "{model} has folded partition {partition} up to offset {next}, but the record at offset {last} is not the one it \
         folded: the topic was deleted and created again; restore the topic, or fold the new one into an empty database"
    )]
    LogRecreated {
        /// Which model.
        model: &'static str,
        /// Which partition.
        partition: i32,
        /// Its checkpoint.
        next: i64,
        /// Where the last record folded should stand.
        last: i64,
    },
    /// The log does not reach the checkpoint, or no longer holds what comes next.
    #[error(
        "{model} has folded partition {partition} up to offset {next}, but the topic now holds offsets {start} to {end}: \
         records were deleted or lost; restore the topic, or fold what is left into an empty database"
    )]
    LogTruncated {
        /// Which model.
        model: &'static str,
        /// Which partition.
        partition: i32,
        /// Its checkpoint.
        next: i64,
        /// First offset there.
        start: i64,
        /// End offset.
        end: i64,
    },
    /// Something that cannot work until somebody mends it.
    #[error("{model} cannot go on: {reason}")]
    Broken {
        /// Which model.
        model: &'static str,
        /// Why.
        reason: String,
    },
}

/// A running projector: it folds the live generation of its model and any other of its definition. Dropping it ends its workers
/// at once; their leases lapse. [`Projector::stop`] gives them back.
pub struct Projector {
    attended: Attended,
    stopping: watch::Sender<bool>,
    tasks: JoinSet<Result<(), ProjectorError>>,
}

impl Projector {
    /// Creates what is missing (schemas, generation, views) and starts the workers. Waits for PostgreSQL while it does
    /// not answer. A live generation of another definition is left alone: the projector is not ready then, and waits for
    /// one of its own to be built.
    ///
    /// # Errors
    /// The database belongs to another log; see [`ProjectorError`].
    pub async fn start<M: ReadModel>(model: M, log: Log, options: ProjectorOptions) -> Result<Self, ProjectorError> {
        service_kit::describe(metrics::METRICS);
        service_kit::describe(messaging::METRICS);
        let listed = prepare(&model, &log, &options).await?;
        let attended = Attended::default();
        let (stopping, stop) = watch::channel(false);
        let mut attendant = Attendant::new(model, log, options, attended.clone());
        // What is shown from now on is not what nobody has looked at yet.
        attendant.reconcile(&listed);
        let mut tasks = JoinSet::new();
        tasks.spawn(attendant.attend(stop));
        Ok(Self { attended, stopping, tasks })
    }

    /// How the live generation is doing.
    pub fn status(&self) -> Snapshot {
        self.attended.snapshot()
    }

    /// A cheap handle for health checks and metrics.
    pub fn health(&self) -> Health {
        Health(self.attended.clone())
    }

    /// Waits until it has stopped: after [`Projector::request_stop`], or because it cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn finished(&mut self) -> Result<(), ProjectorError> {
        let mut first = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = match ended {
                Ok(ended) => ended,
                Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                Err(_) => Ok(()),
            };
            if ended.is_err() && first.is_ok() {
                first = ended;
                // One that cannot go on ends the others in good order.
                self.request_stop();
            }
        }
        first
    }

    /// Asks the workers to commit what they are at, give their leases back and end.
    pub fn request_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Stops in good order, at the latest after `timeout`.
    ///
    /// # Errors
    /// What had gone wrong before.
    pub async fn stop(mut self, timeout: Duration) -> Result<(), ProjectorError> {
        self.request_stop();
        match tokio::time::timeout(timeout, self.finished()).await {
            Ok(ended) => ended,
            Err(_) => {
                tracing::warn!("a worker did not end in time; its leases lapse by themselves");
                Ok(())
            }
        }
    }
}

/// Shows how a projector is doing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Attended);

impl Health {
    /// How it is doing.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }
}

async fn prepare<M: ReadModel>(
    model: &M,
    log: &Log,
    options: &ProjectorOptions,
) -> Result<Vec<Listed>, ProjectorError> {
    loop {
        let lost = match prepare_once(model, log, options).await {
            Ok(listed) => return Ok(listed),
            Err(Prepare::Stop(error)) => return Err(error),
            Err(Prepare::Again(error)) => error,
        };
        tracing::warn!(model = model.name(), error = %lost, "PostgreSQL does not answer, trying again");
        tokio::time::sleep(START_PAUSE).await;
    }
}

enum Prepare {
    Again(sqlx::Error),
    Stop(ProjectorError),
}

async fn prepare_once<M: ReadModel>(model: &M, log: &Log, options: &ProjectorOptions) -> Result<Vec<Listed>, Prepare> {
    let refused = |error: sqlx::Error| match database::classify(&error) {
        database::Class::Lost | database::Class::Resources | database::Class::Conflict => Prepare::Again(error),
        _ => Prepare::Stop(ProjectorError::Database { reason: error.to_string() }),
    };
    let backbone = |error: BackboneError| match error {
        BackboneError::Database(error) => refused(error),
        other => Prepare::Stop(other.into()),
    };
    let name = format!("rapport {} setup", model.name());
    let mut connection = database::connect(&options.database_url, &name).await.map_err(refused)?;
    backbone::migrate(&mut connection).await.map_err(backbone)?;
    if let Some(zone) = &options.reporting_timezone {
        backbone::set_reporting_timezone(&mut connection, zone).await.map_err(backbone)?;
    }
    generation::ensure(&mut connection, model, log.log_id(), log.partitions()).await.map_err(|error| match error {
        GenerationError::Database { model, source } => match refused(source) {
            Prepare::Again(error) => Prepare::Again(error),
            Prepare::Stop(ProjectorError::Database { reason }) => Prepare::Stop(ProjectorError::Database {
                reason: format!("the tables or views of {model} could not be created: {reason}"),
            }),
            stop @ Prepare::Stop(_) => stop,
        },
        other => Prepare::Stop(other.into()),
    })?;
    generation::list(&mut connection, model.name()).await.map_err(refused)
}

/// Asks the log for its ends: lag, and whether it is still the log that is being folded.
pub(crate) async fn monitor(
    model: &'static str,
    log: Log,
    status: Status,
    figures: Figures,
    stop: watch::Receiver<bool>,
) -> Result<(), ProjectorError> {
    let mut shown = BTreeSet::new();
    let ended = watch_log(model, &log, &status, &figures, &mut shown, stop).await;
    // What is no longer folded here must not stand still as it was.
    figures.show(&Snapshot::default(), &mut shown);
    ended
}

async fn watch_log(
    model: &'static str,
    log: &Log,
    status: &Status,
    figures: &Figures,
    shown: &mut BTreeSet<i32>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ProjectorError> {
    let (mut rounds, mut had_others) = (0u32, false);
    // Until the log is asked for the first time, it is as it was opened.
    let opened = log.check_opened().err().map(|other| other.to_string());
    status.change(|s| s.log_error = opened);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            () = tokio::time::sleep(MONITOR_PAUSE) => {}
        }
        // While Kafka does not answer, what is behind gets later all the same.
        figures.show(&status.snapshot(), shown);
        rounds = rounds.wrapping_add(1);
        // Noted before the log is asked: what is folded meanwhile may lie beyond the ends that the answer tells.
        let (asked_at, snapshot) = (crate::clock::now_micros(), status.snapshot());
        let folded: Offsets = snapshot.partitions.iter().map(|(p, s)| (*p, s.next_offset)).collect();
        let marks = match log.watermarks(event_log::Topic::Log).await {
            Ok(marks) => marks,
            Err(error) => {
                status.change(|s| s.log_error = Some(error.to_string()));
                continue;
            }
        };
        let ends: Offsets = marks.iter().map(|(p, w)| (*p, w.end)).collect();
        let other = log.check_partitions(i32::try_from(marks.len()).unwrap_or(i32::MAX)).err();
        if let (Some(other), false) = (&other, had_others) {
            // What the log's own partitions hold is folded on: it was acknowledged, and whoever asks for it is answered.
            tracing::error!(model, reason = %other, "what was added to the topic is not folded");
        }
        had_others = other.is_some();
        status.ends(&ends, asked_at, other.map(|other| other.to_string()));
        figures.show(&status.snapshot(), shown);
        let beyond =
            folded.iter().find_map(|(p, next)| ends.get(p).filter(|end| next > end).map(|end| (*p, *next, *end)));
        if let Some((partition, next, end)) = beyond {
            let start = marks.get(&partition).map_or(0, |w| w.start);
            return Err(ProjectorError::LogTruncated { model, partition, next, start, end });
        }
        if rounds.is_multiple_of(IDENTITY_EVERY) {
            let same = log.is_still_itself().await;
            if matches!(same, Ok(false)) {
                let reason = "the topic now holds another log: it was deleted and created again; restore it, or fold the \
                              new one into an empty database";
                return Err(ProjectorError::Broken { model, reason: reason.into() });
            }
        }
    }
}

/// Returns once the projector is to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that the projector itself is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Runs a worker until it ends, or drops it in the middle where the projector itself was dropped.
pub(crate) async fn run<M: ReadModel>(worker: Worker<M>, stop: watch::Receiver<bool>) -> Result<(), ProjectorError> {
    let mut dropped = stop.clone();
    tokio::select! {
        ended = worker.run(stop) => ended,
        () = async { while dropped.changed().await.is_ok() {} } => Ok(()),
    }
}
