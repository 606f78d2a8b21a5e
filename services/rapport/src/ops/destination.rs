//! Where events are delivered to again.

use std::time::Duration;

use domain::Position;
use event_log::{AppendError, Log, Record, Target, TargetError};
use rapport_proto::json;
use tokio::time::Instant;

use super::log_exit;
use crate::cli::LogForwardArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::publish::{Client, Verdict};
use crate::say;

/// Events of one delivery.
pub(super) const BATCH_EVENTS_MAX: usize = 500;

/// Bytes of one delivery, far below what a collector or a broker takes.
const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How long a topic may take nothing before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Events that are delivered together.
#[derive(Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    /// Each as a CloudEvent in JSON, where the destination takes it so.
    texts: Vec<Vec<u8>>,
    bytes: usize,
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_full(&self, events_max: usize) -> bool {
        self.records.len() >= events_max || self.bytes >= BATCH_BYTES_MAX
    }
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct Delivered {
    /// What the other side refused, each with a sentence that names the record.
    pub(super) rejected: Vec<String>,
    /// The position that a collector answered with.
    pub(super) position: Option<Position>,
    /// Nobody takes any more.
    pub(super) is_closed: bool,
}

/// To whom.
pub(super) enum Destination {
    Topic { target: Target, brokers: String },
    Url { client: Client, url: String },
    Stdout,
}

impl Destination {
    /// What the arguments name, if they name anything. A topic is asked whether it can be delivered to.
    pub(super) async fn open(log: &Log, args: &LogForwardArgs) -> Outcome<Option<Self>> {
        if let Some(topic) = &args.to_topic {
            let brokers = args.to_kafka.as_ref().unwrap_or(&log.options().brokers).clone();
            let target = Target::open(log, args.to_kafka.as_deref(), topic).await.map_err(refused)?;
            return Ok(Some(Self::Topic { target, brokers }));
        }
        if let Some(url) = &args.to_url {
            return Ok(Some(Self::Url { client: Client::to_anyone(url)?, url: url.clone() }));
        }
        Ok(args.to_stdout.then_some(Self::Stdout))
    }

    /// As people read it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Topic { target, brokers } => format!("topic {} at {brokers}", target.topic()),
            Self::Url { url, .. } => url.clone(),
            Self::Stdout => "the standard output".to_owned(),
        }
    }

    /// Adds an event to a batch.
    pub(super) fn add(&self, batch: &mut Batch, record: Record, wire: &rapport_proto::v1::Interaction) {
        batch.bytes += record.size();
        if !matches!(self, Self::Topic { .. }) {
            let text = json::write(wire, Vec::new());
            batch.bytes += text.len();
            batch.texts.push(text);
        }
        batch.records.push(record);
    }

    /// Delivers a batch: when this has answered, each event was taken or refused.
    pub(super) async fn deliver(&self, batch: &Batch) -> Outcome<Delivered> {
        match self {
            Self::Topic { target, .. } => append(target, &batch.records).await.map(|()| Delivered::default()),
            Self::Url { client, .. } => {
                let answer = client.publish(&batch.texts).await?;
                let verdicts = batch.records.iter().zip(answer.verdicts);
                Ok(Delivered {
                    rejected: verdicts.filter_map(|(record, verdict)| rejected(record, verdict)).collect(),
                    position: answer.position,
                    is_closed: false,
                })
            }
            Self::Stdout => {
                let lines: Vec<u8> = batch.texts.iter().flat_map(|text| text.iter().chain(b"\n")).copied().collect();
                Ok(Delivered { is_closed: !say::write(&lines)?, ..Delivered::default() })
            }
        }
    }
}

fn refused(error: TargetError) -> Failure {
    let exit = match &error {
        TargetError::Own { .. } | TargetError::Missing { .. } => Exit::BadInput,
        TargetError::Log(error) => log_exit(error),
    };
    Failure::of(exit, error)
}

fn rejected(record: &Record, verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Accepted { .. } => None,
        Verdict::Rejected { reasons } => {
            Some(format!("record {}-{} was rejected: {}", record.partition, record.offset, reasons.join("; ")))
        }
    }
}

/// Appends records, and again what was not acknowledged, until all are.
async fn append(target: &Target, records: &[Record]) -> Outcome {
    let topic = target.topic();
    let mut open: Vec<&Record> = records.iter().collect();
    let mut patience_ends = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        let answers = target.append(&open).await;
        let before = open.len();
        let mut reason = None;
        let mut failed = Vec::new();
        for (record, answer) in open.into_iter().zip(answers) {
            match answer {
                Ok(_) => {}
                Err(AppendError::TooLarge) => return Err(too_large(topic, record)),
                Err(error) => {
                    failed.push(record);
                    reason = Some(error);
                }
            }
        }
        let Some(reason) = reason else { return Ok(()) };
        open = failed;
        if open.len() < before {
            patience_ends = Instant::now() + PATIENCE;
        } else if Instant::now() > patience_ends {
            let seconds = PATIENCE.as_secs();
            let sentence = format_args!("topic {topic} took nothing for {seconds} s ({reason}); is it still there?");
            return Err(Failure::new(Exit::TryAgain, sentence));
        }
        if !told {
            told = true;
            say::note(format_args!("topic {topic} takes nothing at the moment ({reason}); trying again"));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

fn too_large(topic: &str, record: &Record) -> Failure {
    let (partition, offset, bytes) = (record.partition, record.offset, record.size());
    Failure::new(
        Exit::BadInput,
        format_args!(
            "record {partition}-{offset} has {bytes} bytes, more than topic {topic} takes: raise its max.message.bytes \
             to 4194304, as the log has it"
        ),
    )
}
