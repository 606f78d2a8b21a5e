//! What is answered while something is away.

use std::time::{Duration, Instant};

use domain::{Position, position::Offsets};
use event_log::LogOptions;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
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
            assert_eq!(answer.problem(), "unavailable", "{path}: {}", answer.body);
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
    until(async || world.query.health().is_ready(), "it becomes ready").await;
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
    let mut world = World::without_projectors().await;
    let log = world.log.options().clone();
    let query = start_query(&world.database_url, log, |options| options.limits.requests_max = 1).await;
    let token = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await.token();
    let url = format!("http://{}/api/v1/models?position={token}&wait_ms=60000", query.addr());
    let mut waiting = tokio::task::JoinSet::new();
    waiting.spawn(async move { client().get(url).send().await.expect("it answers").status().as_u16() });
    until(async || query.waiting() == 1, "the first request waits").await;
    let http = client();
    let answer = ask(&http, &query, "/api/v1/models", &[]).await;
    assert_eq!((answer.status, answer.problem()), (503, "busy"), "{}", answer.body);
    // The one that was let in is answered as if nobody had come meanwhile, and leaves its place to the next.
    world.start_projectors().await;
    assert_eq!(waiting.join_next().await.expect("one").expect("no panic"), 200);
    assert_eq!(ask(&http, &query, "/api/v1/models", &[]).await.status, 200);
    query.shut_down();
    query.stopped().await;
    world.stop().await;
}

/// Every connection for requests is taken, and PostgreSQL is well: that is being busy, and no reason not to be ready.
#[tokio::test(flavor = "multi_thread")]
async fn every_connection_taken() {
    let mut world = World::start().await;
    let position = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    world.page("email:ann@example.com", &position).await;
    let query = start_query(&world.database_url, world.log.options().clone(), |options| {
        options.limits.database_connections_max = 1;
        options.limits.acquire_timeout = Duration::from_millis(200);
        options.limits.statement_timeout = Duration::from_secs(60);
    })
    .await;
    until(async || query.health().is_ready(), "it is ready").await;

    // The list of models counts dead letters, which readiness does not ask for.
    let mut holder = PgConnection::connect(&world.database_url).await.expect("PostgreSQL takes a connection");
    let mut locked = holder.begin().await.expect("a transaction");
    let lock = "LOCK TABLE backbone.dead_letters IN ACCESS EXCLUSIVE MODE";
    sqlx::query(lock).execute(&mut *locked).await.expect("the table is ours");
    let url = format!("http://{}/api/v1/models", query.addr());
    let mut stuck = tokio::task::JoinSet::new();
    stuck.spawn(async move { client().get(url).send().await.expect("it answers").status().as_u16() });
    let mut observer = PgConnection::connect(&world.database_url).await.expect("PostgreSQL takes a connection");
    let waiting = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                   AND application_name = 'rapport-query' AND wait_event_type = 'Lock')";
    until(
        async || sqlx::query_scalar(waiting).fetch_one(&mut observer).await.expect("an answer"),
        "the only connection waits for the lock",
    )
    .await;

    let http = client();
    // Longer than readiness is asked anew.
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let answer = ask(&http, &query, "/api/v1/customers/email:ann@example.com", &[]).await;
        assert_eq!((answer.status, answer.problem()), (503, "busy"), "{}", answer.body);
        assert!(query.health().is_ready(), "{:?}", query.health().snapshot());
    }
    locked.rollback().await.expect("the lock is given back");
    assert_eq!(stuck.join_next().await.expect("one").expect("no panic"), 200);
    query.shut_down();
    query.stopped().await;
    world.stop().await;
}

/// Waits for a condition, for as long as a busy machine may need.
async fn until(mut holds: impl AsyncFnMut() -> bool, what: &str) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect(what);
}
