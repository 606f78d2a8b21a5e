//! What clients do: records that no fold can take, half-sent requests, far too many of them.

use std::time::Duration;

use domain::{identifier::Normalizer, receipt};
use event_log::{Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use prost::Message;
use rand::RngCore;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{Injected, World, recorder::Publisher, rival::PATIENCE};
use crate::history::START;

/// Records of each kind of poison.
const POISON: usize = 3;
/// More linking identifiers than one event may name.
const CROWD: usize = 300;
/// An entity's id that is longer than an index entry may be.
const LONG_ID: usize = 4_000;
/// Connections of each kind of slow client.
const SLOW: usize = 50;
/// A publish beside slow clients is answered in this time, however busy the machine.
const BESIDE: Duration = Duration::from_secs(20);
/// Clients that publish as fast as they can …
const FLOODING: usize = 16;
/// … so many requests each, …
const FLOODS: usize = 3;
/// … each of so many events, with so many bytes of text: three times the producer's queue in one request, and fifty
/// times in all of them at once.
const FLOOD_EVENTS: usize = 400;
const FLOOD_BYTES: usize = 8_000;
/// What one such request may take.
const FLOOD_TIMEOUT: Duration = Duration::from_secs(60);

/// Appends records that a collector would not have appended, straight to the log.
pub(super) async fn poison(world: &mut World) -> Injected {
    let log = Log::open(&LogOptions::new(world.stack.kafka())).await.expect("the log can be written");
    let appender = Appender::open(&log, AppenderOptions::default()).expect("Kafka answers");
    let mut records = Vec::new();
    for n in 0..POISON {
        let mut garbage = vec![0xff; 64];
        world.rng.fill_bytes(&mut garbage[1..]);
        records.push(NewRecord::new(format!("poison-{n}"), garbage));
        let name = world.name("poison");
        records.push(record(&name, |event| {
            let crowd: Vec<String> = (0..CROWD).map(|i| format!("user_id:{name}-{i}")).collect();
            event["identifiers"] = crowd.join(",").into();
        }));
        let name = world.name("poison");
        records.push(record(&name, |event| event["data"]["order_id"] = "x".repeat(LONG_ID).into()));
    }
    let count = records.len() as u64;
    for appended in appender.append(Topic::Log, records).await {
        world.poison.insert(appended.expect("Kafka takes it"));
    }
    Injected::Times(count)
}

/// A valid event, but for what is `changed`.
fn record(id: &str, changed: impl Fn(&mut Value)) -> NewRecord {
    let mut event = json!({"specversion": "1.0", "source": "poison", "id": id, "type": "order.placed",
        "time": "2026-03-01T10:00:00Z", "data": {"order_id": id, "lines": []}});
    changed(&mut event);
    let mut wire = rapport_proto::json::read(event.to_string().as_bytes()).expect("the contract allows it");
    receipt::normalize(&mut wire, &Normalizer::new("DE", &[]).expect("DE is a region"));
    let value = wire.encode_to_vec();
    NewRecord::of(&wire, value, START)
}

/// Some send half a header, some half a body, some never read their answers. Others are answered meanwhile, and the halves
/// of headers are given up in time.
pub(super) async fn slow(world: &mut World) -> Injected {
    let address = world.stack.collector("").replace("http://", "");
    let header = "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\n";
    let whole = json!({"specversion": "1.0", "source": "slow", "id": "1", "type": "web.page.viewed",
        "data": {"url": "https://shop.example/"}})
    .to_string();
    let half_body = format!("{header}Content-Length: 500\r\n\r\n{{\"spec");
    let unread = format!("{header}Content-Length: {}\r\n\r\n{whole}", whole.len()).repeat(20);
    let (mut halves, mut others) = (Vec::new(), Vec::new());
    for _ in 0..SLOW {
        halves.push(sending(&address, header).await);
        others.push(sending(&address, &half_body).await);
        others.push(sending(&address, &unread).await);
    }
    let beside = tokio::time::timeout(BESIDE, world.publisher.probe()).await;
    assert!(beside.is_ok(), "slow clients keep others waiting");
    for half in &mut halves {
        let given_up = async {
            let mut answer = [0; 1024];
            // What comes before the end is an answer that says why.
            while matches!(half.read(&mut answer).await, Ok(1..)) {}
        };
        assert!(tokio::time::timeout(PATIENCE, given_up).await.is_ok(), "half a header keeps its connection");
    }
    Injected::Times((halves.len() + others.len()) as u64)
}

async fn sending(address: &str, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(text.as_bytes()).await.expect("it is taken");
    stream
}

/// Far more than the queue to Kafka takes, from many at once. What does not fit is refused with 429 or 503, each with
/// Retry-After (the recorder looks); what was acknowledged is among what the judge looks for.
pub(super) async fn flood(world: &mut World) -> Injected {
    let refused = world.publisher.book().refused;
    let mut flooding = JoinSet::new();
    for client in 0..FLOODING {
        let name = world.name(&format!("flood_{client}"));
        flooding.spawn(flood_from(world.publisher.clone(), name));
    }
    while let Some(client) = flooding.join_next().await {
        client.expect("a client does not panic");
    }
    let refused = world.publisher.book().refused - refused;
    assert!(refused > 0, "{} requests of {FLOOD_EVENTS} events were all taken", FLOODING * FLOODS);
    Injected::Times((FLOODING * FLOODS) as u64)
}

async fn flood_from(publisher: Publisher, name: String) {
    let text = "x".repeat(FLOOD_BYTES);
    for request in 0..FLOODS {
        let event = |n: usize| {
            json!({"specversion": "1.0", "source": "flood", "id": format!("{name}-{request}-{n}"),
                "type": "com.example.flooded", "time": "2026-03-01T10:00:00Z", "subject": format!("user_id:{name}"),
                "data": {"text": text}})
        };
        // What is refused is not sent again: whoever floods does not care.
        publisher.publish_once((0..FLOOD_EVENTS).map(event).collect(), FLOOD_TIMEOUT).await;
    }
}
