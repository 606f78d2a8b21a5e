use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::error::StackError;
use crate::pid_file::{PidFile, StopSignal};

/// A log file that has grown beyond this is begun anew at the next start.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How many of a log's last lines an error quotes.
const TAIL_LINES: usize = 15;

/// How often a server that is starting is asked whether it answers.
const READY_INTERVAL: Duration = Duration::from_millis(25);

/// How long after the hard signal a process is waited for.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// How long a server lives, and what becomes of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// Until it is stopped. It outlives a parent that is killed and then stands in a pid file,
    /// for [`crate::end_leftovers`].
    #[default]
    UntilStopped,
    /// It dies with its parent, however that ends; its data stay.
    WithParent,
    /// It dies with its parent and its data are deleted: for tests. Nothing is flushed to disk.
    Throwaway,
}

/// A running Kafka or PostgreSQL, in a process group of its own: Ctrl-C does not reach it.
///
/// Dropping it ends it hard; call [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    port: u16,
    pid: Pid,
    child: Child,
    stop: StopSignal,
    hard: Signal,
    pid_file: Option<PidFile>,
    watcher: Option<Child>,
    throwaway_dirs: Vec<PathBuf>,
}

/// How to start a server.
pub(crate) struct Launch<'a> {
    pub(crate) name: &'static str,
    pub(crate) command: Command,
    pub(crate) data_dir: &'a Path,
    pub(crate) log_file: &'a Path,
    pub(crate) port: u16,
    pub(crate) stop: StopSignal,
    /// Ends it at once without leaving children behind.
    pub(crate) hard: Signal,
    pub(crate) lifetime: Lifetime,
    /// What a throwaway server leaves for its watcher to delete.
    pub(crate) throwaway_dirs: Vec<PathBuf>,
}

impl Server {
    /// `kafka` or `postgres`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, which is also that of its process group.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether the process has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself or by somebody's signal. Can be cancelled and called again.
    ///
    /// # Errors
    /// When the system does not tell.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to end and waits; after `grace` it is ended hard. What it has acknowledged is on
    /// disk either way (PostgreSQL then recovers at the next start).
    pub async fn stop(mut self, grace: Duration) {
        self.signal(self.stop.signal());
        if timeout(grace, self.child.wait()).await.is_err() {
            self.signal(self.hard);
            if timeout(KILL_WAIT, self.child.wait()).await.is_err() {
                self.kill().await;
            }
        }
        self.forget().await;
    }

    /// Ends its whole process group with SIGKILL, as a crash would.
    pub async fn kill(&mut self) {
        if self.is_running() {
            // It may end by itself in between; then there is nothing to kill.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        let _ = self.child.wait().await;
    }

    pub(crate) fn spawn(launch: Launch<'_>) -> Result<Self, StackError> {
        let Launch { name, mut command, log_file, .. } = launch;
        let log = open_log(log_file)?;
        let log_again = log.try_clone().map_err(StackError::io("open", log_file))?;
        command.stdin(Stdio::null()).stdout(log).stderr(log_again).process_group(0);
        let program = PathBuf::from(command.as_std().get_program());
        let child = command.spawn().map_err(StackError::io("start", &program))?;
        let raw = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = raw.expect("a child that has not been waited for has a process id");
        let mut server = Self {
            name,
            port: launch.port,
            pid,
            child,
            stop: launch.stop,
            hard: launch.hard,
            pid_file: None,
            watcher: None,
            throwaway_dirs: Vec::new(),
        };
        match launch.lifetime {
            Lifetime::UntilStopped => {
                server.pid_file = Some(PidFile::write(launch.data_dir, name, server.pid(), launch.stop)?);
            }
            Lifetime::WithParent => server.watcher = Some(watch(&server, &[])?),
            Lifetime::Throwaway => {
                server.watcher = Some(watch(&server, &launch.throwaway_dirs)?);
                server.throwaway_dirs = launch.throwaway_dirs;
            }
        }
        Ok(server)
    }

    /// Waits until `answers` says yes.
    pub(crate) async fn ready<F>(mut self, log_file: &Path, limit: Duration, answers: F) -> Result<Self, StackError>
    where
        F: AsyncFn(SocketAddr) -> bool,
    {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let deadline = Instant::now() + limit;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let (name, log_file) = (self.name, log_file.to_owned());
                return Err(StackError::Exited { name, status: status.to_string(), tail: tail(&log_file), log_file });
            }
            // An answer that never comes must not outlast the limit.
            if timeout(Duration::from_secs(2), answers(address)).await.unwrap_or(false) {
                return Ok(self);
            }
            if Instant::now() >= deadline {
                let (name, log_file) = (self.name, log_file.to_owned());
                self.kill().await;
                let seconds = limit.as_secs();
                return Err(StackError::NotReady { name, seconds, tail: tail(&log_file), log_file });
            }
            sleep(READY_INTERVAL).await;
        }
    }

    fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            // As in `kill`: it may be gone by now.
            let _ = kill_process(self.pid, signal);
        }
    }

    async fn forget(&mut self) {
        if let Some(pid_file) = self.pid_file.take() {
            pid_file.remove();
        }
        if let Some(mut watcher) = self.watcher.take() {
            // First: its server is gone, and the process id may be somebody else's soon.
            let _ = watcher.kill().await;
        }
        for dir in self.throwaway_dirs.drain(..) {
            // Nobody needs it; what cannot be deleted is the system's to clean up.
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(self.hard);
    }
}

/// A shell that reads from a pipe which only we hold: when we are gone, the pipe ends, and the
/// shell ends the server and deletes `dirs`.
fn watch(server: &Server, dirs: &[PathBuf]) -> Result<Child, StackError> {
    const SCRIPT: &str = r#"
        read -r _
        pid=$1 hard=$2; shift 2
        kill -s "$hard" "$pid" 2>/dev/null
        tries=0
        while kill -0 "$pid" 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
        kill -s KILL -- "-$pid" 2>/dev/null
        [ $# -gt 0 ] && rm -rf -- "$@"
        exit 0"#;
    let hard = if server.hard == Signal::QUIT { "QUIT" } else { "KILL" };
    Command::new("sh")
        .args(["-c", SCRIPT, "sh", &server.pid().to_string(), hard])
        .args(dirs)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(StackError::io("start", Path::new("sh")))
}

/// Makes sure that what answers on the port will be the server that we start.
pub(crate) fn check_port_free(name: &'static str, port: u16) -> Result<(), StackError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(_) => Err(StackError::PortTaken { name, port }),
    }
}

fn open_log(path: &Path) -> Result<File, StackError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(StackError::io("create", parent))?;
    }
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        std::fs::remove_file(path).map_err(StackError::io("begin anew", path))?;
    }
    File::options().create(true).append(true).open(path).map_err(StackError::io("open", path))
}

/// The last lines of a log file; empty when there is none.
pub(crate) fn tail(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
