//! The tables are a function of the set of events.

use std::collections::BTreeMap;

use projection::{Event, Mode, bounded::Fact, direct::Direct};
use projector_sales::{Sales, folds};
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::Row;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::history::{NAMESPACE, RECEIVED_AT, history, record, surviving};

/// Random histories folded a test.
const HISTORIES: u32 = 60;

async fn open() -> Direct<Sales> {
    Direct::open(&test_kit::postgres().await, Sales, NAMESPACE).await.expect("a database of its own")
}

/// How a history arrives: in which order, some records twice, cut where, and in which mode each batch is tried first.
#[derive(Clone, Debug)]
struct Arrival(Vec<(Event, bool, bool, u8)>);

fn arrivals() -> impl Strategy<Value = (Vec<Event>, Arrival)> {
    history().prop_flat_map(|records| {
        let one = |record: Event| (Just(record), proptest::bool::weighted(0.2), proptest::bool::weighted(0.3), 0..8u8);
        let all: Vec<_> = records.iter().cloned().map(one).collect();
        (Just(records), all)
            .prop_flat_map(|(records, told)| (Just(records), Just(told).prop_shuffle()))
            .prop_map(|(records, told)| (records, Arrival(told)))
    })
}

async fn arrive(db: &mut Direct<Sales>, arrival: Arrival) {
    let mut batch = Vec::new();
    let count = arrival.0.len();
    for (n, (record, twice, cut, mode)) in arrival.0.into_iter().enumerate() {
        batch.extend(std::iter::repeat_n(record, 1 + usize::from(twice)));
        if cut || n + 1 == count {
            let batch = std::mem::take(&mut batch);
            let tried = match mode {
                0 => db.apply(batch.clone(), Mode::Exclusive).await,
                1 => db.apply(batch.clone(), Mode::Careful).await,
                _ => Err(projection::ApplyError::NeedsCareful),
            };
            if tried.is_err() {
                assert_eq!(db.fold(batch).await.expect("the batch is folded"), 0, "nothing is set aside");
            }
        }
    }
}

/// The digest of the tables once a history has arrived in this way.
async fn digest(db: &mut Direct<Sales>, arrival: Arrival) -> String {
    db.reset().await.expect("the tables are new");
    arrive(db, arrival).await;
    let digest = db.digest().await.expect("a digest");
    format!("{digest:?}")
}

#[test]
fn any_arrival_gives_the_same_tables() {
    let runtime = Runtime::new().expect("a runtime");
    let db = std::cell::RefCell::new(runtime.block_on(open()));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&arrivals(), |(records, arrival)| {
        let db = &mut *db.borrow_mut();
        runtime.block_on(async {
            let got = digest(db, arrival).await;
            let plain = Arrival(surviving(&records).into_iter().map(|e| (e, false, false, 9)).collect());
            let expected = digest(db, plain).await;
            prop_assert_eq!(&got, &expected, "{}", dump(db).await);
            prop_assert_eq!(stored(db).await, folded(&records));
            prop_assert_eq!(stored_carts(db).await, folded_carts(&records));
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

async fn dump(db: &mut Direct<Sales>) -> String {
    let rows: Vec<String> = sqlx::query_scalar("SELECT to_json(o)::text FROM sales.orders o")
        .fetch_all(&mut db.connection)
        .await
        .expect("rows");
    rows.join("\n")
}

/// What shows of an order in this comparison.
type Shown =
    (Option<Uuid>, Option<i64>, Option<i64>, i64, Option<i64>, Option<i64>, String, Vec<String>, Uuid, i64, i64);

async fn stored(db: &mut Direct<Sales>) -> BTreeMap<String, Shown> {
    const SQL: &str =
        "SELECT order_id, subject_id, (extract(epoch FROM placed_at) * 1000000)::bigint, gross_minor, refunds_minor,
        net_minor, margin_minor, payment_state, flags, set_by,
        (SELECT count(*) FROM sales.order_lines l WHERE l.order_id = o.order_id),
        (SELECT count(*) FROM sales.order_refunds r WHERE r.order_id = o.order_id)
        FROM sales.orders o";
    let rows = sqlx::query(SQL).fetch_all(&mut db.connection).await.expect("the orders");
    let shown = |r: &sqlx::postgres::PgRow| {
        (r.get(1), r.get(2), r.get(3), r.get(4), r.get(5), r.get(6), r.get(7), r.get(8), r.get(9), r.get(10), r.get(11))
    };
    rows.iter().map(|r| (r.get(0), shown(r))).collect()
}

/// The same by folding what survives, order by order.
fn folded(records: &[Event]) -> BTreeMap<String, Shown> {
    let facts = surviving(records);
    let mut all = BTreeMap::new();
    for id in ["o1", "o2", "o3"] {
        let named = facts.iter().filter(|e| e.interaction.entities.iter().any(|n| n.kind == "order" && n.key == id));
        let facts: Vec<Fact<'_>> = named
            .map(|e| Fact {
                stamp: &e.interaction.stamp,
                subject_id: e.interaction.subject.as_ref().map(|s| s.id),
                wire: &e.interaction.wire,
            })
            .collect();
        let rows = folds::order(id, facts.iter().find_map(|f| f.subject_id), &facts, false);
        if let Some(o) = rows.order {
            let flags = o.flags.iter().map(|f| (*f).to_owned()).collect();
            let (lines, refunds) = (rows.lines.len() as i64, rows.refunds.len() as i64);
            let state = o.payment_state.to_owned();
            let shown = (
                o.subject_id,
                o.placed_at,
                o.gross_minor,
                o.refunds_minor,
                o.net_minor,
                o.margin_minor,
                state,
                flags,
                o.set_by,
                lines,
                refunds,
            );
            all.insert(id.to_owned(), shown);
        }
    }
    all
}

/// What shows of a cart in this comparison: owner, value, lines and value after each act, longest pauses, furthest step,
/// flags, who set it, how many skus it has.
type ShownCart = (Option<Uuid>, Option<i64>, Vec<i64>, Vec<i64>, Vec<i64>, Option<String>, Vec<String>, Uuid, i64);

/// By what names them, and by that name.
type Carts = BTreeMap<(String, String), ShownCart>;

async fn stored_carts(db: &mut Direct<Sales>) -> Carts {
    const SQL: &str =
        "SELECT named_by, cart_id, subject_id, value_minor, line_counts, values_minor, longest_idle_us, furthest_step,
        flags, set_by, (SELECT count(*) FROM sales.cart_lines l WHERE (l.named_by, l.cart_id) = (c.named_by, c.cart_id))
        FROM sales.cart_contents c";
    let rows = sqlx::query(SQL).fetch_all(&mut db.connection).await.expect("the carts");
    let shown = |r: &sqlx::postgres::PgRow| {
        (r.get(2), r.get(3), r.get(4), r.get(5), r.get(6), r.get(7), r.get(8), r.get(9), r.get(10))
    };
    rows.iter().map(|r| ((r.get(0), r.get(1)), shown(r))).collect()
}

/// The same by folding what survives, cart by cart.
fn folded_carts(records: &[Event]) -> Carts {
    let survivors = surviving(records);
    let mut all = BTreeMap::new();
    for (kind, key) in ["cart", "session", "checkout"].into_iter().flat_map(|kind| ["1", "2"].map(|key| (kind, key))) {
        let entity = domain::Entity { kind, key: key.to_owned() };
        let facts: Vec<Fact<'_>> =
            survivors.iter().filter(|e| e.interaction.entities.contains(&entity)).map(crate::carts::fact).collect();
        let rows = folds::cart(&entity, facts.iter().find_map(|f| f.subject_id), &facts, false);
        if let Some(c) = rows.cart {
            let flags = c.flags.iter().map(|f| (*f).to_owned()).collect();
            let shown = (
                c.subject_id,
                c.value_minor,
                c.line_counts,
                c.values_minor,
                c.longest_idle_us,
                c.furthest_step,
                flags,
                c.set_by,
                rows.lines.len() as i64,
            );
            all.insert((format!("{kind}_id"), c.cart_id), shown);
        }
    }
    all
}

/// Two workers, each with half of the records of the same few orders, at the same time.
#[tokio::test]
async fn two_workers_at_once_give_the_same_tables() {
    let url = test_kit::postgres().await;
    let mut one = Direct::open(&url, Sales, NAMESPACE).await.expect("a first worker");
    let mut two = Direct::open(&url, Sales, NAMESPACE).await.expect("a second worker");
    let events: Vec<Event> = (0..600)
        .map(|n| {
            let told = test_kit::Event::payment_recorded(&format!("e{}", n % 400), &format!("o{}", n % 7)).at_s(n % 50);
            record(&told.json(), RECEIVED_AT + n % 3, n)
        })
        .collect();
    let (left, right): (Vec<_>, Vec<_>) = events.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    let work = |mut db: Direct<Sales>, events: Vec<(usize, Event)>| async move {
        for batch in events.chunks(10) {
            db.fold(batch.iter().map(|(_, e)| e.clone()).collect()).await.expect("a batch is folded");
        }
        db
    };
    let (left, right) = tokio::join!(work(one, left), work(two, right));
    (one, two) = (left, right);
    let together = one.digest().await.expect("a digest");
    two.reset().await.expect("new tables");
    two.fold(surviving(&events)).await.expect("one batch");
    assert_eq!(together, two.digest().await.expect("a digest"));
}

/// Beyond the cap the first facts count, whatever the arrival.
#[tokio::test]
async fn the_first_ten_thousand_facts_of_an_order_count() {
    let mut db = open().await;
    let max = projection::bounded::FACTS_MAX as i64;
    let payment = |n: i64| {
        record(&test_kit::Event::payment_recorded(&format!("e{n}"), "o").at_s(n).json(), RECEIVED_AT + n * 1_000_000, n)
    };
    let late: Vec<Event> = (10..max + 20).map(payment).collect();
    for batch in late.chunks(4_000) {
        db.fold(batch.to_vec()).await.expect("folded");
    }
    db.fold((0..10).map(payment).collect()).await.expect("folded");
    let row = sqlx::query("SELECT captured_minor, flags FROM sales.orders")
        .fetch_one(&mut db.connection)
        .await
        .expect("one order");
    assert_eq!(row.get::<i64, _>(0), max * 10_000);
    assert_eq!(row.get::<Vec<String>, _>(1), ["facts_capped", "unplaced"]);
}

/// A day that was announced lasts until its end in the zone in which reports cut days; an instant is the same everywhere.
#[tokio::test]
async fn what_is_late_depends_on_the_reporting_time_zone() {
    let mut db = open().await;
    let shipment = |order: &str, status: &str, at: i64, expected: &str| {
        let told = test_kit::Event::new("shipment.updated", &format!("shipment of {order}")).data("order_id", order);
        told.data("status", status).data("expected_at", expected).at_s(at)
    };
    let told = [
        // Half past midnight on the next day in Berlin.
        shipment("evening", "delivered", 15 * 3600 + 1800, "2026-03-02"),
        // Eight in the evening of the same day in New York.
        shipment("night", "delivered", 17 * 3600, "2026-03-02"),
        shipment("noon", "delivered", 4 * 3600, "2026-03-02"),
        shipment("instant", "delivered", 4 * 3600, "2026-03-02T00:00:00Z"),
        shipment("in time", "delivered", 4 * 3600, "2026-03-02T12:00:00Z"),
        shipment("delayed", "delayed", 60, "2026-03-02"),
        shipment("on its way", "shipped", 60, "2026-03-01"),
    ];
    let records = told.into_iter().enumerate().map(|(n, t)| record(&t.json(), RECEIVED_AT, n as i64)).collect();
    db.fold(records).await.expect("folded");
    for (zone, expected) in [
        ("UTC", vec!["delayed", "instant", "night"]),
        ("Europe/Berlin", vec!["delayed", "evening", "instant", "night"]),
        ("America/New_York", vec!["delayed", "instant"]),
    ] {
        projection::backbone::set_reporting_timezone(&mut db.connection, zone).await.expect("a zone");
        let late: Vec<String> = sqlx::query_scalar("SELECT order_id FROM sales.orders WHERE late ORDER BY order_id")
            .fetch_all(&mut db.connection)
            .await
            .expect("the orders");
        assert_eq!(late, expected, "{zone}");
    }
}

/// Views answer, every column is explained, and revenue adds up.
#[tokio::test]
async fn views_are_explained_and_revenue_adds_up() {
    let mut db = open().await;
    let told = [
        test_kit::Event::order_placed("o1")
            .data("discount", serde_json::json!({"amount_minor": 500, "currency": "EUR"})),
        test_kit::Event::order_placed("o2").at_s(60),
        test_kit::Event::order_placed("o3").at_s(120),
        test_kit::Event::new("order.cancelled", "x").data("order_id", "o3").at_s(180),
        test_kit::Event::payment_recorded("p", "o1").data("kind", "refunded").at_s(86_400),
        test_kit::Event::payment_recorded("q", "o9").at_s(86_400),
    ];
    let events =
        told.into_iter().enumerate().map(|(n, t)| record(&t.json(), RECEIVED_AT + 86_400_000_000, n as i64)).collect();
    db.fold(events).await.expect("folded");
    let sql = "SELECT day::text, channel, currency, orders, gross::text, refunds::text, net::text, margin::text, average_order_value::text
               FROM sales.revenue ORDER BY day";
    let rows = sqlx::query(sql).fetch_all(&mut db.connection).await.expect("revenue");
    type Line = (String, String, String, i64, String, String, String, Option<String>, Option<String>);
    let lines: Vec<Line> = rows
        .iter()
        .map(|r| (r.get(0), r.get(1), r.get(2), r.get(3), r.get(4), r.get(5), r.get(6), r.get(7), r.get(8)))
        .collect();
    let text = str::to_owned;
    let first = (
        text("2026-03-02"),
        text("shop"),
        text("EUR"),
        2,
        text("200.00"),
        text("0.00"),
        text("195.00"),
        None,
        Some(text("97.5000")),
    );
    let next = (
        text("2026-03-03"),
        text("shop"),
        text("EUR"),
        0,
        text("0.00"),
        text("100.00"),
        text("-100.00"),
        Some(text("-100.00")),
        None,
    );
    assert_eq!(lines, [first, next]);
    let unexplained: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0
         WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind = 'v'
           AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)",
    )
    .fetch_all(&mut db.connection)
    .await
    .expect("the catalog");
    assert_eq!(unexplained, Vec::<String>::new());
    let functions: Vec<String> = sqlx::query_scalar(
        "SELECT proname::text FROM pg_proc
         WHERE pronamespace = 'sales'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL",
    )
    .fetch_all(&mut db.connection)
    .await
    .expect("the catalog");
    assert_eq!(functions, Vec::<String>::new());
}
