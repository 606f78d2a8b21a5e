//! The reader: asks for pages while everything goes wrong, keeps some of the answers, and asks for them again in the end, as
//! they were known then.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Client, StatusCode};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::stack::Stack;

/// Between two questions.
const PACE: Duration = Duration::from_millis(300);
/// A question without an answer is given up: whoever should answer may just be broken.
const PATIENCE: Duration = Duration::from_secs(5);
/// A page of then, on a machine that has much else to do.
const PAST_PATIENCE: Duration = Duration::from_secs(60);
/// Answers that are kept: as many of the beginning as of the end.
const KEPT_MAX: usize = 40;

/// An answer as it was given.
#[derive(Clone, PartialEq)]
struct Answer {
    position: String,
    body: String,
}

/// Asks for as long as it lives.
pub(super) struct Reader {
    kept: Arc<Mutex<Vec<(String, Answer)>>>,
    answered: Arc<AtomicU64>,
    http: Client,
    asking: JoinSet<()>,
}

impl Reader {
    pub(super) fn start(stack: &Stack, seed: u64) -> Self {
        let mut reader =
            Self { kept: Arc::default(), answered: Arc::default(), http: stack.http.clone(), asking: JoinSet::new() };
        let (kept, answered, http) = (Arc::clone(&reader.kept), Arc::clone(&reader.answered), stack.http.clone());
        let (url, database_url, mut rng) = (stack.query(""), stack.database_url(), StdRng::seed_from_u64(seed));
        reader.asking.spawn(async move {
            loop {
                tokio::time::sleep(PACE).await;
                let anybody = tokio::time::timeout(PATIENCE, somebody(&database_url)).await;
                let Ok(Ok(Some(subject))) = anybody else { continue };
                let tail = if rng.random_bool(0.5) { "" } else { "/timeline" };
                let path = format!("/api/v1/customers/{subject}{tail}");
                let Some((StatusCode::OK, answer)) = ask(&http, &format!("{url}{path}"), &[], PATIENCE).await else {
                    continue;
                };
                let nth = answered.fetch_add(1, Ordering::Relaxed);
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                // Each answer that was ever given is kept as likely as any other.
                let place = rng.random_range(0..=nth);
                if kept.len() < KEPT_MAX {
                    kept.push((path, answer));
                } else if let Some(kept) = usize::try_from(place).ok().and_then(|place| kept.get_mut(place)) {
                    *kept = (path, answer);
                }
            }
        });
        reader
    }

    /// Ends it; then asks for what was kept again, and complains of whatever is answered otherwise. How many were asked for.
    pub(super) async fn ask_again(self, stack: &Stack, complaints: &mut Vec<String>) -> u64 {
        drop(self.asking);
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for (path, then) in &kept {
            let known_at = [("known_at", then.position.as_str())];
            let end = Instant::now() + PAST_PATIENCE;
            let again = loop {
                match ask(&self.http, &stack.query(path), &known_at, PAST_PATIENCE).await {
                    // Said with Retry-After, of a machine that has much else to do.
                    Some((StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _))
                        if Instant::now() < end =>
                    {
                        tokio::time::sleep(PACE).await;
                    }
                    answered => break answered,
                }
            };
            match again {
                Some((StatusCode::OK, again)) if again == *then => {}
                Some((status, Answer { body, .. })) => complaints.push(format!(
                    "{path} at {} is answered {status} now:\n{body}\nand was then:\n{}",
                    then.position, then.body
                )),
                None => complaints.push(format!("{path} at {} is not answered any more", then.position)),
            }
        }
        if kept.is_empty() {
            complaints.push("not one page was answered all the time".into());
        }
        kept.len() as u64
    }
}

/// Anybody who is known.
async fn somebody(database_url: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let mut connection = PgConnection::connect(database_url).await?;
    sqlx::query_scalar("SELECT subject_id FROM customer360.subjects ORDER BY random() LIMIT 1")
        .fetch_optional(&mut connection)
        .await
}

/// `None`: there was no whole answer in time.
async fn ask(
    http: &Client,
    url: &str,
    parameters: &[(&str, &str)],
    patience: Duration,
) -> Option<(StatusCode, Answer)> {
    let response = http.get(url).query(parameters).timeout(patience).send().await.ok()?;
    let status = response.status();
    let position = response.headers().get("rapport-position").and_then(|v| v.to_str().ok()).unwrap_or_default();
    Some((status, Answer { position: position.to_owned(), body: response.text().await.ok()? }))
}
