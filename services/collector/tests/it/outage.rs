//! Kafka goes away and comes back: nothing is acknowledged that is not there, and everyone is answered in time.

use std::time::Duration;

use collector::Options;
use event_log::LogOptions;
use local_stack::{KafkaOptions, Lifetime};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{BATCH, Running, STRUCTURED, batch, order, start_on};

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Far above the deadline, however busy the machine, and far below what the Kafka client would wait by itself.
const PATIENCE: Duration = Duration::from_secs(30);

async fn published(collector: &Running, id: &str) -> bool {
    collector.post(STRUCTURED, order(id)).await.status == 200
}

#[tokio::test]
async fn kafka_goes_and_comes_back() {
    let artifacts = local_stack::fetch(&test_kit::stack_dir(), |_| {}).await.expect("Kafka is fetched");
    let data_dir = tempfile::tempdir().expect("a directory");
    let port = local_stack::free_ports(2).expect("ports are free");
    let kafka = KafkaOptions {
        lifetime: Lifetime::WithParent,
        ..KafkaOptions::new(data_dir.path().join("data"), port, port + 1)
    };
    let mut server = kafka.start(&artifacts).await.expect("Kafka starts");
    let log = LogOptions { partitions: 2, ..LogOptions::new(format!("127.0.0.1:{}", kafka.port)) };
    let collector = start_on(log, |options| options.publish_timeout = PUBLISH_TIMEOUT).await;
    // On a busy machine a deadline that short may pass while all is well.
    let before = async { while !published(&collector, "before").await {} };
    tokio::time::timeout(PATIENCE, before).await.expect("publishing works");

    server.kill().await;
    let started = Instant::now();
    let answers = futures::future::join_all((0..20).map(|i| {
        let events = [order(&format!("down-{i}")), "{}".to_owned()];
        collector.post(BATCH, batch(&events))
    }))
    .await;
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    for answer in answers {
        assert_eq!((answer.status, answer.retry_after, answer.position), (503, Some(1), None), "{:?}", answer.body);
        assert_eq!((&answer.body["retry"], &answer.body["accepted"]), (&2.into(), &0.into()), "{:?}", answer.body);
        assert!(answer.body["results"].as_array().is_some_and(|r| r.iter().all(|r| r["status"] == "retry")));
    }
    // What publishing met is what readiness tells, and not only that nobody answers.
    let told = async {
        while !collector.handle.health().snapshot()["kafka"].reason.contains("records are not confirmed") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("readiness tells why");
    let back = async {
        let server = kafka.start(&artifacts).await;
        let server = server.expect("Kafka starts again");
        while !published(&collector, "after").await {}
        server
    };
    let server = tokio::time::timeout(Duration::from_secs(60), back).await.expect("publishing goes on");
    let ready = async {
        while !collector.handle.health().is_ready() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready).await.expect("it is ready again");
    let ids: Vec<_> = collector.records().await.iter().filter_map(|r| r.header("ce_id").map(str::to_owned)).collect();
    assert!(["before", "after"].iter().all(|id| ids.iter().any(|i| i == id)), "{ids:?}");
    server.stop(Duration::from_secs(20)).await;
}

#[tokio::test]
async fn a_start_that_waits_for_kafka_ends_when_told_to() {
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let log = LogOptions { open_timeout: Duration::from_secs(600), ..LogOptions::new("127.0.0.1:1") };
    let options = Options { listen: any_port, ..Options::new(log) };
    let shutdown = CancellationToken::new();
    let mut starting = std::pin::pin!(collector::start(options, shutdown.clone()));
    let early = tokio::time::timeout(Duration::from_millis(500), starting.as_mut()).await;
    assert!(early.is_err(), "nobody listens there: it waits");
    shutdown.cancel();
    let started = tokio::time::timeout(Duration::from_secs(10), starting).await.expect("it ends at once");
    assert!(started.expect("no error").is_none(), "it has not started");
}
