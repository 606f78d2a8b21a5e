//! `GET /customers/{ref}`: who somebody is, and what the three models know of them, in one snapshot.

use domain::{Identifier, Stamp, time};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    candidates,
    http::{Answer, App},
    past::{self, Past},
    problem::{Kind, Problem},
    reference::Reference,
    snapshot::{Snapshot, Wanted},
};

/// Orders, cases and calls of a page, each.
const ROWS_MAX: i64 = 50;

/// Who a reference stands for.
pub(crate) struct Customer {
    /// Its id today; the id asked with may be a former one.
    pub(crate) id: Uuid,
    /// The subjects that are this customer.
    pub(crate) subjects: Vec<Uuid>,
    /// Whether customer360 knows it. Otherwise it is a subject that stands for itself.
    pub(crate) mapped: bool,
}

/// Finds the one customer that a reference stands for.
///
/// # Errors
/// Nobody; or several, who are then listed and never guessed among.
pub(crate) async fn resolve(snapshot: &mut Snapshot, reference: &Reference) -> Result<Customer, Problem> {
    let found = {
        let owns = snapshot.names.sql(include_str!("../sql/owns_anything.sql"));
        let connection = snapshot.models().await?;
        match reference {
            Reference::Id(id) => by_id(connection, *id, &owns).await?,
            Reference::Identifier(identifier) => by_identifier(connection, identifier).await?,
        }
    };
    let problem = match found {
        Found::Customer(customer) => return Ok(customer),
        Found::Nobody if snapshot.is_past() => Problem::new(
            Kind::NoSuchCustomer,
            "no event that counts in the past that was asked for names this reference",
        ),
        Found::Nobody => {
            Problem::new(Kind::NoSuchCustomer, "no event that the read models have folded names this reference")
        }
        Found::Several { ids, why } => {
            let candidates = candidates::describe(snapshot.connection(), &ids).await?;
            Problem::new(Kind::SeveralCustomers, why).with("candidates", candidates)
        }
    };
    let problem = match snapshot.dead_letters() {
        Some(letters) => problem.with("dead_letters", letters),
        None => problem,
    };
    Err(problem.at(snapshot.progress.token()))
}

enum Found {
    Customer(Customer),
    Nobody,
    Several { ids: Vec<Uuid>, why: &'static str },
}

async fn by_id(connection: &mut PgConnection, id: Uuid, owns: &str) -> Result<Found, sqlx::Error> {
    let row: Option<(Option<Uuid>,)> =
        sqlx::query_as(include_str!("../sql/subject.sql")).bind(id).fetch_optional(&mut *connection).await?;
    let Some((Some(customer_id),)) = row else {
        // The mapping may lag behind: the subject stands for itself.
        let owns: bool = sqlx::query_scalar(owns).bind(id).fetch_one(connection).await?;
        return Ok(if owns {
            Found::Customer(Customer { id, subjects: vec![id], mapped: false })
        } else {
            Found::Nobody
        });
    };
    let split: Vec<Uuid> = sqlx::query_scalar(include_str!("../sql/split_off.sql"))
        .bind(id)
        .bind(customer_id)
        .bind(candidates::MAX)
        .fetch_all(&mut *connection)
        .await?;
    if split.is_empty() {
        return mapped(connection, customer_id).await;
    }
    let ids = std::iter::once(customer_id).chain(split).collect();
    Ok(Found::Several {
        ids,
        why: "this id was given out before its customer was taken apart; ask with an identifier of the one you mean",
    })
}

async fn by_identifier(connection: &mut PgConnection, identifier: &Identifier) -> Result<Found, sqlx::Error> {
    let groups = !identifier.kind().links();
    let sql = if groups {
        include_str!("../sql/group_customers.sql")
    } else {
        include_str!("../sql/identifier_customers.sql")
    };
    let ids: Vec<Uuid> =
        sqlx::query_scalar(sql).bind(identifier.to_string()).bind(candidates::MAX).fetch_all(&mut *connection).await?;
    match ids[..] {
        [] => Ok(Found::Nobody),
        // A group is never a customer, not even one with a single known member.
        _ if groups => {
            Ok(Found::Several { ids, why: "accounts, partners and households group people; these are theirs" })
        }
        [id] => mapped(connection, id).await,
        _ => Ok(Found::Several {
            ids,
            why: "this identifier is shared by several customers; ask with one that is theirs alone",
        }),
    }
}

async fn mapped(connection: &mut PgConnection, id: Uuid) -> Result<Found, sqlx::Error> {
    let subjects =
        sqlx::query_scalar(include_str!("../sql/customer_subjects.sql")).bind(id).fetch_all(connection).await?;
    Ok(Found::Customer(Customer { id, subjects, mapped: true }))
}

#[derive(Serialize)]
struct Page {
    customer_id: Uuid,
    /// Left out where it is true, which is nearly always.
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped: Option<bool>,
    identifiers: Vec<Value>,
    profile: Box<RawValue>,
    sales: Sales,
    service: Service,
    last_touches: Box<RawValue>,
    affiliations: Box<RawValue>,
    conflicts: Box<RawValue>,
    positions: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letters: Option<Value>,
}

#[derive(Serialize)]
struct Sales {
    totals: Box<RawValue>,
    orders: Box<RawValue>,
}

#[derive(Serialize)]
struct Service {
    counts: Box<RawValue>,
    cases: Box<RawValue>,
    calls: Box<RawValue>,
}

/// Answers with the page.
pub(crate) async fn page(app: &App, reference: &Reference, wanted: &Wanted, past: &Past) -> Result<Answer, Problem> {
    let mut snapshot = past::open(app, reference, wanted, past).await?;
    let customer = resolve(&mut snapshot, reference).await?;
    let page = read(&mut snapshot, &customer).await?;
    let body = serde_json::to_string(&page).map_err(|e| Problem::internal("a customer page cannot be written", &e))?;
    let token = snapshot.progress.token();
    snapshot.close().await?;
    Ok(Answer::json(token, body))
}

async fn read(snapshot: &mut Snapshot, customer: &Customer) -> Result<Page, Problem> {
    let (positions, dead_letters) = (snapshot.progress.to_json(), snapshot.dead_letters());
    let names = snapshot.names.clone();
    let db = snapshot.connection();
    let subjects = &customer.subjects[..];
    Ok(Page {
        customer_id: customer.id,
        mapped: (!customer.mapped).then_some(false),
        identifiers: identifiers(db, customer).await?,
        profile: of_subjects(db, include_str!("../sql/customer_profile.sql"), subjects).await?,
        sales: Sales {
            totals: of_subjects(db, &names.sql(include_str!("../sql/customer_order_totals.sql")), subjects).await?,
            orders: newest(db, &names.sql(include_str!("../sql/customer_orders.sql")), subjects).await?,
        },
        service: Service {
            counts: of_subjects(db, &names.sql(include_str!("../sql/customer_case_counts.sql")), subjects).await?,
            cases: newest(db, &names.sql(include_str!("../sql/customer_cases.sql")), subjects).await?,
            calls: newest(db, &names.sql(include_str!("../sql/customer_calls.sql")), subjects).await?,
        },
        last_touches: of_subjects(db, include_str!("../sql/customer_touches.sql"), subjects).await?,
        affiliations: of_subjects(db, include_str!("../sql/customer_affiliations.sql"), subjects).await?,
        conflicts: conflicts(db, customer).await?,
        positions,
        dead_letters,
    })
}

/// The identifiers, strongest first.
async fn identifiers(connection: &mut PgConnection, customer: &Customer) -> Result<Vec<Value>, Problem> {
    let rows: Vec<(String, bool, Vec<u8>)> = sqlx::query_as(include_str!("../sql/customer_identifiers.sql"))
        .bind(customer.id)
        .bind(&customer.subjects)
        .fetch_all(connection)
        .await?;
    let mut found: Vec<_> =
        rows.into_iter().filter_map(|(text, is_hub, first)| Some((Identifier::parse(&text)?, is_hub, first))).collect();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let shown = found.into_iter().map(|(identifier, is_hub, first)| {
        let first = Stamp::from_bytes(first);
        json!({
            "identifier": identifier.to_string(),
            "kind": identifier.kind().as_str(),
            "value": identifier.value(),
            "is_hub": is_hub,
            "first_seen_at": first.as_ref().and_then(|s| time::format(s.occurred_at())),
            "set_by": first.as_ref().map(Stamp::event_id),
        })
    });
    Ok(shown.collect())
}

async fn conflicts(connection: &mut PgConnection, customer: &Customer) -> Result<Box<RawValue>, Problem> {
    let text = sqlx::query_scalar(include_str!("../sql/customer_conflicts.sql"))
        .bind(customer.id)
        .fetch_one(connection)
        .await?;
    raw(text)
}

async fn of_subjects(connection: &mut PgConnection, sql: &str, subjects: &[Uuid]) -> Result<Box<RawValue>, Problem> {
    raw(sqlx::query_scalar(sql).bind(subjects).fetch_one(connection).await?)
}

async fn newest(connection: &mut PgConnection, sql: &str, subjects: &[Uuid]) -> Result<Box<RawValue>, Problem> {
    raw(sqlx::query_scalar(sql).bind(subjects).bind(ROWS_MAX).fetch_one(connection).await?)
}

/// PostgreSQL's JSON goes out as it is: no digit of it is touched.
fn raw(text: String) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(text).map_err(|e| Problem::internal("PostgreSQL's JSON cannot be passed on", &e))
}
