//! One service from its settings, until SIGINT or SIGTERM.

use std::time::Duration;

use domain::Namespace;
use event_log::Log;
use futures::FutureExt;
use projection::{Projector, ProjectorError, ProjectorOptions, ReadModel};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use service_kit::{
    Clock, Config, Health, LogFormat, ServeOptions, admin_router, init_logs, init_metrics, keep_metrics_small, serve,
    shutdown_on_signal,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::cli::Model;
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::ops::log_options;

/// How long a service that starts waits for Kafka and PostgreSQL before it gives up (and is started again by whoever
/// watches it).
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a header may take is for idle connections too; a collector's clients send theirs at once.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

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
    collector::serve(options, shutdown).await.or_exit(Exit::Unavailable)
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
    options.wait_default = config.duration("wait_ms");
    options.limits = query::Limits {
        connections_max: config.usize("connections_max"),
        database_connections_max: config.u32("query_connections_max"),
        header_timeout: config.duration("header_timeout_ms"),
        drain_timeout: config.duration("drain_ms"),
        ..query::Limits::default()
    };
    query::serve(options, shutdown).await.or_exit(Exit::Unavailable)
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
    let mut options = ProjectorOptions::new(config.required_text("database_url").or_exit(Exit::Configuration)?);
    options.workers = config.usize("workers");
    options.batch_events_max = config.usize("batch_events_max");
    options.lease_ttl = config.duration("lease_ttl_ms");
    options.reporting_timezone = Some(config.text("reporting_timezone").to_owned());
    let mut log = log_options(config)?;
    log.open_timeout = START_TIMEOUT;
    let log = match shutdown.run_until_cancelled(Log::open(&log)).await {
        Some(log) => log.or_exit(Exit::Unavailable)?,
        None => return Ok(()),
    };
    let namespace = *log.namespace();
    with_model(
        model,
        Some(namespace),
        Projecting { log, options, health, shutdown, drain: config.duration("drain_ms") },
    )
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
        ProjectorError::Log(_) | ProjectorError::Database { .. } => Exit::Unavailable,
        ProjectorError::Generation(_) | ProjectorError::Backbone(_) => Exit::Configuration,
        ProjectorError::LogRecreated { .. } | ProjectorError::LogTruncated { .. } | ProjectorError::Broken { .. } => {
            Exit::Difference
        }
    };
    Failure::of(exit, error)
}

/// Something to be done with whichever read model was named.
pub(crate) trait WithModel {
    type Output;

    /// Does it.
    async fn run<M: ReadModel>(self, model: M) -> Self::Output;
}

/// Hands the named read model to `work`. `namespace`: the log's, where subjects are to be named.
pub(crate) async fn with_model<W: WithModel>(model: Model, namespace: Option<Namespace>, work: W) -> W::Output {
    match model {
        Model::Sales => work.run(Sales).await,
        Model::Service => work.run(Service).await,
        Model::Customer360 => work.run(Customer360::new(namespace.unwrap_or(Namespace::new(Uuid::nil())))).await,
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
