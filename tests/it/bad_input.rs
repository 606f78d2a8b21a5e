//! Whatever comes in: a clear answer, nothing lost, the services up, memory bounded.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::stack::Stack;
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

/// Resident memory that the collector may ever reach under all of this, KiB: 64 MiB of bodies, the same again as records
/// and in the producer's queue, what each connection has read ahead, and itself.
const COLLECTOR_KIB_MAX: u64 = 512 * 1024;
/// Senders that stop one byte before the end of a body of 5 MiB: together far more than the collector may hold.
const HALF_SENT: usize = 160;
/// Senders of whole bodies of 5 MiB at the same time.
const WHOLE: usize = 40;
/// Events in such a body.
const EVENTS: usize = 20;
/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn order(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "bad", "type": "order.placed", "time": "2026-03-01T10:00:00Z",
           "subject": "email:bad@example.com", "data": {"order_id": id, "lines": []}})
}

fn with(pointer: &str, value: Value) -> Value {
    let mut event = order("x");
    match event.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => event["data"][pointer.rsplit('/').next().unwrap_or_default()] = value,
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gets_a_clear_answer() {
    let stack = Stack::start().await;
    let post = async |kind: &str, body: Vec<u8>| {
        let request = stack.http.post(stack.collector("/events")).header("content-type", kind).body(body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap_or_default())
    };
    let one = "application/cloudevents+json";
    let many = "application/cloudevents-batch+json";

    // Unreadable as a whole.
    let huge = format!("{{\"specversion\":\"1.0\",\"id\":\"{}\"}}", "x".repeat(6 * 1024 * 1024));
    let crowd = Value::from((0..10_001).map(|n| order(&n.to_string())).collect::<Vec<_>>()).to_string();
    for (kind, body, status) in [
        (one, b"{\"specversion\":".to_vec(), 400),
        (one, b"{\"id\":\"\xff\xfe\"}".to_vec(), 400),
        (one, Vec::new(), 400),
        (one, "[".repeat(200_000).into_bytes(), 400),
        (many, b"{}".to_vec(), 400),
        (one, huge.into_bytes(), 413),
        (many, crowd.into_bytes(), 413),
        ("text/plain", b"hello".to_vec(), 415),
        ("application/xml", b"<a/>".to_vec(), 415),
    ] {
        let (got, answer) = post(kind, body).await;
        assert_eq!(got, status, "{kind}: {answer}");
        assert!(answer["detail"].as_str().is_some_and(|d| d.len() > 15), "no sentence: {answer}");
    }

    // Readable, and wrong: the field is named.
    let line = |money: Value| json!([{"sku": "A", "quantity": 1, "total": money}]);
    for (event, pointer) in [
        (with("/data/order_id", Value::Null), "/data/order_id"),
        (with("/data/order_id", json!(7)), "/data/order_id"),
        (with("/data/order_id", json!("")), "/data/order_id"),
        (with("/data/lines", json!("none")), "/data/lines"),
        (
            with("/data/lines", line(json!({"amount_minor": "5", "currency": "EUR"}))),
            "/data/lines/0/total/amount_minor",
        ),
        (
            with("/data/lines", line(json!({"amount_minor": 5.5, "currency": "EUR"}))),
            "/data/lines/0/total/amount_minor",
        ),
        (with("/data/lines", line(json!({"amount_minor": 5}))), "/data/lines/0/total/currency"),
        (with("/data/lines", line(json!({"amount_minor": 5, "currency": "euro"}))), "/data/lines/0/total/currency"),
        (with("/time", json!("yesterday")), "/time"),
        (with("/time", json!("1899-12-31T23:59:59Z")), "/time"),
        (with("/time", json!("2999-01-01T00:00:00Z")), "/time"),
        (with("/specversion", json!("0.3")), "/specversion"),
        (with("/id", json!("")), "/id"),
        (with("/data/order_id", json!("a\u{0}b")), "/data/order_id"),
    ] {
        let (status, answer) = post(one, event.to_string().into_bytes()).await;
        assert_eq!(status, 422, "{event}: {answer}");
        let result = &answer["results"][0];
        let errors = result["errors"].as_array().cloned().unwrap_or_default();
        assert!(errors.iter().any(|e| e["pointer"] == pointer), "{pointer}: {answer}");
        assert!(errors.iter().all(|e| e["code"].is_string() && e["detail"].is_string()), "{answer}");
        assert!(result["rejection_id"].is_string(), "{answer}");
    }

    // Odd, and right: kept whole.
    let custom = json!({"specversion": "1.0", "id": "c1", "source": "bad", "type": "com.example.unheard", "subject": "email:bad@example.com",
                        "data": {"anything": [1, {"deep": true}]}});
    let refund = with("/data/lines", line(json!({"amount_minor": -9_000_000_000_000_000_000i64, "currency": "EUR"})));
    let vast = with(
        "/data/lines",
        json!([{"sku": "A", "quantity": 999_999_999, "unit_price": {"amount_minor": i64::MAX, "currency": "EUR"}}]),
    );
    let mut position = String::new();
    for (n, event) in [custom, refund, vast].into_iter().enumerate() {
        let mut event = event;
        event["id"] = format!("odd-{n}").into();
        let answer = stack.publish(&event).await;
        assert_eq!(answer.status, 200, "{event}: {answer:?}");
        position = answer.position.expect("a position");
    }
    let mixed = stack.publish(&json!([order("good"), {"nonsense": true}, 7, order("good2")])).await;
    assert_eq!(mixed.status, 207, "{mixed:?}");
    let statuses: Vec<_> = mixed.body["results"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| r["status"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(statuses, ["accepted", "rejected", "rejected", "accepted"]);

    // Half-sent: the header, the body. Others are answered meanwhile.
    let mut halves = Vec::new();
    for start in [
        "POST /events HTTP/1.1\r\nHost: x\r\nContent-",
        "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 500\r\n\r\n{\"spec",
    ] {
        let address = stack.collector("").replace("http://", "");
        let mut half = TcpStream::connect(address).await.expect("a connection");
        half.write_all(start.as_bytes()).await.expect("half a request");
        halves.push(half);
    }
    assert_eq!(stack.publish(&order("meanwhile")).await.status, 200);
    for half in &mut halves {
        half.shutdown().await.expect("we hang up");
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, half.read_to_end(&mut rest)).await.expect("the collector hangs up too");
    }

    // Nothing lost: what was rejected is listed, what was accepted is on the page.
    let listed = stack.rapport(&["rejected", "list", "--json"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let count = String::from_utf8_lossy(&listed.stdout).matches("\"rejection_id\"").count();
    assert_eq!(count, 16, "14 wrong fields and 2 of the mixed batch");
    let page = stack.get(&format!("/api/v1/customers/email:bad@example.com/timeline?position={position}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.to_string().contains("com.example.unheard"), "{:#}", page.body);
    overload(&stack).await;
    let peak = peak_kib(&stack);
    assert!(peak < COLLECTOR_KIB_MAX, "the collector has held {peak} KiB");
    stack.stop().await;
}

/// Sends at once several times what the collector may hold. Whoever is answered is told plainly, and afterwards
/// everything is accepted as before.
async fn overload(stack: &Stack) {
    let large = |n: usize| {
        json!({"specversion": "1.0", "id": format!("large-{n}"), "source": "bad", "type": "com.example.large",
               "subject": "email:bad@example.com", "data": {"note": "x".repeat(255_000)}})
    };
    let body = Value::from((0..EVENTS).map(large).collect::<Vec<_>>()).to_string();
    // Shared by all senders, so that it is the collector's memory that fills.
    let body: &'static [u8] = body.into_bytes().leak();
    let many = "application/cloudevents-batch+json";
    let post = async || {
        let request = stack.http.post(stack.collector("/events")).header("content-type", many).body(body);
        let answer = request.send().await?;
        let retry_after = answer.headers().contains_key("retry-after");
        Ok::<_, reqwest::Error>((answer.status().as_u16(), retry_after, answer.json::<Value>().await?))
    };
    let half_sent = async || {
        let address = stack.collector("").replace("http://", "");
        let mut half = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: {many}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        half.write_all(head.as_bytes()).await.expect("half a request");
        // One that does not fit is read to its end and refused, or cut off if that takes too long.
        let _ = half.write_all(&body[..body.len() - 1]).await;
        half
    };
    let all = async {
        let halves = futures::future::join_all((0..HALF_SENT).map(|_| half_sent()));
        tokio::join!(halves, futures::future::join_all((0..WHOLE).map(|_| post())))
    };
    let (halves, answers) = tokio::time::timeout(PATIENCE, all).await.expect("everybody is answered in time");
    for answer in answers {
        match answer {
            Ok((200, _, answer)) => assert_eq!(answer["accepted"], EVENTS, "{answer}"),
            Ok((status, retry_after, answer)) => {
                assert!(matches!(status, 429 | 503) && retry_after, "{status}: {answer}");
                assert!(answer["detail"].is_string() || answer["results"].is_array(), "{status}: {answer}");
            }
            // Cut off in the middle of its body, as above: nothing of it was accepted.
            Err(error) => assert!(error.is_request() || error.is_body(), "{error:?}"),
        }
    }
    drop(halves);
    let end = Instant::now() + PATIENCE;
    while !matches!(post().await, Ok((200, ..))) {
        assert!(Instant::now() < end, "what the others held was not given back");
    }
}

/// The most memory that the collector has had resident since its start.
fn peak_kib(stack: &Stack) -> u64 {
    let name = stack.processes().into_iter().find(|n| n.ends_with("collector")).expect("a collector");
    let status = std::fs::read_to_string(format!("/proc/{}/status", stack.pid(&name).expect("a process id")))
        .expect("its status");
    status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.trim().trim_end_matches(" kB").trim().parse().ok())
        .expect("its memory")
}
