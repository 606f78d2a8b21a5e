//! Reports: every view by its name, with its parameters and its SQL.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use test_kit::Event;

use crate::{
    asking::rows,
    world::{World, start_query},
};

const REPORTS: &str = "/api/v1/reports";

async fn world_of_orders() -> (World, domain::Position) {
    let mut world = World::start().await;
    world.ready().await;
    let position = world
        .publish([
            Event::order_placed("o-1").subject("email:ann@example.com"),
            Event::order_placed("=2+3").subject("email:ann@example.com").at_s(60),
            Event::order_placed("o-3").subject("email:bob@example.com").at_s(120),
            Event::new("order.cancelled", "x-3").data("order_id", "o-3").at_s(180),
        ])
        .await;
    (world, position)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_a_report() {
    let (world, position) = world_of_orders().await;
    let listed = world.get_at(REPORTS, &position).await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    let names = rows(&listed.body["reports"], "name");
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    let views: Vec<String> = sqlx::query_scalar(
        "SELECT schemaname || '.' || viewname FROM pg_views WHERE schemaname IN ('sales', 'service', 'customer360')
         ORDER BY schemaname, viewname",
    )
    .fetch_all(&mut database)
    .await
    .expect("the catalogue is read");
    assert_eq!(names, views);
    for report in listed.body["reports"].as_array().expect("a list") {
        let name = report["name"].as_str().expect("a name");
        assert!(report["title"].as_str().is_some_and(|title| !title.is_empty() && title != name), "{name} has a title");
        for column in report["columns"].as_array().expect("a list") {
            assert!(
                column["comment"].as_str().is_some_and(|c| !c.is_empty()),
                "{name}.{} has a comment",
                column["name"]
            );
        }
        let run = world.get_at(&format!("{REPORTS}/{name}"), &position).await;
        assert_eq!(run.status, 200, "{name}: {}", run.body);
        assert_eq!(run.body["row_count"], json!(run.body["rows"].as_array().map(Vec::len)), "{name}");
        let sql = world.text_at(&format!("{REPORTS}/{name}/sql"), &position).await;
        assert_eq!(
            (sql.status, sql.header("content-type")),
            (200, Some("text/plain; charset=utf-8")),
            "{name}: {}",
            sql.body
        );
        // What is shown can be run as it stands, by the one who reads it.
        let mut tx = database.begin().await.expect("a transaction");
        sqlx::raw_sql("SET LOCAL ROLE analyst").execute(&mut *tx).await.expect("the role is there");
        let found = sqlx::raw_sql(&sql.body).fetch_all(&mut *tx).await;
        assert_eq!(found.expect("the SQL runs").len(), run.body["rows"].as_array().map_or(0, Vec::len), "{name}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_what_they_are_filtered_by() {
    let (world, position) = world_of_orders().await;
    for (query, expected) in [
        ("", &["=2+3", "o-1", "o-3"][..]),
        ("order_id=o-1", &["o-1"]),
        ("order_id=o-1%27%20OR%20true%20--", &[]),
        ("line_count=1&currency=EUR&limit=2", &["=2+3", "o-1"]),
        ("gross=100.00&unshipped=true", &["=2+3", "o-1"]),
        ("placed_at=2026-03-02T09:00:00%2B01:00", &["o-1"]),
        ("flags=unplaced", &[]),
    ] {
        let answer = world.get_at(&format!("{REPORTS}/sales.orders?{query}"), &position).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        assert_eq!(rows(&answer.body["rows"], "order_id"), expected, "{query}");
    }
    let cut = world.get_at(&format!("{REPORTS}/sales.orders?limit=2"), &position).await;
    assert_eq!((&cut.body["truncated"], cut.header("rapport-truncated")), (&json!(true), Some("true")));
    assert!(cut.body["notice"].as_str().is_some_and(|notice| notice.contains("limit")), "{}", cut.body);
    assert_eq!(cut.body["rows"][0]["net_minor"], json!(10_000));
    assert!(cut.body.to_string().contains(r#""net":100.0"#), "{}", cut.body["rows"][0]);

    let csv = world.text_at(&format!("{REPORTS}/sales.orders?format=csv&limit=1"), &position).await;
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(csv.header("rapport-truncated"), Some("true"));
    assert!(csv.header("rapport-position").is_some_and(|token| token.starts_with("p1.")));
    let lines: Vec<&str> = csv.body.split("\r\n").collect();
    assert!(lines[0].starts_with("order_id,subject_id,placed_at,"), "{}", lines[0]);
    assert!(lines[1].starts_with("'=2+3,") && lines[2].is_empty(), "{}", csv.body);

    let sql = world.text_at(&format!("{REPORTS}/sales.orders/sql?order_id=o%27"), &position).await;
    assert!(sql.body.contains(r#"WHERE "order_id" = 'o'''::text"#), "{}", sql.body);
    assert!(sql.body.contains("FROM sales_g1.orders"), "the view's definition is shown: {}", sql.body);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_report_is_said_with_what_there_is() {
    let (world, position) = world_of_orders().await;
    for (path, status, problem, says) in [
        ("sales.nonsense", 404, "no-such-report", "sales.orders"),
        ("sales.oders", 404, "no-such-report", "(did you mean sales.orders?)"),
        ("orders", 404, "no-such-report", "(did you mean sales.orders?)"),
        ("sales.orders?curency=EUR", 400, "malformed-parameter", "(did you mean currency?)"),
        ("sales.orders?limits=1", 400, "malformed-parameter", "(did you mean limit?)"),
        ("pg_catalog.pg_authid", 404, "no-such-report", "sales.orders"),
        ("sales.orders%22;%20DROP%20TABLE%20x", 404, "no-such-report", "sales.orders"),
        ("sales_g1.facts", 404, "no-such-report", "sales.orders"),
        ("sales.orders?nonsense=1", 400, "malformed-parameter", "currency"),
        ("sales.orders?at=2026-01-01T00:00:00Z", 400, "malformed-parameter", "order_id"),
        ("sales.orders?line_count=many", 400, "malformed-parameter", "whole number"),
        ("sales.orders?format=parquet", 400, "malformed-parameter", "json or csv"),
        ("sales.orders?limit=0", 400, "malformed-parameter", "limit"),
        ("sales.orders?order_id=%00", 400, "malformed-parameter", "U+0000"),
    ] {
        let answer = world.get_at(&format!("{REPORTS}/{path}"), &position).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{path}: {}", answer.body);
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{path}: {}", answer.body);
    }
    world.stop().await;
}

/// A view that a projector adds, with the function that takes a time, is a report without a line of code here.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_view_and_its_function() {
    let (world, position) = world_of_orders().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    sqlx::raw_sql(
        "CREATE FUNCTION sales.ages_at(at timestamptz, floor_h integer DEFAULT 0)
             RETURNS TABLE (order_id text, hours integer) LANGUAGE sql STABLE AS
             $$ SELECT o.order_id, (extract(epoch FROM at - o.placed_at) / 3600)::integer FROM sales.orders o
                WHERE at - o.placed_at >= floor_h * interval '1 hour' $$;
         CREATE VIEW sales.ages AS SELECT * FROM sales.ages_at(now());
         COMMENT ON VIEW sales.ages IS 'How old orders are.';
         GRANT SELECT ON sales.ages TO analyst",
    )
    .execute(&mut database)
    .await
    .expect("a view and its function");
    let path = format!("{REPORTS}/sales.ages?at=2026-03-02T10:00:00Z");
    let answer = world.get_at(&path, &position).await;
    assert_eq!(answer.body["rows"][0], json!({"order_id": "=2+3", "hours": 2}), "{}", answer.body);
    let floor = world.get_at(&format!("{path}&floor_h=2&order_id=o-1"), &position).await;
    assert_eq!(rows(&floor.body["rows"], "order_id"), ["o-1"]);
    let now = world.get_at(&format!("{REPORTS}/sales.ages?floor_h=0"), &position).await;
    assert_eq!((now.status, &now.body["row_count"]), (200, &json!(3)), "{}", now.body);
    let listed = world.get_at(REPORTS, &position).await;
    let report = listed.body["reports"].as_array().expect("a list").iter().find(|r| r["name"] == "sales.ages");
    assert_eq!(report.expect("it is listed")["parameters"][0]["name"], json!("at"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_its_time_and_no_rights() {
    let (world, position) = world_of_orders().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    sqlx::raw_sql(
        "CREATE VIEW sales.slow AS SELECT pg_sleep(20)::text AS slept; GRANT SELECT ON sales.slow TO analyst;
         CREATE VIEW sales.who AS SELECT current_user::text AS who, current_setting('transaction_read_only') AS read_only;
         GRANT SELECT ON sales.who TO analyst;
         CREATE VIEW sales.hidden AS SELECT 1 AS one",
    )
    .execute(&mut database)
    .await
    .expect("views");
    let query = start_query(&world.database_url, world.log.options().clone(), |options| {
        options.limits.report_timeout = std::time::Duration::from_millis(200);
        // Whatever a report leaves on its connection, the next question finds.
        options.limits.database_connections_max = 1;
    })
    .await;
    let (http, token) = (crate::world::client(), position.token());
    let ask = async |path: &str| crate::world::ask(&http, &query, path, &[("rapport-position", &token)]).await;
    // A page reads tables that an analyst may not.
    let page = async |after: &str| {
        let page = ask("/api/v1/customers/email:ann@example.com").await;
        assert_eq!(page.status, 200, "after {after}: {}", page.body);
    };
    page("nothing").await;
    let who = ask(&format!("{REPORTS}/sales.who")).await;
    assert_eq!(who.body["rows"], json!([{"who": "analyst", "read_only": "on"}]), "{}", who.body);
    page("a report").await;
    let slow = ask(&format!("{REPORTS}/sales.slow")).await;
    assert_eq!((slow.status, slow.problem()), (503, "report-too-slow"), "{}", slow.body);
    page("one that took too long").await;
    query.shut_down();
    query.stopped().await;
    let hidden = world.get_at(&format!("{REPORTS}/sales.hidden"), &position).await;
    assert_eq!(hidden.status, 404, "{}", hidden.body);
    assert!(matches!(world.get_at("/api/v1/openapi.json", &position).await.body["openapi"], Value::String(_)));
    world.stop().await;
}

/// Rows of 1 MiB: after 32 of them the answer ends, and rows far behind those are never fetched. They would fail.
#[tokio::test(flavor = "multi_thread")]
async fn wide_rows_are_fetched_as_far_as_the_answer_goes() {
    let (world, position) = world_of_orders().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    sqlx::raw_sql(
        "CREATE FUNCTION sales.mebibyte(n integer) RETURNS json LANGUAGE plpgsql STABLE COST 1000 AS $$
         BEGIN
             IF n > 60 THEN RAISE EXCEPTION 'row % was fetched', n; END IF;
             RETURN to_json(repeat('x', 1048576));
         END $$;
         CREATE VIEW sales.wide AS SELECT n, sales.mebibyte(n) AS data FROM generate_series(1, 200) AS n;
         GRANT SELECT ON sales.wide TO analyst",
    )
    .execute(&mut database)
    .await
    .expect("a view");
    let wide = world.get_at(&format!("{REPORTS}/sales.wide"), &position).await;
    assert_eq!(wide.status, 200, "{}", wide.body["detail"]);
    assert_eq!((&wide.body["row_count"], &wide.body["truncated"]), (&json!(31), &json!(true)));
    world.stop().await;
}

/// Who logs in as `analyst` has a limit as well, unless the server's owner has set another.
#[tokio::test(flavor = "multi_thread")]
async fn analysts_have_time_limits_of_their_own() {
    let world = World::start().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    let limits: Vec<String> = sqlx::query_scalar(
        "SELECT entry FROM pg_roles CROSS JOIN unnest(rolconfig) AS c (entry)
         WHERE rolname = 'analyst' AND entry LIKE '%timeout=%' ORDER BY entry",
    )
    .fetch_all(&mut database)
    .await
    .expect("the role's settings");
    assert_eq!(limits, ["idle_in_transaction_session_timeout=10min", "statement_timeout=5min"]);
    world.stop().await;
}
