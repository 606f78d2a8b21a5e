//! The recorder: publishes over HTTP as clients do, sends again what was not acknowledged, and notes all that was.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{Interaction, Namespace, Position, position::Offsets};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::stream::Stream;
use crate::{history, stack::Stack};

/// Clients that publish at the same time.
const CLIENTS: u64 = 3;
/// Between two batches of a client: the projectors of a debug build are to keep up on two cores.
const PACE: Duration = Duration::from_millis(150);
/// Before a client sends again.
const PAUSE: Duration = Duration::from_millis(50);
/// What a request may take: above any deadline of the collector's here.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);
/// A client that hangs up has waited this long at most.
const IMPATIENT_MS: u64 = 20;
/// Complaints that are kept.
const COMPLAINTS_MAX: usize = 20;

/// An event's id and the hash of its contents: copies with other contents are versions of their own.
pub(super) type Version = (Uuid, [u8; 32]);

/// What clients have seen.
#[derive(Default)]
pub(super) struct Book {
    /// The position that acknowledged each first.
    pub(super) acknowledged: BTreeMap<Version, Arc<Position>>,
    /// Everything acknowledged lies before these.
    pub(super) ends: Offsets,
    /// When something was acknowledged last.
    pub(super) last: Option<Instant>,
    /// Rejection id -> the event, which can never be accepted as it is.
    pub(super) rejected: BTreeMap<String, Value>,
    /// Requests answered 429 or 503.
    pub(super) refused: u64,
    /// Requests without an answer: cut by either side.
    pub(super) cut: u64,
    /// Events sent, copies and repetitions among them.
    pub(super) sent: u64,
    /// Answers that should not have been.
    pub(super) complaints: Vec<String>,
}

impl Book {
    fn complain(&mut self, complaint: String) {
        if self.complaints.len() < COMPLAINTS_MAX {
            self.complaints.push(complaint);
        }
    }
}

/// Publishes, and notes what comes of it. Clones share one book.
#[derive(Clone)]
pub(super) struct Publisher {
    url: String,
    http: reqwest::Client,
    book: Arc<Mutex<Book>>,
    probes: Arc<AtomicU64>,
}

impl Publisher {
    fn new(stack: &Stack) -> Self {
        Self::to(stack, &stack.collector(""))
    }

    /// To the collector at this address.
    pub(super) fn to(stack: &Stack, address: &str) -> Self {
        Self {
            url: format!("{address}/events"),
            http: stack.http.clone(),
            book: Arc::default(),
            probes: Arc::default(),
        }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes an event of its own until it is acknowledged; returns where that is.
    pub(super) async fn probe(&self) -> Position {
        let n = self.probes.fetch_add(1, Ordering::Relaxed);
        let probe = json!({"specversion": "1.0", "source": "probe", "id": n.to_string(), "type": "order.placed",
            "time": "2026-03-01T10:00:00Z", "subject": "email:probe@example.com",
            "data": {"order_id": format!("probe-{n}"), "lines": []}});
        let version = version(&probe).expect("a probe is well formed");
        self.publish(vec![probe]).await;
        let book = self.book();
        let position = book.acknowledged.get(&version);
        Position::clone(position.expect("a probe is an event like any other"))
    }

    /// Publishes events until each is acknowledged or rejected.
    pub(super) async fn publish(&self, mut left: Vec<Value>) {
        while !left.is_empty() {
            left = self.publish_once(left, REQUEST_TIMEOUT).await;
            if !left.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// One request. Returns what is to be sent again.
    pub(super) async fn publish_once(&self, events: Vec<Value>, timeout: Duration) -> Vec<Value> {
        self.book().sent += events.len() as u64;
        let body = Value::from(events.clone()).to_string();
        let request = self.http.post(&self.url).header("content-type", "application/cloudevents-batch+json").body(body);
        let answered = async {
            let answer = request.timeout(timeout).send().await?;
            let (status, has_retry_after) = (answer.status(), answer.headers().contains_key("retry-after"));
            Ok::<_, reqwest::Error>((status, has_retry_after, answer.text().await?))
        };
        match answered.await {
            Ok((status, has_retry_after, text)) => {
                let body = serde_json::from_str(&text).unwrap_or_default();
                note(&mut self.book(), events, status, has_retry_after, &body)
            }
            Err(_) => {
                self.book().cut += 1;
                events
            }
        }
    }
}

/// Notes an answer. Returns what is to be sent again.
fn note(book: &mut Book, events: Vec<Value>, status: StatusCode, has_retry_after: bool, body: &Value) -> Vec<Value> {
    let is_refusal = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if is_refusal {
        book.refused += 1;
        if !has_retry_after {
            book.complain(format!("{status} without Retry-After: {body}"));
        }
    }
    let position = body["position"].as_str().and_then(|token| Position::parse(token).ok()).map(Arc::new);
    let results = body["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    if results.len() != events.len() {
        // Refused before it was looked at; anything else that says nothing of each event is no answer to a batch.
        if !(is_refusal && results.is_empty()) {
            book.complain(format!("{status} for {} events: {body}", events.len()));
        }
        return events;
    }
    let mut left = Vec::new();
    for (event, result) in events.into_iter().zip(results) {
        match (result["status"].as_str(), &position) {
            (Some("accepted"), Some(position)) if result["id"] == event["id"] => acknowledged(book, &event, position),
            (Some("rejected"), _) => match result["rejection_id"].as_str() {
                Some(id) => _ = book.rejected.insert(id.to_owned(), event),
                None => book.complain(format!("{event} was rejected without a rejection id: {result}")),
            },
            (Some("retry"), _) => {
                if !is_refusal {
                    book.complain(format!("retry in an answer {status}: {body}"));
                }
                left.push(event);
            }
            _ => {
                book.complain(format!("{event} was answered {result}, at {position:?}"));
                left.push(event);
            }
        }
    }
    left
}

fn acknowledged(book: &mut Book, event: &Value, position: &Arc<Position>) {
    match version(event) {
        Ok(version) => _ = book.acknowledged.entry(version).or_insert_with(|| Arc::clone(position)),
        Err(faults) => book.complain(format!("{event} was accepted in spite of {faults}")),
    }
    for (partition, next) in &position.next {
        let end = book.ends.entry(*partition).or_default();
        *end = (*end).max(*next);
    }
    book.last = Some(Instant::now());
}

/// What has to stand in the log once an event is acknowledged.
fn version(event: &Value) -> Result<Version, String> {
    let (_, value) = history::appended(event)?;
    // Neither depends on the log or on when it came.
    let read = Interaction::decode(&value, 0, &Namespace::new(Uuid::nil())).map_err(|error| error.to_string())?;
    Ok((read.event_id, read.hash))
}

/// Clients that publish the stream.
pub(super) struct Recorder {
    pub(super) publisher: Publisher,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Recorder {
    pub(super) fn start(stack: &Stack, seed: u64) -> Self {
        let (publisher, stop) = (Publisher::new(stack), Arc::new(AtomicBool::new(false)));
        let stream = Arc::new(Mutex::new(Stream::new(seed)));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let rng = StdRng::seed_from_u64(seed ^ (client + 1));
            clients.spawn(publishing(publisher.clone(), Arc::clone(&stream), Arc::clone(&stop), rng));
        }
        Self { publisher, stop, clients }
    }

    /// Ends it once each client's last batch is acknowledged.
    pub(super) async fn stop(mut self) -> Book {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("a client does not panic");
        }
        std::mem::take(&mut self.publisher.book())
    }
}

async fn publishing(publisher: Publisher, stream: Arc<Mutex<Stream>>, stop: Arc<AtomicBool>, mut rng: StdRng) {
    while !stop.load(Ordering::Relaxed) {
        let mut batch = stream.lock().unwrap_or_else(PoisonError::into_inner).batch();
        if rng.random_bool(0.02) {
            // Hangs up: what came of it is not known, so all of it is sent again.
            let patience = Duration::from_millis(rng.random_range(1..IMPATIENT_MS));
            batch = publisher.publish_once(batch, patience).await;
        }
        publisher.publish(batch).await;
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, has_retry_after: bool, body: Value) -> (Book, usize) {
        let mut book = Book::default();
        let event = |id: &str| {
            json!({"specversion": "1.0", "source": "s", "id": id, "type": "order.placed",
            "time": "2026-03-01T10:00:00Z", "data": {"order_id": id, "lines": []}})
        };
        let events = vec![event("a"), event("b")];
        let status = StatusCode::from_u16(status).expect("a status");
        let left = note(&mut book, events, status, has_retry_after, &body).len();
        (book, left)
    }

    fn results(statuses: [&str; 2]) -> Value {
        json!({"position": Position::new(Uuid::nil(), Offsets::from([(0, 3)])).token(),
               "results": [{"id": "a", "status": statuses[0]},
                           {"id": "b", "status": statuses[1], "rejection_id": "0-7"}]})
    }

    #[test]
    fn what_was_acknowledged_is_noted_and_what_was_not_is_left() {
        for (status, statuses, acknowledged, rejected, left) in [
            (200, ["accepted", "accepted"], 2, 0, 0),
            (207, ["accepted", "rejected"], 1, 1, 0),
            (503, ["accepted", "retry"], 1, 0, 1),
            (429, ["retry", "retry"], 0, 0, 2),
        ] {
            let (book, still) = told(status, true, results(statuses));
            let counts = (book.acknowledged.len(), book.rejected.len(), still);
            assert_eq!(counts, (acknowledged, rejected, left), "{status} {statuses:?}");
            assert_eq!(book.complaints, Vec::<String>::new());
            assert_eq!(book.ends.get(&0), (acknowledged > 0).then_some(&3));
        }
        let (book, left) = told(503, true, json!({"detail": "not now"}));
        assert_eq!((left, book.refused, book.complaints.len()), (2, 1, 0), "a refusal as a whole");
    }

    #[test]
    fn answers_that_should_not_be_are_complained_of() {
        for (status, has_retry_after, body) in [
            (429, false, results(["retry", "retry"])),
            (200, true, results(["accepted", "retry"])),
            (500, true, json!({})),
            (200, true, json!({"results": results(["accepted", "accepted"])["results"]})),
            (207, true, results(["rejected", "accepted"])),
        ] {
            let (book, _) = told(status, has_retry_after, body.clone());
            assert!(!book.complaints.is_empty(), "{status} {body}");
        }
    }
}
