//! A log that is there already is loaded in one go. Killed in the middle, that begins again; of several projectors one does
//! it while the others wait; and it ends in what the log says.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::StdRng};
use sqlx::{Connection, PgConnection};
use system_tests::{
    load::{Load, check_database},
    stack::{Ended, Stack, binary, command},
};

/// Enough for a load to take a second or more.
const EVENTS: usize = 8_000;
const MODELS: [&str; 3] = ["sales", "service", "customer360"];
/// How often each projector is killed while it starts or loads.
const KILLS: usize = 4;

/// One more projector, over the stack's log, into another database.
fn projector(stack: &Stack, model: &str, database_url: &str) -> Ended {
    let base = local_stack::free_ports(20).expect("a block of ports is free");
    command(binary())
        .args(["projector", model])
        .env("RAPPORT_PORT_BASE", base.to_string())
        .env("RAPPORT_KAFKA", stack.kafka())
        .env("RAPPORT_DATABASE_URL", database_url)
        .env("RAPPORT_LEASE_TTL_MS", "2000")
        .current_dir(stack.data_dir())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map(Ended)
        .expect("a projector starts")
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
        for _ in 0..KILLS {
            let killed = projector(&stack, model, &url);
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_500))).await;
            drop(killed);
        }
    }
    // Two of each at once, of which one loads; the log still grows.
    let projectors: Vec<Ended> = MODELS.iter().chain(&MODELS).map(|model| projector(&stack, model, &url)).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.stop().await;
    check_database(&stack, &url).await;
    drop(projectors);
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
    for (model, after_ms) in MODELS.into_iter().zip([400, 700, 1_000]) {
        let first = projector(&stack, model, &url);
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
    stack.stop().await;
}
