//! A rolling upgrade while the next version builds its own tables.

use super::{
    Injected, World, finished,
    processes::replaced,
    rival::Rival,
    said,
    steps::{done, live},
};

/// What makes the next version another definition of the model.
const NEXT: [(&str, &str); 1] = [("RAPPORT_HUB_LIMITS", "device_id/*=3")];
const MODEL: &str = "customer360";
/// Replaced one after the other while the build goes on.
const SERVICES: [&str; 5] = ["query", "customer360", "collector", "service", "sales"];

/// A projector of the next version comes: it leaves the live tables alone and builds its own, while each service of this
/// version is replaced in turn. They are swapped in and answered from, then the old ones come back, with all that was
/// published meanwhile.
pub(super) async fn rolling(world: &mut World) -> Injected {
    let before = live(world, MODEL).await;
    let next = Rival::projector(&world.stack, MODEL, &NEXT);
    let mut build = world.stack.rapport_command(&["generation", "build", MODEL]);
    build.envs(NEXT);
    let replacing = async {
        for service in SERVICES {
            let pid = world.stack.pid(service);
            assert!(world.stack.signal(service, "TERM"), "{service} was not running");
            replaced(world, service, pid).await;
        }
    };
    let (built, ()) = tokio::join!(finished(build), replacing);
    assert!(built.status.success(), "{}\n{}", said(&built), next.said());
    done(world, &["generation", "swap", MODEL], &NEXT).await;
    assert_ne!(live(world, MODEL).await, before);
    world.recovers().await;
    done(world, &["generation", "rollback", MODEL], &[]).await;
    assert_eq!(live(world, MODEL).await, before);
    world.recovers().await;
    drop(next);
    done(world, &["generation", "drop", MODEL], &[]).await;
    Injected::Times(SERVICES.len() as u64)
}
