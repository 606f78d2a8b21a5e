//! What `/metrics` shows of a projector, against what it has done.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use projection::metrics::{
    BATCH_EVENTS, BATCHES_TOTAL, CHECKPOINT_OFFSET, COMMIT_SECONDS, DEAD_LETTERS, DEAD_LETTERS_TOTAL, EVENTS_TOTAL,
    FENCED_BATCHES_TOTAL, FOLD_SECONDS, GENERATION_STATE, LAG_EVENTS, LAG_SECONDS, LOAD_EVENTS, LOG_END_OFFSET,
    PARTITIONS_HELD, RETRIES_TOTAL, TAKEOVERS_TOTAL, VISIBLE_SECONDS,
};
use projection::{Projector, generation};
use service_kit::messaging;

use crate::setup::{Stage, WAIT};
use crate::toy::Toy;

type Labels<'a> = &'a [(&'a str, &'a str)];

/// The sum of all series of a name that carry these labels; `None` where there is none.
fn read(name: &str, labels: Labels<'_>) -> Option<f64> {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let text = METRICS.get_or_init(|| service_kit::init_metrics().expect("once a process")).render();
    let series = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (found, rest) = series.split_once('{').unwrap_or((series, ""));
        let is_it = found == name && labels.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")));
        is_it.then(|| value.parse::<f64>().expect("a number"))
    });
    series.reduce(|sum, value| sum + value)
}

async fn becomes(name: &str, labels: Labels<'_>, wanted: impl Fn(f64) -> bool) {
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        let found = read(name, labels);
        if found.is_some_and(&wanted) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{name} {labels:?} stays {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn run(stage: &Stage, model: Toy) -> Projector {
    read("", &[]);
    Projector::start(model, stage.log.clone(), stage.options()).await.expect("the projector starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_what_is_folded_and_what_is_left() {
    const LIVE: Labels<'_> = &[("model", "metered"), ("generation", "1")];
    let mut stage = Stage::new().await;
    let model = || Toy { named: Some("metered"), ..Toy::default() };
    stage.send("e", 0..300, "a").await;
    stage.send("refused", 0..2, "a").await;
    let projector = run(&stage, model()).await;
    becomes(EVENTS_TOTAL, LIVE, |n| n == 300.0).await;
    becomes(DEAD_LETTERS_TOTAL, LIVE, |n| n == 2.0).await;
    becomes(DEAD_LETTERS, LIVE, |n| n == 2.0).await;
    let end: i64 = stage.log.ends().await.expect("the log answers").values().sum();
    becomes(LOG_END_OFFSET, LIVE, |n| n == end as f64).await;
    becomes(CHECKPOINT_OFFSET, LIVE, |n| n == end as f64).await;
    for (name, wanted) in [(LAG_EVENTS, 0.0), (LAG_SECONDS, 0.0), (PARTITIONS_HELD, 6.0), (LOAD_EVENTS, 0.0)] {
        assert_eq!(read(name, LIVE), Some(wanted), "{name}");
    }
    let state = [LIVE, &[("state", "live")]].concat();
    assert_eq!(read(GENERATION_STATE, &state), Some(1.0));
    assert_eq!(read(&format!("{BATCH_EVENTS}_sum"), LIVE), Some(300.0), "every event was in one batch");
    let batches = read(BATCHES_TOTAL, LIVE);
    for name in [FOLD_SECONDS, COMMIT_SECONDS] {
        assert_eq!(read(&format!("{name}_count"), LIVE), batches, "{name}: one a transaction");
    }
    assert!(read(&format!("{VISIBLE_SECONDS}_count"), LIVE) > Some(0.0));
    for (name, kind, operation) in [
        (messaging::CONSUMED_MESSAGES_TOTAL, "receive", "poll"),
        (&*format!("{}_count", messaging::PROCESS_SECONDS), "process", "process"),
    ] {
        let labels = [
            ("messaging_system", "kafka"),
            ("messaging_destination_name", stage.log.topic(event_log::Topic::Log)),
            ("messaging_operation_name", operation),
            ("messaging_operation_type", kind),
        ];
        assert!(read(name, &labels) > Some(0.0), "{name}");
        if kind == "receive" {
            assert_eq!(read(name, &labels), Some(end as f64), "every record once");
        }
    }

    // Held up: it can commit nothing, and falls behind.
    let mut database = stage.database().await;
    let held = "SELECT pg_advisory_lock(lock_key) FROM backbone.generations";
    sqlx::query(held).execute(&mut database).await.expect("the generation is locked");
    stage.send("late", 0..50, "a").await;
    becomes(LAG_EVENTS, LIVE, |n| n == 50.0).await;
    becomes(LAG_SECONDS, LIVE, |n| n > 0.0).await;
    assert_eq!(read(EVENTS_TOTAL, LIVE), Some(300.0));
    sqlx::query("SELECT pg_advisory_unlock_all()").execute(&mut database).await.expect("the lock is given back");
    becomes(EVENTS_TOTAL, LIVE, |n| n == 350.0).await;
    becomes(LAG_EVENTS, LIVE, |n| n == 0.0).await;
    becomes(LAG_SECONDS, LIVE, |n| n == 0.0).await;

    // A second generation has figures of its own, until it is dropped.
    let second: Labels<'_> = &[("model", "metered"), ("generation", "2")];
    let state = [second, &[("state", "building")]].concat();
    let (log_id, partitions) = (stage.log.log_id(), stage.log.partitions());
    let built = generation::build(&mut database, &model(), log_id, partitions).await.expect("it is begun");
    becomes(EVENTS_TOTAL, second, |n| n == 350.0).await;
    becomes(GENERATION_STATE, &state, |n| n == 1.0).await;
    becomes(DEAD_LETTERS, second, |n| n == 2.0).await;
    assert_eq!(read(EVENTS_TOTAL, LIVE), Some(350.0), "the live one has nothing to do with it");
    assert_eq!(read(&format!("{VISIBLE_SECONDS}_count"), second), None, "nobody reads it");
    generation::drop(&mut database, &built, WAIT).await.expect("it is dropped");
    for (name, labels) in [(GENERATION_STATE, &*state), (DEAD_LETTERS, second), (PARTITIONS_HELD, second)] {
        becomes(name, labels, |n| n == 0.0).await;
    }
    projector.stop(WAIT).await.expect("it stops");
    assert_eq!(read(PARTITIONS_HELD, LIVE), Some(0.0), "what is not held any more is not shown as held");
}

#[tokio::test(flavor = "multi_thread")]
async fn fences_and_take_overs_are_counted() {
    const LIVE: Labels<'_> = &[("model", "fenced"), ("generation", "1")];
    let mut stage = Stage::new().await;
    let projector = run(&stage, Toy { named: Some("fenced"), ..Toy::default() }).await;
    stage.send("e", 0..10, "a").await;
    becomes(EVENTS_TOTAL, LIVE, |n| n == 10.0).await;
    for name in [FENCED_BATCHES_TOTAL, TAKEOVERS_TOTAL] {
        assert_eq!(read(name, LIVE), Some(0.0), "{name}");
    }
    let mut database = stage.database().await;
    // As another worker does that takes the partitions.
    let fence = "UPDATE backbone.checkpoints SET epoch = epoch + 1";
    sqlx::query(fence).execute(&mut database).await.expect("checkpoints are fenced");
    stage.send("f", 0..10, "a").await;
    becomes(FENCED_BATCHES_TOTAL, LIVE, |n| n == 1.0).await;
    becomes(EVENTS_TOTAL, LIVE, |n| n == 20.0).await;
    assert_eq!(read(TAKEOVERS_TOTAL, LIVE), Some(0.0), "it takes its own again");
    let vanished = "UPDATE backbone.leases SET holder = gen_random_uuid(), pid = NULL, backend_start = NULL,
        expires_at = clock_timestamp() - interval '1 second'";
    sqlx::query(vanished).execute(&mut database).await.expect("the leases are somebody's who has gone");
    becomes(TAKEOVERS_TOTAL, LIVE, |n| n == 6.0).await;
    stage.send("g", 0..10, "a").await;
    becomes(EVENTS_TOTAL, LIVE, |n| n == 30.0).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_counts_its_events_and_is_no_batch() {
    const LIVE: Labels<'_> = &[("model", "loading"), ("generation", "1")];
    let mut stage = Stage::new().await;
    stage.send("e", 0..500, "a").await;
    let projector = run(&stage, Toy { named: Some("loading"), loads: true, ..Toy::default() }).await;
    becomes(EVENTS_TOTAL, LIVE, |n| n == 500.0).await;
    assert_eq!(read(&format!("{BATCH_EVENTS}_count"), LIVE), None);
    becomes(LOAD_EVENTS, LIVE, |n| n == 0.0).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_is_short_of_is_counted() {
    const LIVE: Labels<'_> = &[("model", "short"), ("generation", "1")];
    let mut stage = Stage::new().await;
    let model = Toy { named: Some("short"), ..Toy::default() };
    model.no_space.store(true, std::sync::atomic::Ordering::SeqCst);
    let no_space = std::sync::Arc::clone(&model.no_space);
    let projector = run(&stage, model).await;
    stage.send("short", 0..1, "a").await;
    let shortages = [LIVE, &[("reason", "shortage")]].concat();
    becomes(RETRIES_TOTAL, &shortages, |n| n > 0.0).await;
    no_space.store(false, std::sync::atomic::Ordering::SeqCst);
    becomes(EVENTS_TOTAL, LIVE, |n| n == 1.0).await;
    projector.stop(WAIT).await.expect("it stops");
}
