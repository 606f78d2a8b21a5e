use std::io::IsTerminal;
use std::time::Duration;

use event_log::LogOptions;
use serde_json::Value;
use service_kit::{Clock, Config};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};

use super::document::document;
use super::look::{self, Kafka, LogState, Place};
use super::rates::Rates;
use super::screen::Screen;
use super::show;
use crate::failure::{Exit, OrExit, Outcome};
use crate::ops::{STATEMENT_TIMEOUT, connect, log_options, unread};
use crate::say;

/// How often it is asked, and shown.
const INTERVAL: Duration = Duration::from_secs(1);
/// A server that has not answered for so long is said not to.
const SILENCE: Duration = Duration::from_secs(3);
/// How long an answer is waited for before the question is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server said last, and since when it has not.
struct Answers<T> {
    last: Option<(Instant, T)>,
    /// Why the question after it failed.
    failure: Option<String>,
    /// When it was first asked.
    began: Instant,
}

impl<T> Answers<T> {
    fn new() -> Self {
        Self { last: None, failure: None, began: Instant::now() }
    }

    fn take(&mut self, at: Instant, answer: Result<T, String>) {
        match answer {
            Ok(answer) => (self.last, self.failure) = (Some((at, answer)), None),
            Err(failure) => self.failure = Some(failure),
        }
    }

    fn is_asked(&self) -> bool {
        self.last.is_some() || self.failure.is_some()
    }

    /// Why there is no answer of `now`, if there is none.
    fn trouble(&self, now: Instant) -> Option<String> {
        let since = now.duration_since(self.last.as_ref().map_or(self.began, |(at, _)| *at));
        let age = since.as_secs();
        let shown = if self.last.is_some() { format!("; what is shown is {age} s old") } else { String::new() };
        match &self.failure {
            Some(failure) => Some(format!("{failure}{shown}")),
            None if since > SILENCE => Some(format!("no answer for {age} s")),
            None => None,
        }
    }
}

type Shared<T> = watch::Sender<Answers<T>>;

/// `rapport status --watch`: until Ctrl-C, whatever is away meanwhile.
pub(super) async fn watch(config: &Config, as_json: bool) -> Outcome {
    // Wrong settings do not become right by asking again.
    let options = LogOptions { open_timeout: Duration::ZERO, ..log_options(config)? };
    crate::ops::database_options(config, STATEMENT_TIMEOUT)?;
    let ends = Ends::new()?;
    let (postgres, kafka) = (watch::Sender::new(Answers::new()), watch::Sender::new(Answers::new()));
    tokio::select! {
        () = ask_postgres(config, &postgres) => Ok(()),
        () = ask_kafka(options, &postgres, &kafka) => Ok(()),
        ended = draw(&postgres, &kafka, ends, as_json) => ended,
    }
}

/// Asks PostgreSQL on and on; a connection that fails is made anew.
async fn ask_postgres(config: &Config, answers: &Shared<Vec<Place>>) {
    let mut connection = None;
    loop {
        let asked = async {
            let database = match &mut connection {
                Some(database) => database,
                None => connection.insert(connect(config, STATEMENT_TIMEOUT).await.map_err(|f| f.to_string())?),
            };
            look::places(database).await.map_err(|error| unread(error).to_string())
        };
        let answer = timeout(ANSWER_TIMEOUT, asked).await.unwrap_or_else(|_| Err("it did not answer in time".into()));
        if answer.is_err() {
            connection = None;
        }
        answers.send_modify(|answers| answers.take(Instant::now(), answer));
        sleep(INTERVAL).await;
    }
}

/// Asks Kafka on and on how far the log reaches, and since when waits what is not folded.
async fn ask_kafka(options: LogOptions, postgres: &Shared<Vec<Place>>, answers: &Shared<LogState>) {
    let mut kafka = Kafka::new(options);
    loop {
        let places = postgres.borrow().last.as_ref().map(|(_, places)| places.clone()).unwrap_or_default();
        let answer = kafka.look(&places).await;
        answers.send_modify(|answers| answers.take(Instant::now(), answer));
        sleep(INTERVAL).await;
    }
}

/// Shows what is known, again and again.
async fn draw(postgres: &Shared<Vec<Place>>, kafka: &Shared<LogState>, mut ends: Ends, as_json: bool) -> Outcome {
    let first = async {
        // An error would say that nobody asks any more.
        let _ = postgres.subscribe().wait_for(Answers::is_asked).await;
        let _ = kafka.subscribe().wait_for(Answers::is_asked).await;
    };
    tokio::select! {
        _ = timeout(SILENCE, first) => {}
        () = ends.next() => return Ok(()),
    }
    let mut shown = Shown::new(as_json)?;
    let (mut rates, mut counted) = (Rates::default(), None);
    let mut ticks = interval(INTERVAL);
    let mut resized = signal(SignalKind::window_change()).or_exit(Exit::Unavailable)?;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = resized.recv() => {}
            () = ends.next() => return Ok(()),
        }
        let now = Instant::now();
        let document = {
            let (postgres, kafka) = (postgres.borrow(), kafka.borrow());
            let (at, places) = postgres.last.as_ref().map_or((None, &[][..]), |(at, places)| (Some(*at), places));
            if let Some(at) = at.filter(|at| counted != Some(*at)) {
                counted = Some(at);
                rates.saw(at, places);
            }
            let trouble = kafka.trouble(now);
            let log = match (&trouble, &kafka.last) {
                (None, Some((_, log))) => Ok(log),
                (trouble, _) => Err(trouble.as_deref().unwrap_or("it has not answered yet")),
            };
            let unknown = postgres.trouble(now).or_else(|| at.is_none().then(|| "it has not answered yet".to_owned()));
            document(places, unknown.as_deref(), log, &rates)
        };
        if !shown.show(&document)? {
            return Ok(());
        }
    }
}

/// Where it is shown.
enum Shown {
    /// A terminal, drawn over again and again.
    Screen(Screen),
    /// Anything else: one block after another.
    Blocks { as_json: bool },
}

impl Shown {
    fn new(as_json: bool) -> Outcome<Self> {
        if as_json || !std::io::stdout().is_terminal() {
            return Ok(Self::Blocks { as_json });
        }
        Screen::enter().map(Self::Screen).or_exit(Exit::Unavailable)
    }

    /// `false`: nobody looks any more.
    fn show(&mut self, document: &Value) -> Outcome<bool> {
        match self {
            Self::Screen(screen) => {
                let now = Clock::system().now();
                let title = format!("rapport status   {}   Ctrl-C ends", now.format("%Y-%m-%d %H:%M:%S UTC"));
                let lines = [vec![title, String::new()], show::lines(document)].concat();
                Ok(screen.draw(&lines).is_ok())
            }
            Self::Blocks { as_json: true } => say::write(format!("{document}\n").as_bytes()),
            Self::Blocks { as_json: false } => {
                say::write(format!("{}\n\n", show::lines(document).join("\n")).as_bytes())
            }
        }
    }
}

/// What ends it: Ctrl-C, being asked to end, a terminal that is closed.
struct Ends([Signal; 3]);

impl Ends {
    fn new() -> Outcome<Self> {
        let on = |kind| signal(kind).or_exit(Exit::Unavailable);
        Ok(Self([on(SignalKind::interrupt())?, on(SignalKind::terminate())?, on(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_answer_is_said_to() {
        let mut answers = Answers::<u8>::new();
        let began = answers.began;
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(answers.trouble(after(1)), None, "it was only just asked");
        assert_eq!(answers.trouble(after(4)).as_deref(), Some("no answer for 4 s"));
        answers.take(after(5), Ok(1));
        assert_eq!(answers.trouble(after(6)), None);
        answers.take(after(7), Err("refused".into()));
        assert_eq!(answers.trouble(after(7)).as_deref(), Some("refused; what is shown is 2 s old"));
        answers.take(after(8), Ok(2));
        assert_eq!(answers.trouble(after(8)), None, "it is back");
    }
}
