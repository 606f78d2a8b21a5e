//! The timeline's rows: one an event, written once.

use std::collections::{BTreeSet, HashSet};

use domain::{Interaction, time};
use projection::Event;
use projection::copy::{CopyBuffer, copy_in};
use rapport_proto::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::effects::{self, Effects};
use crate::model::Customer360;

/// An event to be written, and what it says.
pub(crate) struct Entry<'b> {
    pub(crate) event: &'b Event,
    pub(crate) effects: Effects<'b>,
    pub(crate) voided: bool,
}

const COPY_TIMELINE: &str = "COPY timeline (event_id, stamp, subject_id, type, occurred_at, received_at, channel, direction, \
     summary, entities, groups, payload, hash, partition, log_offset, voided) FROM STDIN BINARY";
const COPY_APPEARANCES: &str = "COPY appearances (party, stamp) FROM STDIN BINARY";

/// Writes events that are not on the timeline yet.
///
/// # Errors
/// A unique violation where one is.
pub(crate) async fn write(connection: &mut PgConnection, entries: &[Entry<'_>]) -> Result<(), sqlx::Error> {
    let mut rows = Rows::with_capacity(entries.len() * 1024, entries.len() * 64);
    entries.iter().for_each(|entry| rows.put(entry));
    for (statement, rows) in rows.into_statements() {
        copy_in(connection, statement, rows).await?;
    }
    Ok(())
}

/// Rows of the tables that grow with every event.
pub(crate) struct Rows {
    timeline: CopyBuffer,
    appearances: CopyBuffer,
}

impl Default for Rows {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl Rows {
    fn with_capacity(timeline: usize, appearances: usize) -> Self {
        Self {
            timeline: CopyBuffer::with_capacity(16, timeline),
            appearances: CopyBuffer::with_capacity(2, appearances),
        }
    }

    /// No rows, and room for as many as `other` has.
    pub(crate) fn like(other: &Self) -> Self {
        Self::with_capacity(other.timeline.bytes(), other.appearances.bytes())
    }

    pub(crate) fn put(&mut self, entry: &Entry<'_>) {
        row(&mut self.timeline, entry);
        for party in entry.effects.appearances() {
            self.appearances.begin_row().put_uuid(party).put_bytes(entry.effects.stamp.as_bytes());
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.timeline.bytes() + self.appearances.bytes()
    }

    /// With the statements that write them.
    pub(crate) fn into_statements(self) -> [(&'static str, CopyBuffer); 2] {
        [(COPY_TIMELINE, self.timeline), (COPY_APPEARANCES, self.appearances)]
    }
}

fn row(rows: &mut CopyBuffer, entry: &Entry<'_>) {
    let Event { partition, offset, interaction, .. } = entry.event;
    let some = |text: &'static str| move |value: &str| (value != text).then(|| value.to_owned());
    let entities: Vec<String> = interaction.owned_entities().map(ToString::to_string).collect();
    rows.begin_row()
        .put_uuid(interaction.event_id)
        .put_bytes(interaction.stamp.as_bytes())
        .put_opt(interaction.subject.as_ref().map(|s| s.id), CopyBuffer::put_uuid)
        .put_text(interaction.kind())
        .put_timestamptz(interaction.occurred_at)
        .put_timestamptz(interaction.received_at)
        .put_opt(some("")(effects::channel(&interaction.wire)), |to, text| to.put_text(&text))
        .put_text(interaction.wire.direction())
        .put_text(&interaction.wire.summary())
        .put_opt((!entities.is_empty()).then_some(entities), |to, texts| to.put_text_array(&texts))
        .put_opt((!entry.effects.groups.is_empty()).then_some(&entry.effects.groups), |to, texts| {
            to.put_text_array(texts)
        })
        .put_bytes(&json::write(&interaction.wire, Vec::with_capacity(512)))
        .put_bytes(&interaction.hash)
        .put_i32(*partition)
        .put_i64(*offset)
        .put_bool(entry.voided);
}

/// Those that something took back before they came.
pub(crate) fn voided<'e>(entries: &'e [Entry<'_>]) -> impl Iterator<Item = &'e Interaction> {
    entries.iter().filter(|e| e.voided).map(|e| &e.event.interaction)
}

/// Notes whom, and which events, those named that do not count, so that they are found by whoever asks for what was known
/// before.
pub(crate) async fn note_taken_back<'e>(
    connection: &mut PgConnection,
    model: &Customer360,
    gone: impl Iterator<Item = &'e Interaction>,
) -> Result<(), sqlx::Error> {
    let mut rows: BTreeSet<(String, Uuid)> = BTreeSet::new();
    for interaction in gone {
        let effects = Effects::of(interaction, &model.namespace);
        rows.extend(effects.entities.iter().map(|entity| (entity.id.to_string(), interaction.event_id)));
        rows.extend(effects.groups.iter().map(|group| (group.clone(), interaction.event_id)));
        for named in effects.named {
            let identifiers = named.identifiers.iter().map(ToString::to_string);
            rows.extend(identifiers.chain([named.id.to_string()]).map(|name| (name, interaction.event_id)));
        }
        rows.extend(interaction.voids().map(|target| (target.to_string(), interaction.event_id)));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let (names, events): (Vec<String>, Vec<Uuid>) = rows.into_iter().unzip();
    sqlx::query(
        "INSERT INTO taken_back (name, event_id) SELECT * FROM unnest($1::text[], $2::uuid[]) ON CONFLICT DO NOTHING",
    )
    .bind(names)
    .bind(events)
    .execute(connection)
    .await?;
    Ok(())
}

/// Which of these events another event takes back. A void cannot be voided.
pub(crate) async fn voided_among(
    connection: &mut PgConnection,
    events: &[&Event],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM voids)").fetch_one(&mut *connection).await?;
    if !any {
        return Ok(HashSet::new());
    }
    let ids: Vec<Uuid> =
        events.iter().filter(|e| e.interaction.voids().is_none()).map(|e| e.interaction.event_id).collect();
    let targets: Vec<Uuid> = sqlx::query_scalar("SELECT target FROM voids WHERE target = ANY($1)")
        .bind(ids)
        .fetch_all(&mut *connection)
        .await?;
    Ok(targets.into_iter().collect())
}

/// An event as it stands on the timeline, for the slow path.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) interaction: Interaction,
    pub(crate) payload: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// When it was read: what is written after that may turn it.
    pub(crate) was_voided: bool,
}

/// Why stored events could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
    #[error("the timeline's row of event {event_id} cannot be read back: {reason}")]
    Row { event_id: Uuid, reason: String },
}

type StoredRow = (Uuid, Vec<u8>, chrono::DateTime<chrono::Utc>, String, i32, i64, bool);

/// Reads events back from the timeline; those that are not there are left out.
pub(crate) async fn stored(
    connection: &mut PgConnection,
    events: &[Uuid],
    namespace: &domain::Namespace,
) -> Result<Vec<Stored>, ReadBackError> {
    let rows: Vec<StoredRow> = sqlx::query_as(
        "SELECT event_id, hash, received_at, payload, partition, log_offset, voided FROM timeline WHERE event_id = ANY($1)",
    )
    .bind(events)
    .fetch_all(connection)
    .await?;
    let read = |(event_id, hash, received_at, payload, partition, offset, was_voided): StoredRow| {
        let interaction = effects::read_back(&payload, &hash, received_at.timestamp_micros(), namespace)
            .map_err(|reason| ReadBackError::Row { event_id, reason })?;
        Ok(Stored { interaction, payload, partition, offset, was_voided })
    };
    rows.into_iter().map(read).collect()
}

/// A time column's value.
pub(crate) fn at(micros: i64) -> chrono::DateTime<chrono::Utc> {
    time::to_chrono(micros)
}
