//! A topic that is not what was folded: deleted and created again, or cut short before it was folded. Both end what reads
//! it, so they happen to a small Rapport of its own, on the stack's servers.

use std::time::{Duration, Instant};

use event_log::{Log, LogOptions, Topic};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::{
    Injected, World, database, judge,
    recorder::Publisher,
    rival::{LOOK_PAUSE, MODELS, PATIENCE, Rival},
};
use crate::stack::Stack;

/// Events that are folded before something happens to the topic.
const EVENTS: usize = 60;
/// What the broker may take to answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// A collector and three projectors on a topic and a database of their own.
struct Small {
    collector: Rival,
    projectors: Vec<Rival>,
    settings: Vec<(&'static str, String)>,
    log: LogOptions,
    database_url: String,
    published: usize,
}

impl Small {
    async fn start(world: &mut World) -> Self {
        let name = world.name("small");
        let database_url = database(&world.stack, &name).await;
        let mut log = LogOptions::new(world.stack.kafka());
        (log.topic, log.rejected_topic) = (name.clone(), format!("{name}.rejected"));
        let settings = vec![
            ("RAPPORT_TOPIC", log.topic.clone()),
            ("RAPPORT_REJECTED_TOPIC", log.rejected_topic.clone()),
            ("RAPPORT_DATABASE_URL", database_url.clone()),
            ("RAPPORT_PUBLISH_TIMEOUT_MS", "3000".to_owned()),
        ];
        let collector = collector(&world.stack, &settings).await;
        let mut small = Self { collector, projectors: Vec::new(), settings, log, database_url, published: 0 };
        small.fold(&world.stack);
        small
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        borrowed(&self.settings)
    }

    /// Starts the projectors.
    fn fold(&mut self, stack: &Stack) {
        let settings = self.settings();
        self.projectors = MODELS.iter().map(|model| Rival::projector(stack, model, &settings)).collect();
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.collector.port_base)
    }

    /// Publishes events until all are acknowledged.
    async fn publish(&mut self, stack: &Stack) {
        let events = (0..EVENTS).map(|n| event(self.published + n)).collect();
        self.published += EVENTS;
        let publisher = Publisher::to(stack, &self.url());
        publisher.publish(events).await;
        let book = publisher.book();
        assert_eq!((book.acknowledged.len(), book.complaints.as_slice()), (EVENTS, [].as_slice()));
    }

    /// Waits until all of the log is folded.
    async fn folded(&self) {
        let log = Log::open(&self.log).await.expect("the log can be read");
        judge::reached(&self.database_url, &log.ends().await.expect("the log's ends")).await;
    }

    /// All that the tables say.
    async fn tables(&self, log: &Log) -> [String; 3] {
        let mut connection = PgConnection::connect(&self.database_url).await.expect("PostgreSQL answers");
        judge::digests(&mut connection, log).await
    }

    /// Each projector ends by itself and says one of these.
    async fn refuse(&mut self, why: &[&str]) {
        for projector in &mut self.projectors {
            let status = projector.ended().await;
            let said = projector.said();
            assert!(!status.success() && why.iter().any(|why| said.contains(why)), "it ended with {status}:\n{said}");
        }
    }
}

fn admin(log: &LogOptions) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &log.brokers).create().expect("a client")
}

fn borrowed<'s>(settings: &'s [(&'static str, String)]) -> Vec<(&'static str, &'s str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A collector that is ready.
async fn collector(stack: &Stack, settings: &[(&'static str, String)]) -> Rival {
    let collector = Rival::start(stack, &["collector"], &borrowed(settings));
    let (ready, end) = (format!("http://127.0.0.1:{}/readyz", collector.port_base + 10), Instant::now() + PATIENCE);
    while !stack.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(Instant::now() < end, "the collector is not ready:\n{}", collector.said());
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    collector
}

fn event(n: usize) -> Value {
    json!({"specversion": "1.0", "source": "small", "id": n.to_string(), "type": "order.placed",
        "time": "2026-03-01T10:00:00Z", "subject": format!("user_id:u{}", n % 7),
        "data": {"order_id": n.to_string(), "lines": []}})
}

fn asked() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(BROKER_TIMEOUT)).operation_timeout(Some(BROKER_TIMEOUT))
}

/// The topic is deleted under everybody's feet and created again. Projectors stop and say why, the collector acknowledges
/// nothing into what is not its log, and no table changes; not then, and not after everything was started again.
pub(super) async fn recreated(world: &mut World) -> Injected {
    let mut small = Small::start(world).await;
    small.publish(&world.stack).await;
    small.folded().await;
    let log = Log::open(&small.log).await.expect("the log can be read");
    let before = small.tables(&log).await;

    recreate(&small.log, log.partitions()).await;
    small.refuse(&["created again", "records were deleted or lost"]).await;
    acknowledges_nothing(&world.stack, &small).await;
    assert_eq!(small.tables(&log).await, before, "a topic that was created again changed a table");

    // Started again, the collector makes an empty topic a log; it is another one, and not folded into these tables. What was
    // refused may stand where its first record belongs, so the topic is emptied once more.
    small.collector.signal("KILL");
    small.collector.ended().await;
    recreate(&small.log, log.partitions()).await;
    small.collector = collector(&world.stack, &small.settings).await;
    small.publish(&world.stack).await;
    small.fold(&world.stack);
    small.refuse(&["Kafka now holds log"]).await;
    assert_eq!(small.tables(&log).await, before, "another log was folded into the tables of the one before");
    Injected::Times(1)
}

async fn recreate(log: &LogOptions, partitions: i32) {
    let (admin, topic) = (admin(log), log.topic.as_str());
    for deleted in admin.delete_topics(&[topic], &asked()).await.expect("the broker answers") {
        deleted.expect("it is deleted");
    }
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let end = Instant::now() + PATIENCE;
    // While it is still being deleted it cannot be created.
    while admin.create_topics([&new], &asked()).await.expect("the broker answers")[0].is_err() {
        assert!(Instant::now() < end, "{topic} cannot be created again");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// A collector whose topic was created again under its feet refuses every publish, and says so where it is asked.
async fn acknowledges_nothing(stack: &Stack, small: &Small) {
    let publisher = Publisher::to(stack, &small.url());
    let (mut refused, end) = (0, Instant::now() + PATIENCE);
    // It may be an error of the moment first, and then for good.
    while refused < 3 {
        let left = publisher.publish_once(vec![event(refused)], PATIENCE).await;
        assert!(!left.is_empty(), "acknowledged into a topic that is not its log:\n{}", small.collector.said());
        refused += 1;
    }
    let ready = format!("http://127.0.0.1:{}/readyz", small.collector.port_base + 10);
    loop {
        let answer = stack.http.get(&ready).send().await.expect("it answers").text().await.expect("a whole answer");
        if answer.contains("another log") {
            return;
        }
        assert!(Instant::now() < end, "the collector does not say what is wrong: {answer}");
        tokio::time::sleep(LOOK_PAUSE * 5).await;
    }
}

/// Records are deleted while no projector runs. When they run again they stop and say what is missing, and change nothing.
pub(super) async fn truncated(world: &mut World) -> Injected {
    let mut small = Small::start(world).await;
    small.publish(&world.stack).await;
    small.folded().await;
    small.projectors.clear();
    let log = Log::open(&small.log).await.expect("the log can be read");
    let before = small.tables(&log).await;
    small.publish(&world.stack).await;

    let mut until = TopicPartitionList::new();
    for (partition, end) in log.ends().await.expect("the log's ends") {
        // The log's first record is kept: without it there would be no log at all.
        if partition != 0 {
            until.add_partition_offset(&small.log.topic, partition, Offset::Offset(end)).expect("an offset");
        }
    }
    admin(&small.log).delete_records(&until, &asked()).await.expect("they are deleted");
    let starts = log.watermarks(Topic::Log).await.expect("the log answers");
    assert!(starts.values().any(|mark| mark.start > 0), "nothing was deleted: {starts:?}");
    small.fold(&world.stack);
    small.refuse(&["records were deleted or lost"]).await;
    assert_eq!(small.tables(&log).await, before, "a log with a gap changed a table");
    Injected::Times(1)
}
