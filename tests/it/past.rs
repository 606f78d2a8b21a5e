//! What was answered once is answered again: pages and timelines kept with their positions, asked for with `known_at` after
//! more has come: late events, differing copies, voids, links and their ends. And what had occurred by a time is what was known
//! where everything came in order.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use domain::{Interaction, Position};
use event_log::{Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use projection::{Projector, ProjectorOptions};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use prost::Message as _;
use rand::{SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rapport_proto::v1;
use serde_json::Value;
use system_tests::history::{Recorded, history, recorded};
use tokio_util::sync::CancellationToken;

/// Events of the history, pages kept of it, and events that come once they are kept; `RAPPORT_TEST_PAGES=1000` and
/// `RAPPORT_TEST_EVENTS=100000` are the long round.
const PAGES: usize = 120;
const EVENTS_BEHIND: usize = 1_500;
/// After each of so many steps some pages are kept.
const STEPS: usize = 20;
const EVENTS_KEPT_OF: usize = 400;

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

struct World {
    log: Log,
    appender: Appender,
    query: query::Handle,
    projectors: Vec<Projector>,
    http: reqwest::Client,
}

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    position: String,
    body: String,
}

impl World {
    async fn start() -> Self {
        let backbone = test_kit::backbone().await;
        let options = LogOptions {
            topic: backbone.topic("interactions"),
            rejected_topic: backbone.topic("rejected"),
            partitions: 3,
            ..LogOptions::new(&backbone.kafka)
        };
        let log = Log::open_or_create(&options).await.expect("the log is created");
        let appender = Appender::open(&log, AppenderOptions::default()).expect("an appender opens");
        let projecting = || ProjectorOptions::new(&backbone.database_url);
        let projectors = vec![
            Projector::start(Sales, log.clone(), projecting()).await.expect("sales starts"),
            Projector::start(Service, log.clone(), projecting()).await.expect("service starts"),
            Projector::start(Customer360::new(*log.namespace()), log.clone(), projecting())
                .await
                .expect("customer360 starts"),
        ];
        let asking = query::Options {
            listen: ([127, 0, 0, 1], 0).into(),
            wait_default: Duration::from_secs(60),
            ..query::Options::new(&backbone.database_url, options)
        };
        let query = query::start(asking, CancellationToken::new()).await.expect("the query service starts");
        let http = reqwest::Client::builder().timeout(Duration::from_secs(90)).build().expect("a client");
        Self { log, appender, query, projectors, http }
    }

    async fn append(&self, records: &[Recorded]) -> Position {
        let records = records.iter().map(|r| {
            let wire = v1::Interaction::decode(&r.value[..]).expect("a record of ours");
            NewRecord::of(&wire, r.value.clone(), r.received_at)
        });
        let mut position = Position { log_id: self.log.log_id(), ..Position::default() };
        for appended in self.appender.append(Topic::Log, records.collect()).await {
            let (partition, offset) = appended.expect("Kafka takes the record");
            position.appended(partition, offset);
        }
        position
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut url = reqwest::Url::parse(&format!("http://{}/api/v1/customers", self.query.addr())).expect("a URL");
        url.path_segments_mut().expect("a path").extend(path.split('/'));
        let response = self.http.get(url).query(parameters).send().await.expect("it answers");
        let status = response.status().as_u16();
        let position = response.headers().get("rapport-position").map(|v| v.to_str().expect("text").to_owned());
        let body = response.text().await.expect("the body is text");
        Answer { status, position: position.unwrap_or_default(), body }
    }

    async fn stop(self) {
        self.query.shut_down();
        self.query.stopped().await;
        for projector in self.projectors {
            projector.stop(Duration::from_secs(10)).await.expect("a projector ends well");
        }
    }
}

/// Whom these records name: what one may ask for.
fn references(records: &[Recorded], log: &Log) -> Vec<String> {
    let mut found = BTreeSet::new();
    for record in records {
        let read = Interaction::decode(&record.value, record.received_at, log.namespace()).expect("a record of ours");
        for subject in read.subject.iter() {
            found.insert(subject.id.to_string());
            found.extend(subject.identifiers.iter().map(ToString::to_string));
        }
        found.extend(read.participants.iter().chain(&read.groups).map(ToString::to_string));
    }
    found.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_once_given_is_given_again() {
    let (pages, behind) = (setting("RAPPORT_TEST_PAGES", PAGES), setting("RAPPORT_TEST_EVENTS", EVENTS_BEHIND));
    let world = World::start().await;
    let records = history(77, EVENTS_KEPT_OF);
    let mut rng = StdRng::seed_from_u64(4);
    let (mut kept, mut told) = (Vec::new(), 0);
    let step = records.len().div_ceil(STEPS);
    for piece in records.chunks(step) {
        told += piece.len();
        let position = world.append(piece).await.token();
        let known = references(&records[..told], &world.log);
        for _ in 0..pages.div_ceil(STEPS) {
            let reference = known.choose(&mut rng).expect("somebody is known");
            for path in [reference.clone(), format!("{reference}/timeline")] {
                let answer = world.ask(&path, &[("position", &position)]).await;
                assert!(matches!(answer.status, 200 | 300 | 404), "{path}: {answer:?}");
                kept.push((path, answer));
            }
        }
    }
    // More of the same people, some of it earlier, some of it taking back or contradicting what is kept.
    let mut last = String::new();
    for seed in 0..behind.div_ceil(EVENTS_KEPT_OF) as u64 {
        let more: Vec<Recorded> = history(100 + seed, EVENTS_KEPT_OF).into_iter().take(behind).collect();
        // Copies of events that came before; further events of the same people; and, most of it, other people's.
        let told = more.into_iter().map(|record| match seed {
            0..10 if seed % 2 == 0 => record,
            0..10 => renamed(record, seed),
            _ => of_others(record, seed),
        });
        last = world.append(&told.collect::<Vec<_>>()).await.token();
    }
    // A long round takes longer than one may wait at once.
    let mut waits = 0;
    while world.ask("email:nobody@example.com", &[("position", &last)]).await.status == 503 {
        waits += 1;
        assert!(waits < 30, "the models do not get there");
    }
    let (mut changed, mut pages) = (0, 0);
    for (path, answer) in &kept {
        let again = world.ask(path, &[("known_at", &answer.position), ("position", &last)]).await;
        if answer.status == 200 {
            assert_eq!(answer, &again, "{path} at {}", answer.position);
            pages += 1;
        } else {
            assert_eq!(again.status, answer.status, "{path} at {}: {again:?}", answer.position);
        }
        let now = world.ask(path, &[("position", &last)]).await;
        changed += usize::from(without_positions(&now) != without_positions(answer));
    }
    println!("{pages} pages and timelines of {} are given again as they were; {changed} are others today", kept.len());
    assert!(pages > kept.len() / 2 && changed > kept.len() / 2, "{pages}, {changed}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_occurred_is_what_was_known_where_all_came_in_order() {
    let world = World::start().await;
    // One copy of each event, in order of time.
    let mut seen = HashSet::new();
    let mut records: Vec<(i64, Recorded)> = history(78, EVENTS_KEPT_OF)
        .into_iter()
        .filter_map(|record| {
            let read = Interaction::decode(&record.value, record.received_at, world.log.namespace()).expect("ours");
            seen.insert(read.event_id).then_some((read.occurred_at, record))
        })
        .collect();
    records.sort_by_key(|(at, _)| *at);
    let mut rng = StdRng::seed_from_u64(5);
    let mut kept = Vec::new();
    let mut at = 0;
    while at < records.len() {
        let time = records[(at + 20).min(records.len() - 1)].0;
        let end = records.partition_point(|(occurred_at, _)| *occurred_at <= time);
        let piece: Vec<Recorded> = records[at..end].iter().map(|(_, r)| r.clone()).collect();
        at = end;
        let position = world.append(&piece).await.token();
        let told: Vec<Recorded> = records[..end].iter().map(|(_, r)| r.clone()).collect();
        let known = references(&told, &world.log);
        let time = domain::time::format(time).expect("a time");
        for _ in 0..4 {
            let reference = known.choose(&mut rng).expect("somebody is known").clone();
            for path in [reference.clone(), format!("{reference}/timeline")] {
                kept.push((path.clone(), time.clone(), world.ask(&path, &[("position", &position)]).await));
            }
        }
    }
    let mut pages = 0;
    for (path, time, answer) in &kept {
        let again = world.ask(path, &[("valid_at", time)]).await;
        assert_eq!(again.status, answer.status, "{path} at {time}: {again:?}");
        if answer.status == 200 {
            pages += 1;
            assert_eq!(without_positions(&again), without_positions(answer), "{path} at {time}");
        }
    }
    assert!(pages > kept.len() / 2, "{pages}");
    world.stop().await;
}

/// The same event under another id.
fn renamed(record: Recorded, seed: u64) -> Recorded {
    let mut wire = v1::Interaction::decode(&record.value[..]).expect("a record of ours");
    wire.id = Some(format!("{}-{seed}", wire.id()));
    Recorded { value: wire.encode_to_vec(), ..record }
}

/// The same of other people and other orders, cases and carts.
fn of_others(record: Recorded, seed: u64) -> Recorded {
    let wire = v1::Interaction::decode(&record.value[..]).expect("a record of ours");
    let mut text = String::from_utf8(rapport_proto::json::write(&wire, Vec::new())).expect("JSON");
    for kind in [
        "customer_no:",
        "user_id:",
        "email:",
        "device_id:",
        "anonymous_id:",
        "card:",
        "external.crm:",
        "_id\":\"",
        "\"id\":\"",
    ] {
        text = text.replace(kind, &format!("{kind}s{seed}-"));
    }
    let event: Value = serde_json::from_str(&text).expect("JSON still");
    recorded(&event, record.received_at)
}

fn without_positions(answer: &Answer) -> Value {
    let mut body: Value = serde_json::from_str(&answer.body).expect("every answer is JSON");
    if let Some(members) = body.as_object_mut() {
        members.remove("positions");
    }
    body
}
