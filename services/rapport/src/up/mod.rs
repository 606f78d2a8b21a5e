//! `rapport up`: everything on one machine, as processes that it starts, watches and stops.
//!
//! ```text
//! lock the data directory -> end what a killed run left -> check the ports -> fetch -> Kafka and PostgreSQL
//!   -> the services -> wait until each is ready -> say where it all is -> load the demo, if asked for -> watch
//! Ctrl-C or a closed terminal: the services, then Kafka and PostgreSQL; a second Ctrl-C: at once
//! ```
//!
//! `run/up.toml` in the data directory says where the services are while any of them runs: commands in another terminal
//! find them by it.
//!
//! Every child has a process group of its own (Ctrl-C reaches only us) and a pid file, so that the next run ends what a
//! `kill -9` of this one leaves.

mod child;
mod demo;
mod places;
mod screen;
mod servers;
mod watch;

pub(crate) use places::{ports, running};

use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use local_stack::{DataDirLock, StackError, end_leftovers};
use service_kit::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cli::{SettingFlags, UpArgs};
use crate::failure::{Exit, Failure, OrExit, Outcome};
use crate::http;
use child::{Launcher, SERVICES, Service};
use screen::Screen;

/// After this long without all being ready, what is missing is said.
const READY_HINT: Duration = Duration::from_secs(20);

/// How often the services are asked whether they are ready.
const READY_INTERVAL: Duration = Duration::from_millis(100);

/// What was asked of us by signals.
#[derive(Clone, Default)]
struct Stop {
    /// End in good order.
    gently: CancellationToken,
    /// End at once.
    now: CancellationToken,
}

/// Runs until Ctrl-C, SIGTERM, a closed terminal, or something that starting again cannot help.
pub(crate) async fn run(config: &Config, flags: &SettingFlags, args: UpArgs) -> Outcome {
    let screen = Screen::new();
    let stop = Stop::default();
    listen_for_signals(&stop, hangup_is_ignored())?;
    for warning in config.warnings() {
        screen.note(warning);
    }
    let data_dir = prepare(config, &screen).await?;
    let _lock = &data_dir.lock;

    let mut servers = JoinSet::new();
    // The servers outlive the services: they are told to stop when those have ended.
    let servers_stop = Stop { gently: CancellationToken::new(), now: stop.now.clone() };
    let mut result = Ok(());
    if let Some(started) =
        stop.gently.run_until_cancelled(Box::pin(servers::start(config, &data_dir.path, &screen))).await
    {
        for server in started? {
            servers.spawn(watch::server(server, screen.clone(), servers_stop.clone()));
        }
        let launcher = Launcher::new(flags, &data_dir.path, screen.clone())?;
        let demo = args.demo.then(|| demo::load(config, &screen));
        result = Box::pin(services(config, launcher, demo, &mut servers, &stop)).await;
    }
    servers_stop.gently.cancel();
    while let Some(ended) = servers.join_next().await {
        result = result.and(ended.or_exit(Exit::Internal).flatten());
    }
    screen.note("stopped; the data stay in place");
    result
}

struct DataDir {
    path: PathBuf,
    /// Before the lock: it is gone when the next run may begin.
    _note: places::Note,
    lock: DataDirLock,
}

/// The data directory is ours, nothing of an earlier run is left, the ports are free, and it is noted which they are.
async fn prepare(config: &Config, screen: &Screen) -> Outcome<DataDir> {
    let path = Path::new(config.text("data_dir"));
    // What people have said and bought lies in it: nobody else on this machine may look.
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| {
        Failure::new(Exit::Unavailable, format_args!("the data directory {} cannot be made: {e}", path.display()))
    })?;
    let path = std::fs::canonicalize(path).or_exit(Exit::Unavailable)?;
    let lock = DataDirLock::acquire(&path).map_err(stack)?;
    let ended = end_leftovers(&path).await.map_err(stack)?;
    if !ended.is_empty() {
        screen.note(&format!("ended what an earlier run had left: {}", ended.join(", ")));
    }
    for (name, port) in places::ports(config) {
        if TcpListener::bind(config.listen(port)).is_err() {
            return Err(stack(StackError::PortTaken { name, port }));
        }
    }
    let note = places::Note::write(config, &path)?;
    Ok(DataDir { path, _note: note, lock })
}

/// An error of the local stack as the end of the command.
fn stack(error: StackError) -> Failure {
    let exit = match error {
        StackError::InUse { .. } => Exit::TryAgain,
        _ => Exit::Unavailable,
    };
    Failure::of(exit, error)
}

/// Runs the services until the stop, and ends them. `demo`: what to do beside once all are ready; it is broken off by
/// the stop, and begun anew by the next run.
async fn services(
    config: &Config,
    launcher: Launcher,
    demo: Option<impl Future<Output = ()>>,
    servers: &mut JoinSet<Outcome>,
    stop: &Stop,
) -> Outcome {
    let screen = launcher.screen().clone();
    // All of them listen on one address of this machine.
    let http = http::builder(&admin_url(config, &SERVICES[0])).build().or_exit(Exit::Internal)?;
    let launcher = Arc::new(launcher);
    let mut running = JoinSet::new();
    for service in SERVICES {
        running.spawn(watch::service(service, launcher.clone(), stop.clone()));
    }
    let mut result = Ok(());
    let mut announced = false;
    let mut demo_left = demo.is_some();
    let mut demo = Box::pin(async {
        if let Some(demo) = demo {
            demo.await;
        }
    });
    let mut ready = Box::pin(all_ready(&http, config, &screen));
    loop {
        tokio::select! {
            () = &mut ready, if !announced => {
                announced = true;
                places::announce(config, &screen);
            }
            () = &mut demo, if announced && demo_left && !stop.gently.is_cancelled() => demo_left = false,
            Some(ended) = running.join_next() => {
                // One that does not come back takes the others along: half a Rapport helps nobody.
                result = result.and(ended.or_exit(Exit::Internal).flatten());
                stop.gently.cancel();
            }
            Some(ended) = servers.join_next() => {
                result = result.and(ended.or_exit(Exit::Internal).flatten());
                stop.gently.cancel();
            }
            () = stop.gently.cancelled(), if running.is_empty() => return result,
        }
        if stop.gently.is_cancelled() && running.is_empty() {
            return result;
        }
    }
}

/// Waits until every service says that it can do its work.
async fn all_ready(http: &reqwest::Client, config: &Config, screen: &Screen) {
    let started = tokio::time::Instant::now();
    let mut hinted = false;
    loop {
        let mut missing = Vec::new();
        for service in SERVICES {
            if let Err(reason) = ready(http, config, &service).await {
                missing.push(format!("{} ({reason})", service.name));
            }
        }
        if missing.is_empty() {
            return;
        }
        if !hinted && started.elapsed() > READY_HINT {
            hinted = true;
            screen.note(&format!("still waiting for: {}", missing.join(", ")));
        }
        tokio::time::sleep(READY_INTERVAL).await;
    }
}

fn admin_url(config: &Config, service: &Service) -> String {
    format!("http://{}/readyz", config.listen((service.admin_port)(&config.ports())))
}

async fn ready(http: &reqwest::Client, config: &Config, service: &Service) -> Result<(), String> {
    let request = http.get(admin_url(config, service)).timeout(Duration::from_secs(2));
    let answer = request.send().await.map_err(|_| "not up yet".to_owned())?;
    if answer.status().is_success() {
        return Ok(());
    }
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    let conditions = body["conditions"].as_object().into_iter().flatten();
    let failing: Vec<String> = conditions
        .filter(|(_, text)| text.as_str() != Some("ok"))
        .map(|(name, text)| format!("{name}: {}", text.as_str().unwrap_or_default()))
        .collect();
    Err(failing.join(", "))
}

/// The first SIGINT, SIGTERM or SIGHUP (the terminal has gone) asks for an end in good order, a later SIGINT or SIGTERM
/// for an end at once. A second SIGHUP is none: a terminal that closes may say so twice, itself and through the shell.
fn listen_for_signals(stop: &Stop, hangup_ignored: bool) -> Outcome {
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Unavailable)?;
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Unavailable)?;
    let mut hangup = if hangup_ignored { None } else { Some(signal(SignalKind::hangup()).or_exit(Exit::Unavailable)?) };
    let stop = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "it lasts as long as the process and cannot panic")]
    tokio::spawn(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hung_up => {}
        }
        stop.gently.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.now.cancel();
    });
    Ok(())
}

/// Whether whoever started us wants us to outlive the terminal, as `nohup` does. Where the system does not say, no.
fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status))
}

/// `status`: as Linux has it for a process; bit 0 of `SigIgn` is signal 1, SIGHUP.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// Without a handler the signal would end the test program.
    #[tokio::test]
    async fn a_closed_terminal_is_a_first_ctrl_c_however_often_it_says_so() {
        let stop = Stop::default();
        listen_for_signals(&stop, false).expect("the system takes handlers");
        for _ in 0..2 {
            kill_process(getpid(), Signal::HUP).expect("a signal to ourselves");
            let asked = tokio::time::timeout(Duration::from_secs(10), stop.gently.cancelled()).await;
            assert!(asked.is_ok(), "an end in good order is asked for");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!stop.now.is_cancelled(), "an end at once is not");
    }

    #[test]
    fn nohup_is_respected() {
        assert!(ignores_hangup("Name:\trapport\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
