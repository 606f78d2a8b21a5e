//! Which generations of a model this process folds: all of its own definition. The live one is what readers see; one that is
//! being built catches up beside it, and the one before is kept up to date for as long as it may be asked back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::Log;
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::generation::{self, Generation, Listed, State};
use crate::metrics::{Figures, States};
use crate::model::ReadModel;
use crate::projector::{ProjectorError, ProjectorOptions, monitor, run, stopped};
use crate::status::{Snapshot, Status};
use crate::worker::Worker;
use crate::{database, dead_letters};

/// How often the generations are looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Every so many times the dead letters are counted too.
const LETTERS_EVERY: u32 = 5;
/// How long PostgreSQL may take to answer: a connection that hangs is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a projector knows of the generations that it folds. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attended(Arc<Mutex<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    statuses: BTreeMap<i32, Status>,
    /// The live generation, where it is of this process's definition.
    live: Option<i32>,
    /// Why it is not.
    foreign: Option<String>,
}

impl Attended {
    /// How the live generation is doing here.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let shared = self.lock();
        match shared.live.and_then(|live| shared.statuses.get(&live)) {
            Some(status) => status.snapshot(),
            None => {
                let reason = shared.foreign.clone().unwrap_or_else(|| "its generation is not known yet".to_owned());
                Snapshot { last_error: Some(reason), ..Snapshot::default() }
            }
        }
    }

    /// Whether this generation is the one that readers see.
    pub(crate) fn is_live(&self, number: i32) -> bool {
        self.lock().live == Some(number)
    }

    fn knows(&self, live: Option<i32>, foreign: Option<String>) {
        let mut shared = self.lock();
        if foreign.is_some() && shared.foreign != foreign {
            tracing::error!(reason = foreign.as_deref(), "the live generation is not folded by this process");
        }
        (shared.live, shared.foreign) = (live, foreign);
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One generation's place among those a process folds.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    attended: Attended,
    number: i32,
}

impl Standing {
    /// Whether it is the one that readers see: one that is not takes no more than its turn, and is in no figures.
    pub(crate) fn is_live(&self) -> bool {
        self.attended.is_live(self.number)
    }
}

/// The workers of one generation.
struct Running {
    stopping: watch::Sender<bool>,
    /// Workers and monitor that have not ended.
    left: usize,
}

/// Folds the generations of a model, those that come as well, until it is told to stop.
pub(crate) struct Attendant<M> {
    pub(crate) model: Arc<M>,
    pub(crate) log: Log,
    pub(crate) options: ProjectorOptions,
    pub(crate) attended: Attended,
    definition: String,
    running: BTreeMap<i32, Running>,
    /// Those whose workers have ended for good, until they are dropped or swapped in.
    failed: BTreeSet<i32>,
    tasks: JoinSet<(i32, Result<(), ProjectorError>)>,
    connection: Option<PgConnection>,
    states: States,
    looks: u32,
}

impl<M: ReadModel> Attendant<M> {
    pub(crate) fn new(model: M, log: Log, options: ProjectorOptions, attended: Attended) -> Self {
        let definition = generation::definition(&model);
        Self {
            model: Arc::new(model),
            log,
            options,
            attended,
            definition,
            running: BTreeMap::new(),
            failed: BTreeSet::new(),
            tasks: JoinSet::new(),
            connection: None,
            states: States::default(),
            looks: 0,
        }
    }

    /// Folds what was found, and looks for more, until it is told to stop or the live generation cannot be folded on.
    pub(crate) async fn attend(mut self, mut stop: watch::Receiver<bool>) -> Result<(), ProjectorError> {
        let ended = loop {
            tokio::select! {
                () = stopped(&mut stop) => break Ok(()),
                Some(ended) = self.tasks.join_next() => {
                    let (number, ended) = match ended {
                        Ok(ended) => ended,
                        Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
                        Err(_) => continue,
                    };
                    if let Err(error) = self.ended(number, ended).await {
                        break Err(error);
                    }
                }
                () = tokio::time::sleep(LOOK_PAUSE) => self.look().await,
            }
        };
        for running in self.running.values() {
            running.stopping.send_replace(true);
        }
        while self.tasks.join_next().await.is_some() {}
        ended
    }

    /// A worker or monitor has ended. What ends those of the live generation ends all; another's stand still.
    async fn ended(&mut self, number: i32, ended: Result<(), ProjectorError>) -> Result<(), ProjectorError> {
        if let Some(running) = self.running.get_mut(&number) {
            running.left -= 1;
            if running.left == 0 {
                self.running.remove(&number);
            }
        }
        let Err(error) = ended else { return Ok(()) };
        // It may have been dropped, or another one swapped in, since anybody looked.
        self.look().await;
        if self.attended.is_live(number) {
            return Err(error);
        }
        if self.failed.insert(number) {
            tracing::error!(model = self.model.name(), generation = number, %error, "a generation is not folded any more");
            self.stop(number);
            let failure = error.to_string();
            let model = self.model.name();
            let noted = async { generation::note_failure(self.connection().await?, model, number, &failure).await };
            let noted = timeout(ANSWER_TIMEOUT, noted).await;
            if !matches!(noted, Ok(Ok(()))) {
                tracing::warn!(model, "why a generation is not folded any more could not be noted");
                self.connection = None;
            }
        }
        Ok(())
    }

    fn stop(&self, number: i32) {
        if let Some(running) = self.running.get(&number) {
            running.stopping.send_replace(true);
        }
    }

    async fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        if self.connection.is_none() {
            let name = format!("rapport {} generations", self.model.name());
            self.connection = Some(database::connect(&self.options.database_url, &name).await?);
        }
        Ok(self.connection.as_mut().expect("it was just made"))
    }

    /// Where PostgreSQL does not answer, the workers know it too, and say so.
    async fn look(&mut self) {
        let model = self.model.name();
        let counts = self.looks.is_multiple_of(LETTERS_EVERY);
        self.looks = self.looks.wrapping_add(1);
        let looked = async {
            let connection = self.connection().await?;
            let listed = generation::list(connection, model).await?;
            let letters = if counts { Some(dead_letters::count(connection, model).await?) } else { None };
            Ok::<_, sqlx::Error>((listed, letters))
        };
        match timeout(ANSWER_TIMEOUT, looked).await {
            Ok(Ok((listed, letters))) => {
                self.reconcile(&listed);
                if let Some(letters) = letters {
                    self.states.show_letters(model, &letters);
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(model, %error, "the generations could not be looked at");
                self.connection = None;
            }
            Err(_) => self.connection = None,
        }
    }

    /// Begins with those that have come and ends with those that are gone.
    pub(crate) fn reconcile(&mut self, listed: &[Listed]) {
        self.states.show(self.model.name(), listed);
        let own = |l: &&Listed| l.generation.definition == self.definition && l.state != State::Dropping;
        let live = listed.iter().find(|l| l.state == State::Live);
        match live {
            Some(live) if own(&live) => self.attended.knows(Some(live.generation.number), None),
            Some(live) => {
                let changed = generation::changed(&live.generation, &self.definition);
                self.attended.knows(None, Some(changed.to_string()));
            }
            None => self.attended.knows(None, Some(format!("{} has no live generation", self.model.name()))),
        }
        let wanted: BTreeMap<i32, &Generation> =
            listed.iter().filter(own).map(|l| (l.generation.number, &l.generation)).collect();
        self.failed.retain(|number| wanted.contains_key(number) && !self.attended.is_live(*number));
        for number in self.running.keys().filter(|number| !wanted.contains_key(number)) {
            self.stop(*number);
        }
        let missing: Vec<Generation> = wanted
            .into_iter()
            .filter(|(number, _)| !self.running.contains_key(number) && !self.failed.contains(number))
            .map(|(_, generation)| generation.clone())
            .collect();
        for generation in missing {
            self.start(generation);
        }
        self.attended.lock().statuses.retain(|number, _| self.running.contains_key(number));
    }

    fn start(&mut self, generation: Generation) {
        let (number, status) = (generation.number, Status::default());
        let (stopping, stop) = watch::channel(false);
        self.attended.lock().statuses.insert(number, status.clone());
        let standing = Standing { attended: self.attended.clone(), number };
        let workers = self.options.workers.max(1);
        for _ in 0..workers {
            let worker = Worker::new(
                Arc::clone(&self.model),
                self.log.clone(),
                generation.clone(),
                &self.options,
                status.clone(),
                standing.clone(),
            );
            let stop = stop.clone();
            // A worker lives on a thread of its own: its future borrows its one connection all the way down, and what it
            // decodes and encodes keeps no other task waiting.
            let runtime = tokio::runtime::Handle::current();
            self.tasks.spawn_blocking(move || (number, runtime.block_on(run(worker, stop))));
        }
        let figures = Figures::new(self.model.name(), &generation);
        let watching = monitor(self.model.name(), self.log.clone(), status, figures, stop);
        self.tasks.spawn(async move { (number, watching.await) });
        self.running.insert(number, Running { stopping, left: workers + 1 });
    }
}
