//! The customer page, and what is refused.

use query::Admin;
use serde_json::{Value, json};
use test_kit::Event;

use crate::world::{World, ask, client, start_query};

fn call(id: &str) -> Event {
    Event::call_ended(id, id).data("direction", "inbound").data("from", "+4930123456").data("to", "+493099")
}

/// An order under an e-mail address, a complaint call under a phone number, the link between them: one person in all
/// three models at the position just returned, time after time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_just_published_is_on_the_page() {
    let mut world = World::start().await;
    for n in 0..40 {
        let (order, called) = (format!("o-{n}"), format!("c-{n}"));
        let (email, phone) = (format!("email:p{n}@example.com"), format!("phone:+4930{:06}", 100_000 + n));
        let position = world
            .publish([
                Event::order_placed(&order).subject(&email),
                call(&called).subject(&phone).at_s(60),
                Event::link_asserted(&format!("l-{n}"), &email, &phone).at_s(120),
            ])
            .await;
        let by_phone = world.page(&phone.replace('+', "%2B"), &position).await;
        assert_eq!(by_phone["sales"]["orders"][0]["order_id"], json!(order));
        assert_eq!(by_phone["service"]["calls"][0]["call_id"], json!(called));
        let named: Vec<_> =
            by_phone["identifiers"].as_array().expect("a list").iter().map(|i| i["identifier"].clone()).collect();
        assert_eq!(named, [json!(email), json!(phone)]);
        let by_email = world.page(&email, &position).await;
        let id = by_phone["customer_id"].as_str().expect("an id");
        assert_eq!(by_email["customer_id"], json!(id));
        assert_eq!(world.page(id, &position).await["customer_id"], json!(id));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_tells_what_the_models_know() {
    let mut world = World::start().await;
    let ann = "email:ann@example.com";
    let position = world
        .publish([
            Event::order_placed("o-1").subject(ann),
            Event::order_placed("o-2").subject(ann).at_s(3600),
            Event::payment_recorded("p-1", "o-1").at_s(10),
            Event::new("order.cancelled", "x-1").data("order_id", "o-2").at_s(7200),
            Event::case_opened("k-1").subject(ann).at_s(100),
            Event::case_opened("k-2").subject(ann).at_s(200),
            Event::case_changed("k-2-solved", "k-2", "solved").at_s(300),
            call("c-1").subject(ann).at_s(400),
            Event::new("customer.profile.updated", "f-1")
                .subject(ann)
                .identifiers("account:acme")
                .data("fields", json!({"name": "Ann", "title": "Dr"})),
            Event::new("customer.profile.updated", "f-2").subject(ann).data("fields", json!({"name": "Anna"})).at_s(20),
        ])
        .await;
    let page = world.page(ann, &position).await;
    let orders: Vec<_> = rows(&page["sales"]["orders"], "order_id");
    assert_eq!(orders, ["o-2", "o-1"]);
    let first = &page["sales"]["orders"][1];
    assert_eq!(
        (&first["gross_minor"], &first["currency"], &first["payment_state"]),
        (&json!(10_000), &json!("EUR"), &json!("captured"))
    );
    let totals = &page["sales"]["totals"][0];
    assert_eq!((&totals["orders"], &totals["net_minor"], &totals["net"]), (&json!(1), &json!(10_000), &json!(100.00)));
    assert_eq!(rows(&page["service"]["cases"], "case_id"), ["k-1", "k-2"], "open cases come first");
    assert_eq!(page["service"]["counts"], json!({"cases_open": 1, "cases": 2, "calls": 1}));
    assert_eq!(rows(&page["service"]["calls"], "call_id"), ["c-1"]);
    assert_eq!((&page["profile"]["name"]["value"], &page["profile"]["title"]["value"]), (&json!("Anna"), &json!("Dr")));
    assert_eq!(page["profile"]["name"]["set_by"], json!(domain::ids::event_id("test", "f-2")));
    assert_eq!(rows(&page["affiliations"], "identifier"), ["account:acme"]);
    assert!(rows(&page["last_touches"], "channel").contains(&"phone".to_owned()), "{}", page["last_touches"]);
    assert_eq!(page["conflicts"], json!([]));
    for model in ["sales", "service", "customer360"] {
        assert_eq!(page["positions"][model]["generation"], json!(1));
        let token = page["positions"][model]["position"].as_str().expect("a token");
        assert_eq!(domain::Position::parse(token).expect("a position").log_id, world.log.log_id());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_said_clearly() {
    let mut world = World::start().await;
    let position = world.publish([Event::order_placed("o-1").subject("email:ann@example.com")]).await;
    world.page("email:ann@example.com", &position).await;
    let customers = "/api/v1/customers";
    for (path, status, problem) in [
        ("/".to_owned(), 404, "no-such-path"),
        ("/api/v1/search".to_owned(), 404, "no-such-path"),
        (format!("{customers}/carla"), 400, "malformed-reference"),
        (format!("{customers}/fax:1"), 400, "malformed-reference"),
        (format!("{customers}/phone:ring"), 400, "malformed-reference"),
        (format!("{customers}/email:%FF@x.com"), 400, "malformed-reference"),
        (format!("{customers}/user_id:null"), 404, "no-such-customer"),
        (format!("{customers}/email:bob@example.com"), 404, "no-such-customer"),
        (format!("{customers}/00000000-0000-0000-0000-000000000001"), 404, "no-such-customer"),
        (format!("{customers}/account:none"), 404, "no-such-customer"),
        (format!("{customers}/email:ann@example.com?valid_at=2026-01-01"), 400, "malformed-parameter"),
        (format!("{customers}/email:ann@example.com/timeline?limit=501"), 400, "malformed-parameter"),
        (format!("{customers}/email:ann@example.com/timeline?limit=5&limit=6"), 400, "malformed-parameter"),
        (format!("{customers}/email:ann@example.com/timeline?from=today&cursor=x"), 400, "malformed-parameter"),
        (format!("{customers}/email:ann@example.com/timeline/x"), 404, "no-such-path"),
        ("/api/v1/models?wait_ms=60001".to_owned(), 400, "malformed-parameter"),
    ] {
        let answer = world.get(&path).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{path}: {}", answer.body);
        let detail = answer.body["detail"].as_str().expect("a sentence");
        let asked = path.rsplit_once("customers/").map_or("none", |(_, reference)| reference);
        assert!(
            !detail.is_empty() && !answer.body.to_string().contains(asked),
            "{path}: a reference is never repeated"
        );
    }
    let both = world.get(&format!("{customers}/email:ann@example.com/timeline?from=today&cursor=x&nonsense=1")).await;
    assert_eq!(rows(&both.body["errors"], "code"), ["bad_cursor", "bad_time", "unknown_parameter"], "{}", both.body);
    // Normal forms lead to the same page.
    world.page("email:%20Ann@Example.COM", &position).await;
    let posted = reqwest::Client::new().post(format!("http://{}{customers}/email:a@b.c", world.query.addr()));
    let posted = posted.send().await.expect("it answers");
    assert_eq!(posted.status().as_u16(), 405);
    world.stop().await;
}

/// Metrics name the route's pattern; a reference in a label would be personal data, and a label a customer.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_no_references() {
    let world = World::without_projectors().await;
    let admin =
        Admin { listen: ([127, 0, 0, 1], 0).into(), metrics: service_kit::init_metrics().expect("once a process") };
    let log = world.log.options().clone();
    let query = start_query(&world.database_url, log, |options| options.admin = Some(admin)).await;
    let http = client();
    for path in ["/api/v1/customers/email:secret@example.com", "/api/v1/secret"] {
        ask(&http, &query, path, &[]).await;
    }
    let admin = query.admin_addr().expect("an admin server");
    let text = async |path: &str| {
        let response = http.get(format!("http://{admin}{path}")).send().await.expect("it answers");
        (response.status().as_u16(), response.text().await.expect("text"))
    };
    let (status, metrics) = text("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains(r#"route="/api/v1/customers/{ref}",status="503""#), "{metrics}");
    assert!(metrics.contains(r#"route="unmatched",status="404""#), "{metrics}");
    assert!(!metrics.contains("secret"), "{metrics}");
    assert_eq!(text("/livez").await.0, 200);
    assert_eq!(text("/readyz").await.0, 503);
    query.shut_down();
    query.stopped().await;
    world.stop().await;
}

/// A field of each row.
pub(crate) fn rows(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|row| row[field].as_str().unwrap_or("none").to_owned()).collect()
}
