//! Work that nobody waits for, such as a generation that is built beside the live one: how it leaves room to the work that
//! somebody does wait for.
//!
//! Five things are done. A build works in small helpings and rests after each ([`rest`]): what somebody waits for is held up by
//! how long a piece of work lasts, not by how much of it there is. One build at a time loads, and is looked after, whatever
//! models are replayed together ([`my_turn`]). Its threads here leave others the larger part of the processor time ([`aside`]).
//! So does, where PostgreSQL runs on this machine, its process that works for the build ([`give_way`]): sorting an index
//! cannot rest. And PostgreSQL's own vacuum, which gives no way, is kept from its tables ([`crate::load::settle`]).

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::{Arc, LazyLock, Weak};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use rustix::process::{Pid, getpriority_process, setpriority_process};
use sqlx::PgConnection;
use tokio::sync::oneshot;

/// The lock of whoever loads beside live generations, below all that generations have.
pub(crate) const BUILD_LOCK_KEY: i64 = (1 << 39) - 2;
/// How often somebody who waits for a turn asks again.
const TURN_PAUSE: Duration = Duration::from_millis(500);
/// A third of what others get, where they want it. With less, whoever is put aside while it holds a lock, of this process's
/// memory or of PostgreSQL's journal, does not come on for a fifth of a second, and all that wait for that lock with it.
const NICE: i32 = 5;

/// With one processor, work rests so many times as long as it has lasted; with more of them, so much less.
const REST_FACTOR: usize = 8;
/// At most so long at a time.
const REST_MAX: Duration = Duration::from_secs(3);
/// After so much work a [`Pace`] that rests does so.
const PIECE: Duration = Duration::from_millis(5);
/// A clock is not asked more often than once in so many items.
const LOOK_ITEMS: u32 = 64;

/// Leaves others room after so much work, where they come first.
pub(crate) async fn rest(worked: Duration) {
    tokio::time::sleep(rest_after(worked)).await;
}

fn rest_after(worked: Duration) -> Duration {
    static FACTOR: LazyLock<u32> = LazyLock::new(|| rest_factor(available_parallelism().map_or(1, usize::from)));
    (worked * *FACTOR).min(REST_MAX)
}

/// So what rests is at work for a ninth of one processor, a tenth of two and less of more of them, and never for longer than it
/// rests, short of [`REST_MAX`].
fn rest_factor(processors: usize) -> u32 {
    u32::try_from(REST_FACTOR.div_ceil(processors)).unwrap_or(1)
}

/// How work that waits for nothing goes on: at once; or, on a thread of its own, in small pieces with a rest after each.
#[derive(Debug)]
pub struct Pace {
    /// Since when it has worked without a rest; `None`: it needs none.
    working_since: Cell<Option<Instant>>,
    items: Cell<u32>,
    /// Is gone once nobody waits for the work any more.
    wanted: Weak<()>,
}

impl Pace {
    /// For work that others wait for.
    pub fn at_once() -> Self {
        Self { working_since: Cell::new(None), items: Cell::new(0), wanted: Weak::new() }
    }

    /// For work that nobody is held up by. Every rest blocks the thread; the first one for which `wanted` is gone unwinds it,
    /// without a message.
    pub(crate) fn with_rests(wanted: &Arc<()>) -> Self {
        Self { working_since: Cell::new(Some(Instant::now())), items: Cell::new(0), wanted: Arc::downgrade(wanted) }
    }

    /// The same items, at this pace: a rest that is due is taken on the way to the next one. What was done between two of them
    /// counts as well, but sorting, for instance, is one piece.
    pub fn along<I: IntoIterator>(&self, items: I) -> impl Iterator<Item = I::Item> {
        items.into_iter().inspect(|_| self.look())
    }

    fn look(&self) {
        let Some(since) = self.working_since.get() else { return };
        self.items.set((self.items.get() + 1) % LOOK_ITEMS);
        if self.items.get() == 0 && since.elapsed() >= PIECE {
            self.rest();
        }
    }

    /// Rests for what was done since the last time.
    pub(crate) fn rest(&self) {
        let Some(since) = self.working_since.get() else { return };
        if self.wanted.strong_count() == 0 {
            // What it would go on with takes memory that the next one needs.
            std::panic::resume_unwind(Box::new("nobody waits for it"));
        }
        std::thread::sleep(rest_after(since.elapsed()));
        self.working_since.set(Some(Instant::now()));
    }
}

/// Waits until no other build is at work. The turn ends with [`end_turn`], or with the session.
///
/// # Errors
/// PostgreSQL refuses the statement or is lost.
pub(crate) async fn my_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut told = false;
    loop {
        let mine: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(BUILD_LOCK_KEY)
            .fetch_one(&mut *connection)
            .await?;
        if mine {
            return Ok(());
        }
        if !std::mem::replace(&mut told, true) {
            tracing::info!("another generation is being built; this one waits for its turn");
        }
        tokio::time::sleep(TURN_PAUSE).await;
    }
}

/// Lets the next build begin.
///
/// # Errors
/// PostgreSQL is lost.
pub(crate) async fn end_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(BUILD_LOCK_KEY).execute(connection).await.map(|_| ())
}

/// Does work on a thread of its own that gives way to others, and with it all that the work starts: tasks,
/// Kafka clients. Dropping the future ends the work where it waits next.
///
/// # Errors
/// No thread can be started.
pub(crate) async fn aside<T, F>(work: impl FnOnce() -> F + Send + 'static) -> io::Result<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (mut sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = move || {
        // Elsewhere it would be the whole process that gives way.
        if cfg!(target_os = "linux")
            && let Err(error) = give_way_as(None)
        {
            tracing::warn!(%error, "a thread that works for a build takes as much processor time as any");
        }
        let done = runtime.block_on(async {
            tokio::select! {
                done = work() => Some(done),
                () = sender.closed() => None,
            }
        });
        // What still hangs on a blocking call is not waited for.
        runtime.shutdown_background();
        done.map(|done| sender.send(done));
    };
    let thread = std::thread::Builder::new().name("background".into()).spawn(run)?;
    match receiver.await {
        Ok(done) => Ok(done),
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(io::Error::other("the work has ended without a result")),
        },
    }
}

/// Has PostgreSQL's process behind this session give way to others, if it runs on this machine and belongs to us. It does so
/// from then on: a session whose work becomes urgent has to be made anew. Returns whether it was done.
///
/// # Errors
/// PostgreSQL is lost.
pub(crate) async fn give_way(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (pid, port): (i32, Option<i32>) =
        sqlx::query_as("SELECT pg_backend_pid(), inet_client_port()").fetch_one(connection).await?;
    let (Some(process), Some(port)) = (Pid::from_raw(pid), port) else { return Ok(false) };
    // Elsewhere the same number is some other process: PostgreSQL's says which client it works for.
    let Ok(title) = tokio::fs::read(format!("/proc/{pid}/cmdline")).await else { return Ok(false) };
    if !is_of(&String::from_utf8_lossy(&title), port) {
        return Ok(false);
    }
    // Linux may share among sessions of processes first (autogroups), and each of PostgreSQL's is a session of its own: what
    // is said of the process then counts among those of its session alone. A kernel without them has no such file.
    let _ = tokio::fs::write(format!("/proc/{pid}/autogroup"), NICE.to_string()).await;
    Ok(give_way_as(Some(process)).is_ok())
}

/// Makes a process, or this thread, as nice as a build is, unless it is nicer already.
fn give_way_as(process: Option<Pid>) -> rustix::io::Result<()> {
    setpriority_process(process, getpriority_process(process)?.max(NICE))
}

/// Whether a process's title is that of the session whose client has this port: `postgres: role database 127.0.0.1(4711) …`.
fn is_of(title: &str, port: i32) -> bool {
    title.starts_with("postgres:") && title.contains(&format!("({port})"))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn what_is_done_aside_gives_way_with_all_that_it_starts() {
        let mine = getpriority_process(None).expect("a priority");
        let found = aside(|| async {
            let mut tasks = JoinSet::new();
            tasks.spawn(async { getpriority_process(None).expect("a priority") });
            tasks.spawn_blocking(|| getpriority_process(None).expect("a priority"));
            let of_thread = std::thread::spawn(|| getpriority_process(None).expect("a priority")).join();
            (tasks.join_all().await, of_thread.expect("it ends"))
        })
        .await
        .expect("a thread");
        let nice = mine.max(NICE);
        assert_eq!(found, (vec![nice; 2], nice));
        assert_eq!(getpriority_process(None).expect("a priority"), mine, "nobody else gives way");
    }

    #[tokio::test]
    async fn what_is_done_aside_ends_with_whoever_waits_for_it() {
        let (sender, mut held) = mpsc::channel::<()>(1);
        let mut waiting = JoinSet::new();
        waiting.spawn(aside(|| async move {
            let _held = sender;
            std::future::pending::<()>().await;
        }));
        tokio::task::yield_now().await;
        waiting.shutdown().await;
        assert_eq!(held.recv().await, None, "it was dropped");
    }

    #[test]
    fn the_larger_the_machine_the_shorter_the_rest() {
        assert_eq!([1, 2, 3, 8, 64].map(rest_factor), [8, 4, 3, 1, 1]);
    }

    #[test]
    fn work_rests_whenever_a_piece_of_it_is_done() {
        let wanted = Arc::new(());
        let pace = Pace::with_rests(&wanted);
        let since = || pace.working_since.get().expect("it rests");
        let begun = since();
        let piece = |item: &u32| {
            if item.is_multiple_of(LOOK_ITEMS) {
                std::thread::sleep(PIECE);
            }
        };
        let items = 4 * LOOK_ITEMS;
        let mut rests = Vec::new();
        for item in pace.along((0..items).inspect(piece)) {
            if rests.last().unwrap_or(&begun) != &since() {
                assert_eq!((item + 1) % LOOK_ITEMS, 0, "the clock is not asked at each item");
                rests.push(since());
            }
        }
        assert_eq!(rests.len(), 4);
        assert!(rests[0] - begun >= PIECE + rest_after(PIECE));

        drop(wanted);
        let mut done = 0;
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pace.along((0..items).inspect(piece)).for_each(|_| done += 1);
        }));
        assert!(unwound.is_err());
        assert_eq!(done, LOOK_ITEMS - 1, "its first rest ends what nobody waits for");
    }

    #[test]
    fn a_session_is_known_by_its_clients_port() {
        let title = "postgres: rapport rapport 127.0.0.1(47112) idle in transaction";
        assert!(is_of(title, 47112));
        for (other, port) in [(title, 4711), ("nginx: worker (47112)", 47112), ("", 47112)] {
            assert!(!is_of(other, port), "{other} {port}");
        }
    }
}
