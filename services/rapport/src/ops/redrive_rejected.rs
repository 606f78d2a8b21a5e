//! `rapport rejected redrive`.

use collector::RejectedRecord;
use domain::Position;
use event_log::{Log, RangeReader, Record, Start, Topic};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use service_kit::Config;

use super::rejected::find;
use crate::cli::RejectedRedriveArgs;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::publish::{Client, Verdict, collector_url, join};
use crate::say;

/// Events under way at a time.
const REQUESTS_MAX: usize = 8;

/// Sends rejected events to the collector again.
pub(super) async fn redrive(config: &Config, log: &Log, args: &RejectedRedriveArgs) -> Outcome {
    let collector = Collector::new(&collector_url(config, args.url.as_deref()), args.dry_run)?;
    let named = named(log, &args.ids).await?;
    let mut report = Report::new(args);
    let redriven = if args.ids.is_empty() {
        redrive_all(log, &collector, &mut report).await
    } else {
        collector.send_all(named, &mut report).await
    };
    // What was sent before it broke off is told all the same.
    if redriven.is_ok() || !report.is_empty() {
        report.finish();
    }
    redriven?;
    if report.rejected + report.unsendable > 0 { Err(Failure::told(Exit::Difference)) } else { Ok(()) }
}

/// The records that these ids name, each once.
async fn named(log: &Log, ids: &[String]) -> Outcome<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for id in ids {
        let record = find(log, id).await?;
        if !records.iter().any(|r| (r.partition, r.offset) == (record.partition, record.offset)) {
            records.push(record);
        }
    }
    Ok(records)
}

async fn redrive_all(log: &Log, collector: &Collector, report: &mut Report) -> Outcome {
    // To the end as it is now: what is rejected meanwhile is not sent in circles.
    let start = Start::Beginning;
    let mut reader = RangeReader::open(log, Topic::Rejected, start, false).await.or_exit(Exit::Unavailable)?;
    while let Some(records) = reader.next().await.or_exit(Exit::Unavailable)? {
        collector.send_all(records, report).await?;
    }
    Ok(())
}

/// A collector that is asked first and sent to then: an event that it would reject again must not be kept twice.
struct Collector {
    checks: Client,
    /// Not in a dry run.
    takes: Option<Client>,
}

/// What became of a rejected event.
enum Fate {
    Accepted {
        warnings: Vec<String>,
        position: Option<Position>,
    },
    Rejected {
        reasons: Vec<String>,
    },
    /// It is not there whole, or nobody knows how to send it; says why.
    Unsendable(String),
}

impl Collector {
    fn new(url: &str, dry_run: bool) -> Outcome<Self> {
        let takes = if dry_run { None } else { Some(Client::new(url, false)?) };
        Ok(Self { checks: Client::new(url, true)?, takes })
    }

    /// Sends events, a few at a time, and reports in their order.
    async fn send_all(&self, records: Vec<Record>, report: &mut Report) -> Outcome {
        let sending = records.into_iter().map(|record: Record| async move {
            let fate = self.send(&record).await;
            (record, fate)
        });
        let mut sent = stream::iter(sending).buffered(REQUESTS_MAX);
        while let Some((record, fate)) = sent.next().await {
            let id = format!("{}-{}", record.partition, record.offset);
            let fate = fate.map_err(|failure| Failure::new(failure.exit(), format_args!("{id}: {failure}")))?;
            report.tell(&id, fate);
        }
        Ok(())
    }

    async fn send(&self, record: &Record) -> Outcome<Fate> {
        let request = match RejectedRecord::parse(&record.value) {
            Ok(kept) => request(&kept),
            Err(error) => Err(format!("it was not written by a collector: {error}")),
        };
        let (content_type, body) = match request {
            Ok(request) => request,
            Err(reason) => return Ok(Fate::Unsendable(reason)),
        };
        let mut answer = self.checks.publish_as(&content_type, &body).await?;
        if let (Some(takes), Some(Verdict::Accepted { .. })) = (&self.takes, answer.verdicts.first()) {
            answer = takes.publish_as(&content_type, &body).await?;
        }
        let position = answer.position;
        match answer.verdicts.into_iter().next() {
            Some(Verdict::Accepted { warnings }) => Ok(Fate::Accepted { warnings, position }),
            Some(Verdict::Rejected { reasons }) => Ok(Fate::Rejected { reasons }),
            None => Err(Failure::new(Exit::Unavailable, "the collector said nothing of the event")),
        }
    }
}

/// The content type and the body that a rejected event came in, without its neighbours; or why it cannot be sent again.
fn request(kept: &RejectedRecord<'_>) -> Result<(String, Vec<u8>), String> {
    if let Some(bytes) = kept.cut_from_bytes {
        let there = kept.event.len();
        return Err(format!("only its first {there} bytes of {bytes} were kept: its sender has to send it again"));
    }
    let event = kept.event.as_bytes();
    match kept.mode.as_ref() {
        "structured" => Ok((kept.content_type.to_string(), event.to_vec())),
        "batch" => Ok((kept.content_type.to_string(), [b"[", event, b"]"].concat())),
        // Kept in the structured form that it stood for.
        "binary" => Ok(("application/cloudevents+json".to_owned(), event.to_vec())),
        other => Err(format!("it came as {other:?}, which this version does not know how to send")),
    }
}

/// What became of the events: told as it is known, or in one document at the end.
struct Report {
    as_json: bool,
    is_trial: bool,
    accepted: u64,
    rejected: u64,
    unsendable: u64,
    position: Option<Position>,
    documents: Vec<Value>,
}

impl Report {
    fn new(args: &RejectedRedriveArgs) -> Self {
        Self {
            as_json: args.output.json,
            is_trial: args.dry_run,
            accepted: 0,
            rejected: 0,
            unsendable: 0,
            position: None,
            documents: Vec::new(),
        }
    }

    fn tell(&mut self, id: &str, fate: Fate) {
        let (document, line) = match fate {
            Fate::Accepted { warnings, position } => {
                self.accepted += 1;
                let token = position.as_ref().map(Position::token);
                join(&mut self.position, position);
                let at = token.as_ref().map(|token| format!(", position {token}")).unwrap_or_default();
                let accepted = if self.is_trial { "would be accepted" } else { "accepted" };
                let warned: String = warnings.iter().map(|warning| format!("; {warning}")).collect();
                let line = format!("{id} {accepted}{at}{warned}");
                (json!({"result": "accepted", "position": token, "warnings": warnings}), line)
            }
            Fate::Rejected { reasons } => {
                self.rejected += 1;
                let rejected = if self.is_trial { "would be rejected again" } else { "rejected again" };
                let line = format!("{id} {rejected}: {}", reasons.join("; "));
                (json!({"result": "rejected", "errors": reasons}), line)
            }
            Fate::Unsendable(reason) => {
                self.unsendable += 1;
                let line = format!("{id} cannot be sent again: {reason}");
                (json!({"result": "unsendable", "errors": [reason]}), line)
            }
        };
        if self.as_json {
            let mut document = document;
            document["rejection_id"] = json!(id);
            self.documents.push(document);
        } else {
            say::line(format_args!("{line}"));
        }
    }

    fn is_empty(&self) -> bool {
        self.accepted + self.rejected + self.unsendable == 0
    }

    fn finish(&self) {
        let Self { accepted, rejected, unsendable, .. } = self;
        let token = self.position.as_ref().map(Position::token);
        if self.as_json {
            say::json(&json!({
                "dry_run": self.is_trial, "accepted": accepted, "rejected": rejected, "unsendable": unsendable,
                "position": token, "redriven": self.documents,
            }));
            return;
        }
        if self.is_empty() {
            say::line(format_args!("no event was rejected"));
            return;
        }
        let trial = if self.is_trial { " (dry run: nothing was appended)" } else { "" };
        let unsendable = if *unsendable > 0 { format!(", {unsendable} cannot be sent") } else { String::new() };
        say::line(format_args!("{accepted} accepted, {rejected} rejected again{unsendable}{trial}"));
        if let Some(token) = token {
            say::line(format_args!("position {token}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(mode: &'static str, content_type: &'static str, cut_from_bytes: Option<u64>) -> RejectedRecord<'static> {
        let event = "{\"id\": 1.50}".into();
        let (received_at, mode, content_type) = ("2026-03-01T10:00:00Z".into(), mode.into(), content_type.into());
        RejectedRecord { received_at, mode, content_type, id: None, errors: Vec::new(), event, cut_from_bytes }
    }

    #[test]
    fn events_are_sent_as_they_came() {
        let structured = "application/cloudevents+json; charset=utf-8";
        let batch = "application/cloudevents-batch+json";
        for (mode, content_type, sent_as, body) in [
            ("structured", structured, structured, "{\"id\": 1.50}"),
            ("batch", batch, batch, "[{\"id\": 1.50}]"),
            ("binary", "text/plain", "application/cloudevents+json", "{\"id\": 1.50}"),
        ] {
            let sent = request(&kept(mode, content_type, None)).unwrap();
            assert_eq!(sent, (sent_as.to_owned(), body.as_bytes().to_vec()), "{mode}");
        }
        assert!(request(&kept("structured", structured, Some(300_000))).unwrap_err().contains("300000"));
        assert!(request(&kept("pigeon", structured, None)).unwrap_err().contains("pigeon"));
    }
}
