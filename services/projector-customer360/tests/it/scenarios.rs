//! Named histories, in every order of arrival.

use std::collections::BTreeSet;

use projection::Event;
use projector_customer360::Customer360;
use test_kit::Event as Sent;

use crate::world::{self, World, namespace};

fn records(events: Vec<Sent>) -> Vec<Event> {
    let at = test_kit::BASE_TIME * 1_000_000;
    events.into_iter().enumerate().map(|(i, e)| world::record(&e.json(), at + i as i64, i as i64)).collect()
}

/// Every order of `n` things.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(n - 1) {
        for at in 0..=order.len() {
            let mut longer = order.clone();
            longer.insert(at, n - 1);
            all.push(longer);
        }
    }
    all
}

/// So many orders of arrival are tried at most, spread over all of them.
const ORDERS_MAX: usize = 60;

/// In every order of arrival, one event a batch, these people come out, and the same digest.
async fn check(events: Vec<Sent>, people: &[&str]) -> World {
    let records = records(events);
    let mut world = World::open(Customer360::new(namespace())).await;
    let expected: BTreeSet<String> = people.iter().map(|p| (*p).to_owned()).collect();
    let mut first: Option<Vec<String>> = None;
    let orders = orders(records.len());
    for order in orders.iter().step_by(orders.len().div_ceil(ORDERS_MAX)) {
        world.clear().await;
        world.fold(order.iter().map(|i| vec![records[*i].clone()]).collect()).await;
        assert_eq!(world.people().await, expected, "in the order {order:?}");
        let digest = world.digest().await;
        assert_eq!(*first.get_or_insert_with(|| digest.clone()), digest, "in the order {order:?}");
    }
    world
}

fn page(id: &str, second: i64, subject: &str) -> Sent {
    Sent::page_viewed(id).subject(subject).at_s(second)
}

#[tokio::test]
async fn views_before_the_form_are_the_customers_after_it() {
    let form = Sent::new("web.form.submitted", "form").data("form_id", "contact").data("fields", serde_json::json!({}));
    let events = vec![
        page("view", 0, "anonymous_id:a1"),
        form.subject("email:ann@x.example").identifiers("anonymous_id:a1").at_s(60),
        page("later", 90, "email:ann@x.example"),
    ];
    let mut world = check(events, &["anonymous_id:a1 email:ann@x.example"]).await;
    let ids = world.rows("SELECT DISTINCT customer_id::text FROM customer360.subjects").await;
    let anonymous = domain::Identifier::parse("anonymous_id:a1").expect("an identifier");
    assert_eq!(
        ids,
        BTreeSet::from([namespace().subject_id([&anonymous]).to_string()]),
        "the earliest subject gives the id"
    );
}

#[tokio::test]
async fn a_revoked_link_takes_them_back() {
    let events = vec![
        page("view", 0, "anonymous_id:a1"),
        page("login", 60, "email:ann@x.example").identifiers("anonymous_id:a1"),
        Sent::new("identity.link.revoked", "revoked")
            .data("left", "anonymous_id:a1")
            .data("right", "email:ann@x.example")
            .at_s(90),
    ];
    check(events, &["anonymous_id:a1", "email:ann@x.example"]).await;
}

#[tokio::test]
async fn two_customer_numbers_on_one_email_are_a_conflict_and_stay_two() {
    let events = vec![
        page("one", 0, "customer_no:1").identifiers("email:ann@x.example"),
        page("two", 60, "customer_no:2").identifiers("phone:+4930123456"),
        page("third", 90, "email:ann@x.example").identifiers("phone:+4930123456"),
    ];
    // The weaker link is left out: e-mail to phone.
    let mut world = check(events, &["customer_no:1 email:ann@x.example", "customer_no:2 phone:+4930123456"]).await;
    let conflict = world.rows("SELECT concat_ws(' ', left_identifier, right_identifier, kind, left_value, right_value) FROM customer360.conflicts").await;
    assert_eq!(conflict, BTreeSet::from(["email:ann@x.example phone:+4930123456 customer_no 1 2".to_owned()]));
}

#[tokio::test]
async fn an_alias_makes_two_user_ids_one() {
    let events = vec![
        page("old", 0, "user_id:old").identifiers("email:ann@x.example"),
        page("new", 60, "user_id:new").identifiers("email:ann@x.example"),
        Sent::link_asserted("alias", "user_id:old", "user_id:new").at_s(90),
    ];
    check(events, &["email:ann@x.example user_id:new user_id:old"]).await;
}

#[tokio::test]
async fn a_void_takes_the_merge_back_whichever_came_first() {
    let events = vec![
        page("view", 0, "anonymous_id:a1"),
        page("login", 60, "email:ann@x.example").identifiers("anonymous_id:a1"),
        page("mail", 70, "email:ann@x.example"),
        Sent::voided("void", "login").at_s(90),
    ];
    check(events, &["anonymous_id:a1", "email:ann@x.example"]).await;
}

#[tokio::test]
async fn colleagues_of_one_account_stay_three_people() {
    let events = vec![
        page("a", 0, "email:ann@acme.example").identifiers("account:acme"),
        page("b", 1, "email:bob@acme.example").identifiers("account:acme"),
        page("c", 2, "email:cyd@acme.example").identifiers("account:acme"),
    ];
    let mut world =
        check(events, &["email:ann@acme.example", "email:bob@acme.example", "email:cyd@acme.example"]).await;
    let accounts = world.rows("SELECT concat_ws(' ', group_identifier, people_count) FROM customer360.accounts").await;
    assert_eq!(accounts, BTreeSet::from(["account:acme 3".to_owned()]));
}

#[tokio::test]
async fn a_shared_address_is_a_hub_and_joins_nobody() {
    let mut events: Vec<Sent> = (0..6)
        .map(|n| page(&format!("e{n}"), n, &format!("user_id:u{n}")).identifiers("email:office@acme.example"))
        .collect();
    events.truncate(6);
    let people: Vec<String> = (0..6).map(|n| format!("user_id:u{n}")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    check(events, &people).await;
}

#[tokio::test]
async fn an_entity_without_subject_goes_to_its_owner() {
    let events = vec![
        Sent::case_opened("k1").subject("email:ann@x.example").at_s(10),
        Sent::case_changed("changed", "k1", "solved").at_s(20),
        Sent::new("customer.profile.updated", "profile")
            .data("fields", serde_json::json!({"name": "Ann"}))
            .attribute("correlationid", "case:k1")
            .at_s(30),
    ];
    let mut world = check(events, &["email:ann@x.example"]).await;
    let profile = world.rows("SELECT concat_ws(' ', field, value::text) FROM customer360.profiles").await;
    assert_eq!(profile, BTreeSet::from(["name \"Ann\"".to_owned()]));
}

#[tokio::test]
async fn a_stamp_tells_its_time_to_the_microsecond() {
    let mut world = World::open(Customer360::new(namespace())).await;
    for (micros, time) in [
        (0, "1970-01-01 00:00:00+00"),
        (-1, "1969-12-31 23:59:59.999999+00"),
        (-2_208_988_800_000_000, "1900-01-01 00:00:00+00"),
        (1_772_323_200_123_457, "2026-03-01 00:00:00.123457+00"),
        (9_007_199_254_740_993, "2255-06-05 23:47:34.740993+00"),
        (253_402_300_799_999_999, "9999-12-31 23:59:59.999999+00"),
    ] {
        let ordered = micros ^ i64::MIN;
        let sql = format!("SELECT customer360_g1.stamp_time(decode('{ordered:016x}', 'hex'))::text");
        assert_eq!(world.rows(&sql).await, BTreeSet::from([time.to_owned()]), "{micros}");
    }
}
