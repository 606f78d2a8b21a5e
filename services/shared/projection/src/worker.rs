//! One worker: its connection, its leases, its reader, its batches, one after another.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::position::Offsets;
use event_log::{Log, ReadError, Topic};
use service_kit::messaging;
use sqlx::{Connection as _, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::attend::Standing;
use crate::background;
use crate::checkpoint::Held;
use crate::database::{self, Class, classify};
use crate::feed::{Feed, Taken};
use crate::fold::{FoldError, Folder};
use crate::generation::{self, Generation};
use crate::lease::{Leases, View};
use crate::load::{self, LoadError, Tenure};
use crate::metrics::Figures;
use crate::model::ReadModel;
use crate::moments;
use crate::projector::{ProjectorError, ProjectorOptions, stopped};
use crate::status::{Part, PartitionStatus, Status};
use crate::unit::Unit;

/// The pause before PostgreSQL or Kafka is tried again; it doubles …
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this one, until a session has lasted longer.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(3);
/// A heartbeat is sent this often at least, so that newcomers get their share soon.
const HEARTBEAT_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Connecting may take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Taking partitions may take this long: ending predecessors, asking the log what it still holds.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Whoever folds what was received longer ago is behind, and not at the log's end.
const BEHIND_MICROS: i64 = 3_000_000;
/// A batch that takes longer is on a connection that nobody answers on.
const BATCH_TIMEOUT: Duration = Duration::from_secs(600);
/// A load that takes longer is on a connection that nobody answers on.
const LOAD_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// The next build waits so long at most until what was loaded is looked after, and what came meanwhile is folded.
const TURN_MAX: Duration = Duration::from_mins(10);
/// Giving leases back at the end may take this long.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// One worker of a projector.
pub(crate) struct Worker<M> {
    model: Arc<M>,
    log: Log,
    leases: Leases,
    database_url: String,
    batch_events_max: usize,
    status: Status,
    standing: Standing,
    figures: Figures,
    /// What follows a load; it ends with this worker at the latest.
    analyzing: Mutex<JoinSet<()>>,
    /// Where everything runs that does not end with a session.
    runtime: Handle,
    /// Since its session began.
    has_committed: AtomicBool,
    /// When its session had loaded, until the next build may begin.
    turn: Mutex<Option<Instant>>,
}

/// What the heartbeats have brought.
#[derive(Default)]
struct Pulse {
    /// What the last good one saw.
    view: Option<View>,
    /// Why none has been good since.
    failure: Option<(Class, String)>,
}

impl Pulse {
    /// # Errors
    /// Heartbeats fail in a way that does not pass: no lease can be renewed any more.
    fn check(&self) -> Result<(), End> {
        match &self.failure {
            Some((Class::Broken, reason)) => {
                Err(End::Failed(ProjectorError::Database { reason: format!("heartbeats fail: {reason}") }))
            }
            _ => Ok(()),
        }
    }

    /// Ends a session, to begin another; what heartbeats fail of is likely why.
    fn again(&self, what: &str) -> End {
        End::Again(match &self.failure {
            Some((_, reason)) => format!("{what}: heartbeats fail: {reason}"),
            None => what.to_owned(),
        })
    }

    /// Until when what is held is held for certain.
    fn until(&self, assigned_until: Instant) -> Instant {
        self.view.as_ref().map_or(assigned_until, |v| v.valid_until.max(assigned_until))
    }
}

/// Why a session ended.
enum End {
    /// The projector is to stop.
    Stopped,
    /// Connect again and begin from what the database says.
    Again(String),
    /// Connect again at once: what the session is there for has become more urgent, or less.
    Anew,
    /// It cannot go on.
    Failed(ProjectorError),
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            Class::Broken => Self::Failed(ProjectorError::Database { reason: error.to_string() }),
            _ => Self::Again(error.to_string()),
        }
    }
}

/// For how long and for what a worker holds its partitions.
#[derive(Clone, Copy)]
struct Term {
    /// Heartbeats move it on.
    assigned_until: Instant,
    /// Whether readers see the generation: when that changes, the session ends.
    is_urgent: bool,
}

impl<M: ReadModel> Worker<M> {
    pub(crate) fn new(
        model: Arc<M>,
        log: Log,
        generation: Generation,
        options: &ProjectorOptions,
        status: Status,
        standing: Standing,
    ) -> Self {
        let figures = Figures::new(model.name(), &generation);
        figures.begin();
        Self {
            figures,
            model,
            log,
            leases: Leases { generation, worker: Uuid::new_v4(), ttl: options.lease_ttl },
            database_url: options.database_url.clone(),
            batch_events_max: options.batch_events_max.max(1),
            status,
            standing,
            analyzing: Mutex::default(),
            runtime: Handle::current(),
            has_committed: AtomicBool::new(false),
            turn: Mutex::default(),
        }
    }

    /// Folds until it is told to stop or cannot go on.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ProjectorError> {
        let (sender, pulse) = watch::channel(Pulse::default());
        // Ends with this worker: the set aborts it when dropped.
        let mut heart = JoinSet::new();
        heart.spawn(heartbeats(self.leases.clone(), self.database_url.clone(), sender, self.status.clone()));
        let (mut pause, mut told) = (RETRY_PAUSE_MIN, String::new());
        let this = Arc::new(self);
        loop {
            this.has_committed.store(false, Ordering::Relaxed);
            *this.turn() = None;
            match this.clone().place_session(&stop, &pulse).await {
                End::Stopped => break,
                End::Failed(error) => {
                    heart.shutdown().await;
                    this.leave().await;
                    this.status.fails(this.leases.worker, Part::Fold, error.to_string());
                    return Err(error);
                }
                End::Anew => {}
                End::Again(reason) => {
                    this.figures.reconnected();
                    // However long it has tried: what has committed nothing is not tried again at once.
                    if this.has_committed.load(Ordering::Relaxed) {
                        pause = RETRY_PAUSE_MIN;
                        told.clear();
                    }
                    // The same reason over and over is one failure: it is told once.
                    if told != reason {
                        tracing::warn!(model = this.model.name(), reason, "worker begins again from its checkpoints");
                        told.clone_from(&reason);
                    }
                    this.status.fails(this.leases.worker, Part::Fold, reason);
                    tokio::select! {
                        () = stopped(&mut stop) => break,
                        () = sleep(pause) => {}
                    }
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        }
        heart.shutdown().await;
        this.leave().await;
        for part in [Part::Fold, Part::Heartbeat] {
            this.status.works(this.leases.worker, part);
        }
        Ok(())
    }

    /// One session: here for a generation that readers see, where it gives way for any other.
    async fn place_session(self: Arc<Self>, stop: &watch::Receiver<bool>, pulse: &watch::Receiver<Pulse>) -> End {
        let is_urgent = self.standing.is_live();
        let (stop, pulse) = (stop.clone(), pulse.clone());
        if is_urgent {
            return self.session(is_urgent, stop, pulse).await;
        }
        let session = move || async move { self.session(is_urgent, stop, pulse).await };
        background::aside(session)
            .await
            .unwrap_or_else(|error| End::Again(format!("no thread can be started: {error}")))
    }

    /// One connection's life.
    async fn session(&self, is_urgent: bool, mut stop: watch::Receiver<bool>, pulse: watch::Receiver<Pulse>) -> End {
        let mut held = Held::default();
        let mut running = false;
        let end = self.connected(is_urgent, &mut held, &mut stop, pulse, &mut running).await;
        self.status.change(|s| {
            s.workers_running -= usize::from(running);
            s.partitions.retain(|partition, _| !held.0.contains_key(partition));
        });
        end
    }

    async fn connected(
        &self,
        is_urgent: bool,
        held: &mut Held,
        stop: &mut watch::Receiver<bool>,
        mut pulse: watch::Receiver<Pulse>,
        running: &mut bool,
    ) -> End {
        self.status.change(|s| s.loading_events = None);
        let name = format!("rapport {} {}", self.model.name(), self.leases.worker);
        let connected = tokio::select! {
            () = stopped(stop) => return End::Stopped,
            connected = timeout(CONNECT_TIMEOUT, database::connect(&self.database_url, &name)) => connected,
        };
        let mut connection = match connected {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return error.into(),
            Err(_) => return End::Again("PostgreSQL did not take the connection in time".into()),
        };
        *running = true;
        self.status.change(|s| s.workers_running += 1);
        if !is_urgent && let Err(error) = background::give_way(&mut connection).await {
            return error.into();
        }
        let mut folder = Folder::new(&*self.model, self.leases.generation.clone(), *self.log.namespace())
            .telling(self.status.clone(), self.leases.worker);
        // What an earlier session held is taken again, with new epochs, before anything else.
        let mut first = true;
        loop {
            let (lapsed, mut also) = (lapse(pulse.clone(), Instant::now() + self.leases.ttl), stop.clone());
            let assigned = tokio::select! {
                () = stopped(&mut also) => Err(End::Stopped),
                assigned = self.assign(&mut connection, held, &mut pulse, stop, first) => assigned,
                () = lapsed => Err(End::Again("PostgreSQL or Kafka did not answer in time".into())),
            };
            let assigned = match assigned {
                Ok(assigned) => assigned,
                Err(End::Again(what)) => return pulse.borrow().again(&what),
                Err(end) => return end,
            };
            first = false;
            let term = Term { assigned_until: assigned, is_urgent };
            let ended = match generation::is_loaded(&mut connection, &self.leases.generation).await {
                _ if is_urgent != self.standing.is_live() => Err(End::Anew),
                Ok(true) => self.follow(&mut connection, &mut folder, held, &mut pulse, stop, term).await,
                Ok(false) => self.load(&mut connection, held, &pulse, stop, term).await,
                Err(error) => Err(error.into()),
            };
            match ended {
                // Only the assignment has changed; the connection is fine.
                Ok(()) => {}
                Err(end @ (End::Stopped | End::Anew)) => {
                    // Closed in good order, so that nothing of ours is running when the leases are given back.
                    let _ = timeout(LEAVE_TIMEOUT, connection.close()).await;
                    return end;
                }
                Err(end) => return end,
            }
        }
    }

    /// Brings what is held in line with the fair share: gives back, takes, checks what was taken. Waits until something
    /// is held. Returns until when it is.
    async fn assign(
        &self,
        connection: &mut PgConnection,
        held: &mut Held,
        pulse: &mut watch::Receiver<Pulse>,
        stop: &mut watch::Receiver<bool>,
        first: bool,
    ) -> Result<Instant, End> {
        let mut first = first;
        loop {
            if *stop.borrow() {
                return Err(End::Stopped);
            }
            let seen = {
                let pulse = pulse.borrow_and_update();
                pulse.check()?;
                pulse.view.clone().filter(|v| v.valid_until > Instant::now())
            };
            let Some(seen) = seen else {
                changed_or_stopped(pulse, stop).await?;
                continue;
            };
            self.drop_lost(held, &seen);
            let excess: Vec<i32> = held.0.keys().rev().take(held.0.len().saturating_sub(seen.share)).copied().collect();
            if !excess.is_empty() {
                self.forget(held, &excess);
                self.leases.release(connection, &excess).await?;
            }
            // What was held before is certain for as long as the heartbeat said, what is taken now for a whole term.
            let until = if held.0.is_empty() { Instant::now() + self.leases.ttl } else { seen.valid_until };
            let wanted = seen.share.saturating_sub(held.0.len());
            if wanted > 0 && (first || takeable(held, &seen)) {
                first = false;
                let took = timeout(TAKE_TIMEOUT, self.take(connection, held, wanted)).await;
                took.map_err(|_| End::Again("partitions could not be taken in time".into()))??;
            }
            self.show(held);
            if !held.0.is_empty() {
                return Ok(until);
            }
            changed_or_stopped(pulse, stop).await?;
        }
    }

    /// Takes partitions and checks that the topic is still the one they were folded from.
    async fn take(&self, connection: &mut PgConnection, held: &mut Held, wanted: usize) -> Result<(), End> {
        let already: Vec<i32> = held.0.keys().copied().collect();
        let (taken, of_others) = self.leases.acquire(connection, &already, wanted).await?;
        let taken = Held(taken);
        if !of_others.is_empty() {
            self.figures.took_over(of_others.len());
            tracing::warn!(
                model = self.model.name(),
                partitions = ?of_others,
                "partitions are taken over from a worker that has not given them back"
            );
        }
        self.check(&taken).await?;
        for (partition, state) in &taken.0 {
            tracing::info!(
                model = self.model.name(),
                partition,
                epoch = state.epoch,
                offset = state.next,
                "partition taken"
            );
        }
        held.0.extend(taken.0);
        Ok(())
    }

    /// Loads the generation, of which nothing has been folded yet.
    async fn load(
        &self,
        connection: &mut PgConnection,
        held: &mut Held,
        pulse: &watch::Receiver<Pulse>,
        stop: &mut watch::Receiver<bool>,
        term: Term,
    ) -> Result<(), End> {
        // Dropping the connection in the middle of a statement closes its socket; PostgreSQL notices and rolls back.
        tokio::select! {
            () = stopped(stop) => Err(End::Stopped),
            () = lapse(pulse.clone(), term.assigned_until) => {
                Err(pulse.borrow().again("the leases have lapsed during a load"))
            }
            loaded = timeout(LOAD_TIMEOUT, self.load_or_index(term.is_urgent, connection, held)) => {
                loaded.map_err(|_| End::Again("a load took too long".into()))?
            }
        }
    }

    /// Loads the generation; where it cannot be loaded, has it folded in batches.
    async fn load_or_index(&self, is_urgent: bool, connection: &mut PgConnection, held: &mut Held) -> Result<(), End> {
        let (model, generation) = (&*self.model, &self.leases.generation);
        let Some(load) = model.load() else {
            return Ok(generation::index_empty(connection, model, generation).await?);
        };
        if is_urgent {
            return self.load_all(connection, held, load, Tenure::Whole).await;
        }
        background::my_turn(connection).await?;
        let loaded = self.load_all(connection, held, load, Tenure::Steps).await;
        *self.turn() = Some(Instant::now());
        loaded
    }

    fn turn(&self) -> MutexGuard<'_, Option<Instant>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next build begin, once what this one has loaded is looked after, and what came meanwhile is folded.
    async fn end_turn(&self, connection: &mut PgConnection, is_behind: bool) -> Result<(), sqlx::Error> {
        let loaded_at = *self.turn();
        let is_done = || !is_behind && self.analyzing().is_empty();
        if loaded_at.is_some_and(|at| is_done() || at.elapsed() > TURN_MAX) {
            *self.turn() = None;
            background::end_turn(connection).await?;
        }
        Ok(())
    }

    async fn load_all(
        &self,
        connection: &mut PgConnection,
        held: &mut Held,
        load: M::Load,
        tenure: Tenure,
    ) -> Result<(), End> {
        let (model, generation) = (&*self.model, &self.leases.generation);
        let from: Offsets = held.0.iter().map(|(partition, p)| (*partition, p.next)).collect();
        let feed = Feed::open(&self.model, &self.log, &from, tenure == Tenure::Whole)
            .map_err(|error| self.read_failed(error))?;
        let source = load::Source {
            feed,
            log: self.log.clone(),
            from,
            held_max: load::HELD_BYTES_MAX,
            tenure,
            status: self.status.clone(),
        };
        let loaded = load::load(connection, model, generation, self.log.namespace(), source, load, held).await;
        self.status.change(|s| s.loading_events = None);
        let reason = match loaded {
            Ok(None) => return Ok(()),
            Ok(Some(loaded)) => {
                held.advance(&loaded.advances);
                self.status.works(self.leases.worker, Part::Fold);
                self.count(loaded.events, loaded.aside);
                self.show(held);
                // What was loaded in steps is looked after before it is followed.
                if tenure == Tenure::Whole {
                    self.analyzing()
                        .spawn_on(load::analyze(self.database_url.clone(), generation.clone()), &self.runtime);
                }
                return Ok(());
            }
            Err(LoadError::Read(error)) => return Err(self.read_failed(error)),
            Err(LoadError::Fold(FoldError::Broken(reason))) => reason,
            Err(LoadError::Database(error)) if matches!(classify(&error), Class::Data | Class::UniqueViolation) => {
                error.to_string()
            }
            Err(LoadError::Database(error)) => return Err(error.into()),
            Err(LoadError::Fold(error)) => {
                if matches!(error, FoldError::Fenced) {
                    self.figures.fenced();
                }
                return Err(End::Again(error.to_string()));
            }
        };
        // Batches find the event behind it and set it aside.
        tracing::warn!(model = model.name(), reason, "the log cannot be loaded at once, it is folded in batches");
        sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
        if tenure == Tenure::Steps {
            load::empty(connection, model, generation).await?;
        }
        generation::index_empty(connection, model, generation).await?;
        if tenure == Tenure::Steps {
            load::end_steps(connection, generation).await?;
        }
        Ok(())
    }

    fn analyzing(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut analyzing = self.analyzing.lock().unwrap_or_else(PoisonError::into_inner);
        while analyzing.try_join_next().is_some() {}
        analyzing
    }

    /// Has the tables looked after that a load in steps has left.
    async fn settle(&self, connection: &mut PgConnection, is_urgent: bool) -> Result<(), sqlx::Error> {
        let generation = &self.leases.generation;
        if load::is_unattended(connection, generation).await? {
            let mut analyzing = self.analyzing();
            // One that gives way is in the way of a generation that is read by now.
            if is_urgent {
                analyzing.abort_all();
            }
            if is_urgent || analyzing.is_empty() {
                let settle = load::settle(self.database_url.clone(), generation.clone(), is_urgent);
                analyzing.spawn_on(settle, &self.runtime);
            }
        }
        Ok(())
    }

    /// Folds what is held until the assignment should change.
    async fn follow(
        &self,
        connection: &mut PgConnection,
        folder: &mut Folder,
        held: &mut Held,
        pulse: &mut watch::Receiver<Pulse>,
        stop: &mut watch::Receiver<bool>,
        term: Term,
    ) -> Result<(), End> {
        self.settle(connection, term.is_urgent).await?;
        let from: Offsets = held.0.iter().map(|(partition, p)| (*partition, p.next)).collect();
        let mut feed =
            Feed::open(&self.model, &self.log, &from, term.is_urgent).map_err(|error| self.read_failed(error))?;
        let (mut is_old, mut is_behind) = (true, true);
        loop {
            self.end_turn(connection, is_behind).await?;
            let until = pulse.borrow().until(term.assigned_until);
            let taken = tokio::select! {
                biased;
                () = stopped(stop) => return Err(End::Stopped),
                changed = pulse.changed() => {
                    changed.map_err(|_| End::Again("the heartbeat has ended".into()))?;
                    let pulse = pulse.borrow();
                    pulse.check()?;
                    let should_reassign = pulse.view.as_ref().is_some_and(|seen| should_reassign(held, seen));
                    if should_reassign || self.standing.is_live() != term.is_urgent {
                        return Ok(());
                    }
                    continue;
                }
                () = sleep_until(until) => return Err(pulse.borrow().again("the leases have lapsed")),
                taken = feed.take(self.batch_events_max) => taken.map_err(|error| self.read_failed(error))?,
            };
            let (lapsed, mut also) = (lapse(pulse.clone(), term.assigned_until), stop.clone());
            let began = Instant::now();
            if let Some(received_at) = taken.received_at() {
                is_old = crate::clock::now_micros() - received_at > BEHIND_MICROS;
            }
            tokio::select! {
                folded = timeout(BATCH_TIMEOUT, self.fold(connection, folder, held, taken)) => {
                    folded.map_err(|_| self.took_too_long())??;
                }
                // A batch is finished, but one that waits for somebody else's lock is not waited for.
                () = async { stopped(&mut also).await; sleep(LEAVE_TIMEOUT).await } => return Err(End::Stopped),
                // Dropping the connection in the middle of a statement closes its socket; PostgreSQL rolls back.
                () = lapsed => return Err(pulse.borrow().again("the leases have lapsed during a batch")),
            }
            // Where much comes in, no end is ever met; where nothing does, what came last may be old.
            is_behind = is_old && !self.status.snapshot().caught_up();
            if is_behind && !self.standing.is_live() {
                // Half as long as others: what comes in meanwhile has to be folded too.
                background::rest(began.elapsed() / 2).await;
            }
        }
    }

    async fn fold(
        &self,
        connection: &mut PgConnection,
        folder: &mut Folder,
        held: &mut Held,
        taken: Taken,
    ) -> Result<(), End> {
        let Taken { mut decoded, at_end } = taken;
        // Redelivered records, and those of partitions given back meanwhile, are not folded again.
        decoded.retain(|d| held.0.get(&d.record.partition).is_some_and(|p| d.record.offset >= p.next));
        if !decoded.is_empty() {
            let began = Instant::now();
            let touched: BTreeSet<i32> = decoded.iter().map(|d| d.record.partition).collect();
            self.status.change(|s| {
                touched.iter().for_each(|p| s.partitions.entry(*p).or_default().at_end = false);
            });
            let (records, received_at) = (decoded.len(), decoded.last().map_or(0, |d| d.record.received_at));
            let folded = folder.fold(connection, &*self.model, Unit::new(decoded), Some(held)).await;
            messaging::processed(
                self.log.topic(Topic::Log),
                touched,
                records,
                began.elapsed(),
                folded.as_ref().err().map(FoldError::name),
            );
            let folded = match folded {
                Ok(folded) => folded,
                Err(FoldError::Lost(error)) => return Err(End::Again(error.to_string())),
                Err(error @ FoldError::Fenced) => {
                    self.figures.fenced();
                    return Err(End::Again(error.to_string()));
                }
                Err(error @ FoldError::Short(_)) => return Err(End::Again(error.to_string())),
                Err(FoldError::Broken(reason)) => {
                    return Err(End::Failed(ProjectorError::Broken { model: self.model.name(), reason }));
                }
            };
            self.count(folded.events, folded.aside);
            self.figures.batch(folded.events, began.elapsed().as_secs_f64());
            if self.standing.is_live() {
                // What nobody reads is not seen late.
                self.figures.visible((crate::clock::now_micros() - received_at).max(0) as f64 / 1e6);
            }
        }
        self.status.works(self.leases.worker, Part::Fold);
        self.status.change(|s| {
            for (partition, state) in &held.0 {
                let status = s.partitions.entry(*partition).or_default();
                status.next_offset = state.next;
                status.last_received_at = state.last_received_at;
                status.at_end |= at_end.contains(partition);
            }
        });
        Ok(())
    }

    /// What [`BATCH_TIMEOUT`] cut off, and what had kept it from being folded.
    fn took_too_long(&self) -> End {
        End::Again(match self.status.trouble(self.leases.worker, Part::Fold) {
            Some(trouble) => format!("a batch took too long: {trouble}"),
            None => "a batch took too long".into(),
        })
    }

    /// So much was committed.
    fn count(&self, events: u64, aside: u64) {
        self.has_committed.store(true, Ordering::Relaxed);
        self.status.change(|s| {
            s.events += events;
            s.dead_letters += aside;
        });
        self.figures.folded(events, aside);
    }

    /// Forgets what the last heartbeat did not renew under our epoch.
    fn drop_lost(&self, held: &mut Held, seen: &View) {
        let lost = lost(held, seen);
        if !lost.is_empty() {
            tracing::warn!(model = self.model.name(), partitions = ?lost, "partitions were taken over by another worker");
            self.forget(held, &lost);
        }
    }

    fn forget(&self, held: &mut Held, partitions: &[i32]) {
        held.0.retain(|partition, _| !partitions.contains(partition));
        self.status.change(|s| s.partitions.retain(|partition, _| !partitions.contains(partition)));
    }

    fn show(&self, held: &Held) {
        // Whoever holds nothing has nothing to do; whoever holds something has shown nothing yet.
        if held.0.is_empty() {
            self.status.works(self.leases.worker, Part::Fold);
        }
        let now = crate::clock::now_micros();
        let taken = || PartitionStatus { seen_at_end: now, ..PartitionStatus::default() };
        self.status.change(|s| {
            for (partition, state) in &held.0 {
                let status = s.partitions.entry(*partition).or_insert_with(taken);
                status.next_offset = state.next;
                status.last_received_at = state.last_received_at;
            }
        });
    }

    /// The check on assignment: the topic must still hold what was folded, and what comes next.
    async fn check(&self, taken: &Held) -> Result<(), End> {
        let model = self.model.name();
        let unknown = |error: event_log::LogError| End::Again(error.to_string());
        if taken.0.is_empty() {
            return Ok(());
        }
        let marks = self.log.watermarks(Topic::Log).await.map_err(unknown)?;
        let mut last = Offsets::new();
        for (&partition, state) in &taken.0 {
            let Some(mark) = marks.get(&partition) else {
                return Err(End::Again(format!("partition {partition} is not in the topic")));
            };
            if mark.end < state.next || mark.start > state.next {
                return Err(End::Failed(ProjectorError::LogTruncated {
                    model,
                    partition,
                    next: state.next,
                    start: mark.start,
                    end: mark.end,
                }));
            }
            // A last record that was deleted by itself cannot be compared; the next one is still there.
            if let Some((offset, _)) = state.last.as_ref().filter(|(offset, _)| *offset >= mark.start) {
                last.insert(partition, *offset);
            }
        }
        let records = self.log.read_at(&last).await.map_err(unknown)?;
        for (partition, offset) in last {
            let state = &taken.0[&partition];
            let found = records.get(&partition).map(|record| crate::unit::hash_of(record).to_vec());
            if found.as_ref() != state.last.as_ref().map(|(_, hash)| hash) {
                return Err(End::Failed(ProjectorError::LogRecreated {
                    model,
                    partition,
                    next: state.next,
                    last: offset,
                }));
            }
        }
        Ok(())
    }

    /// A reader that cannot go on: the check on assignment will tell why.
    fn read_failed(&self, error: ReadError) -> End {
        match error {
            ReadError::Configuration(_) => {
                End::Failed(ProjectorError::Broken { model: self.model.name(), reason: error.to_string() })
            }
            other => End::Again(other.to_string()),
        }
    }

    /// Gives the leases back on a connection of its own.
    async fn leave(&self) {
        let leave = async {
            let mut connection = database::connect(&self.database_url, "rapport leaving").await?;
            self.leases.leave(&mut connection).await
        };
        if !matches!(timeout(LEAVE_TIMEOUT, leave).await, Ok(Ok(()))) {
            tracing::warn!(model = self.model.name(), "leases were not given back; they lapse by themselves");
        }
    }
}

/// Whether a heartbeat has brought news that change what this worker should hold.
fn should_reassign(held: &Held, seen: &View) -> bool {
    let (holds, share) = (held.0.len(), seen.share);
    !lost(held, seen).is_empty() || holds > share || (holds < share && takeable(held, seen))
}

/// Somebody's lease has lapsed, nobody holds it, or it is this worker's own from an earlier session.
fn takeable(held: &Held, seen: &View) -> bool {
    seen.free > 0 || seen.mine.keys().any(|partition| !held.0.contains_key(partition))
}

/// What is held but was not renewed under its epoch. A heartbeat sent before a partition was taken knows nothing of it.
fn lost(held: &Held, seen: &View) -> Vec<i32> {
    let renewed = |partition: &i32, epoch: i64| seen.mine.get(partition) == Some(&epoch);
    held.0
        .iter()
        .filter(|(partition, state)| seen.sent_at > state.since && !renewed(partition, state.epoch))
        .map(|(partition, _)| *partition)
        .collect()
}

/// Waits for the next heartbeat, or the end.
async fn changed_or_stopped(pulse: &mut watch::Receiver<Pulse>, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
    tokio::select! {
        () = stopped(stop) => Err(End::Stopped),
        changed = pulse.changed() => changed.map_err(|_| End::Again("the heartbeat has ended".into())),
    }
}

/// Returns once no heartbeat has renewed the leases in time.
async fn lapse(pulse: watch::Receiver<Pulse>, assigned_until: Instant) {
    loop {
        let until = pulse.borrow().until(assigned_until);
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// Says over and over that the worker is alive, on a connection of its own, and tells the worker what it saw, or why not.
async fn heartbeats(leases: Leases, database_url: String, sender: watch::Sender<Pulse>, status: Status) {
    let pause = (leases.ttl / 3).min(HEARTBEAT_PAUSE_MAX);
    let name = format!("rapport {} heartbeat", leases.generation.model);
    let (mut connection, mut failing, mut beats) = (None, false, 0_u32);
    loop {
        let beat = async {
            let connection = match &mut connection {
                Some(connection) => connection,
                None => connection.insert(database::connect(&database_url, &name).await?),
            };
            let view = leases.heartbeat(connection, status.snapshot().loading_events).await?;
            if view.as_ref().is_some_and(|view| view.free > 0) {
                // From here, and not only on taking over: this worker may be in the middle of a batch that waits for a
                // row which a stopped predecessor has locked.
                leases.end_lapsed(connection).await?;
            }
            Ok::<_, sqlx::Error>(view)
        };
        // A connection that hangs is given up: the next one may work.
        let beaten = match timeout(leases.ttl / 2, beat).await {
            Ok(Ok(view)) => Ok(view),
            Ok(Err(error)) => Err((classify(&error), error.to_string())),
            Err(_) => Err((Class::Lost, "PostgreSQL did not answer in time".to_owned())),
        };
        match &beaten {
            Ok(_) => status.works(leases.worker, Part::Heartbeat),
            Err((_, reason)) => {
                connection = None;
                if !failing {
                    tracing::warn!(model = leases.generation.model, reason, "heartbeat failed");
                }
                status.fails(leases.worker, Part::Heartbeat, format!("heartbeats fail: {reason}"));
            }
        }
        failing = beaten.is_err();
        beats = beats.wrapping_add(1);
        sender.send_modify(|pulse| match beaten {
            Ok(Some(view)) => *pulse = Pulse { view: Some(view), failure: None },
            // The generation is gone: whoever watches over the workers ends this one.
            Ok(None) => {}
            Err(failure) => pulse.failure = Some(failure),
        });
        // Behind the leases: what cannot be noted must not cost them.
        if !failing && let Some(connection) = &mut connection {
            let noting = moments::keep(connection, &leases.generation, beats);
            if let Ok(Err(error)) = timeout(leases.ttl / 2, noting).await {
                tracing::warn!(model = leases.generation.model, %error, "how far the model has come was not noted");
            }
        }
        sleep(pause).await;
    }
}
