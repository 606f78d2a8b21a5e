//! What somebody changes about the log's topic behind Rapport's back: the doctor names it, and where it would do harm nothing
//! is accepted any more.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier},
    client::DefaultClientContext,
};
use serde_json::{Value, json};
use system_tests::stack::Stack;

/// Far above what anything here takes, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(90);
const LOG: &str = "rapport.interactions";
/// As the settings have it where nobody says otherwise.
const PARTITIONS: usize = 6;

fn admin(stack: &Stack) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", stack.kafka()).create().expect("an admin client")
}

/// Sets one of the topic's settings, and leaves the others as they are.
async fn set(stack: &Stack, name: &str, value: &str) {
    let kept = [
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "4194304"),
    ];
    let change = AlterConfig::new(ResourceSpecifier::Topic(LOG));
    let change =
        kept.into_iter().filter(|(kept, _)| *kept != name).fold(change, |all, (name, value)| all.set(name, value));
    let done = admin(stack).alter_configs([&change.set(name, value)], &AdminOptions::new()).await;
    done.expect("the broker answers").into_iter().for_each(|changed| assert!(changed.is_ok(), "{changed:?}"));
}

/// What the doctor ends with, and its findings by what was looked at.
fn doctor(stack: &Stack) -> (Option<i32>, Vec<(String, Value)>) {
    let output = stack.rapport(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let checks = report["checks"].as_array().expect("checks").iter();
    let findings = checks.filter(|check| check["state"] != "ok" && check["state"] != "skipped");
    (output.status.code(), findings.map(|c| (c["check"].as_str().unwrap_or_default().to_owned(), c.clone())).collect())
}

fn order(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "topic", "type": "order.placed", "time": "2026-03-01T10:00:00Z",
           "subject": format!("email:{id}@example.com"), "data": {"order_id": id, "lines": []}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_names_what_somebody_has_set() {
    let stack = Stack::start().await;
    assert_eq!(doctor(&stack), (Some(0), Vec::new()), "all is well with what `up` has started");
    for (name, value, wanted) in [
        ("retention.ms", "604800000", "-1"),
        ("retention.bytes", "1000000", "-1"),
        ("cleanup.policy", "compact", "delete"),
        ("min.insync.replicas", "2", "1"),
        ("max.message.bytes", "1048588", "4194304"),
        ("message.timestamp.type", "LogAppendTime", "CreateTime"),
        ("unclean.leader.election.enable", "true", "false"),
    ] {
        set(&stack, name, value).await;
        let (exit, findings) = doctor(&stack);
        let names: Vec<&str> = findings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((exit, names), (Some(1), vec![&*format!("topic {LOG}, {name}")]), "{findings:?}");
        let finding = &findings[0].1;
        assert_eq!(
            finding["finding"].as_str().map(|f| f.starts_with(&format!("it is {value}, and should be "))),
            Some(true)
        );
        let remedy = finding["remedy"].as_str().expect("a remedy");
        assert!(remedy.contains(&format!("--bootstrap-server {} ", stack.kafka())), "{remedy}");
        assert!(remedy.ends_with(&format!("--entity-name {LOG} --add-config {name}={wanted}")), "{remedy}");
        assert_ne!(finding["reason"], Value::Null);
        set(&stack, name, wanted).await;
    }
    assert_eq!(doctor(&stack).0, Some(0));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_partitions_are_added_to_takes_nothing_more() {
    let stack = Stack::start().await;
    let before = stack.publish(&json!([order("1"), order("2")])).await;
    let position = before.position.expect("it is acknowledged");

    let grown = NewPartitions::new(LOG, PARTITIONS + 1);
    let made = admin(&stack).create_partitions([&grown], &AdminOptions::new()).await.expect("the broker answers");
    made.into_iter().for_each(|topic| assert!(topic.is_ok(), "{topic:?}"));

    let says = format!("topic {LOG} has {} partitions, and its log was made with {PARTITIONS}", PARTITIONS + 1);
    not_ready(&stack, &says).await;
    let (exit, findings) = doctor(&stack);
    let found = findings.iter().find(|(name, _)| *name == format!("topic {LOG}, partitions")).expect("it is found");
    assert_eq!(exit, Some(1));
    assert!(found.1["remedy"].as_str().is_some_and(|remedy| remedy.contains("partitions-were-added.md")), "{found:?}");
    refused(&stack).await;

    // Those who start now know it as well: the log says how it was made.
    for name in ["collector", "sales"] {
        let first = stack.pid(name);
        assert!(stack.signal(name, "KILL"), "{name} runs");
        let started = Instant::now();
        while stack.pid(name).is_none_or(|pid| Some(pid) == first) {
            assert!(started.elapsed() < PATIENCE, "{name} does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    not_ready(&stack, &says).await;
    refused(&stack).await;

    // What was acknowledged is there, and can be asked for.
    let page = stack.get(&format!("/api/v1/customers/email:1@example.com?position={position}")).await;
    assert_eq!(
        (page.status.as_u16(), page.body["sales"]["orders"][0]["order_id"].as_str()),
        (200, Some("1")),
        "{page:?}"
    );
    stack.stop().await;
}

async fn refused(stack: &Stack) {
    let answer = stack.publish(&json!([order("3")])).await;
    assert_eq!((answer.status.as_u16(), answer.retry_after.is_some()), (503, true), "{answer:?}");
    assert_eq!(answer.body["results"][0]["status"], "retry", "{answer:?}");
}

/// Waits until the collector and every projector say so.
async fn not_ready(stack: &Stack, says: &str) {
    let started = Instant::now();
    for port in 10..=13 {
        let url = format!("http://127.0.0.1:{}/readyz", stack.port_base() + port);
        loop {
            let answer = stack.http.get(&url).send().await;
            let said = match answer {
                Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
                Err(error) => (0, error.to_string()),
            };
            if said.0 == 503 && said.1.contains(says) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "{url}: {said:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
