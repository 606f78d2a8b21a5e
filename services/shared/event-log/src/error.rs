//! What can be wrong with the log as a whole.

/// Why the log could not be opened or asked. [`LogError::is_transient`] tells whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A librdkafka property was refused.
    #[error("the Kafka client refused its configuration: {0}; check the [kafka] properties")]
    Configuration(String),
    /// No broker answered in time.
    #[error("Kafka at {brokers} did not answer: {reason}; is it running, and are address and credentials right?")]
    Unreachable {
        /// The addresses tried.
        brokers: String,
        /// What the client says.
        reason: String,
    },
    /// The topic does not exist.
    #[error("topic {topic} does not exist; the collector creates it when it starts")]
    Missing {
        /// Its name.
        topic: String,
    },
    /// The topic exists but holds no record yet.
    #[error("topic {topic} is still empty; the collector writes its first record when it starts")]
    Empty {
        /// Its name.
        topic: String,
    },
    /// The topic's first record is not the one that names a log.
    #[error(
        "topic {topic} is not a Rapport log: offset 0 of partition 0 {found}; name an unused topic and it will be created"
    )]
    NotALog {
        /// Its name.
        topic: String,
        /// What stands there instead.
        found: String,
    },
    /// The topic could not be created.
    #[error("topic {topic} could not be created: {reason}")]
    NotCreated {
        /// Its name.
        topic: String,
        /// What the broker says.
        reason: String,
    },
}

/// The topic has another number of partitions than it had when the log was made in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic} has {found} partitions, and its log was made with {made}: with another number the events of one person \
     would lie in two places, so nothing is accepted; deploy/runbooks/partitions-were-added.md says what to do"
)]
pub struct OtherPartitions {
    /// Its name.
    pub topic: String,
    /// How many the log was made with.
    pub made: i32,
    /// How many there are.
    pub found: i32,
}

impl LogError {
    /// Whether waiting can help: nobody answers, or somebody is about to create the topic.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Missing { .. } | Self::Empty { .. })
    }
}
