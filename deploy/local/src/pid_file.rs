use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::error::StackError;

/// How long leftovers may take to end by themselves before they are killed.
const LEFTOVER_GRACE: Duration = Duration::from_secs(20);

/// How often a process that is ending is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How a process is asked to end without losing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM, as most programs and Kafka have it.
    Terminate,
    /// SIGINT: PostgreSQL's "fast" shutdown, which does not wait for its clients to leave.
    Interrupt,
}

impl StopSignal {
    pub(crate) fn signal(self) -> Signal {
        match self {
            Self::Terminate => Signal::TERM,
            Self::Interrupt => Signal::INT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Terminate, Self::Interrupt].into_iter().find(|signal| signal.name() == name)
    }
}

/// The note that a process runs for a data directory: `<data dir>/run/<name>.pid`.
///
/// It holds the process id, when that process was started (so that a process id that the system
/// has given to somebody else since is never signalled) and the signal that ends it.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Notes that `pid`, the leader of its own process group, runs as `name`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(data_dir: &Path, name: &str, pid: u32, stop: StopSignal) -> Result<Self, StackError> {
        let run_dir = run_dir(data_dir)?;
        let path = run_dir.join(format!("{name}.pid"));
        let written = run_dir.join(format!("{name}.pid.new"));
        let started = started(pid).unwrap_or_default();
        std::fs::write(&written, format!("{pid}\n{started}\n{}\n", stop.name()))
            .and_then(|()| std::fs::rename(&written, &path))
            .map_err(StackError::io("write the pid file", &path))?;
        Ok(Self { path })
    }

    /// Takes the note back. A file that is gone already is as good.
    pub fn remove(self) {
        // The next start overwrites or ignores a stale file: nothing is lost when this fails.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Held by the one process that runs servers for a data directory; released when dropped, and by
/// the system when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Takes the lock, or says that somebody has it.
    ///
    /// # Errors
    /// [`StackError::InUse`] when another process holds it; [`StackError::Io`] when the lock file
    /// cannot be created.
    pub fn acquire(data_dir: &Path) -> Result<Self, StackError> {
        let path = run_dir(data_dir)?.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StackError::io("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StackError::InUse { data_dir: data_dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(StackError::io("lock", &path)(error)),
        }
    }
}

/// Ends what a run that was killed has left running for `data_dir`, and answers with the names, those that did not end
/// by themselves marked `(killed)`.
/// Take the [`DataDirLock`] first: this cannot tell a leftover from a run that is in progress.
///
/// # Errors
/// When the pid files cannot be listed.
pub async fn end_leftovers(data_dir: &Path) -> Result<Vec<String>, StackError> {
    let (servers, services): (Vec<_>, Vec<_>) =
        leftovers(data_dir)?.into_iter().partition(|left| left.name == "kafka" || left.name == "postgres");
    // Services first: while their servers live they can still write what they hold.
    let mut names = Vec::new();
    for round in [services, servers] {
        for left in &round {
            // It may end between the look and the signal; then there is nothing to do.
            let _ = kill_process(left.pid, left.stop.signal());
        }
        let deadline = tokio::time::Instant::now() + LEFTOVER_GRACE;
        for left in round {
            let by_itself = end(&left, deadline).await;
            let _ = std::fs::remove_file(&left.path);
            names.push(if by_itself { left.name } else { format!("{} (killed)", left.name) });
        }
    }
    Ok(names)
}

/// Whether anything runs for `data_dir`: by a run in progress, or left by one that was killed. Changes nothing.
pub fn is_running(data_dir: &Path) -> bool {
    let entries = std::fs::read_dir(data_dir.join("run")).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "pid"));
    paths.filter_map(|path| read(&path)).any(|noted| noted.is_running())
}

struct Leftover {
    name: String,
    path: PathBuf,
    pid: Pid,
    started: String,
    stop: StopSignal,
}

impl Leftover {
    fn is_running(&self) -> bool {
        started(self.pid.as_raw_nonzero().get().unsigned_abs()).is_some_and(|now| now == self.started)
    }
}

/// Waits for its end, kills it after the deadline, and says whether that was not needed.
async fn end(left: &Leftover, deadline: tokio::time::Instant) -> bool {
    let mut by_itself = true;
    while left.is_running() {
        if tokio::time::Instant::now() >= deadline {
            let _ = kill_process_group(left.pid, Signal::KILL);
            by_itself = false;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    by_itself
}

/// The processes named by pid files that still run. Files of processes that are gone are removed.
fn leftovers(data_dir: &Path) -> Result<Vec<Leftover>, StackError> {
    let run_dir = run_dir(data_dir)?;
    let entries = std::fs::read_dir(&run_dir).map_err(StackError::io("list", &run_dir))?;
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        match read(&path).filter(Leftover::is_running) {
            Some(left) => found.push(left),
            None => {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Option<Leftover> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let pid = Pid::from_raw(lines.next()?.parse().ok()?)?;
    let started = lines.next()?.to_owned();
    let stop = StopSignal::parse(lines.next()?)?;
    let name = path.file_stem()?.to_str()?.to_owned();
    Some(Leftover { name, path: path.to_owned(), pid, started, stop })
}

fn run_dir(data_dir: &Path) -> Result<PathBuf, StackError> {
    let run_dir = data_dir.join("run");
    std::fs::create_dir_all(&run_dir).map_err(StackError::io("create", &run_dir))?;
    Ok(run_dir)
}

/// A text that is the same for as long as this process lives and differs for any other process,
/// past or future, with its id; `None` when it does not run (a zombie does not).
#[cfg(target_os = "linux")]
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let ticks_since_boot = fields.nth(18)?;
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    (state != "Z" && state != "X").then(|| format!("{} {ticks_since_boot}", boot.trim()))
}

#[cfg(not(target_os = "linux"))]
fn started(pid: u32) -> Option<String> {
    let output =
        std::process::Command::new("ps").args(["-o", "stat=,lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (state, started) = text.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_another_with_its_id() {
        let own = std::process::id();
        assert!(started(own).is_some());
        assert_eq!(started(own), started(own));
        assert_eq!(started(u32::MAX / 2), None);
    }

    #[tokio::test]
    async fn a_leftover_is_ended_and_a_stranger_with_its_pid_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep starts");
        PidFile::write(dir.path(), "service", child.id(), StopSignal::Terminate).expect("written");
        let stranger = format!("{}\nanother boot 1\nTERM\n", child.id());
        std::fs::write(dir.path().join("run/stranger.pid"), stranger).expect("written");

        assert!(is_running(dir.path()));
        let names = end_leftovers(dir.path()).await.expect("ended");
        assert!(!is_running(dir.path()) && !is_running(&dir.path().join("elsewhere")));

        assert_eq!(names, ["service"]);
        assert!(!child.wait().expect("it has ended").success());
        assert_eq!(std::fs::read_dir(dir.path().join("run")).expect("listed").count(), 0);
    }

    #[test]
    fn a_data_directory_has_one_holder() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let held = DataDirLock::acquire(dir.path()).expect("free");
        assert!(matches!(DataDirLock::acquire(dir.path()), Err(StackError::InUse { .. })));
        drop(held);
        DataDirLock::acquire(dir.path()).expect("free again");
    }
}
