//! Both services do what their OpenAPI documents say, as an independent client reads them.

use std::{path::Path, process::Command};

use serde_json::json;
use system_tests::stack::Stack;

/// Publishes somebody, so that the documents' examples find them.
async fn stack_with_somebody() -> Stack {
    let stack = Stack::start().await;
    let event = |id: &str, kind: &str, data| {
        json!({
            "specversion": "1.0", "id": id, "source": "openapi", "type": kind, "time": "2026-03-02T08:00:00Z",
            "subject": "email:ann@example.com", "data": data,
        })
    };
    let answer = stack
        .publish(&json!([
            event("o-1", "order.placed", json!({"order_id": "o-1", "lines": []})),
            event("k-1", "case.opened", json!({"case_id": "k-1", "title": "It leaks", "priority": "high"})),
        ]))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let position = answer.position.expect("an acknowledgement carries its position");
    let page = stack.get(&format!("/api/v1/customers/email:ann@example.com?position={position}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn both_services_do_as_their_documents_say() {
    let stack = stack_with_somebody().await;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Kept beside what cargo builds: a second run installs nothing.
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi");
    let mut check = Command::new("python3");
    check.arg(tests.join("openapi/check.py")).arg(&work);
    check.arg(stack.collector("/openapi.json")).arg(stack.query("/api/v1/openapi.json"));
    let output = tokio::task::spawn_blocking(move || check.output()).await.expect("no panic").expect("python3 runs");
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    stack.stop().await;
}
