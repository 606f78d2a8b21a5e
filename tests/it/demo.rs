//! The demo company goes in by the public door, and what it says is worth looking at is there.

use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};
use system_tests::stack::Stack;

/// What stands before the things worth looking at, and after them.
const TOUR: (&str, &str) = ("Three things worth looking at in the demo company:", "format=csv'");

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_company() {
    let stack = Stack::start().await;
    let said = load(&stack);
    assert!(said.contains("1500 events of seed 4 are in all three read models"), "{said}");
    worth_looking_at(&stack, &said).await;

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

/// As `make run` starts it.
#[tokio::test(flavor = "multi_thread")]
async fn up_with_the_demo_company() {
    let mut stack = Stack::start_with_demo().await;
    let said = stack.said(TOUR.0, 1, TOUR.1).await + TOUR.1;
    assert!(said.contains("?position="), "the page is asked for at the position of what was just published: {said}");
    worth_looking_at(&stack, &said).await;
    let before = (end_of_log(&stack).await, digests(&stack));

    // It is there: the next start says so, and publishes nothing.
    stack.restart().await;
    let said_again = stack.said(TOUR.0, 2, TOUR.1).await + TOUR.1;
    worth_looking_at(&stack, &said_again).await;
    assert_eq!((end_of_log(&stack).await, digests(&stack)), before, "a second start changed the log or a read model");
    stack.stop().await;
}

/// Looks at the three things, each by the very address and question that were printed.
async fn worth_looking_at(stack: &Stack, said: &str) {
    let commands: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("curl ")).collect();
    let [page, report] = commands.as_slice() else { panic!("a page and a report: {said}") };

    let page = text(stack, between(page, "'", "'")).await;
    let page: Value = serde_json::from_str(&page).expect("JSON");
    let count = |part: &str, list: &str| page[part][list].as_array().map_or(0, Vec::len);
    assert_eq!((count("sales", "orders"), count("service", "cases")), (2, 2), "{page:#}");
    assert!(count("service", "calls") > 0, "{page:#}");

    let mut analyst = PgConnection::connect(between(said, "psql ", " ")).await.expect("the analyst can connect");
    let rows = sqlx::query(between(said, "-c \"", "\"")).fetch_all(&mut analyst).await.expect("the question is SQL");
    let product: Option<String> = rows.first().expect("there are broken products").get("product");
    let leader = between(said, "by product: ", " leads");
    assert_eq!(product.as_deref(), Some(leader), "of {} rows", rows.len());
    assert!(rows[0].get::<i64, _>("unanswered") > 0, "nobody waits for an answer about {leader}");

    let report = text(stack, between(report, "'", "'")).await;
    let mut lines = report.lines();
    let names: Vec<&str> = lines.next().expect("a line of names").split(',').collect();
    let cells: Vec<&str> = lines.next().expect("a row").split(',').collect();
    for column in ["viewed", "carted", "carts_abandoned"] {
        let at = names.iter().position(|name| *name == column).expect("a column of the funnel");
        assert!(cells[at].parse::<u64>().is_ok_and(|count| count > 0), "{column}: {report}");
    }
}

/// What stands at an address that answers 200.
async fn text(stack: &Stack, url: &str) -> String {
    let answer = stack.http.get(url).send().await.unwrap_or_else(|e| panic!("{url}: {e}"));
    assert_eq!(answer.status(), 200, "{url}");
    answer.text().await.expect("a whole answer")
}

/// Where the log ends, once the models are there.
async fn end_of_log(stack: &Stack) -> Option<String> {
    let models = stack.get("/api/v1/models").await;
    for model in models.body["models"].as_array().expect("a list") {
        assert_eq!((&model["lag_events"], &model["dead_letters"]), (&0.into(), &0.into()), "{model}");
    }
    models.position
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
