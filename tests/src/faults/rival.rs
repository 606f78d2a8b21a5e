//! Further processes beside those that `rapport up` started: rivals for the same partitions, or a small Rapport of their own.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    time::{Duration, Instant},
};

use crate::stack::{Ended, Stack, binary, command};

/// The read models.
pub(super) const MODELS: [&str; 3] = ["sales", "service", "customer360"];
/// What anything here may take, however busy the machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked.
pub(super) const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// A signal by its number.
const SIGKILL: i32 = 9;

/// One more service of this stack, a process of ours.
pub(super) struct Rival {
    process: Ended,
    said: PathBuf,
    /// The first of its ports.
    pub(super) port_base: u16,
}

impl Rival {
    /// One more projector of a model, on the stack's log and database but for what `settings` say.
    pub(super) fn projector(stack: &Stack, model: &str, settings: &[(&str, &str)]) -> Self {
        Self::start(stack, &["projector", model], settings)
    }

    /// One more service. `settings`: variables by their whole names.
    pub(super) fn start(stack: &Stack, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let port_base = local_stack::free_ports(20).expect("a block of ports is free");
        let said = stack.data_dir().join(format!("rival-{}-{port_base}.log", arguments.join("-")));
        let log = File::options().create(true).append(true).open(&said).expect("a log file");
        let process = command(binary())
            .args(arguments)
            .env("RAPPORT_PORT_BASE", port_base.to_string())
            .env("RAPPORT_KAFKA", stack.kafka())
            .env("RAPPORT_DATABASE_URL", stack.database_url())
            .env("RAPPORT_LEASE_TTL_MS", super::LEASE_TTL_MS)
            .envs(settings.iter().copied())
            .current_dir(stack.data_dir())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .map(Ended)
            .expect("it starts");
        Self { process, said, port_base }
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    /// Sends it a signal by its name.
    pub(super) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.0.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < end, "it has not ended after {PATIENCE:?}:\n{}", self.said());
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Waits until it has killed itself.
    pub(super) async fn killed(&mut self) {
        let status = self.ended().await;
        assert_eq!(status.signal(), Some(SIGKILL), "it ended with {status}:\n{}", self.said());
    }

    /// Waits until it has stopped itself.
    pub(super) async fn stopped(&self) {
        let end = Instant::now() + PATIENCE;
        let stat = format!("/proc/{}/stat", self.process.0.id());
        // The state stands behind the name, which is in brackets.
        let is_stopped = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        while !is_stopped() {
            assert!(Instant::now() < end, "it has not stopped after {PATIENCE:?}:\n{}", self.said());
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }
}
