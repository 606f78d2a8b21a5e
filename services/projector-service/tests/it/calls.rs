//! Histories of one call told by hand, and what they come to.

use domain::time::SECOND;
use projector_service::folds::{Call, CallRows, call};
use test_kit::Event as Told;

use crate::history::{facts, in_order};

fn rows(told: Vec<Told>) -> CallRows {
    let events = in_order(told);
    call("k", &facts(&events), false)
}

fn row(told: Vec<Told>) -> Call {
    rows(told).call.expect("there is a call")
}

fn ended(id: &str, disposition: &str, duration_s: i64) -> Told {
    Told::call_ended(id, "k").data("disposition", disposition).data("duration_s", duration_s)
}

fn after_start(micros: Option<i64>) -> Option<i64> {
    micros.map(|m| m / SECOND - test_kit::BASE_TIME)
}

#[test]
fn a_record_alone_fills_a_call() {
    let answered = ended("e", "answered", 120)
        .at_s(200)
        .data("wait_s", 15)
        .data("hold_s", 5)
        .data("agent_id", "ann")
        .data("queue", "q");
    let row = row(vec![answered.data("from", "1").data("direction", "in")]);
    assert_eq!([row.offered_at, row.answered_at, row.ended_at].map(after_start), [Some(80), Some(95), Some(200)]);
    assert_eq!(
        (row.wait_ms, row.talk_ms, row.hold_ms, row.duration_ms),
        (Some(15_000), Some(100_000), Some(5_000), Some(120_000))
    );
    assert_eq!(
        (row.answered, row.leg_count, row.direction.as_deref(), row.queue.as_deref()),
        (true, 1, Some("inbound"), Some("q"))
    );
}

#[test]
fn an_abandoned_call_waited_until_its_end() {
    let row = row(vec![ended("e", "abandoned", 30).at_s(100)]);
    assert_eq!((row.answered, row.answered_at, row.wait_ms, row.talk_ms), (false, None, Some(30_000), None));
}

#[test]
fn events_go_before_the_record() {
    let offered = Told::new("call.offered", "o")
        .data("call_id", "k")
        .data("direction", "inbound")
        .data("from", "1")
        .data("to", "2");
    let answered = Told::new("call.answered", "a").data("call_id", "k").data("agent_id", "ann").at_s(20);
    let ringing = row(vec![offered.clone()]);
    assert_eq!((ringing.ended_at, ringing.answered, ringing.disposition, ringing.leg_count), (None, false, None, 0));
    let row = row(vec![offered, answered, ended("e", "answered", 100).at_s(120).data("agent_id", "bob")]);
    assert_eq!([row.offered_at, row.answered_at, row.ended_at].map(after_start), [Some(0), Some(20), Some(120)]);
    assert_eq!((row.wait_ms, row.agent_id.as_deref()), (Some(20_000), Some("bob")));
}

#[test]
fn a_transfer_has_two_legs() {
    let first = ended("1", "transferred", 60)
        .at_s(60)
        .data("leg_id", "a")
        .data("queue", "sales")
        .data("wait_s", 10)
        .data("agent_id", "ann");
    let second = ended("2", "answered", 90)
        .at_s(160)
        .data("leg_id", "b")
        .data("queue", "support")
        .data("wait_s", 30)
        .data("agent_id", "bob");
    let rows = rows(vec![second.clone(), first.clone()]);
    let legs: Vec<_> = rows.legs.iter().map(|l| (l.leg_no, l.leg_id.as_deref(), l.queue.as_deref())).collect();
    assert_eq!(legs, [(1, Some("a"), Some("sales")), (2, Some("b"), Some("support"))]);
    let call = rows.call.expect("a call");
    assert_eq!(
        (call.queue.as_deref(), call.agent_id.as_deref(), call.disposition.as_deref()),
        (Some("sales"), Some("bob"), Some("answered"))
    );
    assert_eq!(
        (call.wait_ms, call.talk_ms, call.duration_ms, call.leg_count),
        (Some(10_000), Some(110_000), Some(160_000), 2)
    );
    // A second record of a leg takes the place of the first.
    let again = first.attribute("id", "3").data("queue", "orders").at_s(61);
    let rows = self::rows(vec![again, second]);
    assert_eq!(rows.legs[0].queue.as_deref(), Some("orders"));
}

#[test]
fn another_entity_with_the_same_id_is_another() {
    assert_eq!(rows(vec![Told::case_opened("k")]), CallRows::default());
}
