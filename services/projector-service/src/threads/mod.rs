//! Threads: components of messages over what they name each other by, kept in tables of their own beside the facts.
//!
//! A node is a text that events have in common: a mail's id, be it of the mail itself or of one that it answers or refers
//! to (which may come later, or never), or the published id of a thread. A component is a set of nodes joined by events;
//! its number is a surrogate that no view shows, and its thread's id is worked out of its messages.
//!
//! The path of one message, after its fact was written and in the same transaction:
//!
//! ```text
//! its nodes, looked up under the threads' lock -> the components they are in made one, the smaller renumbered
//!   -> nodes and event written -> the component's events read in order and folded -> rows that differ replaced
//! ```
//!
//! Only batches that bring a message take the lock (the generation's key and 1), the last thing before they commit, so
//! that one at a time changes which messages are one thread. A void or a lesser copy can part what one event had joined:
//! batches that bring one are alone on the generation anyway, and the components that they touch are joined anew from
//! their events. Either way the components are those of all counted, unvoided events, however these arrived.
//!
//! Statements here find rows by `= ANY` of their keys even where they join: a plan made while a table was empty stays, and
//! one that reads a whole index would be made then.
//!
//! | module | responsibility |
//! |---|---|
//! | `append` | new events: nodes looked up, components made one |
//! | `rebuild` | voids and lesser copies: components joined anew |
//! | `union` | which events are in one thread; pure |
//! | `store` | events written, read in order, folded; the rows of threads and waits |

mod append;
mod rebuild;
mod store;
mod union;

use std::collections::{HashMap, HashSet};

use domain::Interaction;
use projection::{ApplyError, Batch, BatchTx, Event, Mode, bounded};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::folds::telling::{Telling, telling};

/// What an event's telling and one of its nodes take in memory beside the node's text, in bytes, about.
const TOLD_BYTES: usize = 512;
const NODE_BYTES: usize = 32;
/// Of a load, this many events are joined at a time.
const TOLD_AT_ONCE: usize = 20_000;

/// What an event tells of a thread.
struct Told {
    telling: Telling,
    /// What joins it to others, never empty.
    nodes: Vec<String>,
}

impl Told {
    fn of(event: &Event) -> Option<Self> {
        let (telling, nodes) = telling(&event.interaction)?;
        Some(Self { telling, nodes })
    }

    fn event_id(&self) -> Uuid {
        self.telling.stamp.event_id()
    }
}

/// What the voids of a batch took back before it: asked before facts and voids are written.
#[derive(Default)]
pub(crate) struct Before {
    targets: Vec<Uuid>,
}

/// What events of a load tell of threads, kept until all of them are there.
#[derive(Default)]
pub(crate) struct Gathered {
    told: Vec<Told>,
    bytes: usize,
}

impl Gathered {
    pub(crate) fn add(&mut self, event: &Event) {
        if let Some(told) = Told::of(event) {
            let texts = told.telling.message.iter().flat_map(|m| {
                [&m.message_id, &m.parent_key, &m.in_reply_to, &m.actor, &m.title, &m.case_id].into_iter().flatten()
            });
            let nodes = told.nodes.iter().map(|node| 2 * node.len() + NODE_BYTES).sum::<usize>();
            self.bytes += TOLD_BYTES + nodes + texts.map(String::len).sum::<usize>();
            self.told.push(told);
        }
    }

    /// What it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes threads of which nothing is stored.
    pub(crate) async fn write(self, cx: &mut BatchTx<'_>) -> Result<(), sqlx::Error> {
        for some in self.told.chunks(TOLD_AT_ONCE) {
            bounded::prefer_indexes(cx).await?;
            append::join(cx, some).await?;
            cx.step().await?;
        }
        Ok(())
    }
}

/// Looks at what a batch may change.
pub(crate) async fn before(connection: &mut PgConnection, batch: &Batch, mode: Mode) -> Result<Before, sqlx::Error> {
    if mode != Mode::Exclusive {
        return Ok(Before::default());
    }
    Ok(Before { targets: targets(connection, &ids(batch)).await? })
}

/// Applies a batch whose facts and voids have been written.
pub(crate) async fn apply(cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode, before: Before) -> Result<(), ApplyError> {
    let lock = cx.lock_key() + 1;
    let connection: &mut PgConnection = cx;
    match mode {
        Mode::Exclusive => rebuild::apply(connection, batch, before).await?,
        Mode::Optimistic | Mode::Careful => append::apply(connection, lock, batch, mode).await?,
    }
    Ok(())
}

fn ids(batch: &Batch) -> Vec<Uuid> {
    batch.events.iter().map(|e| e.interaction.event_id).collect()
}

/// What these events take back, as far as they are voids now.
async fn targets(connection: &mut PgConnection, voids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    const SQL: &str = "SELECT target FROM voids WHERE void_id = ANY($1)";
    sqlx::query_scalar(SQL).bind(voids).fetch_all(connection).await
}

/// Those of these events whose counted copy is the one at hand.
async fn counted(connection: &mut PgConnection, events: &[&Event]) -> Result<HashSet<Uuid>, sqlx::Error> {
    const SQL: &str = "SELECT event_id, received_at, hash FROM facts WHERE event_id = ANY($1)";
    let ids: Vec<Uuid> = events.iter().map(|e| e.interaction.event_id).collect();
    let rows: Vec<(Uuid, i64, Vec<u8>)> = sqlx::query_as(SQL).bind(ids).fetch_all(connection).await?;
    let copies: HashMap<Uuid, (i64, Vec<u8>)> =
        rows.into_iter().map(|(event_id, received_at, hash)| (event_id, (received_at, hash))).collect();
    let counts = |interaction: &&Interaction| {
        let copy = copies.get(&interaction.event_id);
        copy.is_some_and(|(at, hash)| (*at, hash.as_slice()) == (interaction.received_at, interaction.hash.as_slice()))
    };
    Ok(events.iter().map(|e| &e.interaction).filter(counts).map(|i| i.event_id).collect())
}
