//! Creating and opening.

use std::time::{Duration, Instant};

use event_log::{Log, LogError, LogOptions, Topic};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::setup;

#[tokio::test(flavor = "multi_thread")]
async fn those_who_start_at_once_meet_one_log() {
    let options = setup::options().await;
    let opened = futures::future::join_all((0..5).map(|_| Log::open_or_create(&options))).await;
    let logs: Vec<Log> = opened.into_iter().map(|log| log.expect("each opens it")).collect();
    assert!(logs.iter().all(|log| log.log_id() == logs[0].log_id() && log.namespace() == logs[0].namespace()));
    assert_eq!(logs[0].partitions(), 3);
    let again = Log::open(&options).await.expect("it is there");
    assert_eq!(again.log_id(), logs[0].log_id());
    assert!(again.is_still_itself().await.expect("it can be asked"));
    assert!(!format!("{again:?}").contains(&again.namespace().secret().to_string()), "the namespace is a secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_missing_is_created() {
    let options = setup::options().await;
    let log = Log::open_or_create(&options).await.expect("it is created");
    // No cluster takes this number of partitions: whoever asked for the log's topic would be refused.
    let options = LogOptions { partitions: i32::MIN, ..options };
    let again = Log::open_or_create(&options).await.expect("nothing is asked for");
    assert_eq!((again.log_id(), again.partitions()), (log.log_id(), 3));
    let options = LogOptions { rejected_topic: format!("{}-2", options.rejected_topic), ..options };
    let again = Log::open_or_create(&options).await.expect("the other topic alone is asked for");
    assert_eq!(again.log_id(), log.log_id());
    assert_eq!(again.watermarks(Topic::Rejected).await.expect("it is there").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_for_a_kafka_that_is_not_there_is_let_go() {
    let options = LogOptions { open_timeout: Duration::from_secs(600), ..LogOptions::new("127.0.0.1:1") };
    let began = Instant::now();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let opening = async { tokio::time::timeout(Duration::from_millis(500), Log::open_or_create(&options)).await };
        runtime.block_on(opening).expect_err("nobody listens");
        // A runtime waits for what blocks on its threads.
        drop(runtime);
        ended.send(()).expect("the test waits");
    });
    end.recv_timeout(Duration::from_secs(30)).expect("it ends with the answer that it waits for");
    assert!(began.elapsed() >= Duration::from_millis(500), "it had begun to wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named() {
    let options = LogOptions { open_timeout: Duration::from_millis(300), ..setup::options().await };
    let error = Log::open(&options).await.expect_err("nobody has created it");
    assert!(matches!(error, LogError::Missing { .. }), "{error}");
    assert!(error.to_string().contains(&options.topic), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_is_not_there_is_named() {
    let options = LogOptions { open_timeout: Duration::from_millis(100), ..LogOptions::new("127.0.0.1:1") };
    let error = Log::open_or_create(&options).await.expect_err("nobody listens");
    assert!(matches!(error, LogError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_property_is_refused() {
    let mut options = setup::options().await;
    options.properties.insert("no.such.property".into(), "1".into());
    let error = Log::open_or_create(&options).await.expect_err("the client refuses it");
    assert!(matches!(error, LogError::Configuration(_)) && error.to_string().contains("no.such.property"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_others_is_refused() {
    let options = setup::options().await;
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &options.brokers);
    let admin: AdminClient<DefaultClientContext> = client.create().expect("an admin");
    let topic = NewTopic::new(&options.topic, 1, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.expect("the topic is created");
    let producer: FutureProducer = client.create().expect("a producer");
    let record = FutureRecord::<str, str>::to(&options.topic).payload("something else").key("k");
    producer.send(record, Duration::from_secs(10)).await.expect("it is written");
    for opened in [Log::open(&options).await, Log::open_or_create(&options).await] {
        let error = opened.expect_err("it is no log");
        assert!(matches!(error, LogError::NotALog { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_tells_of_the_topics() {
    let options = setup::options().await;
    let empty = event_log::inspect(&options).await.expect("it answers");
    assert!(empty.brokers > 0 && empty.topics.is_empty(), "{empty:?}");
    Log::open_or_create(&options).await.expect("it is created");
    let state = event_log::inspect(&options).await.expect("it answers");
    let found: Vec<_> = state.topics.iter().map(|t| (t.topic, t.partitions, t.replicas, t.in_sync)).collect();
    assert_eq!(found, [(Topic::Log, 3, 1, 1), (Topic::Rejected, 1, 1, 1)]);
    for topic in &state.topics {
        let settings = topic.settings.as_ref().expect("it tells them");
        let of = |name: &str| settings.get(name).map(String::as_str);
        assert_eq!((of("retention.ms"), of("cleanup.policy")), (Some("-1"), Some("delete")));
        assert!(topic.leaderless.is_empty());
    }
    let away = LogOptions::new("127.0.0.1:1");
    let error = event_log::inspect(&away).await.expect_err("nobody listens");
    assert!(matches!(error, LogError::Unreachable { .. }), "{error}");
}
