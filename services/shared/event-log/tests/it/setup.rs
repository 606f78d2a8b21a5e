//! A log of a test's own.

use std::time::Duration;

use event_log::{Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};

pub(crate) async fn options() -> LogOptions {
    let backbone = test_kit::kafka().await;
    let prefix = uuid::Uuid::new_v4().simple().to_string();
    LogOptions {
        topic: format!("test-{prefix}.interactions"),
        rejected_topic: format!("test-{prefix}.rejected"),
        partitions: 3,
        ..LogOptions::new(backbone)
    }
}

pub(crate) async fn log() -> (Log, Appender) {
    let log = Log::open_or_create(&options().await).await.expect("the log is created");
    let appender = Appender::open(&log, AppenderOptions::default()).expect("the appender connects");
    (log, appender)
}

/// Appends records of so many keys; each must be acknowledged.
pub(crate) async fn append(appender: &Appender, keys: impl IntoIterator<Item = String>) -> Vec<(i32, i64)> {
    let records = keys.into_iter().map(|key| NewRecord::new(key.clone(), key).header("h", "v")).collect();
    let answers = appender.append(Topic::Log, records).await;
    answers.into_iter().map(|answer| answer.expect("the record is acknowledged")).collect()
}

pub(crate) const WAIT: Duration = Duration::from_secs(30);
