//! A log, a database, a projector.

use std::collections::BTreeMap;
use std::time::Duration;

use event_log::{Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use projection::{Projector, ProjectorOptions, database};
use sqlx::PgConnection;
use test_kit::Backbone;

use crate::toy::{self, Toy};

pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// When the first event is received, about.
pub(crate) const RECEIVED_AT: i64 = 1_772_438_400_000_000;

pub(crate) struct Stage {
    pub(crate) backbone: Backbone,
    pub(crate) log: Log,
    pub(crate) appender: Appender,
    sent: i64,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let backbone = test_kit::backbone().await;
        let mut options = LogOptions::new(&backbone.kafka);
        options.topic = backbone.topic("interactions");
        options.rejected_topic = backbone.topic("rejected");
        let log = Log::open_or_create(&options).await.expect("the log is created");
        let appender = Appender::open(&log, AppenderOptions::default()).expect("the appender connects");
        Self { backbone, log, appender, sent: 0 }
    }

    pub(crate) fn options(&self) -> ProjectorOptions {
        ProjectorOptions { lease_ttl: Duration::from_secs(3), ..ProjectorOptions::new(&self.backbone.database_url) }
    }

    pub(crate) async fn start(&self, options: ProjectorOptions) -> Projector {
        Projector::start(Toy::default(), self.log.clone(), options).await.expect("the projector starts")
    }

    /// Appends events `{prefix}{n}`, each of one of ten people.
    pub(crate) async fn send(&mut self, prefix: &str, numbers: std::ops::Range<usize>, note: &str) {
        self.send_received(RECEIVED_AT, prefix, numbers, note).await;
    }

    /// The same, received `received_at` and a bit, microseconds UTC: copies that came earlier than others before them.
    pub(crate) async fn send_received(
        &mut self,
        received_at: i64,
        prefix: &str,
        numbers: std::ops::Range<usize>,
        note: &str,
    ) {
        let records = numbers
            .map(|n| {
                self.sent += 1;
                let (wire, value) = toy::value(&format!("{prefix}{n}"), n % 10, note);
                NewRecord::of(&wire, value, received_at + self.sent)
            })
            .collect();
        for result in self.appender.append(Topic::Log, records).await {
            result.expect("the record is acknowledged");
        }
    }

    pub(crate) async fn database(&self) -> PgConnection {
        database::connect(&self.backbone.database_url, "test").await.expect("the database answers")
    }

    /// Waits until the checkpoints have reached the log's end.
    pub(crate) async fn folded(&self) {
        let ends = self.log.ends().await.expect("the log answers");
        let mut connection = self.database().await;
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let at = projection::positions::read(&mut connection).await.expect("positions are read");
            if at.get("toy").is_some_and(|toy| ends.iter().all(|(p, end)| toy.get(p) >= Some(end))) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "not folded in time: {at:?} of {ends:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a projector's readiness is what is wanted.
    pub(crate) async fn ready_becomes(projector: &Projector, wanted: impl Fn(&Result<(), String>) -> bool) {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let ready = projector.status().ready();
            if wanted(&ready) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "readiness stays {ready:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Facts and totals agree, and there are so many of them.
    pub(crate) async fn holds(&self, events: i64) {
        let mut connection = self.database().await;
        let (facts, totals): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM toy.facts), (SELECT coalesce(sum(events), 0)::bigint FROM toy.totals)",
        )
        .fetch_one(&mut connection)
        .await
        .expect("the tables are there");
        assert_eq!((facts, totals), (events, events), "each event once, in facts and in totals");
    }

    /// Holder -> number of partitions.
    pub(crate) async fn leases(&self) -> BTreeMap<Option<uuid::Uuid>, i64> {
        let mut connection = self.database().await;
        let rows: Vec<(Option<uuid::Uuid>, i64)> =
            sqlx::query_as("SELECT holder, count(*) FROM backbone.leases GROUP BY holder")
                .fetch_all(&mut connection)
                .await
                .expect("leases are read");
        rows.into_iter().collect()
    }

    /// Waits for a state of the leases.
    pub(crate) async fn leases_become(&self, wanted: impl Fn(&BTreeMap<Option<uuid::Uuid>, i64>) -> bool) {
        let deadline = tokio::time::Instant::now() + WAIT;
        loop {
            let leases = self.leases().await;
            if wanted(&leases) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "leases stay {leases:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
