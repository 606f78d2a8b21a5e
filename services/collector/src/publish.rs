//! From the texts of a request's events to what became of each: judged, appended, rejected ones kept.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{Position, position::Offsets, time};
use event_log::{AppendError, Appender, Log, NewRecord, Topic};
use service_kit::messaging;
use tokio::time::{Instant, timeout_at};

use crate::{
    answer::{EventResult, Outcome, Receipt, RetryBecause},
    judge::{self, Judge, Judged, Verdict},
    metrics::APPEND_SECONDS,
    outage::Outage,
    rejected::Kept,
};

/// After so many events of one request others get a turn on the thread.
const EVENTS_A_TURN: usize = 256;

/// At most so many bytes of a rejected event are kept: escaped, with its faults, they still fit into a record.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Appends what is sent. One a collector.
pub(crate) struct Publisher {
    pub(crate) judge: Judge,
    pub(crate) appender: Appender,
    pub(crate) log: Log,
    /// How far the log had come when the collector started, and what it had acknowledged since: partition -> next
    /// offset. Every answer's position covers it, so that the last of several publishes stands for all of them, in
    /// whichever partitions they lie.
    pub(crate) acknowledged: Mutex<Offsets>,
    /// A request is answered this long after it was whole, at the latest.
    pub(crate) publish_timeout: Duration,
    /// Whether Kafka confirms what is appended.
    pub(crate) outage: Arc<Outage>,
}

/// The events of one request.
#[derive(Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) events: Vec<&'a str>,
    /// Microseconds UTC.
    pub(crate) received_at: i64,
    /// Name of the mode, for what is kept of rejected events.
    pub(crate) mode: &'static str,
    pub(crate) content_type: &'a str,
    /// Say what would become of the events, and append nothing.
    pub(crate) validate_only: bool,
}

/// Where appended records stand, or why not; in the order handed over.
type Appended = Vec<Result<(i32, i64), AppendError>>;

/// Why a request's records failed, of all that failed.
#[derive(Debug, Default)]
struct Failures {
    /// What the sender is told: of two reasons the one that lasts longer.
    because: Option<RetryBecause>,
    /// What the first record that Kafka did not confirm was answered with.
    first: Option<String>,
}

impl Failures {
    /// Marks an event as one to send again.
    fn retry(&mut self, outcome: &mut Outcome, failed: Option<Result<(i32, i64), AppendError>>) {
        *outcome = Outcome::Retry;
        let reason = match failed {
            Some(Err(AppendError::QueueFull)) => {
                self.because.get_or_insert(RetryBecause::QueueFull);
                return;
            }
            Some(Err(error)) => error.to_string(),
            _ => "Kafka had not answered when the request had to be answered".to_owned(),
        };
        self.because = Some(RetryBecause::Unavailable);
        self.first.get_or_insert(reason);
    }
}

impl Publisher {
    /// Publishes a request's events.
    pub(crate) async fn publish(&self, sent: &Sent<'_>) -> Receipt {
        let deadline = Instant::now() + self.publish_timeout;
        let mut results = Vec::with_capacity(sent.events.len());
        let mut records = Vec::with_capacity(sent.events.len());
        for (i, event) in sent.events.iter().enumerate() {
            if i > 0 && i % EVENTS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
            let Judged { id, warnings, verdict } = self.judge.judge(event, sent.received_at);
            let outcome = match verdict {
                Verdict::Append(record) => {
                    records.push(record);
                    Outcome::Accepted
                }
                Verdict::Reject(faults) => Outcome::Rejected { faults, rejection_id: None },
            };
            results.push(EventResult { id, warnings, outcome });
        }
        let mut receipt = Receipt { results, ..Receipt::default() };
        if sent.validate_only {
            return receipt;
        }
        let mut failures = Failures::default();
        let mut position = self.append_accepted(sent, &mut receipt, records, deadline, &mut failures).await;
        self.keep_rejected(sent, &mut receipt, deadline, &mut failures).await;
        receipt.retry_because = failures.because;
        // An empty batch is acknowledged too, at the position that everyone has reached.
        let is_acknowledged = !position.next.is_empty() || receipt.results.is_empty();
        self.cover(&mut position);
        receipt.position = is_acknowledged.then(|| position.token());
        match failures {
            Failures { first: Some(reason), .. } => self.outage.failed(reason),
            Failures { because: None, .. } if !receipt.results.is_empty() => self.outage.confirmed(),
            // That the queue was full says nothing of what is in it.
            Failures { .. } => {}
        }
        receipt
    }

    fn acknowledged(&self) -> MutexGuard<'_, Offsets> {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether records that Kafka has confirmed stand in the log that was opened, and not in a topic that was created since
    /// under its name: nobody would ever read them as a part of it. `known`: how far the log had come before. A new record
    /// that stands before that is not in it, or others have been lost. The first one of a partition has nothing to be told
    /// by; for it the topic is asked.
    async fn is_in_the_log(&self, known: &Offsets, appended: &Appended) -> bool {
        let before = |partition: &i32| known.get(partition).copied().unwrap_or_default();
        let mut confirmed = appended.iter().flatten();
        let is_before = confirmed.clone().any(|(partition, offset)| *offset < before(partition));
        if is_before || confirmed.any(|(partition, _)| before(partition) == 0) {
            match self.log.is_still_itself().await {
                Ok(true) if !is_before => {}
                Ok(true) | Err(_) => return false,
                Ok(false) => self.outage.is_another_log(),
            }
        }
        self.outage.is_own_log()
    }

    /// Notes what was appended, and widens the position to everything acknowledged so far.
    fn cover(&self, position: &mut Position) {
        let mut acknowledged = self.acknowledged();
        for (partition, next) in &position.next {
            let known = acknowledged.entry(*partition).or_insert(*next);
            *known = (*known).max(*next);
        }
        position.next.clone_from(&acknowledged);
    }

    /// Appends the records of the events judged acceptable, and says of each how it went.
    async fn append_accepted(
        &self,
        sent: &Sent<'_>,
        receipt: &mut Receipt,
        records: Vec<NewRecord>,
        deadline: Instant,
        failures: &mut Failures,
    ) -> Position {
        let mut position = Position::new(self.log.log_id(), Default::default());
        if records.is_empty() {
            return position;
        }
        let known = self.acknowledged().clone();
        let mut appended = self.append(Topic::Log, records, deadline).await;
        if !timeout_at(deadline, self.is_in_the_log(&known, &appended)).await.unwrap_or(false) {
            appended.clear();
        }
        let mut appended = appended.into_iter();
        for (result, event) in receipt.results.iter_mut().zip(&sent.events) {
            if !matches!(result.outcome, Outcome::Accepted) {
                continue;
            }
            match appended.next() {
                Some(Ok((partition, offset))) => position.appended(partition, offset),
                Some(Err(AppendError::TooLarge)) => {
                    let fault = judge::too_large(event.len(), self.judge.event_bytes_max);
                    result.outcome = Outcome::Rejected { faults: vec![fault], rejection_id: None };
                }
                failed => failures.retry(&mut result.outcome, failed),
            }
        }
        position
    }

    /// Keeps the rejected events. One that cannot be kept is not rejected but to be sent again: else it would be lost.
    async fn keep_rejected(&self, sent: &Sent<'_>, receipt: &mut Receipt, deadline: Instant, failures: &mut Failures) {
        let received_at = time::format(sent.received_at).unwrap_or_default();
        let records = receipt.results.iter().zip(&sent.events).filter_map(|(result, event)| {
            let Outcome::Rejected { faults, .. } = &result.outcome else { return None };
            let kept = Kept {
                received_at: &received_at,
                mode: sent.mode,
                content_type: sent.content_type,
                id: result.id.as_deref(),
                faults,
                event,
                bytes_max: self.judge.event_bytes_max.min(KEPT_BYTES_MAX),
            };
            let key = result.id.clone().unwrap_or_default();
            Some(NewRecord::new(key, kept.to_value()).header("content-type", "application/json"))
        });
        let records: Vec<_> = records.collect();
        if records.is_empty() {
            return;
        }
        let mut appended = self.append(Topic::Rejected, records, deadline).await.into_iter();
        for result in &mut receipt.results {
            let Outcome::Rejected { rejection_id, .. } = &mut result.outcome else { continue };
            match appended.next() {
                Some(Ok((partition, offset))) => *rejection_id = Some(format!("{partition}-{offset}")),
                failed => failures.retry(&mut result.outcome, failed),
            }
        }
    }

    /// Appends, or gives up at the deadline: then nothing is known of any, and all are to be sent again.
    async fn append(&self, topic: Topic, records: Vec<NewRecord>, deadline: Instant) -> Appended {
        if !self.outage.is_own_log() {
            return Appended::new();
        }
        let (started, handed) = (Instant::now(), records.len());
        let appended = timeout_at(deadline, self.appender.append(topic, records)).await.unwrap_or_default();
        let took = started.elapsed();
        metrics::histogram!(APPEND_SECONDS).record(took);
        let name = self.log.topic(topic);
        let answered = appended.iter().map(|result| match result {
            Ok((partition, _)) => Ok(*partition),
            Err(error) => Err(error.name()),
        });
        let silent = std::iter::repeat_n(Err("timeout"), handed - appended.len());
        messaging::sent(name, answered.chain(silent), took);
        appended
    }
}
