//! One session on the web site, as far as it may lead to an order.

use std::collections::BTreeMap;

use domain::interaction;
use projection::bounded::Fact;
use rapport_proto::v1::{self, interaction::Data};
use uuid::Uuid;

use super::flags;

/// The rows of one session. Without a `session` there are none at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionRows {
    /// The session.
    pub session: Option<Session>,
    /// What was viewed and carted in it.
    pub products: Vec<SessionProduct>,
}

/// A session. Only first times are kept, microseconds UTC: the next page of the same kind changes no row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// As published.
    pub session_id: String,
    /// The subject of its first identified fact.
    pub subject_id: Option<Uuid>,
    /// When a product was first viewed.
    pub viewed_at: Option<i64>,
    /// When something was first put into a cart.
    pub carted_at: Option<i64>,
    /// When a step of the checkout was first reached, also one that failed.
    pub checkout_at: Option<i64>,
    /// `facts_capped`: it has more facts than count.
    pub flags: Vec<&'static str>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// A product in a session. Times as above.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionProduct {
    /// The session.
    pub session_id: String,
    /// Its place among the session's skus in their order, from 1.
    pub product_no: i32,
    /// As published.
    pub sku: String,
    /// When it was first viewed.
    pub viewed_at: Option<i64>,
    /// When it was first put into a cart.
    pub carted_at: Option<i64>,
    /// The event that last set it.
    pub set_by: Uuid,
}

/// Folds the facts of a session; `owner` is the subject of the first identified one. There is a session as soon as a product
/// was viewed, something was put into a cart or a step of the checkout was reached in it. An order tells its owner only: what
/// was bought is asked of the orders.
pub fn session(session_id: &str, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> SessionRows {
    let mut session = Session { session_id: session_id.to_owned(), subject_id: owner, ..Session::default() };
    let mut products: BTreeMap<&str, SessionProduct> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| interaction::session(fact.wire) == Some(session_id)) {
        let by = (fact.occurred_at(), fact.event_id());
        match fact.wire.data.as_ref() {
            Some(Data::WebProductViewed(body)) => {
                first(&mut session.viewed_at, &mut session.set_by, by);
                let product = products.entry(body.sku.as_deref().unwrap_or_default()).or_default();
                first(&mut product.viewed_at, &mut product.set_by, by);
            }
            Some(Data::WebCartChanged(body)) if carts(body) => {
                first(&mut session.carted_at, &mut session.set_by, by);
                for sku in body.lines.iter().filter_map(|line| line.sku.as_deref()) {
                    let product = products.entry(sku).or_default();
                    first(&mut product.carted_at, &mut product.set_by, by);
                }
            }
            Some(Data::WebCheckoutStepReached(_)) => first(&mut session.checkout_at, &mut session.set_by, by),
            _ => {}
        }
    }
    if [session.viewed_at, session.carted_at, session.checkout_at] == [None; 3] {
        return SessionRows::default();
    }
    session.flags = flags(&[("facts_capped", capped)]);
    let product = |(at, (sku, product)): (usize, (&str, SessionProduct))| SessionProduct {
        session_id: session_id.to_owned(),
        product_no: i32::try_from(at + 1).unwrap_or(i32::MAX),
        sku: sku.to_owned(),
        ..product
    };
    SessionRows { session: Some(session), products: products.into_iter().enumerate().map(product).collect() }
}

/// Takes a first time and the event that tells it, unless there is one.
fn first(first: &mut Option<i64>, set_by: &mut Uuid, (at, by): (i64, Uuid)) {
    if first.is_none() {
        (*first, *set_by) = (Some(at), by);
    }
}

/// Whether something is put into a cart: added, or set to something.
fn carts(change: &v1::WebCartChanged) -> bool {
    match change.op.as_deref() {
        Some("added") => true,
        Some("set") => !change.lines.is_empty(),
        _ => false,
    }
}
