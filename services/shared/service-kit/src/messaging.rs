//! What is measured and logged of records on their way through Kafka, by the names of OpenTelemetry's conventions for
//! messaging (`messaging.client.sent.messages` is `messaging_client_sent_messages_total` to Prometheus). There is no
//! attribute for a consumer group: nothing here joins one.

use std::{collections::BTreeMap, time::Duration};

use metrics::Label;

use crate::Metric;

/// Records handed to Kafka.
pub const SENT_MESSAGES_TOTAL: &str = "messaging_client_sent_messages_total";
/// Records taken from Kafka.
pub const CONSUMED_MESSAGES_TOTAL: &str = "messaging_client_consumed_messages_total";
/// How long handing over and taking lasted.
pub const OPERATION_SECONDS: &str = "messaging_client_operation_duration_seconds";
/// How long working on what was taken lasted.
pub const PROCESS_SECONDS: &str = "messaging_process_duration_seconds";

/// The bounds that the conventions advise for durations, seconds.
pub(crate) const SECONDS_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

const SYSTEM: &str = "messaging_system";
const DESTINATION: &str = "messaging_destination_name";
const PARTITION: &str = "messaging_destination_partition_id";
const OPERATION: &str = "messaging_operation_name";
const OPERATION_TYPE: &str = "messaging_operation_type";
const ERROR: &str = "error_type";

const KAFKA: &str = "kafka";

/// All of them.
pub const METRICS: &[Metric] = &[
    Metric::counter(
        SENT_MESSAGES_TOTAL,
        &[SYSTEM, DESTINATION, PARTITION, OPERATION, OPERATION_TYPE, ERROR],
        "Records handed to Kafka; error_type where they were not confirmed, the partition where they were",
    ),
    Metric::counter(
        CONSUMED_MESSAGES_TOTAL,
        &[SYSTEM, DESTINATION, PARTITION, OPERATION, OPERATION_TYPE],
        "Records taken from Kafka, those that are taken once more after a new start among them",
    ),
    Metric::histogram(
        OPERATION_SECONDS,
        &[SYSTEM, DESTINATION, OPERATION, OPERATION_TYPE, ERROR],
        "Seconds: of a send from handing a request's records over to the last confirmation, of a poll until records came",
    ),
    Metric::histogram(
        PROCESS_SECONDS,
        &[SYSTEM, DESTINATION, PARTITION, OPERATION, OPERATION_TYPE, ERROR],
        "Seconds from a batch of records in hand to its commit; the partition where all of them are of one",
    ),
];

fn labels(topic: &str, operation: &'static str, kind: &'static str) -> Vec<Label> {
    vec![
        Label::new(SYSTEM, KAFKA),
        Label::new(DESTINATION, topic.to_owned()),
        Label::new(OPERATION, operation),
        Label::new(OPERATION_TYPE, kind),
    ]
}

/// Notes that records were handed to a topic: of each its partition, or what kept it from being confirmed, in a word.
pub fn sent(topic: &str, records: impl IntoIterator<Item = Result<i32, &'static str>>, took: Duration) {
    let mut counts: BTreeMap<Result<i32, &'static str>, u64> = BTreeMap::new();
    for record in records {
        *counts.entry(record).or_default() += 1;
    }
    let error = counts.keys().find_map(|record| record.err());
    tracing::debug!(
        messaging.system = KAFKA,
        messaging.operation.name = "send",
        messaging.operation.type = "send",
        messaging.destination.name = topic,
        messaging.batch.message_count = counts.values().sum::<u64>(),
        error.type = error,
        "records sent"
    );
    for (record, count) in &counts {
        let mut labels = labels(topic, "send", "send");
        labels.push(match record {
            Ok(partition) => Label::new(PARTITION, partition.to_string()),
            Err(error) => Label::new(ERROR, *error),
        });
        metrics::counter!(SENT_MESSAGES_TOTAL, labels).increment(*count);
    }
    let mut labels = labels(topic, "send", "send");
    labels.extend(error.map(|error| Label::new(ERROR, error)));
    metrics::histogram!(OPERATION_SECONDS, labels).record(took);
}

/// Notes that records of these partitions, one entry a record, were taken from a topic.
pub fn received(topic: &str, partitions: impl IntoIterator<Item = i32>, took: Duration) {
    let mut counts: BTreeMap<i32, u64> = BTreeMap::new();
    for partition in partitions {
        *counts.entry(partition).or_default() += 1;
    }
    if counts.is_empty() {
        return;
    }
    for (partition, count) in &counts {
        let mut labels = labels(topic, "poll", "receive");
        labels.push(Label::new(PARTITION, partition.to_string()));
        metrics::counter!(CONSUMED_MESSAGES_TOTAL, labels).increment(*count);
    }
    metrics::histogram!(OPERATION_SECONDS, labels(topic, "poll", "receive")).record(took);
}

/// Notes that so many records of these partitions were worked on, or what kept them from it, in a word.
pub fn processed(
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
    records: usize,
    took: Duration,
    error: Option<&'static str>,
) {
    let mut partitions = partitions.into_iter();
    let only = partitions.next().filter(|_| partitions.next().is_none());
    tracing::debug!(
        messaging.system = KAFKA,
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        messaging.destination.name = topic,
        messaging.destination.partition.id = only,
        messaging.batch.message_count = records,
        error.type = error,
        "records processed"
    );
    let mut labels = labels(topic, "process", "process");
    labels.extend(only.map(|partition| Label::new(PARTITION, partition.to_string())));
    labels.extend(error.map(|error| Label::new(ERROR, error)));
    metrics::histogram!(PROCESS_SECONDS, labels).record(took);
}
