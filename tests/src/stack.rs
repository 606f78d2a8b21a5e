//! The whole product as its users start it: `rapport up` on a data directory and ports of its own, spoken to over HTTP
//! and SQL, and killed piece by piece.

use std::{
    ffi::OsStr,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// What a stack may take to answer on every port, a first fetch of Kafka and PostgreSQL aside.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// What `up` may take to stop everything.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// What `up` may take to say something: a demo company goes in before.
const SAID_TIMEOUT: Duration = Duration::from_secs(180);
/// Where Kafka and PostgreSQL were fetched to; shared by all that run from this checkout.
const STACK_DIR: &str = "RAPPORT_STACK_DIR";
/// Ports of one stack: the last one used is 14 above the first.
const PORTS: u16 = 20;
/// Tests share two cores with each other; how fast Kafka and the projectors are then is not what they are about. A test of
/// the deadlines themselves sets its own.
const PATIENT: [(&str, &str); 2] = [("publish_timeout_ms", "30000"), ("wait_ms", "60000")];
/// A request's answer may take as long as the longest of those, and the work itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// Admin ports, from the port base, and whose they are.
const ADMIN_PORTS: [(u16, &str); 5] =
    [(10, "collector"), (11, "sales"), (12, "service"), (13, "customer360"), (14, "query")];

/// A running stack. Dropping it kills `up`; [`Stack::stop`] ends it as Ctrl-C does.
pub struct Stack {
    data: TempDir,
    base: u16,
    /// Names and values of `RAPPORT_*` variables.
    settings: Vec<(String, String)>,
    /// Further arguments of `up`.
    arguments: &'static [&'static str],
    up: Child,
    /// For requests of a test's own.
    pub http: Client,
}

/// An answer: status, headers that matter, body as JSON.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// `Rapport-Position`, if it came.
    pub position: Option<String>,
    /// `Retry-After` in seconds, if it came.
    pub retry_after: Option<u64>,
    /// The body; `Null` if it is no JSON.
    pub body: Value,
}

impl Stack {
    /// Starts everything and waits until every service says that it is ready.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further settings; they win over the patient deadlines that every stack has.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::launch(settings, &[]).await
    }

    /// Starts everything as `make run` does, with the demo company; [`Stack::said`] tells when it is in.
    pub async fn start_with_demo() -> Self {
        Self::launch(&[], &["--demo"]).await
    }

    async fn launch(settings: &[(&str, &str)], arguments: &'static [&'static str]) -> Self {
        let data = tempfile::Builder::new().prefix("rapport-system-").tempdir().expect("a temporary directory");
        let base = local_stack::free_ports(PORTS).expect("a block of ports is free");
        let settings: Vec<_> =
            PATIENT.iter().chain(settings).map(|(name, value)| (variable(name), (*value).into())).collect();
        let up = spawn(data.path(), base, &settings, arguments);
        let http = Client::builder().timeout(ANSWER_TIMEOUT).build().expect("an HTTP client");
        let mut stack = Self { data, base, settings, arguments, up, http };
        stack.ready().await;
        stack
    }

    /// Waits until every service is ready.
    pub async fn ready(&mut self) {
        let end = Instant::now() + START_TIMEOUT;
        for (offset, name) in ADMIN_PORTS {
            let url = format!("http://127.0.0.1:{}/readyz", self.base + offset);
            loop {
                if let Ok(answer) = self.http.get(&url).timeout(Duration::from_secs(2)).send().await
                    && answer.status().is_success()
                {
                    break;
                }
                if let Ok(Some(status)) = self.up.try_wait() {
                    panic!("`rapport up` ended with {status} before {name} was ready:\n{}", self.log_tail());
                }
                assert!(Instant::now() < end, "{name} was not ready after {START_TIMEOUT:?}:\n{}", self.log_tail());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// `http://127.0.0.1:<collector>` and a path.
    pub fn collector(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.base)
    }

    /// `http://127.0.0.1:<query>` and a path.
    pub fn query(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.base + 2)
    }

    /// The owner's way into PostgreSQL.
    pub fn database_url(&self) -> String {
        local_stack::database_url(self.base + 3)
    }

    /// The broker.
    pub fn kafka(&self) -> String {
        format!("127.0.0.1:{}", self.base + 4)
    }

    /// The first port of the block.
    pub fn port_base(&self) -> u16 {
        self.base
    }

    /// Where everything is kept.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Publishes one event, or an array of them.
    pub async fn publish(&self, events: &Value) -> Answer {
        self.try_publish(events).await.expect("the collector answers")
    }

    /// The same, where no answer at all is possible: a collector that has just been killed.
    pub async fn try_publish(&self, events: &Value) -> Result<Answer, reqwest::Error> {
        let mode =
            if events.is_array() { "application/cloudevents-batch+json" } else { "application/cloudevents+json" };
        let request = self.http.post(self.collector("/events")).header("content-type", mode).body(events.to_string());
        answer(request.send().await?).await
    }

    /// Asks the query service.
    pub async fn get(&self, path: &str) -> Answer {
        let response = self.http.get(self.query(path)).send().await.expect("the query service answers");
        answer(response).await.expect("a whole answer")
    }

    /// Runs the `rapport` binary against this stack.
    pub fn rapport(&self, arguments: &[&str]) -> std::process::Output {
        self.rapport_command(arguments).output().expect("the rapport binary runs")
    }

    /// The `rapport` binary, about to run against this stack.
    pub fn rapport_command(&self, arguments: &[&str]) -> Command {
        let mut command = command(binary());
        command
            .args(arguments)
            .env("RAPPORT_PORT_BASE", self.base.to_string())
            .env("RAPPORT_DATA_DIR", self.data.path())
            .current_dir(self.data.path());
        command
    }

    /// The process id in a pid file of `up`: `kafka`, `postgres`, `collector` ...
    pub fn pid(&self, name: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.data.path().join("run").join(format!("{name}.pid"))).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Sends a signal (`KILL`, `STOP`, `CONT`) to one of the processes. Says whether there was one.
    pub fn signal(&self, name: &str, signal: &str) -> bool {
        self.pid(name).is_some_and(|pid| {
            Command::new("kill")
                .args([&format!("-{signal}"), &pid.to_string()])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        })
    }

    /// Sends a signal to `up` itself.
    pub fn signal_up(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.up.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "`up` is not running");
    }

    /// The names of all processes that `up` started.
    pub fn processes(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.data.path().join("run"))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".pid").map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// Ends `up` as Ctrl-C does and checks that nothing is left running.
    pub async fn stop(mut self) {
        let pids: Vec<(String, u32)> =
            self.processes().into_iter().filter_map(|n| self.pid(&n).map(|p| (n, p))).collect();
        self.interrupt().await;
        for (name, pid) in pids {
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "{name} (process {pid}) still runs after `up` was stopped"
            );
        }
    }

    /// Stops everything and starts it again on the same data.
    pub async fn restart(&mut self) {
        self.interrupt().await;
        self.up = spawn(self.data.path(), self.base, &self.settings, self.arguments);
        self.ready().await;
    }

    /// kill -9 of `up` alone, then a new one on the same data.
    pub async fn restart_after_kill(&mut self) {
        let orphans: Vec<_> = self.processes().into_iter().map(|name| (self.pid(&name), name)).collect();
        self.up.kill().expect("`up` runs");
        self.up.wait().expect("`up` ends");
        self.up = spawn(self.data.path(), self.base, &self.settings, self.arguments);
        // Until the new `up` has ended them, what the killed one left still says that it is ready.
        let end = Instant::now() + START_TIMEOUT;
        let same =
            |stack: &Self, (old, name): &(Option<u32>, String)| stack.pid(name).is_none_or(|new| Some(new) == *old);
        while let Some(orphan) = orphans.iter().find(|orphan| same(self, orphan)) {
            assert!(
                Instant::now() < end,
                "{orphan:?}, which a killed `up` left, was not replaced:\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ready().await;
        let log = std::fs::read_to_string(self.data.path().join("up.log")).expect("up.log");
        assert!(!log.contains("(killed)"), "what a killed `up` left did not end when asked to:\n{}", self.log_tail());
    }

    async fn interrupt(&mut self) {
        let _ = Command::new("kill").args(["-INT", &self.up.id().to_string()]).status();
        let end = Instant::now() + STOP_TIMEOUT;
        while self.up.try_wait().expect("a child of ours").is_none() {
            assert!(Instant::now() < end, "`up` did not stop within {STOP_TIMEOUT:?}:\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What `up` has printed after saying `what` for the nth time, from 1, and until it said `end` after that; waits for both.
    pub async fn said(&self, what: &str, nth: usize, end: &str) -> String {
        let deadline = Instant::now() + SAID_TIMEOUT;
        loop {
            let log = self.log();
            let rest = log.match_indices(what).nth(nth - 1).map(|(at, _)| &log[at + what.len()..]);
            if let Some((said, _)) = rest.and_then(|rest| rest.split_once(end)) {
                return said.to_owned();
            }
            assert!(
                Instant::now() < deadline,
                "`up` did not say {what} and {end} within {SAID_TIMEOUT:?}:\n{}",
                self.log_tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All that `up` and what it started have said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data.path().join("up.log")).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // A test that failed must leave nothing running: `up` first, then what it started.
        let pids: Vec<u32> = self.processes().iter().filter_map(|n| self.pid(n)).collect();
        let _ = self.up.kill();
        let _ = self.up.wait();
        for pid in pids {
            // Without the dashes, procps reads the first digit of a group's number only, and 1 is everybody.
            let _ = Command::new("kill").args(["-9", "--", &format!("-{pid}")]).stderr(Stdio::null()).status();
        }
    }
}

async fn answer(response: reqwest::Response) -> Result<Answer, reqwest::Error> {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let (status, position, retry_after) = (response.status(), header("rapport-position"), header("retry-after"));
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, position, retry_after: retry_after.and_then(|s| s.parse().ok()), body })
}

/// A process of a test's own; nothing of it is left when the test ends, well or not.
pub struct Ended(pub Child);

impl Ended {
    /// Sends it a signal by its name.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "it was not running");
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The binary that the same build made, beside the test or the directory of tests.
pub fn binary() -> PathBuf {
    let program = std::env::current_exe().expect("a running test has a path");
    // target/<profile>/<program> or target/<profile>/deps/<test>.
    let mut beside = program.ancestors().skip(1).take(2).map(|directory| directory.join("rapport"));
    beside.find(|binary| binary.is_file()).unwrap_or_else(|| {
        panic!("there is no rapport beside {}: run `cargo build --workspace` (or `make test`) first", program.display())
    })
}

/// A command without the settings of whoever runs the tests: a Kafka named in them would be written to. Its working
/// directory is to be one without a `rapport.toml`.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if is_setting(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Whether a variable says how `rapport` is to run, and not how tests are.
fn is_setting(variable: &str) -> bool {
    variable.starts_with("RAPPORT_") && !variable.starts_with("RAPPORT_TEST_") && variable != STACK_DIR
}

/// The variable of a setting.
fn variable(setting: &str) -> String {
    format!("RAPPORT_{}", setting.to_uppercase())
}

fn spawn(data: &Path, base: u16, settings: &[(String, String)], arguments: &[&str]) -> Child {
    let log = File::options().create(true).append(true).open(data.join("up.log")).expect("a log file");
    let stack_dir = std::path::absolute(test_kit::stack_dir()).expect("the working directory is known");
    command(binary())
        .args(["up", "--data-dir"])
        .arg(data)
        .args(["--port-base", &base.to_string()])
        .args(arguments)
        .current_dir(data)
        .env(STACK_DIR, stack_dir)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a log file"))
        .stderr(log)
        .spawn()
        .expect("the rapport binary starts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stay_outside() {
        for (name, removed) in [
            ("RAPPORT_KAFKA", true),
            ("RAPPORT_KAFKA_FILE", true),
            ("RAPPORT_CONFIG", true),
            (STACK_DIR, false),
            ("RAPPORT_TEST_SEEDS", false),
            ("PATH", false),
        ] {
            assert_eq!(is_setting(name), removed, "{name}");
        }
    }
}
