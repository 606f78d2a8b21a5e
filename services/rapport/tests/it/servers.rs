//! What the command line answers on a real Kafka and a real PostgreSQL.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use crate::watching::{Services, settings};
use crate::{Running, command, port_base, rapport};

/// A database that refuses to answer is not one that no projector has run on.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_says_what_the_database_says() {
    let url = test_kit::postgres().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let digest = || {
        let output = rapport(&["digest", "sales"], &[("RAPPORT_DATABASE_URL", &url)], dir.path());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = digest();
    assert!(code == Some(69) && said.contains("has no live generation"), "{said}");

    let mut database = PgConnection::connect(&url).await.expect("PostgreSQL takes a connection");
    let foreign = "CREATE SCHEMA backbone; CREATE TABLE backbone.generations (something_else int)";
    sqlx::raw_sql(foreign).execute(&mut database).await.expect("a table of somebody else's");
    let (code, said) = digest();
    assert!(code == Some(69) && said.contains("does not exist"), "{said}");
    assert!(!said.contains("has no live generation"), "{said}");
}

/// Only the collector that is about to create the log warns that one copy of it is not enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_one_copy_is_warned_of_before_it_is_created() {
    let backbone = test_kit::backbone().await;
    let (topic, rejected) = (backbone.topic("interactions"), backbone.topic("rejected"));
    let settings =
        [("RAPPORT_KAFKA", backbone.kafka.as_str()), ("RAPPORT_TOPIC", &topic), ("RAPPORT_REJECTED_TOPIC", &rejected)];
    let dir = tempfile::tempdir().expect("a temporary directory");
    for warns in [true, false] {
        let base = port_base();
        let arguments = ["collector", "--port-base", &base];
        let mut running = Running::start(&mut command(&arguments, &settings, dir.path()));
        let mut said = String::new();
        let stderr = running.0.stderr.take().expect("it is read");
        for line in BufReader::new(stderr).lines() {
            let line = line.expect("text");
            said.push_str(&line);
            if line.contains("collector listens") {
                running.signal(Signal::TERM);
            }
        }
        assert!(running.0.wait().expect("it ends").success(), "{said}");
        assert_eq!(said.contains("replication is 1"), warns, "{said}");
    }
}

/// Where both servers answer, what they do not have yet is a finding; nothing is changed by asking.
#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_finds_what_is_missing() {
    let backbone = test_kit::backbone().await;
    let url = test_kit::postgres().await;
    let (topic, rejected) = (backbone.topic("interactions"), backbone.topic("rejected"));
    let settings = [
        ("RAPPORT_KAFKA", backbone.kafka.as_str()),
        ("RAPPORT_DATABASE_URL", &url),
        ("RAPPORT_TOPIC", &topic),
        ("RAPPORT_REJECTED_TOPIC", &rejected),
    ];
    let dir = tempfile::tempdir().expect("a temporary directory");
    let base = port_base();
    for _ in 0..2 {
        let output = rapport(&["doctor", "--json", "--port-base", &base], &settings, dir.path());
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let report: serde_json::Value = serde_json::from_str(&said).expect("one JSON document");
        let of = |name: &str| {
            let checks = report["checks"].as_array().into_iter().flatten();
            let found = checks.into_iter().find(|check| check["check"] == name);
            found.unwrap_or_else(|| panic!("{name}: {said}"))["state"].as_str().map(str::to_owned)
        };
        for (check, state) in [
            ("Kafka", "ok"),
            (&*format!("topic {topic}"), "finding"),
            (&*format!("topic {rejected}"), "finding"),
            ("PostgreSQL", "ok"),
            ("PostgreSQL, rights", "ok"),
            ("PostgreSQL's clock", "ok"),
            ("the collector's clock", "skipped"),
            (&*format!("port {base} (collector)"), "ok"),
        ] {
            assert_eq!(of(check).as_deref(), Some(state), "{check}: {said}");
        }
    }
}

/// Without Kafka `status` shows what PostgreSQL knows, and does not end as if all were well.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_without_kafka_is_not_all_of_it() {
    let url = test_kit::postgres().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = [("RAPPORT_KAFKA", "127.0.0.1:1"), ("RAPPORT_DATABASE_URL", &*url)];
    let output = rapport(&["status", "--json"], &settings, dir.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("\"log_end_unknown\": \"Kafka at 127.0.0.1:1"), "{said}");
}

/// A replay that no projector takes up says soon what to start; Ctrl-C says what goes on without it.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_says_who_builds_it() {
    let backbone = test_kit::backbone().await;
    let topics = (backbone.topic("interactions"), backbone.topic("rejected"));
    let dir = tempfile::tempdir().expect("a temporary directory");
    let settings = settings(&backbone, &backbone.database_url, &topics);
    let services = Services::start(&settings, dir.path());
    let mut projector = services.projector;
    projector.signal(Signal::TERM);
    assert!(projector.0.wait().expect("it ends").success(), "a service that was asked to end");
    let mut replay = Running::start(&mut command(&["replay", "sales"], &settings, dir.path()));
    let mut said = String::new();
    for line in BufReader::new(replay.0.stderr.take().expect("it is read")).lines() {
        let line = line.expect("text");
        if line.contains("nobody builds sales_g2 yet") {
            assert!(line.contains("`rapport projector sales`"), "{line}");
            replay.signal(Signal::INT);
        }
        said.push_str(&line);
    }
    assert_eq!(replay.0.wait().expect("it ends").code(), Some(130), "{said}");
    for part in ["goes on building sales_g2", "`rapport replay sales`", "`rapport generation drop sales`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
