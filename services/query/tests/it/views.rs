//! The views over more than one model: there by themselves, kept there, and walked by indexes.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use test_kit::Event;

use crate::{asking::rows, plans::whole, world::World};

const BY_CUSTOMER: &str = "/api/v1/reports/sales.orders_by_customer";

fn places(answer: &Value) -> Vec<(String, String)> {
    let of = |row: &Value, name: &str| row[name].as_str().unwrap_or("none").to_owned();
    let rows = answer["rows"].as_array().expect("rows");
    rows.iter().map(|row| (of(row, "order_id"), of(row, "new_or_repeat"))).collect()
}

/// Two people, then one: a late earlier order and a merge renumber; an order of nobody is neither new nor repeat.
#[tokio::test(flavor = "multi_thread")]
async fn new_and_repeat_follow_the_customer() {
    let mut world = World::start().await;
    world.ready().await;
    let (ann, work) = ("email:ann@example.com", "email:ann@work.example");
    let position = world
        .publish([
            Event::order_placed("o-2").subject(ann).at_s(200),
            Event::order_placed("o-3").subject(work).at_s(300),
            Event::order_placed("o-4").at_s(400),
            Event::payment_recorded("p-5", "o-5").subject(work).at_s(10),
        ])
        .await;
    let check = async |world: &World, position: &_, expected: [(&str, &str); 3]| {
        let answer = world.get_at(BY_CUSTOMER, position).await;
        let found = places(&answer.body);
        for (order, place) in expected {
            assert!(found.contains(&(order.to_owned(), place.to_owned())), "{order} {place}: {found:?}");
        }
        answer.body
    };
    let body = check(&world, &position, [("o-2", "new"), ("o-3", "new"), ("o-4", "none")]).await;
    assert!(places(&body).contains(&("o-5".into(), "none".into())), "never placed: {body}");
    let position = world
        .publish([Event::order_placed("o-1").subject(work).at_s(100), Event::link_asserted("l-1", ann, work).at_s(500)])
        .await;
    let body = check(&world, &position, [("o-1", "new"), ("o-2", "repeat"), ("o-3", "repeat")]).await;
    let id = body["rows"][0]["customer_id"].as_str().expect("a customer").to_owned();
    let own = world.get_at(&format!("{BY_CUSTOMER}?customer_id={id}"), &position).await;
    assert_eq!(rows(&own.body["rows"], "order_id"), ["o-1", "o-2", "o-3", "o-5"], "{}", own.body);
    assert_eq!(own.body["rows"][2]["customer_order_no"], json!(3));
    let buyers = world.get_at("/api/v1/reports/sales.product_performance_by_customer", &position).await;
    let row = &buyers.body["rows"][0];
    assert_eq!(
        (&row["buyers"], &row["repeat_buyers"], &row["orders"], &row["orders_without_customer"]),
        (&json!(1), &json!(1), &json!(4), &json!(1)),
        "{}",
        buyers.body
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wide_row_a_customer() {
    let mut world = World::start().await;
    world.ready().await;
    let ann = "email:ann@example.com";
    let position = world
        .publish([
            Event::order_placed("o-1").subject(ann),
            Event::page_viewed("v-1").subject(ann).at_s(10),
            Event::page_viewed("v-2").subject("device_id:d1").identifiers(ann).at_s(20),
            Event::case_opened("k-1").subject(ann).at_s(30),
            Event::case_opened("k-2").subject(ann).at_s(40),
            Event::case_changed("k-2-solved", "k-2", "solved").at_s(50),
            Event::order_placed("o-2").subject(ann).at_s(60),
            Event::new("order.cancelled", "x-2").data("order_id", "o-2").at_s(70),
            Event::order_placed("o-3").subject("email:bob@example.com"),
        ])
        .await;
    let page = world.page(ann, &position).await;
    let id = page["customer_id"].as_str().expect("an id");
    let path = format!("/api/v1/reports/customer360.summary?customer_id={id}");
    let row = world.get_at(&path, &position).await.body["rows"][0].clone();
    for (column, expected) in [
        ("events_web", json!(2)),
        ("orders", json!(1)),
        ("currency", json!("EUR")),
        ("net_minor", json!(10_000)),
        ("cases", json!(2)),
        ("cases_open", json!(1)),
        ("calls", json!(0)),
        ("first_seen_at", json!("2026-03-02T08:00:00+00:00")),
        ("last_seen_at", json!("2026-03-02T08:01:00+00:00")),
    ] {
        assert_eq!(row[column], expected, "{column}: {row}");
    }
    assert_eq!(row["revenue_by_currency"]["EUR"]["orders"], json!(1), "{row}");
    let all = world.get_at("/api/v1/reports/customer360.summary", &position).await;
    assert_eq!(all.body["row_count"], json!(2), "{}", all.body);
    world.stop().await;
}

/// Whatever a projector does to the views below: ours come back, and gain what those gained.
#[tokio::test(flavor = "multi_thread")]
async fn they_are_made_again() {
    let mut world = World::start().await;
    world.ready().await;
    let position = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    let definition: String = sqlx::query_scalar("SELECT pg_get_viewdef('sales.orders'::regclass)")
        .fetch_one(&mut database)
        .await
        .expect("a definition");
    let gained = definition.trim_end_matches(';').replacen("\n   FROM", ",\n 'later'::text AS later\n   FROM", 1);
    let statements = format!(
        "CREATE OR REPLACE VIEW sales.orders AS {gained}; COMMENT ON COLUMN sales.orders.later IS 'Gained.';
         DROP VIEW customer360.summary"
    );
    sqlx::raw_sql(&statements).execute(&mut database).await.expect("the view gains a column");
    let until = async |path: &str, wanted: &dyn Fn(&Value) -> bool| {
        let waiting = async {
            while !wanted(&world.get_at(path, &position).await.body) {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await.expect("the views are made again");
    };
    until(BY_CUSTOMER, &|body| body["rows"][0]["later"] == json!("later")).await;
    until("/api/v1/reports/customer360.summary", &|body| body["row_count"] == json!(1)).await;
    let last: String = sqlx::query_scalar(
        "SELECT attname || ': ' || col_description(attrelid, attnum) FROM pg_attribute
         WHERE attrelid = 'sales.orders_by_customer'::regclass AND attnum > 0 ORDER BY attnum DESC LIMIT 1",
    )
    .fetch_one(&mut database)
    .await
    .expect("a column");
    assert_eq!(last, "later: Gained.");
    world.stop().await;
}

/// A filter on the customer can go by indexes where PostgreSQL knows nothing yet of how much there is. Where it knows,
/// `access_paths` tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_on_the_customer_reads_nothing_whole() {
    let world = World::start().await;
    world.ready().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    sqlx::query("SET enable_seqscan = off").execute(&mut database).await.expect("it is set");
    for view in [
        "sales.orders_by_customer",
        "sales.order_lines_by_customer",
        "sales.carts_by_customer",
        "service.cases_by_customer",
        "service.calls_by_customer",
        "service.threads_by_customer",
        "service.waiting_by_customer",
        "service.messages_by_customer",
        "customer360.summary",
    ] {
        let id = "00000000-0000-0000-0000-000000000001";
        let found = whole(&mut database, &format!("EXPLAIN SELECT * FROM {view} WHERE customer_id = '{id}'")).await;
        assert_eq!(found, None);
    }
    world.stop().await;
}

/// What one person wrote and put into a cart under two addresses is theirs once these are one.
#[tokio::test(flavor = "multi_thread")]
async fn threads_waits_messages_and_carts_follow_the_customer() {
    let mut world = World::start().await;
    world.ready().await;
    let (ann, work) = ("email:ann@example.com", "email:ann@work.example");
    let position = world
        .publish([
            Event::order_placed("o-1").subject(ann),
            Event::email_received("m-1").subject(work).at_s(10),
            Event::cart_added("a-1", "c-1").subject(work).at_s(20),
            Event::cart_added("a-2", "c-2").at_s(25),
            Event::link_asserted("l-1", ann, work).at_s(30),
        ])
        .await;
    let id = world.page(ann, &position).await["customer_id"].as_str().expect("an id").to_owned();
    let of = async |view: &str| {
        let path = format!("/api/v1/reports/{view}?customer_id={id}");
        world.get_at(&path, &position).await.body["rows"].clone()
    };
    assert_eq!(rows(&of("sales.carts_by_customer").await, "cart_id"), ["c-1"]);
    assert_eq!(rows(&of("service.messages_by_customer").await, "message_id"), ["<m-1@example.com>"]);
    assert_eq!(rows(&of("service.waiting_by_customer").await, "state"), ["unanswered"]);
    let threads = of("service.threads_by_customer").await;
    let summary = of("customer360.summary").await;
    assert_eq!(summary[0]["messages_unanswered"], json!(1), "{summary}");
    assert!(summary[0]["unanswered_since"].is_string(), "{summary}");
    assert_eq!(rows(&summary, "unanswered_since"), rows(&threads, "unanswered_since"));
    // Nobody is known of the other cart: it is in the view, and nobody's.
    let carts = world.get_at("/api/v1/reports/sales.carts_by_customer", &position).await;
    assert_eq!(rows(&carts.body["rows"], "cart_id"), ["c-1", "c-2"], "{}", carts.body);
    assert_eq!(carts.body["rows"][1]["customer_id"], Value::Null);
    world.stop().await;
}
