//! What every process says at `/metrics`: documented, described, and true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use projection::metrics as projector;
use serde_json::{Value, json};
use service_kit::messaging;
use system_tests::stack::Stack;

use crate::runbooks::{documented, exported};

/// From the port base: collector, sales, service, customer360, query.
const ADMIN: [u16; 5] = [10, 11, 12, 13, 14];
const WAIT: Duration = Duration::from_secs(60);

/// One scrape of a process.
struct Scrape {
    text: String,
    /// Name -> type, as `# TYPE` has it.
    types: BTreeMap<String, String>,
}

impl Scrape {
    async fn of(stack: &Stack, admin: u16) -> Self {
        let url = format!("http://127.0.0.1:{}/metrics", stack.port_base() + admin);
        let text = stack.http.get(url).send().await.expect("an answer").text().await.expect("text");
        let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let types = typed.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
        Self { text, types }
    }

    /// The sum of the series of a name that carry these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let series = self.text.lines().filter_map(|line| line.rsplit_once(' '));
        series
            .filter(|(series, _)| series.split('{').next() == Some(name) && wanted.iter().all(|l| series.contains(l)))
            .map(|(_, value)| value.parse::<f64>().expect("a number"))
            .sum()
    }

    /// The labels that the series of a name carry.
    fn labels(&self, name: &str) -> BTreeSet<String> {
        let of = |line: &str| -> Vec<String> {
            let Some((found, rest)) = line.split_once('{') else { return Vec::new() };
            let is_it = ["", "_bucket", "_sum", "_count"].iter().any(|end| found.strip_suffix(end) == Some(name));
            let inner = rest.rsplit_once('}').map_or("", |(inner, _)| inner);
            let pairs = inner.split("\",").filter(|_| is_it);
            pairs.filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).filter(|label| label != "le").collect()
        };
        self.text.lines().flat_map(of).collect()
    }
}

fn order(number: usize) -> Value {
    json!({
        "specversion": "1.0", "id": format!("o-{number}"), "source": "shop", "type": "order.placed",
        "time": "2026-03-01T10:00:00Z", "subject": format!("email:a{number}@example.com"),
        "data": {"order_id": number.to_string(),
                 "lines": [{"sku": "KETTLE", "quantity": 1, "unit_price": {"amount_minor": 4990, "currency": "EUR"}}]}
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_says_what_it_has_done() {
    const ORDERS: usize = 25;
    let stack = Stack::start().await;
    let orders = stack.publish(&Value::Array((0..ORDERS).map(order).collect())).await;
    assert_eq!(orders.status, 200, "{orders:?}");
    let wrong = json!({"specversion": "1.0", "id": "w", "source": "shop", "type": "order.placed", "data": {}});
    assert_eq!(stack.publish(&wrong).await.status, 422);
    let position = orders.position.expect("a position");
    let page = stack.get(&format!("/api/v1/customers/email:a1@example.com?position={position}")).await;
    assert_eq!(page.status, 200, "{page:?}");

    let collector = Scrape::of(&stack, ADMIN[0]).await;
    for (outcome, count) in [("accepted", ORDERS as f64), ("rejected", 1.0), ("retry", 0.0)] {
        assert_eq!(collector.sum(collector::metrics::EVENTS_TOTAL, &[("outcome", outcome)]), count, "{outcome}");
    }
    for (status, count) in [("200", 1.0), ("422", 1.0)] {
        assert_eq!(collector.sum(collector::metrics::REQUESTS_TOTAL, &[("status", status)]), count, "{status}");
    }
    assert_eq!(collector.sum(&format!("{}_sum", collector::metrics::REQUEST_EVENTS), &[]), ORDERS as f64 + 1.0);
    for (topic, count) in [("rapport.interactions", ORDERS as f64), ("rapport.rejected", 1.0)] {
        let labels = [
            ("messaging_system", "kafka"),
            ("messaging_destination_name", topic),
            ("messaging_operation_name", "send"),
            ("messaging_operation_type", "send"),
        ];
        assert_eq!(collector.sum(messaging::SENT_MESSAGES_TOTAL, &labels), count, "{topic}");
        assert_eq!(collector.sum(&format!("{}_count", messaging::OPERATION_SECONDS), &labels), 1.0, "{topic}");
    }
    assert!(collector.text.contains("rapport_disk_free_bytes{path="), "{}", collector.text);

    for (admin, model) in ADMIN[1..4].iter().zip(["sales", "service", "customer360"]) {
        let labels = [("model", model), ("generation", "1")];
        let deadline = tokio::time::Instant::now() + WAIT;
        let found = loop {
            let found = Scrape::of(&stack, *admin).await;
            // Positions are shown each second: a moment after what is folded.
            let at_end = ORDERS as f64 + 1.0;
            if [projector::LOG_END_OFFSET, projector::CHECKPOINT_OFFSET]
                .iter()
                .all(|name| found.sum(name, &labels) == at_end)
            {
                break found;
            }
            assert!(tokio::time::Instant::now() < deadline, "{model}: {}", found.text);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(found.sum(projector::EVENTS_TOTAL, &labels), ORDERS as f64, "{model}");
        for (name, value) in
            [(projector::LAG_EVENTS, 0.0), (projector::LAG_SECONDS, 0.0), (projector::DEAD_LETTERS, 0.0)]
        {
            assert_eq!(found.sum(name, &labels), value, "{model} {name}");
        }
        assert_eq!(found.sum("rapport_condition_holds", &[("condition", "projector")]), 1.0, "{model}");
    }
    let query = Scrape::of(&stack, ADMIN[4]).await;
    let route = [("route", "/api/v1/customers/{ref}"), ("status", "200")];
    assert_eq!(query.sum(query::metrics::REQUESTS, &route), 1.0);
    let beyond = domain::Position::parse(&position).expect("a position");
    let beyond =
        domain::Position::new(beyond.log_id, beyond.next.into_iter().map(|(p, next)| (p, next + 1000)).collect());
    let late = stack.get(&format!("/api/v1/models?wait_ms=50&position={}", beyond.token())).await;
    assert_eq!(late.status, 503, "{late:?}");
    let query = Scrape::of(&stack, ADMIN[4]).await;
    assert_eq!(query.sum(query::metrics::WAITS, &[("outcome", "timed_out")]), 1.0);

    // What any of them says is what the document says, with HELP, and with no other labels.
    let documented = documented();
    for admin in ADMIN {
        let scrape = Scrape::of(&stack, admin).await;
        assert!(!scrape.types.is_empty());
        for (name, kind) in &scrape.types {
            let metric = documented.get(name).unwrap_or_else(|| panic!("deploy/metrics.md does not have {name}"));
            assert_eq!(&metric.kind, kind, "{name}");
            assert!(scrape.text.contains(&format!("# HELP {name} ")), "{name} has no HELP");
            let others: Vec<_> = scrape.labels(name).into_iter().filter(|l| !metric.labels.contains(l)).collect();
            assert!(others.is_empty(), "{name} carries {others:?}, which deploy/metrics.md does not say");
        }
    }
    assert!(exported().len() > 30);
    stack.stop().await;
}
