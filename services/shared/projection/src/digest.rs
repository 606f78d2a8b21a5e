//! Digests: a view's is the count of its rows and the sum modulo 2^128 of each row's md5, a model's the SHA-256 over its
//! views. Equal sets of events give equal digests.

use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection};

use crate::generation::hex;
use crate::model::ReadModel;

/// Whatever the session says, rows are written the same way while they are digested.
pub(crate) const FIXED: &str = "SET LOCAL TIME ZONE 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = 'iso_8601'; \
                     SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1";

/// The digest of one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDigest {
    /// The view's name, without its schema.
    pub view: String,
    /// How many rows.
    pub count: i64,
    /// The sum of their md5, modulo 2^128.
    pub sum: u128,
}

/// The digest of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDigest {
    /// Its views, in the model's order.
    pub views: Vec<ViewDigest>,
    /// SHA-256 of them, hexadecimal.
    pub digest: String,
}

impl ModelDigest {
    fn of(views: Vec<ViewDigest>) -> Self {
        let mut hash = Sha256::new();
        for v in &views {
            hash.update(format!("{} {} {:032x}\n", v.view, v.count, v.sum));
        }
        Self { digest: hex(&hash.finalize()), views }
    }
}

/// The digest of a model's live generation, through its stable views, in one snapshot.
///
/// # Errors
/// PostgreSQL refuses a statement; a view is missing.
pub async fn model<M: ReadModel>(connection: &mut PgConnection, model: &M) -> Result<ModelDigest, sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *tx).await?;
    let computed = in_schema(&mut tx, model, model.name()).await?;
    tx.commit().await?;
    Ok(computed)
}

/// The digest of views in another schema, within a transaction.
pub(crate) async fn in_schema<M: ReadModel>(
    tx: &mut PgConnection,
    model: &M,
    schema: &str,
) -> Result<ModelDigest, sqlx::Error> {
    sqlx::raw_sql(FIXED).execute(&mut *tx).await?;
    let mut views = Vec::new();
    for (view, left_out) in model.digested() {
        let columns = columns(tx, schema, view, left_out).await?;
        views.push(digest(tx, view, &columns, &format!("{schema}.{view}"), None).await?);
    }
    Ok(ModelDigest::of(views))
}

/// The digest that rows computed elsewhere would have: for each digested view, the text of a JSON array of objects with
/// its columns (text, so that digits stay as they are). A view that `rows` does not give has none. The views must exist (they give the types).
///
/// # Errors
/// PostgreSQL refuses a statement; a value does not fit its column.
pub async fn of_rows<M: ReadModel>(
    connection: &mut PgConnection,
    model: &M,
    rows: &std::collections::BTreeMap<&str, String>,
) -> Result<ModelDigest, sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::raw_sql(FIXED).execute(&mut *tx).await?;
    let mut views = Vec::new();
    for (view, left_out) in model.digested() {
        let columns = columns(&mut tx, model.name(), view, left_out).await?;
        let from = format!("json_populate_recordset(NULL::{}.{view}, $1::json)", model.name());
        let given = rows.get(view).map_or("[]", String::as_str);
        views.push(digest(&mut tx, view, &columns, &from, Some(given)).await?);
    }
    tx.commit().await?;
    Ok(ModelDigest::of(views))
}

/// A view's columns in their order, less those left out.
pub(crate) async fn columns(
    connection: &mut PgConnection,
    schema: &str,
    view: &str,
    left_out: &[&str],
) -> Result<Vec<String>, sqlx::Error> {
    let mut all: Vec<String> = sqlx::query_scalar(
        "SELECT attname::text FROM pg_attribute
         WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
    )
    .bind(format!("{schema}.{view}"))
    .fetch_all(connection)
    .await?;
    if let Some(unknown) = left_out.iter().find(|name| !all.iter().any(|column| column == *name)) {
        return Err(sqlx::Error::ColumnNotFound(format!("{schema}.{view}.{unknown}")));
    }
    all.retain(|column| !left_out.contains(&column.as_str()));
    Ok(all)
}

pub(crate) async fn digest(
    connection: &mut PgConnection,
    view: &str,
    columns: &[String],
    from: &str,
    rows: Option<&str>,
) -> Result<ViewDigest, sqlx::Error> {
    let quoted: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    // The md5 as four unsigned words: their sums cannot overflow a numeric, and no session setting shows in them.
    let word = |n: usize| format!("coalesce(sum(('x' || substr(h, {}, 8))::bit(32)::bigint), 0)::text", n * 8 + 1);
    let sql = format!(
        "SELECT count(*), {}, {}, {}, {} FROM (SELECT md5(ROW({})::text) AS h FROM {from} AS r) AS d",
        word(0),
        word(1),
        word(2),
        word(3),
        quoted.join(", ")
    );
    let mut query = sqlx::query_as::<_, (i64, String, String, String, String)>(&sql).persistent(false);
    if let Some(rows) = rows {
        query = query.bind(rows);
    }
    let (count, a, b, c, d) = query.fetch_one(connection).await?;
    let sum = [a, b, c, d].iter().fold(0u128, |sum, word| {
        let word: u128 = word.parse().expect("a sum of words written by PostgreSQL is a number");
        (sum << 32).wrapping_add(word)
    });
    Ok(ViewDigest { view: view.to_owned(), count, sum })
}
