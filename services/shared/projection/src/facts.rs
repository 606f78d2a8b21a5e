//! Voids: events taken back. Every model keeps every void by its target's id, whichever of the two comes first.
//!
//! Each generation has the table
//!
//! ```sql
//! CREATE TABLE voids (void_id uuid PRIMARY KEY, target uuid NOT NULL);
//! CREATE INDEX voids_target ON voids (target);
//! ```
//!
//! An event is voided if a void names it as its target and it is no void itself: a void cannot be voided.

use std::collections::HashSet;

use domain::Interaction;
use sqlx::PgConnection;
use uuid::Uuid;

/// One `interaction.voided`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Void {
    /// The void's own event id.
    pub id: Uuid,
    /// The event it takes back.
    pub target: Uuid,
}

impl Void {
    /// The void that this event is, if it is one.
    pub fn of(interaction: &Interaction) -> Option<Self> {
        interaction.voids().map(|target| Self { id: interaction.event_id, target })
    }
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

/// Takes note of the voids among events whose copies that count are these now: of an earlier copy that was a void,
/// nothing stays. Returns every event that may be voided or no longer voided: the caller asks [`voided`] about them.
/// To be called with the generation's lock held exclusively.
///
/// # Errors
/// What PostgreSQL says.
pub async fn keep_voids<'e>(
    connection: &mut PgConnection,
    events: impl IntoIterator<Item = &'e Interaction>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    const FORGET: &str = "DELETE FROM voids WHERE void_id = ANY($1) RETURNING target";
    const KEEP: &str = "INSERT INTO voids (void_id, target) SELECT * FROM unnest($1::uuid[], $2::uuid[])";
    let (mut changed, mut voids) = (Vec::new(), Vec::new());
    for event in events {
        changed.push(event.event_id);
        voids.extend(Void::of(event));
    }
    let former: Vec<Uuid> = sqlx::query_scalar(FORGET).bind(&changed).fetch_all(&mut *connection).await?;
    changed.extend(former);
    if !voids.is_empty() {
        let (ids, targets): (Vec<Uuid>, Vec<Uuid>) = voids.iter().map(|v| (v.id, v.target)).unzip();
        sqlx::query(KEEP).bind(ids).bind(&targets).execute(connection).await?;
        changed.extend(targets);
    }
    changed.sort_unstable();
    changed.dedup();
    Ok(changed)
}
