//! What the catalogue says of the types, and events of themselves.

use crate::example_events;
use rapport_proto::catalogue::{self, CHANNELS, CUSTOM_RANK};
use rapport_proto::v1::Interaction;
use rapport_proto::{json, time};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn read(event: &Value) -> Interaction {
    json::read(event.to_string().as_bytes()).unwrap()
}

fn event(name: &str, data: Value) -> Value {
    json!({"specversion": "1.0", "id": "1", "source": "s", "type": name, "data": data})
}

#[test]
fn every_type_is_complete() {
    let ranks: BTreeSet<u16> = catalogue::all().iter().map(|t| t.rank).collect();
    assert_eq!(ranks.len(), catalogue::all().len());
    assert_eq!(catalogue::all().len(), 70);
    for (info, example) in example_events::all() {
        assert!(CHANNELS.contains(&info.channel), "{}", info.name);
        assert!(info.rank < CUSTOM_RANK && !info.doc.is_empty(), "{}", info.name);
        assert!(info.fields.iter().any(|f| f.required), "{}", info.name);
        assert_eq!(catalogue::by_name(info.name).map(|t| t.rank), Some(info.rank));
        assert_eq!(catalogue::by_name(&info.full_name()).map(|t| t.name), Some(info.name));

        let read = read(&example);
        assert_eq!(read.type_info().map(|t| t.name), Some(info.name));
        assert!(["in", "out", "none"].contains(&read.direction()), "{}", info.name);
        let summary = read.summary();
        assert!(!summary.is_empty() && !summary.contains(['{', '[', '\n']), "{summary}");
        let named = info.fields.iter().filter(|f| f.entity.is_some()).count();
        assert_eq!(read.entities().len(), named, "{}", info.name);
    }
    assert!(catalogue::by_name("order.unknown").is_none());
}

#[test]
fn openings_come_before_changes_before_endings() {
    let order = |names: &[&str]| {
        let ranks: Vec<_> = names.iter().map(|n| catalogue::by_name(n).unwrap().rank).collect();
        assert!(ranks.is_sorted(), "{names:?}: {ranks:?}");
    };
    order(&["call.offered", "call.answered", "call.ended"]);
    order(&["schedule.defined", "case.opened", "sla.applied", "case.replied", "case.changed"]);
    order(&["case.opened", "case.escalated"]);
    order(&[
        "order.placed",
        "order.changed",
        "payment.recorded",
        "shipment.updated",
        "return.received",
        "order.cancelled",
        "interaction.voided",
    ]);
    order(&["lead.captured", "lead.assigned", "lead.closed"]);
    order(&["opportunity.opened", "opportunity.changed", "opportunity.closed"]);
    order(&["identity.link.asserted", "identity.link.revoked", "order.placed"]);
    let last = catalogue::all().iter().max_by_key(|t| t.rank);
    assert_eq!(last.map(|t| t.name), Some("interaction.voided"));
}

#[test]
fn what_events_say_of_themselves() {
    let check = |event: Value, line: &str, channel: &str, direction: &str| {
        let read = read(&event);
        let said = (read.summary(), read.channel(), read.direction());
        assert_eq!(said, (line.to_string(), channel, direction));
    };
    let money = json!({"amount_minor": 12990, "currency": "EUR"});
    let order = event("order.placed", json!({"order_id": "o-1", "lines": [], "total": money}));
    check(order, "Order o-1 placed for 129.90 EUR", "shop", "in");
    let order = event("order.placed", json!({"order_id": "o-1", "lines": [], "channel": "web"}));
    check(order, "Order o-1 placed", "web", "in");
    let changed = event("case.changed", json!({"case_id": "7", "status": "solved"}));
    check(changed, "Case 7 changed, status solved", "system", "none");
    let call = json!({"call_id": "c", "direction": "outbound", "from": "1", "to": "2"});
    check(event("call.offered", call), "Call from 1 to 2", "phone", "out");
    let said = json!({"channel": "sms", "message_id": "m", "thread_id": "t", "text": "a\n b"});
    check(event("message.sent", said), "Message: a b", "sms", "out");
    let reply = json!({"case_id": "7", "visibility": "public", "text": "thanks"});
    let mut reply = event("case.replied", reply);
    check(reply.clone(), "Case 7, public reply: thanks", "other", "out");
    reply["actor"] = "customer".into();
    check(reply, "Case 7, public reply: thanks", "other", "in");
    check(event("com.acme.x", json!(1)), "com.acme.x", "other", "none");
}

#[test]
fn entities_and_attributes() {
    let mut event = event("survey.answered", json!({"survey_id": "s", "metric": "nps", "score": 9, "case_id": "7"}));
    event["time"] = "2026-03-01T12:00:00+02:00".into();
    event["sequence"] = "07".into();
    let read = read(&event);
    assert_eq!(read.entities(), [("case", "7")]);
    assert_eq!(read.occurred_at.map(time::format).as_deref(), Some("2026-03-01T10:00:00Z"));
    assert_eq!(read.sequence.as_deref(), Some("\"07\""));
    assert_eq!(read.sequence_text().as_deref(), Some("07"));
    assert_eq!(read.r#type.as_deref(), Some("io.rapport.survey.answered"));
}
