//! A collector on a log of its own, and the one `check` that all tests of answers go through.

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use collector::{Admin, Handle, Options};
use event_log::{Log, LogOptions, RangeReader, Record, Start, Topic};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use test_kit::Event;
use tokio_util::sync::CancellationToken;

pub(crate) const STRUCTURED: &str = "application/cloudevents+json";
pub(crate) const BATCH: &str = "application/cloudevents-batch+json";
/// What the collectors of these tests believe to be now: an hour after the builders' base time.
pub(crate) const NOW_US: i64 = (test_kit::BASE_TIME + 3600) * 1_000_000;

/// A running collector.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    pub(crate) log: LogOptions,
    client: reqwest::Client,
}

/// Starts a collector with a log of its own on the tests' Kafka.
pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Running {
    let kafka = test_kit::kafka().await;
    let prefix = format!("test-{}", uuid::Uuid::new_v4().simple());
    let log = LogOptions {
        topic: format!("{prefix}.interactions"),
        rejected_topic: format!("{prefix}.rejected"),
        partitions: 3,
        ..LogOptions::new(kafka)
    };
    start_on(log, change).await
}

/// The metrics of all collectors of this process.
fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| service_kit::init_metrics().expect("once a process")).clone()
}

/// Starts a collector on this log.
pub(crate) async fn start_on(log: LogOptions, change: impl FnOnce(&mut Options)) -> Running {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut options = Options {
        listen: any_port,
        admin: Some(Admin { listen: any_port, metrics: metrics() }),
        // Tests share two cores with each other; how fast Kafka is then is not what they are about.
        publish_timeout: Duration::from_secs(30),
        clock: service_kit::Clock::fixed(domain::time::to_chrono(NOW_US)),
        ..Options::new(log.clone())
    };
    change(&mut options);
    let started = collector::start(options, CancellationToken::new()).await.expect("the collector starts");
    let handle = started.expect("nobody tells it to end");
    Running { handle, log, client: reqwest::Client::new() }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) position: Option<String>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.handle.addr())
    }

    /// Sends a body of a content type to `POST /events`.
    pub(crate) async fn post(&self, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.send("POST", "/events", &[("content-type", content_type)], body).await
    }

    /// Sends any request.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let mut request =
            self.client.request(method, self.url(path)).body(body.into()).timeout(Duration::from_secs(60));
        for (name, value) in headers {
            request =
                request.header(*name, reqwest::header::HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
        }
        let response = request.send().await.expect("the collector answers");
        let header = |name: &str| response.headers().get(name).map(|v| v.to_str().expect("text").to_owned());
        let (position, retry_after) =
            (header("rapport-position"), header("retry-after").map(|s| s.parse().expect("an integer")));
        let (status, content_type) = (response.status().as_u16(), header("content-type").unwrap_or_default());
        let bytes = response.bytes().await.expect("the body is whole");
        let body = serde_json::from_slice(&bytes).expect("every answer is JSON");
        Answer { status, position, retry_after, content_type, body }
    }

    /// Everything in the log but its first record.
    pub(crate) async fn records(&self) -> Vec<Record> {
        let mut records = self.all(Topic::Log).await;
        records.retain(|record| !record.created);
        records
    }

    /// Everything that was kept of rejected events, by rejection id.
    pub(crate) async fn rejected(&self) -> Vec<(String, collector::RejectedRecord<'static>)> {
        let record = |r: Record| {
            let kept = collector::RejectedRecord::parse(&r.value).expect("a record of the collector's");
            (format!("{}-{}", r.partition, r.offset), kept)
        };
        self.all(Topic::Rejected).await.into_iter().map(record).collect()
    }

    async fn all(&self, topic: Topic) -> Vec<Record> {
        let log = Log::open(&self.log).await.expect("the log is there");
        let mut reader = RangeReader::open(&log, topic, Start::Beginning, false).await.expect("it can be read");
        let mut all = Vec::new();
        while let Some(records) = reader.next().await.expect("it is read") {
            all.extend(records);
        }
        all
    }
}

/// One request and what must come back.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    /// Members that the answer must have; others are not looked at. A text `~part` must be contained in the answer's.
    pub(crate) expected: Value,
}

/// Sends a case's request, compares the answer, and checks what holds for every answer.
pub(crate) async fn check(collector: &Running, case: Case) -> Answer {
    let mut headers = case.headers.clone();
    if !case.content_type.is_empty() {
        headers.push(("content-type", case.content_type));
    }
    let answer = collector.send("POST", "/events", &headers, case.body).await;
    let name = case.name;
    assert_eq!(answer.status, case.status, "{name}: {answer:?}");
    if let Some(difference) = difference(&case.expected, &answer.body, String::new()) {
        panic!("{name}: {difference}\n{answer:?}");
    }
    if answer.body.get("results").is_some() {
        assert_eq!(answer.content_type, "application/json", "{name}");
        assert_eq!(answer.body.get("position").and_then(Value::as_str), answer.position.as_deref(), "{name}");
    } else {
        assert_eq!(answer.content_type, "application/problem+json", "{name}");
        assert_eq!(answer.body["status"], case.status, "{name}: {answer:?}");
        assert!(answer.body["detail"].as_str().is_some_and(|d| d.len() > 20), "{name}: {answer:?}");
    }
    assert_eq!(answer.retry_after.is_some(), matches!(answer.status, 429 | 503), "{name}: {answer:?}");
    answer
}

/// Where `actual` lacks what `expected` says.
fn difference(expected: &Value, actual: &Value, at: String) -> Option<String> {
    let differs = || Some(format!("{at}: expected {expected}, got {actual}"));
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => expected.iter().find_map(|(name, expected)| {
            difference(expected, actual.get(name).unwrap_or(&Value::Null), format!("{at}/{name}"))
        }),
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            expected.iter().zip(actual).enumerate().find_map(|(i, (e, a))| difference(e, a, format!("{at}/{i}")))
        }
        (Value::String(expected), Value::String(actual)) if expected.starts_with('~') => {
            if actual.contains(&expected[1..]) { None } else { differs() }
        }
        _ if expected == actual => None,
        _ => differs(),
    }
}

/// An order's event as text.
pub(crate) fn order(id: &str) -> String {
    Event::order_placed(id).subject("email:ann@example.com").json().to_string()
}

/// Events as a batch.
pub(crate) fn batch<T: AsRef<str>>(events: &[T]) -> Vec<u8> {
    let events: Vec<_> = events.iter().map(AsRef::as_ref).collect();
    format!("[{}]", events.join(",")).into_bytes()
}
