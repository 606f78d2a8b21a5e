//! The tables of threads: events written and read back in order, components folded, and the rows that differ replaced.

use std::collections::{HashMap, HashSet};

use domain::{Stamp, money::divide_half_away};
use futures::TryStreamExt;
use projection::{
    bounded::FACTS_MAX,
    copy::{CopyBuffer, copy_in},
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use super::Told;
use crate::{
    folds::{
        Thread, ThreadRows, Wait,
        telling::{Message, Telling, Writer},
        thread,
    },
    tables::thousandth,
};

/// Events are read back for this many components at a time, so that sorting them stays in memory.
const COMPONENTS_READ_MAX: usize = 500;

/// Rows that are changed each in its own way are paired with what they become, each with each: this many at a time.
pub(super) const ROWS_PAIRED_MAX: usize = 500;

/// The columns of `thread_facts`, in the order in which rows are encoded.
const FACT_COLUMNS: &[&str] = &[
    "event_id",
    "component",
    "nodes",
    "stamp",
    "occurred_at",
    "subject_id",
    "thread_key",
    "counts",
    "message_key",
    "standing",
    "message_id",
    "parent_key",
    "in_reply_to",
    "channel",
    "outbound",
    "writer",
    "internal",
    "actor",
    "title",
    "case_id",
    "sent_at",
];

/// The columns of `threads`.
const THREAD_COLUMNS: &[&str] = &[
    "component",
    "thread_id",
    "subject_id",
    "channel",
    "title",
    "first_at",
    "last_at",
    "message_count",
    "messages_customer",
    "messages_agent",
    "wait_count",
    "first_asked_at",
    "first_answered_at",
    "first_wait_s",
    "unanswered_since",
    "flags",
    "set_by",
];

/// The columns of `thread_waits`.
const WAIT_COLUMNS: &[&str] = &[
    "component",
    "wait_no",
    "thread_id",
    "subject_id",
    "title",
    "channel",
    "asked_at",
    "asked_message_id",
    "answered_at",
    "answered_message_id",
    "answered_by",
    "wait_s",
    "ended_at",
    "next_asked_at",
    "flags",
    "asked_event_id",
    "answered_event_id",
];

/// Components to be derived again.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The events that are new in those that have grown.
    pub(super) new_events: HashSet<Uuid>,
    /// Those that have their events of before, if any, and new ones.
    pub(super) grown: Vec<i64>,
    /// Those of which it is not known what stands in the tables.
    pub(super) unknown: Vec<i64>,
}

/// The components that these nodes are in, as far as they are in one.
pub(super) async fn components(
    connection: &mut PgConnection,
    nodes: Vec<&str>,
) -> Result<HashMap<String, i64>, sqlx::Error> {
    const SQL: &str = "SELECT node, component FROM thread_nodes WHERE node = ANY($1)";
    if nodes.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, i64)> = sqlx::query_as(SQL).bind(nodes).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Numbers for so many new components.
pub(super) async fn new_components(connection: &mut PgConnection, count: usize) -> Result<Vec<i64>, sqlx::Error> {
    const SQL: &str = "SELECT nextval('thread_components') FROM generate_series(1, $1)";
    if count == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(SQL).bind(i64::try_from(count).unwrap_or(i64::MAX)).fetch_all(connection).await
}

/// Writes nodes, each with its component.
pub(super) async fn write_nodes(connection: &mut PgConnection, nodes: &[(&str, i64)]) -> Result<(), sqlx::Error> {
    let mut buffer = CopyBuffer::new(2);
    for (node, component) in nodes {
        buffer.begin_row().put_text(node).put_i64(*component);
    }
    copy_in(connection, "COPY thread_nodes (node, component) FROM STDIN BINARY", buffer).await?;
    Ok(())
}

/// Where an event stands. A voided one is in no component, and does not count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) component: Option<i64>,
    /// Of the events that tell of its message, it is the one that counts.
    pub(super) counts: bool,
}

/// Writes events.
pub(super) async fn write_facts(connection: &mut PgConnection, facts: &[(&Told, Place)]) -> Result<(), sqlx::Error> {
    let mut buffer = CopyBuffer::new(columns(FACT_COLUMNS));
    for (told, place) in facts {
        let telling = &told.telling;
        buffer
            .begin_row()
            .put_uuid(told.event_id())
            .put_opt(place.component, CopyBuffer::put_i64)
            .put_text_array(&told.nodes)
            .put_bytes(telling.stamp.as_bytes())
            .put_timestamptz(telling.stamp.occurred_at())
            .put_opt(telling.subject_id, CopyBuffer::put_uuid)
            .put_opt(telling.thread_key.as_deref(), CopyBuffer::put_text)
            .put_bool(place.counts);
        match &telling.message {
            Some(message) => put_message(message, &mut buffer),
            None => (8..FACT_COLUMNS.len()).for_each(|_| {
                buffer.put_null();
            }),
        }
    }
    copy_in(connection, &copy("thread_facts", FACT_COLUMNS), buffer).await?;
    Ok(())
}

/// The columns from `message_key` on.
fn put_message(message: &Message, to: &mut CopyBuffer) {
    to.put_text(&message.key)
        .put_i16(message.standing())
        .put_opt(message.message_id.as_deref(), CopyBuffer::put_text)
        .put_opt(message.parent_key.as_deref(), CopyBuffer::put_text)
        .put_opt(message.in_reply_to.as_deref(), CopyBuffer::put_text)
        .put_text(&message.channel)
        .put_bool(message.outbound)
        .put_text(message.writer.as_str())
        .put_bool(message.internal)
        .put_opt(message.actor.as_deref(), CopyBuffer::put_text)
        .put_opt(message.title.as_deref(), CopyBuffer::put_text)
        .put_opt(message.case_id.as_deref(), CopyBuffer::put_text)
        .put_opt(message.sent_at, CopyBuffer::put_timestamptz);
}

/// Drops the rows of components.
pub(super) async fn forget(connection: &mut PgConnection, components: &[i64]) -> Result<(), sqlx::Error> {
    for table in ["threads", "thread_waits"] {
        let delete = format!("DELETE FROM {table} WHERE component = ANY($1)");
        sqlx::query(&delete).bind(components).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The rows of a component before and after.
struct Change {
    component: i64,
    /// `None` where that is not known, and everything is to be replaced.
    before: Option<ThreadRows>,
    after: ThreadRows,
}

/// Folds components again and writes what differs.
pub(super) async fn derive(connection: &mut PgConnection, touched: &Touched) -> Result<(), sqlx::Error> {
    let mut changes = Vec::with_capacity(touched.grown.len() + touched.unknown.len());
    for (components, new) in [(&touched.grown, Some(&touched.new_events)), (&touched.unknown, None)] {
        for some in components.chunks(COMPONENTS_READ_MAX) {
            read_back(connection, some, |component, tellings| changes.push(change(component, tellings, new))).await?;
        }
    }
    for change in &mut changes {
        // Its owner alone is looked for among all events, also those that do not count.
        let unowned = change.after.thread.as_mut().filter(|t| t.subject_id.is_none() && !t.flags.is_empty());
        if let Some(thread) = unowned {
            thread.subject_id = first_subject(connection, change.component).await?;
            change.after.waits.iter_mut().for_each(|wait| wait.subject_id = thread.subject_id);
        }
    }
    write_threads(connection, &changes).await?;
    write_waits(connection, &changes).await
}

fn change(component: i64, tellings: Vec<Telling>, new: Option<&HashSet<Uuid>>) -> Change {
    let fold = |tellings: &[Telling]| thread(&tellings[..tellings.len().min(FACTS_MAX)], tellings.len() > FACTS_MAX);
    let after = fold(&tellings);
    // One event more than count was read: where new ones push others out, what those had come to is not known.
    let new = new.filter(|_| tellings.len() <= FACTS_MAX);
    let before = new.map(|new| {
        let earlier: Vec<Telling> = tellings.into_iter().filter(|t| !new.contains(&t.stamp.event_id())).collect();
        fold(&earlier)
    });
    Change { component, before, after }
}

async fn first_subject(connection: &mut PgConnection, component: i64) -> Result<Option<Uuid>, sqlx::Error> {
    const SQL: &str = "SELECT subject_id FROM thread_facts WHERE component = $1 AND subject_id IS NOT NULL
        ORDER BY stamp LIMIT 1";
    sqlx::query_scalar(SQL).bind(component).fetch_optional(connection).await
}

/// Hands over what each of these components' events tell, in order: at most one more than count. One component's are in
/// memory at a time.
async fn read_back(
    connection: &mut PgConnection,
    components: &[i64],
    mut take: impl FnMut(i64, Vec<Telling>) + Send,
) -> Result<(), sqlx::Error> {
    const SQL: &str = "SELECT named.component, fact.* FROM unnest($1::bigint[]) AS named (component), LATERAL (
            SELECT stamp, subject_id, thread_key, message_key, message_id, parent_key, in_reply_to, channel, outbound,
                writer, internal, actor, title, case_id
            FROM thread_facts WHERE component = named.component ORDER BY stamp LIMIT $2
        ) AS fact ORDER BY named.component, fact.stamp";
    // One more than count, to see that there are more.
    let limit = i64::try_from(FACTS_MAX).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = sqlx::query(SQL).bind(components).bind(limit).fetch(connection);
    let mut at: Option<(i64, Vec<Telling>)> = None;
    while let Some(row) = rows.try_next().await? {
        let component: i64 = row.try_get(0)?;
        let telling = telling_of(&row)?;
        match &mut at {
            Some((current, tellings)) if *current == component => tellings.push(telling),
            _ => {
                if let Some((done, tellings)) = at.replace((component, vec![telling])) {
                    take(done, tellings);
                }
            }
        }
    }
    if let Some((done, tellings)) = at {
        take(done, tellings);
    }
    Ok(())
}

/// From `stamp, subject_id …`, beginning at the second column.
fn telling_of(row: &PgRow) -> Result<Telling, sqlx::Error> {
    let broken =
        |what| sqlx::Error::Decode(format!("a row of thread_facts has {what}: was it written by hand?").into());
    let key: Option<String> = row.try_get(4)?;
    let message = match key {
        None => None,
        Some(key) => Some(Message {
            key,
            message_id: row.try_get(5)?,
            parent_key: row.try_get(6)?,
            in_reply_to: row.try_get(7)?,
            channel: row.try_get(8)?,
            outbound: row.try_get(9)?,
            writer: Writer::parse(row.try_get(10)?).ok_or_else(|| broken("an unknown writer"))?,
            internal: row.try_get(11)?,
            actor: row.try_get(12)?,
            title: row.try_get(13)?,
            case_id: row.try_get(14)?,
            sent_at: None,
        }),
    };
    Ok(Telling {
        stamp: Stamp::from_bytes(row.try_get(1)?).ok_or_else(|| broken("a stamp that is too short"))?,
        subject_id: row.try_get(2)?,
        thread_key: row.try_get(3)?,
        message,
    })
}

async fn write_threads(connection: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    const DELETE: &str = "DELETE FROM threads WHERE component = ANY($1)";
    let mut gone: Vec<i64> = Vec::new();
    let mut buffer = CopyBuffer::new(columns(THREAD_COLUMNS));
    for Change { component, before, after } in changes {
        match before.as_ref().map(|rows| &rows.thread) {
            Some(before) if *before == after.thread => continue,
            Some(None) => {}
            _ => gone.push(*component),
        }
        if let Some(thread) = &after.thread {
            put_thread(*component, thread, buffer.begin_row());
        }
    }
    if !gone.is_empty() {
        sqlx::query(DELETE).bind(gone).execute(&mut *connection).await?;
    }
    copy_in(connection, &copy("threads", THREAD_COLUMNS), buffer).await?;
    Ok(())
}

/// A thread may have been waited in thousands of times: only the waits that differ are replaced.
async fn write_waits(connection: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    const DELETE_ALL: &str = "DELETE FROM thread_waits WHERE component = ANY($1)";
    const DELETE: &str = "DELETE FROM thread_waits AS t
        USING unnest($1::bigint[], $2::integer[]) AS gone (component, wait_no)
        WHERE t.component = ANY($1) AND (t.component, t.wait_no) = (gone.component, gone.wait_no)";
    let (mut all_gone, mut gone, mut gone_no) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = CopyBuffer::new(columns(WAIT_COLUMNS));
    for Change { component, before, after } in changes {
        let earlier = before.as_ref().map(|rows| rows.waits.as_slice());
        if earlier.is_none() {
            all_gone.push(*component);
        }
        let earlier = earlier.unwrap_or_default();
        for (_, before) in earlier.iter().enumerate().filter(|(n, before)| after.waits.get(*n) != Some(before)) {
            gone.push(*component);
            gone_no.push(before.wait_no);
        }
        for (_, wait) in after.waits.iter().enumerate().filter(|(n, wait)| earlier.get(*n) != Some(wait)) {
            put_wait(*component, wait, buffer.begin_row());
        }
    }
    if !all_gone.is_empty() {
        sqlx::query(DELETE_ALL).bind(all_gone).execute(&mut *connection).await?;
    }
    for (gone, gone_no) in gone.chunks(ROWS_PAIRED_MAX).zip(gone_no.chunks(ROWS_PAIRED_MAX)) {
        sqlx::query(DELETE).bind(gone).bind(gone_no).execute(&mut *connection).await?;
    }
    copy_in(connection, &copy("thread_waits", WAIT_COLUMNS), buffer).await?;
    Ok(())
}

fn put_thread(component: i64, row: &Thread, to: &mut CopyBuffer) {
    to.put_i64(component)
        .put_text(&row.thread_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_text(&row.channel)
        .put_opt(row.title.as_deref(), CopyBuffer::put_text)
        .put_timestamptz(row.first_at)
        .put_timestamptz(row.last_at)
        .put_i32(row.message_count)
        .put_i32(row.messages_customer)
        .put_i32(row.messages_agent)
        .put_i32(row.wait_count)
        .put_opt(row.first_asked_at, CopyBuffer::put_timestamptz)
        .put_opt(row.first_answered_at, CopyBuffer::put_timestamptz)
        .put_opt(row.first_wait_us, seconds)
        .put_opt(row.unanswered_since, CopyBuffer::put_timestamptz)
        .put_text_array(&row.flags)
        .put_uuid(row.set_by);
}

fn put_wait(component: i64, row: &Wait, to: &mut CopyBuffer) {
    to.put_i64(component)
        .put_i32(row.wait_no)
        .put_text(&row.thread_id)
        .put_opt(row.subject_id, CopyBuffer::put_uuid)
        .put_opt(row.title.as_deref(), CopyBuffer::put_text)
        .put_text(&row.channel)
        .put_timestamptz(row.asked_at)
        .put_opt(row.asked_message_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.answered_at, CopyBuffer::put_timestamptz)
        .put_opt(row.answered_message_id.as_deref(), CopyBuffer::put_text)
        .put_opt(row.answered_by.as_deref(), CopyBuffer::put_text)
        .put_opt(row.wait_us, seconds)
        .put_opt(row.ended_at, CopyBuffer::put_timestamptz)
        .put_opt(row.next_asked_at, CopyBuffer::put_timestamptz)
        .put_text_array(&row.flags)
        .put_uuid(row.asked_event_id)
        .put_opt(row.answered_event_id, CopyBuffer::put_uuid);
}

/// Microseconds as seconds with three digits, halves away from zero.
fn seconds(to: &mut CopyBuffer, micros: i64) -> &mut CopyBuffer {
    to.put_numeric(&thousandth(divide_half_away(i128::from(micros), 1_000)))
}

fn columns(names: &[&str]) -> i16 {
    i16::try_from(names.len()).expect("a table has a few dozen columns")
}

fn copy(table: &str, columns: &[&str]) -> String {
    format!("COPY {table} ({}) FROM STDIN BINARY", columns.join(", "))
}
