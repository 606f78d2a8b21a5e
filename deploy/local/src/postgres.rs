use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::account::{Account, claim, reachable_dir};
use crate::error::StackError;
use crate::fetch::{Artifacts, run};
use crate::pid_file::StopSignal;
use crate::server::{Launch, Lifetime, Server, check_port_free};

/// The role that owns everything: the superuser of the local server.
pub const ROLE: &str = "rapport";

/// The database that everything is in.
pub const DATABASE: &str = "rapport";

const NAME: &str = "postgres";
const SETTINGS: &str = include_str!("../config/postgresql.conf");
const ACCESS: &str = include_str!("../config/pg_hba.conf");

/// After a crash the children of the old server may hold its memory for a moment.
const BUSY_RETRIES_MAX: u32 = 20;
const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// The address of the local server's database.
pub fn database_url(port: u16) -> String {
    format!("postgres://{ROLE}@127.0.0.1:{port}/{DATABASE}")
}

/// How to run one PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Rapport's data directory: the tables go to `postgres/` in it, or for root to a directory
    /// under `/var/lib/rapport`.
    pub data_dir: PathBuf,
    /// Where clients connect, on 127.0.0.1.
    pub port: u16,
    /// Where its output goes.
    pub log_file: PathBuf,
    /// PostgreSQL's own cache, MiB.
    pub shared_buffers_mib: u32,
    /// How long it lives. A throwaway server does not flush to disk.
    pub lifetime: Lifetime,
    /// How long the start may take; recovery after a crash reads up to 4 GB of its log.
    pub start_timeout: Duration,
}

impl PostgresOptions {
    /// The usual settings, with the log file `logs/postgres.log` in the data directory.
    pub fn new(data_dir: impl Into<PathBuf>, port: u16) -> Self {
        let data_dir = data_dir.into();
        Self {
            log_file: data_dir.join("logs").join("postgres.log"),
            data_dir,
            port,
            shared_buffers_mib: 512,
            lifetime: Lifetime::UntilStopped,
            start_timeout: Duration::from_secs(180),
        }
    }

    /// Starts the server, making its files, the role and the database the first time, and answers
    /// when it takes connections to that database.
    ///
    /// # Errors
    /// When the port is taken, or the server ends or does not answer in time.
    pub async fn start(&self, artifacts: &Artifacts) -> Result<Server, StackError> {
        check_port_free(NAME, self.port)?;
        std::fs::create_dir_all(&self.data_dir).map_err(StackError::io("create", &self.data_dir))?;
        let data_dir = std::fs::canonicalize(&self.data_dir).map_err(StackError::io("find", &self.data_dir))?;
        let account = Account::for_postgres();
        let pg_data = reachable_dir(account, &data_dir, "postgres");
        let programs = Programs { bin: &artifacts.postgres_bin, account, pg_data: &pg_data };

        if account.is_some() {
            set_aside(&data_dir, &pg_data)?;
        }
        programs.prepare(self.lifetime).await?;
        if account.is_some() {
            let own_dir = pg_data.parent().expect("it was joined to a directory");
            claim(own_dir, &data_dir).map_err(StackError::io("tidy up beside", own_dir))?;
        }
        let wal_compression = programs.wal_compression().await;
        write(&pg_data.join("rapport.conf"), &self.settings(wal_compression))?;
        write(&pg_data.join("pg_hba.conf"), ACCESS)?;

        let mut throwaway_dirs = vec![data_dir.clone()];
        throwaway_dirs.extend(account.and(pg_data.parent()).map(Path::to_owned));
        for attempt in 1.. {
            let mut command = programs.command("postgres");
            command.arg("-D").arg(&pg_data);
            let server = Server::spawn(Launch {
                name: NAME,
                command,
                data_dir: &data_dir,
                log_file: &self.log_file,
                port: self.port,
                stop: StopSignal::Interrupt,
                hard: Signal::QUIT,
                lifetime: self.lifetime,
                throwaway_dirs: throwaway_dirs.clone(),
            })?;
            match server.ready(&self.log_file, self.start_timeout, answers).await {
                Err(StackError::Exited { tail, .. })
                    if tail.contains("pre-existing shared memory block") && attempt < BUSY_RETRIES_MAX =>
                {
                    tokio::time::sleep(BUSY_INTERVAL).await;
                }
                result => return result,
            }
        }
        unreachable!("the loop above ends with an answer")
    }

    fn settings(&self, wal_compression: &str) -> String {
        let durable = if self.lifetime == Lifetime::Throwaway { "off" } else { "on" };
        SETTINGS
            .replace("{port}", &self.port.to_string())
            .replace("{shared_buffers}", &format!("{}MB", self.shared_buffers_mib))
            .replace("{wal_compression}", wal_compression)
            .replace("{durable}", durable)
    }
}

/// Root's tables lie outside the data directory. Who removes the directory to begin anew means them too: they are not
/// taken for those of the new one, whose Kafka is empty, but set aside, where nothing is lost that was not meant to be.
/// The two know each other by an id that both hold.
fn set_aside(data_dir: &Path, pg_data: &Path) -> Result<(), StackError> {
    let own_dir = pg_data.parent().expect("it was joined to a directory");
    let (here, there) = (data_dir.join("postgres.id"), own_dir.join("postgres.id"));
    let read = |path: &Path| std::fs::read_to_string(path).ok().filter(|id| !id.is_empty());
    let (id_here, id_there) = (read(&here), read(&there));
    if id_here.is_some() && id_here == id_there {
        return Ok(());
    }
    let id = uuid::Uuid::new_v4().to_string();
    if id_there.is_some() && pg_data.exists() {
        let aside = own_dir.join(format!("postgres.of-a-removed-directory-{}", &id[..8]));
        std::fs::rename(pg_data, &aside).map_err(StackError::io("set aside", pg_data))?;
        eprintln!(
            "postgres: {} was removed or replaced; the tables it had are set aside in {}",
            data_dir.display(),
            aside.display()
        );
    }
    std::fs::create_dir_all(own_dir).map_err(StackError::io("create", own_dir))?;
    // In this order: a start that is cut short in between is taken for a first one.
    write(&here, &id)?;
    write(&there, &id)
}

struct Programs<'a> {
    bin: &'a Path,
    account: Option<Account>,
    pg_data: &'a Path,
}

impl Programs<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        Account::apply(self.account, &mut command);
        // A server must not read as its own what the caller's environment says to clients.
        for variable in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGDATABASE", "PGOPTIONS"] {
            command.env_remove(variable);
        }
        command
    }

    /// Makes the files, the role and the database, unless they are there. The directory appears
    /// under its name only when it is complete.
    async fn prepare(&self, lifetime: Lifetime) -> Result<(), StackError> {
        if self.pg_data.join("PG_VERSION").exists() {
            return Ok(());
        }
        let parent = self.pg_data.parent().expect("it was joined to a directory");
        let new = parent.join("postgres.new");
        if new.exists() {
            std::fs::remove_dir_all(&new).map_err(StackError::io("empty", &new))?;
        }
        std::fs::create_dir_all(&new).map_err(StackError::io("create", &new))?;
        if let Some(account) = self.account {
            // Root's umask may keep the account from passing through.
            for dir in parent.ancestors().take(2) {
                std::fs::set_permissions(dir, Permissions::from_mode(0o755))
                    .map_err(StackError::io("open to PostgreSQL's account", dir))?;
            }
            std::os::unix::fs::chown(&new, Some(account.uid), Some(account.gid))
                .map_err(StackError::io("give to PostgreSQL's account", &new))?;
        }
        let mut initdb = self.command("initdb");
        initdb.arg("-D").arg(&new).args(["-U", ROLE, "-A", "trust", "--no-instructions"]);
        if lifetime == Lifetime::Throwaway {
            initdb.arg("--no-sync");
        }
        // Code point order on every machine, yet `lower` and `ILIKE` know all letters.
        initdb.args(["-E", "UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        run("initdb", &mut initdb).await?;
        let main_settings = new.join("postgresql.conf");
        write(&main_settings, "include_if_exists = 'rapport.conf'\n")?;
        self.create_database(&new).await?;
        std::fs::rename(&new, self.pg_data).map_err(StackError::io("put in place", self.pg_data))
    }

    /// Asks the server in single-user mode: there is no `psql` among the programs, and no port yet.
    async fn create_database(&self, pg_data: &Path) -> Result<(), StackError> {
        let mut command = self.command("postgres");
        command.args(["--single", "-D"]).arg(pg_data).arg("postgres");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(StackError::io("start", self.bin))?;
        let mut stdin = child.stdin.take().expect("the standard input was asked for as a pipe");
        stdin
            .write_all(format!("CREATE DATABASE {DATABASE} OWNER {ROLE}\n").as_bytes())
            .await
            .map_err(StackError::io("write to", self.bin))?;
        drop(stdin);
        let output = child.wait_with_output().await.map_err(StackError::io("wait for", self.bin))?;
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        // Single-user mode ends with success whatever the statement did.
        if output.status.success() && !text.contains("ERROR:") {
            return Ok(());
        }
        Err(StackError::Command { name: "creating the database", status: output.status.to_string(), output: text })
    }

    /// How the write-ahead log is compressed: where this build knows no quick method, not at all. The built-in one takes a
    /// fifth of PostgreSQL's processor time while indexes are built, and saves space on a disk that has it.
    async fn wal_compression(&self) -> &'static str {
        let mut probe = self.command("postgres");
        probe.arg("-D").arg(self.pg_data).args(["-c", "wal_compression=lz4", "-C", "wal_compression"]);
        if run("postgres", &mut probe).await.is_ok() { "lz4" } else { "off" }
    }
}

fn write(path: &Path, text: &str) -> Result<(), StackError> {
    std::fs::write(path, text).map_err(StackError::io("write", path))
}

/// Whether the server lets us into the database: its port is open while it still recovers.
async fn answers(address: SocketAddr) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut message = vec![0, 3, 0, 0];
        for text in ["user", ROLE, "database", DATABASE] {
            message.extend_from_slice(text.as_bytes());
            message.push(0);
        }
        message.push(0);
        let length = u32::try_from(message.len() + 4).expect("a startup message is short");
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(&message).await?;
        let kind = stream.read_u8().await?;
        if kind == b'R' {
            // Leave as a client does, or the server's log complains.
            stream.write_all(&[b'X', 0, 0, 0, 4]).await?;
        }
        std::io::Result::Ok(kind)
    };
    exchange.await.is_ok_and(|kind| kind == b'R')
}
