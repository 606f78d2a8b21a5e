//! A demo into the collector, and on into the three read models.

use std::time::Duration;

use domain::Position;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::history::History;
use super::lives::marker;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::http;
use crate::publish::{Client, Sender, Verdict};

/// How long the query service may take to answer, the position's own wait included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one request waits for the position, milliseconds.
const WAIT_MS: u64 = 2000;

/// How often it is asked again where it did not wait by itself.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// How long the read models may stand still before the wait is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Of rejected events so many reasons are said.
const REASONS_MAX: usize = 5;

/// Which demo, and where to.
pub(crate) struct Demo {
    pub(crate) events: u64,
    pub(crate) seed: u64,
    /// The collector's address.
    pub(crate) collector: String,
    /// The query service's address.
    pub(crate) query: String,
}

/// How far a demo is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many of the events have been answered, at so many a second on the average.
    Publishing { done: u64, total: u64, per_second: u64 },
    /// So many records of the log are still to be folded, by the model that is the furthest behind.
    Folding { behind: u64 },
}

impl Step {
    /// A sentence, with what is left.
    pub(crate) fn say(self) -> String {
        match self {
            Self::Publishing { done, total, per_second } => {
                let left = (total - done).div_ceil(per_second.max(1));
                format!("{done} of {total} events, {per_second} a second, {left} s left")
            }
            Self::Folding { behind } => format!("published; the read models are {behind} events behind"),
        }
    }
}

impl Demo {
    /// Publishes it and waits until all three models have folded it. Answers with the position. Running it again does
    /// no harm: every event is one that is known.
    ///
    /// # Errors
    /// The collector takes nothing for long, or rejects an event; the models do not get there.
    pub(crate) async fn load(&self, told: &mut impl FnMut(Step)) -> Outcome<Position> {
        let position = self.publish(told).await?;
        self.fold(&position, told).await?;
        Ok(position)
    }

    /// Whether it has been loaded, to its end, at some time before.
    pub(crate) async fn is_loaded(&self) -> Outcome<bool> {
        let url = format!("{}/api/v1/customers/{}", self.query.trim_end_matches('/'), marker(self.seed));
        let answer = self.http()?.get(url).send().await.or_exit(Exit::Unavailable)?;
        Ok(answer.status() == StatusCode::OK)
    }

    fn http(&self) -> Outcome<reqwest::Client> {
        http::builder(&self.query).timeout(ANSWER_TIMEOUT).build().or_exit(Exit::Internal)
    }

    async fn publish(&self, told: &mut impl FnMut(Step)) -> Outcome<Position> {
        let client = Client::new(&self.collector, false)?;
        let mut answered = Answered { total: self.events, done: 0, rejected: Vec::new(), started: Instant::now() };
        let mut history = History::new(self.seed);
        // The first event goes last and alone: where it is known, so is the rest.
        let first = history.next().expect("a history does not end");
        let mut sender = Sender::new(client.clone());
        let rest = usize::try_from(self.events.saturating_sub(1)).unwrap_or(usize::MAX);
        for event in history.take(rest) {
            sender.push((), event, &mut |(), verdict| answered.hear(verdict, told)).await?;
        }
        let mut position = sender.finish(&mut |(), verdict| answered.hear(verdict, told)).await?;
        if answered.rejected.is_empty() {
            let mut sender = Sender::new(client);
            sender.push((), first, &mut |(), verdict| answered.hear(verdict, told)).await?;
            let last = sender.finish(&mut |(), verdict| answered.hear(verdict, told)).await?;
            position = joined(position, last);
        }
        answered.sentence()?;
        position.ok_or_else(|| Failure::new(Exit::Unavailable, "the collector answered without a position"))
    }

    async fn fold(&self, position: &Position, told: &mut impl FnMut(Step)) -> Outcome {
        let (http, token) = (self.http()?, position.token());
        let url = format!("{}/api/v1/models", self.query.trim_end_matches('/'));
        let mut advance = Advance::new(Instant::now());
        loop {
            let request = http.get(&url).query(&[("position", token.as_str()), ("wait_ms", &WAIT_MS.to_string())]);
            let reason = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    let body: Value = answer.json().await.unwrap_or_default();
                    if let Some(behind) = behind(&body) {
                        told(Step::Folding { behind });
                        advance.hear(behind, Instant::now());
                    }
                    body["detail"].as_str().unwrap_or("it is not available").to_owned()
                }
                Ok(answer) => {
                    let sentence = format_args!("{url} answered {} to the position {token}", answer.status());
                    return Err(Failure::new(Exit::Unavailable, sentence));
                }
                Err(error) => error.to_string(),
            };
            if advance.is_over(Instant::now()) {
                let sentence = format_args!(
                    "everything is published, but the read models have not moved for {} s ({reason}); `rapport status` \
                     shows where they stand",
                    PATIENCE.as_secs()
                );
                return Err(Failure::new(Exit::TryAgain, sentence));
            }
            tokio::time::sleep(ASK_INTERVAL).await;
        }
    }
}

/// The position that covers both.
fn joined(one: Option<Position>, other: Option<Position>) -> Option<Position> {
    let (Some(one), Some(mut both)) = (&one, other.clone()) else { return one.or(other) };
    for (partition, next) in &one.next {
        let known = both.next.entry(*partition).or_insert(*next);
        *known = (*known).max(*next);
    }
    Some(both)
}

/// How many records the last of the models is behind, by the body of a position that was not reached. `None` where the
/// body does not say it of all that have not reached it: the service is busy, or a model is not there yet.
fn behind(body: &Value) -> Option<u64> {
    let open = body["models"].as_array()?.iter().filter(|model| model["reached"] != true);
    let behind: Option<Vec<u64>> = open.map(|model| model["behind_events"].as_u64()).collect();
    behind?.into_iter().max()
}

/// How far the models have come, and when they last came further.
struct Advance {
    least_behind: Option<u64>,
    at: Instant,
}

impl Advance {
    fn new(now: Instant) -> Self {
        Self { least_behind: None, at: now }
    }

    /// The models are so far behind now.
    fn hear(&mut self, behind: u64, now: Instant) {
        if self.least_behind.is_none_or(|least| behind < least) {
            *self = Self { least_behind: Some(behind), at: now };
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.at) > PATIENCE
    }
}

/// What the collector has answered.
struct Answered {
    total: u64,
    done: u64,
    rejected: Vec<String>,
    started: Instant,
}

impl Answered {
    fn hear(&mut self, verdict: Verdict, told: &mut impl FnMut(Step)) {
        self.done += 1;
        if let Verdict::Rejected { reasons } = verdict {
            self.rejected.push(reasons.join("; "));
        }
        let elapsed_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let per_second = self.done.saturating_mul(1000) / elapsed_ms;
        told(Step::Publishing { done: self.done, total: self.total, per_second });
    }

    fn sentence(&self) -> Outcome {
        if self.rejected.is_empty() {
            return Ok(());
        }
        let reasons = self.rejected[..self.rejected.len().min(REASONS_MAX)].join("\n  ");
        let sentence = format_args!(
            "{} of the demo's events were rejected; is the collector of another version?\n  {reasons}",
            self.rejected.len()
        );
        Err(Failure::new(Exit::BadInput, sentence))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinSet;

    use super::*;

    /// Answers every request in turn, with status and body; the last answer again and again.
    async fn answering(answers: Vec<(u16, Value)>) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let (status, body) = &answers[answers.len().min(number + 1) - 1];
                let body = body.to_string();
                let head =
                    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        });
        (url, serving)
    }

    /// A collector that accepts everything and hands back the bodies, in the order in which they came.
    async fn collector() -> (String, Arc<Mutex<Vec<Vec<Value>>>>, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut serving) = (bodies.clone(), JoinSet::new());
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let body = Box::pin(body(&mut stream)).await;
                let events: Vec<Value> = serde_json::from_slice(&body).unwrap();
                let results = vec![json!({"status": "accepted"}); events.len()];
                let mut position = Position::new(uuid::Uuid::nil(), Default::default());
                position.appended(0, 7);
                let answer = json!({"results": results, "position": position.token()}).to_string();
                kept.lock().unwrap().push(events);
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
                stream.write_all((head + &answer).as_bytes()).await.unwrap();
            }
        });
        (url, bodies, serving)
    }

    async fn body(stream: &mut tokio::net::TcpStream) -> Vec<u8> {
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&request).to_lowercase();
            if let Some(end) = text.find("\r\n\r\n") {
                let length = text.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse::<usize>().ok());
                if request.len() >= end + 4 + length.unwrap() {
                    return request.split_off(end + 4);
                }
            }
            let mut chunk = [0; 65_536];
            let read = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..read]);
        }
    }

    #[tokio::test]
    async fn the_first_event_is_published_when_all_others_are_there() {
        let (url, bodies, _serving) = collector().await;
        let demo = Demo { events: 1200, seed: 3, collector: url, query: String::new() };
        let mut last = None;
        let position = demo.publish(&mut |step| last = Some(step)).await.expect("accepted");
        assert_eq!(position.next[&0], 8);
        assert!(matches!(last, Some(Step::Publishing { done: 1200, total: 1200, .. })), "{last:?}");
        let bodies = bodies.lock().unwrap();
        let sent: usize = bodies.iter().map(Vec::len).sum();
        assert_eq!(sent, 1200);
        let names_marker = |event: &Value| event.to_string().contains(&marker(3));
        let (end, before) = bodies.split_last().unwrap();
        assert!(end.len() == 1 && names_marker(&end[0]), "{end:?}");
        assert!(!before.iter().flatten().any(names_marker), "the marker is in no other event");
    }

    #[test]
    fn steps_say_what_is_left() {
        let step = Step::Publishing { done: 250, total: 1000, per_second: 100 };
        assert_eq!(step.say(), "250 of 1000 events, 100 a second, 8 s left");
        assert_eq!(Step::Publishing { done: 0, total: 5, per_second: 0 }.say(), "0 of 5 events, 0 a second, 5 s left");
    }

    #[test]
    fn how_far_behind_the_last_model_is() {
        for (models, expected) in [
            (json!([{"behind_events": 4}, {"behind_events": 90}, {"reached": true}]), Some(90)),
            (json!([{"behind_events": 4}, {"reached": false}]), None),
            (json!([{"reached": true, "behind_events": 0}, {"reached": false, "behind_events": 7}]), Some(7)),
            (json!([]), None),
            (Value::Null, None),
        ] {
            assert_eq!(behind(&json!({"models": models})), expected, "{models}");
        }
        assert_eq!(behind(&json!({"type": "/problems/busy", "detail": "too many requests"})), None);
    }

    #[tokio::test]
    async fn what_does_not_say_how_far_it_is_is_not_told() {
        let behind = |events: u64| (503, json!({"models": [{"reached": false, "behind_events": events}]}));
        let busy = || (503, json!({"type": "/problems/busy"}));
        let (url, _serving) = answering(vec![busy(), behind(90), busy(), behind(40), (200, json!({}))]).await;
        let demo = Demo { events: 1, seed: 3, collector: String::new(), query: url };
        let mut steps = Vec::new();
        demo.fold(&Position::new(uuid::Uuid::nil(), Default::default()), &mut |step| steps.push(step))
            .await
            .expect("reached");
        assert_eq!(steps, [Step::Folding { behind: 90 }, Step::Folding { behind: 40 }]);
    }

    #[test]
    fn models_that_come_further_are_waited_for() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut advance = Advance::new(start);
        assert!(!advance.is_over(after(120)) && advance.is_over(after(121)));
        advance.hear(100, after(100));
        assert!(!advance.is_over(after(220)));
        advance.hear(90, after(200));
        advance.hear(90, after(250));
        advance.hear(95, after(300));
        assert!(!advance.is_over(after(320)) && advance.is_over(after(321)), "neither of the last two is nearer");
    }
}
