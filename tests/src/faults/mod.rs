//! The fault bar: a stack is published to while everything that can go wrong is made to, and at the end nothing that was
//! acknowledged is lost, nothing is counted twice, and every table is what an independent fold of the log comes to.
//!
//! ```text
//! Recorder (clients) --HTTP--> the stack <-- one fault after another, each until all models move again
//!    | acknowledged ids and positions          Watch: how long nothing went on
//!    v
//! judge: reads the log by itself; lost? double? dead letters? = the oracle? = clean folds into empty databases?
//! Reader: are the pages that it was given meanwhile given again, as they were known then?
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | `stream` | the events: all types, copies, late ones, voids, some that have to be rejected |
//! | `recorder` | publishes them, sends again what was not acknowledged, notes what was |
//! | `watch` | the longest stall |
//! | `reader` | pages kept while faults are injected, and asked for again |
//! | `judge` | the verdict |
//! | `fault` | the list of faults |
//! | `rival` | further processes beside those of `rapport up` |
//! | `processes`, `steps`, `servers`, `clients`, `topics`, `upgrade` | how each fault is injected |
//!
//! What is chosen is chosen by a seed: which event, which fault next, which step, how long. What the machine makes of it is
//! its own; the same seed makes a failure likely to come again, and not certain.

mod clients;
mod fault;
mod judge;
mod processes;
mod reader;
mod recorder;
mod rival;
mod servers;
mod steps;
mod stream;
mod topics;
mod upgrade;
mod watch;

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use sqlx::{Connection, PgConnection};

pub use fault::Fault;
pub use watch::Stall;

use crate::{load::caught_up, stack::Stack};
use judge::Place;
use reader::Reader;
use recorder::{Publisher, Recorder};
use watch::Watch;

/// Leases of two seconds: what is stopped is replaced soon.
const LEASE_TTL_MS: &str = "2000";
/// A stack that has more of everything in a short time: batches, lapsed leases, refused requests, headers given up.
const SETTINGS: [(&str, &str); 5] = [
    ("lease_ttl_ms", LEASE_TTL_MS),
    ("batch_events_max", "200"),
    ("publish_timeout_ms", "3000"),
    ("header_timeout_ms", "2000"),
    ("queue_bytes_max", "1MiB"),
];
/// Complaints of a round that are kept.
const COMPLAINTS_MAX: usize = 40;

/// One round: a fresh stack, one fault after another, a judgement.
#[derive(Clone, Debug)]
pub struct Round {
    /// Of events and choices.
    pub seed: u64,
    /// What is injected, in an order that the seed decides; some may be there more than once.
    pub faults: Vec<Fault>,
}

/// What a round, or several, came to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Events that were acknowledged; copies with other contents count as further ones.
    pub acknowledged: u64,
    /// Of these, how many are not in the log as they were sent; and rejected ones that are not kept.
    pub lost: u64,
    /// Rows beyond one an event, and beyond as many as the log accounts for.
    pub double: u64,
    /// Rejections, each of which has to be kept.
    pub rejected: u64,
    /// Pages and timelines kept meanwhile, and asked for again as they were known then.
    pub pages: u64,
    /// How often something was broken.
    pub injected: u64,
    /// The longest time that nothing went on.
    pub stall: Stall,
    /// Events that were sent, copies among them.
    pub sent: u64,
    /// Records of the log.
    pub records: u64,
    /// Requests answered 429 or 503.
    pub refused: u64,
    /// Requests without an answer.
    pub cut: u64,
    /// Faults that this machine cannot have, and why.
    pub skipped: Vec<String>,
    /// Everything that is not as it must be.
    pub complaints: Vec<String>,
}

impl Figures {
    /// Nothing is lost, double or otherwise wrong.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.double == 0 && self.complaints.is_empty()
    }

    /// These and another round's.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.double += other.double;
        self.rejected += other.rejected;
        self.pages += other.pages;
        self.injected += other.injected;
        self.sent += other.sent;
        self.records += other.records;
        self.refused += other.refused;
        self.cut += other.cut;
        if other.stall.longest > self.stall.longest {
            self.stall = other.stall;
        }
        self.skipped.extend(other.skipped.into_iter().filter(|s| !self.skipped.contains(s)).collect::<Vec<_>>());
        self.complaints.extend(other.complaints);
        self.complaints.truncate(COMPLAINTS_MAX);
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stall = format!("{:.1} s ({})", self.stall.longest.as_secs_f64(), self.stall.what);
        for (name, value) in [
            ("events acknowledged", self.acknowledged.to_string()),
            ("lost", self.lost.to_string()),
            ("double", self.double.to_string()),
            ("faults injected", self.injected.to_string()),
            ("longest stall", stall),
            ("events rejected", self.rejected.to_string()),
            ("pages of then asked for again", self.pages.to_string()),
            ("events sent, copies among them", self.sent.to_string()),
            ("records in the log", self.records.to_string()),
            ("requests refused (429, 503)", self.refused.to_string()),
            ("requests cut", self.cut.to_string()),
        ] {
            writeln!(f, "  {name:<32}{value}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  left out: {skipped}")?;
        }
        for complaint in &self.complaints {
            writeln!(f, "  WRONG: {complaint}")?;
        }
        Ok(())
    }
}

/// What an injection came to.
pub(crate) enum Injected {
    /// So many things were broken.
    Times(u64),
    /// This machine cannot have it.
    Skipped(String),
}

/// What faults are injected into.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) rng: StdRng,
    publisher: Publisher,
    /// Where records stand that no fold can take.
    poison: BTreeSet<Place>,
    /// Addresses of further databases that the log is folded into.
    databases: Vec<String>,
    /// How many names were given out.
    names: u32,
}

impl World {
    /// A name that nothing else has.
    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}_{}", self.names)
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.stack.database_url()).await.expect("PostgreSQL answers")
    }

    /// Waits until an event that is published now has reached all models.
    async fn recovers(&self) -> Duration {
        let began = Instant::now();
        let position = self.publisher.probe().await;
        caught_up(&self.stack, position).await;
        began.elapsed()
    }
}

/// Runs a round and tells of each fault, a line each.
///
/// # Panics
/// The stack does not start, or a fault does not do what it is meant to.
pub async fn run(round: &Round, tell: impl Fn(&str)) -> Figures {
    let mut rng = StdRng::seed_from_u64(round.seed);
    let mut faults = round.faults.clone();
    faults.shuffle(&mut rng);
    let stack = Stack::start_with(&SETTINGS).await;
    let recorder = Recorder::start(&stack, round.seed);
    let publisher = recorder.publisher.clone();
    let watch = Watch::start(publisher.clone(), stack.database_url());
    let reader = Reader::start(&stack, round.seed);
    let mut world = World { stack, rng, publisher, poison: BTreeSet::new(), databases: Vec::new(), names: 0 };
    let mut figures = Figures::default();
    watch.during("the start");
    world.recovers().await;
    for fault in faults {
        watch.during(&fault.to_string());
        let began = Instant::now();
        let injected = fault.inject(&mut world).await;
        let took = began.elapsed().as_secs_f64();
        match injected {
            Injected::Times(times) => {
                let recovery = world.recovers().await.as_secs_f64();
                figures.injected += times;
                tell(&format!("{fault:<66} {times:>3} in {took:>5.1} s, all moves again after {recovery:.1} s"));
            }
            Injected::Skipped(why) => {
                tell(&format!("{fault:<66} left out: {why}"));
                figures.skipped.push(format!("{fault}: {why}"));
            }
        }
    }
    // From here on nobody publishes any more.
    figures.stall = watch.stall();
    drop(watch);
    let book = recorder.stop().await;
    let began = Instant::now();
    let mut verdict = judge::judge(&world.stack, &book, &world.poison, &world.databases).await;
    tell(&format!("judged {} events in {:.1} s", verdict.events, began.elapsed().as_secs_f64()));
    let pages = reader.ask_again(&world.stack, &mut verdict.complaints).await;
    if verdict.complaints.is_empty() {
        verdict.complaints = judge::would_be_seen(&world.stack).await;
    }
    world.stack.stop().await;
    figures.add(Figures {
        acknowledged: book.acknowledged.len() as u64,
        lost: verdict.lost,
        double: verdict.double,
        rejected: book.rejected.len() as u64,
        pages,
        sent: book.sent,
        records: verdict.records,
        refused: book.refused,
        cut: book.cut,
        complaints: verdict.complaints,
        ..Figures::default()
    });
    figures
}

/// A new database on the stack's server; returns its address.
async fn database(stack: &Stack, name: &str) -> String {
    let mut connection = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    let create = format!("CREATE DATABASE {name}");
    sqlx::query(&create).execute(&mut connection).await.expect("a database");
    let url = stack.database_url();
    let (server, _) = url.rsplit_once('/').expect("the database's name ends its address");
    format!("{server}/{name}")
}

/// Runs a command to its end, away from the async threads.
async fn finished(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.expect("it does not panic").expect("the command runs")
}

/// All that a command has said.
fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
