use std::path::{Path, PathBuf};
use std::pin::Pin;

use local_stack::{Artifacts, KafkaOptions, PostgresOptions, Server, StackError, fetch, stack_dir};
use service_kit::Config;

use super::screen::Screen;
use super::stack;
use crate::failure::{Exit, OrExit, Outcome};

type Starting = Pin<Box<dyn Future<Output = Result<Server, StackError>> + Send>>;

/// A running Kafka or PostgreSQL, and how to start it again.
pub(super) struct LocalServer {
    pub(super) server: Server,
    pub(super) start: Box<dyn Fn() -> Starting + Send + Sync>,
}

/// Starts Kafka and PostgreSQL, as far as no others were given.
pub(super) async fn start(config: &Config, data_dir: &Path, screen: &Screen) -> Outcome<Vec<LocalServer>> {
    let (own_kafka, own_postgres) = (!config.is_given("kafka"), !config.is_given("database_url"));
    if !own_kafka && !own_postgres {
        return Ok(Vec::new());
    }
    let artifacts = fetch(&artifacts_dir()?, |line| screen.note(line)).await.map_err(stack)?;
    let kafka = async {
        if !own_kafka {
            return Ok(None);
        }
        screen.note("starting Kafka");
        let start = kafka(config, data_dir, artifacts.clone());
        start().await.map(|server| Some(LocalServer { server, start }))
    };
    let postgres = async {
        if !own_postgres {
            return Ok(None);
        }
        screen.note("starting PostgreSQL");
        let start = postgres(config, data_dir, artifacts.clone());
        start().await.map(|server| Some(LocalServer { server, start }))
    };
    // Both to their end: what has been started must not be lost where the other one fails.
    let (kafka, postgres) = tokio::join!(kafka, postgres);
    let servers: Result<Vec<_>, _> = [kafka, postgres].into_iter().filter_map(Result::transpose).collect();
    servers.map_err(stack)
}

fn kafka(config: &Config, data_dir: &Path, artifacts: Artifacts) -> Box<dyn Fn() -> Starting + Send + Sync> {
    let ports = config.ports();
    let mut options = KafkaOptions::new(data_dir, ports.kafka, ports.kafka_controller);
    options.heap_mib_max = config.u32("kafka_heap_mib_max");
    Box::new(move || {
        let (options, artifacts) = (options.clone(), artifacts.clone());
        Box::pin(async move { options.start(&artifacts).await })
    })
}

fn postgres(config: &Config, data_dir: &Path, artifacts: Artifacts) -> Box<dyn Fn() -> Starting + Send + Sync> {
    let mut options = PostgresOptions::new(data_dir, config.ports().postgres);
    options.shared_buffers_mib = config.u32("postgres_buffers_mib");
    Box::new(move || {
        let (options, artifacts) = (options.clone(), artifacts.clone());
        Box::pin(async move { options.start(&artifacts).await })
    })
}

/// The nearest directory, from here or from this program upwards, that Kafka and PostgreSQL have been fetched for;
/// else here.
fn artifacts_dir() -> Outcome<PathBuf> {
    let here = std::env::current_dir().or_exit(Exit::Unavailable)?;
    let program = std::env::current_exe().unwrap_or_default();
    let root = here.ancestors().chain(program.ancestors()).find(|dir| dir.join(".rapport").join("stack").is_dir());
    Ok(stack_dir(root.unwrap_or(&here)))
}
