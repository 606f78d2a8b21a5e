//! Voids: events taken back. Every model keeps every void by its target's id, whichever of the two comes first.
//!
//! Each generation has the table
//!
//! ```sql
//! CREATE TABLE voids (void_id uuid PRIMARY KEY, target uuid NOT NULL, received_at bigint NOT NULL, hash bytea NOT NULL);
//! CREATE INDEX voids_target ON voids (target);
//! ```
//!
//! An event is voided if a void names it as its target and it is no void itself: a void cannot be voided.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::Interaction;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::batch::Batch;

/// One `interaction.voided`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Void {
    /// The void's own event id.
    pub id: Uuid,
    /// The event it takes back.
    pub target: Uuid,
    /// When it was received, microseconds UTC: of two copies of a void the least `(received_at, hash)` counts.
    pub received_at: i64,
    /// SHA-256 of its value.
    pub hash: [u8; 32],
}

impl Void {
    /// The void that this event is, if it is one.
    pub fn of(interaction: &Interaction) -> Option<Self> {
        let target = interaction.voids()?;
        Some(Self { id: interaction.event_id, target, received_at: interaction.received_at, hash: interaction.hash })
    }
}

/// The voids of a batch, the least copy of each, by id.
pub fn voids(batch: &Batch) -> Vec<Void> {
    let mut least: BTreeMap<Uuid, Void> = BTreeMap::new();
    for void in batch.events.iter().chain(&batch.copies).filter_map(|e| Void::of(&e.interaction)) {
        match least.get(&void.id) {
            Some(known) if (known.received_at, known.hash) <= (void.received_at, void.hash) => {}
            _ => {
                least.insert(void.id, void);
            }
        }
    }
    least.into_values().collect()
}

/// Which of these events are voided by what is known now.
///
/// # Errors
/// What PostgreSQL says.
pub async fn voided(connection: &mut PgConnection, ids: &[Uuid]) -> Result<HashSet<Uuid>, sqlx::Error> {
    const SQL: &str = "SELECT DISTINCT target FROM voids WHERE target = ANY($1)
        AND NOT EXISTS (SELECT FROM voids AS own WHERE own.void_id = voids.target)";
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<Uuid> = sqlx::query_scalar(SQL).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Keeps these voids (one an id, as [`voids`] gives them). Returns every event that may be voided or no longer voided
/// now: the caller asks [`voided`] about them. To be called with the generation's lock held exclusively.
///
/// # Errors
/// What PostgreSQL says.
pub async fn keep_voids(connection: &mut PgConnection, voids: &[Void]) -> Result<Vec<Uuid>, sqlx::Error> {
    const KNOWN: &str = "SELECT void_id, target, received_at, hash FROM voids WHERE void_id = ANY($1)";
    const KEEP: &str = "INSERT INTO voids (void_id, target, received_at, hash)
        SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bytea[])
        ON CONFLICT (void_id) DO UPDATE SET (target, received_at, hash) = (excluded.target, excluded.received_at, excluded.hash)";
    if voids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = voids.iter().map(|v| v.id).collect();
    let mut known = HashMap::new();
    for row in sqlx::query(KNOWN).bind(&ids).fetch_all(&mut *connection).await? {
        let copy: (i64, Vec<u8>) = (row.try_get(2)?, row.try_get(3)?);
        known.insert(row.try_get::<Uuid, _>(0)?, (row.try_get::<Uuid, _>(1)?, copy));
    }
    let kept: Vec<&Void> = voids
        .iter()
        .filter(|v| known.get(&v.id).is_none_or(|(_, copy)| (v.received_at, v.hash.as_slice()) < (copy.0, copy.1.as_slice())))
        .collect();
    let mut changed: Vec<Uuid> = kept.iter().flat_map(|v| [v.id, v.target]).collect();
    changed.extend(kept.iter().filter_map(|v| known.get(&v.id).map(|(target, _)| *target)));
    sqlx::query(KEEP)
        .bind(kept.iter().map(|v| v.id).collect::<Vec<_>>())
        .bind(kept.iter().map(|v| v.target).collect::<Vec<_>>())
        .bind(kept.iter().map(|v| v.received_at).collect::<Vec<_>>())
        .bind(kept.iter().map(|v| v.hash.as_slice()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    changed.sort_unstable();
    changed.dedup();
    Ok(changed)
}
