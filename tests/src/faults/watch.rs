//! How long nothing went on: no publish acknowledged, or a model that was behind and did not move.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::position::Offsets;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::recorder::Publisher;

/// How often it is looked.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// A look that takes longer is given up.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest time during which nothing went on.
#[derive(Clone, Debug, Default)]
pub struct Stall {
    /// How long it was.
    pub longest: Duration,
    /// What stood still, and during which fault.
    pub what: String,
}

/// Looks on for as long as it lives.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    _looking: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    stall: Stall,
    /// The fault that is being injected.
    during: String,
}

impl Watch {
    pub(super) fn start(publisher: Publisher, database_url: String) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut looking = JoinSet::new();
        looking.spawn(look(publisher, database_url, Arc::clone(&seen)));
        Self { seen, _looking: looking }
    }

    pub(super) fn during(&self, fault: &str) {
        lock(&self.seen).during = fault.to_owned();
    }

    pub(super) fn stall(&self) -> Stall {
        lock(&self.seen).stall.clone()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look(publisher: Publisher, database_url: String, seen: Arc<Mutex<Seen>>) {
    let (began, mut connection) = (Instant::now(), None);
    let mut models: BTreeMap<String, (Offsets, Instant)> = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        let (last, ends) = {
            let book = publisher.book();
            (book.last.unwrap_or(began), book.ends.clone())
        };
        note(&seen, "publishing", last.elapsed());
        match tokio::time::timeout(LOOK_TIMEOUT, positions(&mut connection, &database_url)).await {
            Ok(Ok(positions)) => {
                for (model, at) in positions {
                    let reached = ends.iter().all(|(partition, end)| at.get(partition).is_some_and(|next| next >= end));
                    let (before, since) = models.entry(model).or_insert_with(|| (Offsets::new(), began));
                    if reached || *before != at {
                        (*before, *since) = (at, Instant::now());
                    }
                }
            }
            _ => connection = None,
        }
        for (model, (_, since)) in &models {
            note(&seen, model, since.elapsed());
        }
    }
}

async fn positions(
    connection: &mut Option<PgConnection>,
    database_url: &str,
) -> Result<BTreeMap<String, Offsets>, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(PgConnection::connect(database_url).await?),
    };
    projection::positions::read(connection).await
}

fn note(seen: &Mutex<Seen>, what: &str, stood_still: Duration) {
    let mut seen = lock(seen);
    if stood_still > seen.stall.longest {
        seen.stall = Stall { longest: stood_still, what: format!("{what}, during: {}", seen.during) };
    }
}
