//! `GET /customers/{ref}/timeline`: newest first, page by page.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::Stamp;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

use crate::{
    customer::{self, Customer},
    http::{Answer, App},
    params::Params,
    past::{self, Past},
    problem::Problem,
    reference::Reference,
    snapshot::{Snapshot, Wanted},
};

/// Events of a page without `limit`.
const LIMIT_DEFAULT: u64 = 50;
/// The largest `limit`.
const LIMIT_MAX: u64 = 500;
/// A page ends early once its events hold this many bytes of JSON (it holds at least one event): an event may have
/// 256 KiB, and 500 of them would be no page.
const PAGE_BYTES_MAX: i64 = 4 * 1024 * 1024;
const CURSOR_PREFIX: &str = "t1.";
/// The catalogue's types are published with it or without.
const TYPE_PREFIX: &str = "io.rapport.";

/// Which events a page shows.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    channel: Option<String>,
    event_type: Option<String>,
    /// The earliest `occurred_at`, microseconds UTC, included.
    from: Option<i64>,
    /// The latest, left out.
    to: Option<i64>,
    /// Events before this one in the order of facts.
    before: Option<Stamp>,
    limit: Option<u64>,
}

impl Filter {
    pub(crate) fn take(params: &mut Params) -> Self {
        let cursor = params.take("cursor");
        let before = cursor.as_deref().and_then(read_cursor);
        if cursor.is_some() && before.is_none() {
            params.fault(
                "bad_cursor",
                "cursor",
                "cursor is the next_cursor of an earlier page; begin again without it".into(),
            );
        }
        Self {
            channel: params.take("channel"),
            event_type: params.take("type"),
            from: params.time("from"),
            to: params.time("to"),
            before,
            limit: params.number("limit", 1..=LIMIT_MAX),
        }
    }
}

/// A cursor is the stamp of the page's last event: the order of facts is total, so equal times neither repeat nor hide
/// an event at a page's edge.
pub(crate) fn write_cursor(stamp: &[u8]) -> String {
    format!("{CURSOR_PREFIX}{}", URL_SAFE_NO_PAD.encode(stamp))
}

pub(crate) fn read_cursor(text: &str) -> Option<Stamp> {
    Stamp::from_bytes(URL_SAFE_NO_PAD.decode(text.strip_prefix(CURSOR_PREFIX)?).ok()?)
}

#[derive(Serialize)]
struct Page {
    customer_id: Uuid,
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    positions: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<Value>,
}

/// Answers with one page.
pub(crate) async fn page(
    app: &App,
    reference: &Reference,
    filter: &Filter,
    wanted: &Wanted,
    past: &Past,
) -> Result<Answer, Problem> {
    let mut snapshot = past::open(app, reference, wanted, past).await?;
    let customer = customer::resolve(&mut snapshot, reference).await?;
    let limit = filter.limit.unwrap_or(LIMIT_DEFAULT);
    let (items, next_cursor) = read(&mut snapshot, &customer, filter, limit).await?;
    let page = Page {
        customer_id: customer.id,
        items,
        next_cursor,
        positions: snapshot.progress.to_json(),
        dead_letters: snapshot.dead_letters(),
    };
    let body = serde_json::to_string(&page).map_err(|e| Problem::internal("a timeline page cannot be written", &e))?;
    let token = snapshot.progress.token();
    snapshot.close().await?;
    Ok(Answer::json(token, body))
}

async fn read(
    snapshot: &mut Snapshot,
    customer: &Customer,
    filter: &Filter,
    limit: u64,
) -> Result<(Vec<Box<RawValue>>, Option<String>), Problem> {
    let (least, below) = filter.bounds();
    // One more than asked for tells whether there is another page.
    let statement = snapshot.names.sql(include_str!("../sql/timeline.sql"));
    let rows: Vec<(Vec<u8>, i64, String)> = sqlx::query_as(&statement)
        .bind(&customer.subjects)
        .bind(least)
        .bind(below)
        .bind(&filter.channel)
        .bind(filter.types())
        .bind(limit as i64 + 1)
        .bind(PAGE_BYTES_MAX)
        .fetch_all(snapshot.connection())
        .await?;
    let found = rows.first().map_or(0, |(_, picked, _)| *picked);
    let mut items = Vec::with_capacity(rows.len());
    let mut last = None;
    for (stamp, _, item) in rows.into_iter().take(limit as usize) {
        items.push(
            RawValue::from_string(item).map_err(|e| Problem::internal("PostgreSQL's JSON cannot be passed on", &e))?,
        );
        last = Some(stamp);
    }
    let more = found > items.len() as i64;
    Ok((items, last.filter(|_| more).map(|stamp| write_cursor(&stamp))))
}

impl Filter {
    /// The stamps of the events wanted: from the first, included, to below the second.
    pub(crate) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        // The least stamp of all that occurred at a time: no rank, no sequence, no id sorts before these.
        let edge = |at: i64| Stamp::new(at, 0, None, Uuid::nil()).as_bytes().to_vec();
        let least = self.from.map_or_else(Vec::new, edge);
        // No time begins with these bytes before the year 294,000.
        let below = self.to.map_or_else(|| vec![0xff; 8], edge);
        match &self.before {
            Some(cursor) => (least, below.min(cursor.as_bytes().to_vec())),
            None => (least, below),
        }
    }

    /// A type may be asked for with the catalogue's prefix or without.
    fn types(&self) -> Option<Vec<String>> {
        let name = self.event_type.as_ref()?;
        let bare = name.strip_prefix(TYPE_PREFIX).unwrap_or(name);
        Some(vec![bare.to_owned(), format!("{TYPE_PREFIX}{bare}")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_there_and_back_and_nothing_else() {
        let stamp = Stamp::new(1, 2, Some("3"), Uuid::from_u128(4));
        assert_eq!(read_cursor(&write_cursor(stamp.as_bytes())), Some(stamp));
        for text in ["", "t1.", "t1.AAAA", "t2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "t1.%%%"] {
            assert_eq!(read_cursor(text), None, "{text}");
        }
    }

    #[test]
    fn times_include_their_beginning_and_leave_out_their_end() {
        let filter = Filter { from: Some(10), to: Some(20), ..Filter::default() };
        let (least, below) = filter.bounds();
        let within = |at: i64| {
            let stamp = Stamp::new(at, 7, Some("-9"), Uuid::from_u128(1));
            stamp.as_bytes() >= &least[..] && stamp.as_bytes() < &below[..]
        };
        assert_eq!([9, 10, 19, 20].map(within), [false, true, true, false]);
        let (least, below) = Filter::default().bounds();
        let latest = Stamp::new(i64::MAX >> 1, u16::MAX, None, Uuid::max());
        assert!(latest.as_bytes() >= &least[..] && latest.as_bytes() < &below[..]);
    }

    #[test]
    fn a_type_with_or_without_its_prefix() {
        for text in ["order.placed", "io.rapport.order.placed"] {
            let filter = Filter { event_type: Some(text.into()), ..Filter::default() };
            assert_eq!(filter.types(), Some(vec!["order.placed".to_owned(), "io.rapport.order.placed".to_owned()]));
        }
    }
}
