//! A topic whose partitions are not those that its log was made with.

use std::time::Duration;

use event_log::{AppendError, Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use prost::Message as _;
use rapport_proto::v1;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

use crate::setup;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

fn client(options: &LogOptions) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &options.brokers);
    client
}

async fn grow(options: &LogOptions, partitions: usize) {
    let admin: AdminClient<DefaultClientContext> = client(options).create().expect("an admin");
    let asked = [NewPartitions::new(&options.topic, partitions)];
    let grown = admin.create_partitions(&asked, &AdminOptions::new()).await.expect("the broker answers");
    assert!(grown.iter().all(Result::is_ok), "{grown:?}");
}

/// Waits until the broker that answers knows of it.
async fn not_ready(appender: &Appender) -> String {
    let started = std::time::Instant::now();
    loop {
        match appender.ready(ANSWER_TIMEOUT).await {
            Err(reason) => return reason,
            Ok(()) => assert!(started.elapsed() < setup::WAIT, "nothing is said of it"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn append(appender: &Appender, topic: Topic) -> Result<(i32, i64), AppendError> {
    appender.append(topic, vec![NewRecord::new("k", "v")]).await.pop().expect("an answer a record")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_takes_nothing_once_its_topic_has_grown() {
    let (log, appender) = setup::log().await;
    append(&appender, Topic::Log).await.expect("it is acknowledged");
    grow(log.options(), 4).await;
    let says = format!("topic {} has 4 partitions, and its log was made with 3", log.options().topic);
    let reason = not_ready(&appender).await;
    assert!(reason.contains(&says), "{reason}");
    assert!(
        matches!(append(&appender, Topic::Log).await, Err(AppendError::OtherPartitions(why)) if why.contains(&says))
    );
    append(&appender, Topic::Rejected).await.expect("what is rejected is still kept");

    let again = Log::open(log.options()).await.expect("it can be read");
    assert_eq!((again.partitions(), again.check_partitions(3)), (3, Ok(())));
    let other = again.check_opened().expect_err("it has grown");
    assert_eq!((other.made, other.found), (3, 4));
    // Whoever opens it now has not to ask first.
    let appender = Appender::open(&again, AppenderOptions::default()).expect("the appender connects");
    assert!(matches!(append(&appender, Topic::Log).await, Err(AppendError::OtherPartitions(_))));
}

/// As collectors wrote it before they wrote down how many partitions there were.
async fn made_before(options: &LogOptions) {
    let admin: AdminClient<DefaultClientContext> = client(options).create().expect("an admin");
    let topic = NewTopic::new(&options.topic, 2, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.expect("the topic is created");
    let (log_id, namespace) = (Uuid::new_v4().to_string(), Uuid::new_v4().as_bytes().to_vec());
    let value = v1::LogCreated { log_id, namespace, ..v1::LogCreated::default() }.encode_to_vec();
    let kind = Header { key: "ce_type", value: Some("io.rapport.log.created") };
    let producer: FutureProducer = client(options).create().expect("a producer");
    let record = FutureRecord::to(&options.topic).payload(&value).key("log").partition(0);
    producer.send(record.headers(OwnedHeaders::new().insert(kind)), ANSWER_TIMEOUT).await.expect("it is written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_before_goes_on_with_what_it_has() {
    let options = setup::options().await;
    made_before(&options).await;
    let log = Log::open_or_create(&options).await.expect("it is a log");
    assert_eq!((log.partitions(), log.check_opened()), (2, Ok(())));
    let appender = Appender::open(&log, AppenderOptions::default()).expect("the appender connects");
    append(&appender, Topic::Log).await.expect("it is acknowledged");
    // What is added while it is open is noticed all the same.
    grow(&options, 3).await;
    assert!(not_ready(&appender).await.contains("has 3 partitions, and its log was made with 2"));
    let again = Log::open(&options).await.expect("it is a log");
    assert_eq!((again.partitions(), again.check_opened()), (3, Ok(())));
}
