//! Events as records, and random histories: few cases, calls and threads, few instants, differing copies, voids before and after.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Namespace, time::SECOND};
use projection::{Event, bounded::Fact, direct};
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

/// Events told in any order, in the order of facts.
pub(crate) fn in_order(told: Vec<test_kit::Event>) -> Vec<Event> {
    let mut events: Vec<Event> =
        told.into_iter().enumerate().map(|(n, t)| record(&t.json(), RECEIVED_AT, n as i64)).collect();
    events.sort_by(|a, b| a.interaction.stamp.cmp(&b.interaction.stamp));
    events
}

/// Events as folds see them.
pub(crate) fn facts<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<Fact<'e>> {
    let fact = |e: &'e Event| Fact {
        stamp: &e.interaction.stamp,
        subject_id: e.interaction.subject.as_ref().map(|s| s.id),
        wire: &e.interaction.wire,
    };
    events.into_iter().map(fact).collect()
}

/// A history: records, copies among them, in some order.
pub(crate) fn history() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec((told(), 0..6i64), 1..40).prop_map(|told| {
        let record = |(n, (json, received)): (usize, (Value, i64))| record(&json, RECEIVED_AT + received, n as i64);
        told.into_iter().enumerate().map(record).collect()
    })
}

fn told() -> impl Strategy<Value = Value> {
    // Ids repeat, so copies of one event differ in everything, their type and their case included.
    let body = prop_oneof![6 => about_case(), 4 => about_call(), 8 => about_thread(), 3 => voided(), 1 => elsewhere()];
    let person = proptest::option::weighted(0.5, prop_oneof!["email:[ab]@example\\.com", "phone:\\+4930123456[12]"]);
    let correlated = proptest::option::weighted(0.2, prop_oneof!["case:k[1-2]", "call:k[1-2]", "thread:t[1-2]"]);
    let actor = proptest::option::weighted(0.4, prop_oneof!["human:ann", "bot:b", "customer"]);
    (0..25u8, 0..4i64, body, person, correlated, actor).prop_map(|(id, at, (kind, data), person, correlated, actor)| {
        let mut event = test_kit::Event::new(kind, &format!("e{id}")).at_s(at * 100);
        for (name, value) in [("subject", person), ("correlationid", correlated), ("actor", actor)] {
            event = event.attribute(name, value.map_or(Value::Null, Value::from));
        }
        let mut event = event.json();
        event["data"] = data;
        event
    })
}

/// Cases and calls have the same ids on purpose.
fn key() -> impl Strategy<Value = String> {
    "k[1-2]"
}

fn about_case() -> impl Strategy<Value = (&'static str, Value)> {
    let status = proptest::option::of(prop_oneof!["new", "open", "pending", "on_hold", "solved", "closed"]);
    let message = || proptest::option::of("m[12]");
    prop_oneof![
        2 => (key(), prop_oneof!["low", "urgent"]).prop_map(|(case, p)| ("case.opened", json!({"case_id": case, "title": "It broke", "priority": p}))),
        5 => (key(), status, proptest::option::of(prop_oneof![Just(""), Just("ann")]))
            .prop_map(|(case, status, who)| ("case.changed", json!({"case_id": case, "status": status, "assignee": who}))),
        3 => (key(), prop_oneof!["public", "internal"], message(), proptest::option::of(any::<bool>())).prop_map(|(case, v, m, auto)| {
            ("case.replied", json!({"case_id": case, "visibility": v, "text": "", "message_id": m, "auto": auto}))
        }),
        1 => (key(), 1..3).prop_map(|(case, level)| ("case.escalated", json!({"case_id": case, "level": level}))),
        2 => (key(), "m[12]", prop_oneof![Just("email.message.sent"), Just("email.message.received")]).prop_map(|(case, m, kind)| {
            let at = "2026-03-02T08:00:00Z";
            (kind, json!({"message_id": m, "from": "a", "to": [], "sent_at": at, "subject": "", "case_id": case}))
        }),
    ]
}

fn about_call() -> impl Strategy<Value = (&'static str, Value)> {
    // Some are centuries, and lead to no time that there is.
    let duration = || prop_oneof![8 => 0..500u64, 1 => Just(300_000_000_000), 1 => Just(999_999_999_999_999_999)];
    let seconds = || proptest::option::of(duration());
    let disposition = prop_oneof!["answered", "abandoned", "transferred"];
    prop_oneof![
        1 => (key(), "q[12]").prop_map(|(call, q)| ("call.offered", json!({"call_id": call, "direction": "inbound", "from": "1", "to": "2", "queue": q}))),
        1 => (key(), seconds()).prop_map(|(call, wait)| ("call.answered", json!({"call_id": call, "agent_id": "ann", "wait_s": wait}))),
        3 => (key(), disposition, duration(), proptest::option::of("l[12]"), (seconds(), seconds(), seconds()), proptest::option::of(key())).prop_map(
            |(call, d, s, leg, (wait, talk, hold), case)| {
                let parts = json!({"call_id": call, "disposition": d, "duration_s": s, "leg_id": leg, "wait_s": wait, "talk_s": talk, "hold_s": hold, "case_id": case});
                ("call.ended", parts)
            }
        ),
    ]
}

/// Few ids, so that messages link what others began, and voids part it again.
fn about_thread() -> impl Strategy<Value = (&'static str, Value)> {
    let auto = || proptest::option::weighted(0.3, any::<bool>());
    let mail = (
        prop_oneof![Just("email.message.sent"), Just("email.message.received")],
        "<m[1-9]>",
        proptest::option::weighted(0.4, prop_oneof!["<m[1-9]>", "m[1-9]", "A <a@b> wrote <m[1-9]>", "A's message"]),
        proptest::collection::vec("<m[1-9]>", 0..3),
        auto(),
        prop_oneof![3 => Just("Hi"), 1 => Just("Automatic reply: Hi")],
    );
    let chat = (
        prop_oneof![Just("message.sent"), Just("message.received")],
        prop_oneof![Just("chat"), Just("sms")],
        "[12]",
        prop_oneof![4 => "t[12]", 1 => "<m[1-9]>"],
        auto(),
        proptest::option::weighted(0.3, prop_oneof!["public", "internal"]),
    );
    prop_oneof![
        3 => mail.prop_map(|(kind, id, answers, references, auto, title)| {
            let at = "2026-03-02T08:00:00Z";
            (kind, json!({"message_id": id, "from": "a", "to": [], "sent_at": at, "subject": title,
                "in_reply_to": answers, "references": references, "auto": auto}))
        }),
        1 => chat.prop_map(|(kind, channel, id, thread, auto, visibility)| {
            (kind, json!({"channel": channel, "message_id": id, "thread_id": thread, "text": "Hi", "auto": auto,
                "visibility": visibility}))
        }),
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
