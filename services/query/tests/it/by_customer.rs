//! The views by customer: what a customer of the identity graph did, what hubs did, what the graph does not know yet, and
//! what nobody is known of is each there, once, with its customer.

use std::collections::HashMap;

use sqlx::{Connection, PgConnection};
use test_kit::Event;
use uuid::Uuid;

use crate::world::World;

/// Each view, the one it goes on from, and what tells the rows of that apart.
const VIEWS: [(&str, &str, &str); 8] = [
    ("sales.carts_by_customer", "sales.carts", "cart_id"),
    ("sales.order_lines_by_customer", "sales.order_lines", "order_id"),
    ("sales.orders_by_customer", "sales.orders", "order_id"),
    ("service.calls_by_customer", "service.calls", "call_id"),
    ("service.cases_by_customer", "service.cases", "case_id"),
    ("service.messages_by_customer", "service.messages", "message_id"),
    ("service.threads_by_customer", "service.threads", "thread_id"),
    ("service.waiting_by_customer", "service.waiting", "thread_id"),
];

/// One person under two addresses, an address that six logins share, and one that the graph is to lose.
const OWNERS: [(&str, &str); 4] = [
    ("own", "email:ann@example.com"),
    ("work", "email:ann@work.example"),
    ("shared", "email:office@example.com"),
    ("lost", "email:new@example.com"),
];

/// One fact of every kind that a view by customer tells of: each makes one row.
fn of_every_kind(name: &str) -> [Event; 5] {
    let id = |kind: &str| format!("{kind}-{name}");
    [
        Event::cart_added(&id("a"), &id("cart")),
        Event::order_placed(&id("o")),
        Event::call_ended(&id("e"), &id("call")),
        Event::case_opened(&id("k")),
        Event::email_received(&id("m")),
    ]
}

fn facts() -> Vec<Event> {
    let owned = OWNERS.iter().flat_map(|(name, owner)| of_every_kind(name).map(|event| event.subject(owner)));
    let logins = (0..6).map(|n| {
        let view = Event::page_viewed(&format!("v-{n}")).subject(&format!("user_id:u{n}"));
        view.identifiers("email:office@example.com").at_s(10)
    });
    let link = Event::link_asserted("l", "email:ann@example.com", "email:ann@work.example").at_s(20);
    owned.chain(of_every_kind("nobody")).chain(logins).chain([link]).collect()
}

async fn fetch<T>(database: &mut PgConnection, sql: &str) -> Vec<T>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
{
    sqlx::query_as(sql).fetch_all(database).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Which customer each of these subjects is to be in every view, the graph having lost one of them.
async fn customers(database: &mut PgConnection) -> HashMap<Uuid, Uuid> {
    let subjects: Vec<(String, Uuid, Uuid)> = fetch(
        database,
        "SELECT identifiers[1], subject_id, customer_id FROM customer360.subjects WHERE cardinality(identifiers) = 1",
    )
    .await;
    let of = |name: &str| {
        let owner = OWNERS.iter().find(|(n, _)| *n == name).expect("an owner").1;
        let (_, subject, customer) = subjects.iter().find(|(id, ..)| id == owner).expect("the graph knows the subject");
        (*subject, *customer)
    };
    let hubs: Vec<(Uuid,)> = fetch(database, "SELECT subject_id FROM backbone.customer360_hub_subjects").await;
    assert_eq!(hubs, [(of("shared").0,)], "an address of six logins says nothing about who somebody is");
    assert_eq!(of("own").1, of("work").1, "one person");
    let lost = of("lost").0;
    let schema: Vec<(String,)> =
        fetch(database, "SELECT schema_name FROM backbone.generations WHERE model = 'customer360'").await;
    let lose = format!("DELETE FROM {}.subjects WHERE subject_id = '{lost}'", schema[0].0);
    sqlx::raw_sql(&lose).execute(database).await.expect("the graph loses it");
    OWNERS.iter().map(|(name, _)| of(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fact_is_there_once_with_its_customer() {
    let mut world = World::start().await;
    let position = world.publish(facts()).await;
    world.page("email:ann@example.com", &position).await;
    world.ready().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    let customers = customers(&mut database).await;
    let mut wrong = Vec::new();
    for (view, base, key) in VIEWS {
        // Lines have the owner of their order.
        let owner = match base {
            "sales.order_lines" => "(SELECT o.subject_id FROM sales.orders AS o WHERE o.order_id = b.order_id)",
            _ => "b.subject_id",
        };
        let told: Vec<(String, Option<Uuid>)> =
            fetch(&mut database, &format!("SELECT {key}, {owner} FROM {base} AS b ORDER BY 1")).await;
        assert_eq!(told.len(), OWNERS.len() + 1, "{base}: a row for each owner, and one for nobody");
        let expected: Vec<(String, Option<Uuid>)> =
            told.into_iter().map(|(key, owner)| (key, owner.map(|owner| customers[&owner]))).collect();
        let found: Vec<(String, Option<Uuid>)> =
            fetch(&mut database, &format!("SELECT {key}, customer_id FROM {view} ORDER BY 1, 2")).await;
        if found != expected {
            wrong.push(format!("{view}\n found {found:?}\n expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Ann, the shared address and the lost one each bought it, Ann twice; one order is nobody's.
    let buyers: Vec<(String, i64, i64, i64, i64)> = fetch(
        &mut database,
        "SELECT sku, buyers, repeat_buyers, orders, orders_without_customer FROM sales.product_performance_by_customer",
    )
    .await;
    assert_eq!(buyers, [("A".to_owned(), 3, 1, 5, 1)]);
    let there: Vec<(String,)> =
        fetch(&mut database, "SELECT schemaname || '.' || viewname FROM pg_views WHERE viewname LIKE '%by_customer'")
            .await;
    let mut there: Vec<&str> = there.iter().map(|(view,)| view.as_str()).collect();
    let mut known: Vec<&str> =
        VIEWS.iter().map(|(view, ..)| *view).chain(["sales.product_performance_by_customer"]).collect();
    there.sort_unstable();
    known.sort_unstable();
    assert_eq!(there, known, "each view by customer is held to it");
    world.stop().await;
}
