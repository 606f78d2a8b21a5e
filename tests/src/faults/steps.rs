//! Faults at the steps of the work: of a batch, of a load, of a swap.

use std::{
    os::unix::process::ExitStatusExt,
    time::{Duration, Instant},
};

use projection::failpoint::{Step, VARIABLE};
use rand::{Rng, seq::IndexedRandom};
use test_kit::Wire;

use super::{
    Injected, World, database, finished,
    processes::held_by,
    rival::{LOOK_PAUSE, MODELS, PATIENCE, Rival},
    said,
};

/// Answers that are lost, a model.
const LOST_COMMITS: u32 = 3;
/// The one that wakes does at once what it may do wrong.
const AWAKE: Duration = Duration::from_millis(500);
/// A signal by its number.
const SIGKILL: i32 = 9;

/// One more projector of each model takes its share, and dies at this step of its first, second or third batch.
pub(super) async fn at(world: &mut World, step: Step) -> Injected {
    // Partitions are taken once.
    let nth = if step == Step::Taking { 1 } else { world.rng.random_range(1..4) };
    let point = format!("{}:{nth}", step.name());
    let mut rivals = MODELS.map(|model| Rival::projector(&world.stack, model, &[(VARIABLE, &point)]));
    for rival in &mut rivals {
        rival.killed().await;
    }
    Injected::Times(MODELS.len() as u64)
}

/// One more projector of each model stops in the middle of a COPY, with all of its locks. Others take over; it wakes.
pub(super) async fn stopped_in_copy(world: &mut World) -> Injected {
    let point = format!("{}:{}:stop", Step::InCopy.name(), world.rng.random_range(1..6));
    let rivals = MODELS.map(|model| Rival::projector(&world.stack, model, &[(VARIABLE, &point)]));
    for rival in &rivals {
        rival.stopped().await;
    }
    world.recovers().await;
    rivals.iter().for_each(|rival| rival.signal("CONT"));
    tokio::time::sleep(AWAKE).await;
    world.recovers().await;
    drop(rivals);
    Injected::Times(MODELS.len() as u64)
}

/// The answers of some COMMITs never come: nobody can know whether they went through.
pub(super) async fn lost_commits(world: &mut World) -> Injected {
    let mut rivals = Vec::new();
    for model in MODELS {
        let wire = Wire::open(&world.stack.database_url()).await;
        let url = wire.database_url();
        rivals.push((Rival::projector(&world.stack, model, &[("RAPPORT_DATABASE_URL", &url)]), wire));
    }
    held_by(world, 2).await;
    rivals.iter().for_each(|(_, wire)| wire.cut_commits(LOST_COMMITS));
    let end = Instant::now() + PATIENCE;
    while rivals.iter().any(|(_, wire)| wire.cuts_left() > 0) {
        assert!(Instant::now() < end, "there were no COMMITs to cut within {PATIENCE:?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    drop(rivals);
    Injected::Times(u64::from(LOST_COMMITS) * MODELS.len() as u64)
}

/// Loads of the log into a database of its own die at each of their steps. The judge lets a last one through.
pub(super) async fn in_load(world: &mut World) -> Injected {
    let name = world.name("loaded");
    let url = database(&world.stack, &name).await;
    let steps = [Step::LoadBegun, Step::LoadCopied, Step::LoadBeforeCommit];
    for step in steps {
        let settings = [(VARIABLE, step.name()), ("RAPPORT_DATABASE_URL", url.as_str())];
        let mut rivals = MODELS.map(|model| Rival::projector(&world.stack, model, &settings));
        for rival in &mut rivals {
            rival.killed().await;
        }
    }
    world.databases.push(url);
    Injected::Times((steps.len() * MODELS.len()) as u64)
}

/// A generation is built beside the live one by projectors that die at each of the steps, while that of `up` is stopped, which
/// would build it without a fault. It goes on where they have left it, and comes out identical.
pub(super) async fn in_build(world: &mut World) -> Injected {
    let model = *MODELS.choose(&mut world.rng).expect("three models");
    let points = [(Step::LoadBegun, 1), (Step::LoadCopied, 1), (Step::LoadStepped, 8), (Step::LoadBeforeCommit, 1)];
    let points = points.map(|(step, most)| format!("{}:{}", step.name(), world.rng.random_range(1..=most)));
    assert!(world.stack.signal(model, "STOP"), "{model} was not running");
    let dying = async {
        for point in &points {
            Rival::projector(&world.stack, model, &[(VARIABLE, point)]).killed().await;
        }
        let last = Rival::projector(&world.stack, model, &[]);
        assert!(world.stack.signal(model, "CONT"), "{model} was not running");
        last
    };
    let (built, last) = tokio::join!(finished(world.stack.rapport_command(&["generation", "build", model])), dying);
    assert!(built.status.success(), "{}\n{}", said(&built), last.said());
    done(world, &["generation", "verify", model], &[]).await;
    drop(last);
    world.recovers().await;
    done(world, &["generation", "drop", model], &[]).await;
    Injected::Times(points.len() as u64)
}

/// A generation is built; the command that swaps it in dies before its COMMIT, then one dies after it. Then back.
pub(super) async fn in_swap(world: &mut World) -> Injected {
    let model = *MODELS.choose(&mut world.rng).expect("three models");
    let before = live(world, model).await;
    done(world, &["generation", "build", model], &[]).await;
    for (step, is_swapped) in [(Step::SwapBeforeCommit, false), (Step::SwapAfterCommit, true)] {
        let mut swap = world.stack.rapport_command(&["generation", "swap", model]);
        swap.env(VARIABLE, step.name());
        let output = finished(swap).await;
        assert_eq!(output.status.signal(), Some(SIGKILL), "the swap of {model}: {}", said(&output));
        // The COMMIT may still be under way when the command is gone, and a session that is gone may still hold its locks.
        let end = Instant::now() + PATIENCE;
        while (live(world, model).await != before) != is_swapped {
            assert!(Instant::now() < end, "{model}: a swap that died at {} took effect, or did not", step.name());
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        world.recovers().await;
    }
    done(world, &["generation", "rollback", model], &[]).await;
    assert_eq!(live(world, model).await, before);
    world.recovers().await;
    done(world, &["generation", "drop", model], &[]).await;
    Injected::Times(2)
}

/// Number of a model's live generation.
pub(super) async fn live(world: &World, model: &str) -> i32 {
    sqlx::query_scalar("SELECT generation FROM backbone.generations WHERE model = $1 AND state = 'live'")
        .bind(model)
        .fetch_one(&mut world.connection().await)
        .await
        .expect("a live generation")
}

/// A command of `rapport` that must succeed.
pub(super) async fn done(world: &World, arguments: &[&str], settings: &[(&str, &str)]) {
    let mut command = world.stack.rapport_command(arguments);
    command.envs(settings.iter().copied());
    let output = finished(command).await;
    assert!(output.status.success(), "{arguments:?}: {}: {}", output.status, said(&output));
}
