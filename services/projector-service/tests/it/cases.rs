//! Histories of one case told by hand, and what they come to.

use domain::time::{MINUTE, SECOND};
use projector_service::folds::{Case, CaseRows, case};
use serde_json::Value;
use test_kit::Event as Told;

use crate::history::{facts, in_order};

fn rows(told: Vec<Told>) -> CaseRows {
    let events = in_order(told);
    case("c", None, &facts(&events), false)
}

fn row(told: Vec<Told>) -> Case {
    rows(told).case.expect("there is a case")
}

fn opened() -> Told {
    Told::case_opened("c").attribute("actor", "customer")
}

/// So many minutes after the opening.
fn at(told: Told, minutes: i64) -> Told {
    told.at_s(minutes * 60)
}

fn status(id: &str, status: &str, minutes: i64) -> Told {
    at(Told::case_changed(id, "c", status), minutes)
}

fn reply(id: &str, actor: Option<&str>, minutes: i64) -> Told {
    let told =
        Told::new("case.replied", id).data("case_id", "c").data("visibility", "public").data("text", "We look into it");
    at(told.attribute("actor", actor.map_or(Value::Null, Value::from)), minutes)
}

fn mail(id: &str, kind: &str, minutes: i64) -> Told {
    at(
        Told::new(kind, id)
            .data("message_id", "<m1>")
            .data("from", "a@example.com")
            .data("to", serde_json::json!([]))
            .data("sent_at", "2026-03-02T08:00:00Z")
            .data("subject", "Re")
            .attribute("correlationid", "case:c"),
        minutes,
    )
}

#[test]
fn who_gives_the_first_reply() {
    for (what, reply, minutes) in [
        ("nobody is named: an agent", reply("r", None, 5), Some(5)),
        ("a person", reply("r", Some("human:ann"), 5), Some(5)),
        ("a bot", reply("r", Some("bot:b"), 5), None),
        ("a partner", reply("r", Some("partner:p"), 5), None),
        ("the customer", reply("r", Some("customer"), 5), None),
        ("automatic", reply("r", None, 5).data("auto", true), None),
        ("internal", reply("r", None, 5).data("visibility", "internal"), None),
        ("a mail", mail("r", "email.message.sent", 5), Some(5)),
        ("an automatic mail", mail("r", "email.message.sent", 5).data("auto", true), None),
        ("a mail from nobody's address", mail("r", "email.message.sent", 5).data("from", "noreply@example.com"), None),
        (
            "a person's mail from nobody's address",
            mail("r", "email.message.sent", 5).data("from", "noreply@example.com").attribute("actor", "human:ann"),
            Some(5),
        ),
        ("a mail of the customer", mail("r", "email.message.received", 5), None),
    ] {
        let row = row(vec![opened(), reply]);
        assert_eq!(row.first_reply_us, minutes.map(|m: i64| m * MINUTE), "{what}");
        assert_eq!(row.first_reply_at.is_some(), minutes.is_some(), "{what}");
    }
}

#[test]
fn a_mail_and_a_reply_with_one_message_id_are_one() {
    let replied = reply("r", Some("human:ann"), 7).data("message_id", "<m1>");
    let row = row(vec![opened(), mail("m", "email.message.sent", 5), replied, status("s", "solved", 9)]);
    assert_eq!((row.replies_public_agent, row.first_reply_us, row.one_touch), (1, Some(5 * MINUTE), true));
}

#[test]
fn a_case_that_an_agent_opened_waits_for_the_customer() {
    let opened = || Told::case_opened("c").attribute("actor", "human:ann");
    assert_eq!(row(vec![opened(), reply("r", None, 5)]).first_reply_us, None);
    let row = row(vec![opened(), reply("r1", None, 5), mail("m", "email.message.received", 10), reply("r2", None, 13)]);
    assert_eq!((row.opened_by_agent, row.first_reply_us, row.replies_public_agent), (true, Some(3 * MINUTE), 2));
}

#[test]
fn the_customer_wrote_before_an_agent_opened_the_case() {
    let opened = |actor: &str| at(Told::case_opened("c").attribute("actor", actor), 5);
    let told =
        |actor: &str| vec![mail("m", "email.message.received", 0), opened(actor), reply("r", Some("human:ann"), 15)];
    let by_agent = row(told("human:ann"));
    assert_eq!(by_agent.first_reply_us, Some(15 * MINUTE));
    assert_eq!(by_agent.first_reply_at, Some((test_kit::BASE_TIME + 15 * 60) * SECOND));
    // What else he writes does not restart it, and what was answered before anybody opened a case was answered.
    let mut again = told("human:ann");
    again.push(mail("m2", "email.message.received", 10));
    assert_eq!(row(again).first_reply_us, Some(15 * MINUTE));
    let mut at_once = told("human:ann");
    at_once.push(reply("r0", Some("human:bob"), 2));
    assert_eq!(row(at_once).first_reply_us, Some(2 * MINUTE));
    // Whoever else opens it: from the opening.
    assert_eq!(row(told("customer")).first_reply_us, Some(10 * MINUTE));
}

#[test]
fn solved_reopened_and_closed() {
    let told = || {
        vec![
            opened(),
            status("1", "open", 10),
            status("2", "pending", 20),
            status("3", "solved", 50),
            status("4", "open", 60),
            status("5", "on_hold", 65),
            status("6", "solved", 80),
            status("7", "closed", 100),
        ]
    };
    let rows = rows(told());
    let case = rows.case.expect("a case");
    assert_eq!((case.reopens, case.status.as_deref()), (1, Some("closed")));
    assert_eq!((case.first_resolution_us, case.resolution_us), (Some(50 * MINUTE), Some(80 * MINUTE)));
    let work = (case.agent_work_us, case.requester_wait_us, case.agent_wait_us);
    assert_eq!(work, (25 * MINUTE, 40 * MINUTE, 30 * MINUTE));
    let spans: Vec<_> = rows.spans.iter().map(|s| (s.status.as_str(), s.length().map(|l| l / MINUTE))).collect();
    let expected = [
        ("new", Some(10)),
        ("open", Some(10)),
        ("pending", Some(30)),
        ("solved", Some(10)),
        ("open", Some(5)),
        ("on_hold", Some(15)),
        ("solved", Some(20)),
        ("closed", None),
    ];
    assert_eq!(spans, expected);
    assert!(!case.one_touch, "nobody replied");
}

#[test]
fn contradictory_histories_have_an_outcome() {
    // Solved before it was opened: it stays solved, and how long it took is unknown.
    let early = row(vec![at(opened(), 10), status("s", "solved", 0)]);
    assert_eq!((early.status.as_deref(), early.resolution_us), (Some("solved"), None));
    // Never opened: a case all the same.
    let never = row(vec![status("s", "open", 0), reply("r", None, 5)]);
    assert_eq!((never.opened_at, never.first_reply_us), (None, None));
    assert!(never.first_reply_at.is_some());
    // In the same instant the opening comes first.
    let same = row(vec![status("a", "solved", 0), opened()]);
    assert_eq!((same.status.as_deref(), same.resolution_us), (Some("solved"), Some(0)));
    // Opened twice: the first time, the last title; the status goes on.
    let twice = vec![
        opened(),
        status("s", "open", 5),
        at(Told::case_opened("again").data("case_id", "c").data("title", "Still broken"), 9),
    ];
    let twice = row(twice);
    assert_eq!((twice.title.as_deref(), twice.status.as_deref()), (Some("Still broken"), Some("open")));
    assert_eq!(twice.opened_at, Some(test_kit::BASE_TIME * SECOND));
    // A mail that names it makes no case.
    assert_eq!(rows(vec![mail("m", "email.message.received", 0)]), CaseRows::default());
}

#[test]
fn what_a_change_does_not_name_stays() {
    let changed = |id: &str, name: &str, value: &str, minutes| {
        at(Told::new("case.changed", id).data("case_id", "c").data(name, value), minutes)
    };
    let told = vec![
        opened().data("topic", "hinge"),
        changed("1", "assignee", "ann", 1),
        changed("2", "priority", "urgent", 2),
        changed("3", "assignee", "", 3),
        changed("4", "merged_into", "c0", 4),
    ];
    let row = row(told);
    let told = (row.assignee, row.priority.as_deref(), row.topic.as_deref(), row.merged_into.as_deref());
    assert_eq!(told, (None, Some("urgent"), Some("hinge"), Some("c0")));
}
