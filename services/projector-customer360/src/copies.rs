//! Which copy of an event counts: the one with the least `(received_at, hash)`. The others are listed.

use std::collections::BTreeMap;
use std::collections::HashMap;

use projection::{Arrival, Batch, Event};
use rapport_proto::json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::timeline::{self, Stored};

/// A batch held against what is known.
#[derive(Default)]
pub(crate) struct Sorted<'b> {
    /// The batch's events.
    pub(crate) events: &'b [Event],
    /// Events that are not known yet.
    pub(crate) fresh: Vec<&'b Event>,
    /// Lesser copies of known events.
    pub(crate) lesser: Vec<&'b Event>,
    /// Differing copies that do not count.
    pub(crate) listed: Vec<&'b Event>,
    /// Records of events that have come more than once.
    pub(crate) arrivals: Vec<Arrival>,
}

/// Takes every event for unknown.
pub(crate) fn all_fresh(batch: &Batch) -> Sorted<'_> {
    Sorted {
        events: &batch.events,
        fresh: batch.events.iter().collect(),
        lesser: Vec::new(),
        listed: batch.copies.iter().collect(),
        arrivals: batch.arrivals.clone(),
    }
}

/// Looks the events up.
pub(crate) async fn sort<'b>(connection: &mut PgConnection, batch: &'b Batch) -> Result<Sorted<'b>, sqlx::Error> {
    let ids: Vec<Uuid> = batch.events.iter().map(|e| e.interaction.event_id).collect();
    type Row = (Uuid, Vec<u8>, chrono::DateTime<chrono::Utc>, i32, i64);
    let known: Vec<Row> = sqlx::query_as(
        "SELECT event_id, hash, received_at, partition, log_offset FROM timeline WHERE event_id = ANY($1)",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let arrival = |(event_id, hash, received_at, partition, offset): Row| {
        let hash: [u8; 32] = hash.try_into().unwrap_or_default();
        (event_id, Arrival { event_id, hash, received_at: received_at.timestamp_micros(), partition, offset })
    };
    let known: HashMap<Uuid, Arrival> = known.into_iter().map(arrival).collect();
    let mut sorted = Sorted { events: &batch.events, arrivals: batch.arrivals.clone(), ..Sorted::default() };
    // Which hash counts in the end, of events with copies.
    let mut counted: HashMap<Uuid, &[u8]> = HashMap::new();
    for event in &batch.events {
        let (id, hash) = (event.interaction.event_id, event.interaction.hash.as_slice());
        let Some(known) = known.get(&id) else {
            sorted.fresh.push(event);
            continue;
        };
        // The same record is read again where a fold begins again behind what it has committed.
        if (known.partition, known.offset) != (event.partition, event.offset) {
            sorted.arrivals.extend([*known, Arrival::of(event)]);
        }
        if (event.interaction.received_at, hash) < (known.received_at, known.hash.as_slice()) {
            sorted.lesser.push(event);
        } else {
            counted.insert(id, &known.hash);
            if known.hash != hash {
                sorted.listed.push(event);
            }
        }
    }
    let differs =
        |copy: &&Event| counted.get(&copy.interaction.event_id).is_none_or(|hash| *hash != copy.interaction.hash);
    sorted.listed.extend(batch.copies.iter().filter(differs));
    Ok(sorted)
}

/// Takes note of records of events that have come more than once.
pub(crate) async fn note_arrivals(connection: &mut PgConnection, arrivals: &[Arrival]) -> Result<(), sqlx::Error> {
    if arrivals.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO arrivals (event_id, hash, received_at, partition, log_offset)
         SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::timestamptz[], $4::int[], $5::bigint[]) ON CONFLICT DO NOTHING",
    )
    .bind(arrivals.iter().map(|a| a.event_id).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.hash.as_slice()).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| timeline::at(a.received_at)).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.partition).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|a| a.offset).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// A row of `copies`.
pub(crate) struct Listed {
    received_at: i64,
    payload: String,
    partition: i32,
    offset: i64,
}

/// The rows to list, by event and hash.
#[derive(Default)]
pub(crate) struct Listing(BTreeMap<(Uuid, Vec<u8>), Listed>);

impl Listing {
    /// Lists a copy of the batch.
    pub(crate) fn event(&mut self, event: &Event) {
        let payload = json::write(&event.interaction.wire, Vec::new());
        let payload = String::from_utf8(payload).expect("JSON is written from texts");
        let Event { partition, offset, interaction, .. } = event;
        self.insert(
            interaction,
            Listed { received_at: interaction.received_at, payload, partition: *partition, offset: *offset },
        );
    }

    /// Lists a copy that counted until now.
    pub(crate) fn stored(&mut self, stored: &Stored) {
        let Stored { interaction, payload, partition, offset, .. } = stored;
        let row = Listed {
            received_at: interaction.received_at,
            payload: payload.clone(),
            partition: *partition,
            offset: *offset,
        };
        self.insert(interaction, row);
    }

    fn insert(&mut self, interaction: &domain::Interaction, row: Listed) {
        let key = (interaction.event_id, interaction.hash.to_vec());
        match self.0.get_mut(&key) {
            Some(known) if known.received_at <= row.received_at => {}
            Some(known) => *known = row,
            None => {
                self.0.insert(key, row);
            }
        }
    }

    /// Writes the rows; of two equal copies the one received first is shown.
    pub(crate) async fn write(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows = self.0.iter();
        sqlx::query(include_str!("../sql/list_copies.sql"))
            .bind(rows.clone().map(|((id, _), _)| *id).collect::<Vec<_>>())
            .bind(rows.clone().map(|((_, hash), _)| hash.as_slice()).collect::<Vec<_>>())
            .bind(rows.clone().map(|(_, r)| timeline::at(r.received_at)).collect::<Vec<_>>())
            .bind(rows.clone().map(|(_, r)| r.payload.as_str()).collect::<Vec<_>>())
            .bind(rows.clone().map(|(_, r)| r.partition).collect::<Vec<_>>())
            .bind(rows.map(|(_, r)| r.offset).collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }
}
