//! The customers that an ambiguous reference may mean, each with what tells it apart and a path that means it alone.

use std::collections::BTreeMap;

use domain::Identifier;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

/// Candidates listed at most.
pub(crate) const MAX: i64 = 100;
/// Identifiers shown of each.
const IDENTIFIERS_MAX: i64 = 20;

/// Describes these customers, in this order.
pub(crate) async fn describe(connection: &mut PgConnection, ids: &[Uuid]) -> Result<Value, sqlx::Error> {
    let rows: Vec<(Uuid, String, bool)> = sqlx::query_as(include_str!("../sql/candidates.sql"))
        .bind(ids)
        .bind(IDENTIFIERS_MAX)
        .fetch_all(connection)
        .await?;
    let mut named: BTreeMap<Uuid, Vec<(bool, Identifier)>> = BTreeMap::new();
    for (id, text, is_hub) in rows {
        if let Some(identifier) = Identifier::parse(&text) {
            named.entry(id).or_default().push((is_hub, identifier));
        }
    }
    let described = ids.iter().map(|id| {
        let mut identifiers = named.remove(id).unwrap_or_default();
        // What is the customer's alone comes first, and leads to it; a hub would lead back to all of them.
        identifiers.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let reference = identifiers.first().filter(|(is_hub, _)| !is_hub).map_or_else(|| id.to_string(), |(_, i)| i.to_string());
        let texts: Vec<_> = identifiers.iter().map(|(_, identifier)| identifier.to_string()).collect();
        json!({"customer_id": id, "identifiers": texts, "ref": reference, "href": format!("/api/v1/customers/{}", encode(&reference))})
    });
    Ok(described.collect())
}

/// Percent-encodes a path segment.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_segment_holds_any_identifier() {
        assert_eq!(encode("phone:+4930"), "phone:%2B4930");
        assert_eq!(encode("external.crm:a/b ä?"), "external.crm:a%2Fb%20%C3%A4%3F");
    }
}
