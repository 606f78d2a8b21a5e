//! Appending: every record gets an answer, and a request is woken up once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use crate::client::{Client, Reports};
use crate::error::{LogError, OtherPartitions};
use crate::log::{Log, LogOptions, Topic, blocking, drain};
use crate::record::NewRecord;

/// Bounds of appending.
#[derive(Clone, Debug)]
pub struct AppenderOptions {
    /// A record not acknowledged by then is answered with [`AppendError::Unavailable`]. Keep it below the deadline of
    /// whoever waits.
    pub timeout: Duration,
    /// Records that may wait in the client.
    pub queue_records_max: u32,
    /// Bytes that may wait in the client.
    pub queue_bytes_max: u64,
    /// How long the client waits for more records before it sends a batch, milliseconds. 0 with one request in flight
    /// adapts by itself: what comes while a request is under way makes the next batch.
    pub linger_ms: f64,
    /// Requests under way to one broker (1 to 5).
    pub in_flight_max: u8,
}

impl Default for AppenderOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            queue_records_max: 100_000,
            queue_bytes_max: 64 * 1024 * 1024,
            linger_ms: 0.0,
            in_flight_max: 1,
        }
    }
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full: the record was not taken. Slow down and try again.
    #[error("the queue to Kafka is full")]
    QueueFull,
    /// Not acknowledged in time. It may still have been written; appending it again is harmless, events have ids.
    #[error("Kafka did not acknowledge the record in time: {0}")]
    Unavailable(String),
    /// The broker takes no record of this size.
    #[error("the record is larger than the topic takes")]
    TooLarge,
    /// The log takes no records: its topic has another number of partitions than it was made with.
    #[error("{0}")]
    OtherPartitions(String),
    /// The client had to be replaced; the record may or may not have been written. Try again.
    #[error("the Kafka client had to be replaced: {0}")]
    Fatal(String),
}

impl AppendError {
    /// In a word, for figures.
    pub fn name(&self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unavailable(_) => "unavailable",
            Self::TooLarge => "too_large",
            Self::OtherPartitions(_) => "other_partitions",
            Self::Fatal(_) => "fatal",
        }
    }
}

/// Where a record was written.
pub type Appended = Result<(i32, i64), AppendError>;

/// Appends records. Clones share one client. Cheap to clone.
#[derive(Clone)]
pub struct Appender {
    inner: Arc<Inner>,
}

type Producer = ThreadedProducer<Deliveries>;

struct Inner {
    log: LogOptions,
    options: AppenderOptions,
    producer: RwLock<Arc<Producer>>,
    /// The log, where it is one already: records for it are refused while its partitions are not its own.
    of: Option<Log>,
    /// Why they are refused now.
    refused: Mutex<Option<OtherPartitions>>,
    /// Held while a client is being replaced.
    replacing: Mutex<()>,
    asker: Client,
}

impl Appender {
    /// Connects to an open log.
    ///
    /// # Errors
    /// The client refuses its configuration.
    pub fn open(log: &Log, options: AppenderOptions) -> Result<Self, LogError> {
        let appender = Self::to(log.options(), options, Some(log.clone()))?;
        let _ = appender.check(log.check_opened());
        Ok(appender)
    }

    /// Connects to topics that may not be a log yet.
    pub(crate) fn connect(log: &LogOptions, options: AppenderOptions) -> Result<Self, LogError> {
        Self::to(log, options, None)
    }

    fn to(log: &LogOptions, options: AppenderOptions, of: Option<Log>) -> Result<Self, LogError> {
        let producer = Arc::new(producer(log, &options)?);
        let asker =
            log.client(&[], &[]).create_with_context(Reports).map_err(|e| LogError::Configuration(e.to_string()))?;
        let (log, producer) = (log.clone(), RwLock::new(producer));
        let inner = Inner { log, options, producer, of, refused: Mutex::default(), replacing: Mutex::default(), asker };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Appends records and waits until each is on all in-sync replicas or has failed. The answers stand in the order of
    /// the records. Records of one key that succeed in one call keep their order.
    ///
    /// Cancelling stops the waiting, not the appending.
    pub async fn append(&self, topic: Topic, records: Vec<NewRecord>) -> Vec<Appended> {
        let name = self.inner.log.name(topic);
        let Some(log) = self.inner.of.as_ref().filter(|_| topic == Topic::Log) else {
            return self.append_to(name, records).await;
        };
        if let Some(refused) = &*lock(&self.inner.refused) {
            let refused = AppendError::OtherPartitions(refused.to_string());
            return vec![Err(refused); records.len()];
        }
        let mut appended = self.append_to(name, records).await;
        for result in &mut appended {
            // The client may know of a partition more before it was asked for: what lies there nobody folds.
            if let Ok((partition, _)) = *result
                && partition >= log.partitions()
                && let Err(other) = self.check(log.check_partitions(partition + 1))
            {
                *result = Err(AppendError::OtherPartitions(other.to_string()));
            }
        }
        appended
    }

    /// Takes note of whether the topic's partitions are the log's own, and says so where that has changed.
    fn check(&self, found: Result<(), OtherPartitions>) -> Result<(), OtherPartitions> {
        let mut refused = lock(&self.inner.refused);
        match (&found, &*refused) {
            (Err(other), None) => tracing::error!(reason = %other, "the log takes no records any more"),
            (Ok(()), Some(_)) => tracing::info!("the log takes records again"),
            _ => {}
        }
        *refused = found.clone().err();
        found
    }

    /// The same, to a topic by its name.
    pub(crate) async fn append_to(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Appended> {
        if records.is_empty() {
            return Vec::new();
        }
        let producer = self.producer().await;
        let (done, all_done) = oneshot::channel();
        let request = Arc::new(Request {
            results: Mutex::new(vec![None; records.len()]),
            // One more than records, so that the answer cannot be ready before all of them are handed over.
            open: AtomicUsize::new(records.len() + 1),
            done: Mutex::new(Some(done)),
        });
        for (index, record) in records.into_iter().enumerate() {
            let ticket = Box::new(Ticket { request: Arc::clone(&request), index });
            let mut base = BaseRecord::with_opaque_to(topic, ticket).payload(&record.value).headers(record.headers);
            if !record.key.is_empty() {
                base = base.key(&record.key);
            }
            if let Some(partition) = record.partition {
                base = base.partition(partition);
            }
            if let Err((error, refused)) = producer.send(base) {
                refused.delivery_opaque.answer(Err(append_error(&error)));
            }
        }
        request.one_less();
        // The sender lives in the request, which every ticket holds: it cannot be lost.
        let _ = all_done.await;
        let results = std::mem::take(&mut *lock(&request.results));
        let lost = || Err(AppendError::Unavailable("the client gave no answer".into()));
        results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
    }

    /// Whether records can be appended now: the topic is there with a leader for every partition and with the log's own
    /// number of them, the queue has room.
    ///
    /// # Errors
    /// A sentence saying what is missing.
    pub async fn ready(&self, timeout: Duration) -> Result<(), String> {
        let waiting = self.current().in_flight_count();
        let room = i64::from(self.inner.options.queue_records_max) * 9 / 10;
        if i64::from(waiting) > room {
            return Err(format!("the queue to Kafka is nearly full: {waiting} records wait"));
        }
        let appender = self.clone();
        let asked = blocking(move || {
            drain(&appender.inner.asker);
            let topic = appender.inner.log.topic.clone();
            appender
                .inner
                .asker
                .fetch_metadata(Some(&topic), timeout)
                .map_err(|e| LogError::Unreachable {
                    brokers: appender.inner.log.brokers.clone(),
                    reason: e.to_string(),
                })
                .and_then(|metadata| {
                    let found = metadata.topics().iter().find(|t| t.name() == topic);
                    match found.filter(|t| t.error().is_none() && !t.partitions().is_empty()) {
                        None => Err(LogError::Missing { topic }),
                        Some(t) => {
                            let leaderless = t.partitions().iter().filter(|p| p.leader() < 0).count();
                            Ok((t.partitions().len(), leaderless))
                        }
                    }
                })
        });
        let (found, leaderless) = asked.await.map_err(|error| error.to_string())?;
        if let Some(log) = &self.inner.of {
            let found = i32::try_from(found).unwrap_or(i32::MAX);
            self.check(log.check_partitions(found)).map_err(|other| other.to_string())?;
        }
        match leaderless {
            0 => Ok(()),
            without => Err(format!("{without} partitions of the log have no leader")),
        }
    }

    /// Records handed over and not yet answered.
    pub fn waiting(&self) -> usize {
        usize::try_from(self.current().in_flight_count()).unwrap_or(0)
    }

    /// Waits until everything handed over has been answered, at most `timeout`.
    pub async fn flush(&self, timeout: Duration) {
        let deadline = tokio::time::Instant::now() + timeout;
        while self.waiting() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn current(&self) -> Arc<Producer> {
        Arc::clone(&self.inner.producer.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client, replaced first if it met an error it cannot recover from.
    async fn producer(&self) -> Arc<Producer> {
        let current = self.current();
        if !current.context().broken.load(Ordering::Acquire) {
            return current;
        }
        drop(current);
        let appender = self.clone();
        let replaced = blocking(move || {
            let _one_at_a_time = lock(&appender.inner.replacing);
            if appender.current().context().broken.load(Ordering::Acquire) {
                let new = Arc::new(producer(&appender.inner.log, &appender.inner.options)?);
                let old = {
                    let mut slot = appender.inner.producer.write().unwrap_or_else(PoisonError::into_inner);
                    std::mem::replace(&mut *slot, new)
                };
                tracing::warn!("the Kafka client met an error it cannot recover from and was replaced");
                // Waits for its thread; what it still held is answered with an error.
                drop(old);
            }
            Ok(())
        });
        if let Err(error) = replaced.await {
            tracing::error!(%error, "the Kafka client could not be replaced");
        }
        self.current()
    }
}

fn producer(log: &LogOptions, options: &AppenderOptions) -> Result<Producer, LogError> {
    let timeout_ms = options.timeout.as_millis().max(10).to_string();
    let usual = [("compression.type", "lz4"), ("reconnect.backoff.max.ms", "1000")];
    let config = log.client(
        &usual,
        &[
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // Java's partitioner: whoever produces with the same key meets the same partition.
            ("partitioner", "murmur2_random"),
            ("linger.ms", &options.linger_ms.to_string()),
            ("max.in.flight.requests.per.connection", &options.in_flight_max.clamp(1, 5).to_string()),
            ("message.timeout.ms", &timeout_ms),
            ("queue.buffering.max.messages", &options.queue_records_max.to_string()),
            ("queue.buffering.max.kbytes", &(options.queue_bytes_max / 1024).max(1).to_string()),
            ("message.max.bytes", "4194304"),
        ],
    );
    config
        .create_with_context::<_, ThreadedProducer<Deliveries>>(Deliveries::default())
        .map_err(|e| LogError::Configuration(e.to_string()))
}

/// What one call of `append` waits for.
struct Request {
    results: Mutex<Vec<Option<Appended>>>,
    open: AtomicUsize,
    done: Mutex<Option<oneshot::Sender<()>>>,
}

impl Request {
    fn one_less(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(done) = lock(&self.done).take()
        {
            // Nobody waits any more where the request was cancelled.
            let _ = done.send(());
        }
    }
}

/// Travels with a record through the client.
struct Ticket {
    request: Arc<Request>,
    index: usize,
}

impl Ticket {
    fn answer(&self, result: Appended) {
        lock(&self.request.results)[self.index] = Some(result);
        self.request.one_less();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Deliveries {
    /// A fatal error was met: the client can send nothing any more.
    broken: AtomicBool,
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.broken.store(true, Ordering::Release);
        }
        tracing::debug!(%error, reason, "the Kafka client reports");
    }
}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.answer(match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => {
                let error = append_error(error);
                if matches!(error, AppendError::Fatal(_)) {
                    self.broken.store(true, Ordering::Release);
                }
                Err(error)
            }
        });
    }
}

fn append_error(error: &KafkaError) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => AppendError::QueueFull,
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => AppendError::TooLarge,
        Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {
            AppendError::Fatal(error.to_string())
        }
        _ => AppendError::Unavailable(error.to_string()),
    }
}
