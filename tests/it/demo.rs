//! The demo company goes in by the public door, and what it says is worth looking at is there.

use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};
use system_tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_company() {
    let stack = Stack::start().await;
    let said = load(&stack);
    assert!(said.contains("1500 events of seed 4 are in all three read models"), "{said}");

    // The page, at the position that was printed.
    let path = between(&said, "/api/v1/customers/", "'");
    let page = stack.get(&format!("/api/v1/customers/{path}")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let count = |part: &str, list: &str| page.body[part][list].as_array().map_or(0, Vec::len);
    assert_eq!((count("sales", "orders"), count("service", "cases")), (2, 2), "{:#}", page.body);
    assert!(count("service", "calls") > 0, "{:#}", page.body);

    // The question in SQL, as the analyst.
    let url = stack.database_url().replace("//rapport@", "//analyst@").replace("//rapport:", "//analyst:");
    let mut analyst = PgConnection::connect(&url).await.expect("the analyst can connect");
    let rows = sqlx::query(between(&said, "-c \"", "\"")).fetch_all(&mut analyst).await.expect("the question is SQL");
    let kettles = rows.iter().find(|row| row.get::<Option<String>, _>("product").as_deref() == Some("KETTLE-2"));
    assert!(kettles.is_some_and(|row| row.get::<i64, _>("unanswered") > 0), "{} rows", rows.len());

    // The report.
    let report = stack.get(&format!("/api/v1/reports/{}", between(&said, "/api/v1/reports/", "'"))).await;
    assert_eq!(report.status, 200, "{report:?}");

    // Again: every event is known.
    let before = digests(&stack);
    assert_eq!(load(&stack).lines().next(), said.lines().next());
    assert_eq!(digests(&stack), before, "a second load changed a read model");
    let models = stack.get("/api/v1/models").await;
    for model in models.body["models"].as_array().expect("a list") {
        assert_eq!(model["dead_letters"], 0, "{model}");
    }
    stack.stop().await;
}

fn load(stack: &Stack) -> String {
    let output = stack.rapport(&["demo", "--events", "1500", "--seed", "4"]);
    assert!(output.status.success(), "rapport demo: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {rest}")).0
}

fn digests(stack: &Stack) -> Vec<Value> {
    let digest = |model| {
        let output = stack.rapport(&["digest", model, "--json"]);
        assert!(output.status.success(), "rapport digest {model}: {}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        report["digest"].clone()
    };
    ["sales", "service", "customer360"].map(digest).to_vec()
}
