//! The ordinary course: duplicates, several workers, stopping and going on, what cannot be folded.

use std::time::Duration;

use event_log::{NewRecord, Topic};
use projection::{GenerationError, Projector, ProjectorError, positions};

use crate::setup::{Stage, WAIT};
use crate::toy::Toy;

#[tokio::test(flavor = "multi_thread")]
async fn each_event_counts_once_however_often_it_was_sent() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..3000, "a").await;
    let options = projection::ProjectorOptions { workers: 2, batch_events_max: 500, ..stage.options() };
    let projector = stage.start(options).await;
    // While it folds: the same again, differing copies, and some new ones.
    stage.send("e", 0..1500, "a").await;
    stage.send("e", 1000..2500, "b").await;
    stage.send("e", 3000..5000, "a").await;
    stage.folded().await;
    stage.holds(5000).await;
    assert!(projector.status().ready().is_ok());
    projector.stop(WAIT).await.expect("it stops in good order");
    assert_eq!(stage.leases().await.into_iter().collect::<Vec<_>>(), [(None, 6)], "leases are given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn redelivered_records_change_nothing() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..2000, "a").await;
    let projector = stage.start(stage.options()).await;
    stage.folded().await;
    projector.stop(WAIT).await.expect("it stops");
    let digest = digest(&stage).await;
    let mut connection = stage.database().await;
    sqlx::query("UPDATE backbone.checkpoints SET next_offset = 0, last_offset = NULL, last_hash = NULL")
        .execute(&mut connection)
        .await
        .expect("checkpoints are rewound");
    let projector = stage.start(stage.options()).await;
    stage.folded().await;
    stage.holds(2000).await;
    assert_eq!(digest, self::digest(&stage).await, "the same events");
    stage.send("f", 0..10, "a").await;
    stage.folded().await;
    stage.holds(2010).await;
    projector.stop(WAIT).await.expect("it stops");
    assert_ne!(digest, self::digest(&stage).await, "ten events more");
}

async fn digest(stage: &Stage) -> String {
    let mut connection = stage.database().await;
    projection::digest::model(&mut connection, &Toy::default()).await.expect("the views are digested").digest
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_partitions_and_inherit_them() {
    let mut stage = Stage::new().await;
    let one = stage.start(stage.options()).await;
    stage.leases_become(|l| l.values().copied().collect::<Vec<_>>() == [6]).await;
    let two = stage.start(stage.options()).await;
    stage.leases_become(|l| l.keys().all(Option::is_some) && l.values().copied().collect::<Vec<_>>() == [3, 3]).await;
    stage.send("e", 0..2000, "a").await;
    stage.folded().await;
    two.stop(WAIT).await.expect("it stops");
    stage.leases_become(|l| l.keys().all(Option::is_some) && l.values().copied().collect::<Vec<_>>() == [6]).await;
    stage.send("e", 2000..3000, "a").await;
    stage.folded().await;
    stage.holds(3000).await;
    one.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_folded_is_set_aside_alone() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..300, "a").await;
    stage.send("refused", 0..2, "a").await;
    stage.send("zero", 7..9, "a").await;
    let garbage = NewRecord::new("k", vec![0xff, 0xff, 0xff]).header("ce_id", "g").header("ce_source", "elsewhere");
    let answers = stage.appender.append(Topic::Log, vec![garbage, NewRecord::new("k", Vec::new())]).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    stage.send("e", 300..600, "a").await;
    let projector = stage.start(stage.options()).await;
    stage.folded().await;
    stage.holds(600).await;
    assert_eq!(projector.status().dead_letters, 6);
    let (partition, offset) = *answers[0].as_ref().expect("it was acknowledged");
    let mut position = domain::Position::default();
    position.appended(partition, offset);
    let mut connection = stage.database().await;
    let letters = positions::dead_letters(&mut connection, &position).await.expect("dead letters are read");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].event_id, Some(domain::ids::event_id("elsewhere", "g")));
    assert!(letters[0].error.contains("rapport.v1.Interaction"), "{}", letters[0].error);
    let errors: Vec<String> = sqlx::query_scalar("SELECT error FROM backbone.dead_letters ORDER BY 1")
        .fetch_all(&mut connection)
        .await
        .expect("dead letters are read");
    assert_eq!(errors.iter().filter(|e| e.contains("its id says so")).count(), 2, "{errors:?}");
    assert_eq!(errors.iter().filter(|e| e.contains("division by zero")).count(), 2, "{errors:?}");
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_can_be_waited_for() {
    let mut stage = Stage::new().await;
    let projector = stage.start(stage.options()).await;
    let mut connection = stage.database().await;
    stage.send("e", 0..10, "a").await;
    let position = domain::Position::new(stage.log.log_id(), stage.log.ends().await.expect("the log answers"));
    let missing = positions::wait(&mut connection, &position, &["toy"], WAIT).await.expect("positions are read");
    assert!(missing.is_empty(), "{missing:?}");
    stage.holds(10).await;
    let mut beyond = position;
    beyond.appended(0, 1_000_000);
    let missing = positions::wait(&mut connection, &beyond, &["toy"], Duration::from_millis(50)).await;
    assert_eq!(missing.expect("positions are read").len(), 1);
    assert_eq!(positions::log_id(&mut connection).await.expect("the log id is read"), Some(stage.log.log_id()));
    projector.stop(WAIT).await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_definition_or_another_log_is_refused() {
    let stage = Stage::new().await;
    let projector = stage.start(stage.options()).await;
    projector.stop(WAIT).await.expect("it stops");
    let changed = Toy { settings: "other".into(), ..Toy::default() };
    let refused = Projector::start(changed, stage.log.clone(), stage.options()).await.err();
    assert!(
        matches!(refused, Some(ProjectorError::Generation(GenerationError::DefinitionChanged { .. }))),
        "{refused:?}"
    );
    let other = Stage::new().await;
    let refused = Projector::start(Toy::default(), other.log.clone(), stage.options()).await.err();
    assert!(matches!(refused, Some(ProjectorError::Generation(GenerationError::OtherLog { .. }))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_together_agree() {
    let mut stage = Stage::new().await;
    stage.send("e", 0..100, "a").await;
    let starts = (0..4).map(|_| Projector::start(Toy::default(), stage.log.clone(), stage.options()));
    let projectors: Vec<Projector> =
        futures::future::join_all(starts).await.into_iter().map(|p| p.expect("each starts")).collect();
    stage.folded().await;
    stage.holds(100).await;
    for projector in projectors {
        projector.stop(WAIT).await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn analysts_read_views_and_nothing_else() {
    let stage = Stage::new().await;
    let projector = stage.start(stage.options()).await;
    let mut connection = stage.database().await;
    sqlx::raw_sql("SET ROLE analyst").execute(&mut connection).await.expect("the role exists");
    sqlx::raw_sql("SELECT * FROM toy.facts").execute(&mut connection).await.expect("views can be read");
    sqlx::raw_sql("CREATE TABLE workspace.mine (i int)")
        .execute(&mut connection)
        .await
        .expect("the workspace is theirs");
    for forbidden in [
        "SELECT * FROM toy_g1.facts",
        "DELETE FROM toy.facts",
        "SELECT * FROM backbone.dead_letters",
        "CREATE TABLE toy.mine (i int)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
    ] {
        let refused = sqlx::raw_sql(forbidden).execute(&mut connection).await;
        let code = refused.err().and_then(|e| e.as_database_error().and_then(|e| e.code().map(|c| c.into_owned())));
        assert_eq!(code.as_deref(), Some("42501"), "{forbidden}");
    }
    projector.stop(WAIT).await.expect("it stops");
}
