//! `valid_at` and `known_at`: a customer as of a past moment. The events that made it what it was are found
//! (`projector_customer360::past`), folded again by the models' own code into tables of their own, and read there by
//! the statements that read the present. Nothing of it is ever committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::position::Offsets;
use domain::{Namespace, Position, time};
use event_log::Record;
use projection::scratch::{self, Scratch, ScratchError};
use projection::{ReadModel, generation};
use projector_customer360::past::{Copy, Moment, PastError, Seed};
use projector_customer360::{Customer360, HubLimits};
use projector_sales::Sales;
use projector_service::Service;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use crate::{
    http::App,
    params::Params,
    problem::{Kind, Problem},
    progress::{Progress, Reached},
    reference::Reference,
    snapshot::{Names, Snapshot, Wanted, not_reached, other_log},
};

/// So many are folded at a time, by all query services of a database together.
const SLOTS: i64 = 2;
/// How long a request waits for one of these.
const SLOT_WAIT: Duration = Duration::from_secs(5);
/// Tables that are missing are made, and dropped by nobody in between, as often as this.
const TRIES: usize = 3;
/// How often it looks.
const SLOT_PAUSE: Duration = Duration::from_millis(10);
/// The advisory locks of the slots' tables: sixteen a model, below those of all generations (2^40).
const LOCK_KEYS: i64 = 1 << 39;
/// Of a slot.
const LOCK_KEYS_A_SLOT: i64 = 64;
/// Whoever makes the tables keeps others from making them.
const MAKING_LOCK_KEY: i64 = LOCK_KEYS - 1;

/// Which past is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Events that had occurred by then, microseconds UTC.
    valid_at: Option<i64>,
    known_at: Option<Known>,
}

#[derive(Clone, Debug)]
enum Known {
    /// What all three models had committed by then, microseconds UTC.
    By(i64),
    At(Position),
}

impl Past {
    /// From the parameters `valid_at` and `known_at`.
    pub(crate) fn take(params: &mut Params) -> Self {
        let valid_at = params.time("valid_at");
        let known_at = params.take_filled("known_at").and_then(|text| {
            let known = Position::parse(&text).ok().map(Known::At);
            let known = known.or_else(|| time::parse(&text.replace(' ', "+")).map(Known::By));
            if known.is_none() {
                params.fault(
                    "bad_time",
                    "known_at",
                    "known_at is a time like 2026-03-01T10:00:00Z (RFC 3339), or a position as Rapport-Position gives it"
                        .into(),
                );
            }
            known
        });
        Self { valid_at, known_at }
    }

    /// Whether it is the present that is asked for.
    fn is_present(&self) -> bool {
        self.valid_at.is_none() && self.known_at.is_none()
    }
}

/// What folding the past takes.
pub(crate) struct Folding {
    /// The session that makes the tables: it may write.
    database: PgConnectOptions,
    limits: HubLimits,
    /// A customer with more events has no past that could be folded while somebody waits.
    events_max: usize,
    slots: Arc<Semaphore>,
}

impl Folding {
    pub(crate) fn new(database: PgConnectOptions, limits: HubLimits, events_max: usize) -> Self {
        Self { database, limits, events_max, slots: Arc::new(Semaphore::new(SLOTS as usize)) }
    }
}

/// The three models, as this version folds them.
#[derive(Clone)]
struct Models {
    namespace: Namespace,
    sales: Sales,
    service: Service,
    customer360: Customer360,
    /// How many events may be folded.
    events_max: usize,
}

impl Models {
    fn definitions(&self) -> [(&'static str, String); 3] {
        fn of<M: ReadModel>(model: &M) -> (&'static str, String) {
            (model.name(), generation::definition(model))
        }
        [of(&self.sales), of(&self.service), of(&self.customer360)]
    }

    /// The name of a slot's tables: another version's have another.
    fn slot_name(&self, slot: i64) -> String {
        let [sales, service, customer360] = self.definitions().map(|(_, definition)| definition);
        let print = scratch::fingerprint(&[
            (sales, self.sales.views()),
            (service, self.service.views()),
            (customer360, self.customer360.views()),
        ]);
        format!("past_{print}_{slot}")
    }

    fn slot(&self, slot: i64) -> Slot {
        let (name, key) = (self.slot_name(slot), LOCK_KEYS + slot * LOCK_KEYS_A_SLOT);
        Slot {
            lock_key: key,
            sales: Scratch::of(&self.sales, &name, key),
            service: Scratch::of(&self.service, &name, key + 16),
            customer360: Scratch::of(&self.customer360, &name, key + 32),
        }
    }
}

/// Tables that one past at a time is folded into.
struct Slot {
    lock_key: i64,
    sales: Scratch,
    service: Scratch,
    customer360: Scratch,
}

impl Slot {
    fn names(&self) -> Names {
        Names {
            sales: self.sales.views().to_owned(),
            service: self.service.views().to_owned(),
            customer360: self.customer360.views().to_owned(),
        }
    }

    fn schemas(&self) -> Vec<&str> {
        [&self.sales, &self.service, &self.customer360].iter().flat_map(|s| [s.schema(), s.views()]).collect()
    }

    /// Whether all of it is there. While the slot's lock is held nobody drops any of it.
    async fn is_there(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar("SELECT bool_and(to_regnamespace(name) IS NOT NULL) FROM unnest($1::text[]) AS n (name)")
            .bind(self.schemas())
            .fetch_one(connection)
            .await
    }

    fn of(&self, model: &str) -> &Scratch {
        match model {
            "sales" => &self.sales,
            "service" => &self.service,
            _ => &self.customer360,
        }
    }
}

/// Opens a snapshot in which whoever `reference` stands for is as they were at that past; of everybody else it shows as much
/// as that takes. Of the present, an ordinary one.
pub(crate) async fn open(app: &App, reference: &Reference, wanted: &Wanted, past: &Past) -> Result<Snapshot, Problem> {
    if past.is_present() {
        return Snapshot::at(&app.database, &app.waiting, wanted).await;
    }
    let namespace = app.log_end.namespace().await.map_err(|reason| {
        tracing::warn!(reason, "the log's namespace is unknown");
        Problem::new(Kind::Unavailable, "Kafka does not answer at the moment, and the past cannot be folded without it")
    })?;
    let customer360 = Customer360::new(namespace).with_limits(app.folding.limits.clone());
    let events_max = app.folding.events_max;
    let models = Models { namespace, sales: Sales, service: Service, customer360, events_max };
    let busy = || Problem::new(Kind::Busy, "too many pasts are being folded; ask again after Retry-After");
    let permit = timeout(SLOT_WAIT, app.folding.slots.clone().acquire_owned()).await;
    let permit = permit.map_err(|_| busy())?.map_err(|_| Problem::unavailable())?;
    let wanted = match &past.known_at {
        Some(Known::At(position)) => wanted.or_position(position),
        _ => wanted.clone(),
    };
    let (reference, past, database) = (reference.clone(), past.clone(), app.folding.database.clone());
    let mut permit = permit;
    for _ in 0..TRIES {
        let mut snapshot = Snapshot::writable_at(&app.database, &app.waiting, &wanted).await?;
        let (reference, past, models, database) = (reference.clone(), past.clone(), models.clone(), database.clone());
        // The permit goes with the work: whoever has hung up is not waited for, and still takes part.
        let done = apart(move || async move {
            let failed = match fold(&mut snapshot, &models, &reference, &past).await {
                Ok(Ok(folded)) => {
                    snapshot.become_past(folded.progress, folded.names, permit);
                    return Ok(Done::Folded(Box::new(snapshot)));
                }
                Ok(Err(failed)) => failed,
                Err(problem) => {
                    snapshot.close().await?;
                    return Err(problem);
                }
            };
            snapshot.close().await?;
            // Somebody may have dropped the tables while they were folded into.
            match (make_tables(&database, &models).await?, failed) {
                (false, Some(failed)) => Err(not_folded(failed)),
                _ => Ok(Done::Again(permit)),
            }
        });
        match done.await? {
            Done::Folded(snapshot) => return Ok(*snapshot),
            Done::Again(again) => permit = again,
        }
    }
    Err(busy())
}

enum Done {
    Folded(Box<Snapshot>),
    /// The tables were not there, and have been made.
    Again(OwnedSemaphorePermit),
}

/// What a past is read with.
struct Folded {
    progress: Progress,
    names: Names,
}

/// Does work that takes processor time and a connection in turns, on a thread where it keeps no other request waiting.
async fn apart<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problem>>,
{
    let runtime = tokio::runtime::Handle::current();
    match tokio::task::spawn_blocking(move || runtime.block_on(work())).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => Err(Problem::unavailable()),
    }
}

/// Instead of what was folded: why it could not be, or that there are no tables to fold in.
async fn fold(
    snapshot: &mut Snapshot,
    models: &Models,
    reference: &Reference,
    past: &Past,
) -> Result<Result<Folded, Option<ScratchError>>, Problem> {
    foldable(snapshot, models).await?;
    let progress = known(snapshot, past).await?;
    let of = |model: &str| progress.models.get(model).map(|reached| reached.next.clone()).unwrap_or_default();
    let mut reached = Offsets::new();
    for (partition, next) in progress.models.values().flat_map(|model| &model.next) {
        let furthest: &mut i64 = reached.entry(*partition).or_default();
        *furthest = (*furthest).max(*next);
    }
    let moment = Moment { known: of("customer360"), reached, occurred_by: past.valid_at };
    let connection = snapshot.models().await?;
    let copies = models
        .customer360
        .past_events(&mut *connection, &seed(reference), &moment, models.events_max)
        .await
        .map_err(not_found)?;
    let slot = take_slot(&mut *connection, models).await?;
    if !slot.is_there(&mut *connection).await? {
        return Ok(Err(None));
    }
    let at = |model: &str| records(&copies, &of(model), past.valid_at, &models.namespace);
    // In this order: customer360's tables are where unqualified names lead afterwards.
    let namespace = &models.namespace;
    let folded = async {
        slot.sales.fold(&mut *connection, &models.sales, namespace, &at("sales")).await?;
        slot.service.fold(&mut *connection, &models.service, namespace, &at("service")).await?;
        slot.customer360.fold(&mut *connection, &models.customer360, namespace, &at("customer360")).await
    };
    if let Err(failed) = folded.await {
        return Ok(Err(Some(failed)));
    }
    let mut progress = progress;
    for (model, reached) in &mut progress.models {
        slot.of(model).schema().clone_into(&mut reached.schema);
    }
    Ok(Ok(Folded { progress, names: slot.names() }))
}

/// Whether the live generations were folded as this version would.
async fn foldable(snapshot: &mut Snapshot, models: &Models) -> Result<(), Problem> {
    let live: Vec<(String, String)> =
        sqlx::query_as("SELECT model, definition FROM backbone.generations WHERE state = 'live'")
            .fetch_all(snapshot.models().await?)
            .await?;
    let live: BTreeMap<String, String> = live.into_iter().collect();
    let other = models.definitions().into_iter().find(|(model, own)| live.get(*model) != Some(own));
    match other {
        None => Ok(()),
        Some((model, _)) => Err(Problem::new(
            Kind::PastNotFoldable,
            format!(
                "the live generation of {model} was folded by another version, or with other settings, than this query \
                 service's: after `rapport replay {model}` it can tell the past again"
            ),
        )),
    }
}

/// How far the models had come.
async fn known(snapshot: &mut Snapshot, past: &Past) -> Result<Progress, Problem> {
    let mut progress = snapshot.progress.clone();
    let position = match &past.known_at {
        None => return Ok(progress),
        Some(Known::At(position)) => {
            match progress.compare(position) {
                crate::progress::Compared::Reached => {}
                crate::progress::Compared::OtherLog => return Err(other_log(&progress)),
                crate::progress::Compared::Behind(behind) => {
                    return Err(not_reached(&progress, &behind, Duration::ZERO));
                }
            }
            position.clone()
        }
        Some(Known::By(at)) => match committed_by(snapshot.connection(), *at).await? {
            Committed::Now => return Ok(progress),
            Committed::At(next) => Position::new(progress.log_id.unwrap_or_default(), next),
            Committed::Unknown { since } => return Err(before_record(since)),
        },
    };
    for (model, Reached { next, .. }) in &mut progress.models {
        // A partition that the position does not name had nothing in it.
        let then = position.for_model(model);
        for (partition, next) in next {
            *next = then.get(partition).copied().unwrap_or(0);
        }
    }
    Ok(progress)
}

enum Committed {
    /// That time has not passed yet.
    Now,
    /// What all three models had.
    At(Offsets),
    /// Nobody has taken note of it.
    Unknown { since: Option<String> },
}

/// The last position that all three models had committed by then, as projectors note it every second.
async fn committed_by(connection: &mut PgConnection, at: i64) -> Result<Committed, sqlx::Error> {
    let at = time::to_chrono(at);
    let is_to_come: bool =
        sqlx::query_scalar("SELECT $1 >= statement_timestamp()").bind(at).fetch_one(&mut *connection).await?;
    if is_to_come {
        return Ok(Committed::Now);
    }
    let rows: Vec<(String, Option<Vec<i64>>, Option<String>)> = sqlx::query_as(include_str!("../sql/committed_by.sql"))
        .bind(at)
        .bind(&crate::progress::MODELS[..])
        .fetch_all(connection)
        .await?;
    let mut common: Option<Vec<i64>> = None;
    for (_, next, since) in rows {
        let Some(next) = next else { return Ok(Committed::Unknown { since }) };
        common = Some(match common {
            None => next,
            Some(known) => known.iter().zip(&next).map(|(a, b)| *a.min(b)).collect(),
        });
    }
    let common = common.unwrap_or_default();
    Ok(Committed::At((0..).zip(common).collect()))
}

fn seed(reference: &Reference) -> Seed {
    match reference {
        Reference::Id(id) => Seed::Subject(*id),
        Reference::Identifier(identifier) if identifier.kind().links() => Seed::Identifier(identifier.to_string()),
        Reference::Identifier(group) => Seed::Group(group.to_string()),
    }
}

/// What a model had come past, the least copy of each event, in the order of the log.
fn records(copies: &[Copy], next: &Offsets, valid_at: Option<i64>, namespace: &Namespace) -> Vec<Record> {
    let known = copies.iter().filter(|copy| next.get(&copy.partition).is_some_and(|next| copy.offset < *next));
    let records = known.map(|c| Record::bare(c.partition, c.offset, c.received_at, c.value.clone().into())).collect();
    let mut counting = scratch::counting(records, valid_at, namespace);
    counting.sort_unstable_by_key(|record| (record.partition, record.offset));
    counting
}

/// Tables nobody else folds into, until the end of the transaction.
async fn take_slot(connection: &mut PgConnection, models: &Models) -> Result<Slot, Problem> {
    let deadline = Instant::now() + SLOT_WAIT;
    loop {
        for number in 0..SLOTS {
            let slot = models.slot(number);
            let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
                .bind(slot.lock_key)
                .fetch_one(&mut *connection)
                .await?;
            if mine {
                return Ok(slot);
            }
        }
        if Instant::now() >= deadline {
            return Err(Problem::new(Kind::Busy, "too many pasts are being folded; ask again after Retry-After"));
        }
        sleep(SLOT_PAUSE).await;
    }
}

/// Makes the tables where they are missing, and removes those of other versions that nobody uses. Whether any were missing.
async fn make_tables(database: &PgConnectOptions, models: &Models) -> Result<bool, Problem> {
    let mut connection = PgConnection::connect_with(database).await?;
    let made = make_within(&mut connection, models).await;
    connection.close().await?;
    made.map_err(not_made)
}

async fn make_within(connection: &mut PgConnection, models: &Models) -> Result<bool, sqlx::Error> {
    /// Ours, and of no other shape.
    const OTHERS: &str = "SELECT nspname::text FROM pg_namespace
        WHERE nspname ~ '^past_[0-9a-f]{8}_[0-9]+_(sales|service|customer360)(_views)?$' AND NOT starts_with(nspname, $1)";
    let mut tx = connection.begin().await?;
    // All locks, in order: nobody folds while tables come and go.
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MAKING_LOCK_KEY).execute(&mut *tx).await?;
    let mut were_missing = false;
    for number in 0..SLOTS {
        let slot = models.slot(number);
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(slot.lock_key).execute(&mut *tx).await?;
        if slot.is_there(&mut tx).await? {
            continue;
        }
        were_missing = true;
        for schema in slot.schemas() {
            drop_schema(&mut tx, schema).await?;
        }
        slot.sales.create(&mut tx, &models.sales).await?;
        slot.service.create(&mut tx, &models.service).await?;
        slot.customer360.create(&mut tx, &models.customer360).await?;
    }
    // Whoever comes here folds as the live generations are folded: the tables of other versions are of no use to anybody.
    let own = models.slot_name(0);
    let own = own.trim_end_matches('0').to_owned();
    let others: Vec<String> = sqlx::query_scalar(OTHERS).bind(own).fetch_all(&mut *tx).await?;
    for other in others {
        drop_schema(&mut tx, &other).await?;
    }
    tx.commit().await?;
    Ok(were_missing)
}

async fn drop_schema(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let drop = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", schema.replace('"', "\"\""));
    sqlx::raw_sql(&drop).execute(connection).await.map(|_| ())
}

fn not_found(error: PastError) -> Problem {
    match error {
        PastError::Database(error) => error.into(),
        PastError::TooMuch(most) => Problem::new(
            Kind::PastTooLong,
            format!("this past is made of more than {most} events, which are too many to fold while somebody waits"),
        ),
        PastError::Row { .. } => Problem::internal("a stored event cannot be read back", &error),
    }
}

fn not_folded(error: ScratchError) -> Problem {
    match error {
        ScratchError::Database(error) => not_made(error),
        ScratchError::Fold(_) => Problem::internal("a past could not be folded", &error),
    }
}

/// A replica cannot be written to, not even what is taken back at once.
pub(crate) fn not_made(error: sqlx::Error) -> Problem {
    let refused =
        matches!(&error, sqlx::Error::Database(e) if matches!(e.code().as_deref(), Some("25006" | "0A000" | "42501")));
    if refused {
        return Problem::new(
            Kind::PastNotFoldable,
            "the past is folded in tables of its own, and this query service may not write: ask one that is connected to the \
             primary PostgreSQL by a role that may create schemas and call pg_advisory_xact_lock and pg_try_advisory_xact_lock",
        );
    }
    error.into()
}

fn before_record(since: Option<String>) -> Problem {
    let detail = match since {
        Some(since) => format!(
            "which events were known then was noted from {since} on only; give a later time, or a position that was \
             answered then"
        ),
        None => "which events were known then has not been noted by any projector yet; give a position".to_owned(),
    };
    Problem::new(Kind::PastNotKept, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(known_at: &str) -> (Past, bool) {
        let mut params = Params::new(vec![("known_at".into(), known_at.into())]);
        let past = Past::take(&mut params);
        (past, params.finish().is_ok())
    }

    #[test]
    fn known_at_is_a_time_or_a_position() {
        let token = Position::new(uuid::Uuid::from_u128(1), Offsets::from([(0, 5)])).token();
        assert!(
            matches!(take(&token), (Past { known_at: Some(Known::At(p)), .. }, true) if p.next == Offsets::from([(0, 5)]))
        );
        let (past, fine) = take("2026-03-01T10:00:00 01:00");
        assert!(
            fine && matches!(past.known_at, Some(Known::By(at)) if Some(at) == time::parse("2026-03-01T09:00:00Z"))
        );
        for wrong in ["yesterday", "p1.", "", "2026-03-01"] {
            assert!(!take(wrong).1, "{wrong}");
        }
    }
}
