use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use service_kit::EXIT_CONFIG;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Stop;
use super::child::{Launcher, Service};
use super::screen::Screen;
use super::servers::LocalServer;
use crate::failure::{Exit, Failure, Outcome};

/// How long a service may take to finish what it has begun.
const SERVICE_GRACE: Duration = Duration::from_secs(15);

/// How long Kafka or PostgreSQL may take to write down what it holds.
const SERVER_GRACE: Duration = Duration::from_secs(30);

/// Pauses between two starts of what keeps dying.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What has run this long has recovered: the next pause is the shortest again.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// Runs a service and starts it again whenever it ends, until the stop.
pub(super) async fn service(service: Service, launcher: Arc<Launcher>, stop: Stop) -> Outcome {
    let mut pauses = Pauses::default();
    loop {
        let started = Instant::now();
        let mut running = launcher.start(&service)?;
        let ended = stop.gently.run_until_cancelled(running.wait()).await;
        let Some(status) = ended else {
            running.stop(SERVICE_GRACE, &stop.now).await;
            running.clean_up().await;
            return Ok(());
        };
        running.clean_up().await;
        let status = status?;
        if status.code() == Some(i32::from(EXIT_CONFIG)) {
            let sentence = format_args!("the configuration of {} is wrong, as it says above", service.name);
            return Err(Failure::new(Exit::Configuration, sentence));
        }
        let pause = pauses.after(started.elapsed());
        if !again(service.name, status, pause, launcher.screen(), &stop.gently).await {
            return Ok(());
        }
    }
}

/// Watches Kafka or PostgreSQL and starts it again whenever it ends, until the stop.
pub(super) async fn server(local: LocalServer, screen: Screen, stop: Stop) -> Outcome {
    let LocalServer { mut server, start } = local;
    let mut pauses = Pauses::default();
    loop {
        let started = Instant::now();
        let name = server.name();
        let Some(status) = stop.gently.run_until_cancelled(server.wait()).await else {
            // Dropped in the middle of it, the server is ended at once.
            stop.now.run_until_cancelled(server.stop(SERVER_GRACE)).await;
            return Ok(());
        };
        let status = status.map_err(|e| Failure::new(Exit::Internal, format_args!("{name} cannot be watched: {e}")))?;
        let mut pause = pauses.after(started.elapsed());
        if !again(name, status, pause, &screen, &stop.gently).await {
            return Ok(());
        }
        server = loop {
            match stop.gently.run_until_cancelled(start()).await {
                None => return Ok(()),
                Some(Ok(server)) => break server,
                Some(Err(error)) => {
                    pause = pauses.after(Duration::ZERO);
                    screen.print(name, &format!("{error}; trying again in {} ms", pause.as_millis()));
                    if stop.gently.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Ok(());
                    }
                }
            }
        };
        screen.print(name, "runs again");
    }
}

/// Says that something ended and waits; `false` when it is not to be started again.
async fn again(name: &str, status: ExitStatus, pause: Duration, screen: &Screen, stop: &CancellationToken) -> bool {
    if stop.is_cancelled() {
        return false;
    }
    screen.print(name, &format!("ended by itself ({status}); starting it again in {} ms", pause.as_millis()));
    stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some()
}

#[derive(Default)]
struct Pauses {
    last: Option<Duration>,
}

impl Pauses {
    /// Twice as long each time, until it has run for a while.
    fn after(&mut self, ran: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if ran < RECOVERED_AFTER => (last * 2).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
        self.last = Some(pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_shrink() {
        let mut pauses = Pauses::default();
        let soon = Duration::from_secs(1);
        let found: Vec<u128> = (0..9).map(|_| pauses.after(soon).as_millis()).collect();
        assert_eq!(found, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(pauses.after(RECOVERED_AFTER), PAUSE_MIN);
    }
}
