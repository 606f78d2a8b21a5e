//! A log that is there already is loaded in one go. Killed in the middle, that begins again; of several projectors one does
//! it while the others wait; and it ends in what the log says.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{Connection, PgConnection};
use system_tests::{
    load::{Load, check_database},
    stack::{Ended, Stack, binary, command},
};

/// Enough for a load to be met in its middle.
const EVENTS: usize = 8_000;
const MODELS: [&str; 3] = ["sales", "service", "customer360"];
/// How often each projector is killed while it loads.
const KILLS: usize = 4;
/// A projector begins to load within this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// One more projector, over the stack's log, into another database. What it says goes to a file of the model's.
fn projector(stack: &Stack, model: &str, database_url: &str) -> Ended {
    let log = std::fs::File::options().create(true).append(true).open(said_by(stack, model)).expect("a log file");
    let base = local_stack::free_ports(20).expect("a block of ports is free");
    command(binary())
        .args(["projector", model])
        .env("RAPPORT_PORT_BASE", base.to_string())
        .env("RAPPORT_KAFKA", stack.kafka())
        .env("RAPPORT_DATABASE_URL", database_url)
        .env("RAPPORT_LEASE_TTL_MS", "2000")
        .current_dir(stack.data_dir())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .map(Ended)
        .expect("a projector starts")
}

fn said_by(stack: &Stack, model: &str) -> PathBuf {
    stack.data_dir().join(format!("more-{model}.log"))
}

const BEGUN: &str = "loading the log from its beginning";

/// Waits until so many loads of a model have begun, or one has ended: then there is nothing more to load.
async fn begins_to_load(stack: &Stack, model: &str, times: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = std::fs::read_to_string(said_by(stack, model)).unwrap_or_default();
        if said.matches(BEGUN).count() >= times || said.contains(" loaded model=") {
            return;
        }
        assert!(Instant::now() < end, "{model} does not load:\n{said}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Each model was loaded in the end, once, and nothing of it was folded in batches for want of that.
fn all_were_loaded(stack: &Stack) {
    for model in MODELS {
        let said = std::fs::read_to_string(said_by(stack, model)).expect("it said something");
        assert_eq!(said.matches(" loaded model=").count(), 1, "{said}");
        assert!(said.matches(BEGUN).count() > 1, "nobody was stopped in a load:\n{said}");
        assert!(!said.contains("folded in batches"), "{said}");
    }
}

/// An empty database on the stack's server.
async fn database(stack: &Stack, name: &str) -> String {
    let mut connection = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    sqlx::raw_sql(&format!("CREATE DATABASE {name}")).execute(&mut connection).await.expect("a database");
    let url = stack.database_url();
    let (server, _) = url.rsplit_once('/').expect("the database's name ends its address");
    format!("{server}/{name}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_killed_begins_again() {
    let stack = Stack::start().await;
    let load = Load::start(&stack, 4);
    while load.acknowledged() < EVENTS {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let url = database(&stack, "loaded").await;
    let mut rng = StdRng::seed_from_u64(5);
    for model in MODELS {
        for n in 0..KILLS {
            let killed = projector(&stack, model, &url);
            begins_to_load(&stack, model, n + 1).await;
            // The first at once: however fast the machine, that one is in the middle.
            let after_ms = if n == 0 { 0 } else { rng.random_range(0..200) };
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            drop(killed);
        }
    }
    // Two of each at once, of which one loads; the log still grows.
    let projectors: Vec<Ended> = MODELS.iter().chain(&MODELS).map(|model| projector(&stack, model, &url)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.stop().await;
    check_database(&stack, &url).await;
    drop(projectors);
    all_were_loaded(&stack);
    stack.stop().await;
}

/// Whoever is stopped in the middle of a load holds nobody up, and writes nothing when it wakes.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_load_is_taken_over() {
    let stack = Stack::start().await;
    let load = Load::start(&stack, 4);
    while load.acknowledged() < EVENTS {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.stop().await;
    let url = database(&stack, "loaded").await;
    let mut stopped = Vec::new();
    for (model, after_ms) in MODELS.into_iter().zip([0, 30, 80]) {
        let first = projector(&stack, model, &url);
        begins_to_load(&stack, model, 1).await;
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        first.signal("STOP");
        stopped.push(first);
    }
    let projectors: Vec<Ended> = MODELS.iter().map(|model| projector(&stack, model, &url)).collect();
    check_database(&stack, &url).await;
    for first in &stopped {
        first.signal("CONT");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    check_database(&stack, &url).await;
    drop((projectors, stopped));
    all_were_loaded(&stack);
    stack.stop().await;
}
