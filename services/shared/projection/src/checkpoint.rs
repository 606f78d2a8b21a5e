//! Checkpoints: how far each held partition has come, moved in the transaction that folds.

use std::collections::BTreeMap;

use domain::time;
use sqlx::PgConnection;
use tokio::time::Instant;

use crate::generation::Generation;
use crate::unit::Advance;

/// A partition this worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Of the lease; nobody else has ever had the same.
    pub(crate) epoch: i64,
    /// When it was taken, by this machine's clock.
    pub(crate) since: Instant,
    /// The next offset to fold.
    pub(crate) next: i64,
    /// The last record folded: where it stands and its value's hash. `None` before the first.
    pub(crate) last: Option<(i64, Vec<u8>)>,
    /// When that one was received, microseconds UTC.
    pub(crate) last_received_at: Option<i64>,
}

/// The partitions this worker holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(pub(crate) BTreeMap<i32, Partition>);

impl Held {
    /// Moves on after a commit.
    pub(crate) fn advance(&mut self, advances: &BTreeMap<i32, Advance>) {
        for (partition, advance) in advances {
            if let Some(held) = self.0.get_mut(partition) {
                held.next = advance.next;
                held.last = Some((advance.last_offset, advance.last_hash.clone()));
                held.last_received_at = Some(advance.last_received_at);
            }
        }
    }
}

/// Moves the checkpoints of a unit's partitions, and says whether all of them were where this worker left them: if not,
/// somebody else has moved or taken one, and nothing of the transaction may be committed. They cannot have been moved by a
/// commit of this worker's own whose answer was lost: losing it ends the session, and the next one reads them anew.
pub(crate) async fn write(
    connection: &mut PgConnection,
    generation: &Generation,
    held: &Held,
    advances: &BTreeMap<i32, Advance>,
) -> Result<bool, sqlx::Error> {
    let mut mine = Vec::with_capacity(advances.len());
    for (partition, advance) in advances {
        match held.0.get(partition) {
            Some(held) => mine.push((*partition, held, advance)),
            None => return Ok(false),
        }
    }
    let moved = sqlx::query(
        "UPDATE backbone.checkpoints c
         SET next_offset = n.next_offset, last_offset = n.last_offset, last_hash = n.last_hash,
             last_received_at = n.last_received_at, updated_at = clock_timestamp()
         FROM UNNEST($4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bytea[], $10::timestamptz[])
              AS n(partition, epoch, expected, next_offset, last_offset, last_hash, last_received_at)
         WHERE c.model = $1 AND c.generation = $2 AND c.definition = $3 AND c.partition = n.partition
           AND c.epoch = n.epoch AND c.next_offset = n.expected",
    )
    .bind(&generation.model)
    .bind(generation.number)
    .bind(&generation.definition)
    .bind(mine.iter().map(|m| m.0).collect::<Vec<_>>())
    .bind(mine.iter().map(|m| m.1.epoch).collect::<Vec<_>>())
    .bind(mine.iter().map(|m| m.1.next).collect::<Vec<_>>())
    .bind(mine.iter().map(|m| m.2.next).collect::<Vec<_>>())
    .bind(mine.iter().map(|m| m.2.last_offset).collect::<Vec<_>>())
    .bind(mine.iter().map(|m| m.2.last_hash.clone()).collect::<Vec<_>>())
    .bind(mine.iter().map(|m| time::to_chrono(m.2.last_received_at)).collect::<Vec<_>>())
    .execute(connection)
    .await?
    .rows_affected();
    Ok(moved == mine.len() as u64)
}
