//! Generations beside the live one: built, compared, swapped in, asked back, dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use projection::compare::{CompareError, Comparison, Counts, compare, digest_of};
use projection::generation::{self, Listed, State};
use projection::swap::{Holders, SwapError, Waiting, swap};
use projection::{Generation, Projector, ProjectorOptions, ReadModel, digest};
use sqlx::PgConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::setup::{Stage, WAIT};
use crate::toy::Toy;

/// A definition of its own, that loads.
fn toy(settings: &str) -> Toy {
    Toy { settings: settings.into(), loads: true, ..Toy::default() }
}

async fn start(stage: &Stage, toy: &Toy) -> Projector {
    Projector::start(toy.clone(), stage.log.clone(), stage.options()).await.expect("the projector starts")
}

async fn build(stage: &Stage, database: &mut PgConnection, toy: &Toy) -> Generation {
    generation::build(database, toy, stage.log.log_id(), stage.log.partitions()).await.expect("it is begun")
}

async fn find(database: &mut PgConnection, number: i32) -> Option<Listed> {
    let listed = generation::list(database, "toy").await.expect("a list");
    listed.into_iter().find(|l| l.generation.number == number)
}

/// Waits until a generation is what is wanted.
async fn becomes(database: &mut PgConnection, number: i32, wanted: impl Fn(&Option<Listed>) -> bool) {
    let deadline = Instant::now() + WAIT;
    loop {
        let found = find(database, number).await;
        if wanted(&found) {
            return;
        }
        assert!(Instant::now() < deadline, "generation {number} stays {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_built(database: &mut PgConnection, number: i32) {
    becomes(database, number, |found| found.as_ref().is_some_and(|l| l.is_loaded)).await;
}

async fn live(database: &mut PgConnection) -> i32 {
    generation::find_live(database, "toy").await.expect("generations").expect("a live one").number
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_built_beside_the_live_one_swapped_in_and_asked_back() {
    let mut stage = Stage::new().await;
    let (toy, mut database) = (toy("one"), stage.database().await);
    stage.send("e", 0..3000, "a").await;
    let projector = start(&stage, &toy).await;
    stage.folded().await;
    let built = build(&stage, &mut database, &toy).await;
    assert_eq!((built.number, live(&mut database).await), (2, 1));
    assert_eq!(build(&stage, &mut database, &toy).await, built, "one that is being built is gone on with");
    stage.send("e", 2900..4000, "a").await;
    is_built(&mut database, 2).await;
    stage.folded().await;

    let compared = compare(&mut database, &toy, &stage.log, 2, 10, WAIT).await.expect("they are compared");
    assert!(compared.is_identical() && compared.differences.is_empty(), "{compared:?}");
    assert_eq!(compared.views.iter().map(|v| v.live.count).collect::<Vec<_>>(), [4000, 10]);
    let of_live = digest::model(&mut database, &toy).await.expect("the live digest");
    let (of_built, _) = digest_of(&mut database, &toy, &built).await.expect("a digest");
    assert_eq!(of_built, of_live, "the same events have the same digest");

    swap(&mut database, &toy, 2, State::Retired, WAIT, |_| {}).await.expect("it is swapped in");
    assert_eq!((live(&mut database).await, find(&mut database, 1).await.map(|l| l.state)), (2, Some(State::Retired)));
    stage.send("e", 4000..4100, "a").await;
    stage.folded().await;
    stage.holds(4100).await;
    let refused = swap(&mut database, &toy, 2, State::Retired, WAIT, |_| {}).await.expect_err("it is live");
    assert!(matches!(refused, SwapError::Unfit(_)), "{refused}");

    // The one before has been folded on.
    swap(&mut database, &toy, 1, State::Retired, WAIT, |_| {}).await.expect("it is asked back");
    assert_eq!(live(&mut database).await, 1);
    stage.send("e", 4100..4200, "a").await;
    stage.folded().await;
    stage.holds(4200).await;
    generation::drop(&mut database, &built, WAIT).await.expect("it is dropped");
    becomes(&mut database, 2, Option::is_none).await;
    stage.send("e", 4200..4300, "a").await;
    stage.folded().await;
    stage.holds(4300).await;
    Stage::ready_becomes(&projector, Result::is_ok).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_definition_is_built_by_processes_of_its_own() {
    let mut stage = Stage::new().await;
    let (old, new, mut database) = (toy("old"), toy("new"), stage.database().await);
    stage.send("e", 0..500, "a").await;
    let first = start(&stage, &old).await;
    stage.folded().await;
    let second = start(&stage, &new).await;
    Stage::ready_becomes(&second, |r| r.as_ref().is_err_and(|e| e.contains("`rapport replay toy`"))).await;
    // It writes nothing of the other's.
    stage.send("e", 500..600, "a").await;
    stage.folded().await;
    stage.holds(600).await;

    build(&stage, &mut database, &new).await;
    let other = toy("third");
    let refused = generation::build(&mut database, &other, stage.log.log_id(), stage.log.partitions()).await;
    assert!(refused.is_err_and(|e| e.to_string().contains("toy_g2 is being built already")));
    is_built(&mut database, 2).await;
    swap(&mut database, &new, 2, State::Retired, WAIT, |_| {}).await.expect("it is swapped in");
    Stage::ready_becomes(&second, Result::is_ok).await;
    Stage::ready_becomes(&first, |r| r.as_ref().is_err_and(|e| e.contains("toy_g2 was folded by another definition")))
        .await;
    stage.send("e", 600..700, "a").await;
    stage.folded().await;
    stage.holds(700).await;

    // The version that knows the new one only puts back what it was told when the old one was live.
    swap(&mut database, &new, 1, State::Retired, WAIT, |_| {}).await.expect("it is asked back");
    Stage::ready_becomes(&first, Result::is_ok).await;
    stage.folded().await;
    stage.holds(700).await;
    // Nobody keeps it up to date any more: it cannot be swapped in.
    second.stop(WAIT).await.expect("it stops");
    stage.send("e", 700..800, "a").await;
    stage.folded().await;
    let refused = swap(&mut database, &new, 2, State::Retired, Duration::from_millis(300), |_| {})
        .await
        .expect_err("it is behind");
    assert!(matches!(refused, SwapError::Behind { events: 1.., .. }), "{refused}");
    first.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_fold_is_told_row_by_row() {
    let mut stage = Stage::new().await;
    let (right, wrong) = (toy("right"), Toy { doubles: Some(3), ..toy("wrong") });
    let mut database = stage.database().await;
    stage.send("e", 0..1000, "a").await;
    let first = start(&stage, &right).await;
    stage.folded().await;
    build(&stage, &mut database, &wrong).await;
    let refused = compare(&mut database, &wrong, &stage.log, 2, 5, WAIT).await.expect_err("it is not built");
    assert!(matches!(refused, CompareError::Unfit(_)), "{refused}");
    let second = start(&stage, &wrong).await;
    is_built(&mut database, 2).await;
    let compared = compare(&mut database, &wrong, &stage.log, 2, 5, WAIT).await.expect("they are compared");
    assert!(!compared.is_identical());
    let counts: Vec<Counts> = compared.views.iter().map(|v| v.counts).collect();
    assert_eq!(counts, [Counts::default(), Counts { changed: 1, ..Counts::default() }]);
    let [difference] = &compared.differences[..] else { panic!("{:?}", compared.differences) };
    assert_eq!((difference.view.as_str(), &difference.key["who"]), ("totals", &"email:who3@example.com".into()));
    let events = |side: &Option<serde_json::Map<_, serde_json::Value>>| side.as_ref().map(|r| r["events"].clone());
    assert_eq!((events(&difference.live), events(&difference.other)), (Some(100.into()), Some(200.into())));

    // Events that came meanwhile are compared too, those that the built one lacks as well.
    second.stop(WAIT).await.expect("it stops");
    stage.send("f", 0..500, "a").await;
    stage.folded().await;
    let compared = compare(&mut database, &wrong, &stage.log, 2, 5, WAIT).await.expect("they are compared");
    assert_eq!(compared.views[0].other.count, 1500, "folded for the comparison");
    let [difference] = &compared.differences[..] else { panic!("{:?}", compared.differences) };
    assert_eq!((events(&difference.live), events(&difference.other)), (Some(150.into()), Some(300.into())));
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM toy_g2.facts").fetch_one(&mut database).await.expect("rows");
    assert_eq!(kept, 1000, "and left as it was");
    first.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_leaves_the_live_one_alone() {
    let mut stage = Stage::new().await;
    let broken = Toy { is_broken: true, ..toy("broken") };
    let mut database = stage.database().await;
    stage.send("e", 0..500, "a").await;
    let first = start(&stage, &toy("right")).await;
    stage.folded().await;
    let second = start(&stage, &broken).await;
    let built = build(&stage, &mut database, &broken).await;
    becomes(&mut database, 2, |l| {
        l.as_ref().and_then(|l| l.failure.as_deref()).is_some_and(|why| why.contains("no_such_table"))
    })
    .await;
    stage.send("e", 500..600, "a").await;
    stage.folded().await;
    stage.holds(600).await;
    assert_eq!((first.status().ready(), live(&mut database).await), (Ok(()), 1));
    let refused = swap(&mut database, &broken, 2, State::Retired, WAIT, |_| {}).await.expect_err("it is not built");
    assert!(matches!(refused, SwapError::Unfit(_)), "{refused}");
    generation::drop(&mut database, &built, WAIT).await.expect("it is dropped");
    for projector in [first, second] {
        projector.stop(WAIT).await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_killed_again_and_again_ends_the_same() {
    let mut stage = Stage::new().await;
    let (old, new, mut database) = (toy("old"), toy("new"), stage.database().await);
    stage.send("e", 0..8000, "a").await;
    let first = start(&stage, &old).await;
    stage.folded().await;
    build(&stage, &mut database, &new).await;
    for n in 0..5 {
        let projector = start(&stage, &new).await;
        tokio::time::sleep(Duration::from_millis(30 * n)).await;
        // Dropped in the middle, wherever that is.
        drop(projector);
        stage.send(&format!("f{n}-"), 0..100, "a").await;
    }
    let second = start(&stage, &new).await;
    is_built(&mut database, 2).await;
    stage.folded().await;
    let compared = compare(&mut database, &new, &stage.log, 2, 5, WAIT).await.expect("they are compared");
    assert!(compared.is_identical(), "{compared:?}");
    for projector in [first, second] {
        projector.stop(WAIT).await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_load_leaves_is_removed() {
    let mut stage = Stage::new().await;
    let (toy, mut database) = (toy("one"), stage.database().await);
    stage.send("e", 0..500, "a").await;
    let projector = start(&stage, &toy).await;
    stage.folded().await;
    projector.stop(WAIT).await.expect("it stops");
    // Rows and indexes, as far as a load may have come that was killed.
    let generation = build(&stage, &mut database, &toy).await;
    let left = format!(
        "SET search_path = {schema}; INSERT INTO facts SELECT * FROM toy_g1.facts;
         INSERT INTO totals SELECT * FROM toy_g1.totals; {indexes} RESET search_path",
        schema = generation.schema,
        indexes = toy.indexes_sql(),
    );
    sqlx::raw_sql(&left).execute(&mut database).await.expect("rows and indexes");
    let projector = start(&stage, &toy).await;
    is_built(&mut database, 2).await;
    // Its own are made anew, those that came with the tables are left alone.
    let indexes = "SELECT replace(indexdef, schemaname, '') FROM pg_indexes WHERE schemaname = $1 ORDER BY 1";
    let of = |schema| sqlx::query_scalar::<_, String>(indexes).bind(schema);
    let built = of("toy_g2").fetch_all(&mut database).await.expect("indexes");
    assert_eq!(built, of("toy_g1").fetch_all(&mut database).await.expect("indexes"));
    let compared = compare(&mut database, &toy, &stage.log, 2, 5, WAIT).await.expect("they are compared");
    assert!(compared.is_identical(), "{compared:?}");
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_in_steps_is_vacuumed_and_left_to_postgresql() {
    const UNATTENDED: &str = "SELECT count(*) FROM pg_class WHERE relnamespace = 'toy_g2'::regnamespace
        AND 'autovacuum_enabled=off' = ANY (reloptions)";
    const VACUUMED: &str = "SELECT vacuum_count FROM pg_stat_user_tables
        WHERE schemaname = 'toy_g2' AND relname = 'facts' AND last_analyze IS NOT NULL";
    async fn is_settled(database: &mut PgConnection, times: i64) {
        let deadline = Instant::now() + WAIT;
        loop {
            let unattended: i64 = sqlx::query_scalar(UNATTENDED).fetch_one(&mut *database).await.expect("a count");
            let vacuumed: Option<i64> =
                sqlx::query_scalar(VACUUMED).fetch_optional(&mut *database).await.expect("a count");
            if unattended == 0 && vacuumed == Some(times) {
                return;
            }
            assert!(Instant::now() < deadline, "{unattended} tables are kept from it, vacuumed {vacuumed:?} times");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let mut stage = Stage::new().await;
    let (toy, mut database) = (toy("one"), stage.database().await);
    stage.send("e", 0..500, "a").await;
    let projector = start(&stage, &toy).await;
    stage.folded().await;
    build(&stage, &mut database, &toy).await;
    is_built(&mut database, 2).await;
    // Once before the indexes, once behind them.
    is_settled(&mut database, 2).await;
    projector.stop(WAIT).await.expect("it stops");
    // A process that was killed in between has left it to the next.
    let killed = "ALTER TABLE toy_g2.facts SET (autovacuum_enabled = off)";
    sqlx::query(killed).execute(&mut database).await.expect("a setting");
    let projector = start(&stage, &toy).await;
    is_settled(&mut database, 3).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_says_who_holds_the_views() {
    let mut stage = Stage::new().await;
    let (toy, mut database, mut reader) = (toy("one"), stage.database().await, stage.database().await);
    stage.send("e", 0..500, "a").await;
    let projector = start(&stage, &toy).await;
    stage.folded().await;
    build(&stage, &mut database, &toy).await;
    is_built(&mut database, 2).await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut reader).await.expect("a number");
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM toy.totals").execute(&mut reader).await.expect("a transaction");
    let moment = Duration::from_millis(100);
    let refused =
        swap(&mut database, &toy, 2, State::Retired, moment, |_| {}).await.expect_err("it is held").to_string();
    let told = format!("(1 transaction holds the views, the oldest one (pid {pid}) since ");
    assert!(refused.contains(&told), "{refused}");
    // It is told while it waits, and goes on as soon as it can.
    let (mut reader, mut told) = (Some(reader), None);
    let tell = |waiting: &Waiting| {
        told = Some(waiting.clone());
        reader = None;
    };
    swap(&mut database, &toy, 2, State::Retired, WAIT, tell).await.expect("it is swapped in");
    assert!(
        matches!(told, Some(Waiting::Held(Holders { transactions: 1, pid: Some(by), .. })) if by == pid),
        "{told:?}"
    );
    assert_eq!(live(&mut database).await, 2);
    projector.stop(WAIT).await.expect("it stops");
}

/// PostgreSQL's process that works for a build leaves others the larger part.
async fn gives_way(database: &mut PgConnection) {
    const OF_THE_BUILD: &str = "SELECT pid FROM pg_stat_activity
        WHERE application_name LIKE 'rapport toy %' AND query LIKE '%pg_try_advisory_lock%'";
    let pid: i32 = sqlx::query_scalar(OF_THE_BUILD).fetch_one(database).await.expect("a session that waits");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs on this machine");
    // Behind the name, which is in brackets, the state is the first field; the nice value is the 17th.
    let nice = |stat: &str| stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(16)?.parse::<i32>().ok());
    // PostgreSQL was started from here, as nice as this is.
    let mine = std::fs::read_to_string("/proc/self/stat").expect("this process");
    assert_eq!(nice(&stat), nice(&mine).map(|mine| mine.max(5)), "{stat}");
    if let Ok(group) = std::fs::read_to_string(format!("/proc/{pid}/autogroup")) {
        assert!(group.trim_end().ends_with(" nice 5"), "{group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_loaded_at_a_time() {
    // The lock of whoever loads beside live generations.
    const BUILD_LOCK_KEY: i64 = (1 << 39) - 2;
    let mut stage = Stage::new().await;
    let (toy, mut database, mut other) = (toy("one"), stage.database().await, stage.database().await);
    stage.send("e", 0..500, "a").await;
    let projector = start(&stage, &toy).await;
    stage.folded().await;
    assert_eq!(generation::being_loaded(&mut database).await.expect("workers"), None);
    sqlx::query("SELECT pg_advisory_lock($1)").bind(BUILD_LOCK_KEY).execute(&mut other).await.expect("it is free");
    let generation = build(&stage, &mut database, &toy).await;
    becomes(&mut database, 2, |found| found.as_ref().is_some_and(|l| l.is_attended)).await;
    // It asks every half second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let waiting = find(&mut database, 2).await.expect("it is there");
    assert!(!waiting.is_loaded && waiting.loading_events.is_none(), "{waiting:?}");
    gives_way(&mut database).await;
    // Whose turn it is goes by a worker's name, which its session has.
    let worker = Uuid::new_v4();
    sqlx::query("SELECT set_config('application_name', $1, false)")
        .bind(format!("rapport toy {worker}"))
        .execute(&mut other)
        .await
        .expect("a name");
    sqlx::query(
        "INSERT INTO backbone.workers (worker, model, generation, expires_at, pid, backend_start)
         SELECT $1, 'toy', 2, clock_timestamp() + interval '1 hour', pid, backend_start
         FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    )
    .bind(worker)
    .execute(&mut other)
    .await
    .expect("a worker that loads");
    assert_eq!(generation::being_loaded(&mut database).await.expect("workers"), Some(generation.schema));
    drop(other);
    is_built(&mut database, 2).await;
    projector.stop(WAIT).await.expect("it stops");
}

/// Readers with and without open transactions, long and short, while generations are swapped to and fro.
#[tokio::test(flavor = "multi_thread")]
async fn readers_read_on_while_generations_are_swapped() {
    const READERS: u64 = 50;
    let mut stage = Stage::new().await;
    let (toy, mut database) = (toy("one"), stage.database().await);
    stage.send("e", 0..2000, "a").await;
    let projector = start(&stage, &toy).await;
    stage.folded().await;
    build(&stage, &mut database, &toy).await;
    is_built(&mut database, 2).await;
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut readers = JoinSet::new();
    for n in 0..READERS {
        let (url, stop, reads) = (stage.backbone.database_url.clone(), Arc::clone(&stop), Arc::clone(&reads));
        readers.spawn(async move {
            let mut database = projection::database::connect(&url, "reader").await.expect("it connects");
            // Every fifth one holds what it reads for a while.
            let held = if n % 5 == 0 { 0.3 } else { 0.0 };
            while !stop.load(Ordering::Relaxed) {
                let rows: (i64, i64) = sqlx::query_as(
                    "SELECT (SELECT count(*) FROM toy.facts), (SELECT sum(events)::bigint FROM toy.totals)
                         FROM (SELECT pg_sleep($1)) AS held",
                )
                .bind(held)
                .fetch_one(&mut database)
                .await
                .expect("no reader fails");
                assert_eq!(rows, (2000, 2000));
                reads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(n * 7 % 90)).await;
            }
        });
    }
    for number in [2, 1, 2, 1] {
        let before = reads.load(Ordering::Relaxed);
        swap(&mut database, &toy, number, State::Retired, WAIT, |_| {}).await.expect("it is swapped in");
        assert_eq!(live(&mut database).await, number);
        while reads.load(Ordering::Relaxed) < before + READERS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(reader) = readers.join_next().await {
        reader.expect("no reader fails");
    }
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_swapped_in() {
    let stage = Stage::new().await;
    let (toy, mut database) = (toy("one"), stage.database().await);
    let projector = start(&stage, &toy).await;
    let refused = swap(&mut database, &toy, 7, State::Retired, WAIT, |_| {}).await.expect_err("there is none");
    assert_eq!(refused.to_string(), format!("{} has no generation 7", toy.name()));
    assert_eq!(
        find(&mut database, 1).await.map(|l| (l.state, l.generation.schema)),
        Some((State::Live, "toy_g1".into()))
    );
    projector.stop(WAIT).await.expect("it stops");
}

/// Two processes fold both generations; one is dropped while they are in the middle of it, and its number is not given again.
#[tokio::test(flavor = "multi_thread")]
async fn one_is_dropped_while_it_is_folded() {
    let mut stage = Stage::new().await;
    let slow = Toy { pause_ms: 100, ..Toy::default() };
    let mut database = stage.database().await;
    stage.send("e", 0..500, "a").await;
    let options = || ProjectorOptions { batch_events_max: 10, ..stage.options() };
    let mut projectors = Vec::new();
    for _ in 0..2 {
        let started = Projector::start(slow.clone(), stage.log.clone(), options());
        projectors.push(started.await.expect("the projector starts"));
    }
    let built = build(&stage, &mut database, &slow).await;
    let deadline = Instant::now() + WAIT;
    while generation::checkpoints(&mut database, &built).await.expect("checkpoints").values().all(|next| *next == 0) {
        assert!(Instant::now() < deadline, "nobody has begun with it");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    generation::drop(&mut database, &built, WAIT).await.expect("it is dropped in the middle");
    assert!(find(&mut database, built.number).await.is_none());
    let again = build(&stage, &mut database, &slow).await;
    assert_eq!((built.number, again.number), (2, 3));
    is_built(&mut database, 3).await;
    stage.folded().await;
    stage.holds(500).await;
    let compared = compare(&mut database, &slow, &stage.log, 3, 5, WAIT).await;
    // Both are at work still: the one that is compared is folded up to the other for it.
    assert!(compared.as_ref().is_ok_and(Comparison::is_identical), "{compared:?}");
    for projector in projectors {
        assert_eq!(projector.status().ready(), Ok(()));
        projector.stop(WAIT).await.expect("it stops");
    }
}
