//! What goes wrong: frozen and cut connections, workers that vanish, topics that are not what they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use projection::{Projector, ProjectorError, ProjectorOptions};
use test_kit::Wire;

use crate::setup::{Stage, WAIT};
use crate::toy::Toy;

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_is_replaced_and_does_no_harm_when_it_wakes() {
    let mut stage = Stage::new().await;
    let wire = Wire::open(&stage.backbone.database_url).await;
    let through = wire.database_url();
    stage.send("e", 0..500, "a").await;
    let frozen = stage.start(ProjectorOptions { database_url: through, batch_events_max: 50, ..stage.options() }).await;
    stage.folded().await;
    stage.send("e", 500..3000, "a").await;
    wire.freeze();
    let other = stage.start(stage.options()).await;
    stage.folded().await;
    stage.holds(3000).await;
    wire.thaw();
    stage.send("e", 2000..4000, "a").await;
    stage.folded().await;
    stage.leases_become(|l| l.keys().all(Option::is_some) && l.values().copied().collect::<Vec<_>>() == [3, 3]).await;
    stage.send("e", 4000..4500, "a").await;
    stage.folded().await;
    stage.holds(4500).await;
    frozen.stop(WAIT).await.expect("it stops");
    other.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_frozen_while_it_takes_partitions_holds_nobody_up() {
    let mut stage = Stage::new().await;
    let wire = Wire::open(&stage.backbone.database_url).await;
    let through = wire.database_url();
    stage.send("e", 0..500, "a").await;
    wire.freeze_who_takes();
    let frozen = stage.start(ProjectorOptions { database_url: through, ..stage.options() }).await;
    let freezing = async {
        while !wire.is_frozen() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT, freezing).await.expect("it takes partitions");
    let other = stage.start(stage.options()).await;
    stage.folded().await;
    stage.holds(500).await;
    wire.thaw();
    stage.send("e", 500..700, "a").await;
    stage.folded().await;
    stage.holds(700).await;
    frozen.stop(WAIT).await.expect("it stops");
    other.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_counts_once() {
    let mut stage = Stage::new().await;
    let wire = Wire::open(&stage.backbone.database_url).await;
    let through = wire.database_url();
    let options = ProjectorOptions { database_url: through, batch_events_max: 100, ..stage.options() };
    let projector = stage.start(options).await;
    stage.send("e", 0..100, "a").await;
    stage.folded().await;
    wire.cut_commits(5);
    stage.send("e", 100..3000, "a").await;
    stage.folded().await;
    stage.holds(3000).await;
    assert_eq!(wire.cuts_left(), 0, "commits were cut off");
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_vanishes_in_mid_batch_is_inherited_from() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..2000, "a").await;
    for _ in 0..3 {
        let slow = Toy { pause_ms: 200, ..Toy::default() };
        let options = ProjectorOptions { batch_events_max: 200, ..stage.options() };
        let projector = Projector::start(slow, stage.log.clone(), options).await.expect("it starts");
        tokio::time::sleep(Duration::from_millis(900)).await;
        drop(projector);
    }
    let projector = stage.start(stage.options()).await;
    stage.folded().await;
    stage.holds(2000).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_are_begun_again() {
    let mut stage = Stage::new().await;
    let projector = stage.start(ProjectorOptions { batch_events_max: 50, ..stage.options() }).await;
    let mut connection = stage.database().await;
    for round in 0..5usize {
        stage.send("e", round * 400..(round + 1) * 400, "a").await;
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name LIKE 'rapport toy%'",
        )
        .execute(&mut connection)
        .await
        .expect("sessions are ended");
    }
    stage.folded().await;
    stage.holds(2000).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_what_was_folded_stops_the_projector() {
    for (change, wanted) in [
        ("UPDATE backbone.checkpoints SET last_hash = sha256('another')", "deleted and created again"),
        ("UPDATE backbone.checkpoints SET next_offset = next_offset + 1000", "records were deleted or lost"),
    ] {
        let mut stage = Stage::new().await;
        stage.send("e", 0..200, "a").await;
        let projector = stage.start(stage.options()).await;
        stage.folded().await;
        projector.stop(WAIT).await.expect("it stops");
        sqlx::query(change).execute(&mut stage.database().await).await.expect("the checkpoints are changed");
        let mut projector = stage.start(stage.options()).await;
        let ended = tokio::time::timeout(WAIT, projector.finished()).await.expect("it ends by itself");
        let error = ended.expect_err("it cannot go on");
        assert!(
            matches!(error, ProjectorError::LogRecreated { .. } | ProjectorError::LogTruncated { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(wanted), "{error}");
        assert_eq!(stage.leases().await.into_iter().collect::<Vec<_>>(), [(None, 6)], "leases are given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_over_and_over_shows() {
    let mut stage = Stage::new().await;
    let no_space = Arc::new(AtomicBool::new(true));
    let toy = Toy { no_space: Arc::clone(&no_space), ..Toy::default() };
    let projector = Projector::start(toy, stage.log.clone(), stage.options()).await.expect("it starts");
    stage.send("short", 0..1, "a").await;
    Stage::ready_becomes(&projector, |r| r.as_ref().is_err_and(|why| why.contains("no space left"))).await;
    no_space.store(false, Ordering::SeqCst);
    stage.folded().await;
    Stage::ready_becomes(&projector, Result::is_ok).await;
    stage.holds(1).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_meant_for_people_stop_no_batch() {
    let mut stage = Stage::new().await;
    // Short for a batch that takes a second, long for the statement that takes them away.
    sqlx::raw_sql(
        "DO $$
         DECLARE setting text;
         BEGIN
             FOR setting IN
                 SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout',
                     'idle_in_transaction_session_timeout', 'idle_session_timeout')
             LOOP
                 EXECUTE format('ALTER DATABASE %I SET %I = 700', current_database(), setting);
             END LOOP;
         END $$",
    )
    .execute(&mut stage.database().await)
    .await
    .expect("the database has timeouts");
    stage.send("sleepy", 0..1, "a").await;
    let slow = Toy { pause_ms: 1000, ..Toy::default() };
    let mut projector = Projector::start(slow, stage.log.clone(), stage.options()).await.expect("it starts");
    tokio::select! {
        () = stage.folded() => {}
        ended = projector.finished() => panic!("it ends by itself: {ended:?}"),
    }
    stage.holds(1).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_that_cannot_work_stop_the_projector() {
    let stage = Stage::new().await;
    let mut projector = stage.start(stage.options()).await;
    Stage::ready_becomes(&projector, Result::is_ok).await;
    let mut connection = stage.database().await;
    sqlx::raw_sql("DROP TABLE backbone.workers").execute(&mut connection).await.expect("it is dropped");
    let ended = tokio::time::timeout(WAIT, projector.finished()).await.expect("it ends by itself");
    let error = ended.expect_err("it cannot go on").to_string();
    assert!(error.contains("heartbeats fail") && error.contains("backbone.workers"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_that_are_kept_waiting_show() {
    let mut stage = Stage::new().await;
    let projector = stage.start(stage.options()).await;
    stage.leases_become(|l| l.keys().all(Option::is_some)).await;
    let mut connection = stage.database().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE backbone.workers").execute(&mut connection).await.expect("the table is locked");
    Stage::ready_becomes(&projector, |r| r.as_ref().is_err_and(|why| why.contains("heartbeats fail"))).await;
    // The session that gives up says why its leases have lapsed, too.
    let lapsed = |r: &Result<(), String>| r.as_ref().is_err_and(|why| why.contains("lapsed: heartbeats fail"));
    Stage::ready_becomes(&projector, lapsed).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut connection).await.expect("the table is free");
    Stage::ready_becomes(&projector, Result::is_ok).await;
    stage.send("e", 0..100, "a").await;
    stage.folded().await;
    stage.holds(100).await;
    projector.stop(WAIT).await.expect("it stops");
}
