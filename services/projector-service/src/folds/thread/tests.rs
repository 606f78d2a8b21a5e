//! Threads told by hand, and what they come to; that waits cut at a time are those of what was written by then.

use domain::{
    Interaction, Namespace,
    time::{MINUTE, SECOND},
};
use proptest::prelude::*;
use prost::Message as _;
use rapport_proto::v1;
use serde_json::{Value, json};
use test_kit::Event as Told;
use uuid::Uuid;

use super::{Telling, Thread, ThreadRows, Wait, thread};
use crate::folds::telling::telling;

fn event(told: &Value) -> Interaction {
    let text = told.to_string();
    let wire: v1::Interaction =
        rapport_proto::json::read(text.as_bytes()).unwrap_or_else(|f| panic!("{f:?} in {text}"));
    Interaction::decode(&wire.encode_to_vec(), 0, &Namespace::new(Uuid::from_u128(7))).expect("an event of ours")
}

/// What these events tell, in the order of facts.
fn tellings(told: impl IntoIterator<Item = Value>) -> Vec<Telling> {
    let mut tellings: Vec<Telling> = told.into_iter().filter_map(|t| telling(&event(&t))).map(|(t, _)| t).collect();
    tellings.sort_by(|a, b| a.stamp.cmp(&b.stamp));
    tellings
}

fn rows(told: Vec<Told>) -> ThreadRows {
    thread(&tellings(told.into_iter().map(Told::json)), false)
}

fn waits(told: Vec<Told>) -> Vec<Wait> {
    rows(told).waits
}

/// A mail so many minutes after the first.
fn mail(kind: &str, id: &str, minutes: i64) -> Told {
    Told::new(&format!("email.message.{kind}"), id)
        .data("message_id", format!("<{id}>"))
        .data("from", "a@example.com")
        .data("to", json!([]))
        .data("sent_at", "2026-03-02T08:00:00Z")
        .data("subject", "A question")
        .at_s(minutes * 60)
}

fn asked(id: &str, minutes: i64) -> Told {
    mail("received", id, minutes)
}

fn answered(id: &str, minutes: i64) -> Told {
    mail("sent", id, minutes).data("in_reply_to", "<q>")
}

fn after_start(micros: i64) -> i64 {
    (micros - test_kit::BASE_TIME * SECOND) / MINUTE
}

/// Asked, answered, waited, in minutes.
fn told(waits: &[Wait]) -> Vec<(i64, Option<i64>, Option<i64>)> {
    waits
        .iter()
        .map(|w| (after_start(w.asked_at), w.answered_at.map(after_start), w.wait_us.map(|us| us / MINUTE)))
        .collect()
}

#[test]
fn who_answers() {
    for (what, answer, minutes) in [
        ("nobody is named: an agent", answered("a", 5), Some(5)),
        ("a person", answered("a", 5).attribute("actor", "human:ann"), Some(5)),
        ("a bot", answered("a", 5).attribute("actor", "bot:b"), None),
        ("a partner", answered("a", 5).attribute("actor", "partner:p"), None),
        ("the customer again", answered("a", 5).attribute("actor", "customer"), None),
        ("automatic", answered("a", 5).data("auto", true), None),
        ("automatic by its title", answered("a", 5).data("subject", "Automatic reply: A question"), None),
        ("automatic by its header", answered("a", 5).data("headers", json!({"Auto-Submitted": "auto-replied"})), None),
        ("automatic by its sender", answered("a", 5).data("from", "no-reply@shop.example"), None),
        (
            "stated to be a person's",
            answered("a", 5).data("auto", false).data("from", "no-reply@shop.example"),
            Some(5),
        ),
        ("one without In-Reply-To", mail("sent", "a", 5).data("references", json!(["<q>"])), Some(5)),
    ] {
        assert_eq!(told(&waits(vec![asked("q", 0), answer])), [(0, minutes, minutes)], "{what}");
    }
}

#[test]
fn a_second_message_does_not_begin_the_wait_anew() {
    let conversation = vec![
        asked("q", 0),
        asked("q2", 10),
        answered("auto", 1).data("auto", true),
        answered("a", 60),
        asked("q3", 100),
    ];
    let rows = rows(conversation.clone());
    assert_eq!(told(&rows.waits), [(0, Some(60), Some(60)), (100, None, None)]);
    let thread = rows.thread.expect("a thread");
    assert_eq!(
        (thread.message_count, thread.messages_customer, thread.messages_agent, thread.wait_count),
        (5, 3, 1, 2)
    );
    assert_eq!(thread.unanswered_since.map(after_start), Some(100));
    assert_eq!(thread.first_wait_us, Some(60 * MINUTE));
    assert_eq!(rows.waits[0].next_asked_at.map(after_start), Some(100));
    assert_eq!(rows.waits[0].asked_message_id.as_deref(), Some("<q>"));
    // An answer that nobody waits for ends nothing.
    let mut answered_twice = conversation;
    answered_twice.push(answered("a2", 70));
    assert_eq!(told(&waits(answered_twice)).len(), 2);
}

#[test]
fn what_the_customers_machine_writes_is_no_question() {
    let notice = asked("n", 0).data("subject", "Out of Office: until Monday");
    assert_eq!(waits(vec![mail("sent", "a", -5), notice.clone()]), []);
    assert_eq!(told(&waits(vec![notice, asked("q", 7)])), [(7, None, None)]);
}

#[test]
fn an_answer_dated_before_its_question_is_one_and_no_wait_is_negative() {
    let rows = rows(vec![asked("q", 0), answered("a", -5)]);
    assert_eq!(told(&rows.waits), [(0, Some(-5), None)]);
    assert_eq!(rows.waits[0].flags, ["answered_before_asked"]);
    assert_eq!(rows.thread.and_then(|t| t.unanswered_since), None);
    // What was written before and answers something else does not.
    assert_eq!(told(&waits(vec![asked("q", 0), mail("sent", "a", -5)])), [(0, None, None)]);
    // It answers what was asked between the two as well.
    let between = waits(vec![asked("q", 0), asked("p", -2), answered("a", -5)]);
    assert_eq!(told(&between), [(-2, Some(-5), None)]);
    assert_eq!(between[0].ended_at.map(after_start), Some(0), "it was over once the message that it names was written");
    // In the same instant a question comes before its answer.
    assert_eq!(told(&waits(vec![asked("q", 0), answered("a", 0)])), [(0, Some(0), Some(0))]);
}

#[test]
fn events_with_one_message_id_are_one_message() {
    let again = |kind: &str, id: &str, minutes| mail(kind, id, minutes).data("message_id", "<q>");
    let rows = rows(vec![asked("q", 0), again("received", "copy", 3)]);
    assert_eq!(rows.thread.map(|t| (t.message_count, t.messages_customer)), Some((1, 1)));
    // Sent and received: it is ours.
    assert_eq!(waits(vec![again("received", "in", 0), again("sent", "out", 0)]), []);
    // One of the two says that a machine wrote it.
    let machine = again("sent", "auto", 1).data("auto", true);
    let rows = self::rows(vec![again("sent", "out", 0), machine]);
    assert_eq!(rows.thread.map(|t| (t.message_count, t.messages_agent)), Some((1, 0)));
}

fn chat(kind: &str, id: &str, minutes: i64) -> Told {
    let told = Told::new(&format!("message.{kind}"), id).data("channel", "chat").data("message_id", id);
    told.data("thread_id", "t").data("text", "Hello").at_s(minutes * 60)
}

#[test]
fn a_chat_waits_like_a_mail() {
    let note = chat("sent", "note", 2).data("visibility", "internal");
    let rows = rows(vec![chat("received", "q", 0), note, chat("sent", "a", 9).attribute("actor", "human:ann")]);
    assert_eq!(told(&rows.waits), [(0, Some(9), Some(9))]);
    assert_eq!(rows.waits[0].answered_by.as_deref(), Some("human:ann"));
    let thread = rows.thread.expect("a thread");
    assert_eq!((thread.thread_id.as_str(), thread.channel.as_str(), thread.message_count), ("t", "chat", 3));
}

#[test]
fn whose_a_thread_is_and_what_it_is_called() {
    let named = Told::new("note.added", "n").data("text", "called").attribute("correlationid", "thread:t").at_s(-60);
    assert_eq!(rows(vec![named.clone().subject("email:ann@example.com")]), ThreadRows::default());
    let rows = rows(vec![
        named.subject("email:ann@example.com"),
        chat("received", "1", 0).subject("phone:+4930123456"),
        asked("q", -10),
    ]);
    let Thread { thread_id, subject_id, title, channel, first_at, .. } = rows.thread.expect("a thread");
    assert_eq!((thread_id.as_str(), title.as_deref(), channel.as_str()), ("t", Some("A question"), "email"));
    assert_eq!(after_start(first_at), -10);
    let ann = self::rows(vec![asked("q", 0).subject("email:ann@example.com")]).thread.and_then(|t| t.subject_id);
    assert_eq!((subject_id, subject_id.is_some()), (ann, true));
    // Of mails alone: the id of the first.
    let mails = self::rows(vec![asked("q", 0), asked("p", -1)]).thread.expect("a thread");
    assert_eq!(mails.thread_id, "<p>");
}

fn conversation() -> impl Strategy<Value = Vec<Value>> {
    let one =
        (0..6i64, proptest::bool::ANY, proptest::option::weighted(0.4, 0..6usize), proptest::option::of(Just(true)));
    proptest::collection::vec(one, 0..8).prop_map(|all| {
        let mail = |(n, (minutes, is_sent, parent, auto)): (usize, (i64, bool, Option<usize>, Option<bool>))| {
            let kind = if is_sent { "sent" } else { "received" };
            mail(kind, &n.to_string(), minutes)
                .data("in_reply_to", parent.map_or(Value::Null, |p| format!("<{p}>").into()))
                .data("auto", auto.map_or(Value::Null, Value::from))
                .json()
        };
        all.into_iter().enumerate().map(mail).collect()
    })
}

proptest! {
    /// What `waiting_at` rests on: the waits of what was written by a time are those begun by then, and those that ended
    /// by then are over.
    #[test]
    fn waits_cut_at_a_time_are_those_of_what_was_written_by_then(mails in conversation(), at in 0..6i64) {
        let all = tellings(mails);
        let at = test_kit::BASE_TIME * SECOND + at * MINUTE;
        let by_then: Vec<Telling> = all.iter().filter(|t| t.stamp.occurred_at() <= at).cloned().collect();
        let cut: Vec<(i64, Option<i64>)> = thread(&all, false)
            .waits
            .iter()
            .filter(|w| w.asked_at <= at)
            .map(|w| (w.asked_at, w.ended_at.filter(|ended| *ended <= at)))
            .collect();
        let folded: Vec<_> = thread(&by_then, false).waits.iter().map(|w| (w.asked_at, w.ended_at)).collect();
        prop_assert_eq!(&cut, &folded);
        for wait in thread(&all, false).waits {
            prop_assert!(wait.wait_us.is_none_or(|us| us >= 0));
        }
    }
}
