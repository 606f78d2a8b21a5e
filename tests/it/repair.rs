//! One customer, or one entity, is put right from the log: rows of every table changed, deleted, added by hand, shown as such, and
//! then all as it was, whatever is published meanwhile.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use event_log::{Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use projection::{Projector, ProjectorOptions, ReadModel, digest, positions};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use prost::Message as _;
use rapport_proto::v1;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use system_tests::history::{Recorded, START, history, recorded};
use system_tests::stack::{binary, command};

/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(120);

const RITA: &str = "email:rita@example.com";

struct World {
    log: Log,
    appender: Appender,
    kafka: String,
    database_url: String,
    projectors: Vec<Projector>,
    database: PgConnection,
    directory: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let backbone = test_kit::backbone().await;
        let options = LogOptions {
            topic: backbone.topic("interactions"),
            rejected_topic: backbone.topic("rejected"),
            partitions: 3,
            ..LogOptions::new(&backbone.kafka)
        };
        let log = Log::open_or_create(&options).await.expect("the log is created");
        let appender = Appender::open(&log, AppenderOptions::default()).expect("an appender opens");
        let projecting = || ProjectorOptions::new(&backbone.database_url);
        let customer360 = Customer360::new(*log.namespace());
        let projectors = vec![
            Projector::start(Sales, log.clone(), projecting()).await.expect("sales starts"),
            Projector::start(Service, log.clone(), projecting()).await.expect("service starts"),
            Projector::start(customer360, log.clone(), projecting()).await.expect("customer360 starts"),
        ];
        let database = PgConnection::connect(&backbone.database_url).await.expect("PostgreSQL answers");
        let directory = tempfile::tempdir().expect("a directory");
        let (kafka, database_url) = (backbone.kafka.clone(), backbone.database_url.clone());
        Self { log, appender, kafka, database_url, projectors, database, directory }
    }

    async fn append(&self, records: &[Recorded]) {
        let records = records.iter().map(|r| {
            let wire = v1::Interaction::decode(&r.value[..]).expect("a record of ours");
            NewRecord::of(&wire, r.value.clone(), r.received_at)
        });
        for appended in self.appender.append(Topic::Log, records.collect()).await {
            appended.expect("Kafka takes the record");
        }
    }

    /// Waits until all three models have folded all of the log.
    async fn folded(&mut self) {
        let (ends, begun) = (self.log.ends().await.expect("Kafka answers"), Instant::now());
        loop {
            let read = positions::read(&mut self.database).await.expect("positions");
            let has_all = |next: &BTreeMap<i32, i64>| ends.iter().all(|(p, end)| next.get(p).is_some_and(|n| n >= end));
            if read.len() == 3 && read.values().all(has_all) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the models do not reach {ends:?}: {read:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn repairing(&self, more: &[&str]) -> std::process::Command {
        let mut repair = command(binary());
        repair.arg("repair").args(more).current_dir(self.directory.path());
        let (topic, rejected) = (self.log.topic(Topic::Log), self.log.topic(Topic::Rejected));
        for (name, value) in [
            ("RAPPORT_KAFKA", self.kafka.as_str()),
            ("RAPPORT_DATABASE_URL", &self.database_url),
            ("RAPPORT_TOPIC", topic),
            ("RAPPORT_REJECTED_TOPIC", rejected),
        ] {
            repair.env(name, value);
        }
        repair
    }

    fn repair(&self, more: &[&str], code: i32) -> String {
        said(&self.repairing(more).output().expect("the rapport binary runs"), code)
    }

    /// What a dry run shows, as one document.
    fn shown(&self, reference: &str, code: i32) -> Value {
        let output = self.repairing(&[reference, "--json"]).output().expect("the rapport binary runs");
        said(&output, code);
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    async fn digests(&mut self) -> [String; 3] {
        async fn of<M: ReadModel>(database: &mut PgConnection, model: &M) -> String {
            digest::model(database, model).await.expect("a digest").digest
        }
        let customer360 = Customer360::new(*self.log.namespace());
        [
            of(&mut self.database, &Sales).await,
            of(&mut self.database, &Service).await,
            of(&mut self.database, &customer360).await,
        ]
    }

    /// All rows of all tables but the numbers of components, by table.
    async fn tables(&mut self) -> BTreeMap<String, Vec<String>> {
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT schemaname || '.' || tablename FROM pg_tables
             WHERE schemaname IN (SELECT schema_name FROM backbone.generations WHERE state = 'live')",
        )
        .fetch_all(&mut self.database)
        .await
        .expect("tables");
        let mut tables = BTreeMap::new();
        for name in names {
            let rows = format!("SELECT (to_jsonb(r) - 'component' - 'cluster')::text AS t FROM {name} AS r ORDER BY t");
            tables.insert(name, sqlx::query_scalar(&rows).fetch_all(&mut self.database).await.expect("rows"));
        }
        tables
    }

    async fn damage(&mut self, sql: &str) {
        let done = sqlx::query(sql).execute(&mut self.database).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        assert!(done.rows_affected() > 0, "nothing is damaged by {sql}");
    }

    async fn stop(self) {
        for projector in self.projectors {
            projector.stop(Duration::from_secs(10)).await.expect("a projector ends well");
        }
    }
}

/// Checks the exit code and hands back what was said.
fn said(output: &Output, code: i32) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn event(id: &str, minute: i64, kind: &str, data: Value) -> Value {
    let at = domain::time::format(START + minute * 60_000_000).expect("a time");
    json!({"specversion": "1.0", "source": "repair", "id": id, "type": kind, "time": at, "data": data,
           "subject": RITA, "identifiers": "user_id:rita,account:ritaco"})
}

/// A customer of whom there is something in every table of every model.
fn rita() -> Vec<Recorded> {
    let eur = |amount: i64| json!({"amount_minor": amount, "currency": "EUR"});
    let lines = json!([{"sku": "A", "quantity": 2, "total": eur(500)}, {"sku": "B", "quantity": 1, "total": eur(300)}]);
    let voided = |target: &str| json!({"voided_source": "repair", "voided_id": target});
    let mut told: Vec<Value> = vec![
        event("viewed", 1, "web.product.viewed", json!({"sku": "A", "session_id": "rs"})),
        event(
            "cart",
            2,
            "web.cart.changed",
            json!({"op": "added", "cart_id": "rc", "session_id": "rs", "lines": lines}),
        ),
        event("cart-s", 3, "web.cart.changed", json!({"op": "added", "session_id": "rs2", "lines": lines})),
        event("cart-k", 4, "web.cart.changed", json!({"op": "added", "checkout_id": "rk2", "lines": lines})),
        event(
            "placed",
            5,
            "order.placed",
            json!({"order_id": "R1", "lines": lines, "cart_id": "rc", "session_id": "rs"}),
        ),
        event("paid", 6, "payment.recorded", json!({"order_id": "R1", "kind": "captured", "amount": eur(800)})),
        event("shipped", 7, "shipment.updated", json!({"order_id": "R1", "status": "shipped"})),
        event(
            "returned",
            8,
            "return.received",
            json!({"order_id": "R1", "lines": [{"sku": "B", "quantity": 1}], "refund": eur(300)}),
        ),
        event("void-order", 9, "interaction.voided", voided("shipped")),
        event("opened", 10, "case.opened", json!({"case_id": "RC1", "title": "Rita's case", "priority": "low"})),
        event("changed", 11, "case.changed", json!({"case_id": "RC1", "status": "open", "assignee": "ann"})),
        event("replied", 12, "case.replied", json!({"case_id": "RC1", "visibility": "public", "text": "soon"})),
        event("void-case", 13, "interaction.voided", voided("replied")),
        event(
            "offered",
            14,
            "call.offered",
            json!({"call_id": "RP1", "direction": "inbound", "from": "+4930111", "to": "+4930222", "queue": "q"}),
        ),
        event("answered", 15, "call.answered", json!({"call_id": "RP1", "agent_id": "ann", "wait_s": 4})),
        event("ended", 16, "call.ended", json!({"call_id": "RP1", "disposition": "answered", "duration_s": 60})),
        event(
            "asks",
            17,
            "email.message.received",
            json!({"message_id": "<r1@x>", "from": "rita@example.com", "to": ["c@d.example"],
                     "sent_at": "2026-03-01T00:17:00Z", "subject": "Rita asks"}),
        ),
        event(
            "told",
            18,
            "email.message.sent",
            json!({"message_id": "<r2@x>", "from": "c@d.example", "to": ["rita@example.com"],
                     "sent_at": "2026-03-01T00:18:00Z", "subject": "Re: Rita asks", "in_reply_to": "<r1@x>"}),
        ),
        event("named", 19, "customer.profile.updated", json!({"fields": {"name": "Rita", "title": "Dr"}})),
        event("link-1", 20, "identity.link.asserted", json!({"left": "customer_no:r1", "right": RITA})),
        event("link-2", 21, "identity.link.asserted", json!({"left": "customer_no:r2", "right": "user_id:rita"})),
    ];
    let mut anonymous = event("late", 22, "case.changed", json!({"case_id": "RC1", "priority": "high"}));
    anonymous["subject"] = Value::Null;
    anonymous["identifiers"] = Value::Null;
    told.push(anonymous);
    // A copy that differs, and came later.
    told.push(event("viewed", 1, "web.product.viewed", json!({"sku": "C", "session_id": "rs"})));
    let at = |n: usize| START + 1_000_000 * i64::try_from(n).expect("a few");
    told.iter().enumerate().map(|(n, event)| recorded(event, at(n))).collect()
}

/// A row of a table that tells of Rita: which, how it is changed, and what of it is another in a row that is added. `{s}` is
/// the schema of its generation; empty: that cannot be, or does no harm.
type Row = (&'static str, &'static str, &'static str, &'static str, Value);

fn rows() -> Vec<Row> {
    const OTHER: &str = "6f0e8f4e-54a1-4b53-8f4f-000000000001";
    const STAMP: &str = "\\x80000000000000000001000000000000000000000000000000000000000000000001";
    let by_facts = "target IN (SELECT event_id FROM {s}.facts WHERE 'R1' = order_id)";
    let by_case = "target IN (SELECT event_id FROM {s}.facts WHERE 'RC1' = case_id)";
    let of_rita = "(SELECT subject_id FROM {s}.subjects WHERE 'email:rita@example.com' = ANY(identifiers))";
    let events =
        "event_id IN (SELECT event_id FROM {s}.timeline WHERE subject_id IN (SELECT subject_id FROM {s}.subjects
                  WHERE 'email:rita@example.com' = ANY(identifiers)))";
    let of =
        |format: &'static str, inner: &str| -> &'static str { Box::leak(format.replace("{}", inner).into_boxed_str()) };
    vec![
        ("sales", "entities", "key = 'R1'", "", Value::Null),
        ("sales", "facts", "order_id = 'R1'", "subject_id = NULL", json!({"event_id": OTHER})),
        ("sales", "voids", by_facts, "target = gen_random_uuid()", json!({"void_id": OTHER})),
        ("sales", "orders", "order_id = 'R1'", "net_minor = 1", json!({"order_id": "ghost"})),
        ("sales", "order_lines", "order_id = 'R1'", "quantity = 9", json!({"line_no": 99})),
        ("sales", "order_refunds", "order_id = 'R1'", "amount_minor = 9", json!({"event_id": OTHER})),
        ("sales", "carts", "cart_id = 'rc'", "value_minor = 9", json!({"cart_id": "ghost"})),
        ("sales", "session_carts", "cart_id = 'rs2'", "value_minor = 9", json!({"cart_id": "ghost"})),
        ("sales", "checkout_carts", "cart_id = 'rk2'", "value_minor = 9", json!({"cart_id": "ghost"})),
        ("sales", "cart_lines", "cart_id = 'rc'", "quantity = 9", json!({"line_no": 99})),
        ("sales", "session_cart_lines", "cart_id = 'rs2'", "quantity = 9", json!({"line_no": 99})),
        ("sales", "checkout_cart_lines", "cart_id = 'rk2'", "quantity = 9", json!({"line_no": 99})),
        ("sales", "sessions", "session_id = 'rs'", "viewed_at = NULL", json!({"session_id": "ghost"})),
        ("sales", "session_products", "session_id = 'rs'", "sku = 'Z'", json!({"product_no": 99})),
        ("service", "entities", "key = 'RC1'", "", Value::Null),
        ("service", "facts", "case_id = 'RC1'", "hash = '\\x00'", json!({"event_id": OTHER})),
        ("service", "voids", by_case, "target = gen_random_uuid()", json!({"void_id": OTHER})),
        ("service", "cases", "case_id = 'RC1'", "title = 'x'", json!({"case_id": "ghost"})),
        ("service", "case_spans", "case_id = 'RC1'", "status = 'x'", json!({"span_no": 99})),
        ("service", "calls", "call_id = 'RP1'", "queue = 'x'", json!({"call_id": "ghost"})),
        ("service", "call_legs", "call_id = 'RP1'", "agent_id = 'x'", json!({"leg_no": 99})),
        ("service", "thread_facts", "title = 'Rita asks'", "title = 'x'", json!({"event_id": OTHER})),
        (
            "service",
            "thread_nodes",
            "component IN (SELECT component FROM {s}.threads WHERE title = 'Rita asks')",
            "component = 999999",
            json!({"node": "ghost"}),
        ),
        ("service", "threads", "title = 'Rita asks'", "message_count = 9", json!({"component": 999_999})),
        ("service", "thread_waits", "title = 'Rita asks'", "answered_by = 'x'", json!({"wait_no": 99})),
        ("customer360", "timeline", events, "summary = 'x'", json!({"event_id": OTHER})),
        (
            "customer360",
            "appearances",
            "party IN (SELECT entity_id FROM {s}.entities WHERE key = 'R1')",
            "stamp = '\\x00000000000000000000000000000000000000000000000000'",
            json!({"stamp": STAMP}),
        ),
        (
            "customer360",
            "voids",
            of("target IN (SELECT event_id FROM {s}.timeline WHERE subject_id IN {})", of_rita),
            "target = gen_random_uuid()",
            json!({"void_id": OTHER}),
        ),
        ("customer360", "copies", events, "received_at = now()", json!({"hash": "\\x00"})),
        ("customer360", "arrivals", events, "received_at = now()", json!({"log_offset": 999_999})),
        ("customer360", "taken_back", events, "", Value::Null),
        ("customer360", "entities", "key = 'R1'", "owner_subject = gen_random_uuid()", json!({"entity_id": OTHER})),
        ("customer360", "profile_fields", of("party IN {}", of_rita), "value = '9'", json!({"field": "ghost"})),
        ("customer360", "touches", of("party IN {}", of_rita), "stamp = stamp || '\\x00'", json!({"channel": "ghost"})),
        (
            "customer360",
            "affiliations",
            of("party IN {}", of_rita),
            "first_stamp = first_stamp || '\\x00'",
            json!({"group_id": "account:ghost"}),
        ),
        (
            "customer360",
            "subjects",
            "'email:rita@example.com' = anchor OR 'user_id:rita' = anchor",
            "kind_rank = 9",
            json!({"subject_id": OTHER}),
        ),
        (
            "customer360",
            "naming",
            "identifier = 'email:rita@example.com'",
            "identifier = 'email:ghost@example.com'",
            json!({"subject_id": OTHER}),
        ),
        (
            "customer360",
            "identifiers",
            "identifier = 'email:rita@example.com'",
            "hub = true",
            json!({"identifier": "email:ghost@example.com"}),
        ),
        (
            "customer360",
            "neighbours",
            "identifier = 'email:rita@example.com'",
            "neighbour = 'user_id:ghost'",
            json!({"neighbour": "user_id:ghost2"}),
        ),
        (
            "customer360",
            "link_events",
            "'email:rita@example.com' IN (left_id, right_id)",
            "asserted = NOT asserted",
            json!({"stamp": STAMP}),
        ),
        (
            "customer360",
            "components",
            "component IN (SELECT component FROM {s}.identifiers WHERE identifier = 'user_id:rita')",
            "size = 99",
            json!({"component": 999_999}),
        ),
        (
            "customer360",
            "conflicts",
            "'customer_no:r2' IN (left_id, right_id) OR 'customer_no:r1' IN (left_id, right_id)",
            "left_value = 'x'",
            json!({"left_id": "customer_no:ghost"}),
        ),
    ]
}

/// The three ways in which a row can be wrong: changed, gone, or there though nothing says so.
fn damages(row: &Row, schema: &str) -> [Option<String>; 3] {
    let (_, table, condition, change, other) = row;
    let name = format!("{schema}.{table}");
    let condition = condition.replace("{s}", schema);
    let first = format!("ctid = (SELECT ctid FROM {name} WHERE {condition} LIMIT 1)");
    let added = format!(
        "INSERT INTO {name} SELECT (jsonb_populate_record(r, '{other}'::jsonb)).* FROM {name} AS r WHERE r.{first}"
    );
    [
        (!change.is_empty()).then(|| format!("UPDATE {name} SET {change} WHERE {first}")),
        Some(format!("DELETE FROM {name} WHERE {first}")),
        (!other.is_null()).then_some(added),
    ]
}

async fn schemas(world: &mut World) -> BTreeMap<String, String> {
    let live = "SELECT model, schema_name FROM backbone.generations WHERE state = 'live'";
    let rows: Vec<(String, String)> = sqlx::query_as(live).fetch_all(&mut world.database).await.expect("generations");
    rows.into_iter().collect()
}

/// How many rows of a table a dry run would add, remove and change.
fn counts(shown: &Value, model: &str, table: &str) -> [i64; 3] {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let of_model = list(&shown["models"]).into_iter().find(|m| m["model"] == model).unwrap_or_default();
    let of_table = list(&of_model["tables"]).into_iter().find(|t| t["table"] == table).unwrap_or_default();
    ["added", "removed", "changed"].map(|what| of_table[what].as_i64().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_put_right_table_by_table() {
    let mut world = World::start().await;
    world.append(&history(77, 400)).await;
    world.append(&rita()).await;
    world.folded().await;
    let (digests, tables) = (world.digests().await, world.tables().await);
    let schemas = schemas(&mut world).await;
    assert!(world.repair(&[RITA], 0).contains("nothing to repair"));

    // Each way in turn, in all tables at once; `RAPPORT_TEST_EACH=1` takes them one by one.
    let each = std::env::var("RAPPORT_TEST_EACH").is_ok();
    let rows = rows();
    let rounds: Vec<Vec<&Row>> =
        if each { rows.iter().map(|r| vec![r]).collect() } else { vec![rows.iter().collect()] };
    for round in &rounds {
        for way in 0..3 {
            let mut damaged = Vec::new();
            for row in round {
                if let Some(sql) = &damages(row, &schemas[row.0])[way] {
                    world.damage(sql).await;
                    damaged.push((row.0, row.1));
                }
            }
            if damaged.is_empty() {
                continue;
            }
            let before = world.tables().await;
            let shown = world.shown(RITA, 1);
            for (model, table) in &damaged {
                let [added, removed, changed] = counts(&shown, model, table);
                assert!(added + removed + changed > 0, "way {way}: {model} {table} is not shown: {shown:#}");
                if each && *model == "sales" {
                    assert_eq!([changed, added, removed][way], 1, "way {way}: {model} {table}: {shown:#}");
                    assert_eq!(added + removed + changed, 1, "way {way}: {model} {table}: {shown:#}");
                }
            }
            assert_eq!(world.tables().await, before, "a dry run leaves everything as it is");
            assert!(world.repair(&[RITA, "--yes"], 0).contains("repaired: "));
            let after = world.tables().await;
            for (table, rows) in &tables {
                assert_eq!(&after[table], rows, "way {way}: {damaged:?}: {table}");
            }
            assert_eq!(world.digests().await, digests, "way {way}: {damaged:?}");
            assert!(world.repair(&[RITA], 0).contains("nothing to repair"));
        }
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_damaged_is_left_alone() {
    let mut world = World::start().await;
    let spiteful = history(2_027, 600);
    for piece in spiteful.chunks(40) {
        world.append(piece).await;
    }
    world.append(&rita()).await;
    world.folded().await;
    let tables = world.tables().await;
    for reference in ["order:1", "order:R1", "case:2", "call:1", "cart:1", "session:2", "checkout:3", "thread:1", RITA]
    {
        assert!(world.repair(&[reference], 0).contains("nothing to repair"), "{reference}");
    }
    for reference in ["user_id:u1", "email:p3@mail.example", "anonymous_id:a4", "card:2"] {
        assert!(world.repair(&[reference], 0).contains("nothing to repair"), "{reference}");
    }
    assert!(world.repair(&["email:info@shared.example"], 65).contains("is shared by so many"));
    assert!(world.repair(&["order:nobody-knows"], 65).contains("neither the log nor a table knows anything"));
    assert!(world.repair(&["email:nobody@example.com", "--yes"], 65).contains("neither the log"));
    assert!(world.repair(&["account:acme1"], 65).contains("is no customer"));
    assert!(world.repair(&["77"], 65).contains("names neither an entity"));
    assert_eq!(world.tables().await, tables);

    // One order alone: its rows, not those of whoever bought it.
    let schemas = schemas(&mut world).await;
    let digests = world.digests().await;
    world.damage(&format!("UPDATE {}.orders SET net_minor = 1 WHERE order_id = 'R1'", schemas["sales"])).await;
    world.damage(&format!("UPDATE {}.sessions SET flags = '{{x}}' WHERE session_id = 'rs'", schemas["sales"])).await;
    let shown = world.shown("order:R1", 1);
    assert_eq!(counts(&shown, "sales", "orders"), [0, 0, 1], "{shown:#}");
    assert_eq!(counts(&shown, "sales", "sessions"), [0, 0, 0], "{shown:#}");
    let difference = &shown["models"][0]["differences"][0];
    assert_eq!(
        (&difference["key"]["order_id"], &difference["live"]["net_minor"]),
        (&"R1".into(), &1.into()),
        "{shown:#}"
    );
    assert_eq!(difference["events"][0]["source"], "repair", "the event behind it is named: {shown:#}");
    let told = world.repair(&["order:R1"], 1);
    assert!(told.contains("sales orders: 0 added, 0 removed, 1 changed") && told.contains("net_minor 1 ->"), "{told}");
    world.repair(&["order:R1", "--yes"], 0);
    world.repair(&["session:rs", "--yes"], 0);
    assert_eq!(world.digests().await, digests);

    // What another version's folds, or other settings, have made cannot be held against this one's.
    let other = world.repairing(&["order:R1"]).env("RAPPORT_HUB_LIMITS", "email/phone=3").output();
    let refused = said(&other.expect("the rapport binary runs"), 78);
    assert!(refused.contains("`rapport replay customer360`"), "{refused}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_comes_in_meanwhile_is_lost_or_doubled() {
    let mut world = World::start().await;
    world.append(&rita()).await;
    world.folded().await;
    let schemas = schemas(&mut world).await;
    let (sales, customer360) = (&schemas["sales"], &schemas["customer360"]);
    for sql in [
        format!("DELETE FROM {sales}.facts WHERE order_id = 'R1'"),
        format!("DELETE FROM {sales}.orders WHERE order_id = 'R1'"),
        format!("DELETE FROM {customer360}.identifiers WHERE identifier = '{RITA}'"),
        format!("UPDATE {customer360}.components SET customer_id = NULL"),
    ] {
        world.damage(&sql).await;
    }
    let later = |n: i64| {
        let eur = json!({"amount_minor": n, "currency": "EUR"});
        let paid = json!({"order_id": "R1", "kind": "captured", "amount": eur});
        recorded(&event(&format!("later-{n}"), 30 + n, "payment.recorded", paid), START + 100_000_000 + n)
    };
    let (mut repair, mut n) = (world.repairing(&[RITA, "--yes"]).spawn().expect("the rapport binary runs"), 0);
    let status = loop {
        world.append(&(n..n + 5).map(later).collect::<Vec<_>>()).await;
        n += 5;
        if let Some(status) = repair.try_wait().expect("it is ours") {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
    world.append(&(n..n + 5).map(later).collect::<Vec<_>>()).await;
    n += 5;
    world.folded().await;
    assert!(world.repair(&[RITA], 0).contains("nothing to repair"));
    let captured: i64 = sqlx::query_scalar("SELECT captured_minor FROM sales.orders WHERE order_id = 'R1'")
        .fetch_one(&mut world.database)
        .await
        .expect("the order");
    assert_eq!(captured, 800 + n * (n - 1) / 2, "of {n} payments");
    world.stop().await;
}
