//! What is written for whoever is woken at night is held to what the programs say: metrics, alerts, pages, exit codes. No
//! server, no clock: these run in `make check`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use service_kit::{Metric, messaging};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A line of the table of metrics.
pub(crate) struct Documented {
    pub(crate) kind: String,
    pub(crate) labels: BTreeSet<String>,
    meaning: String,
}

/// All that some process exports.
pub(crate) fn exported() -> BTreeMap<&'static str, &'static Metric> {
    let all = [
        collector::metrics::METRICS,
        query::metrics::METRICS,
        projection::metrics::METRICS,
        messaging::METRICS,
        service_kit::HEALTH_METRICS,
        service_kit::DISK_METRICS,
    ];
    all.into_iter().flatten().map(|metric| (metric.name, metric)).collect()
}

/// The tables of `deploy/metrics.md`, by name.
pub(crate) fn documented() -> BTreeMap<String, Documented> {
    let text = read("deploy/metrics.md");
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let [name, kind, labels, meaning] = cells[..] else { panic!("{line}: not name, type, labels, meaning") };
        let labels = labels.split(", ").map(|label| label.trim_matches('`').to_owned()).filter(|l| !l.is_empty());
        let documented = Documented { kind: kind.to_owned(), labels: labels.collect(), meaning: meaning.to_owned() };
        Some((name.trim_end_matches('`').to_owned(), documented))
    };
    text.lines().filter_map(row).collect()
}

fn row(metric: &Metric) -> String {
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |", metric.name, metric.kind.name(), labels.join(", "), metric.help)
}

#[test]
fn every_metric_is_in_the_document_and_no_other() {
    let (exported, documented) = (exported(), documented());
    for (name, metric) in &exported {
        let found = documented.get(*name).unwrap_or_else(|| panic!("deploy/metrics.md lacks:\n{}", row(metric)));
        let labels: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
        let is_same = (&*found.kind, &found.labels, &*found.meaning) == (metric.kind.name(), &labels, metric.help);
        assert!(is_same, "deploy/metrics.md should say:\n{}", row(metric));
    }
    let gone: Vec<_> = documented.keys().filter(|name| !exported.contains_key(name.as_str())).collect();
    assert!(gone.is_empty(), "deploy/metrics.md has {gone:?}, which nobody exports");
}

#[test]
fn names_of_metrics_tell_their_units() {
    for (name, metric) in exported() {
        let is_counter = metric.kind.name() == "counter";
        assert_eq!(name.ends_with("_total"), is_counter, "{name} is a {}", metric.kind.name());
        let has_bounds = name.ends_with("_seconds") || name.ends_with("_events");
        assert!(metric.kind.name() != "histogram" || has_bounds, "{name} has no bounds in `service_kit::init_metrics`");
    }
}

/// An alert as it stands in the rules.
struct Alert {
    name: String,
    /// The lines of it.
    text: String,
}

impl Alert {
    fn field(&self, name: &str) -> &str {
        let field = format!("{name}: ");
        let line = self.text.lines().find_map(|line| line.trim_start().strip_prefix(&field));
        line.unwrap_or_else(|| panic!("{} has no {name}", self.name))
    }
}

fn alerts() -> Vec<Alert> {
    let text = read("deploy/alerts/rapport.yml");
    let alerts = text.split("      - alert: ").skip(1).map(|alert| {
        let (name, text) = alert.split_once('\n').expect("fields");
        Alert { name: name.trim().to_owned(), text: text.to_owned() }
    });
    alerts.collect()
}

/// Words as PromQL and Prometheus know them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The metric behind a series: a histogram has three.
fn metric_of(series: &str) -> Option<&'static Metric> {
    let exported = exported();
    let of = |end: &str| exported.get(series.strip_suffix(end)?).copied().filter(|m| m.kind.name() == "histogram");
    exported
        .get(series)
        .copied()
        .filter(|m| m.kind.name() != "histogram")
        .or_else(|| ["_bucket", "_sum", "_count"].into_iter().find_map(of))
}

#[test]
fn alerts_ask_for_what_is_exported() {
    let alerts = alerts();
    assert!(alerts.len() >= 10, "{}", alerts.len());
    for alert in &alerts {
        let series: Vec<&str> =
            words(&alert.text).filter(|w| w.starts_with("rapport_") || w.starts_with("messaging_")).collect();
        assert!(!series.is_empty() || alert.field("expr").contains("up{"), "{} asks for nothing of ours", alert.name);
        for name in series {
            assert!(metric_of(name).is_some(), "{} asks for {name}, which nobody exports", alert.name);
        }
        // Labels in braces: those of the metric, and those that Prometheus puts there.
        for (before, inner) in alert.field("expr").match_indices('{').map(|(at, _)| alert.field("expr").split_at(at)) {
            let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            let inner = inner.trim_start_matches('{').split('}').next().unwrap_or_default();
            for label in inner.split(',').filter_map(|pair| pair.split(['=', '!']).next()).map(str::trim) {
                let known = metric_of(name).is_some_and(|metric| metric.labels.contains(&label));
                assert!(known || ["job", "instance", "le"].contains(&label), "{}: {name} has no {label}", alert.name);
            }
        }
    }
}

#[test]
fn every_alert_is_complete_and_has_a_page() {
    for alert in alerts() {
        for field in ["expr", "for", "severity", "summary", "description"] {
            assert!(!alert.field(field).is_empty(), "{}", alert.name);
        }
        assert!(["page", "ticket"].contains(&alert.field("severity")), "{}: {}", alert.name, alert.field("severity"));
        let url = alert.field("runbook_url");
        let page = url.split("deploy/runbooks/").nth(1).unwrap_or_else(|| panic!("{}: {url}", alert.name));
        let text = read(&format!("deploy/runbooks/{}", page.split('#').next().unwrap_or_default()));
        assert!(text.contains(&format!("`{}`", alert.name)), "{page} does not name {}", alert.name);
        for part in ["**Meant.**", "**Hurt.**", "**Type.**", "**Over.**"] {
            assert!(text.contains(part), "{page} lacks {part}");
        }
    }
}

#[test]
fn every_page_is_listed_and_names_what_is_there() {
    let index = read("deploy/runbooks/README.md");
    let pages = std::fs::read_dir(root().join("deploy/runbooks")).expect("runbooks");
    for page in pages.map(|page| page.expect("a page").file_name().to_string_lossy().into_owned()) {
        assert!(page == "README.md" || index.contains(&format!("]({page})")), "README.md does not list {page}");
        let text = read(&format!("deploy/runbooks/{page}"));
        for name in words(&text).filter(|word| word.starts_with("rapport_") || word.starts_with("messaging_client")) {
            assert!(
                metric_of(name).is_some() || exported().contains_key(name),
                "{page} names {name}, which nobody exports"
            );
        }
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let is_there =
                link.is_empty() || link.starts_with("http") || root().join("deploy/runbooks").join(link).exists();
            assert!(is_there, "{page} points to {link}, which is not there");
        }
    }
}

/// Each code that a command can end with stands in the page, and no other does.
#[test]
fn every_exit_code_has_its_lines() {
    let source = read("services/rapport/src/failure.rs");
    let declared = source.split("enum Exit {").nth(1).and_then(|rest| rest.split('}').next()).expect("the codes");
    let mut codes: BTreeSet<u8> =
        declared.lines().filter_map(|l| l.split_once(" = ")?.1.trim_end_matches(',').parse().ok()).collect();
    assert!(codes.len() >= 7, "{codes:?}");
    // Done, wrong usage, a panic, and what shells say of a process that a signal has ended.
    codes.extend([0, 64, 101, 137, 143]);
    let page = read("deploy/runbooks/exit-codes.md");
    let headed = page.lines().filter_map(|line| line.strip_prefix("## ")?.split(' ').next()?.parse().ok());
    assert_eq!(headed.collect::<BTreeSet<u8>>(), codes, "the sections of exit-codes.md");
}
