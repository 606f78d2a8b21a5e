//! A model's tables held against the oracle: by digest, and where that differs, row by row.

use std::collections::{BTreeMap, BTreeSet};

use projection::{ReadModel, digest};
use sqlx::PgConnection;

use crate::oracle::Rows;

/// Rows of each view that are shown where the two differ.
const SHOWN_MAX: usize = 6;

/// The digest of the live tables, and a description of every difference from `expected`; empty if there is none.
pub async fn compare<M: ReadModel>(connection: &mut PgConnection, model: &M, expected: &Rows) -> (String, String) {
    let rows: BTreeMap<&str, String> = model.digested().iter().map(|(view, _)| (*view, expected.array(view))).collect();
    let unknown: Vec<_> = expected.0.keys().filter(|view| !rows.contains_key(*view)).collect();
    assert!(unknown.is_empty(), "the oracle tells of views that {} does not digest: {unknown:?}", model.name());
    let live = digest::model(connection, model).await.expect("the digest of the tables");
    let told = digest::of_rows(connection, model, &rows).await.expect("the digest of the oracle's rows");
    let mut differences = String::new();
    if live != told {
        for ((view, left_out), (a, b)) in model.digested().iter().zip(live.views.iter().zip(&told.views)) {
            if a != b {
                differences += &differing(connection, model.name(), view, left_out, &rows[view]).await;
            }
        }
    }
    (live.digest, differences)
}

async fn differing(connection: &mut PgConnection, model: &str, view: &str, left_out: &[&str], rows: &str) -> String {
    let drop: String = left_out.iter().map(|column| format!(" - '{column}'")).collect();
    let live: Vec<String> = sqlx::query_scalar(&format!("SELECT (to_jsonb(r){drop})::text FROM {model}.{view} r"))
        .fetch_all(&mut *connection)
        .await
        .expect("the view's rows");
    let told: Vec<String> = sqlx::query_scalar(&format!(
        "SELECT (to_jsonb(r){drop})::text FROM json_populate_recordset(NULL::{model}.{view}, $1::json) r"
    ))
    .bind(rows)
    .fetch_all(connection)
    .await
    .expect("the oracle's rows");
    let (live, told): (BTreeSet<_>, BTreeSet<_>) = (live.into_iter().collect(), told.into_iter().collect());
    let list = |title: &str, only: Vec<&String>| -> String {
        let shown: String = only.iter().take(SHOWN_MAX).map(|row| format!("    {row}\n")).collect();
        format!("  {title} ({}):\n{shown}", only.len())
    };
    let (table, oracle) = (live.difference(&told).collect(), told.difference(&live).collect());
    format!("{model}.{view}\n{}{}", list("only in the table", table), list("only by the oracle", oracle))
}
