//! Histories of one call told by hand, and what they come to.

use domain::time::SECOND;
use projector_service::folds::{Call, CallRows, call};
use test_kit::Event as Told;

use crate::history::{facts, in_order};

fn rows(told: Vec<Told>) -> CallRows {
    let events = in_order(told);
    call("k", None, &facts(&events), false)
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

/// A leg of the call `k` by its record.
fn leg(leg: &str, queue: &str, disposition: &str, offered: i64, ended_at: i64) -> Told {
    ended(leg, disposition, ended_at - offered).at_s(ended_at).data("leg_id", leg).data("queue", queue)
}

fn offered(id: &str, queue: &str, at: i64) -> Told {
    let told = Told::new("call.offered", id).data("call_id", "k").data("direction", "inbound").data("from", "1");
    told.data("to", "2").data("queue", queue).at_s(at)
}

#[test]
fn a_call_of_several_legs_waits_from_its_first_offer_to_its_first_answer() {
    let first = || leg("a", "q", "failed", 0, 60);
    let second = || leg("b", "q", "answered", 60, 200).data("wait_s", 30);
    let wait = |told: Vec<Told>| row(told).wait_ms;
    assert_eq!(wait(vec![first(), second()]), Some(90_000));
    // What the leg that failed states is not what the call waited.
    assert_eq!(wait(vec![first().data("wait_s", 60), second()]), Some(90_000));
    // Nobody answered: until the last end.
    assert_eq!(wait(vec![first().data("wait_s", 60), leg("b", "q", "abandoned", 60, 100)]), Some(100_000));
    // The leg that was first offered answered first, and states how long that took.
    let answered = leg("a", "q", "transferred", 0, 60).data("wait_s", 10).data("answered_at", "2026-03-02T08:00:11Z");
    let later = leg("b", "q", "answered", 60, 200).data("wait_s", 30);
    assert_eq!(test_kit::BASE_TIME, 1_772_438_400, "08:00 on that day");
    assert_eq!(wait(vec![answered, later]), Some(10_000));
    // A leg that was offered later answered first: its own wait is not the call's.
    let long = leg("a", "q", "answered", 0, 300).data("wait_s", 200);
    assert_eq!(wait(vec![long, leg("b", "q", "answered", 50, 250).data("wait_s", 20)]), Some(70_000));
}

#[test]
fn a_stated_wait_goes_before_times_where_it_is_the_calls() {
    let answered = || Told::new("call.answered", "x").data("call_id", "k").data("agent_id", "ann").at_s(90);
    let stated = || answered().data("wait_s", 88);
    assert_eq!(row(vec![offered("o", "q", 0), stated()]).wait_ms, Some(88_000));
    assert_eq!(row(vec![stated()]).wait_ms, Some(88_000));
    let record = || ended("e", "answered", 200).at_s(200).data("wait_s", 87);
    assert_eq!(row(vec![offered("o", "q", 0), record()]).wait_ms, Some(87_000));
    assert_eq!(row(vec![offered("o", "q", 0), answered(), record()]).wait_ms, Some(90_000), "two events tell");
    assert_eq!(row(vec![answered(), record()]).wait_ms, Some(87_000));
    // Offered twice: which of the two offers the agent means is unknown.
    assert_eq!(row(vec![offered("o", "q", 0), offered("p", "r", 60), stated()]).wait_ms, Some(90_000));
    // When it was answered is unknown: so is the wait.
    assert_eq!(row(vec![ended("e", "answered", 200).at_s(200)]).wait_ms, None);
}

#[test]
fn the_queue_is_that_of_the_first_offer() {
    let legs = || vec![leg("a", "sales", "answered", 0, 1800), leg("b", "support", "answered", 600, 1200)];
    assert_eq!(row(legs()).queue.as_deref(), Some("sales"));
    let mut told = legs();
    told.push(offered("o", "reception", 0));
    assert_eq!(row(told).queue.as_deref(), Some("reception"));
}

#[test]
fn a_time_that_there_is_not_is_unknown() {
    const CENTURIES: i64 = 300_000_000_000;
    const LONGEST: i64 = 999_999_999_999_999_999;
    let flagged = |row: &Call| row.flags == ["time_out_of_range"];
    for seconds in [CENTURIES, LONGEST] {
        // No offer: it stands at its end, and nothing is measured from there.
        let rows = rows(vec![ended("e", "answered", seconds).at_s(200).data("talk_s", 100)]);
        let row = rows.call.expect("a call");
        assert_eq!([row.offered_at, row.answered_at].map(after_start), [Some(200), Some(100)], "{seconds}");
        assert_eq!((row.wait_ms, row.duration_ms), (None, Some(i128::from(seconds) * 1_000)), "{seconds}");
        assert!(flagged(&row) && rows.legs[0].wait_ms.is_none(), "{seconds}");
        let abandoned = self::row(vec![ended("e", "abandoned", seconds).at_s(200)]);
        assert!(flagged(&abandoned) && abandoned.wait_ms.is_none(), "{seconds}");
        // No answer by the wait, so by the talk; and none at all.
        let record = || ended("e", "answered", 120).at_s(200);
        let talked = self::row(vec![record().data("wait_s", seconds).data("talk_s", 100)]);
        assert_eq!([talked.offered_at, talked.answered_at].map(after_start), [Some(80), Some(100)], "{seconds}");
        assert!(flagged(&talked), "{seconds}");
        let silent = self::row(vec![record().data("talk_s", seconds)]);
        assert_eq!((silent.answered, silent.answered_at, silent.wait_ms), (true, None, None), "{seconds}");
        assert!(flagged(&silent), "{seconds}");
    }
    // Sums hold whatever their parts do.
    let talks = |id: &str| leg(id, "q", "answered", 0, 60).data("talk_s", LONGEST).data("wait_s", 1);
    let sum = row(vec![talks("a"), talks("b")]);
    assert_eq!((sum.talk_ms, sum.flags.len()), (Some(2_000 * i128::from(LONGEST)), 0));
    let ancient = ended("e", "abandoned", 30).at_s(100).data("offered_at", "1899-12-31T23:59:59Z");
    let ancient = row(vec![ancient]);
    assert_eq!(after_start(ancient.offered_at), Some(70));
    assert!(flagged(&ancient));
}

#[test]
fn another_entity_with_the_same_id_is_another() {
    assert_eq!(rows(vec![Told::case_opened("k")]), CallRows::default());
}
