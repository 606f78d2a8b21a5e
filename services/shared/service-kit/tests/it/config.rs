use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use service_kit::{Config, ConfigError, Kind, Origin, SETTINGS};
use tempfile::TempDir;

/// What is said where; the file is written only when there is something in it.
#[derive(Default)]
struct Given<'a> {
    cli: &'a [(&'a str, &'a str)],
    env: &'a [(&'a str, &'a str)],
    file: &'a str,
}

impl Given<'_> {
    fn load(&self) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = write(&dir, "rapport.toml", self.file);
        let file: Option<&Path> = (!self.file.is_empty()).then_some(&path);
        let cli: BTreeMap<String, String> = owned(self.cli).collect();
        Config::load(cli, owned(self.env), file)
    }

    /// The error's sentence, with the file's directory left out.
    fn refused(&self) -> String {
        let error = self.load().expect_err("it is refused").to_string();
        let start = error.find("file /").map(|at| at + 5);
        match (start, error.find("rapport.toml")) {
            (Some(start), Some(end)) if start < end => format!("{}{}", &error[..start], &error[end..]),
            _ => error,
        }
    }
}

fn owned<'a>(pairs: &'a [(&str, &str)]) -> impl Iterator<Item = (String, String)> + 'a {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("it can be written");
    path
}

fn origin(config: &Config, name: &str) -> Origin {
    config.entries().into_iter().find(|entry| entry.name == name).expect("it is in the table").origin
}

fn shown(config: &Config, name: &str) -> Option<String> {
    config.entries().into_iter().find(|entry| entry.name == name).expect("it is in the table").shown
}

#[test]
fn the_table_is_sound() {
    let config = Given::default().load().expect("the defaults are allowed");
    assert_eq!(config.entries().len(), SETTINGS.len());
    let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
    assert_eq!(names.len(), SETTINGS.len(), "a name stands twice");
    for setting in SETTINGS {
        assert!(setting.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        // A name in `_file` could not be told from the file of the name without it.
        assert!(!setting.name.ends_with("_file"), "{}", setting.name);
        if let Kind::Int { max, .. } | Kind::Size { max, .. } = setting.kind {
            assert!(max <= u64::from(u32::MAX), "{}", setting.name);
        }
    }
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_the_default() {
    let file = "port_base = 7200\nworkers = 2\npartitions = 3\nplaceholders = [\"a\", \"b\"]\n";
    let env = &[("RAPPORT_PORT_BASE", "7300"), ("RAPPORT_WORKERS", "3"), ("RAPPORT_REPLICATION", "")];
    let config = Given { cli: &[("port_base", "7400")], env, file }.load().expect("all are allowed");

    assert_eq!((config.u16("port_base"), origin(&config, "port_base")), (7400, Origin::Flag));
    assert_eq!(config.u64("workers"), 3);
    assert_eq!(origin(&config, "workers"), Origin::Environment("RAPPORT_WORKERS".into()));
    assert_eq!(config.u64("partitions"), 3);
    assert!(matches!(origin(&config, "partitions"), Origin::File(_)));
    assert_eq!((config.u64("replication"), origin(&config, "replication")), (1, Origin::Default));
    assert_eq!(config.list("placeholders"), ["a", "b"]);
    assert!(config.is_given("workers") && !config.is_given("replication"));
}

#[test]
fn the_local_servers_follow_the_port_block_unless_others_are_given() {
    let config = Given { cli: &[("port_base", "8000")], ..Given::default() }.load().expect("allowed");
    assert_eq!(config.text("kafka"), "127.0.0.1:8004");
    assert_eq!(config.text("database_url"), "postgres://rapport@127.0.0.1:8003/rapport");
    assert_eq!(config.ports().admin_query, 8014);
    assert!(!config.is_given("kafka"));

    let config = Given { env: &[("RAPPORT_KAFKA", "broker:9092")], ..Given::default() }.load().expect("allowed");
    assert_eq!(config.required_text("kafka").expect("given"), "broker:9092");
    assert!(config.is_given("kafka") && !config.is_given("database_url"));
}

#[test]
fn what_runs_now_says_where_it_is_unless_somebody_else_does() {
    let running = Given { cli: &[("port_base", "8000"), ("bind", "::1"), ("workers", "3")], ..Given::default() };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = write(&dir, "up.toml", &(running.load().expect("allowed").places() + "workers = 3\nlater = \"x\"\n"));

    let mut config = Given::default().load().expect("allowed");
    config.follow(&path).expect("allowed");
    assert_eq!((config.u16("port_base"), origin(&config, "port_base")), (8000, Origin::Running(path.clone())));
    assert_eq!(config.listen(config.ports().query).to_string(), "[::1]:8002");
    assert_eq!((config.text("kafka"), origin(&config, "kafka")), ("127.0.0.1:8004", Origin::Derived("port_base")));
    assert_eq!(config.text("database_url"), "postgres://rapport@127.0.0.1:8003/rapport");
    assert!(!config.is_given("kafka"));
    // Only places are taken, and nothing else that the file may say one day.
    assert_eq!(config.u64("workers"), Given::default().load().expect("allowed").u64("workers"));

    for given in [
        Given { cli: &[("port_base", "7400")], ..Given::default() },
        Given { env: &[("RAPPORT_PORT_BASE", "7400")], ..Given::default() },
        Given { file: "port_base = 7400", ..Given::default() },
    ] {
        let mut config = given.load().expect("allowed");
        config.follow(&path).expect("allowed");
        assert_eq!((config.u16("port_base"), config.text("bind")), (7400, "127.0.0.1"), "all of a place or nothing");
    }
    let mut config = Given { cli: &[("kafka", "broker:9092")], ..Given::default() }.load().expect("allowed");
    config.follow(&path).expect("allowed");
    assert_eq!((config.u16("port_base"), config.text("kafka")), (8000, "broker:9092"));

    let path = write(&dir, "bad.toml", "port_base = \"80\"\n");
    let refused = Given::default().load().expect("allowed").follow(&path).expect_err("no such port").to_string();
    assert!(refused.contains("what runs now"), "{refused}");
}

#[test]
fn units_are_understood() {
    let cli = &[("wait_ms", "2s"), ("time_ahead_s_max", "2h"), ("event_bytes_max", "1MiB")];
    let config = Given { cli, ..Given::default() }.load().expect("allowed");
    assert_eq!(config.duration_ms("wait_ms"), 2000);
    assert_eq!(config.duration_ms("time_ahead_s_max"), 7_200_000);
    assert_eq!(config.u64("time_ahead_s_max"), 7200);
    assert_eq!(config.bytes("event_bytes_max"), 1 << 20);
    assert_eq!(config.usize("request_bytes_max"), 5_242_880);
}

#[test]
fn a_refusal_names_the_setting_the_value_the_origin_and_what_is_allowed() {
    for (given, expected) in [
        (
            Given { env: &[("RAPPORT_PORT_BASE", "80")], ..Given::default() },
            "port_base = \"80\" (environment RAPPORT_PORT_BASE) is not allowed: it must be a whole number from 1024 to 65521",
        ),
        (
            Given { file: "log_format = \"xml\"", ..Given::default() },
            "log_format = \"xml\" (file rapport.toml) is not allowed: it must be one of text, json",
        ),
        (
            Given { env: &[("RAPPORT_DEFAULT_REGION", "UK")], ..Given::default() },
            "default_region = \"UK\" (environment RAPPORT_DEFAULT_REGION) is not allowed: it must be a country code of two letters, such as DE (the United Kingdom's is GB)",
        ),
        (
            Given { cli: &[("workerz", "2")], ..Given::default() },
            "\"workerz\" (flag) is not a setting (did you mean workers?); `rapport config` lists them all",
        ),
        (
            Given { env: &[("RAPPORT_KAFKA", "a:1"), ("RAPPORT_KAFKA_FILE", "/k")], ..Given::default() },
            "RAPPORT_KAFKA and RAPPORT_KAFKA_FILE are both set: keep one of them",
        ),
        (
            Given { cli: &[("database_url", "mysql://u:secret@h/d")], ..Given::default() },
            "database_url = \"mysql://u:***@h/d\" (flag) is not allowed: it must be an address such as postgres://user@host:5432/database",
        ),
    ] {
        assert_eq!(given.refused(), expected);
    }
    let refused = Given { cli: &[("bind", "0.0.0.0")], ..Given::default() }.refused();
    assert!(refused.contains("until it has keys"), "{refused}");
    let refused = Given { file: "workers = = 2", ..Given::default() }.refused();
    assert!(refused.contains("cannot be read as TOML"), "{refused}");
}

#[test]
fn librdkafka_properties_pass_through_but_for_those_that_keep_our_promises() {
    let file = "[kafka]\nbootstrap.servers = \"a:1,b:2\"\n\"security.protocol\" = \"sasl_ssl\"\nsasl.mechanism = \"PLAIN\"\nsocket.timeout.ms = 1000\nssl.key.pem = \"x\"\n";
    let env = &[("RAPPORT_KAFKA_SASL_PASSWORD", "hush")];
    let config = Given { env, file, ..Given::default() }.load().expect("allowed");
    let properties = config.kafka_properties();
    assert_eq!(config.text("kafka"), "a:1,b:2");
    assert_eq!(properties["security.protocol"], "sasl_ssl");
    assert_eq!(properties["sasl.mechanism"], "PLAIN");
    assert_eq!(properties["socket.timeout.ms"], "1000");
    assert_eq!(properties["sasl.password"], "hush");
    assert_eq!(shown(&config, "kafka_sasl_password").as_deref(), Some("***"));
    assert_eq!(shown(&config, "kafka.ssl.key.pem").as_deref(), Some("***"));
    assert_eq!(shown(&config, "kafka.sasl.mechanism").as_deref(), Some("PLAIN"));

    let refused = Given { file: "[kafka]\nenable.idempotence = false", ..Given::default() }.refused();
    assert!(refused.contains("\"enable.idempotence\" (file rapport.toml) cannot be set"), "{refused}");
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = write(&dir, "url", "postgres://u:p@ss@db/rapport\n");
    let path = path.to_str().expect("a plain path");
    let config = Given { env: &[("RAPPORT_DATABASE_URL_FILE", path)], ..Given::default() }.load().expect("allowed");
    assert_eq!(config.text("database_url"), "postgres://u:p@ss@db/rapport");
    assert_eq!(shown(&config, "database_url").as_deref(), Some("postgres://u:***@db/rapport"));
    assert!(matches!(origin(&config, "database_url"), Origin::SecretFile { .. }));

    let refused = Given { env: &[("RAPPORT_KAFKA_FILE", "/nonexistent/k")], ..Given::default() }.refused();
    assert!(refused.starts_with("/nonexistent/k (RAPPORT_KAFKA_FILE) cannot be read"), "{refused}");
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let env = &[("RAPPORT_DATABSE_URL", "x"), ("RAPPORT_STACK_DIR", "/s"), ("HOME", "/root")];
    let config = Given { env, ..Given::default() }.load().expect("it does no harm");
    assert_eq!(config.warnings(), ["the variable RAPPORT_DATABSE_URL names no setting (did you mean database_url?)"]);
}
