//! Events as records, and random histories: few orders, carts and sessions, few instants, differing copies, voids before and after.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Namespace, time::SECOND};
use projection::{Event, direct};
use proptest::prelude::*;
use prost::Message;
use rapport_proto::v1;
use serde_json::{Value, json};
use uuid::Uuid;

/// The secret of the histories' log.
pub(crate) const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(7));

/// When histories are received, microseconds UTC.
pub(crate) const RECEIVED_AT: i64 = (test_kit::BASE_TIME + 1_000) * SECOND;

/// The record of a CloudEvent.
pub(crate) fn record(json: &Value, received_at: i64, offset: i64) -> Event {
    let text = json.to_string();
    let wire: v1::Interaction =
        rapport_proto::json::read(text.as_bytes()).unwrap_or_else(|f| panic!("{f:?} in {text}"));
    direct::event(wire.encode_to_vec(), received_at, 0, offset, &NAMESPACE).expect("an event of ours")
}

/// A history: records, copies among them, in some order.
pub(crate) fn history() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec((told(), 0..6i64), 1..40).prop_map(|told| {
        let record = |(n, (json, received)): (usize, (Value, i64))| record(&json, RECEIVED_AT + received, n as i64);
        told.into_iter().enumerate().map(record).collect()
    })
}

fn told() -> impl Strategy<Value = Value> {
    // Ids repeat, so copies of one event differ in everything, their type and their order included.
    let body = prop_oneof![8 => about_order(), 6 => about_cart(), 2 => voided(), 1 => elsewhere()];
    let person = proptest::option::weighted(0.5, prop_oneof!["email:[ab]@example\\.com", "phone:\\+4930123456[12]"]);
    let correlated = proptest::option::weighted(0.2, "(order:o[1-3]|cart:[12]|checkout:[12])");
    (0..25u8, 0..4i64, body, person, correlated, proptest::option::weighted(0.2, 0..3i64)).prop_map(
        |(id, at, (kind, data), person, correlated, sequence)| {
            let mut event = test_kit::Event::new(kind, &format!("e{id}")).at_s(at * 40_000);
            let optional = [
                ("subject", person.map(Value::from)),
                ("correlationid", correlated.map(Value::from)),
                ("sequence", sequence.map(Value::from)),
            ];
            for (name, value) in optional {
                event = event.attribute(name, value.unwrap_or(Value::Null));
            }
            let mut event = event.json();
            event["data"] = data;
            event
        },
    )
}

fn order_id() -> impl Strategy<Value = String> {
    "o[1-3]"
}

fn money() -> impl Strategy<Value = Value> {
    (prop_oneof![Just(1i64), Just(999), Just(i64::MAX), -50..5_000i64], prop_oneof![9 => Just("EUR"), 1 => Just("USD")])
        .prop_map(|(amount, currency)| json!({"amount_minor": amount, "currency": currency}))
}

fn line() -> impl Strategy<Value = Value> {
    let quantity = prop_oneof![Just("1"), Just("2.5"), Just("-1"), Just("0.333333333"), Just("100000")];
    let extra = proptest::option::of((
        prop_oneof![Just("discount"), Just("cost"), Just("unit_cost"), Just("margin"), Just("total")],
        money(),
    ));
    ("[AB]", quantity, money(), extra).prop_map(|(sku, quantity, price, extra)| {
        let quantity: Value = serde_json::from_str(quantity).expect("a number");
        let mut line = json!({"sku": sku, "quantity": quantity, "unit_price": price});
        if let Some((name, amount)) = extra {
            line[name] = amount;
        }
        line
    })
}

fn about_order() -> impl Strategy<Value = (&'static str, Value)> {
    let lines = || proptest::collection::vec(line(), 0..3);
    prop_oneof![
        3 => (order_id(), lines(), proptest::option::of(money()), proptest::option::of(money()), names())
            .prop_map(|(order, lines, total, discount, names)| {
                let data = json!({"order_id": order, "lines": lines, "total": total, "discount": discount});
                ("order.placed", named(data, names))
            }),
        2 => (order_id(), lines(), proptest::option::of(money()))
            .prop_map(|(order, lines, total)| ("order.changed", json!({"order_id": order, "lines": lines, "total": total}))),
        1 => order_id().prop_map(|order| ("order.cancelled", json!({"order_id": order}))),
        3 => (order_id(), prop_oneof!["authorized", "captured", "refunded", "failed"], money())
            .prop_map(|(order, kind, amount)| ("payment.recorded", json!({"order_id": order, "kind": kind, "amount": amount}))),
        2 => (order_id(), prop_oneof!["packed", "shipped", "delivered", "delayed"], prop_oneof!["2026-03-02", "2026-03-02T00:00:00Z"])
            .prop_map(|(order, status, at)| ("shipment.updated", json!({"order_id": order, "status": status, "expected_at": at}))),
        1 => (order_id(), proptest::collection::vec(line(), 1..3), money())
            .prop_map(|(order, lines, refund)| ("return.received", json!({"order_id": order, "lines": lines, "refund": refund}))),
    ]
}

/// Ids of a cart, a session and a checkout: the same texts.
type Names = [Option<String>; 3];

fn names() -> impl Strategy<Value = Names> {
    let id = || proptest::option::weighted(0.4, "[12]");
    [id(), id(), id()]
}

fn named(mut data: Value, names: Names) -> Value {
    for (field, id) in ["cart_id", "session_id", "checkout_id"].into_iter().zip(names) {
        data[field] = id.into();
    }
    data
}

fn about_cart() -> impl Strategy<Value = (&'static str, Value)> {
    let lines = proptest::option::weighted(0.8, proptest::collection::vec(line(), 0..3));
    prop_oneof![
        6 => (prop_oneof![Just("added"), Just("added"), Just("removed"), Just("set"), Just("emptied")], lines,
            proptest::option::weighted(0.2, money()), names())
            .prop_map(|(op, lines, total, names)| {
                ("web.cart.changed", named(json!({"op": op, "lines": lines, "total_after": total}), names))
            }),
        2 => ("(1|2|10|shipping|payment)", names())
            .prop_map(|(step, names)| ("web.checkout.step_reached", named(json!({"step": step}), names))),
        3 => ("[AB]", proptest::option::weighted(0.7, "[12]"))
            .prop_map(|(sku, session)| ("web.product.viewed", json!({"sku": sku, "session_id": session}))),
    ]
}

fn voided() -> impl Strategy<Value = (&'static str, Value)> {
    (0..25u8).prop_map(|id| ("interaction.voided", json!({"voided_source": "test", "voided_id": format!("e{id}")})))
}

fn elsewhere() -> impl Strategy<Value = (&'static str, Value)> {
    Just(("note.added", json!({"text": "called, nobody there"})))
}

/// What the records amount to, worked out naively: the least copy of each event, less what is voided, in the order of
/// facts.
pub(crate) fn surviving(records: &[Event]) -> Vec<Event> {
    let mut least: BTreeMap<Uuid, &Event> = BTreeMap::new();
    for record in records {
        let counted = least.entry(record.interaction.event_id).or_insert(record);
        if record.interaction.copy_order() < counted.interaction.copy_order() {
            *counted = record;
        }
    }
    let is_void = |id: &Uuid| least.get(id).is_some_and(|e| e.interaction.voids().is_some());
    let voided: BTreeSet<Uuid> =
        least.values().filter_map(|e| e.interaction.voids()).filter(|id| !is_void(id)).collect();
    let mut facts: Vec<Event> =
        least.values().filter(|e| !voided.contains(&e.interaction.event_id)).map(|e| (*e).clone()).collect();
    facts.sort_by(|a, b| a.interaction.stamp.cmp(&b.interaction.stamp));
    facts
}
