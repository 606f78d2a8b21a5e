use serde_json::json;

use super::catalogue::Report;

/// A report that PostgreSQL's catalogue has not told: a column of each type that a parameter can be compared with, and a
/// function of two arguments.
pub(crate) fn example() -> Report {
    let column = |(name, kind): (&str, &str)| json!({"name": name, "type": kind, "comment": ""});
    let columns = [
        ("order_id", "text"),
        ("net", "numeric"),
        ("lines", "integer"),
        ("customer_id", "uuid"),
        ("placed_at", "timestamp with time zone"),
        ("day", "date"),
        ("paid", "boolean"),
        ("flags", "text[]"),
    ];
    let argument = |(name, kind): (&str, &str)| json!({"name": name, "type": kind, "default": null});
    let arguments = [("asked_at", "timestamp with time zone"), ("idle", "interval")];
    Report {
        name: "sales.orders".into(),
        comment: String::new(),
        columns: serde_json::from_value(columns.map(column).into()).expect("columns"),
        arguments: Some(serde_json::from_value(arguments.map(argument).into()).expect("arguments")),
    }
}
