use std::time::Duration;

use domain::Position;
use tokio::task::JoinSet;

use super::client::{Answer, Client, Verdict, join};
use crate::failure::{Exit, Failure, Outcome};

/// Events of one request.
const BATCH_EVENTS_MAX: usize = 500;

/// Bytes of one request, far below what a collector takes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Requests under way at a time.
const REQUESTS_MAX: usize = 4;

/// Sends events in batches, several at a time. `M` says what an event is (its line): it comes back with the verdict.
pub(crate) struct Sender<M> {
    client: Client,
    marks: Vec<M>,
    events: Vec<Vec<u8>>,
    bytes: usize,
    requests: JoinSet<Outcome<(Vec<M>, Answer)>>,
    position: Option<Position>,
}

impl<M: Send + 'static> Sender<M> {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, marks: Vec::new(), events: Vec::new(), bytes: 0, requests: JoinSet::new(), position: None }
    }

    /// Takes an event; `told` hears the verdicts that have come in.
    pub(crate) async fn push(&mut self, mark: M, event: Vec<u8>, told: &mut impl FnMut(M, Verdict)) -> Outcome {
        if !self.events.is_empty() && self.bytes + event.len() > BATCH_BYTES_MAX {
            self.flush(told).await?;
        }
        self.bytes += event.len() + 1;
        self.marks.push(mark);
        self.events.push(event);
        if self.events.len() >= BATCH_EVENTS_MAX {
            self.flush(told).await?;
        }
        Ok(())
    }

    /// Sends what is left and waits for all verdicts; answers with the position that covers what was accepted.
    pub(crate) async fn finish(mut self, told: &mut impl FnMut(M, Verdict)) -> Outcome<Option<Position>> {
        self.flush(told).await?;
        while !self.requests.is_empty() {
            self.settle(told).await?;
        }
        Ok(self.position)
    }

    async fn flush(&mut self, told: &mut impl FnMut(M, Verdict)) -> Outcome {
        if self.events.is_empty() {
            return Ok(());
        }
        while self.requests.len() >= REQUESTS_MAX {
            self.settle(told).await?;
        }
        let (client, marks, events) =
            (self.client.clone(), std::mem::take(&mut self.marks), std::mem::take(&mut self.events));
        self.bytes = 0;
        self.requests.spawn(async move {
            let answer = client.publish(&events).await?;
            Ok((marks, answer))
        });
        Ok(())
    }

    async fn settle(&mut self, told: &mut impl FnMut(M, Verdict)) -> Outcome {
        let Some(done) = self.requests.join_next().await else { return Ok(()) };
        let (marks, answer) =
            done.map_err(|e| Failure::new(Exit::Internal, format_args!("a request broke off: {e}")))??;
        join(&mut self.position, answer.position);
        for (mark, verdict) in marks.into_iter().zip(answer.verdicts) {
            told(mark, verdict);
        }
        Ok(())
    }
}

/// How often progress is told where no bar can be drawn.
const TOLD_INTERVAL: Duration = Duration::from_secs(2);

/// How far through a file a command is: a bar on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    bar: indicatif::ProgressBar,
    total: Option<u64>,
    told: tokio::time::Instant,
    what: &'static str,
}

impl Progress {
    /// `total`: the file's bytes, where they are known.
    pub(crate) fn new(what: &'static str, total: Option<u64>) -> Self {
        let bar = match total {
            Some(total) => indicatif::ProgressBar::new(total),
            None => indicatif::ProgressBar::new_spinner(),
        };
        let template = if total.is_some() { "{bar:30} {percent:>3} %  {msg}" } else { "{spinner} {msg}" };
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, total, told: tokio::time::Instant::now(), what }
    }

    /// So many bytes have been read; `message` says what has become of them.
    pub(crate) fn set(&mut self, bytes: u64, message: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_position(bytes);
            self.bar.set_message(message());
        } else if self.told.elapsed() >= TOLD_INTERVAL {
            self.told = tokio::time::Instant::now();
            let share =
                self.total.filter(|t| *t > 0).map(|t| format!("{} %, ", bytes.min(t) * 100 / t)).unwrap_or_default();
            crate::say::note(format_args!("{}: {share}{}", self.what, message()));
        }
    }

    /// A line above the bar.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| crate::say::note(format_args!("{line}")));
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
