//! What an operator does after something was put right: dead letters are folded again, rejected events are sent again.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use system_tests::stack::{Ended, Stack, binary, command};

/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn order(id: &str, time: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "redriven", "type": "order.placed", "time": time,
           "subject": "email:ann@example.com", "data": {"order_id": id, "lines": []}})
}

/// Checks the exit code and hands back what was said.
fn said(output: &Output, code: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

async fn orders(database: &mut PgConnection) -> Vec<String> {
    let orders = sqlx::query_scalar("SELECT order_id FROM sales.orders ORDER BY order_id");
    orders.fetch_all(database).await.expect("orders")
}

/// One more collector on the same log, whose events may lie a year ahead, and its address.
async fn lenient_collector(stack: &Stack) -> (Ended, String) {
    let base = local_stack::free_ports(20).expect("a block of ports is free");
    let collector = command(binary())
        .arg("collector")
        .env("RAPPORT_PORT_BASE", base.to_string())
        .env("RAPPORT_KAFKA", stack.kafka())
        .env("RAPPORT_TIME_AHEAD_S_MAX", "31536000")
        .current_dir(stack.data_dir())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Ended)
        .expect("a collector starts");
    let (ready, end) = (format!("http://127.0.0.1:{}/readyz", base + 10), Instant::now() + PATIENCE);
    while !stack.http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(Instant::now() < end, "the collector is not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (collector, format!("http://127.0.0.1:{base}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_right_goes_in() {
    let stack = Stack::start().await;
    let mut database = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    dead_letters(&stack, &mut database).await;
    rejected(&stack, &mut database).await;
    stack.stop().await;
}

/// One that a fold of before could not take, and one that no fold will.
async fn dead_letters(stack: &Stack, database: &mut PgConnection) {
    assert!(said(&stack.rapport(&["dead-letters", "redrive"]), 0).contains("no dead letter"));
    let text = order("folded-late", "2026-03-01T10:00:00Z").to_string();
    let wire: rapport_proto::v1::Interaction = rapport_proto::json::read(text.as_bytes()).expect("a valid event");
    for (offset, value) in [(1_000_000, prost::Message::encode_to_vec(&wire)), (1_000_001, vec![0xff; 3])] {
        sqlx::query(
            "INSERT INTO backbone.dead_letters
                 (model, generation, partition, log_offset, type, error, fold, key, value, received_at, headers)
             SELECT 'sales', generation, 0, $1, 'io.rapport.order.placed', 'a mistake', 'sales 0', '', $2, '2026-03-02', '{}'
             FROM backbone.generations WHERE model = 'sales' AND state = 'live'",
        )
        .bind(offset)
        .bind(value)
        .execute(&mut *database)
        .await
        .expect("a dead letter");
    }
    let redrive = |more: &[&str], code| said(&stack.rapport(&[&["dead-letters", "redrive"], more].concat()), code);
    assert!(redrive(&["sales/1/0-7"], 65).contains("there is no dead letter sales/1/0-7"));
    assert!(redrive(&["sales/1/0-1000000", "--model", "sales"], 64).contains("--model"));
    for none in [&["--model", "service"][..], &["--type", "case.opened"]] {
        assert!(redrive(none, 0).contains("no dead letter"), "{none:?}");
    }
    let trial: Value = serde_json::from_str(&redrive(&["--dry-run", "--json"], 1)).expect("one JSON document");
    assert_eq!((&trial["folded"], &trial["failed"]), (&1.into(), &1.into()), "{trial}");
    assert_eq!(orders(database).await, Vec::<String>::new(), "a dry run leaves everything as it is");
    assert!(redrive(&["sales/1/0-1000000"], 0).contains("1 folded, 0 failed again"));
    assert_eq!(orders(database).await, ["folded-late"]);
    let again = redrive(&["--type", "order.placed"], 1);
    assert!(again.contains("sales/1/0-1000001 (io.rapport.order.placed) failed again: "), "{again}");
    let shown = said(&stack.rapport(&["dead-letters", "list"]), 0);
    assert!(shown.contains("sales/1/0-1000001") && !shown.contains("a mistake"), "its new error is shown: {shown}");
    assert!(!shown.contains("sales/1/0-1000000"), "{shown}");
}

/// One that another collector takes, and one that lacks what every order has.
async fn rejected(stack: &Stack, database: &mut PgConnection) {
    let ahead: String =
        sqlx::query_scalar(r#"SELECT to_char(now() + interval '100 days', 'YYYY-MM-DD"T"12:00:00"Z"')"#)
            .fetch_one(&mut *database)
            .await
            .expect("a time");
    let mut nameless = order("nameless", "2026-03-01T10:00:00Z");
    nameless["data"]["order_id"] = Value::Null;
    let answer = stack.publish(&json!([order("early", &ahead), nameless])).await;
    assert_eq!(answer.body["rejected"], 2, "{answer:?}");
    let id = answer.body["results"][0]["rejection_id"].as_str().expect("an id").to_owned();

    let redrive = |more: &[&str], code| said(&stack.rapport(&[&["rejected", "redrive"], more].concat()), code);
    assert!(redrive(&["0-999999", &id], 65).contains("there is no rejected event 0-999999"));
    let trial: Value = serde_json::from_str(&redrive(&["--dry-run", "--json"], 1)).expect("one JSON document");
    assert_eq!((&trial["accepted"], &trial["rejected"]), (&0.into(), &2.into()), "{trial}");
    assert!(redrive(&[&id], 1).contains("rejected again: out_of_range /time"));

    let (collector, url) = lenient_collector(stack).await;
    let trial = redrive(&[&id, "--url", &url, "--dry-run"], 0);
    assert!(trial.contains("1 accepted") && !trial.contains("position"), "{trial}");
    let all = redrive(&["--url", &url], 1);
    assert!(all.contains("1 accepted, 1 rejected again") && all.contains("/data/order_id"), "{all}");
    let position = all.lines().find_map(|line| line.strip_prefix("position ")).expect("a position");
    let page = stack.get(&format!("/api/v1/customers/email:ann@example.com/timeline?position={position}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(orders(database).await, ["early", "folded-late"]);
    // Once more, alone: it is known.
    assert!(redrive(&[&id, "--url", &url], 0).contains(&format!("{id} accepted, position p1.")));
    drop(collector);
    let listed = said(&stack.rapport(&["rejected", "list", "--json"]), 0);
    assert_eq!(listed.matches("\"rejection_id\"").count(), 2, "what is rejected again is not kept twice: {listed}");
}
