//! A part of the log is delivered again to someone else: the same bytes, by type and by customer, to a topic and to a
//! collector; interrupted and killed it goes on, and nothing is left out.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use serde_json::{Value, json};
use system_tests::stack::{Ended, Stack, binary, command};

/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Page views that are there beside what the story tells.
const VIEWS: usize = 120;
/// So fast are events forwarded that are to be interrupted: slow enough to be caught in the middle.
const RATE: &str = "25";
const LOG: &str = "rapport.interactions";

/// What a record says, wherever it stands: key, value, headers.
type Content = (Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

struct Broker(String);

impl Broker {
    async fn create(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.0).create().expect("an admin client");
        let new = NewTopic::new(topic, 2, TopicReplication::Fixed(1));
        let made = admin.create_topics([&new], &AdminOptions::new()).await.expect("the broker answers");
        made.into_iter().for_each(|topic| assert!(topic.is_ok(), "{topic:?}"));
    }

    /// Every record of a topic by its place.
    async fn read(&self, topic: &str) -> BTreeMap<(i32, i64), Content> {
        let (brokers, topic) = (self.0.clone(), topic.to_owned());
        tokio::task::spawn_blocking(move || all_of(&brokers, &topic)).await.expect("it is read")
    }
}

fn all_of(brokers: &str, topic: &str) -> BTreeMap<(i32, i64), Content> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", "test").create().expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("the broker answers");
    let mut assignment = TopicPartitionList::new();
    let mut missing = 0;
    for partition in metadata.topics()[0].partitions() {
        let (start, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE).expect("watermarks");
        missing += end - start;
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a partition");
    }
    consumer.assign(&assignment).expect("it is assigned");
    let mut records = BTreeMap::new();
    let end = Instant::now() + PATIENCE;
    while missing > 0 {
        assert!(Instant::now() < end, "{missing} records of {topic} did not come");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let headers = headers.map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect();
        let part = |bytes: Option<&[u8]>| bytes.expect("neither key nor value is missing").to_vec();
        let content = (part(message.key()), part(message.payload()), headers);
        records.insert((message.partition(), message.offset()), content);
        missing -= 1;
    }
    records
}

fn kind(content: &Content) -> &str {
    let kind = content.2.iter().find(|(name, _)| name == "ce_type").expect("a type");
    std::str::from_utf8(&kind.1).expect("text")
}

fn sorted<'a>(records: impl IntoIterator<Item = &'a Content>) -> Vec<Content> {
    let mut records: Vec<_> = records.into_iter().cloned().collect();
    records.sort();
    records
}

fn event(n: usize, id: &str, kind: &str, subject: Option<&str>, data: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "forwarding", "type": kind, "data": data,
        "time": domain::time::format(1_772_359_200_000_000 + n as i64 * 60_000_000),
    });
    if let Some(subject) = subject {
        event["subject"] = subject.into();
    }
    event
}

/// Ann writes from her mail address and calls from her phone; a case of hers is closed by an event that does not name her.
fn story() -> Value {
    let order = |n: usize, id: &str, who: &str| {
        let line = json!({"sku": "KETTLE", "quantity": 1, "unit_price": {"amount_minor": 4990, "currency": "EUR"}});
        event(n, id, "order.placed", Some(who), json!({"order_id": id, "lines": [line]}))
    };
    let (ann, phone, ben) = ("email:ann@example.com", "phone:+4930123456", "email:ben@example.com");
    let case = json!({"case_id": "501", "title": "It leaks", "priority": "high"});
    let mut events = vec![
        order(1, "o-ann", ann),
        order(2, "o-ben", ben),
        event(3, "case", "case.opened", Some(phone), case),
        event(4, "link", "identity.link.asserted", None, json!({"left": ann, "right": phone})),
        event(5, "solved", "case.changed", None, json!({"case_id": "501", "status": "solved"})),
        order(6, "o-ann-2", "email:Ann@Example.com"),
    ];
    events.extend((0..VIEWS).map(|n| {
        let who = format!("email:viewer{}@example.com", n % 7);
        event(10 + n, &format!("v-{n}"), "web.page.viewed", Some(&who), json!({"url": "https://shop.example/"}))
    }));
    Value::Array(events)
}

fn forward(stack: &Stack, arguments: &[&str]) -> Output {
    stack.rapport(&[&["log", "forward"], arguments].concat())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn done(stack: &Stack, arguments: &[&str]) -> String {
    let output = forward(stack, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(stack: &Stack, arguments: &[&str], code: i32, says: &str) {
    let output = forward(stack, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", said(&output));
    assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_topic_and_to_a_collector() {
    let stack = Stack::start().await;
    let broker = Broker(stack.kafka());
    let published = stack.publish(&story()).await;
    assert_eq!(published.status, 200, "{published:?}");
    let log = broker.read(LOG).await;

    // By type, with the catalogue's prefix and without, and by time of receipt.
    broker.create("partner.orders").await;
    done(&stack, &["--type", "order.placed", "--type", "io.rapport.case.opened", "--to-topic", "partner.orders"]);
    let wanted = ["io.rapport.order.placed", "io.rapport.case.opened"];
    let expected = sorted(log.values().filter(|content| wanted.contains(&kind(content))));
    assert_eq!(expected.len(), 4, "{expected:?}");
    let copied = broker.read("partner.orders").await;
    assert_eq!(sorted(copied.values()), expected);
    let future = ["--from", "2100-01-01T00:00:00Z", "--to-topic", "partner.orders"];
    assert!(done(&stack, &future).starts_with("0 delivered to topic partner.orders at "));
    assert_eq!(broker.read("partner.orders").await.len(), 4);

    by_customer(&stack, &broker, &log, &published.position.expect("a position")).await;
    dry(&stack, &log);
    to_the_same_collector(&stack, log.len() - 1).await;
    refusals(&stack);
    stack.stop().await;
}

/// What Ann's timeline holds goes out, by whichever name she is asked for: what names her mail address or her phone, and
/// what names only the case that is hers.
async fn by_customer(stack: &Stack, broker: &Broker, log: &BTreeMap<(i32, i64), Content>, position: &str) {
    let page = stack.get(&format!("/api/v1/customers/email:ann@example.com/timeline?position={position}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let items = page.body["items"].as_array().expect("items");
    let place =
        |item: &Value| (item["partition"].as_i64().expect("one") as i32, item["log_offset"].as_i64().expect("one"));
    let expected = sorted(items.iter().map(|item| &log[&place(item)]));
    let kinds: Vec<&str> = expected.iter().map(kind).collect();
    assert!(kinds.len() == 5 && kinds.contains(&"io.rapport.case.changed"), "{kinds:?}");
    let id = page.body["customer_id"].as_str().expect("an id");
    for (topic, reference) in [("ann.1", id), ("ann.2", "email:Ann@Example.com"), ("ann.3", "phone:030 123456")] {
        broker.create(topic).await;
        done(stack, &["--customer", reference, "--to-topic", topic, "--to-kafka", &broker.0]);
        assert_eq!(sorted(broker.read(topic).await.values()), expected, "{reference}");
    }
    // Both conditions hold together.
    let lines = done(stack, &["--customer", id, "--channel", "phone", "--type", "order.placed", "--to-stdout"]);
    assert_eq!(lines, "");
    let lines = done(stack, &["--customer", id, "--type", "order.placed", "--to-stdout"]);
    let ids: Vec<Value> =
        lines.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON")["id"].clone()).collect();
    assert!(ids.len() == 2 && ids.contains(&"o-ann".into()) && ids.contains(&"o-ann-2".into()), "{lines}");
    assert_eq!(stack.rapport(&["log", "read", "--type", "order.placed"]).stdout, {
        forward(stack, &["--type", "order.placed", "--to-stdout"]).stdout
    });
}

fn dry(stack: &Stack, log: &BTreeMap<(i32, i64), Content>) {
    let views: Vec<_> = log.values().filter(|content| kind(content) == "io.rapport.web.page.viewed").collect();
    let bytes = |content: &&Content| {
        let headers: usize = content.2.iter().map(|(name, value)| name.len() + value.len()).sum();
        content.0.len() + content.1.len() + headers
    };
    let report = done(stack, &["--type", "web.page.viewed", "--dry-run", "--rate", "2", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("one JSON document");
    assert_eq!(report["events"], VIEWS, "{report}");
    assert_eq!(report["bytes"], views.iter().map(bytes).sum::<usize>(), "{report}");
    assert_eq!(report["expected_duration_s"], VIEWS as f64 / 2.0, "{report}");
    let received = |content: &&Content| {
        let header = content.2.iter().find(|(name, _)| name == "ce_recordedtime").expect("a time of receipt");
        String::from_utf8(header.1.clone()).expect("text")
    };
    assert_eq!(report["first_received_at"], views.iter().map(received).min().expect("one"), "{report}");
    assert_eq!(report["last_received_at"], views.iter().map(received).max().expect("one"), "{report}");
    assert_eq!(report["delivered"], 0, "{report}");
}

/// Everything is a duplicate there: no table changes.
async fn to_the_same_collector(stack: &Stack, events: usize) {
    let digests = || ["sales", "service", "customer360"].map(|model| digest(stack, model));
    let before = digests();
    let report = done(stack, &["--to-url", &stack.collector(""), "--json"]);
    let report: Value = serde_json::from_str(&report).expect("one JSON document");
    assert_eq!((&report["delivered"], &report["rejected"]), (&events.into(), &0.into()), "{report}");
    let position = report["position"].as_str().expect("a collector's position");
    let page = stack.get(&format!("/api/v1/customers/email:ann@example.com?position={position}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(before, digests());
}

fn digest(stack: &Stack, model: &str) -> String {
    let output = stack.rapport(&["digest", model, "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
    report["digest"].as_str().expect("a digest").to_owned()
}

fn refusals(stack: &Stack) {
    refused(stack, &["--to-topic", LOG], 65, "topic rapport.interactions is the log of this installation");
    // The same cluster by another of its names.
    let elsewhere = stack.kafka().replace("127.0.0.1", "localhost");
    refused(stack, &["--to-topic", LOG, "--to-kafka", &elsewhere], 65, "name a topic of your own");
    refused(stack, &["--to-topic", "rapport.rejected", "--dry-run"], 65, "the topic of rejected events");
    refused(stack, &["--to-topic", "nowhere"], 65, "there is no topic nowhere at 127.0.0.1");
    refused(stack, &["--to-topic", "no where"], 65, "there is no topic no where");
    refused(stack, &["--to-url", "other:7070"], 65, "is no address like http://other:7070");
    refused(stack, &["--to-stdout", "--partition", "99"], 65, "the log has no partition 99; name one from 0 to");
    refused(stack, &["--to-stdout", "--from", "yesterday"], 65, "no RFC 3339 time");
    refused(stack, &["--to-stdout", "--customer", "email:nobody@example.com"], 65, "");
    refused(stack, &["--type", "order.placed"], 64, "--to-topic");
}

/// Ctrl-C, then kill -9, then to the end: every event is there, what was under way at a seam twice at most.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_and_killed_it_goes_on() {
    let stack = Stack::start().await;
    let broker = Broker(stack.kafka());
    assert_eq!(stack.publish(&story()).await.status, 200);
    broker.create("mirror").await;
    let file = stack.data_dir().join("forward.json");
    let path = file.to_string_lossy().into_owned();
    let arguments = ["--type", "web.page.viewed", "--to-topic", "mirror", "--resume", &path];

    let mut begun = 0;
    for signal in ["INT", "KILL"] {
        let mut running = start(&stack, &[&arguments[..], &["--rate", RATE]].concat());
        begun = further_than(&file, begun).await;
        running.signal(signal);
        let status = running.0.wait().expect("it ends");
        let mut stderr = running.0.stderr.take().expect("it is read");
        let text = std::io::read_to_string(&mut stderr).expect("text");
        if signal == "INT" {
            assert_eq!(status.code(), Some(130), "{text}");
            assert!(text.contains("interrupted; ") && text.contains(" delivered of what "), "{text}");
            assert!(text.contains(&format!("--resume {path} goes on from there")), "{text}");
        } else {
            assert_eq!(status.code(), None, "{text}");
        }
    }
    let before = broker.read("mirror").await.len();
    assert!((1..VIEWS).contains(&before), "{before} were delivered before it was killed");

    // The file says how far this delivery is, and no other one.
    refused(&stack, &["--type", "order.placed", "--to-topic", "mirror", "--resume", &path], 65, "(--type differ)");
    refused(&stack, &["--type", "web.page.viewed", "--to-stdout", "--resume", &path], 65, "a delivery to topic mirror");

    done(&stack, &arguments);
    let log = broker.read(LOG).await;
    let wanted = sorted(log.values().filter(|content| kind(content) == "io.rapport.web.page.viewed"));
    let arrived = sorted(broker.read("mirror").await.values());
    let mut each = arrived.clone();
    each.dedup();
    assert_eq!(each, wanted, "none is missing, none is another");
    // A second's events at the rate may stand twice at the one seam that nothing was written down at.
    assert!(arrived.len() <= VIEWS + 2 * 25, "{} records of {VIEWS} events", arrived.len());

    // At its end the file goes on with what has arrived since.
    assert!(done(&stack, &arguments).starts_with("0 delivered"));
    let late =
        event(500, "v-late", "web.page.viewed", Some("email:late@example.com"), json!({"url": "https://x.example/"}));
    assert_eq!(stack.publish(&late).await.status, 200);
    assert!(done(&stack, &arguments).starts_with("1 delivered"));
    stack.stop().await;
}

fn start(stack: &Stack, arguments: &[&str]) -> Ended {
    let running = command(binary())
        .args(["log", "forward"])
        .args(arguments)
        .env("RAPPORT_PORT_BASE", stack.port_base().to_string())
        .env("RAPPORT_DATA_DIR", stack.data_dir())
        .current_dir(stack.data_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    Ended(running.expect("the rapport binary runs"))
}

/// Waits until the file says that the delivery is further than so many records, and says how far.
async fn further_than(file: &Path, begun: i64) -> i64 {
    let end = Instant::now() + PATIENCE;
    loop {
        let reached = reached(file);
        // Its first version says where the delivery begins.
        if reached > begun.max(10) + 10 {
            return reached;
        }
        assert!(Instant::now() < end, "it got no further than {reached} records");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many records of the log a resume file says to be done with.
fn reached(file: &Path) -> i64 {
    let Ok(text) = std::fs::read_to_string(file) else { return 0 };
    let document: Value = serde_json::from_str(&text).expect("the file is whole at any time");
    document["next"].as_object().expect("offsets").values().filter_map(Value::as_i64).sum()
}
