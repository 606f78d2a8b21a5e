//! Following partitions from given offsets. No consumer group: who reads what is decided elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::position::Offsets;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::client::{Client, Reports};
use crate::log::{Log, LogOptions, Topic};
use crate::record::Record;

/// Records handed over at once by the reading thread.
const CHUNK_RECORDS_MAX: usize = 1000;
/// Bytes handed over at once, about.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Chunks that wait between the reading thread and the caller.
const CHUNKS_MAX: usize = 4;
/// The reading thread looks this often whether it should stop.
const POLL: Duration = Duration::from_millis(50);

/// How the log is fetched, unless the user says otherwise. A broker gathers what comes in within some milliseconds:
/// answering each record by itself costs it and its readers ten times as much processor time, and the records wait for
/// their transaction anyway.
const USUAL: &[(&str, &str)] = &[
    ("fetch.min.bytes", "65536"),
    ("fetch.wait.max.ms", "20"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.error.backoff.ms", "100"),
    ("queued.min.messages", "10000"),
    ("queued.max.messages.kbytes", "16384"),
    ("reconnect.backoff.max.ms", "1000"),
];

/// The same for whom nobody waits. At the end of the log the broker has a fraction of the answers to give, and the reader of
/// the batches to fold; before it an answer is too small to hold up those for others.
const UNHURRIED: &[(&str, &str)] = &[
    ("fetch.wait.max.ms", "150"),
    ("fetch.max.bytes", "1048576"),
    ("max.partition.fetch.bytes", "131072"),
    ("queued.min.messages", "1000"),
    ("queued.max.messages.kbytes", "1024"),
];

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset to read from does not exist (any more): the log was truncated or recreated.
    #[error("the log does not reach the offsets asked for (any more): {0}")]
    OffsetOutOfRange(String),
    /// The topic is gone.
    #[error("the topic or a partition of it does not exist: {0}")]
    Missing(String),
    /// Nothing has come for this long, though records are still to come.
    #[error("nothing was read for {} s though the end is not reached; is Kafka running?", .0.as_secs())]
    Stalled(Duration),
    /// The client gave up.
    #[error("the Kafka client cannot go on: {0}")]
    Fatal(String),
    /// A reader must be opened with a configuration that the client takes.
    #[error("the Kafka client refused its configuration: {0}; check the [kafka] properties")]
    Configuration(String),
}

/// What was there.
#[derive(Debug, Default)]
pub struct Fetched {
    /// In order within each partition.
    pub records: Vec<Record>,
    /// Partitions whose end was reached after the records above.
    pub at_end: Vec<i32>,
}

impl Fetched {
    /// Neither a record nor an end.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.at_end.is_empty()
    }
}

enum Item {
    Record(Record),
    End(i32),
    Failed(ReadError),
}

/// Reads partitions on a thread of its own. Other partitions or offsets: open another one (assigning a client twice can
/// lose the offsets). Dropping it ends the thread.
pub struct Reader {
    chunks: mpsc::Receiver<Vec<Item>>,
    pending: VecDeque<Item>,
    stopping: Arc<AtomicBool>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

impl Reader {
    /// Starts reading each partition of a topic at its offset.
    ///
    /// # Errors
    /// The client refuses its configuration.
    pub fn open(log: &Log, topic: Topic, from: &Offsets) -> Result<Self, ReadError> {
        Self::of(consumer(log.options(), log.topic(topic), from))
    }

    /// The same where nobody waits for what is read: it comes a moment later, and more of it at once.
    ///
    /// # Errors
    /// The client refuses its configuration.
    pub fn open_unhurried(log: &Log, topic: Topic, from: &Offsets) -> Result<Self, ReadError> {
        let usual = [USUAL, UNHURRIED].concat();
        Self::of(assigned(log.options(), log.topic(topic), from, &usual))
    }

    fn of(consumer: Result<Client, KafkaError>) -> Result<Self, ReadError> {
        let consumer = consumer.map_err(|e| ReadError::Configuration(e.to_string()))?;
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let thread_stopping = Arc::clone(&stopping);
        std::thread::Builder::new()
            .name("log-reader".into())
            .spawn(move || follow(&consumer, &sender, &thread_stopping))
            .map_err(|e| ReadError::Fatal(format!("no thread could be started: {e}")))?;
        Ok(Self { chunks, pending: VecDeque::new(), stopping })
    }

    /// A reader to which nothing ever comes.
    #[cfg(test)]
    pub(crate) fn silent() -> (Self, impl Sized) {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        (Self { chunks, pending: VecDeque::new(), stopping: Arc::default() }, sender)
    }

    /// What is there now, at most `events_max` records or about `bytes_max` bytes; waits up to `wait` for the first.
    /// Safe to cancel.
    ///
    /// # Errors
    /// Reading cannot go on; the reader is of no further use.
    pub async fn next(&mut self, events_max: usize, bytes_max: usize, wait: Duration) -> Result<Fetched, ReadError> {
        if self.pending.is_empty() {
            match tokio::time::timeout(wait, self.chunks.recv()).await {
                Err(_) => return Ok(Fetched::default()),
                Ok(None) => return Err(ReadError::Fatal("its thread has ended".into())),
                Ok(Some(chunk)) => self.pending.extend(chunk),
            }
        }
        let mut fetched = Fetched::default();
        let mut bytes = 0;
        while fetched.records.len() < events_max && bytes < bytes_max {
            let Some(item) = self.pending.pop_front() else {
                match self.chunks.try_recv() {
                    Ok(chunk) => self.pending.extend(chunk),
                    Err(_) => break,
                }
                continue;
            };
            match item {
                Item::Record(record) => {
                    bytes += record.size();
                    fetched.at_end.retain(|p| *p != record.partition);
                    fetched.records.push(record);
                }
                Item::End(partition) => fetched.at_end.push(partition),
                // What came before the failure is handed over first.
                Item::Failed(error) if fetched.is_empty() => return Err(error),
                failed => {
                    self.pending.push_front(failed);
                    break;
                }
            }
        }
        Ok(fetched)
    }
}

/// A client assigned to exactly these offsets.
pub(crate) fn consumer(options: &LogOptions, topic: &str, from: &Offsets) -> Result<Client, KafkaError> {
    assigned(options, topic, from, USUAL)
}

fn assigned(options: &LogOptions, topic: &str, from: &Offsets, usual: &[(&str, &str)]) -> Result<Client, KafkaError> {
    let consumer: Client = options
        .client(
            usual,
            &[
                // A name is required where partitions are assigned by hand; no group is joined and no offset committed.
                ("group.id", "rapport"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "error"),
                ("isolation.level", "read_committed"),
                ("check.crcs", "true"),
                ("enable.partition.eof", "true"),
            ],
        )
        .create_with_context(Reports)?;
    let mut assignment = TopicPartitionList::with_capacity(from.len());
    for (partition, offset) in from {
        assignment.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// Closes a client without waiting for it: closing asks the cluster for a group coordinator that these clients never
/// use, and lasts for as long as nobody answers.
pub(crate) fn let_go(consumer: Client) {
    let closing = std::thread::Builder::new().name("log-closing".into()).spawn(move || drop(consumer));
    if let Err(error) = closing {
        tracing::warn!(%error, "no thread could be started to close a Kafka client");
    }
}

pub(crate) fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset))
}

fn follow(consumer: &Client, sender: &mpsc::Sender<Vec<Item>>, stopping: &AtomicBool) {
    while !stopping.load(Ordering::Relaxed) {
        let Some(first) = consumer.poll(POLL) else { continue };
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(polled) = next {
            match polled {
                Ok(message) => {
                    let record = Record::copy_of(&message);
                    bytes += record.size();
                    chunk.push(Item::Record(record));
                }
                Err(error) => chunk.extend(item_of(&error)),
            }
            if chunk.len() >= CHUNK_RECORDS_MAX || bytes >= CHUNK_BYTES_MAX {
                break;
            }
            next = consumer.poll(Duration::ZERO);
        }
        let failed = chunk.iter().any(|item| matches!(item, Item::Failed(_)));
        if !chunk.is_empty() && (sender.blocking_send(chunk).is_err() || failed) {
            return;
        }
    }
}

fn item_of(error: &KafkaError) -> Option<Item> {
    if let KafkaError::PartitionEOF(partition) = error {
        return Some(Item::End(*partition));
    }
    if is_out_of_range(error) {
        return Some(Item::Failed(ReadError::OffsetOutOfRange(error.to_string())));
    }
    match error {
        KafkaError::MessageConsumptionFatal(_) => return Some(Item::Failed(ReadError::Fatal(error.to_string()))),
        _ => match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicId,
            ) => return Some(Item::Failed(ReadError::Missing(error.to_string()))),
            // Connections come and go; the client goes on by itself.
            _ => tracing::debug!(%error, "reading the log"),
        },
    }
    None
}
