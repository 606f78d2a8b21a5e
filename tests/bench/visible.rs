//! From publishing to being visible, at a steady rate that does not wait for answers.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Position;
use sqlx::PgConnection;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinSet,
};

use crate::{
    Outcome,
    cpu::Meter,
    fold::checkpoints,
    http::Connection,
    machine::{Machine, PROJECTORS},
    mix::Told,
    table::{Figure, Latencies, Limit},
    work::Progress,
};

/// Connections that publish, each with one request at a time.
const PUBLISHERS: usize = 64;
/// Connections that ask for pages.
const READERS: usize = 32;
/// Of so many events one is followed.
const FOLLOWED: usize = 10;
/// Between two looks at the checkpoints.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// What is not visible by then will not be.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);

/// When an event counts as visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The checkpoints of all three models have passed it: committed.
    Checkpoints,
    /// The customer's page has answered at its position.
    Page,
}

/// Events of one phase, and how they are sent.
pub(crate) struct Phase {
    /// Which of what is told.
    pub(crate) range: Range<usize>,
    /// Events a second.
    pub(crate) rate: usize,
    /// What is waited for.
    pub(crate) seen: Seen,
    /// What else goes on, as it is to stand in the table.
    pub(crate) beside: &'static str,
    /// Once this is true, no further event is sent.
    pub(crate) is_over: watch::Receiver<bool>,
}

/// An event under way.
struct Sent {
    index: usize,
    at: Instant,
}

/// An event to be followed until it is visible.
struct Followed {
    sent: Sent,
    position: String,
}

/// Publishes at a steady rate and follows every tenth event. `round_trip`: the median of the limit. Returns how many were
/// published.
///
/// # Errors
/// An event was not accepted, or did not become visible.
pub(crate) async fn measure(
    machine: &Machine,
    told: &Arc<[Told]>,
    phase: Phase,
    round_trip: Duration,
    figures: &mut Vec<Figure>,
) -> Outcome<usize> {
    let name = format!("{:?} at {}/s", phase.seen, phase.rate).to_lowercase();
    let (send, jobs) = mpsc::unbounded_channel();
    let (follow, followed) = mpsc::unbounded_channel();
    let jobs = Arc::new(Mutex::new(jobs));
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let connection = Connection::open(machine.collector()).await?;
        publishers.spawn(publisher(connection, Arc::clone(told), Arc::clone(&jobs), follow.clone()));
    }
    drop(follow);
    let mut watchers = JoinSet::new();
    match phase.seen {
        Seen::Checkpoints => {
            watchers.spawn(watch(machine.connect("bench").await?, followed));
        }
        Seen::Page => {
            let followed = Arc::new(Mutex::new(followed));
            for _ in 0..READERS {
                let connection = Connection::open(machine.query()).await?;
                watchers.spawn(ask(connection, Arc::clone(told), Arc::clone(&followed)));
            }
        }
    }
    let meter = Meter::start(&machine.processes());
    let events = dispatch(&phase, &send, &name).await;
    drop(send);
    let answered = finish(publishers).await?;
    let spent = meter.stop();
    let visible = finish(watchers).await?;
    let (answer, until) = match phase.seen {
        Seen::Checkpoints => (Some("publish to answer"), "publish to visible in three models"),
        Seen::Page => (None, "publish to the page that shows it"),
    };
    let limit = || Limit::Median("round trip", round_trip);
    let what = |what: &str| format!("{what}, {}/s{}", phase.rate, phase.beside);
    if let Some(answer) = answer {
        figures.push(Figure::new(what(answer), events, &spent, limit()).with(answered));
    }
    figures.push(Figure::new(what(until), events, &spent, limit()).with(visible));
    Ok(events)
}

async fn finish(tasks: JoinSet<Outcome<Vec<Duration>>>) -> Outcome<Latencies> {
    crate::work::finish(tasks).await
}

/// Hands out each event when it is due, whatever became of those before.
async fn dispatch(phase: &Phase, send: &mpsc::UnboundedSender<Sent>, name: &str) -> usize {
    let progress = Progress::new(name);
    let began = Instant::now();
    let total = phase.range.len();
    let mut done = 0;
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    while done < total && !*phase.is_over.borrow() {
        clock.tick().await;
        let due = (began.elapsed().as_micros() as usize * phase.rate / 1_000_000).min(total);
        for index in done..due {
            // The publishers outlive this unless one failed; its error ends the run.
            let _ = send.send(Sent { index: phase.range.start + index, at: Instant::now() });
        }
        done = due;
        progress.at(done, total);
    }
    done
}

async fn publisher(
    mut connection: Connection,
    told: Arc<[Told]>,
    jobs: Arc<Mutex<mpsc::UnboundedReceiver<Sent>>>,
    follow: mpsc::UnboundedSender<Followed>,
) -> Outcome<Vec<Duration>> {
    let mut taken = Vec::new();
    loop {
        let next = jobs.lock().await.recv().await;
        let Some(sent) = next else { return Ok(taken) };
        let position = connection.publish_one(&told[sent.index].json).await?;
        taken.push(sent.at.elapsed());
        if sent.index.is_multiple_of(FOLLOWED) {
            let position = position.ok_or("the collector answered without a position")?;
            // Nobody follows any more where a watcher failed; its error ends the run.
            let _ = follow.send(Followed { sent, position });
        }
    }
}

/// Looks at the checkpoints every millisecond.
async fn watch(
    mut connection: PgConnection,
    mut followed: mpsc::UnboundedReceiver<Followed>,
) -> Outcome<Vec<Duration>> {
    let models = PROJECTORS.map(|projector| projector.name);
    let mut pending: Vec<(Position, Instant)> = Vec::new();
    let mut taken = Vec::new();
    loop {
        if pending.is_empty() {
            let Some(Followed { sent, position }) = followed.recv().await else { return Ok(taken) };
            pending.push((Position::parse(&position)?, sent.at));
        }
        while let Ok(Followed { sent, position }) = followed.try_recv() {
            pending.push((Position::parse(&position)?, sent.at));
        }
        let at = checkpoints(&mut connection).await?;
        let now = Instant::now();
        pending.retain(|(position, sent)| {
            let visible = projection::positions::behind(position, &models, &at).is_empty();
            if visible {
                taken.push(now - *sent);
            }
            !visible
        });
        if pending.iter().any(|(_, sent)| sent.elapsed() > VISIBLE_TIMEOUT) {
            return Err(format!("an event was not visible after {VISIBLE_TIMEOUT:?}").into());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Asks for customers' pages at positions.
async fn ask(
    mut connection: Connection,
    told: Arc<[Told]>,
    followed: Arc<Mutex<mpsc::UnboundedReceiver<Followed>>>,
) -> Outcome<Vec<Duration>> {
    let mut taken = Vec::new();
    loop {
        let next = followed.lock().await.recv().await;
        let Some(Followed { sent, position }) = next else { return Ok(taken) };
        let subject = told[sent.index].subject.replace('+', "%2B");
        let path = format!("/api/v1/customers/{subject}?position={position}&wait_ms={}", VISIBLE_TIMEOUT.as_millis());
        connection.get(&path).await?;
        taken.push(sent.at.elapsed());
    }
}
