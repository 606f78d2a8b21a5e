//! Kafka goes away and comes back: nothing is acknowledged that is not there, and everyone is answered in time.

use std::time::Duration;

use event_log::LogOptions;
use local_stack::{KafkaOptions, Lifetime};
use tokio::time::Instant;

use crate::support::{BATCH, Running, STRUCTURED, batch, order, start_on};

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

async fn published(collector: &Running, id: &str) -> bool {
    collector.post(STRUCTURED, order(id)).await.status == 200
}

#[tokio::test]
async fn kafka_goes_and_comes_back() {
    let artifacts = local_stack::fetch(&test_kit::stack_dir(), |_| {}).await.expect("Kafka is fetched");
    let data_dir = tempfile::tempdir().expect("a directory");
    let kafka = KafkaOptions {
        lifetime: Lifetime::WithParent,
        ..KafkaOptions::new(data_dir.path().join("data"), free_port(), free_port())
    };
    let mut server = kafka.start(&artifacts).await.expect("Kafka starts");
    let log = LogOptions { partitions: 2, ..LogOptions::new(format!("127.0.0.1:{}", kafka.port)) };
    let collector = start_on(log, |options| options.publish_timeout = PUBLISH_TIMEOUT).await;
    assert!(published(&collector, "before").await);

    server.kill().await;
    let started = Instant::now();
    let answers = futures::future::join_all((0..20).map(|i| {
        let events = [order(&format!("down-{i}")), "{}".to_owned()];
        collector.post(BATCH, batch(&events))
    }))
    .await;
    assert!(started.elapsed() < PUBLISH_TIMEOUT + Duration::from_secs(1), "{:?}", started.elapsed());
    for answer in answers {
        assert_eq!((answer.status, answer.retry_after, answer.position), (503, Some(1), None), "{:?}", answer.body);
        assert_eq!((&answer.body["retry"], &answer.body["accepted"]), (&2.into(), &0.into()), "{:?}", answer.body);
        assert!(answer.body["results"].as_array().is_some_and(|r| r.iter().all(|r| r["status"] == "retry")));
    }
    let back = async {
        let server = kafka.start(&artifacts).await;
        let server = server.expect("Kafka starts again");
        while !published(&collector, "after").await {}
        server
    };
    let server = tokio::time::timeout(Duration::from_secs(60), back).await.expect("publishing goes on");
    let ids: Vec<_> = collector.records().await.iter().filter_map(|r| r.header("ce_id").map(str::to_owned)).collect();
    assert!(["before", "after"].iter().all(|id| ids.iter().any(|i| i == id)), "{ids:?}");
    server.stop(Duration::from_secs(20)).await;
}
