//! Processes that are killed, stopped, or cut off.

use std::time::{Duration, Instant};

use rand::Rng;
use test_kit::Wire;

use super::{
    Injected, World,
    rival::{LOOK_PAUSE, MODELS, PATIENCE, Rival},
};

/// What `rapport up` starts, by their pid files.
pub(super) const VICTIMS: [&str; 7] = ["sales", "service", "customer360", "collector", "query", "kafka", "postgres"];
/// Longer than a lease and the look of another worker.
const PAST_THE_LEASE: Duration = Duration::from_millis(3_500);
/// What the one that wakes may do wrong, it does at once.
const AWAKE: Duration = Duration::from_millis(500);

/// kill -9 at a random moment; `up` starts it again.
pub(super) async fn kill(world: &mut World, victim: &str) -> Injected {
    tokio::time::sleep(Duration::from_millis(world.rng.random_range(0..400))).await;
    let pid = world.stack.pid(victim);
    assert!(world.stack.signal(victim, "KILL"), "{victim} was not running");
    replaced(world, victim, pid).await;
    Injected::Times(1)
}

/// kill -9 of `up`; a new one ends what that leaves and starts all of it again.
pub(super) async fn kill_up(world: &mut World) -> Injected {
    Box::pin(world.stack.restart_after_kill()).await;
    Injected::Times(1)
}

/// Waits until a process runs again under another id.
pub(super) async fn replaced(world: &World, name: &str, pid: Option<u32>) {
    let end = Instant::now() + PATIENCE;
    while world.stack.pid(name).is_none_or(|now| Some(now) == pid) {
        assert!(Instant::now() < end, "{name} was not started again within {PATIENCE:?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// All projectors of `up` are stopped, others go on; then they wake beside those.
pub(super) async fn stopped_past_the_lease(world: &mut World) -> Injected {
    let rivals = MODELS.map(|model| Rival::projector(&world.stack, model, &[]));
    held_by(world, 2).await;
    for model in MODELS {
        assert!(world.stack.signal(model, "STOP"), "{model} was not running");
    }
    world.recovers().await;
    for model in MODELS {
        assert!(world.stack.signal(model, "CONT"), "{model} was not running");
    }
    tokio::time::sleep(AWAKE).await;
    world.recovers().await;
    drop(rivals);
    Injected::Times(MODELS.len() as u64)
}

/// One of two projectors of each model is cut off from PostgreSQL in the middle of its work: it cannot know that its lease
/// has lapsed, others take its partitions, and it finds out when it is let through again.
pub(super) async fn two_claims(world: &mut World) -> Injected {
    let mut rivals = Vec::new();
    for model in MODELS {
        let wire = Wire::open(&world.stack.database_url()).await;
        let url = wire.database_url();
        rivals.push((Rival::projector(&world.stack, model, &[("RAPPORT_DATABASE_URL", &url)]), wire));
    }
    held_by(world, 2).await;
    rivals.iter().for_each(|(_, wire)| wire.freeze());
    world.recovers().await;
    tokio::time::sleep(PAST_THE_LEASE).await;
    rivals.iter().for_each(|(_, wire)| wire.thaw());
    held_by(world, 2).await;
    world.recovers().await;
    drop(rivals);
    Injected::Times(MODELS.len() as u64)
}

/// Waits until each model's partitions are held by so many workers.
pub(super) async fn held_by(world: &World, workers: i64) {
    let end = Instant::now() + PATIENCE;
    loop {
        let holders: Vec<i64> = sqlx::query_scalar(
            "SELECT count(DISTINCT holder) FROM backbone.leases JOIN backbone.generations USING (model, generation)
             WHERE state = 'live' AND expires_at > clock_timestamp() AND backbone.is_session(pid, backend_start)
             GROUP BY model",
        )
        .fetch_all(&mut world.connection().await)
        .await
        .expect("leases");
        if holders.len() == MODELS.len() && holders.iter().all(|count| *count == workers) {
            return;
        }
        assert!(Instant::now() < end, "partitions are held by {holders:?} workers, not {workers}, after {PATIENCE:?}");
        tokio::time::sleep(LOOK_PAUSE * 5).await;
    }
}
