//! References that moved: merged, taken apart, shared.

use serde_json::json;
use test_kit::Event;

use crate::{asking::rows, world::World};

#[tokio::test(flavor = "multi_thread")]
async fn merged_and_taken_apart() {
    let mut world = World::start().await;
    let (ann, work) = ("email:ann@example.com", "email:ann@work.example");
    let position = world
        .publish([Event::order_placed("o-1").subject(ann), Event::order_placed("o-2").subject(work).at_s(10)])
        .await;
    let id_of = async |world: &World, reference: &str, position: &_| {
        world.page(reference, position).await["customer_id"].as_str().expect("an id").to_owned()
    };
    let (first, second) = (id_of(&world, ann, &position).await, id_of(&world, work, &position).await);
    assert_ne!(first, second);

    let position = world.publish([Event::link_asserted("l-1", ann, work).at_s(20)]).await;
    for reference in [ann, work, &first, &second] {
        let page = world.page(reference, &position).await;
        assert_eq!(page["customer_id"], json!(first), "{reference}: the earliest subject gives its id");
        assert_eq!(rows(&page["sales"]["orders"], "order_id"), ["o-2", "o-1"]);
    }

    let revoked = Event::new("identity.link.revoked", "l-2").data("left", ann).data("right", work).at_s(30);
    let position = world.publish([revoked]).await;
    assert_eq!(rows(&world.page(ann, &position).await["sales"]["orders"], "order_id"), ["o-1"]);
    assert_eq!(rows(&world.page(work, &position).await["sales"]["orders"], "order_id"), ["o-2"]);
    for id in [&first, &second] {
        let answer = world.get_at(&format!("/api/v1/customers/{id}"), &position).await;
        assert_eq!((answer.status, answer.problem()), (300, "several-customers"), "{}", answer.body);
        let mut candidates = rows(&answer.body["candidates"], "customer_id");
        candidates.sort_unstable();
        let mut both = vec![first.clone(), second.clone()];
        both.sort_unstable();
        assert_eq!(candidates, both);
        // Each candidate says how to ask for it alone.
        for candidate in answer.body["candidates"].as_array().expect("a list") {
            let followed = world.get_at(candidate["href"].as_str().expect("a path"), &position).await;
            assert_eq!((followed.status, &followed.body["customer_id"]), (200, &candidate["customer_id"]));
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_identifiers_have_candidates() {
    let mut world = World::start().await;
    // Six logins on one address make it a hub, which says nothing about who somebody is.
    let shared = "email:office@example.com";
    let colleagues = (0..6).map(|n| {
        Event::order_placed(&format!("o-{n}"))
            .subject(&format!("user_id:u{n}"))
            .identifiers(&format!("{shared},account:acme"))
            .at_s(n)
    });
    let position = world.publish(colleagues).await;
    let answer = world.get_at(&format!("/api/v1/customers/{shared}"), &position).await;
    assert_eq!(answer.status, 300, "{}", answer.body);
    assert_eq!(answer.body["candidates"].as_array().map(Vec::len), Some(6));
    for candidate in answer.body["candidates"].as_array().expect("a list") {
        assert!(candidate["ref"].as_str().is_some_and(|r| r.starts_with("user_id:")), "{candidate}");
        let page = world.get_at(candidate["href"].as_str().expect("a path"), &position).await;
        assert_eq!(page.body["sales"]["orders"].as_array().map(Vec::len), Some(1), "{}", page.body);
        let hubs: Vec<_> = page.body["identifiers"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|i| i["is_hub"] == json!(true))
            .collect();
        assert_eq!(hubs.len(), 1, "{}", page.body["identifiers"]);
    }
    // An account is never a customer: its people stay six.
    let answer = world.get_at("/api/v1/customers/account:acme", &position).await;
    assert_eq!((answer.status, answer.body["candidates"].as_array().map(Vec::len)), (300, Some(6)), "{}", answer.body);
    world.stop().await;
}

/// The third identity names another customer number: the link is left out, and both pages say so.
#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_shown() {
    let mut world = World::start().await;
    let position = world
        .publish([
            Event::page_viewed("v-1").subject("customer_no:1").identifiers("email:ann@example.com"),
            Event::page_viewed("v-2").subject("customer_no:2").identifiers("email:ann@example.com").at_s(10),
        ])
        .await;
    for (number, other) in [("customer_no:1", "customer_no:2"), ("customer_no:2", "customer_no:1")] {
        let page = world.page(number, &position).await;
        assert!(!rows(&page["identifiers"], "identifier").contains(&other.to_owned()));
        assert_eq!(page["conflicts"][0]["kind"], json!("customer_no"), "{page}");
    }
    world.stop().await;
}
