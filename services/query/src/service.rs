//! The query service as a process part: its options, how it starts, when it is ready, how it ends.

use std::{net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use domain::identifier::{Normalizer, UnknownRegion};
use event_log::LogOptions;
use metrics_exporter_prometheus::PrometheusHandle;
use projector_customer360::HubLimits;
use service_kit::{Health, ServeOptions};
use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    database::{self, Checkpoints, DATABASE, Database, MODELS},
    http::{self, App},
    log_end::LogEnd,
    metrics,
    past::Folding,
    views::{self, VIEWS},
    waiting::Waiting,
};

/// How a query service is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients connect. Port 0: any free one.
    pub listen: SocketAddr,
    /// The admin server, if there is to be one.
    pub admin: Option<Admin>,
    /// PostgreSQL, as `postgres://user@host:port/database`. May be a replica.
    pub database_url: String,
    /// The log, to say how far the models are behind it.
    pub log: LogOptions,
    /// The country whose national phone numbers are understood in references (`DE`): as the collector's.
    pub default_region: String,
    /// Values that identify nobody, beside the built-in ones: as the collector's.
    pub placeholders: Vec<String>,
    /// When an identifier is a hub: as the projector of customer360's.
    pub hub_limits: HubLimits,
    /// How long a request waits for its position without `wait_ms`.
    pub wait_default: Duration,
    /// What is refused or cut off.
    pub limits: Limits,
}

/// Where `/livez`, `/readyz` and `/metrics` are.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Port 0: any free one.
    pub listen: SocketAddr,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

/// What is done at once at most, and for how long.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests being answered, those that wait for a position included.
    pub requests_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// Connections to PostgreSQL that requests share; half of them at most make reports. Three more: one reads
    /// checkpoints for those who wait, one for readiness, and one keeps the views over more than one model.
    pub database_connections_max: u32,
    /// How long a request waits for one of those.
    pub acquire_timeout: Duration,
    /// How long PostgreSQL may work on one statement.
    pub statement_timeout: Duration,
    /// How long it may work on a report: analysts ask for more than a page.
    pub report_timeout: Duration,
    /// How many events may be folded to tell a customer's past.
    pub past_events_max: usize,
    /// From a connection's readiness to the end of a request's headers.
    pub header_timeout: Duration,
    /// How long requests under way are waited for at the end.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_max: 1024,
            connections_max: 4096,
            database_connections_max: 8,
            acquire_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            report_timeout: Duration::from_secs(30),
            past_events_max: 20_000,
            header_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Options {
    /// The defaults, on this database and log.
    pub fn new(database_url: impl Into<String>, log: LogOptions) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7072)),
            admin: None,
            database_url: database_url.into(),
            log,
            default_region: "DE".into(),
            placeholders: Vec::new(),
            hub_limits: HubLimits::default(),
            wait_default: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// Why a query service did not start.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A setting is wrong.
    #[error("the default region is wrong")]
    Region(#[source] UnknownRegion),
    /// The database's address cannot be read. The address itself may hold a password and is not shown.
    #[error("the database URL cannot be read; it has the form postgres://user@host:port/database")]
    DatabaseUrl(#[source] sqlx::Error),
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

/// A running query service. Dropping it ends it at once; [`Handle::shut_down`] and [`Handle::stopped`] end it well.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    health: Health,
    waiting: Waiting,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
    pool: PgPool,
}

/// Runs a query service until `shutdown`.
///
/// # Errors
/// As [`start`].
pub async fn serve(options: Options, shutdown: CancellationToken) -> Result<(), QueryError> {
    start(options, shutdown).await?.stopped().await;
    Ok(())
}

/// Starts a query service; it takes requests when this returns. Neither PostgreSQL nor Kafka need be there yet: until
/// they are, it answers 503.
///
/// # Errors
/// An address is in use, a setting is wrong.
pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Handle, QueryError> {
    metrics::begin();
    let normalizer = Normalizer::new(&options.default_region, &options.placeholders).map_err(QueryError::Region)?;
    let limits = &options.limits;
    let database = connect_options(&options.database_url, limits.statement_timeout)?;
    let listener = listen("the query service", options.listen).await?;
    let addr = bound(&listener);
    let mut tasks = JoinSet::new();
    let health = Health::new([DATABASE, MODELS, VIEWS]);
    let ending = shutdown.child_token();
    let serving = ServeOptions {
        connections_max: limits.connections_max,
        header_read_timeout: limits.header_timeout,
        drain_timeout: limits.drain_timeout,
        ..ServeOptions::default()
    };
    let mut admin_addr = None;
    if let Some(Admin { listen: at, metrics }) = options.admin {
        let listener = listen("the query service's admin server", at).await?;
        admin_addr = Some(bound(&listener));
        let router = service_kit::admin_router(health.clone(), metrics.clone());
        tasks.spawn(discard(service_kit::serve(listener, router, serving, ending.clone())));
        tasks.spawn(service_kit::keep_metrics_small(metrics, ending.clone()));
    }
    let pool = PgPoolOptions::new()
        .max_connections(limits.database_connections_max)
        .acquire_timeout(limits.acquire_timeout)
        .connect_lazy_with(database.clone());
    let (waiting, poller) = Waiting::new(Checkpoints::new(database.clone()));
    let app = App {
        database: Database::new(pool.clone(), health.clone()),
        waiting: waiting.clone(),
        log_end: LogEnd::new(options.log),
        normalizer,
        slots: Semaphore::new(limits.requests_max.min(Semaphore::MAX_PERMITS)),
        report_slots: Semaphore::new((limits.database_connections_max as usize / 2).max(1)),
        report_timeout: limits.report_timeout,
        wait_default: options.wait_default,
        folding: Folding::new(views_options(&options.database_url)?, options.hub_limits, limits.past_events_max),
    };
    let keeping = views::keep(views_options(&options.database_url)?, health.clone());
    tasks.spawn(discard(ending.clone().run_until_cancelled_owned(keeping)));
    let watching = database::watch(Checkpoints::new(database), health.clone());
    tasks.spawn(discard(ending.clone().run_until_cancelled_owned(watching)));
    tasks.spawn(serve_requests(listener, Arc::new(app), poller, serving, ending.clone()));
    tracing::info!(%addr, "query service listens");
    Ok(Handle { addr, admin_addr, health, waiting, shutdown: ending, tasks, pool })
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

    /// How many requests wait for a position now.
    pub fn waiting(&self) -> usize {
        self.waiting.count()
    }

    /// Begins to end: no new connections, requests under way are finished.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }

    /// Waits for its end, which begins with the shutdown: at most `drain_timeout`.
    pub async fn stopped(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the query service ended by a panic");
            }
        }
        self.pool.close().await;
        tracing::info!("query service ended");
    }
}

/// The poller lives exactly as long as the requests that may wait for it.
async fn serve_requests(
    listener: TcpListener,
    app: Arc<App>,
    poller: crate::waiting::Poller,
    serving: ServeOptions,
    shutdown: CancellationToken,
) {
    tokio::select! {
        _ = service_kit::serve(listener, http::router(app), serving, shutdown) => {}
        () = poller.run() => {}
    }
}

/// Read-only sessions: no request writes, and no mistake of ours shall.
fn connect_options(url: &str, statement_timeout: Duration) -> Result<PgConnectOptions, QueryError> {
    let options = PgConnectOptions::from_str(url).map_err(QueryError::DatabaseUrl)?;
    let statement_timeout = statement_timeout.as_millis().to_string();
    Ok(options
        .application_name("rapport-query")
        .options([
            ("default_transaction_read_only", "on"),
            ("statement_timeout", statement_timeout.as_str()),
            ("idle_in_transaction_session_timeout", "30000"),
            // Every statement here goes by indexes to a few rows, whoever is asked for: it is planned once a connection,
            // which took longer than running it, and a plan made while tables were small must not scan them later.
            ("jit", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
        ])
        .disable_statement_logging())
}

/// The session that makes the views over more than one model: the only one here that writes.
fn views_options(url: &str) -> Result<PgConnectOptions, QueryError> {
    let options = PgConnectOptions::from_str(url).map_err(QueryError::DatabaseUrl)?;
    Ok(options.application_name("rapport-query-views").disable_statement_logging())
}

async fn discard<T>(work: impl Future<Output = T>) {
    work.await;
}

async fn listen(what: &'static str, addr: SocketAddr) -> Result<TcpListener, QueryError> {
    TcpListener::bind(addr).await.map_err(|source| QueryError::Listen { what, addr, source })
}

fn bound(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("a listener that is bound has an address")
}
