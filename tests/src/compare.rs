//! A model's tables held against the oracle: by digest, and where that differs, row by row.

use std::collections::{BTreeMap, BTreeSet};

use projection::{ReadModel, digest};
use sqlx::PgConnection;

use crate::oracle::Rows;

/// Rows of each view that are shown where the two differ.
const SHOWN_MAX: usize = 6;

/// What a comparison has found.
#[derive(Debug)]
pub struct Compared {
    /// The digest of the live tables.
    pub digest: String,
    /// A description of every difference; empty if there is none.
    pub differences: String,
    /// Rows that views have beyond as many as the oracle tells of.
    pub surplus: usize,
}

/// The live tables held against `expected`.
pub async fn compare<M: ReadModel>(connection: &mut PgConnection, model: &M, expected: &Rows) -> Compared {
    let rows: BTreeMap<&str, String> = model.digested().iter().map(|(view, _)| (*view, expected.array(view))).collect();
    let unknown: Vec<_> = expected.0.keys().filter(|view| !rows.contains_key(*view)).collect();
    assert!(unknown.is_empty(), "the oracle tells of views that {} does not digest: {unknown:?}", model.name());
    let live = digest::model(connection, model).await.expect("the digest of the tables");
    let told = digest::of_rows(connection, model, &rows).await.expect("the digest of the oracle's rows");
    let (mut differences, mut surplus) = (String::new(), 0);
    if live != told {
        for ((view, left_out), (a, b)) in model.digested().iter().zip(live.views.iter().zip(&told.views)) {
            if a != b {
                let (difference, more) = differing(connection, model.name(), view, left_out, &rows[view]).await;
                differences += &difference;
                surplus += more;
            }
        }
    }
    Compared { digest: live.digest, differences, surplus }
}

/// What differs, and how many rows too many the view has.
async fn differing(
    connection: &mut PgConnection,
    model: &str,
    view: &str,
    left_out: &[&str],
    rows: &str,
) -> (String, usize) {
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
    let surplus = live.len().saturating_sub(told.len());
    let (live, told): (BTreeSet<_>, BTreeSet<_>) = (live.into_iter().collect(), told.into_iter().collect());
    let list = |title: &str, only: Vec<&String>| -> String {
        let shown: String = only.iter().take(SHOWN_MAX).map(|row| format!("    {row}\n")).collect();
        format!("  {title} ({}):\n{shown}", only.len())
    };
    let (table, oracle) = (live.difference(&told).collect(), told.difference(&live).collect());
    let told = format!("{model}.{view}\n{}{}", list("only in the table", table), list("only by the oracle", oracle));
    (told, surplus)
}
