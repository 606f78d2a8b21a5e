//! The past as it is asked for: by time, by position, and where there is none to be told.

use std::time::Duration;

use domain::{Position, position::Offsets, time};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use test_kit::Event;
use uuid::Uuid;

use crate::world::{World, ask, client, start_query};

const ANN: &str = "/api/v1/customers/email:ann@example.com";

async fn connect(world: &World) -> PgConnection {
    PgConnection::connect(&world.database_url).await.expect("PostgreSQL is there")
}

/// The database's time once every model has noted that it came at least this far.
async fn noted(world: &World, position: &Position) -> String {
    let mut connection = connect(world).await;
    let events: i64 = position.next.values().sum();
    loop {
        let (noted, now): (i64, i64) = sqlx::query_as(
            "SELECT count(DISTINCT model), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM backbone.moments
             WHERE (SELECT sum(n) FROM unnest(next_offsets) AS n) >= $1::bigint",
        )
        .bind(events)
        .fetch_one(&mut connection)
        .await
        .expect("the notes can be read");
        if noted == 3 {
            return time::format(now).expect("a time");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn orders(page: &Value) -> Vec<&str> {
    page["sales"]["orders"].as_array().expect("orders").iter().filter_map(|o| o["order_id"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn by_time_and_by_position() {
    let mut world = World::start().await;
    let order = |id: &str, day: &str| {
        Event::order_placed(id).subject("email:ann@example.com").time(&format!("2026-03-0{day}T10:00:00Z"))
    };
    let first = world.publish([order("o-1", "2"), Event::order_placed("o-2").subject("phone:+4930123456")]).await;
    let page_then = world.get_at(ANN, &first).await;
    let at =
        noted(&world, &world.log.ends().await.map(|next| Position::new(world.log.log_id(), next)).expect("ends")).await;
    // Late: it happened before, and joins another customer to this one.
    let link = Event::link_asserted("l-1", "email:ann@example.com", "phone:+4930123456").time("2026-03-01T09:00:00Z");
    let last = world.publish([link, order("o-0", "1"), order("o-3", "3")]).await;

    let page = |parameters: String| {
        let (world, last) = (&world, &last);
        async move { world.text_at(&format!("{ANN}?{parameters}"), last).await }
    };
    let now: Value = world.page("email:ann@example.com", &last).await;
    assert_eq!(orders(&now).len(), 4, "{now}");
    let kept = page_then.header("rapport-position").expect("a position").to_owned();
    let again = page(format!("known_at={kept}")).await;
    assert_eq!(again.header("rapport-position"), Some(kept.as_str()));
    assert_eq!(serde_json::from_str::<Value>(&again.body).expect("JSON"), page_then.body);
    let by_time: Value = serde_json::from_str(&page(format!("known_at={at}")).await.body).expect("JSON");
    assert_eq!(by_time["sales"], page_then.body["sales"], "what was known by {at}");
    assert_eq!(by_time["identifiers"], page_then.body["identifiers"]);

    // As of the second of March: what came late had happened by then.
    let valid: Value = serde_json::from_str(&page("valid_at=2026-03-02T12:00:00Z".into()).await.body).expect("JSON");
    let mut ids = orders(&valid);
    ids.sort_unstable();
    assert_eq!(ids, ["o-0", "o-1", "o-2"]);
    // Both: what was known first, as of a day before it.
    let neither = world.get(&format!("{ANN}?known_at={kept}&valid_at=2026-03-01T12:00:00Z")).await;
    assert_eq!((neither.status, neither.problem()), (404, "no-such-customer"), "{}", neither.body);
    assert!(neither.body.to_string().contains("no event that counts in the past"), "{}", neither.body);
    // A time to come is now.
    let to_come: Value = serde_json::from_str(&page("known_at=2999-01-01T00:00:00Z".into()).await.body).expect("JSON");
    assert_eq!(to_come["sales"], now["sales"]);
    // The timeline's pages go on in the past.
    let timeline = world.get(&format!("{ANN}/timeline?known_at={kept}&limit=1")).await;
    assert_eq!(timeline.body["items"].as_array().map(Vec::len), Some(1), "{}", timeline.body);
    assert_eq!(timeline.body["next_cursor"], Value::Null, "one event of hers was known");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_past_to_be_told() {
    let mut world = World::start().await;
    let orders = (0..6).map(|n| Event::order_placed(&format!("o-{n}")).subject("email:ann@example.com"));
    let position = world.publish(orders).await;
    world.page("email:ann@example.com", &position).await;
    noted(&world, &position).await;
    let told = |answer: &crate::world::Answer| (answer.status, answer.problem().to_owned());

    let before = world.get(&format!("{ANN}?known_at=2001-01-01T00:00:00Z")).await;
    assert_eq!(told(&before), (422, "past-not-kept".into()), "{}", before.body);
    assert!(before.body["detail"].as_str().is_some_and(|d| d.contains("from 20")), "since when: {}", before.body);
    let other = Position::new(Uuid::from_u128(1), position.next.clone()).token();
    assert_eq!(told(&world.get(&format!("{ANN}?known_at={other}")).await), (409, "other-log".into()));
    let far = Position::new(world.log.log_id(), Offsets::from([(0, 1_000_000)])).token();
    let answer = world.get(&format!("{ANN}?known_at={far}&wait_ms=1")).await;
    assert_eq!(told(&answer), (503, "position-not-reached".into()), "{}", answer.body);
    for wrong in ["valid_at=yesterday", "known_at=p1.x", "known_at=", "valid_at=2026-03-01&valid_at=2026-03-02"] {
        let answer = world.get(&format!("{ANN}?{wrong}")).await;
        assert_eq!(told(&answer), (400, "malformed-parameter".into()), "{wrong}: {}", answer.body);
    }
    // Reports and searches are of now: they say that they do not take it.
    assert_eq!(world.get("/api/v1/reports/sales.orders?valid_at=2026-03-01T00:00:00Z").await.status, 400);

    // Another service, which folds fewer.
    let few = start_query(&world.database_url, log_options(&world), |options| options.limits.past_events_max = 5).await;
    let long = ask(&client(), &few, &format!("{ANN}?valid_at=2027-01-01T00:00:00Z"), &[]).await;
    assert_eq!(told(&long), (422, "past-too-long".into()), "{}", long.body);
    assert_eq!(ask(&client(), &few, ANN, &[]).await.status, 200, "the present is told");
    few.shut_down();
    few.stopped().await;

    // Other fold settings than the projector's: it would tell another past.
    let limits = projector_customer360::HubLimits::default().with(&["email/user_id=1".into()]).expect("limits");
    let strict = start_query(&world.database_url, log_options(&world), |options| options.hub_limits = limits).await;
    let answer = ask(&client(), &strict, &format!("{ANN}?valid_at=2027-01-01T00:00:00Z"), &[]).await;
    assert_eq!(told(&answer), (503, "past-not-foldable".into()), "{}", answer.body);
    strict.shut_down();
    strict.stopped().await;

    // Somebody drops the tables that pasts are folded in: they are made again.
    let mut connection = connect(&world).await;
    let path = format!("{ANN}?valid_at=2027-01-01T00:00:00Z");
    assert_eq!(world.get(&path).await.status, 200);
    let schemas: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'past\\_%'")
            .fetch_all(&mut connection)
            .await
            .expect("schemas");
    assert!(!schemas.is_empty());
    for schema in schemas {
        sqlx::raw_sql(&format!("DROP SCHEMA {schema} CASCADE")).execute(&mut connection).await.expect("dropped");
    }
    sqlx::raw_sql("CREATE SCHEMA past_campaigns; CREATE SCHEMA past_00000000_0_sales")
        .execute(&mut connection)
        .await
        .expect("made");
    assert_eq!(world.get(&path).await.status, 200, "what is missing is made");
    // Another version's are dropped, somebody else's are not.
    let left: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace WHERE nspname IN ('past_campaigns', 'past_00000000_0_sales')",
    )
    .fetch_all(&mut connection)
    .await
    .expect("schemas");
    assert_eq!(left, ["past_campaigns"]);
    // Nothing of any past is left behind.
    let left: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I.%I', schemaname, \
         tablename), false, true, '')))[1]::text::bigint), 0)::bigint FROM pg_tables WHERE schemaname LIKE 'past\\_%'",
    )
    .fetch_one(&mut connection)
    .await
    .expect("rows are counted");
    assert_eq!(left, 0);
    assert_eq!(json!(world.get(ANN).await.body["sales"]["orders"].as_array().map(Vec::len)), json!(6));
    world.stop().await;
}

fn log_options(world: &World) -> event_log::LogOptions {
    world.log_options.clone()
}
