use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::error::StackError;
use crate::fetch::{Artifacts, run};
use crate::pid_file::StopSignal;
use crate::ports::free_ports;
use crate::server::{Launch, Lifetime, Server, check_port_free};

const NAME: &str = "kafka";
const SERVER_PROPERTIES: &str = include_str!("../config/server.properties");
const LOG4J_PROPERTIES: &str = include_str!("../config/log4j2.properties");

/// The JVM's quick compiler and its plain collector alone. The thorough ones earn their keep on a machine of the broker's
/// own; on one that everything shares they took more processor time than the records did.
const FRUGAL: [&str; 2] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// Writing the archive of classes is part of the training run's end.
const TRAINING_GRACE: Duration = Duration::from_secs(60);

/// How to run one Kafka broker that is its own controller.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Rapport's data directory: the log goes to `kafka/` in it.
    pub data_dir: PathBuf,
    /// Where clients connect, on 127.0.0.1.
    pub port: u16,
    /// Where the controller listens, on 127.0.0.1.
    pub controller_port: u16,
    /// Where its output goes.
    pub log_file: PathBuf,
    /// The heap it may use, MiB. The records themselves are in the system's page cache.
    pub heap_mib_max: u32,
    /// How long it lives.
    pub lifetime: Lifetime,
    /// How long the start may take; recovery after a crash reads the log's unflushed end.
    pub start_timeout: Duration,
}

impl KafkaOptions {
    /// The usual settings, with the log file `logs/kafka.log` in the data directory.
    pub fn new(data_dir: impl Into<PathBuf>, port: u16, controller_port: u16) -> Self {
        let data_dir = data_dir.into();
        Self {
            log_file: data_dir.join("logs").join("kafka.log"),
            data_dir,
            port,
            controller_port,
            heap_mib_max: 512,
            lifetime: Lifetime::UntilStopped,
            start_timeout: Duration::from_secs(180),
        }
    }

    /// Starts the broker, formatting its storage the first time, and answers when it takes requests.
    ///
    /// # Errors
    /// When a port is taken, Java is missing, or the broker ends or does not answer in time.
    pub async fn start(&self, artifacts: &Artifacts) -> Result<Server, StackError> {
        let archive = class_archive(artifacts);
        let archive = archive.exists().then(|| format!("-XX:SharedArchiveFile={}", archive.display()));
        self.start_with(artifacts, archive).await
    }

    async fn start_with(&self, artifacts: &Artifacts, archive: Option<String>) -> Result<Server, StackError> {
        check_port_free(NAME, self.port)?;
        check_port_free("kafka's controller", self.controller_port)?;
        let data_dir = std::path::absolute(&self.data_dir).map_err(StackError::io("find", &self.data_dir))?;
        let kafka_dir = data_dir.join("kafka");
        let log_dir = kafka_dir.join("log");
        std::fs::create_dir_all(&kafka_dir).map_err(StackError::io("create", &kafka_dir))?;
        let properties = kafka_dir.join("server.properties");
        let log4j = kafka_dir.join("log4j2.properties");
        write(&properties, &self.properties(&log_dir))?;
        write(&log4j, LOG4J_PROPERTIES)?;

        if !log_dir.join("meta.properties").exists() {
            let mut format = java(artifacts, &log4j);
            format.args(FRUGAL).args(["-Xmx128m", "kafka.tools.StorageTool", "format", "--ignore-formatted"]);
            format.args(["-t", &cluster_id(), "-c"]).arg(&properties);
            run("formatting Kafka's storage", &mut format).await.map_err(java_missing)?;
        }

        let mut command = java(artifacts, &log4j);
        let heap_mib_min = self.heap_mib_max.min(128);
        command.args([format!("-Xms{heap_mib_min}m"), format!("-Xmx{}m", self.heap_mib_max)]).args(archive);
        command.args(FRUGAL).args(["-XX:+ExitOnOutOfMemoryError", "kafka.Kafka"]).arg(&properties);
        let server = Server::spawn(Launch {
            name: NAME,
            command,
            data_dir: &data_dir,
            log_file: &self.log_file,
            port: self.port,
            stop: StopSignal::Terminate,
            hard: Signal::KILL,
            lifetime: self.lifetime,
            throwaway_dirs: vec![data_dir.clone()],
        })
        .map_err(java_missing)?;
        server.ready(&self.log_file, self.start_timeout, answers).await
    }

    fn properties(&self, log_dir: &Path) -> String {
        SERVER_PROPERTIES
            .replace("{port}", &self.port.to_string())
            .replace("{controller_port}", &self.controller_port.to_string())
            .replace("{log_dir}", &log_dir.to_string_lossy())
    }
}

/// Starts the broker once and keeps its loaded classes in an archive: every later start takes half
/// the processor time. Without the archive everything works the same.
pub(crate) async fn train(artifacts: &Artifacts, stack_dir: &Path) -> Result<(), StackError> {
    let data_dir = stack_dir.join("training");
    let port = free_ports(2).map_err(StackError::io("find free ports beside", &data_dir))?;
    let options = KafkaOptions { lifetime: Lifetime::WithParent, ..KafkaOptions::new(&data_dir, port, port + 1) };
    let archive = class_archive(artifacts);
    let dump = format!("-XX:ArchiveClassesAtExit={}", archive.display());
    let server = options.start_with(artifacts, Some(dump)).await?;
    server.stop(TRAINING_GRACE).await;
    std::fs::remove_dir_all(&data_dir).map_err(StackError::io("remove", &data_dir))
}

/// Where the broker's loaded classes are kept, beside its jars.
pub(crate) fn class_archive(artifacts: &Artifacts) -> PathBuf {
    artifacts.kafka_libs.with_extension("jsa")
}

/// A JVM with Kafka's classes, and the log settings of our own.
fn java(artifacts: &Artifacts, log4j: &Path) -> Command {
    let program = match std::env::var_os("JAVA_HOME") {
        Some(home) if !home.is_empty() => Path::new(&home).join("bin").join("java"),
        _ => PathBuf::from("java"),
    };
    let mut command = Command::new(program);
    command.arg("-cp").arg(artifacts.kafka_libs.join("*"));
    command.arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
    // The file names the time zone itself; Kafka must not depend on the machine's.
    command.args(["-Djava.awt.headless=true", "-Duser.timezone=UTC"]);
    command
}

fn java_missing(error: StackError) -> StackError {
    match error {
        StackError::Io { what: "start", source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StackError::ToolMissing {
                tool: "java",
                purpose: "to run Kafka",
                remedy: "on Debian: apt-get install default-jre-headless (Java 17 or newer)",
            }
        }
        other => other,
    }
}

/// A new cluster's id: 16 random bytes, as Kafka writes them. A leading `-` would read as an option.
fn cluster_id() -> String {
    loop {
        let id = URL_SAFE_NO_PAD.encode(uuid::Uuid::new_v4().as_bytes());
        if !id.starts_with('-') {
            return id;
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), StackError> {
    std::fs::write(path, text).map_err(StackError::io("write", path))
}

/// Whether the broker answers an ApiVersions request: it does so once it takes requests at all,
/// while its port is open earlier.
async fn answers(address: SocketAddr) -> bool {
    // Length; key 18, version 0, correlation id 1, no client id.
    const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&API_VERSIONS).await?;
        let mut head = [0; 8];
        stream.read_exact(&mut head).await?;
        std::io::Result::Ok(head)
    };
    exchange.await.is_ok_and(|head| head[4..] == [0, 0, 0, 1])
}
