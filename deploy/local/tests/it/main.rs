//! Starts real servers: each test has its own data directory and ports.

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use local_stack::{
    Artifacts, DataDirLock, KafkaOptions, Lifetime, PostgresOptions, Server, StackError, end_leftovers, fetch,
    free_ports, stack_dir,
};

const GRACE: Duration = Duration::from_secs(20);

async fn artifacts() -> Artifacts {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fetch(&stack_dir(&root), |line| eprintln!("{line}")).await.expect("the artifacts can be fetched")
}

fn free_port() -> u16 {
    free_ports(1).expect("a port is free")
}

fn answers(server: &Server) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).is_ok()
}

#[tokio::test]
async fn postgres_starts_stops_and_goes_on_after_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let artifacts = artifacts().await;
    let options = PostgresOptions { lifetime: Lifetime::WithParent, ..PostgresOptions::new(dir.path(), free_port()) };

    let mut server = options.start(&artifacts).await.expect("it starts");
    assert!(answers(&server));
    server.kill().await;
    assert!(!answers(&server));
    let server = options.start(&artifacts).await.expect("it recovers");
    assert!(matches!(options.start(&artifacts).await, Err(StackError::PortTaken { .. })));
    server.stop(GRACE).await;
    let log = std::fs::read_to_string(&options.log_file).expect("it has a log");
    assert!(log.contains("database system is shut down"), "{log}");

    // As root the tables are not in `dir`: a throwaway server takes them along.
    let last = PostgresOptions { lifetime: Lifetime::Throwaway, ..options };
    last.start(&artifacts).await.expect("it starts").stop(GRACE).await;
    assert!(!dir.path().exists());
}

#[tokio::test]
async fn kafka_starts_stops_and_goes_on_after_a_crash() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let artifacts = artifacts().await;
    let options = KafkaOptions {
        lifetime: Lifetime::WithParent,
        heap_mib_max: 256,
        ..KafkaOptions::new(dir.path(), free_port(), free_port())
    };

    let mut server = options.start(&artifacts).await.expect("it starts");
    let id = |path: &Path| std::fs::read_to_string(path.join("kafka/log/meta.properties")).expect("formatted");
    let formatted = id(dir.path());
    server.kill().await;
    assert!(!server.is_running());
    let server = options.start(&artifacts).await.expect("it recovers");
    assert_eq!(id(dir.path()), formatted);
    server.stop(GRACE).await;
}

#[tokio::test]
async fn what_a_killed_run_left_is_ended_by_the_next() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let artifacts = artifacts().await;
    let options = PostgresOptions::new(dir.path(), free_port());
    let mut server = options.start(&artifacts).await.expect("it starts");

    let _lock = DataDirLock::acquire(dir.path()).expect("nobody else");
    // A killed run does not wait for its children; here somebody has to, or they stay zombies.
    let (ended, _) = tokio::join!(end_leftovers(dir.path()), server.wait());
    assert_eq!(ended.expect("ended"), ["postgres"]);
    assert!(!answers(&server));
    let last = PostgresOptions { lifetime: Lifetime::Throwaway, ..options };
    last.start(&artifacts).await.expect("it starts").stop(GRACE).await;
}
