//! A log, a database, three projectors and a query service of one test's own.

use std::{net::SocketAddr, time::Duration};

use domain::Position;
use event_log::{Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use projection::{Projector, ProjectorOptions};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use prost::Message;
use query::{Handle, Options};
use rapport_proto::{json, v1};
use serde_json::Value;
use test_kit::Event;
use tokio_util::sync::CancellationToken;

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// When the first event of a test was received, microseconds UTC; each further one a microsecond later.
const RECEIVED_AT: i64 = (test_kit::BASE_TIME + 86_400) * 1_000_000;

pub(crate) struct World {
    pub(crate) log: Log,
    pub(crate) log_options: LogOptions,
    pub(crate) database_url: String,
    pub(crate) query: Handle,
    appender: Appender,
    projectors: Vec<Projector>,
    http: reqwest::Client,
    received_at: i64,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> &str {
        self.body["type"].as_str().and_then(|uri| uri.strip_prefix("urn:rapport:problem:")).unwrap_or("none")
    }
}

impl World {
    /// Everything started.
    pub(crate) async fn start() -> Self {
        let mut world = Self::without_projectors().await;
        world.start_projectors().await;
        world
    }

    /// A log, an empty database and a query service.
    pub(crate) async fn without_projectors() -> Self {
        let backbone = test_kit::backbone().await;
        let options = LogOptions {
            topic: backbone.topic("interactions"),
            rejected_topic: backbone.topic("rejected"),
            partitions: 3,
            ..LogOptions::new(&backbone.kafka)
        };
        let log = Log::open_or_create(&options).await.expect("the log is created");
        let appender = Appender::open(&log, AppenderOptions::default()).expect("an appender opens");
        let query = start_query(&backbone.database_url, options.clone(), |_| {}).await;
        let http = client();
        let database_url = backbone.database_url;
        Self {
            log,
            log_options: options,
            database_url,
            query,
            appender,
            projectors: Vec::new(),
            http,
            received_at: RECEIVED_AT,
        }
    }

    pub(crate) async fn start_projectors(&mut self) {
        let (log, options) = (&self.log, || ProjectorOptions::new(&self.database_url));
        self.projectors = vec![
            Projector::start(Sales, log.clone(), options()).await.expect("sales starts"),
            Projector::start(Service, log.clone(), options()).await.expect("service starts"),
            Projector::start(Customer360::new(*log.namespace()), log.clone(), options())
                .await
                .expect("customer360 starts"),
        ];
    }

    /// Appends events as a collector would, and returns the position after them.
    pub(crate) async fn publish(&mut self, events: impl IntoIterator<Item = Event>) -> Position {
        let records: Vec<NewRecord> = events
            .into_iter()
            .map(|event| {
                let text = event.json().to_string();
                let wire: v1::Interaction = json::read(text.as_bytes()).expect("the event follows the contract");
                let value = wire.encode_to_vec();
                self.received_at += 1;
                NewRecord::of(&wire, value, self.received_at)
            })
            .collect();
        self.append(records).await
    }

    /// Appends any records.
    pub(crate) async fn append(&self, records: Vec<NewRecord>) -> Position {
        let mut position = Position { log_id: self.log.log_id(), ..Position::default() };
        for appended in self.appender.append(Topic::Log, records).await {
            let (partition, offset) = appended.expect("Kafka takes the record");
            position.appended(partition, offset);
        }
        position
    }

    /// Asks at a position, waiting as long as may be.
    pub(crate) async fn get_at(&self, path: &str, position: &Position) -> Answer {
        self.send(path, &[("rapport-position", &position.token())]).await
    }

    /// Asks for the page of a customer that must be there.
    pub(crate) async fn page(&self, reference: &str, position: &Position) -> Value {
        let answer = self.get_at(&format!("/api/v1/customers/{reference}"), position).await;
        assert_eq!(answer.status, 200, "{reference}: {}", answer.body);
        answer.body
    }

    /// Asks for what is no JSON.
    pub(crate) async fn text_at(&self, path: &str, position: &Position) -> Text {
        let request = self.http.get(format!("http://{}{path}", self.query.addr()));
        let response = request.header("rapport-position", position.token()).send().await.expect("it answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Text { status, headers, body: response.text().await.expect("the body is text") }
    }

    /// Posts JSON at a position.
    pub(crate) async fn post_at(&self, path: &str, body: &Value, position: &Position) -> Answer {
        let request = self.http.post(format!("http://{}{path}", self.query.addr())).body(body.to_string());
        let response = request.header("rapport-position", position.token()).send().await.expect("it answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.json().await.expect("the body is JSON") }
    }

    /// Waits until the query service is ready, the views over more than one model made.
    pub(crate) async fn ready(&self) {
        let waiting = async {
            while !self.query.health().is_ready() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(waited.is_ok(), "{:?}", self.query.health().snapshot());
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(path, &[]).await
    }

    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(&self.http, &self.query, path, headers).await
    }

    /// Ends everything in good order.
    pub(crate) async fn stop(self) {
        self.query.shut_down();
        self.query.stopped().await;
        for projector in self.projectors {
            projector.stop(Duration::from_secs(10)).await.expect("a projector ends well");
        }
    }
}

/// A statement with the names of the stable views in it.
pub(crate) fn named(statement: &str) -> String {
    ["sales", "service", "customer360"]
        .iter()
        .fold(statement.to_owned(), |text, name| text.replace(&format!("{{{name}}}"), name))
}

pub(crate) async fn start_query(database_url: &str, log: LogOptions, change: impl FnOnce(&mut Options)) -> Handle {
    let mut options = Options {
        listen: SocketAddr::from(ANY_PORT),
        // Two cores may be busy with other tests: a position is waited for longer than a user would.
        wait_default: Duration::from_secs(60),
        ..Options::new(database_url, log)
    };
    change(&mut options);
    query::start(options, CancellationToken::new()).await.expect("the query service starts")
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(90)).build().expect("a client")
}

/// An answer that is text.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Text {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header is text"))
    }
}

pub(crate) async fn ask(http: &reqwest::Client, query: &Handle, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http.get(format!("http://{}{path}", query.addr()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("the query service answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await.expect("the body is whole");
    let body = serde_json::from_slice(&bytes).expect("every answer is JSON");
    let answer = Answer { status, headers, body };
    // What holds for every answer.
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    let kind = if status == 200 { "application/json" } else { "application/problem+json" };
    assert_eq!(answer.header("content-type"), Some(kind), "{path}");
    if status == 503 {
        let seconds = answer.header("retry-after").and_then(|s| s.parse::<u32>().ok());
        assert!(seconds.is_some_and(|s| s > 0), "{path}: 503 says when to ask again");
    }
    answer
}
