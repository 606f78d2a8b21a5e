//! The ordinary course: duplicates, several workers, stopping and going on, what cannot be folded.

use std::time::Duration;

use domain::Position;
use event_log::{NewRecord, Topic};
use projection::{GenerationError, Projector, ProjectorError, positions};
use uuid::Uuid;

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
    let mut position = Position::default();
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
    let position = Position::new(stage.log.log_id(), stage.log.ends().await.expect("the log answers"));
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

/// What SQL says of a token that was made here, and of texts that are none.
#[tokio::test(flavor = "multi_thread")]
async fn analysts_can_wait_for_a_position() {
    const MODELS: [&str; 3] = ["customer360", "sales", "service"];
    let url = test_kit::postgres().await;
    let mut connection = projection::database::connect(&url, "test").await.expect("the database answers");
    projection::backbone::migrate(&mut connection).await.expect("the schema is made");
    let log_id = Uuid::from_u128(0x00ff_80fe_7f01_0203_0405_0607_0809_0a0b);
    sqlx::query("INSERT INTO backbone.log (log_id) VALUES ($1)")
        .bind(log_id)
        .execute(&mut connection)
        .await
        .expect("a log");
    let statements = MODELS.map(|model| {
        let (behind, far) = if model == "sales" { (4, 3) } else { (5, 300_000_000_000_i64) };
        format!(
            "INSERT INTO backbone.generations (model, generation, definition, schema_name, state) VALUES
                 ('{model}', 1, 'd', '{model}_g1', 'live'), ('{model}', 2, 'd', '{model}_g2', 'building');
             INSERT INTO backbone.checkpoints (model, generation, definition, partition, next_offset) VALUES
                 ('{model}', 1, 'd', 0, {behind}), ('{model}', 1, 'd', 200, {far}), ('{model}', 2, 'd', 7, 9);"
        )
    });
    sqlx::raw_sql(&statements.concat()).execute(&mut connection).await.expect("three models");
    sqlx::raw_sql("SET ROLE analyst").execute(&mut connection).await.expect("the role is there");
    let mut ask = async |token: &str| {
        let asked =
            sqlx::query_scalar::<_, bool>("SELECT backbone.has_reached($1)").bind(token).fetch_one(&mut connection);
        asked.await.map_err(|error| {
            let refusal = error.as_database_error().expect("PostgreSQL refuses it");
            (refusal.code().unwrap_or_default().into_owned(), refusal.message().to_owned())
        })
    };

    let at = |offsets: &[(i32, i64)]| Position::new(log_id, offsets.iter().copied().collect());
    let mut published = at(&[(200, 3)]);
    published.appended(0, 3);
    for (position, reached) in [
        (at(&[]), true),
        (at(&[(0, 4), (200, 3)]), true),
        (at(&[(0, 5)]), false),
        (at(&[(200, 4)]), false),
        // A partition of which only a generation that is being built has a checkpoint.
        (at(&[(7, 1)]), false),
        (at(&[(i32::MAX, i64::MAX)]), false),
        (published.clone(), true),
    ] {
        assert_eq!(ask(&position.token()).await, Ok(reached), "{position:?}");
    }

    let refused = |answer: Result<bool, (String, String)>, token: &str, says: &str| {
        let (code, message) = answer.expect_err(token);
        assert!((code == "22023" || code == "0A000") && message.contains(says), "{token}: {code} {message}");
    };
    for token in ["", "p1.", "p2.AAAA", "yesterday", "p1.a b", "p1.AAAA=", "0/16B3748"] {
        refused(ask(token).await, token, "this is no position");
    }
    let other = Position::new(Uuid::from_u128(1), published.next.clone()).token();
    refused(ask(&other).await, &other, "another log");
    let apart = [("sales", 1), ("service", 2)].map(|(model, next)| (model.to_owned(), [(0, next)].into()));
    let apart = Position::of_models(log_id, apart.into()).token();
    refused(ask(&apart).await, &apart, "different points");
    // Cut anywhere, it is no other position by chance.
    let whole = published.token();
    for length in 4..whole.len() {
        refused(ask(&whole[..length]).await, &whole[..length], "cut short");
    }
    for altered in [format!("{whole}AAAA"), format!("p1.{}{}", "A".repeat(22), "_".repeat(40))] {
        refused(ask(&altered).await, &altered, "cut short");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_is_refused() {
    let stage = Stage::new().await;
    let projector = stage.start(stage.options()).await;
    projector.stop(WAIT).await.expect("it stops");
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
