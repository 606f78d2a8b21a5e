//! Tokens: waited for, refused, and what they say of dead letters.

use std::time::{Duration, Instant};

use domain::{Position, position::Offsets};
use event_log::NewRecord;
use serde_json::json;
use test_kit::Event;
use uuid::Uuid;

use crate::{asking::rows, world::World};

const PAGE: &str = "/api/v1/customers/email:ann@example.com";

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_reached_not_ours_or_none() {
    let mut world = World::start().await;
    let position = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    let answer = world.get_at(PAGE, &position).await;
    assert_eq!(answer.status, 200);
    let read_at = Position::parse(answer.header("rapport-position").expect("a position")).expect("a token");
    for model in ["sales", "service", "customer360"] {
        for (partition, wanted) in &position.next {
            assert!(read_at.for_model(model)[partition] >= *wanted, "{model}: {read_at:?}");
        }
    }
    // The position it was read at is one to ask with again.
    assert_eq!(world.get_at(PAGE, &read_at).await.status, 200);

    let far = Position::new(world.log.log_id(), position.next.iter().map(|(p, o)| (*p, o + 100)).collect());
    let began = Instant::now();
    let answer = world.get(&format!("{PAGE}?position={}&wait_ms=300", far.token())).await;
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((answer.status, answer.problem()), (503, "position-not-reached"), "{}", answer.body);
    assert!(answer.header("rapport-position").is_some(), "how far they are");
    assert_eq!(rows(&answer.body["models"], "model"), ["customer360", "sales", "service"]);
    assert_eq!(
        (&answer.body["models"][1]["reached"], &answer.body["models"][1]["behind_events"]),
        (&json!(false), &json!(100))
    );

    // A partition that the log does not have is never reached; the parameter wins over the header.
    let nowhere = Position::new(world.log.log_id(), Offsets::from([(99, 0)]));
    let answer = world.send(&format!("/api/v1/models?position={}&wait_ms=0", nowhere.token()), &[]).await;
    assert_eq!(answer.problem(), "position-not-reached");
    let header = nowhere.token();
    let path = format!("{PAGE}/timeline?position={}", position.token());
    assert_eq!(world.send(&path, &[("rapport-position", &header)]).await.status, 200);

    let other = Position::new(Uuid::from_u128(1), position.next.clone());
    for path in [PAGE, "/api/v1/models"] {
        let answer = world.get_at(path, &other).await;
        assert_eq!((answer.status, answer.problem()), (409, "other-log"), "{path}");
        let answer = world.send(path, &[("rapport-position", "p1.nonsense")]).await;
        assert_eq!((answer.status, answer.problem()), (400, "malformed-position"), "{path}");
    }
    world.stop().await;
}

/// Whoever waits is answered as soon as the position is reached, all of them by one poller.
#[tokio::test(flavor = "multi_thread")]
async fn many_wait_for_what_comes_later() {
    let mut world = World::start().await;
    let now = world.publish([Event::order_placed("o-0").subject("email:ann@example.com")]).await;
    world.page("email:ann@example.com", &now).await;
    let ends = world.log.ends().await.expect("Kafka tells");
    let later = Position::new(world.log.log_id(), ends.iter().map(|(p, end)| (*p, end + 1)).collect());
    let world_ref = &world;
    let asking = async {
        let mut answers = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let (client, addr, token) = (crate::world::client(), world_ref.query.addr(), later.token());
            answers.spawn(async move {
                let request = client.get(format!("http://{addr}/api/v1/models")).header("rapport-position", token);
                request.send().await.expect("it answers").status().as_u16()
            });
        }
        answers.join_all().await
    };
    let appending = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let records = ends.keys().map(|partition| page_viewed(*partition));
        world_ref.append(records.collect()).await
    };
    let (answers, _) = tokio::join!(asking, appending);
    assert_eq!(answers, [200; 50]);
    world.stop().await;
}

fn page_viewed(partition: i32) -> NewRecord {
    use prost::Message;
    let text = Event::page_viewed(&format!("v-{partition}")).json().to_string();
    let wire: rapport_proto::v1::Interaction = rapport_proto::json::read(text.as_bytes()).expect("the event is good");
    let value = wire.encode_to_vec();
    NewRecord::of(&wire, value, (test_kit::BASE_TIME + 86_400) * 1_000_000).partition(partition)
}

/// An event among the dead letters does not hold the position up, and is named.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_the_position_are_named() {
    let mut world = World::start().await;
    let good = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    let bad = world.append(vec![NewRecord::new("k", b"\xff\xff\xff".to_vec()).partition(0)]).await;
    let answer = world.get_at(PAGE, &bad).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let named = &answer.body["dead_letters"];
    assert_eq!(rows(named, "model"), ["customer360", "sales", "service"], "{}", answer.body);
    assert_eq!(named[0]["offset"].as_i64(), bad.first.get(&0).copied());
    assert!(named[0]["error"].as_str().is_some_and(|e| !e.is_empty()));
    let answer = world.get_at("/api/v1/customers/email:bob@example.com", &bad).await;
    assert_eq!((answer.status, rows(&answer.body["dead_letters"], "model").len()), (404, 3));
    assert!(world.get_at(PAGE, &good).await.body.get("dead_letters").is_none());
    let models = world.get_at("/api/v1/models", &bad).await;
    assert_eq!(models.body["models"][0]["dead_letters"], json!(1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_tell_where_they_stand() {
    let mut world = World::start().await;
    let position = world.publish((0..20).map(|n| Event::page_viewed(&format!("v-{n}")))).await;
    let answer = world.get_at("/api/v1/models", &position).await;
    assert_eq!(answer.status, 200);
    assert_eq!(rows(&answer.body["models"], "model"), ["customer360", "sales", "service"]);
    assert_eq!(answer.body["log_id"], json!(world.log.log_id()));
    // The log's end is cached for a moment, so lag may be of before the publish and never negative.
    for model in answer.body["models"].as_array().expect("a list") {
        assert_eq!((&model["generation"], &model["dead_letters"]), (&json!(1), &json!(0)));
        assert_eq!((&model["lag_events"], &model["lag_seconds"]), (&json!(0), &json!(0.0)), "{model}");
        assert_eq!(model["partitions"].as_array().map(Vec::len), Some(3));
        let reached: i64 =
            model["partitions"].as_array().expect("a list").iter().filter_map(|p| p["next_offset"].as_i64()).sum();
        assert_eq!(reached, 21, "the record that names the log, and the events");
    }
    world.stop().await;
}
