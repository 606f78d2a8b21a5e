//! What is measured, each part in a process of its own: Kafka, PostgreSQL and the services, started one by one.

use std::{
    fs::File,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use event_log::{Log, LogOptions};
use local_stack::{KafkaOptions, Lifetime, PostgresOptions, Server};
use sqlx::PgConnection;
use system_tests::stack::command;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Outcome, cpu::Watched, http::Connection};

/// What a service may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// What Kafka and PostgreSQL may take to end.
const STOP_GRACE: Duration = Duration::from_secs(20);
/// Ports of one run.
const PORTS: u16 = 20;

/// A service of the product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// As the table names it.
    pub(crate) name: &'static str,
    arguments: &'static [&'static str],
    admin_port: u16,
}

/// `rapport collector`.
pub(crate) const COLLECTOR: Kind = Kind { name: "collector", arguments: &["collector"], admin_port: 10 };
/// `rapport projector MODEL`, for the three of them.
pub(crate) const PROJECTORS: [Kind; 3] = [
    Kind { name: "sales", arguments: &["projector", "sales"], admin_port: 11 },
    Kind { name: "service", arguments: &["projector", "service"], admin_port: 12 },
    Kind { name: "customer360", arguments: &["projector", "customer360"], admin_port: 13 },
];
/// `rapport query`.
pub(crate) const QUERY: Kind = Kind { name: "query", arguments: &["query"], admin_port: 14 };

/// Kafka, PostgreSQL and whichever services run now, on ports and in a directory of their own.
pub(crate) struct Machine {
    dir: TempDir,
    base: u16,
    kafka: Server,
    postgres: Server,
    services: Vec<(Kind, Child)>,
}

impl Machine {
    /// Starts Kafka and PostgreSQL as a user's are started: durable, with the usual settings.
    pub(crate) async fn start() -> Outcome<Self> {
        let artifacts = local_stack::fetch(&test_kit::stack_dir(), |line| println!("  {line}")).await?;
        let dir = tempfile::Builder::new().prefix("rapport-bench-").tempdir()?;
        let base = local_stack::free_ports(PORTS)?;
        let kafka =
            KafkaOptions { lifetime: Lifetime::WithParent, ..KafkaOptions::new(dir.path(), base + 4, base + 5) };
        let postgres = PostgresOptions { lifetime: Lifetime::WithParent, ..PostgresOptions::new(dir.path(), base + 3) };
        let (kafka, postgres) = tokio::join!(kafka.start(&artifacts), postgres.start(&artifacts));
        Ok(Self { dir, base, kafka: kafka?, postgres: postgres?, services: Vec::new() })
    }

    /// Ends everything that runs and deletes what it wrote.
    pub(crate) async fn stop(mut self) -> Outcome {
        for (_, child) in &mut self.services {
            child.kill().await?;
        }
        // PostgreSQL keeps its files elsewhere when we are root, because it runs as another account.
        let files = match self.connect("bench").await {
            Ok(mut connection) => {
                sqlx::query_scalar::<_, String>("SHOW data_directory").fetch_one(&mut connection).await.ok()
            }
            Err(_) => None,
        };
        tokio::join!(self.kafka.stop(STOP_GRACE), self.postgres.stop(STOP_GRACE));
        let files = files.map(PathBuf::from).filter(|files| !files.starts_with(self.dir.path()));
        if let Some(own) = files.as_deref().and_then(|files| files.parent()) {
            std::fs::remove_dir_all(own)?;
        }
        self.dir.close()?;
        Ok(())
    }

    /// Starts a service, and waits until it is ready where that is asked for.
    pub(crate) async fn run(&mut self, kind: Kind, until_ready: bool) -> Outcome {
        let program = std::env::current_exe()?.with_file_name("rapport");
        if !program.exists() {
            return Err(
                format!("{} is missing: build the whole workspace, as `make bench` does", program.display()).into()
            );
        }
        let output = File::options().create(true).append(true).open(self.output(kind))?;
        let child = Command::from(command(program))
            .args(kind.arguments)
            .current_dir(self.dir.path())
            .env("RAPPORT_DATA_DIR", self.dir.path())
            .env("RAPPORT_PORT_BASE", self.base.to_string())
            .env("RAPPORT_KAFKA", self.brokers())
            .env("RAPPORT_DATABASE_URL", self.database_url())
            .env("RAPPORT_LOG_LEVEL", "warn")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()?;
        self.services.push((kind, child));
        let end = Instant::now() + READY_TIMEOUT;
        if !until_ready {
            return Ok(());
        }
        loop {
            self.all_running()?;
            if let Ok(mut admin) = Connection::open(self.base + kind.admin_port).await
                && admin.get("/readyz").await.is_ok()
            {
                break;
            }
            if Instant::now() > end {
                return Err(format!("{} was not ready after {READY_TIMEOUT:?}:\n{}", kind.name, self.tail(kind)).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Ends a service at once.
    pub(crate) async fn end(&mut self, kind: Kind) -> Outcome {
        while let Some(at) = self.services.iter().position(|(running, _)| running.name == kind.name) {
            let (_, mut child) = self.services.remove(at);
            child.kill().await?;
        }
        Ok(())
    }

    /// Says which service has ended, if one has.
    ///
    /// # Errors
    /// Its last words.
    pub(crate) fn all_running(&mut self) -> Outcome {
        for (kind, child) in &mut self.services {
            if let Some(status) = child.try_wait()? {
                let kind = *kind;
                return Err(format!("{} ended with {status}:\n{}", kind.name, self.tail(kind)).into());
            }
        }
        Ok(())
    }

    /// Every process that runs, to count its time.
    pub(crate) fn processes(&self) -> Vec<Watched> {
        let mut all = vec![
            Watched { name: "kafka", pid: self.kafka.pid(), with_children: false },
            Watched { name: "postgres", pid: self.postgres.pid(), with_children: true },
        ];
        let services = self.services.iter().filter_map(|(kind, child)| Some((kind.name, child.id()?)));
        all.extend(services.map(|(name, pid)| Watched { name, pid, with_children: false }));
        all
    }

    /// The log of the product, or one of the benchmark's own beside it.
    pub(crate) async fn log(&self, beside: Option<&str>) -> Outcome<Log> {
        self.log_with(beside, &[]).await
    }

    /// The same with properties of librdkafka.
    pub(crate) async fn log_with(&self, beside: Option<&str>, properties: &[(&str, &str)]) -> Outcome<Log> {
        let mut options = LogOptions::new(self.brokers());
        options.properties = properties.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        if let Some(name) = beside {
            options.topic = format!("bench.{name}");
            options.rejected_topic = format!("bench.{name}.rejected");
        }
        Ok(Log::open_or_create(&options).await?)
    }

    /// A connection to PostgreSQL with a projector's settings.
    pub(crate) async fn connect(&self, name: &str) -> Outcome<PgConnection> {
        Ok(projection::database::connect(&self.database_url(), name).await?)
    }

    /// Where the collector listens.
    pub(crate) fn collector(&self) -> u16 {
        self.base
    }

    /// Where the query service listens.
    pub(crate) fn query(&self) -> u16 {
        self.base + 2
    }

    fn database_url(&self) -> String {
        local_stack::database_url(self.base + 3)
    }

    fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.base + 4)
    }

    fn output(&self, kind: Kind) -> PathBuf {
        self.dir.path().join(format!("{}.log", kind.name))
    }

    fn tail(&self, kind: Kind) -> String {
        let text = std::fs::read_to_string(self.output(kind)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
