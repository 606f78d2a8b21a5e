//! What the README tells a newcomer to type works as it is written there.

use serde_json::Value;
use system_tests::stack::Stack;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md")
}

/// What the README tells one to write into a file of this name.
fn file(name: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("    cat > {name} <<'END'\n")).expect(name);
    let lines = rest.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).take_while(|line| *line != "END");
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The bodies of the README's `curl`s that publish, in order.
fn bodies() -> Vec<Value> {
    readme()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_ones_own() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    for name in ["complaints.csv", "complaints.toml"] {
        std::fs::write(path(name), file(name)).expect(name);
    }
    let stack = Stack::start().await;
    let import = |more: &[&str]| {
        let (csv, toml) = (path("complaints.csv"), path("complaints.toml"));
        let mut arguments = vec!["import", &csv, "--mapping", &toml];
        arguments.extend(more);
        let output = stack.rapport(&arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let (tried, said, again) = (import(&["--dry-run"]), import(&[]), import(&[]));
    for (said, counts) in [(&tried, "2 new, 0 known"), (&said, "2 new, 0 known"), (&again, "0 new, 2 known")] {
        assert!(said.contains(counts) && said.contains("0 rejected"), "{said}");
    }
    let position = said.lines().find_map(|line| line.strip_prefix("position ")).expect("a position");
    let page = stack.get(&format!("/api/v1/customers/email:ann@example.com?position={position}")).await;
    assert_eq!(page.body["service"]["cases"][0]["case_id"], "C-17", "{page:?}");
    assert_eq!(page.body["service"]["cases"][0]["opened_at"], "2026-11-20T23:00:00+00:00", "{page:?}");
    stack.stop().await;
}

fn digest(stack: &Stack, model: &str) -> Value {
    let output = stack.rapport(&["digest", model, "--json"]);
    assert!(output.status.success(), "rapport digest {model}: {}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    report["digest"].clone()
}
