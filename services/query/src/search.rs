//! `POST /customers/search`: who may be meant. Each way of finding somebody is a range of an index, walked from where the
//! last page ended: however many customers there are, a page costs a page. What is asked is personal data: it is never
//! logged, nor repeated in an error.

use std::collections::HashMap;

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::identifier::{Identifier, Kind as IdentifierKind, Normalized, Normalizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    candidates,
    http::{Answer, App},
    params::Params,
    problem::{Fault, Kind, Problem},
    snapshot::{Snapshot, Wanted},
};

/// Bytes of a search's body.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024;
/// Customers of a page without `limit`.
const LIMIT_DEFAULT: u64 = 20;
/// The largest `limit`.
pub(crate) const LIMIT_MAX: u64 = 100;
/// Characters of a question: no identifier is longer.
pub(crate) const Q_CHARS_MAX: usize = 512;
/// Characters of a name that its index holds.
const NAME_CHARS_MAX: usize = 64;
const CURSOR_PREFIX: &str = "s1.";

/// Kinds of identifiers that a question without a kind may begin, besides those of other systems, strongest first.
const KINDS: [&str; 7] = ["customer_no", "user_id", "email", "phone", "card", "device_id", "anonymous_id"];

/// Ways of finding somebody, in the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// A reference: a customer or subject id, or a whole identifier.
    Reference,
    /// An order number, or its beginning.
    Order,
    /// A case number, or its beginning.
    Case,
    /// The beginning of an identifier.
    Identifier,
    /// The beginning of a name.
    Name,
    /// The beginning of a name's last word.
    LastName,
}

const WAYS: [Way; 6] = [Way::Reference, Way::Order, Way::Case, Way::Identifier, Way::Name, Way::LastName];

/// Where a page ended: how it found the last customer, by which key, and which of those with that key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor(Way, String, String);

impl Cursor {
    pub(crate) fn write(&self) -> String {
        let text = serde_json::to_vec(self).expect("three texts are JSON");
        format!("{CURSOR_PREFIX}{}", URL_SAFE_NO_PAD.encode(text))
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let cursor: Self =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.strip_prefix(CURSOR_PREFIX)?).ok()?).ok()?;
        (!cursor.1.contains('\0') && !cursor.2.contains('\0')).then_some(cursor)
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    q: String,
    pub(crate) after: Option<Cursor>,
    limit: u64,
}

/// The body of a `POST`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    q: String,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
}

impl Question {
    /// Reads a body.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Problem> {
        let body: Body = serde_json::from_slice(body).map_err(|_| bad_body(StatusCode::BAD_REQUEST))?;
        let limit = body.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(fault("out_of_range", "/limit", &format!("limit is a whole number from 1 to {LIMIT_MAX}")));
        }
        let after = read_cursor(body.cursor.as_deref(), "/cursor")?;
        Ok(Self { q: read_q(&body.q, "/q")?, after, limit })
    }

    /// Reads the parameters of a `GET`; what they lack is said once the others are read.
    pub(crate) fn take(params: &mut Params) -> Result<Self, Problem> {
        let limit = params.number("limit", 1..=LIMIT_MAX).unwrap_or(LIMIT_DEFAULT);
        let (q, cursor) = (params.take("q").unwrap_or_default(), params.take("cursor"));
        Ok(Self { q: read_q(&q, "q")?, after: read_cursor(cursor.as_deref(), "cursor")?, limit })
    }
}

fn read_q(q: &str, pointer: &str) -> Result<String, Problem> {
    let q = q.trim();
    if q.is_empty() || q.chars().count() > Q_CHARS_MAX || q.contains('\0') {
        let detail = format!(
            "q is a name, an identifier, an order or a case number, or its beginning, of 1 to {Q_CHARS_MAX} characters"
        );
        return Err(fault("bad_question", pointer, &detail));
    }
    Ok(q.to_owned())
}

fn read_cursor(text: Option<&str>, pointer: &str) -> Result<Option<Cursor>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let detail = "cursor is the next_cursor of an earlier page; begin again without it";
    Cursor::read(text).map(Some).ok_or_else(|| fault("bad_cursor", pointer, detail))
}

fn fault(code: &'static str, pointer: &str, detail: &str) -> Problem {
    let fault = Fault { code, pointer: pointer.to_owned(), detail: detail.to_owned() };
    Problem::new(Kind::Parameter, detail).with_errors(vec![fault])
}

/// A body that cannot be read.
pub(crate) fn bad_body(status: StatusCode) -> Problem {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::BodyTooLong, format!("the body of a search is at most {BODY_BYTES_MAX} bytes long"))
        }
        _ => Problem::new(
            Kind::Body,
            r#"the body is JSON like {"q": "ann", "limit": 20}, with "cursor" for further pages"#,
        ),
    }
}

/// Somebody found.
struct Hit {
    /// `None`: the order or the name has no owner yet.
    customer_id: Option<Uuid>,
    at: Cursor,
}

/// Answers with one page.
pub(crate) async fn page(app: &App, question: &Question, wanted: &Wanted) -> Result<Answer, Problem> {
    let mut snapshot = Snapshot::at(&app.database, &app.waiting, wanted).await?;
    let (hits, more) = find(snapshot.models().await?, question, &app.normalizer).await?;
    let next = hits.last().filter(|_| more).map(|hit| hit.at.write());
    let items = describe(snapshot.connection(), hits).await?;
    let mut body = json!({"items": items, "next_cursor": next, "positions": snapshot.progress.to_json()});
    if let Some(letters) = snapshot.dead_letters() {
        body["dead_letters"] = letters;
    }
    let token = snapshot.progress.token();
    snapshot.close().await?;
    Ok(Answer::json(token, body.to_string()))
}

/// The hits of a page, and whether there are more.
async fn find(
    connection: &mut PgConnection,
    question: &Question,
    normalizer: &Normalizer,
) -> Result<(Vec<Hit>, bool), sqlx::Error> {
    let limit = question.limit as usize;
    let mut hits = Vec::new();
    for way in WAYS {
        let after = match &question.after {
            Some(cursor) if cursor.0 > way => continue,
            Some(cursor) if cursor.0 == way => Some(cursor),
            _ => None,
        };
        // One more than wanted tells whether there is another page.
        let wanted = (limit + 1 - hits.len()) as i64;
        hits.extend(walk(connection, way, &question.q, after, wanted, normalizer).await?);
        if hits.len() > limit {
            hits.truncate(limit);
            return Ok((hits, true));
        }
    }
    Ok((hits, false))
}

async fn walk(
    connection: &mut PgConnection,
    way: Way,
    q: &str,
    after: Option<&Cursor>,
    wanted: i64,
    normalizer: &Normalizer,
) -> Result<Vec<Hit>, sqlx::Error> {
    match way {
        Way::Reference => references(connection, q, after, wanted, normalizer).await,
        Way::Order => numbers(connection, way, include_str!("../sql/search_orders.sql"), q, after, wanted).await,
        Way::Case => numbers(connection, way, include_str!("../sql/search_cases.sql"), q, after, wanted).await,
        Way::Identifier => identifiers(connection, q, after, wanted).await,
        Way::Name => names(connection, way, include_str!("../sql/search_names.sql"), q, after, wanted).await,
        Way::LastName => names(connection, way, include_str!("../sql/search_last_names.sql"), q, after, wanted).await,
    }
}

/// Whoever a reference stands for; several, where an identifier is shared.
async fn references(
    connection: &mut PgConnection,
    q: &str,
    after: Option<&Cursor>,
    wanted: i64,
    normalizer: &Normalizer,
) -> Result<Vec<Hit>, sqlx::Error> {
    let mut ids: Vec<Uuid> = match (Uuid::try_parse(q), identifier(q, normalizer)) {
        (Ok(id), _) => {
            let row: Option<(Option<Uuid>,)> =
                sqlx::query_as(include_str!("../sql/subject.sql")).bind(id).fetch_optional(connection).await?;
            row.and_then(|(customer_id,)| customer_id).into_iter().collect()
        }
        (_, Some(identifier)) => {
            let sql = if identifier.kind().links() {
                include_str!("../sql/identifier_customers.sql")
            } else {
                include_str!("../sql/group_customers.sql")
            };
            sqlx::query_scalar(sql).bind(identifier.to_string()).bind(candidates::MAX).fetch_all(connection).await?
        }
        _ => Vec::new(),
    };
    let last = after.and_then(|cursor| Uuid::try_parse(&cursor.2).ok());
    ids.retain(|id| last.is_none_or(|last| *id > last));
    ids.truncate(wanted as usize);
    let hit = |id: Uuid| Hit { customer_id: Some(id), at: Cursor(Way::Reference, String::new(), id.to_string()) };
    Ok(ids.into_iter().map(hit).collect())
}

/// A whole identifier: with its kind, or an e-mail address or a phone number without.
fn identifier(q: &str, normalizer: &Normalizer) -> Option<Identifier> {
    let read = |text: &str| match normalizer.normalize(text) {
        Normalized::Identifier(identifier) => Some(identifier),
        Normalized::Dropped | Normalized::Kept(_) => None,
    };
    read(q)
        .or_else(|| q.contains('@').then(|| read(&format!("email:{q}"))).flatten())
        .or_else(|| phone_digits(q).and_then(|_| read(&format!("phone:{q}"))))
}

/// Orders or cases whose number begins so.
async fn numbers(
    connection: &mut PgConnection,
    way: Way,
    sql: &'static str,
    q: &str,
    after: Option<&Cursor>,
    wanted: i64,
) -> Result<Vec<Hit>, sqlx::Error> {
    let low = after.map_or_else(|| q.to_owned(), |cursor| behind(&cursor.1));
    let rows: Vec<(String, Option<Uuid>)> =
        sqlx::query_as(sql).bind(low).bind(beyond(q)).bind(wanted).fetch_all(connection).await?;
    let hit = |(key, customer_id)| Hit { customer_id, at: Cursor(way, key, String::new()) };
    Ok(rows.into_iter().map(hit).collect())
}

/// Identifiers that begin so, kind by kind. Hubs are found whole only: each would be a page of its own.
async fn identifiers(
    connection: &mut PgConnection,
    q: &str,
    after: Option<&Cursor>,
    wanted: i64,
) -> Result<Vec<Hit>, sqlx::Error> {
    let systems: Vec<String> = if q.contains(':') {
        Vec::new()
    } else {
        sqlx::query_scalar(include_str!("../sql/search_systems.sql")).fetch_all(&mut *connection).await?
    };
    let prefixes = prefixes(q, &systems);
    let done = after.and_then(|cursor| cursor.2.parse::<usize>().ok()).unwrap_or(0);
    let (mut lows, mut highs, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (n, prefix) in prefixes.iter().enumerate().skip(done) {
        lows.push(match after {
            Some(cursor) if n == done => behind(&cursor.1),
            _ => prefix.clone(),
        });
        highs.push(beyond(prefix));
        places.push(n);
    }
    let rows: Vec<(i64, String, Uuid)> = sqlx::query_as(include_str!("../sql/search_identifiers.sql"))
        .bind(lows)
        .bind(highs)
        .bind(wanted)
        .fetch_all(connection)
        .await?;
    let hit = |(n, key, customer_id): (i64, String, Uuid)| {
        let place = usize::try_from(n - 1).ok().and_then(|n| places.get(n)).copied().unwrap_or(0);
        Hit { customer_id: Some(customer_id), at: Cursor(Way::Identifier, key, place.to_string()) }
    };
    Ok(rows.into_iter().map(hit).collect())
}

/// What identifiers may begin with, in normal form, if somebody types `q`.
fn prefixes(q: &str, systems: &[String]) -> Vec<String> {
    if let Some((kind, value)) = q.split_once(':') {
        let linking = IdentifierKind::parse(kind).is_some_and(|kind| kind.links());
        return if linking { of_kind(kind, value).into_iter().collect() } else { Vec::new() };
    }
    let kinds = KINDS.into_iter().chain(systems.iter().map(String::as_str));
    kinds.filter_map(|kind| of_kind(kind, q)).collect()
}

fn of_kind(kind: &str, value: &str) -> Option<String> {
    let value = value.trim();
    match kind {
        "email" => Some(format!("email:{}", value.to_lowercase())),
        // National numbers are found whole, where their country is known.
        "phone" => phone_digits(value).filter(|digits| digits.starts_with('+')).map(|digits| format!("phone:{digits}")),
        _ => Some(format!("{kind}:{value}")),
    }
}

/// What is left of a phone number as people write it. `None`: it is none.
fn phone_digits(text: &str) -> Option<String> {
    let plain = |c: &char| c.is_ascii_digit() || *c == '+';
    let written = |c: char| plain(&c) || " -/().".contains(c);
    let digits: String = text.chars().filter(plain).collect();
    let digits = digits.strip_prefix("00").map_or_else(|| digits.clone(), |rest| format!("+{rest}"));
    (text.chars().all(written) && digits.chars().any(|c| c.is_ascii_digit())).then_some(digits)
}

/// Names that begin so.
async fn names(
    connection: &mut PgConnection,
    way: Way,
    sql: &'static str,
    q: &str,
    after: Option<&Cursor>,
    wanted: i64,
) -> Result<Vec<Hit>, sqlx::Error> {
    let prefix: String = q.to_lowercase().chars().take(NAME_CHARS_MAX).collect();
    let (key, party) = match after {
        Some(Cursor(_, key, party)) => (key.clone(), Uuid::try_parse(party).unwrap_or_default()),
        None => (prefix.clone(), Uuid::nil()),
    };
    let rows: Vec<(String, Uuid, Option<Uuid>)> =
        sqlx::query_as(sql).bind(key).bind(party).bind(beyond(&prefix)).bind(wanted).fetch_all(connection).await?;
    let hit =
        |(key, party, customer_id): (String, Uuid, _)| Hit { customer_id, at: Cursor(way, key, party.to_string()) };
    Ok(rows.into_iter().map(hit).collect())
}

/// The least text that sorts behind this one; U+0000 is in no text.
fn behind(text: &str) -> String {
    format!("{text}\u{1}")
}

/// A text that sorts behind all that begin with this one, and before all others that sort behind it.
fn beyond(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return text;
        }
    }
    char::MAX.to_string()
}

/// What a list shows of the customers found, each once.
async fn describe(connection: &mut PgConnection, hits: Vec<Hit>) -> Result<Vec<Value>, Problem> {
    let mut ids: Vec<Uuid> = Vec::new();
    let mut ways: Vec<Cursor> = Vec::new();
    for hit in hits {
        if let Some(id) = hit.customer_id.filter(|id| !ids.contains(id)) {
            ids.push(id);
            ways.push(hit.at);
        }
    }
    let named: Vec<(Uuid, String)> =
        sqlx::query_as(include_str!("../sql/search_display_names.sql")).bind(&ids).fetch_all(&mut *connection).await?;
    let named: HashMap<Uuid, String> = named.into_iter().collect();
    let mut items = match candidates::describe(connection, &ids).await? {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    for ((item, id), Cursor(way, key, _)) in items.iter_mut().zip(&ids).zip(ways) {
        item["name"] = json!(named.get(id));
        let key = Some(key).filter(|key| !key.is_empty());
        item["matched"] = json!({"by": way, "value": key});
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_what_begins_so_and_nothing_else() {
        for prefix in ["o-1", "email:ann", "zz", "\u{d7ff}", "a\u{10ffff}"] {
            let (low, high) = (prefix.to_owned(), beyond(prefix));
            for within in [prefix.to_owned(), format!("{prefix}\u{10ffff}"), behind(prefix)] {
                assert!(low <= within && within < high, "{prefix:?} {within:?}");
            }
        }
        assert!(beyond("o-1").as_str() <= "o-2");
        assert!(behind("o-1").as_str() < "o-1 ");
    }

    #[test]
    fn cursors_there_and_back_and_nothing_else() {
        let cursor = Cursor(Way::LastName, "lee".into(), Uuid::nil().to_string());
        assert_eq!(Cursor::read(&cursor.write()), Some(cursor));
        for text in
            ["", "s1.", "s1.x", "t1.AAAA", &format!("s1.{}", URL_SAFE_NO_PAD.encode(r#"["order","a\u0000",""]"#))]
        {
            assert_eq!(Cursor::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_identifiers_may_begin_with() {
        let systems = ["external.crm".to_owned()];
        let check = |q: &str, expected: &[&str]| assert_eq!(prefixes(q, &systems), expected, "{q}");
        check("email:Ann@", &["email:ann@"]);
        check("phone:+49 (30) 12", &["phone:+493012"]);
        check("account:acme", &[]);
        check("fax:1", &[]);
        check(
            "0049 30",
            &[
                "customer_no:0049 30",
                "user_id:0049 30",
                "email:0049 30",
                "phone:+4930",
                "card:0049 30",
                "device_id:0049 30",
                "anonymous_id:0049 30",
                "external.crm:0049 30",
            ],
        );
        assert_eq!(prefixes("Ann", &[]).iter().filter(|p| p.starts_with("phone")).count(), 0);
    }

    #[test]
    fn bodies() {
        assert!(Question::read(br#"{"q": " ann ", "limit": 5, "cursor": null}"#).is_ok_and(|q| q.q == "ann"));
        for body in ["", "[]", r#"{"q": 1}"#, r#"{"q": ""}"#, r#"{"q": "a", "limit": 0}"#, r#"{"q": "a", "x": 1}"#] {
            assert!(Question::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
