//! A load that knows what was acknowledged, and the check that each of it is there exactly once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::ids::event_id;
use event_log::{Log, LogOptions, RangeReader, Start, Topic};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    compare::compare,
    history::Recorded,
    oracle::{self, Set},
    stack::Stack,
};

/// Events of one request.
const BATCH: usize = 20;
/// What a request may take: above any deadline of the collector's in these tests.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);
/// Pause of a client that got no answer.
const PAUSE: Duration = Duration::from_millis(50);
/// What the read models may take to reach the log's end once the faults are over.
const CATCH_UP: Duration = Duration::from_secs(120);

/// A running load: some clients that publish batches, and publish each again until all of it is acknowledged.
pub struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<Uuid>>>,
    refused: Arc<AtomicU64>,
    stall: Arc<Mutex<Duration>>,
    clients: JoinSet<()>,
}

/// What a load came to.
#[derive(Debug)]
pub struct Report {
    /// Ids of acknowledged events.
    pub acknowledged: BTreeSet<Uuid>,
    /// Requests that got 429, 503 or no answer.
    pub refused: u64,
    /// The longest time any client went without an acknowledgement.
    pub longest_stall: Duration,
}

impl Load {
    /// Starts `clients` clients.
    pub fn start(stack: &Stack, clients: u64) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            acknowledged: Arc::default(),
            refused: Arc::default(),
            stall: Arc::default(),
            clients: JoinSet::new(),
        };
        let (url, http) = (stack.collector("/events"), stack.http.clone());
        for client in 0..clients {
            let (url, http, stop) = (url.clone(), http.clone(), Arc::clone(&load.stop));
            let (acknowledged, refused, stall) =
                (Arc::clone(&load.acknowledged), Arc::clone(&load.refused), Arc::clone(&load.stall));
            load.clients.spawn(async move {
                let mut rng = StdRng::seed_from_u64(client);
                let mut last = Instant::now();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let batch: Vec<Value> = (0..BATCH).map(|i| event(&mut rng, &format!("{client}-{n}-{i}"))).collect();
                    let body = Value::from(batch).to_string();
                    // The same batch again until every event of it is acknowledged: copies do no harm.
                    loop {
                        let request = http
                            .post(&url)
                            .header("content-type", "application/cloudevents-batch+json")
                            .body(body.clone());
                        let ids = match request.timeout(REQUEST_TIMEOUT).send().await {
                            Ok(answer) => {
                                let answer: Value = answer.json().await.unwrap_or_default();
                                accepted(&answer)
                            }
                            Err(_) => Vec::new(),
                        };
                        let all = ids.len() == BATCH;
                        if !ids.is_empty() {
                            acknowledged
                                .lock()
                                .expect("no client panics")
                                .extend(ids.iter().map(|id| event_id("load", id)));
                            let mut longest = stall.lock().expect("no client panics");
                            *longest = (*longest).max(last.elapsed());
                            last = Instant::now();
                        }
                        if all {
                            break;
                        }
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            });
        }
        load
    }

    /// How many events are acknowledged by now.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("no client panics").len()
    }

    /// Ends the load once each client's last batch is acknowledged.
    pub async fn stop(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client does not panic");
        }
        let acknowledged = self.acknowledged.lock().expect("no client panics").clone();
        let longest_stall = *self.stall.lock().expect("no client panics");
        Report { acknowledged, refused: self.refused.load(Ordering::Relaxed), longest_stall }
    }
}

fn accepted(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().into_iter().flatten();
    results.filter(|r| r["status"] == "accepted").filter_map(|r| r["id"].as_str().map(str::to_owned)).collect()
}

/// Something that happened to one of 200 customers.
pub(crate) fn event(rng: &mut StdRng, id: &str) -> Value {
    let customer = rng.random_range(0..200);
    let mut event = json!({"specversion": "1.0", "source": "load", "id": id,
                           "time": domain::time::format(crate::history::START + rng.random_range(0..86_400) * 1_000_000)});
    event["subject"] = match rng.random_range(0..3) {
        0 => format!("email:c{customer}@example.com"),
        1 => format!("user_id:c{customer}"),
        _ => format!("phone:+4930{}", 1_000_000 + customer),
    }
    .into();
    let entity = rng.random_range(0..500).to_string();
    let (kind, data) = match rng.random_range(0..10) {
        0..3 => ("web.page.viewed", json!({"url": "https://shop.example/"})),
        3 | 4 => {
            let line = json!({"sku": "A", "quantity": 2, "unit_price": {"amount_minor": rng.random_range(1..9_999), "currency": "EUR"}});
            ("order.placed", json!({"order_id": entity, "lines": [line]}))
        }
        5 => (
            "payment.recorded",
            json!({"order_id": entity, "kind": "captured", "amount": {"amount_minor": 500, "currency": "EUR"}}),
        ),
        6 => ("case.opened", json!({"case_id": entity, "title": "It broke", "priority": "high"})),
        7 => ("case.changed", json!({"case_id": entity, "status": "solved"})),
        8 => ("call.ended", json!({"call_id": entity, "disposition": "answered", "duration_s": 60})),
        _ => {
            event["identifiers"] = format!("user_id:c{customer}").into();
            ("customer.profile.updated", json!({"fields": {"name": format!("Customer {customer}")}}))
        }
    };
    (event["type"], event["data"]) = (kind.into(), data);
    event
}

/// Waits until the three models have reached the log's end, reads the whole log, and holds every table against the
/// oracle: each acknowledged event is in the log, and counted exactly once.
pub async fn check(stack: &Stack, acknowledged: &BTreeSet<Uuid>) {
    let log = Log::open(&LogOptions::new(stack.kafka())).await.expect("the log can be read");
    let ends = log.ends().await.expect("the log's ends");
    caught_up(stack, domain::Position::new(log.log_id(), ends)).await;
    let set = set(&log).await;
    let present: BTreeSet<Uuid> = set.counted.iter().map(|e| e.event_id).collect();
    let lost: Vec<_> = acknowledged.difference(&present).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are not in the log", lost.len(), acknowledged.len());
    compare_all(&stack.database_url(), &set, &log).await;
}

/// Waits until the three models in a database have reached the log's end, and holds every table against the oracle.
pub async fn check_database(stack: &Stack, database_url: &str) {
    let log = Log::open(&LogOptions::new(stack.kafka())).await.expect("the log can be read");
    let ends = log.ends().await.expect("the log's ends");
    let end = Instant::now() + CATCH_UP;
    loop {
        let mut connection = PgConnection::connect(database_url).await.expect("PostgreSQL answers");
        // Before the first projector has set things up there is nothing to be read.
        let reached = projection::positions::read(&mut connection).await.unwrap_or_default();
        if reached.len() == 3 && reached.values().all(|model| *model == ends) {
            break;
        }
        assert!(Instant::now() < end, "the models have not reached {ends:?} after {CATCH_UP:?}: {reached:?}");
        tokio::time::sleep(PAUSE).await;
    }
    compare_all(database_url, &set(&log).await, &log).await;
}

/// The whole log.
async fn set(log: &Log) -> Set {
    let mut records = Vec::new();
    let mut reader = RangeReader::open(log, Topic::Log, Start::Beginning, false).await.expect("the log can be read");
    while let Some(read) = reader.next().await.expect("the log can be read") {
        records.extend(read.into_iter().filter(|r| !r.created).map(|r| Recorded {
            key: String::new(),
            received_at: r.received_at,
            value: r.value.to_vec(),
        }));
    }
    Set::new(&records, log.namespace())
}

async fn compare_all(database_url: &str, set: &Set, log: &Log) {
    let mut connection = PgConnection::connect(database_url).await.expect("PostgreSQL answers");
    let mut differences: BTreeMap<&str, String> = BTreeMap::new();
    differences.insert("sales", compare(&mut connection, &Sales, &oracle::sales::rows(set)).await.differences);
    differences.insert("service", compare(&mut connection, &Service, &oracle::service::rows(set)).await.differences);
    let customer360 = oracle::customer360::rows(set, log.namespace());
    differences.insert(
        "customer360",
        compare(&mut connection, &Customer360::new(*log.namespace()), &customer360).await.differences,
    );
    for (model, differing) in differences {
        assert!(differing.is_empty(), "{model} differs from what the log says:\n{differing}");
    }
}

/// Asks the query service at a position until it answers.
pub async fn caught_up(stack: &Stack, position: domain::Position) {
    let end = Instant::now() + CATCH_UP;
    let path = format!("/api/v1/models?position={}&wait_ms=5000", position.token());
    loop {
        let answer = stack.http.get(stack.query(&path)).send().await;
        if answer.as_ref().is_ok_and(|a| a.status().is_success()) {
            return;
        }
        assert!(Instant::now() < end, "the models have not reached the log's end after {CATCH_UP:?}: {answer:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
