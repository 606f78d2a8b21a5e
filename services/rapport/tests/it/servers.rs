//! What the command line answers on a real Kafka and a real PostgreSQL.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

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
