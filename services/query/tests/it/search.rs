//! Who may be meant.

use serde_json::{Value, json};
use test_kit::Event;

use crate::{asking::rows, world::World};

fn named(id: &str, subject: &str, name: &str) -> Event {
    Event::new("customer.profile.updated", id).subject(subject).data("fields", json!({"name": name}))
}

async fn world_of_people() -> (World, domain::Position) {
    let mut world = World::start().await;
    let position = world
        .publish([
            named("n-1", "email:ann@example.com", "Ann Lee").identifiers("phone:+4930123456,external.crm:A-77"),
            named("n-2", "email:bob@example.com", "Bob Änders").at_s(10),
            named("n-3", "customer_no:1001", "Anna Maria O'Neil").at_s(20),
            Event::order_placed("O-2026-1").subject("email:ann@example.com").at_s(30),
            Event::case_opened("K-9").subject("email:bob@example.com").at_s(40),
        ])
        .await;
    (world, position)
}

#[tokio::test(flavor = "multi_thread")]
async fn by_name_identifier_and_number() {
    let (world, position) = world_of_people().await;
    let id = world.page("email:ann@example.com", &position).await["customer_id"].as_str().expect("an id").to_owned();
    for (q, expected, by) in [
        ("ann", &["Ann Lee", "Anna Maria O'Neil"][..], "identifier"),
        ("ANN L", &["Ann Lee"], "name"),
        ("lee", &["Ann Lee"], "last_name"),
        ("äND", &["Bob Änders"], "last_name"),
        ("o'neil", &["Anna Maria O'Neil"], "last_name"),
        ("ann@example.com", &["Ann Lee"], "reference"),
        ("email:bob@", &["Bob Änders"], "identifier"),
        ("030 123456", &["Ann Lee"], "reference"),
        ("+49 30 12", &["Ann Lee"], "identifier"),
        ("A-7", &["Ann Lee"], "identifier"),
        ("100", &["Anna Maria O'Neil"], "identifier"),
        ("O-2026", &["Ann Lee"], "order"),
        ("K-9", &["Bob Änders"], "case"),
        (id.as_str(), &["Ann Lee"], "reference"),
        ("nobody at all", &[], "none"),
        ("%", &[], "none"),
        ("_", &[], "none"),
    ] {
        let posted = world.post_at("/api/v1/customers/search", &json!({"q": q}), &position).await;
        assert_eq!(posted.status, 200, "{q}: {}", posted.body);
        assert_eq!(rows(&posted.body["items"], "name"), expected, "{q}: {}", posted.body);
        let found_by = posted.body["items"][0]["matched"]["by"].as_str().unwrap_or("none");
        assert_eq!(found_by, by, "{q}: {}", posted.body);
        let encoded: String = q.bytes().map(|b| format!("%{b:02X}")).collect();
        let got = world.get_at(&format!("/api/v1/customers?q={encoded}"), &position).await;
        assert_eq!(got.body["items"], posted.body["items"], "{q}: GET and POST answer the same");
        for item in posted.body["items"].as_array().expect("items") {
            let page = world.get_at(item["href"].as_str().expect("a path"), &position).await;
            assert_eq!(page.body["customer_id"], item["customer_id"], "{q}");
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_and_go_on() {
    let mut world = World::start().await;
    let people = (0..25).map(|n| named(&format!("n-{n}"), &format!("user_id:u{n:02}"), "Same Name").at_s(n));
    let position = world.publish(people).await;
    for q in ["u", "same", "NAME"] {
        let (mut cursor, mut found) = (Value::Null, Vec::new());
        loop {
            let body = json!({"q": q, "limit": 7, "cursor": cursor});
            let page = world.post_at("/api/v1/customers/search", &body, &position).await;
            assert_eq!(page.status, 200, "{q}: {}", page.body);
            found.extend(rows(&page.body["items"], "customer_id"));
            cursor = page.body["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
            assert!(found.len() <= 25, "{q}: pages end");
        }
        assert_eq!(found.len(), 25, "{q}");
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 25, "{q}: nobody twice");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_searched_for() {
    let (world, position) = world_of_people().await;
    for (body, status, problem) in [
        (json!({}), 400, "malformed-body"),
        (json!({"q": ""}), 400, "malformed-parameter"),
        (json!({"q": "a\u{0}b"}), 400, "malformed-parameter"),
        (json!({"q": "a", "limit": 101}), 400, "malformed-parameter"),
        (json!({"q": "a", "cursor": "x"}), 400, "malformed-parameter"),
        (json!({"q": "a", "more": 1}), 400, "malformed-body"),
        (json!({"q": "a".repeat(20_000)}), 413, "body-too-long"),
    ] {
        let answer = world.post_at("/api/v1/customers/search", &body, &position).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{}", answer.body);
    }
    for path in
        ["/api/v1/customers", "/api/v1/customers?q=", "/api/v1/customers?q=a&limit=0", "/api/v1/customers?q=a&x=1"]
    {
        let answer = world.get_at(path, &position).await;
        assert_eq!((answer.status, answer.problem()), (400, "malformed-parameter"), "{path}: {}", answer.body);
    }
    assert_eq!(world.get("/api/v1/customers/search").await.status, 405);
    world.stop().await;
}
