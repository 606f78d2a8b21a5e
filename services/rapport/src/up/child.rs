use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use local_stack::{PidFile, StopSignal};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use service_kit::Ports;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use super::stack;
use crate::cli::SettingFlags;
use crate::failure::{Exit, Failure, OrExit, Outcome};

/// One service: its name, its command, where it says that it is ready.
#[derive(Clone, Copy)]
pub(super) struct Service {
    pub(super) name: &'static str,
    arguments: &'static [&'static str],
    pub(super) admin_port: fn(&Ports) -> u16,
}

/// In the order they are started and shown.
pub(super) const SERVICES: [Service; 5] = [
    Service { name: "collector", arguments: &["collector"], admin_port: |p| p.admin_collector },
    Service { name: "sales", arguments: &["projector", "sales"], admin_port: |p| p.admin_sales },
    Service { name: "service", arguments: &["projector", "service"], admin_port: |p| p.admin_service },
    Service { name: "customer360", arguments: &["projector", "customer360"], admin_port: |p| p.admin_customer360 },
    Service { name: "query", arguments: &["query"], admin_port: |p| p.admin_query },
];

/// How long what a process had still to say is read after its end.
const OUTPUT_WAIT: Duration = Duration::from_secs(1);

/// Starts services as processes of this same program.
pub(super) struct Launcher {
    program: PathBuf,
    variables: Vec<(String, String)>,
    data_dir: PathBuf,
    screen: Screen,
}

impl Launcher {
    pub(super) fn new(flags: &SettingFlags, data_dir: &Path, screen: Screen) -> Outcome<Self> {
        let program = std::env::current_exe().or_exit(Exit::Unavailable)?;
        Ok(Self { program, variables: flags.variables(), data_dir: data_dir.to_owned(), screen })
    }

    pub(super) fn screen(&self) -> &Screen {
        &self.screen
    }

    pub(super) fn start(&self, service: &Service) -> Outcome<Running> {
        let mut command = Command::new(&self.program);
        command.args(service.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        for (name, _) in &self.variables {
            // A flag overrules a variable; one that names a file with the value would now contradict it.
            command.env_remove(format!("{name}_FILE"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|e| Failure::new(Exit::Unavailable, format_args!("{} could not be started: {e}", service.name)))?;
        let raw = child.id().expect("a child that has not been waited for has a process id");
        let pid = i32::try_from(raw).ok().and_then(Pid::from_raw).expect("a process id is positive");
        let pid_file = PidFile::write(&self.data_dir, service.name, raw, StopSignal::Terminate).map_err(stack)?;
        let mut output = JoinSet::new();
        if let Some(stream) = child.stdout.take() {
            output.spawn(forward(stream, service.name, self.screen.clone()));
        }
        if let Some(stream) = child.stderr.take() {
            output.spawn(forward(stream, service.name, self.screen.clone()));
        }
        Ok(Running { child, pid, pid_file, output })
    }
}

/// A service's process. Dropping it kills the process.
pub(super) struct Running {
    child: Child,
    pid: Pid,
    pid_file: PidFile,
    output: JoinSet<()>,
}

impl Running {
    /// Waits until it ends by itself or by somebody else's signal.
    pub(super) async fn wait(&mut self) -> Outcome<ExitStatus> {
        self.child.wait().await.or_exit(Exit::Internal)
    }

    /// Asks it to end, and kills it after `grace` or when `now` is cancelled.
    pub(super) async fn stop(&mut self, grace: Duration, now: &CancellationToken) {
        // It may have ended in between; then there is nothing to signal.
        let _ = kill_process(self.pid, Signal::TERM);
        let in_time = now.run_until_cancelled(tokio::time::timeout(grace, self.child.wait())).await;
        if !matches!(in_time, Some(Ok(_))) {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = self.child.wait().await;
        }
    }

    /// After its end: prints what it had still to say and takes the pid file away.
    pub(super) async fn clean_up(mut self) {
        let rest = async { while self.output.join_next().await.is_some() {} };
        // A process of its own may still hold the pipe.
        let _ = tokio::time::timeout(OUTPUT_WAIT, rest).await;
        self.pid_file.remove();
    }
}

async fn forward(stream: impl AsyncRead + Unpin, name: &'static str, screen: Screen) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while let Ok(1..) = stream.read_until(b'\n', &mut line).await {
        screen.print(name, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}
