//! The tables and views of threads: however messages arrive, whoever folds them, whenever one asks.

use chrono::{DateTime, Utc};
use domain::time::{SECOND, to_chrono};
use projection::{Event, Mode, direct::Direct};
use projector_service::{OF_NOW, Service};
use serde_json::{Value, json};
use sqlx::PgConnection;
use test_kit::Event as Told;

use crate::history::{NAMESPACE, RECEIVED_AT, record, surviving};

async fn open() -> Direct<Service> {
    Direct::open(&test_kit::postgres().await, Service, NAMESPACE).await.expect("a database of its own")
}

fn records(told: Vec<Told>) -> Vec<Event> {
    told.into_iter().enumerate().map(|(n, told)| record(&told.json(), RECEIVED_AT, n as i64)).collect()
}

fn mail(kind: &str, id: &str, minutes: i64, names: &[&str]) -> Told {
    let references: Vec<String> = names.iter().map(|name| format!("<{name}@example.com>")).collect();
    Told::new(&format!("email.message.{kind}"), id)
        .data("message_id", format!("<{id}@example.com>"))
        .data("from", "a@example.com")
        .data("to", json!([]))
        .data("sent_at", domain::time::format((test_kit::BASE_TIME + minutes * 60) * SECOND))
        .data("subject", "A question")
        .data("in_reply_to", references.last().map_or(Value::Null, |last| last.as_str().into()))
        .data("references", json!(references))
        .at_s(minutes * 60)
}

/// Six hours after the histories begin.
fn later() -> DateTime<Utc> {
    to_chrono((test_kit::BASE_TIME + 6 * 3_600) * SECOND)
}

/// Thread, state, wait and age in seconds.
type Waiting = (String, String, Option<String>, Option<String>);

async fn waiting_at(connection: &mut PgConnection, at: DateTime<Utc>) -> Vec<Waiting> {
    const SQL: &str =
        "SELECT thread_id, state, wait_s::text, age_s::text FROM service.waiting_at($1) ORDER BY thread_id";
    sqlx::query_as(SQL).bind(at).fetch_all(connection).await.expect("who waits")
}

fn row(thread: &str, state: &str, wait: Option<&str>, age: Option<&str>) -> Waiting {
    (thread.to_owned(), state.to_owned(), wait.map(str::to_owned), age.map(str::to_owned))
}

/// Folds each of these orders of arrival into new tables, one event a batch and all in one, and compares the digests.
/// Leaves the tables of the last.
async fn arrive_in_any_order(db: &mut Direct<Service>, events: &[Event]) {
    let mut orders = vec![events.to_vec()];
    orders.push(events.iter().rev().cloned().collect());
    for n in 1..events.len() {
        orders.push(events[n..].iter().chain(&events[..n]).cloned().collect());
    }
    db.reset().await.expect("new tables");
    db.fold(surviving(events)).await.expect("one batch");
    let expected = db.digest().await.expect("a digest");
    for (n, order) in orders.into_iter().enumerate() {
        for size in [1, 2, order.len()] {
            db.reset().await.expect("new tables");
            for batch in order.chunks(size) {
                assert_eq!(db.fold(batch.to_vec()).await.expect("a batch"), 0, "nothing is set aside");
            }
            assert_eq!(db.digest().await.expect("a digest"), expected, "order {n}, {size} a batch");
        }
    }
}

#[tokio::test]
async fn replies_before_their_parents_and_threads_that_merge() {
    let mut db = open().await;
    // Two threads, and the mail that links them; the parent of the second never comes.
    let events = records(vec![
        mail("received", "q", 0, &[]),
        mail("received", "q2", 20, &["lost"]),
        mail("received", "q3", 30, &["lost"]),
        mail("sent", "auto", 1, &["q"]).data("auto", true),
        mail("sent", "a", 50, &["q", "q3"]).attribute("actor", "human:ann"),
        mail("received", "alone", 60, &[]).subject("email:ann@example.com"),
    ]);
    arrive_in_any_order(&mut db, &events).await;
    let expected = [
        row("<alone@example.com>", "unanswered", None, Some("18000.000")),
        row("<q@example.com>", "answered", Some("3000.000"), None),
    ];
    assert_eq!(waiting_at(&mut db.connection, later()).await, expected);
    let parents: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT message_id, parent_message_id, reply_min::text FROM service.messages WHERE in_reply_to IS NOT NULL ORDER BY 1",
    )
    .fetch_all(&mut db.connection)
    .await
    .expect("messages");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        parents,
        [
            ("<a@example.com>".to_owned(), text("<q3@example.com>"), text("20.000")),
            ("<auto@example.com>".to_owned(), text("<q@example.com>"), text("1.000")),
            ("<q2@example.com>".to_owned(), None, None),
            ("<q3@example.com>".to_owned(), None, None),
        ]
    );
}

#[tokio::test]
async fn a_void_parts_what_a_message_had_linked_and_a_voided_void_changes_nothing() {
    let mut db = open().await;
    let mut told = vec![
        mail("received", "q", 0, &[]),
        mail("received", "p", 10, &[]),
        mail("sent", "a", 50, &["q", "p"]),
        Told::voided("v", "a").at_s(9_000),
    ];
    let parted = [
        row("<p@example.com>", "unanswered", None, Some("21000.000")),
        row("<q@example.com>", "unanswered", None, Some("21600.000")),
    ];
    arrive_in_any_order(&mut db, &records(told.clone())).await;
    assert_eq!(waiting_at(&mut db.connection, later()).await, parted);
    told.push(Told::voided("w", "v").at_s(9_001));
    arrive_in_any_order(&mut db, &records(told)).await;
    assert_eq!(waiting_at(&mut db.connection, later()).await, parted);
}

#[tokio::test]
async fn a_lesser_copy_takes_the_place_of_the_other() {
    let mut db = open().await;
    let copy = |told: Told, received: i64, offset: i64| record(&told.json(), RECEIVED_AT + received, offset);
    let mut events = vec![
        copy(mail("received", "q", 0, &[]), 0, 0),
        copy(mail("received", "p", 10, &[]), 0, 1),
        copy(mail("sent", "a", 50, &["p"]), 9, 2),
        // It answered the other one; and a void that was none.
        copy(mail("sent", "a", 40, &["q"]), 5, 3),
        copy(Told::voided("x", "q").at_s(100), 8, 4),
        copy(Told::new("note.added", "x").data("text", "nobody there").at_s(100), 2, 5),
    ];
    arrive_in_any_order(&mut db, &events).await;
    let expected = [
        row("<p@example.com>", "unanswered", None, Some("21000.000")),
        row("<q@example.com>", "answered", Some("2400.000"), None),
    ];
    assert_eq!(waiting_at(&mut db.connection, later()).await, expected);
    // A message that turns out to be none.
    events.push(copy(Told::new("note.added", "a").data("text", "a slip").at_s(40), 1, 6));
    arrive_in_any_order(&mut db, &events).await;
    assert_eq!(waiting_at(&mut db.connection, later()).await.iter().filter(|w| w.1 == "unanswered").count(), 2);
}

#[tokio::test]
async fn every_mode_gives_the_same_threads() {
    let mut db = open().await;
    let events = records(vec![
        mail("received", "q", 0, &[]),
        mail("sent", "a", 50, &["p"]),
        mail("received", "p", 10, &["q"]),
        mail("received", "r", 80, &["a"]),
    ]);
    db.fold(events.clone()).await.expect("one batch");
    let expected = db.digest().await.expect("a digest");
    for mode in [Mode::Optimistic, Mode::Careful, Mode::Exclusive] {
        db.reset().await.expect("new tables");
        for event in &events {
            db.apply(vec![event.clone()], mode).await.expect("applied");
        }
        if mode != Mode::Optimistic {
            db.apply(events.clone(), mode).await.expect("applied again");
        }
        assert_eq!(db.digest().await.expect("a digest"), expected, "{mode:?}");
    }
}

/// A conversation of some length: what is asked, who asks, what the answer must be by the waits that its messages come to.
#[tokio::test]
async fn who_waits_at_any_time() {
    let mut db = open().await;
    let events = records(vec![
        mail("received", "q", 0, &[]).subject("email:ann@example.com"),
        mail("received", "q2", 10, &["q"]),
        mail("sent", "auto", 11, &["q2"]).data("subject", "Automatic reply: A question"),
        mail("sent", "a", 60, &["q2"]),
        mail("received", "q3", 100, &["a"]),
        mail("sent", "early", 90, &["q3"]),
    ]);
    db.fold(events).await.expect("folded");
    for (minutes, expected) in [
        (-1, None),
        (0, Some(("unanswered", None, Some("0.000")))),
        (59, Some(("unanswered", None, Some("3540.000")))),
        (60, Some(("answered", Some("3600.000"), None))),
        (99, Some(("answered", Some("3600.000"), None))),
        (100, Some(("answered", None, None))),
    ] {
        let at = to_chrono((test_kit::BASE_TIME + minutes * 60) * SECOND);
        let expected: Vec<Waiting> =
            expected.into_iter().map(|(state, wait, age)| row("<q@example.com>", state, wait, age)).collect();
        assert_eq!(waiting_at(&mut db.connection, at).await, expected, "after {minutes} minutes");
    }
    let mut tx = sqlx::Connection::begin(&mut db.connection).await.expect("a transaction");
    let differing: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT * FROM service.waiting EXCEPT ALL SELECT * FROM service.waiting_at(now())) AS d",
    )
    .fetch_one(&mut *tx)
    .await
    .expect("both");
    let flags: Vec<String> =
        sqlx::query_scalar("SELECT unnest(flags) FROM service.waiting").fetch_all(&mut *tx).await.expect("flags");
    assert_eq!((differing, flags.as_slice()), (0, ["answered_before_asked".to_owned()].as_slice()));
}

#[tokio::test]
async fn a_thread_beyond_the_cap_is_flagged_and_keeps_its_owner() {
    let mut db = open().await;
    let message = |n: i64| {
        let told = Told::new("message.received", &format!("m{n}")).data("channel", "chat").data("text", "Hello");
        told.data("message_id", n.to_string()).data("thread_id", "t").at_s(n)
    };
    let mut told: Vec<Told> = (0..10_002).map(message).collect();
    told.push(message(10_003).subject("email:ann@example.com"));
    let events = records(told);
    for batch in events.chunks(4_000) {
        db.fold(batch.to_vec()).await.expect("folded");
    }
    let (count, flags, owned): (i32, Vec<String>, bool) =
        sqlx::query_as("SELECT message_count, flags, subject_id IS NOT NULL FROM service.threads")
            .fetch_one(&mut db.connection)
            .await
            .expect("a thread");
    assert_eq!((count, flags.as_slice(), owned), (10_000, ["facts_capped".to_owned()].as_slice(), true));
}

/// Two workers, each with half of the mails of a few long threads, at the same time: each mail links two earlier ones.
#[tokio::test]
async fn two_workers_at_once_join_the_same_threads() {
    let url = test_kit::postgres().await;
    let mut one = Direct::open(&url, Service, NAMESPACE).await.expect("a first worker");
    let mut two = Direct::open(&url, Service, NAMESPACE).await.expect("a second worker");
    let linked = |n: i64| [(n - 5).to_string(), (n * 7 % 400 / 5 * 5 + n % 5).to_string()];
    let events = records(
        (0..400)
            .map(|n| {
                let names = linked(n);
                let names: Vec<&str> = if n % 3 == 0 { vec![] } else { names.iter().map(String::as_str).collect() };
                mail(if n % 4 == 0 { "sent" } else { "received" }, &n.to_string(), n, &names)
            })
            .collect(),
    );
    let (left, right): (Vec<_>, Vec<_>) = events.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    let work = |mut db: Direct<Service>, events: Vec<(usize, Event)>| async move {
        for batch in events.rchunks(7) {
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

/// Ids as long as an event may be are no reason to set it aside.
#[tokio::test]
async fn long_ids_are_kept() {
    let mut db = open().await;
    let long = "x".repeat(100_000);
    let events = records(vec![
        mail("received", "q", 0, &[]).data("message_id", format!("<{long}>")),
        mail("sent", "a", 1, &[]).data("in_reply_to", format!("<{long}>")),
    ]);
    assert_eq!(db.fold(events).await.expect("folded"), 0, "nothing is set aside");
    let shown: (i32, i64) = sqlx::query_as(
        "SELECT max(message_count), (SELECT count(*) FROM service.messages WHERE length(parent_message_id) > 100000)
         FROM service.threads",
    )
    .fetch_one(&mut db.connection)
    .await
    .expect("one thread");
    assert_eq!(shown, (2, 1));
}

/// A table or view that is neither digested nor in the list of those that depend on now fails here.
#[tokio::test]
async fn every_table_and_view_is_digested_or_depends_on_now() {
    const BOOKKEEPING: &[&str] = &["facts", "entities", "voids", "thread_nodes"];
    let mut db = open().await;
    let digested: Vec<&str> = projection::ReadModel::digested(db.model()).iter().map(|(view, _)| *view).collect();
    let views: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'service'::regnamespace AND relkind IN ('v', 'm', 'r', 'p')",
    )
    .fetch_all(&mut db.connection)
    .await
    .expect("the views");
    assert!(!views.is_empty());
    for view in &views {
        let known = [digested.contains(&view.as_str()), OF_NOW.contains(&view.as_str())];
        assert_eq!(
            known.iter().filter(|is| **is).count(),
            1,
            "service.{view} is in no digest, or in one though it depends on now"
        );
    }
    let schema = db.generation().schema.clone();
    // Which tables a digested view reads, be it by way of another one.
    let unread: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r'
            AND NOT EXISTS (
                SELECT FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
                WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = c.oid AND v.relname = ANY($2)
            )",
    )
    .bind(&schema)
    .bind(&digested)
    .fetch_all(&mut db.connection)
    .await
    .expect("the tables");
    for table in &unread {
        assert!(BOOKKEEPING.contains(&table.as_str()), "table {table} is behind no digested view");
    }
    let functions: Vec<(String, bool)> = sqlx::query_as(
        "SELECT proname::text, obj_description(oid, 'pg_proc') IS NOT NULL FROM pg_proc
         WHERE pronamespace = 'service'::regnamespace",
    )
    .fetch_all(&mut db.connection)
    .await
    .expect("the functions");
    assert_eq!(functions, [("waiting_at".to_owned(), true)]);
}

/// An analyst asks in words of SQL, by the view and by the function.
#[tokio::test]
async fn an_analyst_may_ask() {
    let mut db = open().await;
    db.fold(records(vec![mail("received", "q", 0, &[]), mail("sent", "a", 5, &["q"])])).await.expect("folded");
    sqlx::raw_sql("SET ROLE analyst").execute(&mut db.connection).await.expect("the role");
    for sql in [
        "SELECT count(*) FROM service.waiting WHERE state = 'answered'",
        "SELECT count(*) FROM service.waiting_at(at => now())",
        "SELECT count(*) FROM service.waiting_at()",
        "SELECT count(*) FROM service.messages WHERE parent_at IS NOT NULL",
        "SELECT count(*) FROM service.thread_waits WHERE wait_s = 300",
    ] {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut db.connection).await.expect(sql);
        assert_eq!(count, 1, "{sql}");
    }
}
