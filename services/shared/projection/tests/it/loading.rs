//! A log that is there already is loaded at once; what cannot be loaded is folded in batches.

use std::sync::atomic::Ordering;

use event_log::{Log, LogOptions, NewRecord, Topic};
use projection::{Projector, ProjectorOptions};

use crate::setup::{Stage, WAIT};
use crate::toy::Toy;

fn loading() -> Toy {
    Toy { loads: true, ..Toy::default() }
}

async fn start(stage: &Stage, toy: &Toy, options: ProjectorOptions) -> Projector {
    Projector::start(toy.clone(), stage.log.clone(), options).await.expect("the projector starts")
}

async fn dead_letters(stage: &Stage) -> i64 {
    let mut connection = stage.database().await;
    sqlx::query_scalar("SELECT count(*) FROM backbone.dead_letters").fetch_one(&mut connection).await.expect("a count")
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_broken_records_are_folded_behind_it() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..3000, "a").await;
    stage.send("e", 1000..2000, "a").await;
    stage.send("e", 500..1500, "b").await;
    let garbage = NewRecord::new("k", vec![0xff, 0xff, 0xff]).header("ce_id", "g").header("ce_source", "elsewhere");
    for answer in stage.appender.append(Topic::Log, vec![garbage]).await {
        answer.expect("the record is acknowledged");
    }
    let toy = loading();
    let projector = start(&stage, &toy, stage.options()).await;
    stage.folded().await;
    stage.holds(3000).await;
    assert_eq!((toy.loaded.load(Ordering::SeqCst), dead_letters(&stage).await), (1, 1));
    // From here on in batches.
    stage.send("e", 2500..3500, "a").await;
    stage.folded().await;
    stage.holds(3500).await;
    assert_eq!(toy.loaded.load(Ordering::SeqCst), 1);
    // The planner knows what was loaded.
    let known = "SELECT count(*) FROM pg_stats WHERE schemaname = 'toy_g1' AND tablename = 'facts'";
    let mut database = stage.database().await;
    let analyzed = async {
        while sqlx::query_scalar::<_, i64>(known).fetch_one(&mut database).await.expect("a count") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WAIT, analyzed).await.expect("the loaded table was not analyzed");
    projector.stop(WAIT).await.expect("it stops");
}

/// Where something comes in all the time, whatever is fetched holds records of every partition, and no end is ever seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_ends_though_events_keep_coming() {
    let mut stage = Stage::new().await;
    let toy = loading();
    stage.send("e", 0..2000, "a").await;
    // A broker that gathers for longer than the pause between two events.
    let properties = [("fetch.wait.max.ms", "1000"), ("fetch.min.bytes", "1000000")];
    let options = LogOptions {
        properties: properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..stage.log.options().clone()
    };
    let log = Log::open(&options).await.expect("the log opens");
    let stage_options = stage.options();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let coming = async {
        let mut next = 2000;
        while stopped.try_recv().is_err() {
            stage.send("e", next..next + 20, "a").await;
            next += 20;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        (stage, next)
    };
    let loaded = async {
        let projector = Projector::start(toy.clone(), log, stage_options).await.expect("the projector starts");
        let loaded = async {
            while toy.loaded.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, loaded).await.expect("the load does not end");
        stop.send(()).expect("events keep coming");
        projector
    };
    let ((stage, sent), projector) = tokio::join!(coming, loaded);
    stage.folded().await;
    stage.holds(sent.try_into().expect("a number")).await;
    assert_eq!(toy.loaded.load(Ordering::SeqCst), 1);
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_loaded_is_folded_in_batches() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..1000, "a").await;
    stage.send("zero", 0..1, "a").await;
    stage.send("refused", 0..1, "a").await;
    stage.send("f", 0..1000, "a").await;
    let toy = loading();
    let projector = start(&stage, &toy, stage.options()).await;
    stage.folded().await;
    stage.holds(2000).await;
    assert_eq!((toy.loaded.load(Ordering::SeqCst), dead_letters(&stage).await), (0, 2));
    projector.stop(WAIT).await.expect("it stops");
}

/// Without space nothing is lost or given up: it is told, and tried again; what the tries wrote does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_without_space_is_tried_again() {
    let mut stage = Stage::new().await;
    stage.send("short", 0..2000, "a").await;
    let toy = loading();
    toy.no_space.store(true, Ordering::SeqCst);
    let projector = start(&stage, &toy, stage.options()).await;
    Stage::ready_becomes(&projector, |ready| ready.as_ref().is_err_and(|e| e.contains("no space left"))).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    toy.no_space.store(false, Ordering::SeqCst);
    stage.folded().await;
    stage.holds(2000).await;
    Stage::ready_becomes(&projector, |ready| ready.is_ok()).await;
    let mut connection = stage.database().await;
    let pages: i64 = sqlx::query_scalar("SELECT pg_relation_size('toy_g1.facts') / 8192")
        .fetch_one(&mut connection)
        .await
        .expect("the size of a table");
    assert!(pages <= 40, "2,000 rows of some 120 bytes fill {pages} pages");
    projector.stop(WAIT).await.expect("it stops");
}

/// One of several loads all of it; then they share.
#[tokio::test(flavor = "multi_thread")]
async fn one_loads_and_then_all_fold() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..5000, "a").await;
    let toy = loading();
    let one = start(&stage, &toy, ProjectorOptions { workers: 2, ..stage.options() }).await;
    let two = start(&stage, &toy, stage.options()).await;
    stage.folded().await;
    stage.holds(5000).await;
    assert_eq!(toy.loaded.load(Ordering::SeqCst), 1);
    stage.leases_become(|leases| leases.len() == 3 && !leases.contains_key(&None)).await;
    stage.send("f", 0..1000, "a").await;
    stage.folded().await;
    stage.holds(6000).await;
    one.stop(WAIT).await.expect("it stops");
    two.stop(WAIT).await.expect("it stops");
}
