//! What the README tells a newcomer to type works as it is written there.

use serde_json::Value;
use system_tests::stack::Stack;

/// The bodies of the README's `curl`s that publish, in order.
fn bodies() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    readme
        .split("curl -sS localhost:7070/events")
        .skip(1)
        .map(|rest| {
            let body = rest.split_once("-d '").and_then(|(_, body)| body.split_once('\'')).expect("a body in quotes").0;
            serde_json::from_str(body).unwrap_or_else(|e| panic!("{e} in {body}"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour() {
    let bodies = bodies();
    assert_eq!(bodies.len(), 3, "the README has three publishing curls");
    let mut stack = Stack::start().await;
    let mut position = String::new();
    for body in &bodies {
        let answer = stack.publish(body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        position = answer.position.expect("a position");
    }
    let path = format!("/api/v1/customers/email:ann@example.com?position={position}");
    let page = stack.get(&path).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.body["sales"]["orders"][0]["order_id"], "1001", "{:#}", page.body);
    assert_eq!(page.body["service"]["cases"][0]["case_id"], "501", "{:#}", page.body);
    assert_eq!(page.body["service"]["calls"][0]["call_id"], "77", "{:#}", page.body);

    // Again: nothing changes. The data survives a restart, of `up` stopped as well as of `up` killed.
    let before: Vec<_> = ["sales", "service", "customer360"].map(|model| digest(&stack, model)).to_vec();
    for body in &bodies {
        assert_eq!(stack.publish(body).await.status, 200);
    }
    stack.restart().await;
    stack.restart_after_kill().await;
    let answer = stack.publish(&bodies[2]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let path = format!("/api/v1/customers/email:ann@example.com?position={}", answer.position.expect("a position"));
    let page = stack.get(&path).await;
    assert_eq!(page.body["sales"]["orders"][0]["order_id"], "1001", "{page:?}");
    let after: Vec<_> = ["sales", "service", "customer360"].map(|model| digest(&stack, model)).to_vec();
    assert_eq!(before, after, "copies changed a digest");
    stack.stop().await;
}

fn digest(stack: &Stack, model: &str) -> Value {
    let output = stack.rapport(&["digest", model, "--json"]);
    assert!(output.status.success(), "rapport digest {model}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    report["digest"].clone()
}
