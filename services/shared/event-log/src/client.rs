//! The consuming client of this crate: it keeps quiet.

use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError;

/// A client that consumes or asks.
pub(crate) type Client = BaseConsumer<Reports>;

/// What the client reports beside its answers. The library's own context writes each report as an error, the end of a
/// partition among them, which is where every projector that keeps up stands. What matters comes as an answer too, and
/// is told once by whoever asked.
pub(crate) struct Reports;

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka client reports");
    }
}

impl ConsumerContext for Reports {}
