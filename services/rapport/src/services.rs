//! One service from its settings, until SIGINT or SIGTERM.

use std::time::Duration;

use collector::CollectorError;
use event_log::{Log, LogError, LogOptions};
use futures::FutureExt;
use projection::{Projector, ProjectorError, ProjectorOptions, ReadModel};
use projector_customer360::{Customer360, HubLimits};
use projector_sales::Sales;
use projector_service::Service;
use query::QueryError;
use service_kit::{
    Clock, Config, Health, LogFormat, ServeOptions, admin_router, init_logs, init_metrics, keep_metrics_small, serve,
    shutdown_on_signal, watch_disks,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::Model;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::ops::{local_directories, log_exit, log_options};

/// How long a service that starts waits for Kafka and PostgreSQL before it gives up (and is started again by whoever
/// watches it).
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a collector waits for a request's body once it has the header. No setting: `header_timeout_ms` is one
/// because idle connections end by it too.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a collector that starts looks whether its log is there already, where that matters to a warning alone.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// The condition that a projector's `/readyz` shows.
const PROJECTOR: &str = "projector";

/// How often that condition is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_millis(200);

/// `rapport collector`.
pub(crate) async fn collector(config: &Config) -> Outcome {
    let shutdown = shutdown_on_signal().or_exit(Exit::Unavailable)?;
    let metrics = telemetry(config)?;
    let ports = config.ports();
    let mut log = log_options(config)?;
    log.open_timeout = START_TIMEOUT;
    if shutdown.run_until_cancelled(warn_of_single_copies(config, &log)).await.is_none() {
        return Ok(());
    }
    let mut options = collector::Options::new(log);
    options.listen = config.listen(ports.collector_http);
    options.admin = Some(collector::Admin { listen: config.listen(ports.admin_collector), metrics });
    options.default_region = config.text("default_region").to_owned();
    options.placeholders = config.list("placeholders").to_vec();
    options.publish_timeout = config.duration("publish_timeout_ms");
    options.clock = Clock::system();
    options.limits = collector::Limits {
        event_bytes_max: config.usize("event_bytes_max"),
        request_bytes_max: config.usize("request_bytes_max"),
        request_events_max: config.usize("request_events_max"),
        time_ahead_max: config.duration("time_ahead_s_max"),
        queue_bytes_max: config.bytes("queue_bytes_max"),
        connections_max: config.usize("connections_max"),
        header_timeout: config.duration("header_timeout_ms"),
        body_timeout: BODY_TIMEOUT,
        drain_timeout: config.duration("drain_ms"),
        ..collector::Limits::default()
    };
    // One collector a machine says it, for all that runs there.
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_disks(local_directories(config), shutdown.clone()));
    collector::serve(options, shutdown).await.map_err(|error| {
        let exit = match &error {
            CollectorError::Region(_) => Exit::Configuration,
            CollectorError::Log(log) => log_exit(log),
            CollectorError::Listen { .. } => Exit::Unavailable,
        };
        Failure::of(exit, error)
    })
}

/// Says so where a log is about to be created that cannot outlive its one broker. The local Kafka is one broker.
async fn warn_of_single_copies(config: &Config, log: &LogOptions) {
    if !config.is_given("kafka") || log.replication > 1 {
        return;
    }
    let now = LogOptions { open_timeout: Duration::ZERO, ..log.clone() };
    let found = tokio::time::timeout(LOOK_TIMEOUT, Log::open(&now)).await.unwrap_or_else(|_| {
        let reason = format!("no answer within {} s", LOOK_TIMEOUT.as_secs());
        Err(LogError::Unreachable { brokers: log.brokers.clone(), reason })
    });
    if may_be_created(&found) {
        tracing::warn!(
            topic = log.topic,
            "replication is 1: a log that is created now has one copy, and is lost with its broker; with three brokers \
             or more, set replication to 3 (--replication 3, RAPPORT_REPLICATION=3) before the first start"
        );
    }
}

/// Whether the topic is missing, or nobody knows.
fn may_be_created(found: &Result<Log, LogError>) -> bool {
    matches!(found, Err(LogError::Missing { .. } | LogError::Unreachable { .. }))
}

/// `rapport query`.
pub(crate) async fn query(config: &Config) -> Outcome {
    let shutdown = shutdown_on_signal().or_exit(Exit::Unavailable)?;
    let metrics = telemetry(config)?;
    let ports = config.ports();
    let database_url = config.required_text("database_url").or_exit(Exit::Configuration)?;
    let mut options = query::Options::new(database_url, log_options(config)?);
    options.listen = config.listen(ports.query);
    options.admin = Some(query::Admin { listen: config.listen(ports.admin_query), metrics });
    options.default_region = config.text("default_region").to_owned();
    options.placeholders = config.list("placeholders").to_vec();
    options.hub_limits = hub_limits(config)?;
    options.wait_default = config.duration("wait_ms");
    options.limits = query::Limits {
        connections_max: config.usize("connections_max"),
        database_connections_max: config.u32("query_connections_max"),
        report_timeout: config.duration("report_timeout_ms"),
        header_timeout: config.duration("header_timeout_ms"),
        drain_timeout: config.duration("drain_ms"),
        ..query::Limits::default()
    };
    query::serve(options, shutdown).await.map_err(|error| {
        let exit = match &error {
            QueryError::Region(_) | QueryError::DatabaseUrl(_) => Exit::Configuration,
            QueryError::Listen { .. } => Exit::Unavailable,
        };
        Failure::of(exit, error)
    })
}

/// `rapport projector MODEL`.
pub(crate) async fn projector(config: &Config, model: Model) -> Outcome {
    let shutdown = shutdown_on_signal().or_exit(Exit::Unavailable)?;
    let metrics = telemetry(config)?;
    let ports = config.ports();
    let admin = config.listen(match model {
        Model::Sales => ports.admin_sales,
        Model::Service => ports.admin_service,
        Model::Customer360 => ports.admin_customer360,
    });
    let listener = TcpListener::bind(admin).await.map_err(|e| {
        Failure::new(Exit::Unavailable, format_args!("the projector's admin server cannot listen on {admin}: {e}"))
    })?;
    let health = Health::new([PROJECTOR]);
    let mut tasks = JoinSet::new();
    let router = admin_router(health.clone(), metrics.clone());
    tasks.spawn(serve(listener, router, ServeOptions::default(), shutdown.clone()).map(|_| ()));
    tasks.spawn(keep_metrics_small(metrics, shutdown.clone()));
    let limits = hub_limits(config)?;
    let mut options = ProjectorOptions::new(config.required_text("database_url").or_exit(Exit::Configuration)?);
    options.workers = config.usize("workers");
    options.batch_events_max = config.usize("batch_events_max");
    options.lease_ttl = config.duration("lease_ttl_ms");
    options.reporting_timezone = Some(config.text("reporting_timezone").to_owned());
    let mut log = log_options(config)?;
    log.open_timeout = START_TIMEOUT;
    let log = match shutdown.run_until_cancelled(Log::open(&log)).await {
        Some(log) => log.map_err(|error| Failure::of(log_exit(&error), error))?,
        None => return Ok(()),
    };
    let customer360 = Customer360::new(*log.namespace()).with_limits(limits);
    with_model(model, customer360, Projecting { log, options, health, shutdown, drain: config.duration("drain_ms") })
        .await
}

/// A projector about to be run.
struct Projecting {
    log: Log,
    options: ProjectorOptions,
    health: Health,
    shutdown: CancellationToken,
    drain: Duration,
}

impl WithModel for Projecting {
    type Output = Outcome;

    async fn run<M: ReadModel>(self, model: M) -> Outcome {
        let Self { log, options, health, shutdown, drain } = self;
        let starting = shutdown.run_until_cancelled(Projector::start(model, log, options)).await;
        let mut projector = match starting {
            Some(started) => started.map_err(stopped)?,
            None => return Ok(()),
        };
        let status = projector.health();
        let watching = async {
            loop {
                match status.snapshot().ready() {
                    Ok(()) => health.holds(PROJECTOR),
                    Err(reason) => health.fails(PROJECTOR, reason),
                }
                tokio::time::sleep(HEALTH_INTERVAL).await;
            }
        };
        let ended = tokio::select! {
            ended = projector.finished() => Some(ended),
            () = watching => None,
            () = shutdown.cancelled() => None,
        };
        match ended {
            Some(ended) => ended.map_err(stopped),
            None => projector.stop(drain).await.map_err(stopped),
        }
    }
}

/// Why a projector ended, as the end of the command.
fn stopped(error: ProjectorError) -> Failure {
    let exit = match &error {
        ProjectorError::Log(log) => log_exit(log),
        ProjectorError::Database { .. } => Exit::Unavailable,
        ProjectorError::Generation(_) | ProjectorError::Backbone(_) => Exit::Configuration,
        ProjectorError::LogRecreated { .. } | ProjectorError::LogTruncated { .. } | ProjectorError::Broken { .. } => {
            Exit::Difference
        }
    };
    Failure::of(exit, error)
}

/// When an identifier is a hub.
pub(crate) fn hub_limits(config: &Config) -> Outcome<HubLimits> {
    let limits = HubLimits::default().with(config.list("hub_limits"));
    limits.map_err(|sentence| Failure::new(Exit::Configuration, format_args!("the setting hub_limits: {sentence}")))
}

/// Something to be done with whichever read model was named.
pub(crate) trait WithModel {
    type Output;

    /// Does it.
    async fn run<M: ReadModel>(self, model: M) -> Self::Output;
}

/// Hands the named read model to `work`; `customer360` is that model as it is to be.
pub(crate) async fn with_model<W: WithModel>(model: Model, customer360: Customer360, work: W) -> W::Output {
    match model {
        Model::Sales => work.run(Sales).await,
        Model::Service => work.run(Service).await,
        Model::Customer360 => work.run(customer360).await,
    }
}

/// Logs and metrics of a service.
fn telemetry(config: &Config) -> Outcome<metrics_exporter_prometheus::PrometheusHandle> {
    init_logs(LogFormat::from_setting(config.text("log_format")), config.text("log_level"))
        .or_exit(Exit::Configuration)?;
    for warning in config.warnings() {
        tracing::warn!(warning, "check the settings");
    }
    init_metrics().or_exit(Exit::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_there_is_not_created() {
        let (topic, text) = (|| "t".to_owned(), String::new);
        for (error, may) in [
            (LogError::Missing { topic: topic() }, true),
            (LogError::Unreachable { brokers: text(), reason: text() }, true),
            (LogError::Empty { topic: topic() }, false),
            (LogError::NotALog { topic: topic(), found: text() }, false),
            (LogError::Configuration(text()), false),
        ] {
            let said = error.to_string();
            assert_eq!(may_be_created(&Err(error)), may, "{said}");
        }
    }
}
