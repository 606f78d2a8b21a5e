//! Timelines, page by page.

use domain::Position;
use serde_json::Value;
use test_kit::Event;

use crate::{asking::rows, world::World};

const TIMELINE: &str = "/api/v1/customers/email:ann@example.com/timeline";

/// All pages one after another.
async fn all(world: &World, query: &str, position: &Position) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = world.get_at(&format!("{TIMELINE}?{query}&cursor={cursor}"), position).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        pages.push(rows(&answer.body["items"], "id"));
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return pages,
        }
        assert!(pages.len() < 100, "pages end");
    }
}

/// Many events at one instant: every page takes up exactly where the last one ended.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_complete_and_repeat_nothing() {
    let mut world = World::start().await;
    let ann = "email:ann@example.com";
    let events = (0..23).map(|n| Event::page_viewed(&format!("v-{n:02}")).subject(ann).at_s(n / 10));
    let position = world.publish(events).await;
    let whole = all(&world, "limit=500", &position).await.concat();
    let mut sorted = whole.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..23).map(|n| format!("v-{n:02}")).collect::<Vec<_>>());
    let tens: Vec<_> = whole.iter().map(|id| &id[2..3]).collect();
    assert!(tens.is_sorted_by(|a, b| a >= b), "newest first: {whole:?}");
    for limit in [1, 5, 22, 23, 24] {
        let pages = all(&world, &format!("limit={limit}"), &position).await;
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit), "limit {limit}: {pages:?}");
        assert_eq!(pages.concat(), whole, "limit {limit}");
    }
    let item = &world.get_at(TIMELINE, &position).await.body["items"][0];
    assert_eq!(item["payload"]["data"]["url"], "https://shop.example/");
    assert_eq!((item["channel"].as_str(), item["source"].as_str()), (Some("web"), Some("test")));
    assert!(item["occurred_at"].as_str().and_then(domain::time::parse).is_some(), "{item}");
    assert!(item.get("stamp").is_none());
    world.stop().await;
}

/// A customer's own events, those of the entities it owns, and those it took part in; each once.
#[tokio::test(flavor = "multi_thread")]
async fn whose_timeline_an_event_is_on() {
    let mut world = World::start().await;
    let (ann, bob) = ("email:ann@example.com", "email:bob@example.com");
    let position = world
        .publish([
            Event::order_placed("o-1").subject(ann),
            Event::payment_recorded("paid", "o-1").at_s(10),
            Event::payment_recorded("paid-by-bob", "o-1").subject(bob).at_s(20),
            Event::email_received("to-both").subject(bob).attribute("participants", ann).at_s(30),
            Event::email_received("only-bob").subject(bob).at_s(40),
            Event::page_viewed("seen").subject(ann).attribute("participants", ann).at_s(50),
            Event::page_viewed("taken-back").subject(ann).at_s(60),
            Event::voided("void", "taken-back").at_s(70),
        ])
        .await;
    let everything = all(&world, "limit=50", &position).await.concat();
    assert_eq!(everything, ["seen", "to-both", "paid-by-bob", "paid", "o-1"]);
    for (query, expected) in [
        ("channel=web", &["seen"][..]),
        ("type=payment.recorded", &["paid-by-bob", "paid"]),
        ("type=io.rapport.payment.recorded", &["paid-by-bob", "paid"]),
        ("type=none.such", &[]),
        ("from=2026-03-02T08:00:10Z&to=2026-03-02T08:00:30Z", &["paid-by-bob", "paid"]),
        ("from=2026-03-02T09:00:30%2B01:00", &["seen", "to-both"]),
        ("to=2026-03-02T08:00:00Z", &[]),
    ] {
        for limit in [1, 50] {
            let found = all(&world, &format!("{query}&limit={limit}"), &position).await.concat();
            assert_eq!(found, expected, "{query}, limit {limit}");
        }
    }
    world.stop().await;
}

/// Large events end a page early, and the next page goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_bounded_in_bytes() {
    let mut world = World::start().await;
    let text = "x".repeat(240 * 1024);
    let mut position = Position::default();
    for n in 0..24 {
        let event =
            Event::new("note.added", &format!("n-{n:02}")).subject("email:ann@example.com").data("text", text.as_str());
        position = world.publish([event.at_s(n)]).await;
    }
    let answer = world.get_at(&format!("{TIMELINE}?limit=500"), &position).await;
    let size = answer.body.to_string().len();
    assert!(size < 5 * 1024 * 1024, "{size} bytes");
    assert!(matches!(answer.body["next_cursor"], Value::String(_)));
    let pages = all(&world, "limit=500", &position).await;
    assert!(pages.len() > 1);
    assert_eq!(pages.concat(), (0..24).rev().map(|n| format!("n-{n:02}")).collect::<Vec<_>>());
    world.stop().await;
}
