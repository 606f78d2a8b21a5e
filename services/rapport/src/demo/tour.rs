//! Three things worth looking at in a demo, by the ids it has.

use serde_json::Value;
use service_kit::Config;

use super::history::History;

/// The first tale is told within so many events.
const FIRST_TALE_EVENTS_MAX: usize = 200;

/// What the first tale is about, by its ids.
#[derive(Debug, PartialEq, Eq)]
struct Sights {
    customer: String,
    email: String,
    case_id: String,
    sku: String,
    cart_id: String,
}

impl Sights {
    /// Read from the events themselves: what is shown is there.
    fn of(seed: u64) -> Self {
        let events: Vec<Value> = History::new(seed)
            .take(FIRST_TALE_EVENTS_MAX)
            .filter_map(|event| serde_json::from_slice(&event).ok())
            .collect();
        let first = |kind: &str, field: &str| {
            let event = events.iter().find(|e| e["type"].as_str().is_some_and(|t| t.ends_with(kind)));
            event.and_then(|e| e["data"][field].as_str()).unwrap_or_default().to_owned()
        };
        let subject = |kind: &str| {
            let mut subjects = events.iter().filter_map(|e| e["subject"].as_str());
            subjects.find(|s| s.starts_with(kind)).unwrap_or_default().to_owned()
        };
        let last_cart = |e: &&Value| e["type"] == "io.rapport.web.cart.changed" && e["data"]["op"] == "added";
        let owned = |e: &&Value| e["subject"] == subject("customer_no:").as_str();
        let cart = events.iter().filter(owned).rfind(last_cart);
        Self {
            customer: subject("customer_no:"),
            email: subject("email:"),
            case_id: first("case.opened", "case_id"),
            sku: first("case.opened", "product"),
            cart_id: cart.and_then(|e| e["data"]["cart_id"].as_str()).unwrap_or_default().to_owned(),
        }
    }
}

/// What to type, and what it shows. `token`: the position that covers the demo, where it has just been published.
pub(crate) fn tour(config: &Config, query: &str, seed: u64, token: Option<&str>) -> String {
    let Sights { customer, email, case_id, sku, cart_id } = Sights::of(seed);
    let sql = if config.is_given("database_url") {
        "psql \"$RAPPORT_DATABASE_URL\"".to_owned()
    } else {
        format!("psql postgresql://analyst@127.0.0.1:{}/rapport", config.ports().postgres)
    };
    let query = query.trim_end_matches('/');
    let position = token.map(|token| format!("?position={token}")).unwrap_or_default();
    format!(
        r#"Three things worth looking at in the demo company:

  1. Ada Quinn ({email}): a kettle that leaks, a mail that only a machine has answered (case {case_id}), a late
     order, and a cart that still waits ({cart_id}).

     curl -sS '{query}/api/v1/customers/{customer}{position}'

  2. Is she the only one? What breaks, by product: {sku} leads.

     {sql} -c "SELECT product, count(*) AS cases, count(*) FILTER (WHERE first_reply_at IS NULL) AS unanswered FROM service.cases WHERE topic = 'defect' GROUP BY product ORDER BY cases DESC LIMIT 5"

  3. Where carts get lost on their way to the till.

     curl -sS '{query}/api/v1/reports/sales.cart_funnel?format=csv'
"#
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_ids_are_those_of_the_data() {
        let sights = Sights::of(9);
        assert_eq!((sights.customer.as_str(), sights.sku.as_str()), ("customer_no:N9-0", "KETTLE-2"));
        assert_eq!(sights.email, "email:ada.quinn.9-0@example.com");
        assert!(sights.case_id.starts_with("S9-0-") && sights.cart_id.starts_with("k9-0-"), "{sights:?}");
        let config = Config::load(BTreeMap::new(), std::iter::empty(), None).expect("the defaults are allowed");
        let text = tour(&config, "http://127.0.0.1:7072/", 9, Some("p1.x"));
        assert!(text.contains("'http://127.0.0.1:7072/api/v1/customers/customer_no:N9-0?position=p1.x'"), "{text}");
        assert!(text.contains("analyst@127.0.0.1:7073"), "{text}");
    }
}
