//! The rules of the house that a reader cannot hold in the head. No server, no clock: these run in `make check`.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use domain::Namespace;
use projection::ReadModel;
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use uuid::Uuid;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(&path)).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// The names under `[dependencies]` of a crate, those for tests left out.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let section = text.split("\n[").find(|s| s.starts_with("dependencies]")).unwrap_or_default();
    section
        .lines()
        .skip(1)
        .filter_map(|l| Some(l.split(['.', ' ', '=']).next()?.trim().to_owned()))
        .filter(|n| !n.is_empty())
        .collect()
}

fn files(under: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(under)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

const CRATES: [(&str, &str); 13] = [
    ("rapport-proto", "proto"),
    ("local-stack", "deploy/local"),
    ("domain", "services/shared/domain"),
    ("event-log", "services/shared/event-log"),
    ("projection", "services/shared/projection"),
    ("service-kit", "services/shared/service-kit"),
    ("test-kit", "services/shared/test-kit"),
    ("collector", "services/collector"),
    ("projector-sales", "services/projector-sales"),
    ("projector-service", "services/projector-service"),
    ("projector-customer360", "services/projector-customer360"),
    ("query", "services/query"),
    ("rapport", "services/rapport"),
];

#[test]
fn arrows_point_one_way() {
    let allowed: &[(&str, &[&str])] = &[
        ("rapport-proto", &[]),
        ("local-stack", &[]),
        ("service-kit", &[]),
        ("domain", &["rapport-proto"]),
        ("event-log", &["domain", "rapport-proto"]),
        ("projection", &["domain", "event-log", "service-kit", "rapport-proto"]),
        ("collector", &["domain", "event-log", "service-kit", "rapport-proto"]),
        ("projector-sales", &["domain", "projection", "rapport-proto"]),
        ("projector-service", &["domain", "projection", "rapport-proto"]),
        ("projector-customer360", &["domain", "projection", "rapport-proto"]),
    ];
    let ours: BTreeSet<&str> = CRATES.iter().map(|(name, _)| *name).collect();
    for (name, may) in allowed {
        let path = CRATES.iter().find(|(n, _)| n == name).expect("a crate of ours").1;
        let uses = dependencies(&format!("{path}/Cargo.toml"));
        let wrong: Vec<_> = uses.iter().filter(|d| ours.contains(d.as_str()) && !may.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn each_driver_has_one_owner() {
    for (driver, owners) in [
        ("rdkafka", &["event-log", "test-kit"][..]),
        (
            "sqlx",
            &[
                "projection",
                "projector-sales",
                "projector-service",
                "projector-customer360",
                "query",
                "rapport",
                "test-kit",
            ],
        ),
        ("axum", &["collector", "query", "service-kit"]),
    ] {
        for (name, path) in CRATES {
            let uses = dependencies(&format!("{path}/Cargo.toml")).contains(driver);
            assert!(!uses || owners.contains(&name), "{name} must not use {driver}: it belongs to {owners:?}");
        }
    }
    for pure in ["proto", "services/shared/domain"] {
        let uses = dependencies(&format!("{pure}/Cargo.toml"));
        let io: Vec<_> =
            ["tokio", "sqlx", "rdkafka", "axum", "reqwest"].iter().filter(|d| uses.contains(**d)).collect();
        assert!(io.is_empty(), "{pure} does no I/O, yet it depends on {io:?}");
    }
}

#[test]
fn paths_named_in_the_documents_exist() {
    for document in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = read(document);
        for quoted in text.split('`').skip(1).step_by(2) {
            let first = quoted.split('/').next().unwrap_or_default();
            let is_path = quoted.contains('/')
                && ["proto", "services", "deploy", "tests", ".ci"].contains(&first)
                && !quoted.contains(['*', ' ', '<', '{']);
            assert!(!is_path || root().join(quoted).exists(), "{document} names `{quoted}`, which does not exist");
        }
    }
}

/// A table is behind a digested view, or it is bookkeeping that is listed here; so are the views that depend on when one
/// asks, which no digest can cover.
#[test]
fn every_table_is_digested_or_bookkeeping() {
    fn check(model: &impl ReadModel, bookkeeping: &[&str], depend_on_now: &[&str]) {
        let schema = model.schema_sql();
        let views = model.views();
        let digested: Vec<&str> = model.digested().iter().map(|(view, _)| *view).collect();
        let declared: Vec<&str> = views
            .split("VIEW {model}.")
            .skip(1)
            .filter_map(|v| v.split_whitespace().next())
            .filter(|v| !v.contains(';'))
            .collect();
        for view in &declared {
            let is_one = digested.contains(view) != depend_on_now.contains(view);
            assert!(is_one, "{}.{view} is in no digest, or depends on now and is in one", model.name());
        }
        for table in schema.split("CREATE TABLE ").skip(1).filter_map(|t| t.split(['(', ' ']).next()) {
            let is_shown = views.contains(&format!("{{schema}}.{table}"))
                || schema.contains(&format!("FROM {table}"))
                || schema.contains(&format!("JOIN {table}"));
            assert!(
                is_shown || bookkeeping.contains(&table),
                "{}: table {table} is behind no view and no bookkeeping",
                model.name()
            );
        }
        for (what, text) in [("VIEW", views), ("COLUMN", views)] {
            assert!(text.contains(&format!("COMMENT ON {what}")), "{} comments on no {what}", model.name());
        }
        for view in &declared {
            assert!(
                views.contains(&format!("COMMENT ON VIEW {{model}}.{view} IS")),
                "{}.{view} has no COMMENT",
                model.name()
            );
        }
    }
    check(&Sales, &["facts", "entities", "voids"], &["carts", "cart_funnel"]);
    check(&Service, &["facts", "entities", "voids", "thread_nodes"], projector_service::OF_NOW);
    let customer360 = Customer360::new(Namespace::new(Uuid::nil()));
    check(&customer360, &["voids", "appearances", "neighbours", "naming", "arrivals", "taken_back"], &[]);
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!(", "unimplemented!(", "FIXME", "XXX", "#[ignore", "dbg!("];
    for path in files("services", ".rs").into_iter().chain(files("proto", ".rs")).chain(files("deploy", ".rs")) {
        let text = std::fs::read_to_string(&path).expect("a source file");
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", path.display());
        }
    }
}
