//! What is answered while something is away.

use std::time::{Duration, Instant};

use domain::{Position, position::Offsets};
use event_log::LogOptions;
use serde_json::Value;
use test_kit::Event;

use crate::world::{World, ask, client, start_query};

/// Nothing listens there.
const NOBODY: &str = "127.0.0.1:1";

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_away() {
    let query = start_query(&format!("postgres://rapport@{NOBODY}/rapport"), LogOptions::new(NOBODY), |_| {}).await;
    let (http, token) = (client(), Position::new(uuid::Uuid::nil(), Offsets::from([(0, 1)])).token());
    for path in ["/api/v1/customers/email:a@b.c", "/api/v1/customers/email:a@b.c/timeline", "/api/v1/models"] {
        for headers in [&[][..], &[("rapport-position", token.as_str())]] {
            let began = Instant::now();
            let answer = ask(&http, &query, path, headers).await;
            assert_eq!(answer.status, 503, "{path}: {}", answer.body);
            assert!(["unavailable", "busy"].contains(&answer.problem()), "{}", answer.body);
            assert!(began.elapsed() < Duration::from_secs(5), "{path} took {:?}", began.elapsed());
        }
    }
    assert!(!query.health().is_ready());
    query.shut_down();
    query.stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_projector_has_started() {
    let mut world = World::without_projectors().await;
    let answer = world.get("/api/v1/customers/email:ann@example.com").await;
    assert_eq!((answer.status, answer.problem()), (503, "models-not-ready"), "{}", answer.body);
    let models = world.get("/api/v1/models").await;
    assert_eq!((models.status, models.body["missing"].as_array().map(Vec::len)), (200, Some(3)));
    let position = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    let path = format!("/api/v1/models?position={}&wait_ms=50", position.token());
    assert_eq!(world.get(&path).await.problem(), "position-not-reached");
    // Who waits meanwhile is answered once they have.
    let (http, token) = (client(), position.token());
    let url = format!("http://{}/api/v1/customers/email:ann@example.com", world.query.addr());
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move {
        http.get(url).header("rapport-position", token).send().await.expect("it answers").status().as_u16()
    });
    world.start_projectors().await;
    assert_eq!(waiting.join_next().await.expect("one").expect("no panic"), 200);
    let ready = async {
        while !world.query.health().is_ready() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("it becomes ready");
    world.stop().await;
}

/// Kafka being away makes lag unknown and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_away() {
    let mut world = World::start().await;
    let position = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    world.page("email:ann@example.com", &position).await;
    let query = start_query(&world.database_url, LogOptions::new(NOBODY), |_| {}).await;
    let http = client();
    let answer = ask(&http, &query, "/api/v1/models", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body["log_end_unknown"].as_str().is_some_and(|why| !why.is_empty()), "{}", answer.body);
    let model = &answer.body["models"][0];
    assert_eq!((&model["lag_events"], &model["lag_seconds"]), (&Value::Null, &Value::Null));
    assert!(model["position"].is_string());
    let token = position.token();
    let page = ask(&http, &query, "/api/v1/customers/email:ann@example.com", &[("rapport-position", &token)]).await;
    assert_eq!(page.status, 200);
    query.shut_down();
    query.stopped().await;
    world.stop().await;
}

/// More at once than the limit is refused, and not queued without end.
#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_fit() {
    let world = World::without_projectors().await;
    let log = world.log.options().clone();
    let query = start_query(&world.database_url, log, |options| options.limits.requests_max = 1).await;
    let token = Position::new(world.log.log_id(), Offsets::from([(0, 1)])).token();
    let url = format!("http://{}/api/v1/models?position={token}&wait_ms=2000", query.addr());
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move { client().get(url).send().await.expect("it answers").status().as_u16() });
    let http = client();
    let refused = async {
        loop {
            let answer = ask(&http, &query, "/api/v1/models", &[]).await;
            if answer.problem() == "busy" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(2), refused).await.expect("the second is refused while the first waits");
    assert_eq!(waiting.join_next().await.expect("one").expect("no panic"), 503);
    query.shut_down();
    query.stopped().await;
    world.stop().await;
}
