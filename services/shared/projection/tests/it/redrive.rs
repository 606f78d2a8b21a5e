//! Dead letters folded again: each once, whatever goes on beside it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event_log::{NewRecord, Topic};
use projection::compare::compare;
use projection::generation::State;
use projection::redrive::{Fate, Place, Redrive, RedriveError};
use projection::swap::swap;
use projection::{Generation, GenerationError, Projector, ProjectorOptions, generation};
use sqlx::PgConnection;

use crate::setup::{RECEIVED_AT, Stage, WAIT};
use crate::toy::Toy;

/// Before everything that a stage sends by itself.
const EARLIER: i64 = RECEIVED_AT - 3_600_000_000;

async fn start(stage: &Stage, toy: &Toy, options: ProjectorOptions) -> Projector {
    Projector::start(toy.clone(), stage.log.clone(), options).await.expect("the projector starts")
}

fn cure(toy: &Toy) {
    toy.is_cured.store(true, Ordering::SeqCst);
}

/// Where a generation's dead letters stand.
async fn letters(database: &mut PgConnection, number: i32) -> Vec<Place> {
    let rows: Vec<(i32, i64)> = sqlx::query_as(
        "SELECT partition, log_offset FROM backbone.dead_letters WHERE generation = $1 ORDER BY partition, log_offset",
    )
    .bind(number)
    .fetch_all(database)
    .await
    .expect("dead letters");
    rows.into_iter().map(|(partition, offset)| Place { partition, offset }).collect()
}

async fn found(database: &mut PgConnection, number: i32) -> Option<Generation> {
    let listed = generation::list(database, "toy").await.expect("a list");
    listed.into_iter().map(|l| l.generation).find(|g| g.number == number)
}

async fn attempt(
    stage: &Stage,
    database: &mut PgConnection,
    toy: &Toy,
    places: &[Place],
    (number, is_trial): (i32, bool),
) -> Result<BTreeMap<Place, Fate>, RedriveError> {
    let generation = found(database, number).await.expect("the generation");
    let redrive = Redrive { model: toy, log: &stage.log, generation: &generation, is_trial };
    let mut fates = BTreeMap::new();
    redrive.run(database, places, |place, fate| assert_eq!(fates.insert(place, fate), None, "told once")).await?;
    Ok(fates)
}

async fn redrive(stage: &Stage, database: &mut PgConnection, toy: &Toy, number: i32) -> BTreeMap<Place, Fate> {
    let places = letters(database, number).await;
    attempt(stage, database, toy, &places, (number, false)).await.expect("they are redriven")
}

fn count(fates: &BTreeMap<Place, Fate>, wanted: &Fate) -> usize {
    fates.values().filter(|fate| *fate == wanted).count()
}

/// Builds a generation of the same definition from the log and compares: what a clean run comes to.
async fn is_as_a_clean_run(stage: &Stage, database: &mut PgConnection, toy: &Toy) {
    let (log_id, partitions) = (stage.log.log_id(), stage.log.partitions());
    let clean = generation::build(database, toy, log_id, partitions).await.expect("it is begun");
    let built = async {
        while !generation::list(database, "toy")
            .await
            .expect("a list")
            .iter()
            .any(|l| l.generation == clean && l.is_loaded)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT, built).await.expect("it is built");
    let compared = compare(database, toy, &stage.log, clean.number, 10, WAIT).await.expect("they are compared");
    assert!(compared.is_identical(), "{compared:?}");
    assert_eq!(letters(database, clean.number).await, [], "a clean run has none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_end_in_the_digest_of_a_clean_run() {
    let mut stage = Stage::new().await;
    let (toy, mut database) = (Toy::default(), stage.database().await);
    let projector = start(&stage, &toy, stage.options()).await;
    stage.send("e", 0..500, "a").await;
    stage.send("refused", 0..400, "a").await;
    stage.send("zero", 0..400, "a").await;
    // The same again, a greater copy, a lesser one; and some whose copies are folded before them.
    stage.send("refused", 0..80, "a").await;
    stage.send("zero", 50..100, "b").await;
    stage.send_received(EARLIER, "refused", 200..240, "b").await;
    stage.send("zero", 1000..1020, "a").await;
    stage.send("refused", 1000..1010, "a").await;
    stage.folded().await;
    stage.holds(500).await;
    assert_eq!(letters(&mut database, 1).await.len(), 1000);
    cure(&toy);
    stage.send("zero", 1000..1020, "b").await;
    stage.send_received(EARLIER, "refused", 1000..1010, "b").await;
    stage.folded().await;
    stage.holds(530).await;

    let fates = redrive(&stage, &mut database, &toy, 1).await;
    assert_eq!((fates.len(), count(&fates, &Fate::Folded)), (1000, 1000), "{fates:?}");
    assert_eq!(letters(&mut database, 1).await, []);
    stage.holds(1330).await;
    is_as_a_clean_run(&stage, &mut database, &toy).await;
    projector.stop(WAIT).await.expect("it stops");
}

/// Small slow batches, so that everything is met in its middle.
#[tokio::test(flavor = "multi_thread")]
async fn beside_a_build_and_a_swap() {
    let mut stage = Stage::new().await;
    let toy = Toy { pause_ms: 3, ..Toy::default() };
    let mut database = stage.database().await;
    let options = || ProjectorOptions { batch_events_max: 20, ..stage.options() };
    let projector = start(&stage, &toy, options()).await;
    stage.send("e", 0..300, "a").await;
    stage.send("refused", 0..60, "a").await;
    stage.send("zero", 0..60, "a").await;
    stage.send("f", 0..300, "a").await;
    stage.folded().await;
    let (log_id, partitions) = (stage.log.log_id(), stage.log.partitions());
    generation::build(&mut database, &toy, log_id, partitions).await.expect("it is begun");
    let met = async {
        while letters(&mut database, 2).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(WAIT, met).await.expect("the build sets some aside too");
    cure(&toy);
    // Few at a time, of both, as they come.
    let mut other = stage.database().await;
    let url = stage.backbone.database_url.clone();
    let swapping = async {
        let mut database = projection::database::connect(&url, "swap").await.expect("it connects");
        swap(&mut database, &toy, 2, State::Retired, WAIT, |_| {}).await.expect("it is swapped in");
    };
    let redriving = async {
        let mut folded = 0;
        for _ in 0..20 {
            for number in [1, 2] {
                let places = letters(&mut other, number).await;
                let some = &places[..places.len().min(10)];
                let fates = attempt(&stage, &mut other, &toy, some, (number, false)).await.expect("they are redriven");
                assert_eq!(count(&fates, &Fate::Folded), some.len(), "{fates:?}");
                folded += some.len();
            }
        }
        folded
    };
    let ((), folded) = tokio::join!(swapping, redriving);
    assert!(folded > 100, "{folded}");
    for number in [1, 2] {
        redrive(&stage, &mut database, &toy, number).await;
        assert_eq!(letters(&mut database, number).await, []);
    }
    stage.send("g", 0..100, "a").await;
    stage.folded().await;
    stage.holds(820).await;
    let compared = compare(&mut database, &toy, &stage.log, 1, 10, WAIT).await.expect("they are compared");
    assert!(compared.is_identical(), "{compared:?}");
    is_as_a_clean_run(&stage, &mut database, &toy).await;
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_at_once_one_folds_each() {
    let mut stage = Stage::new().await;
    let (toy, mut one) = (Toy { pause_ms: 1, ..Toy::default() }, stage.database().await);
    let mut two = stage.database().await;
    let projector = start(&stage, &toy, stage.options()).await;
    stage.send("refused", 0..250, "a").await;
    stage.send("zero", 0..250, "a").await;
    stage.folded().await;
    cure(&toy);
    let places = letters(&mut one, 1).await;
    assert_eq!(places.len(), 500);
    let (first, second) = tokio::join!(
        attempt(&stage, &mut one, &toy, &places, (1, false)),
        attempt(&stage, &mut two, &toy, &places, (1, false))
    );
    let (first, second) = (first.expect("they are redriven"), second.expect("they are redriven"));
    for place in &places {
        let mut fates = [&first[place], &second[place]];
        fates.sort_by_key(|fate| **fate != Fate::Folded);
        assert_eq!(fates, [&Fate::Folded, &Fate::Gone], "{place:?}");
    }
    stage.holds(500).await;
    projector.stop(WAIT).await.expect("it stops");
}

type Kept = (String, String, Option<uuid::Uuid>, bool);

async fn kept(database: &mut PgConnection) -> Vec<Kept> {
    sqlx::query_as(
        "SELECT error, fold, event_id, created_at > '2020-01-01' FROM backbone.dead_letters
         ORDER BY partition, log_offset",
    )
    .fetch_all(database)
    .await
    .expect("dead letters")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_again_stays_with_its_new_error() {
    let mut stage = Stage::new().await;
    let (toy, mut database) = (Toy::default(), stage.database().await);
    let projector = start(&stage, &toy, stage.options()).await;
    let garbage = NewRecord::new("k", vec![0xff, 0xff, 0xff]).header("ce_id", "g").header("ce_source", "elsewhere");
    for answer in stage.appender.append(Topic::Log, vec![garbage]).await {
        answer.expect("the record is acknowledged");
    }
    stage.send("e", 0..10, "a").await;
    stage.send("refused", 0..40, "a").await;
    stage.send("zero", 0..40, "a").await;
    stage.folded().await;
    let before = kept(&mut database).await;
    let aged = "UPDATE backbone.dead_letters SET error = 'of before', fold = 'toy 0', created_at = '2010-01-01'";
    sqlx::raw_sql(aged).execute(&mut database).await.expect("an update");
    let fates = redrive(&stage, &mut database, &toy, 1).await;
    let reasons = |fates: &BTreeMap<Place, Fate>, part: &str| {
        fates.values().filter(|fate| matches!(fate, Fate::Failed(error) if error.contains(part))).count()
    };
    assert_eq!((reasons(&fates, "its id says so"), reasons(&fates, "division by zero")), (40, 40), "{fates:?}");
    assert_eq!(kept(&mut database).await, before, "as if set aside for the first time");

    // A trial tells the same as the redrive after it, and changes nothing.
    cure(&toy);
    let places = letters(&mut database, 1).await;
    let trial = attempt(&stage, &mut database, &toy, &places, (1, true)).await.expect("they are tried");
    assert_eq!(kept(&mut database).await, before);
    stage.holds(10).await;
    let fates = redrive(&stage, &mut database, &toy, 1).await;
    assert_eq!((&trial, count(&fates, &Fate::Folded)), (&fates, 80));
    stage.holds(90).await;
    let [(_, _, Some(_), true)] = kept(&mut database).await[..] else { panic!("the garbage stays") };

    // Folds of another definition write nothing into these tables, and those of another log neither.
    let places = letters(&mut database, 1).await;
    let other = Toy { settings: "other".into(), ..Toy::default() };
    let refused = attempt(&stage, &mut database, &other, &places, (1, false)).await.expect_err("it is another's");
    assert!(refused.to_string().contains("toy_g1 was folded by another definition"), "{refused}");
    let foreign = "UPDATE backbone.log SET log_id = gen_random_uuid()";
    let generation = found(&mut database, 1).await.expect("a generation");
    projector.stop(WAIT).await.expect("it stops");
    sqlx::raw_sql(foreign).execute(&mut database).await.expect("an update");
    let refused = attempt(&stage, &mut database, &toy, &places, (1, false)).await.expect_err("it is another log's");
    assert!(matches!(refused, RedriveError::Generation(GenerationError::OtherLog { .. })), "{refused}");

    // Letters go with their generation.
    let restored = "UPDATE backbone.log SET log_id = $1";
    sqlx::query(restored).bind(stage.log.log_id()).execute(&mut database).await.expect("an update");
    generation::drop(&mut database, &generation, WAIT).await.expect("it is dropped");
    let redrive = Redrive { model: &toy, log: &stage.log, generation: &generation, is_trial: false };
    let mut fates = Vec::new();
    redrive.run(&mut database, &places, |_, fate| fates.push(fate)).await.expect("there is nothing to do");
    assert_eq!(fates, [Fate::Gone]);
}
