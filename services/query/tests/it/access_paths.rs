//! What is looked up is found by an index: of tables that grow with the log, none is read whole, nor an index of one, whoever
//! asks. PostgreSQL plans by what it knows of them: here by statistics of full tables, as autovacuum keeps them.

use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use test_kit::Event;

use crate::{
    plans::{plan, read_whole, whole},
    world::World,
};

/// How often the world of [`people`] is repeated. So often that reading a table whole costs more than any look-up.
const COPIES: i64 = 2_000;

/// Statements over all that there is of something, which is a row a model and a partition.
const OVERVIEWS: [&str; 2] = ["models.sql", "progress.sql"];

/// Views that answer for all there is, and have nothing to be looked up by: one row a day, a product, or in all. They read
/// whole tables by nature.
const AGGREGATES: [&str; 5] = [
    "sales.cart_funnel",
    "sales.product_performance",
    "sales.product_performance_by_customer",
    "sales.product_sessions",
    "sales.revenue",
];

/// Views that say something of all there is, and may be narrowed down in SQL, but by no index: what leads to a link or to a
/// conflict is worked out from all subjects at once.
const WORKED_OUT: [&str; 2] = ["customer360.conflicts", "customer360.links"];

/// What every other view is looked up by.
const LOOK_UPS: [(&str, &[&str]); 34] = [
    ("customer360.accounts", &["group_identifier"]),
    ("customer360.affiliations", &["customer_id", "group_identifier"]),
    ("customer360.customers", &["customer_id"]),
    ("customer360.duplicates", &["event_id"]),
    ("customer360.identifiers", &["identifier", "customer_id"]),
    ("customer360.last_touches", &["customer_id"]),
    ("customer360.profiles", &["customer_id"]),
    ("customer360.subjects", &["subject_id"]),
    ("customer360.summary", &["customer_id"]),
    ("customer360.timeline", &["event_id", "subject_id"]),
    ("sales.cart_contents", &["cart_id", "session_id", "subject_id"]),
    ("sales.cart_lines", &["cart_id"]),
    ("sales.carts", &["cart_id", "session_id", "subject_id"]),
    ("sales.carts_by_customer", &["customer_id", "cart_id"]),
    ("sales.order_lines", &["order_id"]),
    ("sales.order_lines_by_customer", &["customer_id", "order_id"]),
    ("sales.order_refunds", &["order_id"]),
    ("sales.orders", &["order_id", "subject_id", "cart_id", "session_id", "checkout_id"]),
    ("sales.orders_by_customer", &["customer_id"]),
    ("sales.session_products", &["session_id"]),
    ("sales.sessions", &["session_id", "subject_id"]),
    ("service.call_legs", &["call_id"]),
    ("service.calls", &["call_id", "subject_id"]),
    ("service.calls_by_customer", &["customer_id", "call_id"]),
    ("service.case_spans", &["case_id"]),
    ("service.cases", &["case_id", "subject_id"]),
    ("service.cases_by_customer", &["customer_id", "case_id"]),
    ("service.threads", &["thread_id", "subject_id"]),
    ("service.threads_by_customer", &["customer_id", "thread_id"]),
    ("service.messages", &["subject_id"]),
    ("service.messages_by_customer", &["customer_id"]),
    ("service.thread_waits", &["thread_id", "subject_id"]),
    ("service.waiting", &["thread_id", "subject_id"]),
    ("service.waiting_by_customer", &["customer_id"]),
];

/// What a view by customer cannot be looked up by, as its comment says: the place of an order is counted among all of its
/// customer's before one is picked, and who waits is gone through subject by subject. The view below each answers.
const NOT_LOOKED_UP_BY: [(&str, &str); 3] = [
    ("sales.orders_by_customer", "order_id"),
    ("sales.orders_by_customer", "subject_id"),
    ("service.waiting_by_customer", "thread_id"),
];

/// The first customers in order of their ids, and no others, are worked out along the index that [`IN_ORDER_BY`] names: it
/// has no condition, and ends with the limit.
const IN_ORDER: [&str; 2] =
    ["customer360.customers ORDER BY customer_id LIMIT 50", "customer360.summary ORDER BY customer_id LIMIT 50"];

/// See [`IN_ORDER`].
const IN_ORDER_BY: &str = "Index Scan using subjects_subject on subjects ";

/// What is asked otherwise: as of a time, the latest, and by a beginning.
const QUESTIONS: [&str; 6] = [
    "sales.carts_at(now() - interval '1 day', 30) WHERE cart_id = 'cart-1-7'",
    "sales.carts_at(now() - interval '1 day', 30) WHERE session_id = 's-1-7'",
    "service.waiting_at(now() - interval '1 day') WHERE thread_id = 'none'",
    "customer360.timeline WHERE subject_id = md5('7')::uuid ORDER BY stamp DESC LIMIT 50",
    "sales.orders WHERE order_id >= 'o-1' AND order_id < 'o-2' ORDER BY order_id LIMIT 20",
    "service.threads WHERE unanswered_since < '2026-03-03T00:00:00Z' ORDER BY unanswered_since LIMIT 20",
];

fn line(sku: &str) -> serde_json::Value {
    json!([{"sku": sku, "quantity": 1, "unit_price": {"amount_minor": 500, "currency": "EUR"}}])
}

/// A few people of whom every table has a row.
fn people() -> Vec<Event> {
    let (ann, phone, device) = ("email:ann@example.com", "phone:+4930123456", "device_id:d-1");
    let cart = |id: &str| Event::new("web.cart.changed", id).data("op", "added").data("lines", line("A"));
    let mail = |id: &str| Event::email_received(id).subject(ann);
    vec![
        Event::new("customer.profile.updated", "n-1").subject(ann).data("fields", json!({"name": "Ann Lee"})),
        Event::page_viewed("v-1").subject(device).identifiers(ann).at_s(1),
        Event::new("web.product.viewed", "v-2").data("sku", "A").data("session_id", "s-1").subject(device).at_s(2),
        cart("c-1").data("cart_id", "cart-1").data("session_id", "s-1").subject(device).at_s(3),
        cart("c-2").data("session_id", "s-2").subject(ann).at_s(4),
        cart("c-3").data("checkout_id", "x-3").subject(ann).at_s(5),
        Event::order_placed("o-1")
            .subject(ann)
            .identifiers("account:acme")
            .data("cart_id", "cart-1")
            .data("session_id", "s-1")
            .data("checkout_id", "x-1")
            .at_s(6),
        Event::payment_recorded("p-1", "o-1").data("kind", "refunded").subject(ann).at_s(7),
        Event::case_opened("k-1").subject(phone).at_s(8),
        Event::case_changed("k-2", "k-1", "open").at_s(9),
        Event::call_ended("e-1", "call-1").subject(phone).at_s(10),
        mail("m-1").at_s(11),
        mail("m-2").data("in_reply_to", "<m-1@example.com>").at_s(12),
        Event::link_asserted("l-1", ann, phone).at_s(13),
        Event::order_placed("o-9").subject("customer_no:1").identifiers("user_id:u-1").at_s(14),
        Event::order_placed("o-8").subject("customer_no:2").at_s(15),
        Event::link_asserted("l-2", "user_id:u-1", "customer_no:2").at_s(16),
        Event::case_opened("k-9").subject(ann).at_s(17),
        Event::voided("z-1", "k-9").at_s(18),
        Event::order_placed("o-7").subject(ann).at_s(19),
        Event::voided("z-2", "o-7").at_s(20),
        // A further copy that differs.
        Event::case_opened("k-1").subject(phone).data("title", "It broke twice").at_s(8),
    ]
}

/// Repeats each row of each table, with other ids, names and numbers: copies of one world keep together, and no two meet.
const MULTIPLY: &str = r"
DO $multiply$
DECLARE
    grown record;
    source text;
BEGIN
    FOR grown IN
        SELECT c.oid, c.oid::regclass AS name
        FROM pg_class AS c
        JOIN backbone.generations AS g ON g.schema_name::regnamespace = c.relnamespace
        WHERE c.relkind = 'r'
    LOOP
        SELECT string_agg(
            CASE
                WHEN a.atttypid = 'uuid'::regtype THEN format('md5(t.%I::text || n)::uuid', a.attname)
                WHEN a.atttypid = 'uuid[]'::regtype
                THEN format('(SELECT array_agg(md5(e::text || n)::uuid) FROM unnest(t.%I) AS e)', a.attname)
                -- A stamp ends in the id of its event.
                WHEN a.attname ~ 'stamp$' AND a.atttypid = 'bytea'::regtype
                THEN format(
                    'overlay(t.%1$I placing decode(md5(encode(substr(t.%1$I, length(t.%1$I) - 15), ''hex'')::uuid::text || n), ''hex'')
                        FROM length(t.%1$I) - 15)', a.attname)
                WHEN a.attname = 'hash' THEN format('t.%I || n::text::bytea', a.attname)
                WHEN a.attname IN ('component', 'cluster') THEN format('t.%I + n * 1000000', a.attname)
                WHEN a.attname IN ('flags', 'direction', 'field') THEN format('t.%I', a.attname)
                WHEN a.atttypid = 'text[]'::regtype
                THEN format(
                    'CASE WHEN cardinality(t.%1$I) = 0 THEN t.%1$I ELSE (SELECT array_agg(e || ''-'' || n) FROM unnest(t.%1$I) AS e) END',
                    a.attname)
                WHEN a.attname ~ '(_id|_key|^key|identifier|neighbour|anchor|node|correlated|_value)$' AND a.atttypid = 'text'::regtype
                THEN format('t.%I || ''-'' || n', a.attname)
                WHEN a.attname = 'value' AND a.atttypid = 'json'::regtype
                THEN format('to_json((t.%I #>> ''{}'') || n)', a.attname)
                WHEN a.atttypid = 'timestamptz'::regtype THEN format('t.%I + n * interval ''1 hour''', a.attname)
                ELSE format('t.%I', a.attname)
            END, ', ' ORDER BY a.attnum)
        INTO source
        FROM pg_attribute AS a
        WHERE a.attrelid = grown.oid AND a.attnum > 0 AND NOT a.attisdropped;
        EXECUTE format('INSERT INTO %1$s SELECT %2$s FROM %1$s AS t CROSS JOIN generate_series(1, {copies}) AS n', grown.name, source);
    END LOOP;
END
$multiply$;
";

/// A connection to a world in which every table has thousands of rows, and PostgreSQL knows of them.
async fn filled(world: &mut World) -> PgConnection {
    let position = world.publish(people()).await;
    world.page("email:ann@example.com", &position).await;
    world.ready().await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    let multiply = MULTIPLY.replace("{copies}", &COPIES.to_string());
    sqlx::raw_sql(&multiply).execute(&mut database).await.expect("the rows are repeated");
    // Index-only scans count on what a vacuum has seen.
    database.execute("VACUUM ANALYZE").await.expect("statistics");
    let few: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class AS c
         JOIN backbone.generations AS g ON g.schema_name::regnamespace = c.relnamespace
         WHERE c.relkind = 'r' AND c.reltuples < $1 ORDER BY 1",
    )
    .bind(COPIES as f32)
    .fetch_all(&mut database)
    .await
    .expect("the catalogue");
    assert!(few.is_empty(), "no event of people() has a row in {few:?}");
    database
}

/// The question for a value of this column that is there.
async fn look_up(database: &mut PgConnection, view: &str, column: &str) -> String {
    let sample = format!("SELECT {column}::text FROM {view} WHERE {column} IS NOT NULL LIMIT 1");
    let value: Option<String> = sqlx::query_scalar(&sample).fetch_optional(database).await.expect("a row");
    let value = value.unwrap_or_else(|| panic!("{view} has no {column}"));
    format!("EXPLAIN SELECT * FROM {view} WHERE {column} = '{value}'")
}

/// As an analyst asks, with PostgreSQL free to choose.
#[tokio::test(flavor = "multi_thread")]
async fn no_look_up_reads_a_growing_table_whole() {
    let mut world = World::start().await;
    let mut database = filled(&mut world).await;
    database.execute("SET ROLE analyst").await.expect("it is set");
    let mut views: Vec<String> = sqlx::query_scalar(
        "SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname IN ('sales', 'service', 'customer360') AND c.relkind = 'v'",
    )
    .fetch_all(&mut database)
    .await
    .expect("the views");
    let mut known: Vec<&str> = LOOK_UPS.iter().map(|(view, _)| *view).chain(AGGREGATES).chain(WORKED_OUT).collect();
    known.sort_unstable();
    views.sort_unstable();
    assert_eq!(views, known, "each view says by what it is looked up");
    let mut found = Vec::new();
    for (view, columns) in LOOK_UPS {
        for column in columns {
            let explain = look_up(&mut database, view, column).await;
            found.extend(whole(&mut database, &explain).await);
        }
    }
    for question in QUESTIONS {
        found.extend(whole(&mut database, &format!("EXPLAIN SELECT * FROM {question}")).await);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    for question in IN_ORDER {
        let plan = plan(&mut database, &format!("EXPLAIN SELECT * FROM {question}")).await;
        let walked = read_whole(&plan);
        let is_one = walked.len() == 1 && walked[0].contains(IN_ORDER_BY);
        assert!(plan[0].starts_with("Limit ") && is_one, "{question}\n{}", plan.join("\n"));
    }
    for (view, column) in NOT_LOOKED_UP_BY {
        let explain = look_up(&mut database, view, column).await;
        assert!(
            whole(&mut database, &explain).await.is_some(),
            "{view} can be looked up by {column}: it belongs to LOOK_UPS"
        );
    }
    // What would be found: a question that no index answers.
    let whole = plan(&mut database, "EXPLAIN SELECT * FROM sales.orders WHERE carrier = 'x'").await;
    assert_eq!(read_whole(&whole).len(), 1, "{}", whole.join("\n"));
    world.stop().await;
}

/// As the service asks: customers, timelines and searches, by statements planned once for whatever values.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_of_the_service_reads_a_growing_table_whole() {
    let mut world = World::start().await;
    let mut database = filled(&mut world).await;
    let path = "SELECT set_config('search_path', schema_name, false), set_config('enable_seqscan', 'off', false)
                FROM backbone.generations WHERE model = 'customer360'";
    database.execute(path).await.expect("there is a generation");
    let (mut count, mut found) = (0, Vec::new());
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql")).expect("a folder") {
        let file = file.expect("an entry").path();
        if file.is_dir() || OVERVIEWS.iter().any(|name| file.ends_with(name)) {
            continue;
        }
        let sql = crate::world::named(&std::fs::read_to_string(&file).expect("a statement"));
        found.extend(whole(&mut database, &format!("EXPLAIN (GENERIC_PLAN) {sql}")).await);
        count += 1;
    }
    assert!(count > 10, "{count} statements");
    assert!(found.is_empty(), "{}", found.join("\n"));
    world.stop().await;
}

/// What depends on a time is answered to analysts as of any, by each function that takes one.
#[tokio::test(flavor = "multi_thread")]
async fn analysts_ask_as_of_a_time() {
    let mut world = World::start().await;
    let position = world.publish(people()).await;
    world.page("email:ann@example.com", &position).await;
    let mut database = PgConnection::connect(&world.database_url).await.expect("it connects");
    database.execute("SET ROLE analyst").await.expect("it is set");
    let functions: Vec<String> = sqlx::query_scalar(
        "SELECT p.pronamespace::regnamespace || '.' || p.proname FROM pg_proc AS p
         WHERE p.pronamespace::regnamespace::text IN ('sales', 'service', 'customer360') AND p.proname LIKE '%\\_at'
         ORDER BY 1",
    )
    .fetch_all(&mut database)
    .await
    .expect("the functions");
    assert_eq!(functions, ["sales.cart_funnel_at", "sales.carts_at", "service.waiting_at"]);
    for function in functions {
        let rows = format!("SELECT count(*) FROM (SELECT * FROM {function}('2026-03-03T00:00:00Z') OFFSET 0) AS r");
        let rows: i64 = sqlx::query_scalar(&rows).fetch_one(&mut database).await.expect("an analyst may");
        assert!(rows > 0, "{function}");
        let report = function.trim_end_matches("_at");
        let answer = world.get_at(&format!("/api/v1/reports/{report}?at=2026-03-03T00:00:00Z"), &position).await;
        assert_eq!((answer.status, answer.body["row_count"].as_i64()), (200, Some(rows)), "{}", answer.body);
    }
    world.stop().await;
}
