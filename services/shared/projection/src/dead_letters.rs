//! Records that could not be folded, kept whole beside the checkpoint that passes them.

use std::collections::BTreeMap;

use domain::{ids, time};
use serde_json::{Map, Value};
use sqlx::PgConnection;

use crate::generation::Generation;
use crate::unit::Aside;

/// Keeps them. A record already there (folded again after a rewind) is replaced.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    generation: &Generation,
    fold: &str,
    aside: &[Aside],
) -> Result<(), sqlx::Error> {
    for Aside { record, reason } in aside {
        let id = record.header("ce_source").zip(record.header("ce_id"));
        let headers: Map<String, Value> = record
            .headers()
            .map(|(name, value)| (name.to_owned(), Value::from(String::from_utf8_lossy(value))))
            .collect();
        sqlx::query(
            "INSERT INTO backbone.dead_letters
                 (model, generation, partition, log_offset, event_id, type, error, fold, key, value, received_at, headers)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (model, generation, partition, log_offset)
             DO UPDATE SET error = EXCLUDED.error, fold = EXCLUDED.fold, created_at = clock_timestamp()",
        )
        .bind(&generation.model)
        .bind(generation.number)
        .bind(record.partition)
        .bind(record.offset)
        .bind(id.map(|(source, id)| ids::event_id(source, id)))
        .bind(record.header("ce_type").map(storable))
        .bind(storable(reason))
        .bind(fold)
        .bind(&record.key[..])
        .bind(&record.value[..])
        .bind(time::to_chrono(record.received_at))
        .bind(sqlx::types::Json(Value::Object(headers)))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// How many there are of each generation of a model that has any.
pub(crate) async fn count(connection: &mut PgConnection, model: &str) -> Result<BTreeMap<i32, i64>, sqlx::Error> {
    let counts: Vec<(i32, i64)> =
        sqlx::query_as("SELECT generation, count(*) FROM backbone.dead_letters WHERE model = $1 GROUP BY generation")
            .bind(model)
            .fetch_all(connection)
            .await?;
    Ok(counts.into_iter().collect())
}

/// PostgreSQL's text holds no U+0000.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
