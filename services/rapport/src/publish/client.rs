use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::Position;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use crate::failure::{Exit, Failure, Outcome};
use crate::http;

/// How long a collector may take nothing before a publish is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries where the collector names no time.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A collector that asks for more is asked again after this long all the same.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Beyond the collector's own deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The content type of a batch.
const BATCH: &str = "application/cloudevents-batch+json";

/// Publishes events over HTTP. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    validate_only: bool,
    /// A success without results says that all of a batch was taken.
    success_suffices: bool,
    /// How long nothing may be accepted or rejected before a publish is given up.
    patience: Duration,
    told: Arc<AtomicBool>,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted { warnings: Vec<String> },
    Rejected { reasons: Vec<String> },
}

/// What became of a batch: one verdict an event, in order.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) position: Option<Position>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    results: Vec<Entry>,
    #[serde(default)]
    position: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    status: String,
    #[serde(default)]
    errors: Vec<Note>,
    #[serde(default)]
    warnings: Vec<Note>,
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    code: String,
    #[serde(default)]
    pointer: String,
    #[serde(default)]
    detail: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = if self.pointer.is_empty() { String::new() } else { format!(" {}", self.pointer) };
        write!(f, "{}{place}: {}", self.code, self.detail)
    }
}

impl Client {
    /// For the collector at `base` (`http://127.0.0.1:7070`). `validate_only`: nothing is appended.
    pub(crate) fn new(base: &str, validate_only: bool) -> Outcome<Self> {
        let url = format!("{}/events", base.trim_end_matches('/'));
        let http = build(http::builder(base))?;
        Ok(Self { http, url, validate_only, success_suffices: false, patience: PATIENCE, told: Arc::default() })
    }

    /// For whoever takes batches of CloudEvents at `url`: a collector where it names no path, else exactly that address.
    /// Results are honoured where they come; a success without them stands for every event.
    pub(crate) fn to_anyone(url: &str) -> Outcome<Self> {
        let Some(parsed) = Url::parse(url).ok().filter(|url| ["http", "https"].contains(&url.scheme())) else {
            let sentence = format_args!("{url:?} is no address like http://other:7070 or https://example.com/hook");
            return Err(Failure::new(Exit::BadInput, sentence));
        };
        let is_bare = parsed.path() == "/" && parsed.query().is_none();
        // Followed to another page, a POST becomes a GET, and its success would say nothing of the events.
        let http = build(http::builder(url).redirect(Policy::none()))?;
        let exactly = Self { http, url: url.to_owned(), success_suffices: true, ..Self::new(url, false)? };
        Ok(if is_bare { Self { url: format!("{}/events", url.trim_end_matches('/')), ..exactly } } else { exactly })
    }

    #[cfg(test)]
    fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Publishes a batch, and again what the collector could not take yet, until each event is accepted or rejected.
    pub(crate) async fn publish(&self, events: &[Vec<u8>]) -> Outcome<Answer> {
        self.until_taken(events.len(), BATCH, |open| batch(open.iter().map(|i| &events[*i]))).await
    }

    /// Publishes one event as the body of a request of this content type, until it is accepted or rejected.
    pub(crate) async fn publish_as(&self, content_type: &str, body: &[u8]) -> Outcome<Answer> {
        self.until_taken(1, content_type, |_| body.to_vec()).await
    }

    /// `body` makes the request that holds those of `count` events that are still open.
    async fn until_taken(
        &self,
        count: usize,
        content_type: &str,
        body: impl Fn(&[usize]) -> Vec<u8>,
    ) -> Outcome<Answer> {
        let mut verdicts: Vec<Option<Verdict>> = vec![None; count];
        let mut position: Option<Position> = None;
        let mut patience_ends = Instant::now() + self.patience;
        loop {
            let open: Vec<usize> = (0..count).filter(|i| verdicts[*i].is_none()).collect();
            if open.is_empty() {
                break;
            }
            // Whether it answers for each event or not at all: what counts is that something was taken.
            let (pause, took_nothing) = match self.attempt(content_type, body(&open), open.len()).await? {
                Attempt::Answered { status, results, position: reached, pause } => {
                    let mut took_something = false;
                    for (index, verdict) in open.into_iter().zip(results) {
                        took_something |= verdict.is_some();
                        verdicts[index] = verdict;
                    }
                    join(&mut position, reached);
                    (pause, (!took_something).then(|| format!("it answers {status}")))
                }
                Attempt::Refused { pause, reason } => (pause, Some(reason)),
            };
            match took_nothing {
                None => patience_ends = Instant::now() + self.patience,
                Some(reason) if Instant::now() + pause > patience_ends => return Err(self.given_up(&reason)),
                Some(reason) => self.tell_once(&reason),
            }
            if verdicts.iter().any(Option::is_none) {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(Answer { verdicts: verdicts.into_iter().flatten().collect(), position })
    }

    /// What may be wrong with the address.
    fn doubt(&self) -> &'static str {
        if self.success_suffices {
            "does it take batches of CloudEvents (application/cloudevents-batch+json)?"
        } else {
            "is it a collector?"
        }
    }

    fn given_up(&self, reason: &str) -> Failure {
        let (url, seconds) = (&self.url, self.patience.as_secs());
        let kept = if self.validate_only { "nothing was appended" } else { "what was accepted is kept" };
        Failure::new(
            Exit::TryAgain,
            format_args!("{url} took nothing for {seconds} s ({reason}); {kept}: run it again"),
        )
    }

    fn tell_once(&self, reason: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            crate::say::note(format_args!("{} takes nothing at the moment ({reason}); trying again", self.url));
        }
    }

    async fn attempt(&self, content_type: &str, body: Vec<u8>, sent: usize) -> Outcome<Attempt> {
        let mut request = self.http.post(&self.url).header("content-type", content_type).body(body);
        if self.validate_only {
            request = request.query(&[("validate_only", "true")]);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => {
                return Err(Failure::new(
                    Exit::Configuration,
                    format_args!("{} is no address of a collector: {error}", self.url),
                ));
            }
            Err(error) => return Ok(Attempt::Refused { pause: RETRY_PAUSE, reason: cause(&error) }),
        };
        let status = response.status();
        let seconds = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let pause = seconds.map_or(RETRY_PAUSE, Duration::from_secs).min(RETRY_PAUSE_MAX);
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Ok(Attempt::Refused { pause, reason: cause(&error) }),
        };
        self.read(status, &text, pause, sent)
    }

    /// What an answer says of the events `sent`.
    fn read(&self, status: StatusCode, text: &str, pause: Duration, sent: usize) -> Outcome<Attempt> {
        let overloaded = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let suffices = self.success_suffices && status.is_success();
        let answered =
            suffices || matches!(status, StatusCode::OK | StatusCode::MULTI_STATUS | StatusCode::UNPROCESSABLE_ENTITY);
        if answered || overloaded {
            match serde_json::from_str::<Body>(text) {
                Ok(body) if !body.results.is_empty() => {
                    let results = body.results.into_iter().map(verdict).collect();
                    let position = body.position.as_deref().and_then(|p| Position::parse(p).ok());
                    return Ok(Attempt::Answered { status, results, position, pause });
                }
                _ if suffices => {
                    let results = vec![Some(Verdict::Accepted { warnings: Vec::new() }); sent];
                    return Ok(Attempt::Answered { status, results, position: None, pause });
                }
                _ if overloaded => return Ok(Attempt::Refused { pause, reason: format!("it answers {status}") }),
                _ => {}
            }
        }
        if status.is_server_error() {
            return Ok(Attempt::Refused { pause, reason: format!("it answers {status}") });
        }
        let answer: String = text.chars().take(500).collect();
        Err(Failure::new(
            Exit::Unavailable,
            format_args!("{} refused the request with {status}: {answer}; {}", self.url, self.doubt()),
        ))
    }
}

/// Events as the array that a batch is.
fn batch<'e>(events: impl Iterator<Item = &'e Vec<u8>>) -> Vec<u8> {
    let mut body = vec![b'['];
    for (index, event) in events.enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.push(b']');
    body
}

fn build(builder: ClientBuilder) -> Outcome<reqwest::Client> {
    let built = builder.timeout(REQUEST_TIMEOUT).tcp_nodelay(true).build();
    built.map_err(|e| Failure::new(Exit::Internal, format_args!("the HTTP client could not be made: {e}")))
}

enum Attempt {
    /// A verdict an event sent; `None` is "again, after the pause".
    Answered {
        status: StatusCode,
        results: Vec<Option<Verdict>>,
        position: Option<Position>,
        pause: Duration,
    },
    Refused {
        pause: Duration,
        reason: String,
    },
}

fn verdict(entry: Entry) -> Option<Verdict> {
    let texts = |notes: Vec<Note>| notes.iter().map(ToString::to_string).collect();
    match entry.status.as_str() {
        "accepted" => Some(Verdict::Accepted { warnings: texts(entry.warnings) }),
        "rejected" => Some(Verdict::Rejected { reasons: texts(entry.errors) }),
        _ => None,
    }
}

/// The innermost cause says what happened; the outer ones only that a request failed.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What both positions cover.
pub(crate) fn join(position: &mut Option<Position>, other: Option<Position>) {
    let Some(other) = other else { return };
    let joined = position.get_or_insert_with(|| Position::new(other.log_id, Default::default()));
    for (partition, next) in other.next {
        let held = joined.next.entry(partition).or_insert(next);
        *held = (*held).max(next);
    }
    for (partition, first) in other.first {
        let held = joined.first.entry(partition).or_insert(first);
        *held = (*held).min(first);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A collector that gives these answers, one a request, and hands back the bodies it was sent.
    async fn collector(answers: Vec<(&'static str, &'static str)>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = async move {
            let mut bodies = Vec::new();
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                bodies.push(request_body(&mut stream).await);
                let length = body.len();
                let answer = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            bodies
        };
        #[expect(clippy::disallowed_methods, reason = "the handle is awaited")]
        let handle = tokio::spawn(serving);
        (url, handle)
    }

    async fn request_body(stream: &mut tokio::net::TcpStream) -> String {
        let mut request = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().parse::<usize>();
                if body.len() >= length.unwrap() {
                    return body.to_owned();
                }
            }
            let mut chunk = [0; 1024];
            let read = stream.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..read]);
        }
    }

    fn events(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|t| t.as_bytes().to_vec()).collect()
    }

    #[tokio::test]
    async fn only_what_was_not_taken_is_sent_again() {
        let (url, serving) = collector(vec![
            ("429 Too Many Requests\r\nretry-after: 0", ""),
            (
                "503 Service Unavailable\r\nretry-after: 0",
                r#"{"results":[{"status":"accepted"},{"status":"retry"},
                    {"status":"rejected","errors":[{"code":"c","pointer":"/p","detail":"d"}]},{"status":"retry"}]}"#,
            ),
            (
                "200 OK",
                r#"{"results":[{"status":"accepted","warnings":[{"code":"w","detail":"x"}]},{"status":"accepted"}]}"#,
            ),
        ])
        .await;
        let client = Client::new(&url, false).unwrap();
        let answer = client.publish(&events(&["1", "2", "3", "4"])).await.unwrap();
        let accepted = Verdict::Accepted { warnings: vec![] };
        let warned = Verdict::Accepted { warnings: vec!["w: x".to_owned()] };
        let rejected = Verdict::Rejected { reasons: vec!["c /p: d".to_owned()] };
        assert_eq!(answer.verdicts, [accepted.clone(), warned, rejected, accepted]);
        assert_eq!(serving.await.unwrap(), ["[1,2,3,4]", "[1,2,3,4]", "[2,4]"]);
    }

    /// As a collector does whose Kafka is away: it answers for each event, and takes none.
    #[tokio::test]
    async fn a_collector_that_only_says_retry_is_given_up() {
        const AGAIN: (&str, &str) = (
            "503 Service Unavailable\r\nretry-after: 0",
            r#"{"accepted":0,"rejected":0,"results":[{"status":"retry"},{"status":"retry"}]}"#,
        );
        let (url, _serving) = collector(vec![AGAIN; 10_000]).await;
        let client = Client::new(&url, false).unwrap().with_patience(Duration::from_millis(50));
        let events = events(&["1", "2"]);
        let publishing = tokio::time::timeout(Duration::from_secs(30), client.publish(&events));
        let failure = publishing.await.expect("it is given up").unwrap_err();
        assert_eq!(failure.exit(), Exit::TryAgain);
        assert!(client.told.load(Ordering::Relaxed), "that it is tried again is said");
    }

    #[tokio::test]
    async fn what_is_no_collector_is_said() {
        let (url, _serving) = collector(vec![("404 Not Found", "nothing here")]).await;
        let failure = Client::new(&url, false).unwrap().publish(&events(&["1"])).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
    }

    #[tokio::test]
    async fn a_webhook_takes_by_success_and_is_heard_where_it_says_more() {
        let (url, serving) = collector(vec![
            ("503 Service Unavailable\r\nretry-after: 0", "busy"),
            ("202 Accepted", r#"{"queued":true}"#),
            ("204 No Content", ""),
            ("202 Accepted", r#"{"results":[{"status":"rejected","errors":[{"code":"c","detail":"d"}]}]}"#),
        ])
        .await;
        let accepted = Verdict::Accepted { warnings: vec![] };
        let client = Client::to_anyone(&format!("{url}/hook")).unwrap();
        let answer = client.publish(&events(&["1", "2"])).await.unwrap();
        assert_eq!(answer.verdicts, [accepted.clone(), accepted.clone()]);
        // An address without a path is a collector's, and answers as one or as any other.
        let client = Client::to_anyone(&url).unwrap();
        assert_eq!(client.url, format!("{url}/events"));
        assert_eq!(client.publish(&events(&["3"])).await.unwrap().verdicts, [accepted]);
        let rejected = Verdict::Rejected { reasons: vec!["c: d".to_owned()] };
        assert_eq!(client.publish(&events(&["4"])).await.unwrap().verdicts, [rejected]);
        assert_eq!(serving.await.unwrap(), ["[1,2]", "[1,2]", "[3]", "[4]"]);
    }

    /// A page to log in on is no delivery.
    #[tokio::test]
    async fn a_webhook_that_points_elsewhere_has_taken_nothing() {
        let (url, _serving) = collector(vec![("302 Found\r\nlocation: /login", ""), ("200 OK", "log in")]).await;
        let client = Client::to_anyone(&format!("{url}/hook")).unwrap();
        assert_eq!(client.publish(&events(&["1"])).await.unwrap_err().exit(), Exit::Unavailable);
        for wrong in ["other:7070", "ftp://other/x", "/hook", ""] {
            assert_eq!(Client::to_anyone(wrong).err().map(|failure| failure.exit()), Some(Exit::BadInput), "{wrong}");
        }
    }

    #[test]
    fn positions_are_joined() {
        let id = uuid::Uuid::from_u128(1);
        let at = |partition, offset| {
            let mut position = Position::new(id, Default::default());
            position.appended(partition, offset);
            Some(position)
        };
        let mut all = None;
        for other in [at(0, 5), None, at(0, 2), at(1, 7), at(0, 9)] {
            join(&mut all, other);
        }
        let all = all.unwrap();
        assert_eq!((all.next[&0], all.next[&1], all.first[&0], all.first[&1]), (10, 8, 2, 7));
    }
}
