use std::path::{Path, PathBuf};

use local_stack::{Artifacts, KafkaOptions, Lifetime, PostgresOptions, Server};
use sqlx::{Connection, PgConnection};
use tokio::sync::{OnceCell, oneshot};
use uuid::Uuid;

static KAFKA: OnceCell<String> = OnceCell::const_new();
static POSTGRES: OnceCell<String> = OnceCell::const_new();

/// Between the look for a free port and the server's start somebody else may take it.
const START_ATTEMPTS: u32 = 5;

/// What one test may use as if it were alone.
#[derive(Debug, Clone)]
pub struct Backbone {
    /// `host:port` of Kafka.
    pub kafka: String,
    /// An empty database of this test's own.
    pub database_url: String,
    /// What this test's topics begin with: letters, digits and `-`.
    pub topic_prefix: String,
}

impl Backbone {
    /// A topic of this test's own.
    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.topic_prefix)
    }
}

/// Kafka and PostgreSQL, with a fresh database and a fresh topic prefix.
///
/// # Panics
/// When a server cannot be fetched or started.
pub async fn backbone() -> Backbone {
    let (kafka, database_url) = tokio::join!(kafka(), postgres());
    Backbone { kafka, database_url, topic_prefix: format!("test-{}", Uuid::new_v4().simple()) }
}

/// `host:port` of Kafka alone.
///
/// # Panics
/// When it cannot be fetched or started.
pub async fn kafka() -> String {
    if let Some(address) = variable("RAPPORT_TEST_KAFKA") {
        return address;
    }
    KAFKA.get_or_init(|| on_own_thread(start_kafka)).await.clone()
}

/// The address of a fresh database, without starting Kafka.
///
/// # Panics
/// When PostgreSQL cannot be fetched or started, or refuses to create a database.
pub async fn postgres() -> String {
    let server_url = match variable("RAPPORT_TEST_DATABASE_URL") {
        Some(url) => url,
        None => POSTGRES.get_or_init(|| on_own_thread(start_postgres)).await.clone(),
    };
    let name = format!("test_{}", Uuid::new_v4().simple());
    let mut connection = PgConnection::connect(&server_url).await.expect("PostgreSQL takes a connection");
    sqlx::query(&format!("CREATE DATABASE {name}"))
        .execute(&mut connection)
        .await
        .expect("the test's role may create databases");
    connection.close().await.expect("the connection closes");
    with_database(&server_url, &name)
}

/// Where the fetched Kafka and PostgreSQL are: shared with `make run`.
pub fn stack_dir() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    local_stack::stack_dir(&root)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The same server's address with another database in it.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = match url.split_once('?') {
        Some((address, parameters)) => (address, format!("?{parameters}")),
        None => (url, String::new()),
    };
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority..].find('/').map_or(address.len(), |at| authority + at);
    format!("{}/{name}{parameters}", &address[..end])
}

/// Runs `start` on a thread and runtime that last as long as the process: each test has a runtime
/// of its own, and the servers outlive all of them.
async fn on_own_thread<F>(start: fn() -> F) -> String
where
    F: Future<Output = (Server, String)> + 'static,
{
    let (send, receive) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(async move {
            let (_server, address) = start().await;
            // Nobody listens only if the test has been given up; the server stays for the next.
            let _ = send.send(address);
            std::future::pending::<()>().await;
        });
    });
    receive.await.expect("the server starts; why it did not stands above")
}

async fn start_kafka() -> (Server, String) {
    let artifacts = artifacts().await;
    for attempt in 1.. {
        let port = local_stack::free_ports(2).expect("ports are free");
        let options =
            KafkaOptions { lifetime: Lifetime::Throwaway, ..KafkaOptions::new(throwaway_dir(), port, port + 1) };
        match options.start(&artifacts).await {
            Ok(server) => return (server, format!("127.0.0.1:{}", options.port)),
            Err(error) => assert!(attempt < START_ATTEMPTS, "{error}"),
        }
    }
    unreachable!("the loop above ends with a server or a panic")
}

async fn start_postgres() -> (Server, String) {
    let artifacts = artifacts().await;
    for attempt in 1.. {
        let port = local_stack::free_ports(1).expect("a port is free");
        let options = PostgresOptions { lifetime: Lifetime::Throwaway, ..PostgresOptions::new(throwaway_dir(), port) };
        match options.start(&artifacts).await {
            Ok(server) => return (server, local_stack::database_url(options.port)),
            Err(error) => assert!(attempt < START_ATTEMPTS, "{error}"),
        }
    }
    unreachable!("the loop above ends with a server or a panic")
}

async fn artifacts() -> Artifacts {
    let fetched = local_stack::fetch(&stack_dir(), |line| eprintln!("{line}")).await;
    fetched.unwrap_or_else(|error| panic!("{error}"))
}

/// Deleted by the server's watcher when this process ends.
fn throwaway_dir() -> PathBuf {
    tempfile::Builder::new().prefix("rapport-test-").tempdir().expect("a temporary directory").keep()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_exchanged_and_nothing_else() {
        for (url, expected) in [
            ("postgres://a@h:1/old", "postgres://a@h:1/new"),
            ("postgres://a:p@h:1", "postgres://a:p@h:1/new"),
            ("postgres://h/old?sslmode=disable", "postgres://h/new?sslmode=disable"),
        ] {
            assert_eq!(with_database(url, "new"), expected);
        }
    }

    #[tokio::test]
    async fn each_test_has_a_database_and_topics_of_its_own() {
        let (one, two) = tokio::join!(backbone(), backbone());
        assert_eq!(one.kafka, two.kafka);
        assert_ne!(one.database_url, two.database_url);
        assert_ne!(one.topic("interactions"), two.topic("interactions"));
        let mut connection = PgConnection::connect(&one.database_url).await.expect("it connects");
        let (lowered, order): (String, bool) =
            sqlx::query_as("SELECT lower('ÄRGER'), 'B' < 'a'").fetch_one(&mut connection).await.expect("it answers");
        assert_eq!((lowered.as_str(), order), ("ärger", true));
    }

    #[tokio::test]
    async fn a_second_runtime_uses_the_same_servers() {
        let mut connection = PgConnection::connect(&postgres().await).await.expect("it connects");
        sqlx::query("CREATE TABLE t (i INT)").execute(&mut connection).await.expect("it may create tables");
    }
}
