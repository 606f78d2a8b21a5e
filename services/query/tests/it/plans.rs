//! Plans of PostgreSQL: which of them read whole what grows with the log, be it a table or an index of one.

use sqlx::{PgConnection, Row};

/// Tables that do not grow with the log: a row a model, a partition, a worker or a migration.
const SMALL: [&str; 6] = ["checkpoints", "generations", "leases", "log", "migrations", "workers"];

/// The lines of the plan that an `EXPLAIN` gives.
pub(crate) async fn plan(database: &mut PgConnection, explain: &str) -> Vec<String> {
    let plan = sqlx::raw_sql(explain).fetch_all(database).await.unwrap_or_else(|error| panic!("{explain}: {error}"));
    plan.iter().map(|row| row.get(0)).collect()
}

/// The plan that an `EXPLAIN` gives, as text, if it reads whole what grows with the log.
pub(crate) async fn whole(database: &mut PgConnection, explain: &str) -> Option<String> {
    let plan = plan(database, explain).await;
    (!read_whole(&plan).is_empty()).then(|| format!("{explain}\n{}\n", plan.join("\n")))
}

/// The nodes of a plan that read whole what grows with the log: a table, or an index from one end to the other, which is one
/// without a condition among its own lines. An index is what PostgreSQL turns to where `enable_seqscan` is off.
pub(crate) fn read_whole(plan: &[String]) -> Vec<&str> {
    let has_condition = |n: usize| {
        let mut own = plan[n + 1..].iter().take_while(|line| !line.contains("->"));
        own.any(|line| line.trim_start().starts_with("Index Cond:"))
    };
    let is_small = |line: &str| SMALL.iter().any(|name| line.contains(&format!(" on {name} ")));
    let is_whole = |n: usize, line: &str| {
        line.contains("Seq Scan on ") || line.contains("Index") && line.contains(" Scan ") && !has_condition(n)
    };
    let nodes = plan.iter().map(String::as_str).enumerate();
    nodes.filter(|(n, line)| is_whole(*n, line) && !is_small(line)).map(|(_, line)| line).collect()
}

#[test]
fn what_is_read_whole_is_told_from_a_part() {
    const INDEX: &str = "  ->  Index Only Scan using orders_pkey on orders  (cost=0.15..8.17 rows=1 width=4)";
    const TABLE: &str = "  ->  Seq Scan on orders o  (cost=0.00..1.01 rows=1 width=4)";
    let plan = |lines: [&str; 2]| {
        [
            "Nested Loop",
            "  ->  Bitmap Heap Scan on orders",
            "        Recheck Cond: (subject_id = 1)",
            "        ->  Bitmap Index Scan on orders_subject",
            "              Index Cond: (subject_id = 1)",
            "  ->  Seq Scan on generations g  (cost=0.00..1.01 rows=1 width=4)",
            "  ->  Index Scan using checkpoints_pkey on checkpoints c  (cost=0.15..8.17 rows=1 width=4)",
            lines[0],
            lines[1],
            "  ->  Index Scan using carts_pkey on carts",
            "        Index Cond: (cart_id = 1)",
        ]
        .map(str::to_owned)
    };
    assert!(read_whole(&plan([INDEX, "        Index Cond: (order_id = 1)"])).is_empty());
    assert_eq!(read_whole(&plan([INDEX, "        Filter: (order_id = 1)"])), [INDEX]);
    assert_eq!(read_whole(&plan([TABLE, "        Filter: (order_id = 1)"])), [TABLE]);
}
