//! What each kind of event is answered with, and what of it is appended or kept.

use domain::{Namespace, Position};
use serde_json::{Value, json};
use test_kit::Event;

use crate::support::{BATCH, Case, NOW_US, Running, STRUCTURED, batch, check, order, start};

/// A structured request with one event.
fn one(name: &'static str, event: impl ToString, status: u16, expected: Value) -> Case {
    Case { name, content_type: STRUCTURED, headers: vec![], body: event.to_string().into_bytes(), status, expected }
}

/// What one rejected event is answered with.
fn rejected(code: &str, pointer: &str) -> Value {
    json!({"accepted": 0, "rejected": 1, "results": [{"status": "rejected", "errors": [{"code": code, "pointer": pointer}]}]})
}

fn decoded(record: &event_log::Record) -> domain::Interaction {
    let namespace = Namespace::new(uuid::Uuid::nil());
    domain::Interaction::decode(&record.value, record.received_at, &namespace).expect("what the collector wrote")
}

#[tokio::test]
async fn the_three_modes_append_the_same_event() {
    let collector = start(|_| {}).await;
    let accepted = json!({"accepted": 1, "rejected": 0, "results": [{"id": "o-1", "status": "accepted"}]});
    let event = Event::order_placed("o-1").subject("Email: Ann@Example.com").json();
    check(&collector, one("structured", &event, 200, accepted.clone())).await;
    let body = batch(&[event.to_string()]);
    check(
        &collector,
        Case { name: "batch", content_type: BATCH, headers: vec![], body, status: 200, expected: accepted.clone() },
    )
    .await;
    let headers = vec![
        ("CE-SpecVersion", "1.0"),
        ("ce-id", "o%2D1"),
        ("ce-source", "test"),
        ("ce-type", "io.rapport.order.placed"),
        ("ce-time", "2026-03-02T09:00:00+01:00"),
        ("ce-subject", "email:ANN@example.com"),
    ];
    let body = event["data"].to_string().into_bytes();
    check(&collector, Case { name: "binary", content_type: "", headers, body, status: 200, expected: accepted }).await;

    let records = collector.records().await;
    assert_eq!(records.len(), 3);
    for record in &records {
        assert_eq!(record.value, records[0].value, "one event, one value");
        assert_eq!((record.partition, &record.key[..]), (records[0].partition, &b"email:ann@example.com"[..]));
        assert_eq!(record.received_at, NOW_US);
        let headers: Vec<_> = record.headers().map(|(n, v)| (n, String::from_utf8_lossy(v).into_owned())).collect();
        let expected = [
            ("ce_specversion", "1.0"),
            ("ce_id", "o-1"),
            ("ce_source", "test"),
            ("ce_type", "io.rapport.order.placed"),
            ("ce_time", "2026-03-02T08:00:00Z"),
            ("ce_subject", "email:ann@example.com"),
            ("ce_recordedtime", "2026-03-02T09:00:00Z"),
            ("content-type", "application/protobuf"),
        ];
        assert_eq!(headers, expected.map(|(n, v)| (n, v.to_owned())));
    }
}

#[tokio::test]
async fn binary_events_of_any_content() {
    let collector = start(|_| {}).await;
    let cases: [(&str, &str, &str, &[u8], Value); 5] = [
        ("image, type of its own", "com.acme.photo", "image/png", b"\x89PNG\xff", json!({"status": "accepted"})),
        (
            "text, type of its own",
            "com.acme.note",
            "text/plain; charset=latin1",
            b"caf\xe9",
            json!({"status": "accepted"}),
        ),
        ("no data", "com.acme.ping", "", b"", json!({"status": "accepted"})),
        ("image as an order", "order.placed", "image/png", b"\x89PNG", json!({"errors": [{"code": "wrong_type"}]})),
        ("extension", "com.acme.x", "application/json", b"17", json!({"status": "accepted"})),
    ];
    for (name, event_type, content_type, body, result) in cases {
        let (name, event_type, content_type): (&'static str, &'static str, &'static str) =
            (name, event_type, content_type);
        let status = if result.get("errors").is_some() { 422 } else { 200 };
        let headers = vec![
            ("ce-specversion", "1.0"),
            ("ce-id", name),
            ("ce-source", "s"),
            ("ce-type", event_type),
            ("ce-tenant", "t%201"),
        ];
        let expected = json!({"results": [result]});
        check(&collector, Case { name, content_type, headers, body: body.to_vec(), status, expected }).await;
    }
    for record in collector.records().await {
        let back: Value =
            serde_json::from_slice(&rapport_proto::json::write(&decoded(&record).wire, Vec::new())).expect("JSON");
        assert_eq!(back["tenant"], "t 1");
        let data = match record.header("ce_type") {
            Some("com.acme.photo") => json!(["iVBOR/8=", null, "image/png"]),
            Some("com.acme.note") => json!(["Y2Fm6Q==", null, "text/plain; charset=latin1"]),
            Some("com.acme.x") => json!([null, 17, "application/json"]),
            _ => json!([null, null, null]),
        };
        assert_eq!(json!([back["data_base64"], back["data"], back["datacontenttype"]]), data);
    }
}

#[tokio::test]
async fn results_stand_in_order_with_the_reasons() {
    let collector = start(|_| {}).await;
    let events = [
        order("a"),
        r#"{"specversion":"1.0","id":"b","source":"s","type":"order.placed","data":{"lines":[]}}"#.to_owned(),
        Event::new("com.acme.custom", "c").data("any", json!([1, {"deep": 2.50}])).json().to_string(),
        "17".to_owned(),
        Event::case_opened("d").identifiers("fax:1,email:no-reply@x.example,phone:12").json().to_string(),
        Event::new("io.rapport.oder.placed", "e").subject("ann").json().to_string(),
    ];
    let expected = json!({"accepted": 4, "rejected": 2, "results": [
        {"id": "a", "status": "accepted"},
        {"id": "b", "status": "rejected", "errors": [{"code": "missing_field", "pointer": "/data/order_id", "detail": "~order_id"}]},
        {"id": "c", "status": "accepted"},
        {"id": null, "status": "rejected", "errors": [{}]},
        {"id": "d", "status": "accepted", "warnings": [
            {"code": "identifier_not_understood", "pointer": "/identifiers"},
            {"code": "placeholder_dropped", "pointer": "/identifiers"},
            {"code": "identifier_not_understood", "pointer": "/identifiers"}]},
        {"id": "e", "status": "accepted", "warnings": [
            {"code": "unknown_type", "pointer": "/type", "detail": "~did you mean order.placed?"},
            {"code": "unknown_subject", "pointer": "/subject", "detail": "~kind:value"}]},
    ]});
    let body = batch(&events);
    let answer =
        check(&collector, Case { name: "mixed", content_type: BATCH, headers: vec![], body, status: 207, expected })
            .await;

    let position = Position::parse(answer.position.as_deref().expect("a position")).expect("a token");
    let records = collector.records().await;
    assert_eq!(records.len(), 4);
    for record in &records {
        assert!(position.next[&record.partition] > record.offset, "the position is behind all that was appended");
        assert!(position.first[&record.partition] <= record.offset);
    }
    let kept = collector.rejected().await;
    for ((rejection_id, record), result) in kept.iter().zip([1, 3]) {
        assert_eq!(record.event, events[result]);
        assert_eq!(answer.body["results"][result]["rejection_id"], rejection_id.as_str());
        assert_eq!((record.mode.as_ref(), record.content_type.as_ref()), ("batch", BATCH));
        assert_eq!(record.received_at, "2026-03-02T09:00:00Z");
        assert!(!record.errors.is_empty());
    }
    assert_eq!(kept.len(), 2);
}

#[tokio::test]
async fn events_that_can_never_be_accepted() {
    let collector = start(|_| {}).await;
    let with = |field: &str, value: Value| Event::order_placed("x").data(field, value).json();
    let crowd = (0..257).map(|n| format!("device_id:{n}")).collect::<Vec<_>>().join(",");
    let cases = vec![
        ("no object", json!([]), "", ""),
        ("no id", Event::order_placed("x").attribute("id", Value::Null).json(), "missing_field", "/id"),
        ("empty source", Event::order_placed("x").source("").json(), "missing_field", "/source"),
        ("number as id", Event::order_placed("x").attribute("id", 7).json(), "wrong_type", "/id"),
        ("no order_id", with("order_id", Value::Null), "missing_field", "/data/order_id"),
        ("order_id a number", with("order_id", json!(5)), "wrong_type", "/data/order_id"),
        ("lines an object", with("lines", json!({})), "wrong_type", "/data/lines"),
        (
            "amount a text",
            with("total", json!({"amount_minor": "5", "currency": "EUR"})),
            "wrong_type",
            "/data/total/amount_minor",
        ),
        (
            "amount huge",
            with("total", json!({"amount_minor": 1e30, "currency": "EUR"})),
            "",
            "/data/total/amount_minor",
        ),
        (
            "currency",
            with("total", json!({"amount_minor": 5, "currency": "euro"})),
            "bad_currency",
            "/data/total/currency",
        ),
        ("time", Event::order_placed("x").time("yesterday").json(), "bad_time", "/time"),
        ("1899", Event::order_placed("x").time("1899-12-31T23:59:59Z").json(), "out_of_range", "/time"),
        ("ahead", Event::order_placed("x").time("2026-03-03T09:00:01Z").json(), "out_of_range", "/time"),
        ("crowd", Event::order_placed("x").identifiers(&crowd).json(), "out_of_range", "/identifiers"),
        ("long id", Event::order_placed("x").attribute("id", "x".repeat(2000)).json(), "out_of_range", "/id"),
        ("nul", with("rep", json!("a\u{0}b")), "nul_character", "/data/rep"),
        ("status", Event::case_changed("x", "c", "ajar").json(), "not_permitted", "/data/status"),
        ("link without colon", Event::link_asserted("x", "ann", "email:a@b.c").json(), "bad_identifier", "/data/left"),
    ];
    let count = cases.len();
    for (name, event, code, pointer) in cases {
        let mut expected = rejected(code, pointer);
        if code.is_empty() {
            expected["results"][0]["errors"][0] = json!({"pointer": pointer});
        }
        let answer = check(&collector, one(name, event, 422, expected)).await;
        assert_eq!(answer.position, None, "{name}: nothing was appended");
    }
    assert_eq!((collector.records().await.len(), collector.rejected().await.len()), (0, count));
}

#[tokio::test]
async fn events_that_are_kept_as_they_are() {
    let collector = start(|_| {}).await;
    let huge = json!({"amount_minor": i64::MAX, "currency": "EUR"});
    let events = [
        Event::order_placed("huge").data("total", huge).json(),
        Event::order_placed("negative").data("total", json!({"amount_minor": -1, "currency": "EUR"})).json(),
        Event::order_placed("1900").time("1900-01-01T00:00:00Z").json(),
        Event::order_placed("ahead").time("2026-03-03T09:00:00Z").json(),
        Event::order_placed("untimed").attribute("time", Value::Null).json(),
        Event::order_placed("unknown-field").data("gift", json!({"wrap": true})).json(),
        Event::new("com.acme.thing.happened", "custom").data("x", 1).json(),
    ];
    for event in &events {
        let expected = json!({"accepted": 1, "results": [{"id": event["id"], "status": "accepted"}]});
        check(&collector, one("kept", event, 200, expected)).await;
    }
    let records = collector.records().await;
    assert_eq!(records.len(), events.len());
    for record in records {
        let interaction = decoded(&record);
        let sent = events.iter().find(|e| e["id"] == *interaction.wire.id.as_deref().expect("an id")).expect("sent");
        let back: Value =
            serde_json::from_slice(&rapport_proto::json::write(&interaction.wire, Vec::new())).expect("JSON");
        assert_eq!(back["data"], sent["data"]);
        if sent.get("time").is_none() {
            assert_eq!((interaction.occurred_at, interaction.wire.occurred_at), (NOW_US, None));
        }
    }
}

#[tokio::test]
async fn validation_alone_appends_nothing() {
    let collector = start(|_| {}).await;
    let body = batch(&[order("a"), "{}".to_owned()]);
    let answer = collector.send("POST", "/events?validate_only=true", &[("content-type", BATCH)], body).await;
    assert_eq!((answer.status, answer.position), (207, None));
    assert_eq!(answer.body["results"][0], json!({"id": "a", "status": "accepted"}));
    assert_eq!(answer.body["results"][1]["rejection_id"], Value::Null);
    assert_eq!((collector.records().await.len(), collector.rejected().await.len()), (0, 0));
    let answer = collector.send("POST", "/events?validate_only=maybe", &[("content-type", BATCH)], "[]").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn an_empty_batch_is_acknowledged() {
    let collector = start(|_| {}).await;
    let expected = json!({"accepted": 0, "rejected": 0, "results": []});
    let case = Case { name: "empty", content_type: BATCH, headers: vec![], body: b"[]".into(), status: 200, expected };
    let position = check(&collector, case).await.position.expect("an acknowledgement carries a position");
    let position = Position::parse(&position).expect("a token");
    assert!(position.first.is_empty(), "nothing was appended");
    assert!(!position.next.is_empty(), "it stands for all that was acknowledged before");
}

#[tokio::test]
async fn what_else_is_answered() {
    let collector = start(|_| {}).await;
    let get = async |path: &str| collector.send("GET", path, &[], "").await;
    assert_eq!(get("/").await.body["publish"]["path"], "/events");
    let types = get("/schemas").await.body["types"].as_array().expect("a list").len();
    assert_eq!(types, rapport_proto::catalogue::all().len());
    for name in ["order.placed", "io.rapport.order.placed"] {
        let answer = get(&format!("/schemas/{name}")).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/schema+json"));
        assert!(answer.body.to_string().contains("order_id"));
    }
    for (method, path, status) in
        [("GET", "/schemas/no.such", 404), ("GET", "/nowhere", 404), ("GET", "/events", 405), ("DELETE", "/", 405)]
    {
        let answer = collector.send(method, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.content_type.as_str()),
            (status, "application/problem+json"),
            "{method} {path}"
        );
        assert!(answer.body["type"].as_str().is_some_and(|t| !t.is_empty()));
    }
    ready(&collector).await;
}

async fn ready(collector: &Running) {
    let (client, addr) = (reqwest::Client::new(), collector.handle.admin_addr().expect("it has one"));
    let admin = |path: &str| client.get(format!("http://{addr}{path}")).send();
    assert_eq!(admin("/readyz").await.expect("an answer").status(), 200);
    assert_eq!(admin("/livez").await.expect("an answer").status(), 200);
    assert_eq!(collector.post(STRUCTURED, order("counted")).await.status, 200);
    let metrics = admin("/metrics").await.expect("an answer").text().await.expect("text");
    assert!(metrics.contains(collector::metrics::EVENTS_TOTAL), "{metrics}");
}
