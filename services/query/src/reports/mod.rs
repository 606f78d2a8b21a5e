//! `GET /reports`: every view of the three models under its name, as the role `analyst` sees it, with its SQL.
//!
//! | module | responsibility |
//! |---|---|
//! | `catalogue` | which reports there are, by PostgreSQL's own catalogue |
//! | `statement` | from parameters to one statement with its values |
//! | `csv` | rows as CSV that no spreadsheet takes for formulas |
//! | `example` | a report with a column of each type, for fuzzing |

mod catalogue;
mod csv;
mod example;
mod statement;

use std::time::Duration;

use domain::nearest::nearest;
use serde_json::{Value, json};
use sqlx::{PgConnection, Row};
use tokio::time::Instant;

use crate::{
    http::{Answer, App},
    params::Params,
    problem::{Kind, Problem},
    snapshot::{Snapshot, Wanted},
};
use catalogue::Report;
pub(crate) use example::example;
pub(crate) use statement::Statement;

/// Rows without `limit`.
const LIMIT_DEFAULT: u64 = 1_000;
/// The largest `limit`.
pub(crate) const LIMIT_MAX: u64 = 100_000;
/// An answer ends early once its rows hold this many bytes (it holds at least one row): it is built in memory.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Rows fetched at once. A row may hold a whole event, and those of one fetch are held before [`BYTES_MAX`] is looked at:
/// so few of them stay small beside it.
const FETCH_ROWS: usize = 20;
/// Parameters that no column and no argument can stand for.
const RESERVED: [&str; 4] = ["format", "limit", "position", "wait_ms"];

/// What rows are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

/// Answers with all reports.
pub(crate) async fn list(app: &App, wanted: &Wanted) -> Result<Answer, Problem> {
    let mut snapshot = Snapshot::at(&app.database, &app.waiting, wanted).await?;
    let reports = catalogue::all(snapshot.connection()).await?;
    let body = json!({
        "reports": reports.iter().map(Report::to_json).collect::<Vec<_>>(),
        "positions": snapshot.progress.to_json(),
    });
    let token = snapshot.progress.token();
    snapshot.close().await?;
    Ok(Answer::json(token, body.to_string()))
}

/// Answers with the rows of a report.
pub(crate) async fn run(app: &App, name: &str, mut params: Params, wanted: &Wanted) -> Result<Answer, Problem> {
    // Reports may take long: pages of customers keep half of the connections to themselves.
    let Ok(_slot) = app.report_slots.try_acquire() else {
        return Err(Problem::new(Kind::Busy, "too many reports are being made; ask again after Retry-After"));
    };
    let mut snapshot = Snapshot::at(&app.database, &app.waiting, wanted).await?;
    let report = find(&mut snapshot, name).await?;
    let format = format(&mut params);
    let statement = Statement::read(&report, params)?;
    let rows = rows(snapshot.connection(), &statement, app.report_timeout).await?;
    let (token, positions) = (snapshot.progress.token(), snapshot.progress.to_json());
    let dead_letters = snapshot.dead_letters();
    snapshot.close().await?;
    let answer = match format {
        Format::Csv => Answer::csv(token, csv::write(&report, &rows.lines)?),
        Format::Json => Answer::json(token, document(&report, &statement, &rows, &positions, dead_letters)),
    };
    Ok(answer.truncated(rows.truncated))
}

/// Answers with the statement that [`run`] would run, and with the view's own definition.
pub(crate) async fn sql(app: &App, name: &str, mut params: Params, wanted: &Wanted) -> Result<Answer, Problem> {
    let mut snapshot = Snapshot::at(&app.database, &app.waiting, wanted).await?;
    let report = find(&mut snapshot, name).await?;
    // Taken, so that the same query string can be asked with /sql and without.
    format(&mut params);
    let statement = Statement::read(&report, params)?;
    let definition: Option<String> = sqlx::query_scalar("SELECT pg_get_viewdef(to_regclass($1), true)")
        .bind(report.relation())
        .fetch_one(snapshot.connection())
        .await?;
    let text = statement.shown(&report, app.report_timeout, definition.as_deref().unwrap_or_default());
    let token = snapshot.progress.token();
    snapshot.close().await?;
    Ok(Answer::text(token, text))
}

async fn find(snapshot: &mut Snapshot, name: &str) -> Result<Report, Problem> {
    if let Some(report) = catalogue::one(snapshot.connection(), name).await? {
        return Ok(report);
    }
    let token = snapshot.progress.token();
    let names: Vec<String> =
        catalogue::all(snapshot.connection()).await?.into_iter().map(|report| report.name).collect();
    let missing = snapshot.progress.missing();
    if !missing.is_empty() {
        let detail = format!("no live generation of {}; is its projector running?", missing.join(", "));
        return Err(Problem::new(Kind::ModelsNotReady, detail).with("models", json!(missing)).at(token));
    }
    let hint = near(name, &names).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    let detail = format!("there is no report of that name{hint}; there are {}", names.join(", "));
    Err(Problem::new(Kind::NoSuchReport, detail).with("reports", json!(names)).at(token))
}

/// The report that a misspelt name may have meant, by the whole of it or, where its model is missing or another one, by
/// that of its view.
fn near<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let view_of = |name: &'a String| name.split_once('.').map_or(name.as_str(), |(_, view)| view);
    nearest(name, names.iter().map(String::as_str)).or_else(|| {
        let view = name.split_once('.').map_or(name, |(_, view)| view);
        let meant = nearest(view, names.iter().map(view_of))?;
        names.iter().find(|name| view_of(name) == meant).map(String::as_str)
    })
}

fn format(params: &mut Params) -> Format {
    match params.take("format").as_deref() {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some("parquet") => {
            params.fault("unknown_format", "format", "parquet is not offered; format is json or csv".into());
            Format::Json
        }
        Some(_) => {
            params.fault("unknown_format", "format", "format is json or csv".into());
            Format::Json
        }
    }
}

/// What came back: each row as a JSON object, in order.
struct Rows {
    lines: Vec<String>,
    truncated: bool,
}

/// Runs it as `analyst`, piece by piece: no more is held here than the answer may have, and one fetch.
async fn rows(connection: &mut PgConnection, statement: &Statement, timeout: Duration) -> Result<Rows, Problem> {
    let deadline = Instant::now() + timeout;
    sqlx::query(include_str!("../../sql/report_session.sql"))
        .bind(timeout.as_millis().max(1).to_string())
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| refused(error, timeout))?;
    let declare =
        format!("DECLARE report NO SCROLL CURSOR FOR SELECT row_to_json(r)::text FROM ({}) AS r", statement.sql);
    let mut query = sqlx::query(&declare).persistent(false);
    for value in &statement.values {
        query = query.bind(value.text.as_str());
    }
    query.execute(&mut *connection).await.map_err(|error| refused(error, timeout))?;
    let fetch = format!("FETCH FORWARD {FETCH_ROWS} FROM report");
    let (mut lines, mut bytes, limit) = (Vec::new(), 0, statement.limit as usize);
    loop {
        if Instant::now() >= deadline {
            return Err(too_slow(timeout));
        }
        let fetched = sqlx::query(&fetch).persistent(false).fetch_all(&mut *connection).await;
        let fetched = fetched.map_err(|error| refused(error, timeout))?;
        let last = fetched.len() < FETCH_ROWS;
        for row in fetched {
            let line: String = row.try_get(0)?;
            bytes += line.len();
            if lines.len() >= limit || (bytes > BYTES_MAX && !lines.is_empty()) {
                return Ok(Rows { lines, truncated: true });
            }
            lines.push(line);
        }
        if last {
            return Ok(Rows { lines, truncated: false });
        }
    }
}

/// What PostgreSQL's refusal of a report means.
fn refused(error: sqlx::Error, timeout: Duration) -> Problem {
    let code = match &error {
        sqlx::Error::Database(refusal) => refusal.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    };
    match code.as_str() {
        "57014" => too_slow(timeout),
        // Values are read before they get here; what is left are arguments that the function itself refuses.
        _ if code.starts_with("22") => Problem::new(
            Kind::Parameter,
            "PostgreSQL cannot work with one of these values; see the report's parameters",
        ),
        "42501" => {
            Problem::internal("this service's role may not act as the role analyst, or that may not read", &error)
        }
        _ => error.into(),
    }
}

fn too_slow(timeout: Duration) -> Problem {
    let detail = format!(
        "the report took longer than {} ms (report_timeout_ms); ask for less of it, or ask PostgreSQL as analyst",
        timeout.as_millis()
    );
    Problem::new(Kind::ReportTooSlow, detail)
}

/// The rows go into the document as PostgreSQL wrote them: no digit of them is touched.
fn document(
    report: &Report,
    statement: &Statement,
    rows: &Rows,
    positions: &Value,
    dead_letters: Option<Value>,
) -> String {
    let columns: Vec<_> = report.columns.iter().map(|c| json!({"name": c.name, "type": c.kind})).collect();
    let mut head = json!({
        "report": report.name,
        "title": report.title(),
        "parameters": statement.given(),
        "columns": columns,
        "row_count": rows.lines.len(),
        "limit": statement.limit,
        "truncated": rows.truncated,
        "positions": positions,
    });
    if rows.truncated {
        head["notice"] = json!(format!(
            "there are more rows than the {} shown; narrow the report by its parameters, or raise limit (at most {LIMIT_MAX} \
             rows and {} MiB)",
            rows.lines.len(),
            BYTES_MAX >> 20
        ));
    }
    if let Some(letters) = dead_letters {
        head["dead_letters"] = letters;
    }
    let head = head.to_string();
    let mut out = String::with_capacity(head.len() + rows.lines.iter().map(|line| line.len() + 1).sum::<usize>() + 16);
    // The object goes on: its closing brace comes after the rows.
    out.push_str(&head[..head.len() - 1]);
    out.push_str(",\"rows\":[");
    out.push_str(&rows.lines.join(","));
    out.push_str("]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_report_is_told_the_nearest() {
        let names = ["sales.orders", "sales.revenue", "service.cases"].map(str::to_owned);
        for (name, meant) in [
            ("sales.oders", Some("sales.orders")),
            ("sale.orders", Some("sales.orders")),
            ("orders", Some("sales.orders")),
            ("revenu", Some("sales.revenue")),
            ("service.orders", Some("sales.orders")),
            ("sales.nonsense", None),
            ("", None),
        ] {
            assert_eq!(near(name, &names), meant, "{name}");
        }
    }

    #[test]
    fn formats() {
        for (given, expected, faults) in
            [(None, Format::Json, false), (Some("csv"), Format::Csv, false), (Some("parquet"), Format::Json, true)]
        {
            let mut params = Params::new(given.map(|v| ("format".to_owned(), v.to_owned())).into_iter().collect());
            assert_eq!(format(&mut params), expected);
            assert_eq!(params.finish().is_err(), faults, "{given:?}");
        }
    }

    #[test]
    fn the_document_is_json_with_the_rows_digits() {
        let report = catalogue::tests::orders();
        let statement = Statement::read(&report, Params::new(Vec::new())).expect("no parameters");
        let rows = Rows { lines: vec![r#"{"order_id":"o-1","net":1.50}"#.into()], truncated: true };
        let text = document(&report, &statement, &rows, &json!({"sales": {"generation": 1}}), None);
        assert!(text.ends_with(r#","rows":[{"order_id":"o-1","net":1.50}]}"#), "{text}");
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&read["row_count"], &read["truncated"]), (&json!(1), &json!(true)));
        assert!(read["notice"].as_str().is_some_and(|notice| notice.contains("limit")), "{read}");
    }
}
