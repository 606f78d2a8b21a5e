//! A touchpoint goes in, and the next question asked at its position knows of it, in all three models, every time.

use serde_json::{Value, json};
use system_tests::stack::Stack;

/// How often in a row. No sleep anywhere: the position is what makes it work.
const TRIES: usize = 1_000;

fn event(n: usize, what: &str, kind: &str, subject: Option<String>, data: Value) -> Value {
    let mut event = json!({
        "specversion": "1.0", "id": format!("{what}-{n}"), "source": "walk", "type": kind,
        "time": domain::time::format(1_772_359_200_000_000 + n as i64 * 60_000_000), "data": data,
    });
    if let Some(subject) = subject {
        event["subject"] = subject.into();
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_times_in_a_row() {
    let stack = Stack::start().await;
    for n in 0..TRIES {
        let (email, phone) = (format!("email:Walker{n}@Example.com"), format!("phone:+4930{:07}", 1_000_000 + n));
        let line = json!({"sku": "KETTLE", "quantity": 1, "unit_price": {"amount_minor": 4990, "currency": "EUR"}});
        let order = event(
            n,
            "order",
            "order.placed",
            Some(email.clone()),
            json!({"order_id": format!("w{n}"), "lines": [line]}),
        );
        let call = event(
            n,
            "call",
            "call.ended",
            Some(phone.clone()),
            json!({"call_id": format!("w{n}"), "disposition": "answered", "duration_s": 180, "direction": "inbound"}),
        );
        let case = event(
            n,
            "case",
            "case.opened",
            Some(phone.clone()),
            json!({"case_id": format!("w{n}"), "title": "The kettle leaks", "priority": "high"}),
        );
        let link = event(n, "link", "identity.link.asserted", None, json!({"left": email, "right": phone}));
        let mut position = None;
        for published in [order, json!([call, case]), link] {
            let answer = stack.publish(&published).await;
            assert_eq!(answer.status, 200, "try {n}: {answer:?}");
            // The last position covers what this collector acknowledged before, in whichever partition it lies.
            position = answer.position;
        }
        let position = position.expect("an acknowledgement carries its position");
        let page = stack.get(&format!("/api/v1/customers/email:walker{n}@example.com?position={position}")).await;
        assert_eq!(page.status, 200, "try {n}: {page:?}");
        let ids = |area: &str, list: &str, id: &str| -> Vec<String> {
            page.body[area][list]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|row| row[id].as_str().map(str::to_owned))
                .collect()
        };
        let expected = vec![format!("w{n}")];
        assert_eq!(ids("sales", "orders", "order_id"), expected, "try {n}: {:#}", page.body);
        assert_eq!(ids("service", "cases", "case_id"), expected, "try {n}: {:#}", page.body);
        assert_eq!(ids("service", "calls", "call_id"), expected, "try {n}: {:#}", page.body);
        let identifiers = page.body["identifiers"].to_string();
        assert!(
            identifiers.contains(&format!("walker{n}@example.com")) && identifiers.contains(&phone[6..]),
            "try {n}: {identifiers}"
        );
    }
    stack.stop().await;
}
