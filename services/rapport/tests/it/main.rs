//! What the command line answers where neither Kafka nor PostgreSQL is there.

use std::path::Path;
use std::process::{Command, Output};

const ORDERS: &str = "Order ID,Order Date,Customer ID,Product ID,Product Name,Category,Quantity,Sales,Profit\n";

/// Runs `rapport` in a directory of its own, without settings from outside.
fn rapport(arguments: &[&str], variables: &[(&str, &str)], dir: &Path) -> Output {
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RAPPORT_"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).current_dir(dir).output().expect("rapport runs")
}

fn check(arguments: &[&str], variables: &[(&str, &str)], exit: i32, says: &str) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("bad.toml"), "source = 1").expect("written");
    std::fs::write(dir.path().join("endless.toml"), "format = \"csv\"\nsource = \"s\"\nprogram = \"{ a: \"")
        .expect("written");
    std::fs::write(dir.path().join("rows.csv"), "a,b\n1,2\n").expect("written");
    std::fs::write(dir.path().join("orders.csv"), ORDERS).expect("written");
    let output = rapport(arguments, variables, dir.path());
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert!(said.contains(says), "{arguments:?}: {said}");
}

#[test]
fn exit_codes() {
    // Nothing listens on port 1, and no port there can be given away meanwhile.
    let nowhere =
        [("RAPPORT_DATABASE_URL", "postgres://rapport@127.0.0.1:1/rapport"), ("RAPPORT_KAFKA", "127.0.0.1:1")];
    check(&["--help"], &[], 0, "rapport config");
    check(&["--version"], &[], 0, "rapport");
    check(&[], &[], 64, "Usage");
    check(&["status", "--no-such-flag"], &[], 64, "no-such-flag");
    check(&["digest", "marketing"], &[], 64, "sales");
    check(&["config", "--port-base", "80"], &[], 78, "port_base = \"80\" (flag)");
    check(&["config"], &[("RAPPORT_WORKERS", "many")], 78, "RAPPORT_WORKERS");
    check(&["config", "--config", "none.toml"], &[], 78, "none.toml");
    check(&["config", "--bind", "0.0.0.0"], &[], 78, "loopback");
    check(&["status"], &nowhere, 69, "is it running");
    check(&["dead-letters", "list"], &nowhere, 69, "127.0.0.1:1");
    check(&["publish", "none.ndjson"], &nowhere, 65, "none.ndjson");
    check(&["import", "rows.csv", "--mapping", "none.toml"], &nowhere, 65, "none.toml");
    check(&["import", "rows.csv", "--mapping", "bad.toml"], &nowhere, 78, "bad.toml");
    check(&["import", "rows.csv", "--mapping", "endless.toml"], &nowhere, 78, "line 1 of the program");
    check(&["log", "read", "--from", "yesterday"], &nowhere, 65, "RFC 3339");
    check(&["log", "read", "--subject", "ann"], &nowhere, 65, "kind:value");
}

#[test]
fn secrets_are_masked() {
    let secrets = [("RAPPORT_DATABASE_URL", "postgres://me:hunter2@db/x"), ("RAPPORT_KAFKA_SASL_PASSWORD", "hunter2")];
    for arguments in [&["config"][..], &["config", "--json"]] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let output = rapport(arguments, &secrets, dir.path());
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("***") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_shipped_mapping_is_understood() {
    let mapping = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/superstore-orders.toml");
    let nowhere = [("RAPPORT_KAFKA", "127.0.0.1:1"), ("RAPPORT_DATABASE_URL", "postgres://r@127.0.0.1:1/r")];
    // It gets as far as asking for the log: the mapping and its program are right.
    check(&["import", "orders.csv", "--mapping", mapping], &nowhere, 69, "Kafka at 127.0.0.1:1");
    check(&["import", "rows.csv", "--mapping", mapping], &nowhere, 65, "no column \"Order Date\"");
}
