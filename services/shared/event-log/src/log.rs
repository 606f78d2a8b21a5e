//! Which log this is: its topics, its id, how far it reaches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::{Namespace, position::Offsets};
use prost::Message as _;
use rapport_proto::v1;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::appender::{Appender, AppenderOptions};
use crate::client::{Client, Reports};
use crate::error::{LogError, OtherPartitions};
use crate::reader;
use crate::record::{LOG_CREATED_TYPE, NewRecord, Record};

/// One answer of the brokers is waited for this long.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries while the cluster or the topic is not there yet.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Events of a client's connections dropped at once.
const EVENTS_DRAINED_MAX: usize = 1000;
/// The largest record a topic of ours takes: an event of 256 KiB and its envelope, with room.
const RECORD_BYTES_MAX: &str = "4194304";

/// Which cluster, which topics.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `host:port[,host:port…]`.
    pub brokers: String,
    /// Further librdkafka properties (SASL, TLS …), set last but for those the log's promises rest on.
    pub properties: BTreeMap<String, String>,
    /// The log's topic.
    pub topic: String,
    /// Where rejected events are kept.
    pub rejected_topic: String,
    /// Partitions of a topic that is created.
    pub partitions: i32,
    /// Replication factor of a topic that is created; from 3 on `min.insync.replicas` is 2.
    pub replication: i32,
    /// How long opening waits for the cluster and the topic.
    pub open_timeout: Duration,
}

impl LogOptions {
    /// The usual topics on this cluster, one replica, six partitions.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            properties: BTreeMap::new(),
            topic: "rapport.interactions".into(),
            rejected_topic: "rapport.rejected".into(),
            partitions: 6,
            replication: 1,
            open_timeout: Duration::from_secs(30),
        }
    }

    /// A client's configuration: what is usual, the user's properties, then what must hold.
    pub(crate) fn client(&self, usual: &[(&str, &str)], must: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("client.id", "rapport");
        for (name, value) in usual {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        for (name, value) in must {
            config.set(*name, *value);
        }
        // Connection losses are told once by what meets them, not by every client thread.
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Critical);
        config
    }

    /// The name of one of the two topics.
    pub(crate) fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::Log => &self.topic,
            Topic::Rejected => &self.rejected_topic,
        }
    }

    pub(crate) fn unreachable(&self, reason: impl ToString) -> LogError {
        LogError::Unreachable { brokers: self.brokers.clone(), reason: reason.to_string() }
    }
}

/// One of the log's two topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The interactions.
    Log,
    /// What the collector rejected.
    Rejected,
}

/// How far a partition reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset still there.
    pub start: i64,
    /// The offset the next record will get.
    pub end: i64,
}

/// An open log. Clones share one connection for questions.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    options: LogOptions,
    log_id: Uuid,
    namespace: Namespace,
    /// As its first record says, which a log of before does not: then as they were when it was opened.
    partitions: i32,
    /// When it was opened.
    partitions_found: i32,
    asker: Client,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("topic", &self.inner.options.topic).field("log_id", &self.inner.log_id).finish()
    }
}

impl Log {
    /// Opens a log that exists, waiting `open_timeout` for the cluster and the topic.
    ///
    /// # Errors
    /// The cluster does not answer, the topic is missing or empty after that time, or it is no log.
    pub async fn open(options: &LogOptions) -> Result<Self, LogError> {
        let deadline = Instant::now() + options.open_timeout;
        retry(deadline, || open_once(options)).await
    }

    /// Opens the log, creating its topics and its first record where they are missing; nothing else is asked of a cluster
    /// where all of them are there. Several may do so at once: the record that won offset 0 counts for all.
    ///
    /// Safe to cancel: what is still under way ends with the answer of the brokers that it waits for.
    ///
    /// # Errors
    /// As [`Log::open`], and when the broker refuses to create a topic.
    pub async fn open_or_create(options: &LogOptions) -> Result<Self, LogError> {
        let deadline = Instant::now() + options.open_timeout;
        if let Some(log) = retry(deadline, || open_or_create_topics(options)).await? {
            return Ok(log);
        }
        append_created(options).await?;
        Self::open(options).await
    }

    /// Names the log; a position belongs to one.
    pub fn log_id(&self) -> Uuid {
        self.inner.log_id
    }

    /// The secret from which subject ids are made.
    pub fn namespace(&self) -> &Namespace {
        &self.inner.namespace
    }

    /// How many partitions its topic had when the log was made; a log whose first record does not say so has as many as
    /// there were when it was opened.
    pub fn partitions(&self) -> i32 {
        self.inner.partitions
    }

    /// Whether its topic had as many partitions as the log was made with when it was opened.
    ///
    /// # Errors
    /// It had another number.
    pub fn check_opened(&self) -> Result<(), OtherPartitions> {
        self.check_partitions(self.inner.partitions_found)
    }

    /// Whether `found` partitions of its topic are as many as the log was made with.
    ///
    /// # Errors
    /// They are not.
    pub fn check_partitions(&self, found: i32) -> Result<(), OtherPartitions> {
        let made = self.inner.partitions;
        if found == made {
            return Ok(());
        }
        Err(OtherPartitions { topic: self.inner.options.topic.clone(), made, found })
    }

    /// What it was opened with.
    pub fn options(&self) -> &LogOptions {
        &self.inner.options
    }

    /// The name of one of its topics.
    pub fn topic(&self, topic: Topic) -> &str {
        self.inner.options.name(topic)
    }

    /// How far each partition of a topic reaches now.
    ///
    /// # Errors
    /// The cluster does not answer, or the topic is gone.
    pub async fn watermarks(&self, topic: Topic) -> Result<BTreeMap<i32, Watermarks>, LogError> {
        let log = self.clone();
        blocking(move || log.watermarks_now(log.topic(topic))).await
    }

    /// The first offset still there, a partition.
    ///
    /// # Errors
    /// As [`Log::watermarks`].
    pub async fn starts(&self) -> Result<Offsets, LogError> {
        Ok(self.watermarks(Topic::Log).await?.into_iter().map(|(p, w)| (p, w.start)).collect())
    }

    /// The offset the next record will get, a partition of the log's own: of what was added to the topic nothing is said.
    ///
    /// # Errors
    /// As [`Log::watermarks`].
    pub async fn ends(&self) -> Result<Offsets, LogError> {
        let own = |partition: &i32| *partition < self.partitions();
        let marks = self.watermarks(Topic::Log).await?;
        Ok(marks.into_iter().filter(|(p, _)| own(p)).map(|(p, w)| (p, w.end)).collect())
    }

    /// The records at exactly these offsets of the log; a partition is left out where none stands there.
    ///
    /// # Errors
    /// The cluster does not answer in time.
    pub async fn read_at(&self, offsets: &Offsets) -> Result<BTreeMap<i32, Record>, LogError> {
        let (log, offsets) = (self.clone(), offsets.clone());
        blocking(move || read_at(&log.inner.options, &log.inner.options.topic, &offsets)).await
    }

    /// Whether the topic still holds this log, and not one created since under the same name.
    ///
    /// # Errors
    /// The cluster does not answer in time.
    pub async fn is_still_itself(&self) -> Result<bool, LogError> {
        let first = self.read_at(&Offsets::from([(0, 0)])).await?.remove(&0);
        Ok(first.as_ref().and_then(created).is_some_and(|created| created.log_id == self.inner.log_id))
    }

    /// Where in each partition the first record appended at or after this time stands (milliseconds since 1970); the
    /// end where there is none.
    ///
    /// # Errors
    /// The cluster does not answer in time.
    pub async fn offsets_at(&self, topic: Topic, at_ms: i64) -> Result<Offsets, LogError> {
        let log = self.clone();
        blocking(move || {
            let name = log.topic(topic);
            let ends = log.watermarks_now(name)?;
            let mut asked = TopicPartitionList::new();
            for partition in ends.keys() {
                asked
                    .add_partition_offset(name, *partition, Offset::Offset(at_ms.max(0)))
                    .map_err(|e| log.inner.options.unreachable(e))?;
            }
            let found = log
                .inner
                .asker
                .offsets_for_times(asked, REQUEST_TIMEOUT)
                .map_err(|e| log.inner.options.unreachable(e))?;
            Ok(found
                .elements()
                .iter()
                .filter_map(|e| {
                    let end = ends.get(&e.partition())?.end;
                    Some((e.partition(), e.offset().to_raw().filter(|o| *o >= 0).unwrap_or(end)))
                })
                .collect())
        })
        .await
    }

    /// What the cluster calls itself; `None` if it does not say in time. Blocks.
    pub(crate) fn cluster_now(&self) -> Option<String> {
        self.inner.asker.client().fetch_cluster_id(REQUEST_TIMEOUT)
    }

    fn watermarks_now(&self, topic: &str) -> Result<BTreeMap<i32, Watermarks>, LogError> {
        drain(&self.inner.asker);
        let partitions = partition_count(&self.inner.options, &self.inner.asker, topic)?;
        (0..partitions)
            .map(|partition| {
                let (start, end) = self
                    .inner
                    .asker
                    .fetch_watermarks(topic, partition, REQUEST_TIMEOUT)
                    .map_err(|e| self.inner.options.unreachable(e))?;
                Ok((partition, Watermarks { start, end }))
            })
            .collect()
    }
}

/// Runs what blocks on the client away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Tries again until it works, cannot work, or the time has passed. The pauses are waited for here, and not on the thread
/// of an attempt: whoever gives up waiting is held up by one attempt at most.
async fn retry<T, F>(deadline: Instant, attempt: impl Fn() -> F) -> Result<T, LogError>
where
    F: Future<Output = Result<T, LogError>>,
{
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => tokio::time::sleep(RETRY_PAUSE).await,
            done => return done,
        }
    }
}

async fn open_once(options: &LogOptions) -> Result<Log, LogError> {
    let options = options.clone();
    blocking(move || open(&options)).await
}

/// `None`: its topics are there, and not yet its first record.
async fn open_or_create_topics(options: &LogOptions) -> Result<Option<Log>, LogError> {
    let missing = missing_topics(options).await?;
    if !missing.is_empty() {
        create_topics(options, &missing).await?;
    }
    match open_once(options).await {
        Err(LogError::Empty { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// Which of the log's topics are not there.
async fn missing_topics(options: &LogOptions) -> Result<Vec<Topic>, LogError> {
    let options = options.clone();
    blocking(move || {
        let asker = asker(&options)?;
        let mut missing = Vec::new();
        for topic in [Topic::Log, Topic::Rejected] {
            match partition_count(&options, &asker, options.name(topic)) {
                Ok(_) => {}
                Err(LogError::Missing { .. }) => missing.push(topic),
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    })
    .await
}

pub(crate) fn asker(options: &LogOptions) -> Result<Client, LogError> {
    // Without a group id no consumer group is ever joined; the client only answers questions.
    options
        .client(&[], &[("enable.auto.commit", "false")])
        .create_with_context(Reports)
        .map_err(|e| LogError::Configuration(e.to_string()))
}

/// Forgets what has happened to a client's connections: nobody else reads its queue of events.
pub(crate) fn drain(asker: &Client) {
    for _ in 0..EVENTS_DRAINED_MAX {
        if asker.poll(Duration::ZERO).is_none() {
            return;
        }
    }
}

pub(crate) fn partition_count(options: &LogOptions, asker: &Client, topic: &str) -> Result<i32, LogError> {
    let metadata = asker.fetch_metadata(Some(topic), REQUEST_TIMEOUT).map_err(|e| options.unreachable(e))?;
    let missing = || LogError::Missing { topic: topic.to_owned() };
    match metadata.topics().iter().find(|t| t.name() == topic) {
        Some(t) if t.error().is_none() && !t.partitions().is_empty() => Ok(t.partitions().len() as i32),
        // A topic without a leader is there all the same: where it is taken for missing, it is asked to be created.
        Some(t) => match t.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition) => Err(missing()),
            Some(code) => Err(options.unreachable(format!("topic {topic}: {code}"))),
        },
        None => Err(missing()),
    }
}

fn open(options: &LogOptions) -> Result<Log, LogError> {
    let asker = asker(options)?;
    let topic = &options.topic;
    let found = partition_count(options, &asker, topic)?;
    let (start, end) = asker.fetch_watermarks(topic, 0, REQUEST_TIMEOUT).map_err(|e| options.unreachable(e))?;
    if end == 0 {
        return Err(LogError::Empty { topic: topic.clone() });
    }
    let not_a_log = |found: &str| LogError::NotALog { topic: topic.clone(), found: found.to_owned() };
    if start > 0 {
        return Err(not_a_log("is gone (was it deleted by a retention limit? a log needs retention.ms=-1)"));
    }
    let first = read_at(options, topic, &Offsets::from([(0, 0)]))?
        .remove(&0)
        .ok_or_else(|| not_a_log("holds no record that can be read"))?;
    let Created { log_id, namespace, partitions } =
        created(&first).ok_or_else(|| not_a_log("is not a record of type io.rapport.log.created"))?;
    let partitions = partitions.unwrap_or(found);
    let options = options.clone();
    Ok(Log { inner: Arc::new(Inner { options, log_id, namespace, partitions, partitions_found: found, asker }) })
}

/// What a record of type `io.rapport.log.created` says.
struct Created {
    log_id: Uuid,
    namespace: Namespace,
    /// Logs of before say nothing of it.
    partitions: Option<i32>,
}

fn created(record: &Record) -> Option<Created> {
    let created = record.created.then(|| v1::LogCreated::decode(&record.value[..]).ok()).flatten()?;
    Some(Created {
        log_id: created.log_id.parse().ok()?,
        namespace: Namespace::new(Uuid::from_slice(&created.namespace).ok()?),
        partitions: Some(created.partitions).filter(|partitions| *partitions > 0),
    })
}

async fn append_created(options: &LogOptions) -> Result<(), LogError> {
    let (log_id, secret) = (Uuid::new_v4(), Uuid::new_v4());
    let asked = options.clone();
    // As they are, and not as the settings say: somebody else may have made the topic.
    let partitions = blocking(move || partition_count(&asked, &asker(&asked)?, &asked.topic)).await?;
    let created = v1::LogCreated { log_id: log_id.to_string(), namespace: secret.as_bytes().to_vec(), partitions };
    let value = created.encode_to_vec();
    let record = NewRecord::new("log", value)
        .header("ce_specversion", "1.0")
        .header("ce_id", log_id.to_string())
        .header("ce_source", "rapport")
        .header("ce_type", LOG_CREATED_TYPE)
        .header("content-type", "application/protobuf")
        .partition(0);
    let appender = Appender::connect(options, AppenderOptions::default())?;
    let mut results = appender.append(Topic::Log, vec![record]).await;
    match results.pop() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(options.unreachable(error)),
        None => Err(options.unreachable("the first record was not answered")),
    }
}

async fn create_topics(options: &LogOptions, missing: &[Topic]) -> Result<(), LogError> {
    let admin: AdminClient<DefaultClientContext> =
        options.client(&[], &[]).create().map_err(|e| LogError::Configuration(e.to_string()))?;
    let insync = if options.replication >= 3 { "2" } else { "1" };
    let topics = missing.iter().map(|topic| {
        let partitions = match topic {
            Topic::Log => options.partitions,
            Topic::Rejected => 1,
        };
        NewTopic::new(options.name(*topic), partitions, TopicReplication::Fixed(options.replication))
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("cleanup.policy", "delete")
            .set("min.insync.replicas", insync)
            .set("max.message.bytes", RECORD_BYTES_MAX)
    });
    let topics: Vec<_> = topics.collect();
    let asked = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    let results = admin.create_topics(&topics, &asked).await.map_err(|e| options.unreachable(e))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code @ (RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut))) => {
                return Err(options.unreachable(code));
            }
            Err((topic, code)) => return Err(LogError::NotCreated { topic, reason: code.to_string() }),
        }
    }
    // The admin's thread is joined when it is dropped.
    blocking(move || {
        drop(admin);
        Ok(())
    })
    .await
}

/// One record a partition, at exactly the offset asked for.
fn read_at(options: &LogOptions, topic: &str, offsets: &Offsets) -> Result<BTreeMap<i32, Record>, LogError> {
    if offsets.is_empty() {
        return Ok(BTreeMap::new());
    }
    let consumer = reader::consumer(options, topic, offsets).map_err(|e| options.unreachable(e))?;
    let found = poll_at(&consumer, offsets.clone());
    reader::let_go(consumer);
    found.ok_or_else(|| options.unreachable("a record that was asked for did not come in time"))
}

/// `None`: something was still missing when the time had passed.
fn poll_at(consumer: &Client, mut wanted: Offsets) -> Option<BTreeMap<i32, Record>> {
    let mut found = BTreeMap::new();
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while !wanted.is_empty() {
        if Instant::now() > deadline {
            return None;
        }
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                let record = Record::copy_of(&message);
                // A record beyond the offset says that none stands there.
                if wanted.remove(&record.partition) == Some(record.offset) {
                    found.insert(record.partition, record);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                wanted.remove(&partition);
            }
            // Of several partitions it does not say which one: what has not come by then is not there.
            Some(Err(error)) if reader::is_out_of_range(&error) => return Some(found),
            Some(Err(error)) => tracing::debug!(%error, "reading single records"),
        }
    }
    Some(found)
}
