//! Requests that are refused as a whole, and events that are too large.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{BATCH, Case, STRUCTURED, batch, check, order, start};

/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn unreadable_requests() {
    let collector = start(|_| {}).await;
    let case = |name, content_type, body: &[u8], status, detail: &str| Case {
        name,
        content_type,
        headers: vec![],
        body: body.to_vec(),
        status,
        expected: json!({"detail": format!("~{detail}")}),
    };
    let with = |header, case: Case| Case { headers: vec![header], ..case };
    let latin = "application/cloudevents+json; charset=iso-8859-1";
    let cases = [
        case("malformed", STRUCTURED, b"{\"id\":\n  \"a\",}", 400, "line 2, column"),
        case("cut", BATCH, b"[{\"id\":\"a\"}", 400, "line 1, column"),
        case("two values", STRUCTURED, b"{} {}", 400, "column 4"),
        case("empty", STRUCTURED, b"", 400, "empty"),
        case("no utf-8", STRUCTURED, b"{\"id\":\"\xff\"}", 400, "not UTF-8"),
        case("no array", BATCH, b"{}", 400, "array"),
        case("deep", STRUCTURED, &vec![b'['; 100_000], 400, "line 1"),
        case("plain json", "application/json", b"{}", 415, "application/cloudevents+json"),
        case("no content type", "", b"{}", 415, "neither"),
        case("form", "application/x-www-form-urlencoded", b"a=b", 415, "application/cloudevents+json"),
        case("protobuf", "application/cloudevents+protobuf", b"\x01", 415, "JSON"),
        case("charset", latin, b"{}", 415, "UTF-8"),
        with(("content-encoding", "gzip"), case("gzip", STRUCTURED, b"\x1f\x8b", 415, "gzip")),
        with(("ce-id", "%ff"), case("binary, no utf-8", "", b"{}", 400, "ce-id")),
        with(("ce-id", "1"), case("binary, malformed", "application/json", b"{\"a\":}", 400, "line 1, column 6")),
        with(("ce-data", "1"), case("binary, data as header", "", b"", 400, "ce-data")),
    ];
    for case in cases {
        check(&collector, case).await;
    }
    assert_eq!((collector.records().await.len(), collector.rejected().await.len()), (0, 0), "nothing of them is kept");
}

#[tokio::test]
async fn too_much_of_it() {
    let collector = start(|_| {}).await;
    let too_long = Case {
        name: "6 MiB",
        content_type: BATCH,
        headers: vec![],
        body: vec![b' '; 6 << 20],
        status: 413,
        expected: json!({"detail": "~5242880"}),
    };
    check(&collector, too_long).await;
    let events: Vec<_> = (0..10_001).map(|i| order(&format!("o-{i}"))).collect();
    let too_many = Case {
        name: "10,001 events",
        content_type: BATCH,
        headers: vec![],
        body: batch(&events),
        status: 413,
        expected: json!({"detail": "~10000"}),
    };
    check(&collector, too_many).await;
    let all = Case {
        name: "10,000 events",
        content_type: BATCH,
        headers: vec![],
        body: batch(&events[..10_000]),
        status: 200,
        expected: json!({"accepted": 10_000, "rejected": 0}),
    };
    let answer = check(&collector, all).await;
    let ids: Vec<_> =
        answer.body["results"].as_array().expect("results").iter().map(|r| r["id"].as_str().expect("an id")).collect();
    assert!(ids.iter().enumerate().all(|(i, id)| *id == format!("o-{i}")), "in the order sent");
    assert_eq!(collector.records().await.len(), 10_000);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_rejected_alone() {
    let collector = start(|options| options.limits.event_bytes_max = 1000).await;
    let large = order("large").replace("\"data\":{", &format!("\"data\":{{\"note\":\"{}\",", "ä".repeat(600)));
    let expected = json!({"accepted": 1, "rejected": 1, "results": [
        {"id": "large", "status": "rejected", "errors": [{"code": "too_large", "pointer": "", "detail": "~1000"}]},
        {"id": "small", "status": "accepted"},
    ]});
    let body = batch(&[&large, &order("small")]);
    check(&collector, Case { name: "too large", content_type: BATCH, headers: vec![], body, status: 207, expected })
        .await;
    let (_, kept) = collector.rejected().await.remove(0);
    assert!(large.starts_with(kept.event.as_ref()), "its beginning is kept");
    assert_eq!(kept.cut_from_bytes, Some(large.len() as u64));
}

#[tokio::test]
async fn a_batch_of_the_worst_events_is_answered_in_bounds() {
    let collector = start(|_| {}).await;
    // A hundred faults in two hundred bytes, ten thousand times.
    let worst = format!("{{\"type\":\"order.placed\",\"data\":{{\"lines\":[{}1]}}}}", "1,".repeat(100));
    let body = batch(&vec![worst; 10_000]);
    let expected = json!({"accepted": 0, "rejected": 10_000});
    let answer =
        check(&collector, Case { name: "worst", content_type: BATCH, headers: vec![], body, status: 422, expected })
            .await;
    assert_eq!(answer.body["results"][9_999]["errors"].as_array().map(Vec::len), Some(20));
    assert_eq!(collector.rejected().await.len(), 10_000);
}

#[tokio::test]
async fn more_requests_or_bytes_than_fit_are_refused_at_once() {
    let collector = start(|options| {
        options.limits.request_bytes_max = 100_000;
        options.limits.request_events_max = 1;
        options.limits.in_flight_bytes_max = 0; // what one request needs
        options.limits.requests_max = 2;
    })
    .await;
    // Two senders in the middle of their bodies hold both places.
    let (first, second) = (collector.half_sent(60_000).await, collector.half_sent(30_000).await);
    let answer = collector.post(STRUCTURED, order("a")).await;
    assert_eq!((answer.status, answer.retry_after), (429, Some(1)), "{answer:?}");
    drop((first, second));
    let freed = async {
        while collector.post(STRUCTURED, order("a")).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("places are given back");

    let collector = start(|options| {
        options.limits.request_bytes_max = 100_000;
        options.limits.request_events_max = 1;
        options.limits.in_flight_bytes_max = 0; // what one request needs
    })
    .await;
    // There is no sign that the held bytes have been read. If the others come first, these are refused instead: once more.
    let refused = async {
        loop {
            let held = collector.half_sent(60_000).await;
            let answer = collector.post(BATCH, vec![b' '; 50_000]).await;
            drop(held);
            if answer.status != 400 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, refused).await.expect("both at once do not fit");
    assert_eq!((answer.status, answer.body["type"].as_str().is_some()), (429, true), "{answer:?}");
    assert_eq!(answer.body.get("results"), None::<&Value>);
}
