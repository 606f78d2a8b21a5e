//! Work that nobody waits for, such as a generation that is built beside the live one: how it leaves room to the work that
//! somebody does wait for.
//!
//! Three things are done. While it reads, a build rests ([`crate::load::rest`]). One build at a time loads, whatever models
//! are replayed together ([`my_turn`]). And where PostgreSQL runs on this machine, its process that works for the build gets
//! what processor time others leave ([`give_way`]): sorting an index cannot rest.

use std::time::Duration;

use rustix::process::{Pid, setpriority_process};
use sqlx::PgConnection;

/// The lock of whoever loads beside live generations, below all that generations have.
const BUILD_LOCK_KEY: i64 = (1 << 39) - 2;
/// How often somebody who waits for a turn asks again.
const TURN_PAUSE: Duration = Duration::from_millis(500);
/// As little as there is: what it holds up is itself alone, since a build locks nothing that others wait for.
const NICE: i32 = 19;

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
            tracing::info!("another generation is being loaded; this one waits for its turn");
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

/// Puts PostgreSQL's process behind this session at the end of the queue for the processors, if it runs on this machine
/// and belongs to us. It stays there: a session whose work becomes urgent has to be made anew. Returns whether it was done.
///
/// # Errors
/// PostgreSQL is lost.
pub(crate) async fn give_way(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (pid, port): (i32, Option<i32>) =
        sqlx::query_as("SELECT pg_backend_pid(), inet_client_port()").fetch_one(connection).await?;
    let (Some(process), Some(port)) = (Pid::from_raw(pid), port) else { return Ok(false) };
    // Elsewhere the same number is some other process: PostgreSQL's says which client it works for.
    let Ok(title) = tokio::fs::read(format!("/proc/{pid}/cmdline")).await else { return Ok(false) };
    Ok(is_of(&String::from_utf8_lossy(&title), port) && setpriority_process(Some(process), NICE).is_ok())
}

/// Whether a process's title is that of the session whose client has this port: `postgres: role database 127.0.0.1(4711) …`.
fn is_of(title: &str, port: i32) -> bool {
    title.starts_with("postgres:") && title.contains(&format!("({port})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_known_by_its_clients_port() {
        let title = "postgres: rapport rapport 127.0.0.1(47112) idle in transaction";
        assert!(is_of(title, 47112));
        for (other, port) in [(title, 4711), ("nginx: worker (47112)", 47112), ("", 47112)] {
            assert!(!is_of(other, port), "{other} {port}");
        }
    }
}
