//! The collector as a service: its options, how it starts, when it is ready, how it ends.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    identifier::{Normalizer, UnknownRegion},
    receipt,
};
use event_log::{Appender, AppenderOptions, Log, LogError, LogOptions};
use metrics_exporter_prometheus::PrometheusHandle;
use service_kit::{Clock, Health, ServeOptions};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{body::BodyReader, judge::Judge, metrics, outage::Outage, publish::Publisher, routes};

/// The condition of readiness: Kafka answers and confirms records, and the queue to it has room.
const KAFKA: &str = "kafka";

/// How often Kafka is asked whether it can take records.
const READINESS_INTERVAL: Duration = Duration::from_secs(1);
/// How many such questions there are for one whether the topic still holds the log.
const IDENTITY_EVERY: u32 = 5;
/// How long one such question may take.
const READINESS_TIMEOUT: Duration = Duration::from_secs(2);

/// How a collector is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where publishers connect. Port 0: any free one.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are, if anywhere.
    pub admin: Option<Admin>,
    /// The log; it is created where it is missing.
    pub log: LogOptions,
    /// The country whose national phone numbers are understood (`DE`); empty: international form only.
    pub default_region: String,
    /// Values that identify nobody, beside the built-in ones.
    pub placeholders: Vec<String>,
    /// A request is answered this long after it was read, at the latest.
    pub publish_timeout: Duration,
    /// What is refused.
    pub limits: Limits,
    /// Whose time `received_at` is.
    pub clock: Clock,
}

/// The server for those who run the collector.
#[derive(Clone)]
pub struct Admin {
    /// Where it listens. Port 0: any free one.
    pub listen: SocketAddr,
    /// The process's metrics.
    pub metrics: PrometheusHandle,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("listen", &self.listen).finish_non_exhaustive()
    }
}

/// What a collector accepts at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of one event's JSON.
    pub event_bytes_max: usize,
    /// Bytes of one request's body.
    pub request_bytes_max: usize,
    /// Events of one batch.
    pub request_events_max: usize,
    /// How far `time` may lie ahead of receipt.
    pub time_ahead_max: Duration,
    /// Bytes of all bodies being worked on, 1 KiB added for each event in them. At least what one request needs.
    pub in_flight_bytes_max: usize,
    /// Bytes of records waiting for Kafka.
    pub queue_bytes_max: u64,
    /// Requests being worked on.
    pub requests_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// From a connection's readiness to the end of a request's headers.
    pub header_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long requests under way are waited for at the end.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: 256 << 10,
            request_bytes_max: 5 << 20,
            request_events_max: 10_000,
            time_ahead_max: Duration::from_secs(24 * 60 * 60),
            in_flight_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
            requests_max: 1024,
            connections_max: 4096,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// The defaults, on this log.
    pub fn new(log: LogOptions) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7070)),
            admin: None,
            log,
            default_region: "DE".into(),
            placeholders: Vec::new(),
            publish_timeout: Duration::from_secs(5),
            limits: Limits::default(),
            clock: Clock::system(),
        }
    }
}

/// Why a collector did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// A setting is wrong.
    #[error("the default region is wrong")]
    Region(#[source] UnknownRegion),
    /// The log cannot be opened.
    #[error("the log cannot be opened")]
    Log(#[source] LogError),
    /// An address cannot be listened on.
    #[error("{what} cannot listen on {addr}; is the port in use?")]
    Listen {
        /// Which of the two servers.
        what: &'static str,
        /// Where.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A running collector. Dropping it ends it at once; [`Handle::shut_down`] and [`Handle::stopped`] end it well.
pub struct Handle {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    health: Health,
    appender: Appender,
    drain_timeout: Duration,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

/// Runs a collector until `shutdown`.
///
/// # Errors
/// As [`start`].
pub async fn serve(options: Options, shutdown: CancellationToken) -> Result<(), CollectorError> {
    if let Some(handle) = start(options, shutdown).await? {
        handle.stopped().await;
    }
    Ok(())
}

/// Starts a collector; it takes requests when this returns. `None`: it was told to end before its log was open.
///
/// # Errors
/// The log cannot be opened within its `open_timeout`, an address is in use, a setting is wrong.
pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Option<Handle>, CollectorError> {
    metrics::begin();
    let normalizer = Normalizer::new(&options.default_region, &options.placeholders).map_err(CollectorError::Region)?;
    // Addresses first: whether a port is in use is known at once, and not only when Kafka has answered.
    let listener = listen("the collector", options.listen).await?;
    let addr = bound(&listener);
    let admin = match options.admin {
        Some(admin) => Some((listen("the collector's admin server", admin.listen).await?, admin.metrics)),
        None => None,
    };
    let admin_addr = admin.as_ref().map(|(listener, _)| bound(listener));

    let mut tasks = JoinSet::new();
    let health = Health::new([KAFKA]);
    let ending = shutdown.child_token();
    let serving = ServeOptions {
        connections_max: options.limits.connections_max,
        header_read_timeout: options.limits.header_timeout,
        drain_timeout: options.limits.drain_timeout,
        ..ServeOptions::default()
    };
    if let Some((listener, metrics)) = admin {
        // Before the log is open: who waits for readiness is told what is missing.
        let router = service_kit::admin_router(health.clone(), metrics.clone());
        tasks.spawn(discard(service_kit::serve(listener, router, serving, ending.clone())));
        tasks.spawn(service_kit::keep_metrics_small(metrics, ending.clone()));
    }

    let appending = AppenderOptions {
        timeout: append_timeout(options.publish_timeout),
        queue_bytes_max: options.limits.queue_bytes_max,
        ..AppenderOptions::default()
    };
    // Kafka may be away for as long as the log is waited for: whoever is told to end meanwhile ends.
    let opening = async {
        let log = Log::open_or_create(&options.log).await?;
        let appender = Appender::open(&log, appending)?;
        let mut ends = log.ends().await?;
        // No model ever reaches a partition that is not the log's own.
        ends.retain(|partition, _| *partition < log.partitions());
        Ok((log, appender, ends))
    };
    let Some(opened) = shutdown.run_until_cancelled(opening).await else {
        tracing::info!("collector ended before its log was open");
        return Ok(None);
    };
    let (log, appender, ends) = opened.map_err(CollectorError::Log)?;
    match log.check_opened() {
        Ok(()) => health.holds(KAFKA),
        Err(other) => health.fails(KAFKA, other.to_string()),
    }
    let outage = Arc::new(Outage::default());
    let limits = options.limits;
    let app = routes::App {
        publisher: Publisher {
            judge: Judge {
                normalizer,
                limits: receipt::Limits { time_ahead_max: micros(limits.time_ahead_max) },
                event_bytes_max: limits.event_bytes_max,
            },
            appender: appender.clone(),
            log: log.clone(),
            publish_timeout: options.publish_timeout,
            acknowledged: Mutex::new(ends),
            outage: Arc::clone(&outage),
        },
        bodies: BodyReader::new(
            limits.request_bytes_max,
            limits.request_events_max,
            limits.in_flight_bytes_max,
            limits.body_timeout,
        ),
        requests: Semaphore::new(limits.requests_max.min(Semaphore::MAX_PERMITS)),
        request_events_max: limits.request_events_max,
        clock: options.clock,
    };
    let watching = watch_kafka(appender.clone(), log.clone(), outage, health.clone());
    tasks.spawn(discard(ending.clone().run_until_cancelled_owned(watching)));
    tasks.spawn(discard(service_kit::serve(listener, routes::router(Arc::new(app)), serving, ending.clone())));
    tracing::info!(%addr, log_id = %log.log_id(), partitions = log.partitions(), "collector listens");
    let drain_timeout = limits.drain_timeout;
    Ok(Some(Handle { addr, admin_addr, health, appender, drain_timeout, shutdown: ending, tasks }))
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its admin server listens, if it has one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Whether it is ready.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Begins to end: no new connections, requests under way are finished.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Waits for its end, which begins with the shutdown: at most `drain_timeout` twice.
    pub async fn stopped(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the collector ended by a panic");
            }
        }
        // Requests that were given up may have left records: a later copy of them does no harm, a lost one may.
        self.appender.flush(self.drain_timeout).await;
        tracing::info!("collector ended");
    }
}

/// Asks Kafka again and again whether it takes records, and publishing whether it confirms them: a cluster may answer
/// every question and yet write nothing.
async fn watch_kafka(appender: Appender, log: Log, outage: Arc<Outage>, health: Health) {
    // A broker that has just come back may tell of an empty log for a moment: only the second such answer counts.
    let mut was_another = false;
    for round in 0u32.. {
        if round.is_multiple_of(IDENTITY_EVERY) || was_another {
            match log.is_still_itself().await {
                Ok(true) => {
                    was_another = false;
                    outage.own_log_again();
                }
                Ok(false) if std::mem::replace(&mut was_another, true) => outage.is_another_log(),
                Ok(false) | Err(_) => {}
            }
        }
        let answers = appender.ready(READINESS_TIMEOUT).await;
        match outage.check().and(answers) {
            Ok(()) => health.holds(KAFKA),
            Err(reason) => health.fails(KAFKA, reason),
        }
        metrics::waiting(appender.waiting());
        tokio::time::sleep(READINESS_INTERVAL).await;
    }
}

async fn discard<T>(work: impl Future<Output = T>) {
    work.await;
}

async fn listen(what: &'static str, addr: SocketAddr) -> Result<TcpListener, CollectorError> {
    TcpListener::bind(addr).await.map_err(|source| CollectorError::Listen { what, addr, source })
}

fn bound(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a listener that is bound has an address")
}

/// The client gives records up in steps of a second: it must be done when the request has to be answered, or the answer
/// could not tell which records were confirmed.
fn append_timeout(publish_timeout: Duration) -> Duration {
    publish_timeout.saturating_sub(Duration::from_millis(1500)).max(publish_timeout / 2)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
