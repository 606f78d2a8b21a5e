//! Carts, sessions and the funnel: histories told by hand, and what they come to.

use domain::{Entity, time::SECOND};
use projection::{Event, bounded::Fact, direct::Direct};
use projector_sales::{
    Sales,
    folds::{Cart, CartRows, SessionRows, cart, session},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sqlx::Row;
use test_kit::Event as Told;

use crate::history::{NAMESPACE, RECEIVED_AT, history, record, surviving};

const MINUTE: i64 = 60;

fn eur(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

fn line(sku: &str, quantity: i64, unit_price: i64) -> Value {
    json!({"sku": sku, "quantity": quantity, "unit_price": eur(unit_price)})
}

fn changed(id: &str, op: &str, lines: Value) -> Told {
    Told::new("web.cart.changed", id).data("op", op).data("lines", lines)
}

fn step(id: &str, step: &str) -> Told {
    Told::new("web.checkout.step_reached", id).data("step", step)
}

fn viewed(id: &str, sku: &str, session: &str) -> Told {
    Told::new("web.product.viewed", id).data("sku", sku).data("session_id", session)
}

fn records(told: Vec<Told>) -> Vec<Event> {
    let mut events: Vec<Event> =
        told.into_iter().enumerate().map(|(n, t)| record(&t.json(), RECEIVED_AT + n as i64, n as i64)).collect();
    events.sort_by(|a, b| a.interaction.stamp.cmp(&b.interaction.stamp));
    events
}

pub(crate) fn fact(event: &Event) -> Fact<'_> {
    let interaction = &event.interaction;
    Fact { stamp: &interaction.stamp, subject_id: interaction.subject.as_ref().map(|s| s.id), wire: &interaction.wire }
}

/// The rows of a cart after these events, each of which is a fact of it.
fn rows(kind: &'static str, key: &str, told: Vec<Told>) -> CartRows {
    let events = records(told);
    let facts: Vec<Fact<'_>> = events.iter().map(fact).collect();
    let entity = Entity { kind, key: key.to_owned() };
    cart(&entity, facts.iter().find_map(|f| f.subject_id), &facts, false)
}

/// The rows of cart `c`, which each of these events names.
fn of_c(told: Vec<Told>) -> CartRows {
    rows("cart", "c", told.into_iter().map(|t| t.data("cart_id", "c")).collect())
}

/// Sku, quantity and value of each line.
fn lines(rows: &CartRows) -> Vec<(&str, String, Option<i64>)> {
    rows.lines.iter().map(|l| (l.sku.as_str(), l.quantity.to_plain(), l.value_minor)).collect()
}

fn the_cart(rows: CartRows) -> Cart {
    rows.cart.expect("there is a cart")
}

#[test]
fn what_is_in_a_cart() {
    let bought = || changed("e1", "added", json!([line("B", 1, 700), line("A", 2, 500)]));
    let then = |op: &str, lines: Value| of_c(vec![bought(), changed("e2", op, lines).at_s(1)]);
    let (a, b) = (("A", "2".to_owned(), Some(1000)), ("B", "1".to_owned(), Some(700)));
    for (op, change, expected) in [
        ("added", json!([line("A", 1, 600)]), vec![("A", "3".to_owned(), Some(1600)), b.clone()]),
        ("removed", json!([{"sku": "A", "quantity": 1}]), vec![("A", "1".to_owned(), Some(500)), b.clone()]),
        ("removed", json!([{"sku": "A", "quantity": 5}]), vec![b.clone()]),
        ("removed", json!([{"sku": "C", "quantity": 1}]), vec![a.clone(), b.clone()]),
        ("set", json!([line("C", 1, 100)]), vec![("C", "1".to_owned(), Some(100))]),
        ("set", json!([]), vec![]),
        ("set", Value::Null, vec![a.clone(), b.clone()]),
        ("emptied", Value::Null, vec![]),
        ("added", json!([{"sku": "C", "quantity": 1}]), vec![a, b, ("C", "1".to_owned(), None)]),
    ] {
        let rows = then(op, change.clone());
        assert_eq!(lines(&rows), expected, "{op} {change}");
        let worth: i64 = expected.iter().filter_map(|l| l.2).sum();
        let cart = the_cart(rows);
        assert_eq!((cart.value_minor, cart.currency.as_deref()), (Some(worth), Some("EUR")), "{op} {change}");
        assert_eq!(cart.line_counts, [2, expected.len() as i64], "{op} {change}");
        assert_eq!(cart.values_minor, [1700, worth], "{op} {change}");
        let is_unpriced = expected.iter().any(|l| l.2.is_none());
        assert_eq!(cart.flags.contains(&"unpriced_line"), is_unpriced, "{op} {change}");
    }
}

#[test]
fn a_total_counts_while_it_is_the_last_word() {
    let stated = || changed("e1", "added", json!([line("A", 1, 500)])).data("total_after", eur(450));
    assert_eq!(the_cart(of_c(vec![stated()])).value_minor, Some(450));
    let more = the_cart(of_c(vec![stated(), changed("e2", "added", json!([line("A", 1, 500)])).at_s(1)]));
    assert_eq!((more.value_minor, more.values_minor), (Some(1000), vec![450, 1000]));
    let looked = the_cart(of_c(vec![step("e0", "1").at_s(-1), stated(), step("e2", "2").at_s(1)]));
    assert_eq!((looked.value_minor, looked.values_minor), (Some(450), vec![0, 450, 450]), "a step changes no value");
    let dollars = json!({"amount_minor": 5, "currency": "USD"});
    let dollars = changed("e2", "added", json!([{"sku": "B", "quantity": 1, "total": dollars}])).at_s(1);
    let foreign = the_cart(of_c(vec![stated(), dollars]));
    assert_eq!((foreign.value_minor, foreign.flags), (Some(500), vec!["foreign_currency", "unpriced_line"]));
}

#[test]
fn additions_that_say_not_what_fill_a_cart() {
    let added = |id: &str, at| Told::new("web.cart.changed", id).data("op", "added").at_s(at);
    let cart = the_cart(of_c(vec![added("e1", 0), added("e2", 1)]));
    assert_eq!((cart.line_counts, cart.value_minor, cart.flags), (vec![1, 2], None, vec!["unlisted_lines"]));
    assert!(cart.values_minor.is_empty(), "no amount is known");
    let removed = Told::new("web.cart.changed", "e3").data("op", "removed").at_s(2);
    let cart = the_cart(of_c(vec![added("e1", 0), removed]));
    assert_eq!((cart.line_counts, cart.flags), (vec![1, 0], vec![]));
}

#[test]
fn how_far_a_checkout_came() {
    for (steps, furthest) in [
        (vec!["shipping", "payment", "shipping"], "payment"),
        (vec!["payment", "shipping"], "shipping"),
        (vec!["1", "2", "10", "3"], "10"),
        (vec!["2", "address", "1"], "1"),
    ] {
        let mut told = vec![changed("e", "added", json!([line("A", 1, 500)]))];
        told.extend(steps.iter().enumerate().map(|(n, name)| step(&format!("s{n}"), name).at_s(1 + n as i64)));
        assert_eq!(the_cart(of_c(told)).furthest_step.as_deref(), Some(furthest), "{steps:?}");
    }
    assert_eq!(of_c(vec![step("s", "1")]), CartRows::default(), "a checkout alone makes no cart");
}

#[test]
fn pauses_count_while_something_is_in_it() {
    let told = vec![
        changed("e1", "added", json!([line("A", 1, 500)])),
        step("e2", "1").at_s(10),
        changed("e3", "emptied", Value::Null).at_s(40),
        changed("e4", "added", json!([line("A", 1, 500)])).at_s(1_000),
        changed("e5", "added", json!([line("A", 1, 500)])).at_s(1_005),
    ];
    let cart = the_cart(of_c(told));
    assert_eq!(cart.longest_idle_us, [0, 10, 30, 30, 30].map(|s| s * SECOND));
    assert_eq!(cart.line_counts, [1, 1, 0, 1, 1]);
    assert_eq!(cart.active_at.len(), 5);
}

#[test]
fn which_cart_an_event_is_about() {
    let added = || changed("e", "added", json!([line("A", 1, 500)]));
    let all = || added().data("cart_id", "1").data("session_id", "1").data("checkout_id", "1");
    for (told, expected) in [
        (all(), Some("cart")),
        (all().data("cart_id", Value::Null), Some("session")),
        (all().data("cart_id", "").data("session_id", ""), Some("checkout")),
        (added().attribute("correlationid", "cart:1").data("session_id", "1"), Some("cart")),
        (all().data("cart_id", "2").attribute("correlationid", "cart:1"), None),
        (added(), None),
    ] {
        for kind in ["cart", "session", "checkout"] {
            let rows = rows(kind, "1", vec![told.clone()]);
            assert_eq!(rows.cart.is_some(), expected == Some(kind), "{kind} {:?}", told.clone().json());
        }
    }
    let cart = the_cart(rows("cart", "1", vec![all(), all().attribute("id", "f").data("session_id", "2").at_s(1)]));
    assert_eq!((cart.session_ids, cart.session_id.as_deref()), (vec!["1".into(), "2".into()], Some("2")));
    assert_eq!((cart.checkout_ids, cart.checkout_id.as_deref()), (vec!["1".into()], Some("1")));
}

fn of_session(told: Vec<Told>) -> SessionRows {
    let events = records(told);
    let facts: Vec<Fact<'_>> = events.iter().map(fact).collect();
    session("s", facts.iter().find_map(|f| f.subject_id), &facts, false)
}

#[test]
fn what_a_session_did_counts_once() {
    let added = || changed("e3", "added", json!([line("B", 1, 500)])).data("session_id", "s").at_s(20);
    let first = of_session(vec![viewed("e1", "A", "s"), added()]);
    let more = of_session(vec![
        viewed("e1", "A", "s"),
        viewed("e2", "A", "s").at_s(10),
        added(),
        added().attribute("id", "e4").at_s(30),
    ]);
    assert_eq!(first, more, "the same again changes no row");
    let session = first.session.expect("a session");
    assert_eq!((session.viewed_at.is_some(), session.carted_at.is_some(), session.checkout_at), (true, true, None));
    assert_eq!(session.set_by, domain::ids::event_id("test", "e3"));
    let seen: Vec<_> =
        first.products.iter().map(|p| (p.sku.as_str(), p.viewed_at.is_some(), p.carted_at.is_some())).collect();
    assert_eq!(seen, [("A", true, false), ("B", false, true)]);
    let order = Told::order_placed("o").data("session_id", "s").subject("email:a@example.com");
    assert_eq!(of_session(vec![order.clone()]), SessionRows::default(), "the orders know what was bought");
    let known = of_session(vec![viewed("e1", "A", "s").at_s(60), order]);
    assert!(known.session.expect("a session").subject_id.is_some(), "an order tells whose it is");
    for nothing in ["removed", "emptied", "set"] {
        let told = changed("e", nothing, json!([])).data("session_id", "s");
        assert_eq!(of_session(vec![told]), SessionRows::default(), "{nothing}");
    }
    assert_eq!(of_session(vec![viewed("e1", "A", "t")]), SessionRows::default());
}

/// Whether an event states what is in a cart is worth.
fn says_total(event: &Event) -> bool {
    use rapport_proto::v1::interaction::Data;
    matches!(&event.interaction.wire.data, Some(Data::WebCartChanged(change)) if change.total_after.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever happens to a cart and in whichever order it is told, its parts agree, and later facts leave the past alone.
    #[test]
    fn the_parts_of_a_cart_agree(records in history()) {
        let survivors = surviving(&records);
        for entity in ["cart", "session", "checkout"].map(|kind| Entity { kind, key: "1".to_owned() }) {
            let facts: Vec<Fact<'_>> =
                survivors.iter().filter(|e| e.interaction.entities.contains(&entity)).map(fact).collect();
            let mut before: Option<Cart> = None;
            for count in 0..=facts.len() {
                let rows = cart(&entity, None, &facts[..count], false);
                let Some(now) = rows.cart else { continue };
                prop_assert!(now.active_at.is_sorted() && now.longest_idle_us.is_sorted());
                prop_assert_eq!(now.active_at.len(), now.line_counts.len());
                prop_assert_eq!(now.active_at.len(), now.longest_idle_us.len());
                let valued = if now.currency.is_some() { now.active_at.len() } else { 0 };
                prop_assert_eq!(now.values_minor.len(), valued);
                prop_assert_eq!(now.values_minor.last(), now.value_minor.as_ref());
                let priced: i128 = rows.lines.iter().filter_map(|l| l.value_minor).map(i128::from).sum();
                let stated = survivors.iter().any(says_total);
                let is_sum = now.value_minor.map(i128::from) == Some(priced);
                let flagged = now.flags.contains(&"amount_out_of_range");
                prop_assert!(stated || flagged || valued == 0 || is_sum, "{:?} of {:?}", now.value_minor, rows.lines);
                let quantities: Vec<String> = rows.lines.iter().map(|l| l.quantity.to_plain()).collect();
                prop_assert!(quantities.iter().all(|q| !q.starts_with('-') && q != "0"), "{:?}", quantities);
                let listed = rows.lines.len() as i64;
                let last = now.line_counts.last().copied().unwrap_or_default();
                prop_assert_eq!(last > listed, now.flags.contains(&"unlisted_lines"));
                if let Some(before) = before {
                    prop_assert!(now.active_at.starts_with(&before.active_at));
                    prop_assert!(now.line_counts.starts_with(&before.line_counts));
                    prop_assert!(now.longest_idle_us.starts_with(&before.longest_idle_us));
                    let same_money = now.currency == before.currency;
                    prop_assert!(!same_money || now.values_minor.starts_with(&before.values_minor));
                }
                before = Some(now);
            }
        }
    }
}

async fn open(told: Vec<Told>) -> Direct<Sales> {
    let mut db = Direct::open(&test_kit::postgres().await, Sales, NAMESPACE).await.expect("a database of its own");
    assert_eq!(db.fold(records(told)).await.expect("folded"), 0);
    db
}

/// A view as of now and the function that takes the time say the same of the present time: each is written out on its own.
async fn functions_say_what_their_views_say(db: &mut Direct<Sales>) {
    // In one transaction it stays now.
    let mut tx = sqlx::Connection::begin(&mut db.connection).await.expect("a transaction");
    for view in ["carts", "cart_funnel"] {
        let sql = format!(
            "WITH of_view AS (TABLE sales.{view}), of_function AS (SELECT * FROM sales.{view}_at(now())),
                missing AS (TABLE of_view EXCEPT ALL TABLE of_function),
                unexpected AS (TABLE of_function EXCEPT ALL TABLE of_view)
             SELECT (SELECT count(*) FROM of_view), (SELECT json_agg(m)::text FROM missing AS m),
                (SELECT json_agg(u)::text FROM unexpected AS u)"
        );
        let (count, missing, unexpected): (i64, Option<String>, Option<String>) =
            sqlx::query_as(&sql).fetch_one(&mut *tx).await.expect("both answer");
        assert!(count > 0, "{view} has rows");
        assert_eq!((missing, unexpected), (None, None), "of {view}, and of {view}_at instead");
    }
}

/// `minutes` after the beginning, as SQL.
fn after(minutes: i64) -> String {
    format!("to_timestamp({})", test_kit::BASE_TIME + minutes * MINUTE)
}

async fn state(db: &mut Direct<Sales>, cart: &str, minutes: i64, idle_min: i64) -> Option<String> {
    let sql = format!("SELECT state FROM sales.carts_at({}, {idle_min}) WHERE cart_id = '{cart}'", after(minutes));
    sqlx::query_scalar(&sql).fetch_optional(&mut db.connection).await.expect("a state")
}

#[tokio::test]
async fn states_of_carts_over_time() {
    let added = |id: &str, minutes: i64| changed(id, "added", json!([line("A", 1, 500)])).at_s(minutes * MINUTE);
    let of = |cart: &str, told: Told| told.data("cart_id", cart);
    let order =
        |id: &str, cart: &str, minutes: i64| Told::order_placed(id).data("cart_id", cart).at_s(minutes * MINUTE);
    let mut db = open(vec![
        of("left", added("e1", 0)),
        of("left", step("e2", "1")).at_s(10 * MINUTE),
        of("bought", added("e3", 0)),
        order("o1", "bought", 30),
        of("bought", added("e4", 300)),
        of("late", added("e5", 0)),
        order("o2", "late", 120),
        of("back", added("e6", 0)),
        of("back", added("e7", 90)),
        order("o3", "back", 100),
        of("emptied", added("e8", 0)),
        of("emptied", changed("e9", "emptied", Value::Null)).at_s(5 * MINUTE),
        of("before", added("e10", 60)),
        order("o4", "before", 0),
    ])
    .await;
    for (cart, minutes, idle_min, expected) in [
        ("left", -1, 60, None),
        ("left", 30, 60, Some("open")),
        ("left", 70, 60, Some("open")),
        ("left", 71, 60, Some("abandoned")),
        ("left", 71, 61, Some("open")),
        ("left", 30, 15, Some("abandoned")),
        ("bought", 29, 60, Some("open")),
        ("bought", 30, 60, Some("purchased")),
        ("bought", 900, 60, Some("purchased")),
        ("bought", 900, 20, Some("recovered")),
        ("late", 90, 60, Some("abandoned")),
        ("late", 121, 60, Some("recovered")),
        ("late", 121, 120, Some("purchased")),
        ("back", 95, 60, Some("open")),
        ("back", 101, 60, Some("recovered")),
        ("back", 101, 90, Some("purchased")),
        ("emptied", 1, 60, Some("open")),
        ("emptied", 5, 60, Some("emptied")),
        ("emptied", 500, 60, Some("emptied")),
        ("before", 61, 60, Some("purchased")),
    ] {
        let got = state(&mut db, cart, minutes, idle_min).await;
        assert_eq!(got.as_deref(), expected, "{cart} after {minutes} minutes, idle after {idle_min}");
    }
    functions_say_what_their_views_say(&mut db).await;
}

/// An order names a cart by its `cart_id`, by a session or by a checkout of it, in whichever order they are told.
#[tokio::test]
async fn an_order_names_a_cart_by_any_name() {
    let added = |id: &str| changed(id, "added", json!([line("A", 1, 500)]));
    // (what names the cart, what names it in the order, is it bought)
    for (n, (cart, order, is_bought)) in [
        (json!({"cart_id": "1"}), json!({"cart_id": "1"}), true),
        (json!({"session_id": "1"}), json!({"session_id": "1"}), true),
        (json!({"checkout_id": "1"}), json!({"checkout_id": "1"}), true),
        (json!({"cart_id": "1", "session_id": "2"}), json!({"session_id": "2"}), true),
        (json!({"cart_id": "1", "checkout_id": "3"}), json!({"checkout_id": "3"}), true),
        (json!({"session_id": "2", "checkout_id": "3"}), json!({"checkout_id": "3"}), true),
        (json!({"session_id": "2"}), json!({"cart_id": "9", "session_id": "2"}), true),
        (json!({"cart_id": "1", "session_id": "2"}), json!({"cart_id": "9", "session_id": "2"}), false),
        (json!({"cart_id": "1"}), json!({"session_id": "1", "checkout_id": "1"}), false),
        (json!({"session_id": "1"}), json!({"cart_id": "1", "checkout_id": "1"}), false),
        (json!({"session_id": "1"}), json!({}), false),
    ]
    .into_iter()
    .enumerate()
    {
        let name = |mut told: Told, names: &Value| {
            for (field, id) in names.as_object().into_iter().flatten() {
                told = told.data(field, id.clone());
            }
            told
        };
        let order_at = if n % 2 == 0 { 60 } else { -60 };
        let told = vec![name(added("e"), &cart), name(Told::order_placed("o"), &order).at_s(order_at)];
        let mut db = open(told).await;
        let sql = format!("SELECT count(*), count(order_id) FROM sales.carts_at({})", after(10));
        let row = sqlx::query(&sql).fetch_one(&mut db.connection).await.expect("counts");
        let counts: (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(counts, (1, i64::from(is_bought)), "{cart} {order}");
    }
}

#[tokio::test]
async fn the_funnel_and_what_if() {
    let added = |id: &str, session: &str| changed(id, "added", json!([line("A", 1, 500)])).data("session_id", session);
    let order = |id: &str, session: &str| Told::order_placed(id).data("session_id", session).at_s(60);
    let mut db = open(vec![
        viewed("v1", "A", "s1"),
        viewed("v2", "B", "s1"),
        viewed("v3", "A", "s2"),
        added("c1", "s1"),
        added("c3", "s3"),
        added("c4", "s4"),
        added("c5", "s5"),
        changed("c6", "added", json!([line("B", 1, 500)])),
        step("k1", "1").data("session_id", "s1"),
        step("k2", "2").data("session_id", "s1"),
        step("k3", "1").data("session_id", "s3"),
        order("o1", "s1"),
        order("o2", "s6"),
    ])
    .await;
    const FUNNEL: &str = "viewed, carted, carted_unviewed, checkout, paid, carts, carts_purchased, carts_abandoned";
    let funnel = |minutes: i64, what_if: &str| {
        format!(
            "SELECT concat_ws(' ', {FUNNEL}, '|', carted_rate, conversion_rate, abandonment_rate, '|', currency,
                abandoned_value_minor, revenue_minor, what_if_abandonment_rate, what_if_revenue_minor, what_if_revenue)
             FROM sales.cart_funnel_at({}, 60, {what_if})",
            after(minutes)
        )
    };
    for (minutes, what_if, expected) in [
        // Four carts, for a change without any name is of none; three are abandoned: 10000 x (1 - 0.5) / (1 - 0.75).
        (90, "0.5", "2 4 3 2 2 4 1 3 | 2.0000 1.0000 0.7500 | EUR 1500 10000 0.5 20000 200.00"),
        (90, "NULL", "2 4 3 2 2 4 1 3 | 2.0000 1.0000 0.7500 | EUR 1500 10000 0.3750 25000 250.00"),
        // Nothing is abandoned yet.
        (2, "NULL", "2 4 3 2 2 4 1 0 | 2.0000 1.0000 0.0000 | EUR 0 10000 0.0000 10000 100.00"),
        // Nothing has happened yet: no rate, no amount.
        (-10, "NULL", "0 0 0 0 0 0 0 0 | |"),
    ] {
        let sql = funnel(minutes, what_if);
        let got: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut db.connection).await.expect("the funnel");
        assert_eq!(got, [expected], "{minutes} {what_if}");
    }
    let products = "SELECT concat_ws(' ', sku, viewed, carted, bought) FROM sales.product_sessions ORDER BY sku";
    let got: Vec<String> = sqlx::query_scalar(products).fetch_all(&mut db.connection).await.expect("the products");
    assert_eq!(got, ["A 2 4 2", "B 1 0 0"]);
    functions_say_what_their_views_say(&mut db).await;
}

async fn texts(db: &mut Direct<Sales>, sql: &str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(&mut db.connection).await.expect("an answer")
}

/// Currency, its bought and its abandoned carts, revenue, the rate supposed, and what it would bring.
fn what_if(minutes: i64, abandonment: &str) -> String {
    format!(
        "SELECT concat_ws(' ', currency, bought_in_currency, abandoned_in_currency, '|', revenue_minor,
            what_if_abandonment_rate, COALESCE(what_if_revenue_minor::text, 'unknown'))
         FROM sales.cart_funnel_at({}, 60, {abandonment}) ORDER BY currency",
        after(minutes)
    )
}

/// Six abandoned carts in dollars say nothing about what a cart in euros would bring.
#[tokio::test]
async fn a_what_if_counts_the_carts_of_its_currency() {
    let usd = |amount: i64| json!({"amount_minor": amount, "currency": "USD"});
    let added = |cart: &str, currency: &str| {
        let price = json!({"amount_minor": 500, "currency": currency});
        let line = json!({"sku": "A", "quantity": 1, "unit_price": price});
        changed(&format!("add {cart}"), "added", json!([line])).data("cart_id", cart)
    };
    let order = |cart: &str| Told::order_placed(&format!("order {cart}")).data("cart_id", cart).at_s(MINUTE);
    let in_usd = |told: Told| told.data("total", usd(3000)).data("lines", json!([]));
    let mut db = open(vec![
        added("e1", "EUR"),
        order("e1"),
        added("e2", "EUR"),
        added("u1", "USD"),
        in_usd(order("u1")),
        added("u2", "USD"),
        added("u3", "USD"),
        added("u4", "USD"),
        added("g1", "GBP"),
        // Of this one no amount is known: once it is abandoned, it may be of any currency.
        changed("add n1", "added", Value::Null).data("cart_id", "n1").at_s(100 * MINUTE),
    ])
    .await;
    for (minutes, abandonment, expected) in [
        (90, "0.25", ["EUR 1 1 | 10000 0.25 15000", "GBP 0 1 | 0 0.25 unknown", "USD 1 3 | 3000 0.25 9000"]),
        (90, "NULL", ["EUR 1 1 | 10000 0.2500 15000", "GBP 0 1 | 0 0.5000 unknown", "USD 1 3 | 3000 0.3750 7500"]),
        (200, "0.25", ["EUR 1 2 | 10000 0.25 22500", "GBP 0 2 | 0 0.25 unknown", "USD 1 4 | 3000 0.25 11250"]),
    ] {
        assert_eq!(texts(&mut db, &what_if(minutes, abandonment)).await, expected, "{minutes} {abandonment}");
    }
    functions_say_what_their_views_say(&mut db).await;
}

#[tokio::test]
async fn a_share_of_abandoned_carts_lies_between_none_and_all() {
    let mut db = open(vec![changed("e", "added", json!([line("A", 1, 500)])).data("cart_id", "c")]).await;
    for share in ["0", "1", "0.5", "NULL"] {
        assert_eq!(texts(&mut db, &what_if(90, share)).await.len(), 1, "{share}");
    }
    for share in ["-0.01", "1.01", "80", "'NaN'"] {
        let error = sqlx::query(&what_if(90, share)).fetch_all(&mut db.connection).await.expect_err("a refusal");
        let refusal = error.as_database_error().expect("of PostgreSQL");
        assert_eq!(refusal.code().as_deref(), Some("22023"), "{share}");
        assert!(refusal.message().starts_with("abandonment is a share of carts from 0 to 1, not "), "{refusal}");
    }
}

/// What is asked of a past time is answered as it was answered then, whatever happened since.
#[tokio::test]
async fn a_past_time_can_be_asked_again() {
    const CART: &str = "state, line_count, value_minor, value, last_activity_at, order_id, purchased_at";
    let added = |id: &str, cart: &str| changed(id, "added", json!([line("A", 1, 500)])).data("cart_id", cart);
    let about =
        |kind: &'static str, id: &str, minutes: i64| Told::new(kind, id).data("order_id", "o").at_s(minutes * MINUTE);
    let refunded = |id: &str, amount: i64, minutes: i64| {
        about("payment.recorded", id, minutes).data("kind", "refunded").data("amount", eur(amount))
    };
    let mut db = open(vec![
        added("e1", "left"),
        added("e2", "bought"),
        Told::order_placed("o").data("cart_id", "bought").data("discount", eur(1000)).at_s(MINUTE),
        refunded("r1", 500, 80),
    ])
    .await;
    let carts = format!("SELECT concat_ws(' ', cart_id, {CART}) FROM sales.carts_at({}) ORDER BY cart_id", after(90));
    let money = |minutes: i64| {
        format!(
            "SELECT concat_ws(' ', abandoned_value_minor, revenue_minor) FROM sales.cart_funnel_at({})",
            after(minutes)
        )
    };
    let (carts_then, money_then) = (texts(&mut db, &carts).await, texts(&mut db, &money(90)).await);
    assert!(carts_then[1].starts_with("left abandoned 1 500 5.00 "), "{carts_then:?}");
    assert_eq!(money_then, ["500 8500"]);
    functions_say_what_their_views_say(&mut db).await;
    assert_eq!(texts(&mut db, &money(79)).await, ["500 9000"], "before the refund");
    let later = vec![
        added("e3", "left").data("total_after", eur(4000)).at_s(100 * MINUTE),
        refunded("r2", 2000, 110),
        about("order.cancelled", "x", 120),
    ];
    db.fold(records(later)).await.expect("folded");
    assert_eq!(texts(&mut db, &carts).await, carts_then);
    assert_eq!(texts(&mut db, &money(90)).await, money_then);
    for (minutes, expected) in [(115, "0 6500"), (119, "0 6500"), (170, "4000 0")] {
        assert_eq!(texts(&mut db, &money(minutes)).await, [expected], "{minutes}");
    }
    functions_say_what_their_views_say(&mut db).await;
}

/// A function that takes a time gives rows of the view, whichever columns that gains.
#[tokio::test]
async fn functions_of_time_give_rows_of_their_view() {
    let long_ago = -10 * 365 * 24 * 60 * MINUTE;
    let added = changed("e", "added", json!([line("A", 1, 500)])).data("cart_id", "c").at_s(long_ago);
    let mut db = open(vec![added]).await;
    for view in ["carts", "cart_funnel"] {
        let same_type = format!(
            "SELECT count(*)::text FROM pg_proc WHERE pronamespace = 'sales'::regnamespace AND proname = '{view}_at'
                AND prorettype = (SELECT reltype FROM pg_class WHERE oid = 'sales.{view}'::regclass)"
        );
        assert_eq!(texts(&mut db, &same_type).await, ["1"], "{view}");
    }
    functions_say_what_their_views_say(&mut db).await;
}

#[tokio::test]
async fn what_sells() {
    let costs = |mut line: Value, cost: i64| {
        line["cost"] = eur(cost);
        line
    };
    let order = |id: &str, lines: Value| Told::order_placed(id).data("lines", lines);
    let mut db = open(vec![
        order("o1", json!([costs(line("A", 2, 500), 600), costs(line("A", 1, 500), 300), line("B", 1, 700)])),
        order("o2", json!([costs(line("A", 1, 450), 300)])),
        order("o3", json!([line("A", 9, 500)])),
        Told::new("order.cancelled", "x").data("order_id", "o3").at_s(60),
        Told::new("order.changed", "y").data("order_id", "o4").data("lines", json!([line("A", 9, 500)])),
        Told::new("return.received", "r")
            .data("order_id", "o1")
            .data("lines", json!([{"sku": "A", "quantity": 1}]))
            .data("refund", eur(500))
            .at_s(120),
    ])
    .await;
    let sql = "SELECT concat_ws(' ', sku, currency, orders, lines, units, revenue, margin, returns, return_rate, lines_without_cost)
               FROM sales.product_performance ORDER BY sku";
    let got: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut db.connection).await.expect("the products");
    assert_eq!(got, ["A EUR 2 3 4 19.50 7.50 1 0.2500 0", "B EUR 1 1 1 7.00 0 0.0000 1"]);
}

/// Whether a plan reads a table whole, or an index from one end to the other, which is one without a condition. That is what
/// PostgreSQL turns to where `enable_seqscan` is off.
fn reads_whole(plan: &[String]) -> bool {
    let next = plan.iter().skip(1).map(String::as_str).chain([""]);
    plan.iter().zip(next).any(|(line, next)| {
        let is_index = line.contains("Index") && line.contains(" Scan ");
        line.contains("Seq Scan") || is_index && !next.contains("Index Cond:")
    })
}

/// Keys are looked up by index, through the view and through the function.
#[tokio::test]
async fn keys_are_looked_up_by_index() {
    let mut db = open(vec![changed("e", "added", json!([line("A", 1, 500)])).data("cart_id", "c")]).await;
    sqlx::query("SET enable_seqscan = off").execute(&mut db.connection).await.expect("set");
    let nobody = "'00000000-0000-0000-0000-000000000000'";
    for from in
        ["sales.carts", "sales.carts_at(now(), 30)", "sales.cart_contents", "sales.cart_lines", "sales.sessions"]
    {
        for (column, value) in [("cart_id", "'c'"), ("session_id", "'s'"), ("subject_id", nobody)] {
            if from == "sales.cart_lines" && column != "cart_id" || from == "sales.sessions" && column == "cart_id" {
                continue;
            }
            let sql = format!("EXPLAIN SELECT * FROM {from} WHERE {column} = {value}");
            let plan: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut db.connection).await.expect("a plan");
            let is_asked = plan.iter().any(|line| line.contains(&format!("{column} = {value}")));
            assert!(is_asked && !reads_whole(&plan), "{from} {column}\n{}", plan.join("\n"));
        }
    }
}

/// Every view is digested, or depends on when one asks; every table shows in a digested view, or is bookkeeping.
#[tokio::test]
async fn every_view_is_digested_or_depends_on_now() {
    use projection::ReadModel as _;
    const DEPEND_ON_NOW: [&str; 2] = ["cart_funnel", "carts"];
    const BOOKKEEPING: [&str; 3] = ["entities", "facts", "voids"];
    let mut db = open(Vec::new()).await;
    let mut known: Vec<&str> = Sales.digested().iter().map(|(view, _)| *view).chain(DEPEND_ON_NOW).collect();
    known.sort_unstable();
    let views = "SELECT relname::text FROM pg_class WHERE relnamespace = 'sales'::regnamespace ORDER BY relname::text COLLATE \"C\"";
    let views: Vec<String> = sqlx::query_scalar(views).fetch_all(&mut db.connection).await.expect("the views");
    assert_eq!(views, known);
    let shown = "SELECT t.relname::text FROM pg_class t WHERE t.relkind = 'r' AND t.relnamespace = $1::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
            JOIN pg_class v ON r.ev_class = v.oid WHERE d.refobjid = t.oid AND v.relname = ANY($2)
            AND v.relnamespace = 'sales'::regnamespace)
        ORDER BY t.relname::text COLLATE \"C\"";
    let digested: Vec<&str> = Sales.digested().iter().map(|(view, _)| *view).collect();
    let schema = db.generation().schema.clone();
    let hidden: Vec<String> =
        sqlx::query_scalar(shown).bind(schema).bind(digested).fetch_all(&mut db.connection).await.expect("the tables");
    assert_eq!(hidden, BOOKKEEPING);
}
