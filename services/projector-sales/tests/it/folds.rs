//! Histories of one order told by hand, and what they come to.

use projection::{Event, bounded::Fact};
use projector_sales::folds::{Order, OrderRows, order};
use serde_json::{Value, json};
use test_kit::Event as Told;

use crate::history::{RECEIVED_AT, record};

fn eur(amount_minor: i64) -> Value {
    json!({"amount_minor": amount_minor, "currency": "EUR"})
}

fn line(sku: &str, quantity: i64, unit_price: i64) -> Value {
    json!({"sku": sku, "quantity": quantity, "unit_price": eur(unit_price)})
}

fn placed(id: &str, lines: Value) -> Told {
    Told::new("order.placed", id).data("order_id", "o").data("lines", lines)
}

fn payment(id: &str, kind: &str, amount: Value) -> Told {
    Told::payment_recorded(id, "o").data("kind", kind).data("amount", amount)
}

fn returned(id: &str, lines: Value, refund: Value) -> Told {
    Told::new("return.received", id).data("order_id", "o").data("lines", lines).data("refund", refund)
}

/// The rows of order `o` after these events, told in any order.
fn rows(told: Vec<Told>) -> OrderRows {
    let mut events: Vec<Event> =
        told.into_iter().enumerate().map(|(n, t)| record(&t.json(), RECEIVED_AT, n as i64)).collect();
    events.sort_by(|a, b| a.interaction.stamp.cmp(&b.interaction.stamp));
    let fact = |e: &'_ Event| e.interaction.subject.as_ref().map(|s| s.id);
    let facts: Vec<Fact<'_>> = events
        .iter()
        .map(|e| Fact { stamp: &e.interaction.stamp, subject_id: fact(e), wire: &e.interaction.wire })
        .collect();
    order("o", facts.iter().find_map(|f| f.subject_id), &facts, false)
}

fn row(told: Vec<Told>) -> Order {
    rows(told).order.expect("there is an order")
}

#[test]
fn gross_net_and_margin() {
    let costs = |mut line: Value, name: &str, amount: i64| {
        line[name] = eur(amount);
        line
    };
    // (lines, total, discount) -> (gross, net, cost, margin)
    for (lines, total, discount, expected) in [
        (json!([line("A", 2, 500)]), None, None, (1000, 1000, None, None)),
        (json!([costs(line("A", 2, 500), "unit_cost", 300)]), None, Some(100), (1000, 900, Some(600), Some(300))),
        (json!([costs(line("A", 2, 500), "cost", 700)]), Some(950), None, (950, 950, Some(700), Some(250))),
        (json!([costs(line("A", 2, 500), "margin", 400)]), None, None, (1000, 1000, Some(600), Some(400))),
        (json!([costs(line("A", 2, 500), "discount", 50), line("A", 2, 500)]), None, None, (1950, 1950, None, None)),
        (json!([costs(line("A", 1, 500), "cost", 1), line("B", 1, 500)]), None, None, (1000, 1000, None, None)),
        (json!([]), Some(700), Some(70), (700, 630, None, None)),
        (json!([]), None, None, (0, 0, None, None)),
    ] {
        let told = placed("e", lines.clone())
            .data("total", total.map_or(Value::Null, eur))
            .data("discount", discount.map_or(Value::Null, eur));
        let row = row(vec![told]);
        let (gross, net) = (row.gross_minor.expect("gross"), row.net_minor.expect("net"));
        assert_eq!((gross, net, row.cost_minor, row.margin_minor), expected, "{lines} {total:?} {discount:?}");
    }
}

#[test]
fn halves_are_rounded_away_from_zero() {
    let third: Value = serde_json::from_str("0.5").expect("a number");
    for (price, total) in [(1, 1), (3, 2), (-1, -1), (2, 1)] {
        let rows = rows(vec![placed("e", json!([{"sku": "A", "quantity": third, "unit_price": eur(price)}]))]);
        assert_eq!(rows.lines[0].total_minor, Some(total), "{price}");
    }
}

#[test]
fn refunds_are_payments_or_else_returns() {
    let bought = || placed("e1", json!([line("A", 2, 500)]));
    let back = || returned("e2", json!([{"sku": "A", "quantity": 1}]), eur(450)).at_s(60);
    let one = rows(vec![bought(), back()]);
    assert_eq!((one.refunds.len(), one.refunds[0].source, one.refunds[0].amount_minor), (1, "return", 450));
    let both = rows(vec![bought(), back(), payment("e3", "refunded", eur(500)).at_s(120)]);
    assert_eq!((both.refunds.len(), both.refunds[0].source), (1, "payment"));
    let order = both.order.expect("an order");
    assert_eq!((order.refunds_minor, order.net_minor), (500, Some(500)));
    assert_eq!(both.lines[0].returned_quantity.to_plain(), "1");
}

#[test]
fn another_currency_counts_nowhere() {
    let dollars = json!({"amount_minor": 5, "currency": "USD"});
    let row = row(vec![
        placed("e1", json!([line("A", 1, 500), {"sku": "B", "quantity": 1, "total": dollars}])),
        payment("e2", "captured", dollars.clone()),
        payment("e3", "refunded", dollars.clone()),
    ]);
    assert_eq!((row.gross_minor, row.captured_minor, row.refunds_minor), (Some(500), 0, 0));
    assert_eq!(row.flags, ["foreign_currency", "unpriced_line"]);
}

#[test]
fn contradictory_histories_have_an_outcome() {
    let changed = |at: i64, name: &str, value: Value| {
        Told::new("order.changed", "c").data("order_id", "o").data(name, value).at_s(at)
    };
    // A change before the order counts until the order is placed.
    let only_changed = row(vec![changed(0, "total", eur(70))]);
    assert_eq!(
        (only_changed.gross_minor, only_changed.placed_at, only_changed.flags),
        (Some(70), None, vec!["unplaced"])
    );
    let then_placed = row(vec![changed(0, "total", eur(70)), placed("e", json!([line("A", 1, 500)])).at_s(60)]);
    assert_eq!(then_placed.gross_minor, Some(500));
    // New lines drop the old total, a total leaves the lines.
    let lines =
        row(vec![placed("e", json!([])).data("total", eur(900)), changed(60, "lines", json!([line("A", 1, 500)]))]);
    assert_eq!((lines.gross_minor, lines.line_count), (Some(500), 1));
    let total = row(vec![placed("e", json!([line("A", 1, 500)])), changed(60, "total", eur(450))]);
    assert_eq!((total.gross_minor, total.line_count), (Some(450), 1));
    // Placed twice: the first time, the last content. Cancelled is cancelled.
    let cancelled = Told::new("order.cancelled", "x").data("order_id", "o").at_s(30);
    let again = row(vec![
        placed("e1", json!([line("A", 1, 500)])),
        cancelled,
        placed("e2", json!([line("A", 3, 500)])).at_s(60),
    ]);
    assert_eq!(again.gross_minor, Some(1500));
    assert_eq!(again.placed_at, Some(test_kit::BASE_TIME * 1_000_000));
    assert!(again.cancelled_at.is_some());
    // In the same instant, what begins comes before what ends, whatever arrived first.
    let same =
        row(vec![Told::new("order.cancelled", "a").data("order_id", "o"), placed("z", json!([line("A", 1, 500)]))]);
    assert_eq!(same.set_by, domain::ids::event_id("test", "a"));
}

#[test]
fn payments_and_shipments() {
    let shipped = |id: &str, status: &str, at: i64| {
        Told::new("shipment.updated", id).data("order_id", "o").data("status", status).at_s(at)
    };
    for (payments, state) in [
        (vec![], "none"),
        (vec![("authorized", 1000)], "authorized"),
        (vec![("authorized", 1000), ("failed", 1000)], "failed"),
        (vec![("authorized", 1000), ("captured", 1000)], "captured"),
        (vec![("captured", 1000), ("refunded", 400)], "partially_refunded"),
        (vec![("captured", 1000), ("refunded", 400), ("refunded", 600)], "refunded"),
        (vec![("refunded", 400)], "refunded"),
    ] {
        let mut told = vec![placed("e", json!([line("A", 2, 500)]))];
        told.extend(
            payments
                .iter()
                .enumerate()
                .map(|(n, (kind, amount))| payment(&format!("p{n}"), kind, eur(*amount)).at_s(n as i64)),
        );
        assert_eq!(row(told).payment_state, state, "{payments:?}");
    }
    let order = || placed("e", json!([line("A", 2, 500)]));
    let waiting = row(vec![order()]);
    assert!(waiting.unshipped);
    let sent = row(vec![order(), shipped("s1", "shipped", 60), shipped("s2", "delivered", 90)]);
    assert_eq!((sent.unshipped, sent.shipment_state.as_deref()), (false, Some("delivered")));
    assert_eq!(sent.delivered_at, Some((test_kit::BASE_TIME + 90) * 1_000_000));
    // A day is told from the instant at which it begins, in whatever zone that is written.
    for (expected, is_day) in [
        ("2026-03-02", true),
        ("2026-03-02T00:00:00Z", false),
        ("2026-03-02T01:00:00+01:00", false),
        ("2026-03-02T18:00:00Z", false),
    ] {
        let shipment = shipped("s1", "shipped", 60).data("expected_at", expected);
        // One that announces nothing leaves it.
        let row = row(vec![order(), shipment, shipped("s2", "delivered", 90)]);
        assert_eq!((row.expected_is_day, row.expected_at.is_some()), (is_day, true), "{expected}");
    }
    // Only paid: a row, but no revenue.
    let paid = row(vec![payment("p", "captured", eur(1000))]);
    assert_eq!((paid.placed_at, paid.gross_minor, paid.captured_minor, paid.unshipped), (None, None, 1000, false));
}

#[test]
fn returns_fill_lines_from_the_first_on() {
    let lines = json!([line("A", 1, 500), line("A", 2, 500), line("B", 1, 500)]);
    for (quantity, expected, flags) in
        [(1, ["1", "0", "0"], vec![]), (2, ["1", "1", "0"], vec![]), (5, ["1", "4", "0"], vec![])]
    {
        let rows = rows(vec![
            placed("e", lines.clone()),
            returned("r", json!([{"sku": "A", "quantity": quantity}]), eur(1)).at_s(1),
        ]);
        let got: Vec<_> = rows.lines.iter().map(|l| l.returned_quantity.to_plain()).collect();
        assert_eq!((got, rows.order.expect("an order").flags), (expected.map(String::from).to_vec(), flags));
    }
    let unknown = row(vec![placed("e", lines), returned("r", json!([{"sku": "X", "quantity": 1}]), eur(1)).at_s(1)]);
    assert_eq!(unknown.flags, ["unmatched_return"]);
}

#[test]
fn owners_and_mere_mentions() {
    let mail = |id: &str| Told::email_received(id).attribute("correlationid", "order:o").subject("email:a@example.com");
    assert_eq!(rows(vec![mail("m")]), OrderRows::default(), "a mention makes no order");
    let row = row(vec![mail("m"), placed("e", json!([])).at_s(1)]);
    assert!(row.subject_id.is_some());
    // An order that another order's event merely mentions takes nothing from it.
    let other = Told::order_placed("p").attribute("correlationid", "order:o").at_s(2);
    let mentioned = rows(vec![placed("e", json!([line("A", 1, 500)])), other]);
    assert_eq!(mentioned.order.expect("an order").gross_minor, Some(500));
}

#[test]
fn amounts_beyond_a_column_stand_at_its_bound() {
    let row = row(vec![placed("e", json!([line("A", 1, i64::MAX), line("A", 1, i64::MAX)]))]);
    assert_eq!((row.gross_minor, row.flags), (Some(i64::MAX), vec!["amount_out_of_range"]));
}
