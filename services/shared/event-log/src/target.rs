//! A topic that is not the log's, to which records of the log are delivered again.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;

use crate::appender::{Appended, Appender, AppenderOptions};
use crate::error::LogError;
use crate::log::{Log, LogOptions, REQUEST_TIMEOUT, asker, blocking, partition_count};
use crate::record::{NewRecord, Record};

/// A record not acknowledged by then is answered with an error. Whoever delivers again waits longer than a publisher:
/// what was given up too early would be there twice.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(30);

/// Longer names Kafka does not take.
const NAME_BYTES_MAX: usize = 249;

/// A topic of somebody else's: one that exists and is neither the log nor its rejected events.
pub struct Target {
    appender: Appender,
    topic: String,
}

/// Why records are not delivered to a topic.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is the topic that the records come from, or the one beside it.
    #[error(
        "topic {topic} is {what} of this installation, which nothing but its collector writes to: name a topic of your own"
    )]
    Own {
        /// Its name.
        topic: String,
        /// Which of the two.
        what: &'static str,
    },
    /// It does not exist, and is not created here: how many partitions and copies it needs, its owner knows.
    #[error(
        "there is no topic {topic} at {brokers}: create it first, with the partitions and copies that its readers need, \
         or name one that exists"
    )]
    Missing {
        /// Its name.
        topic: String,
        /// Where it was looked for.
        brokers: String,
    },
    /// The cluster could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Target {
    /// Connects to a topic, at the log's own cluster or at `brokers` (`host:port[,host:port…]`). The properties that the
    /// log was opened with hold for either.
    ///
    /// # Errors
    /// The topic is one of the log's own, under whichever address of its cluster; it does not exist; the cluster does not
    /// answer.
    pub async fn open(log: &Log, brokers: Option<&str>, topic: &str) -> Result<Self, TargetError> {
        let options = LogOptions {
            brokers: brokers.unwrap_or(&log.options().brokers).to_owned(),
            topic: topic.to_owned(),
            ..log.options().clone()
        };
        let own = own(log.options(), topic);
        let asked = (log.clone(), options.clone());
        let (is_there, is_same_cluster) = blocking(move || {
            let (log, options) = asked;
            let asker = asker(&options)?;
            let is_there = match partition_count(&options, &asker, &options.topic) {
                Ok(_) => true,
                // Of a name that no topic can have, a broker does not say that there is none.
                Err(LogError::Missing { .. }) => false,
                Err(_) if !is_name(&options.topic) => false,
                Err(error) => return Err(error),
            };
            // One cluster has many addresses. Where one of the two does not say who it is, they count as the same.
            let same = own.is_some() && {
                let there = asker.client().fetch_cluster_id(REQUEST_TIMEOUT);
                there.zip(log.cluster_now()).is_none_or(|(there, here)| there == here)
            };
            Ok((is_there, same))
        })
        .await?;
        if let (Some(what), true) = (own, is_same_cluster) {
            return Err(TargetError::Own { topic: topic.to_owned(), what });
        }
        if !is_there {
            return Err(TargetError::Missing { topic: topic.to_owned(), brokers: options.brokers });
        }
        let bounds = AppenderOptions { timeout: ACKNOWLEDGED_WITHIN, ..AppenderOptions::default() };
        Ok(Self { appender: Appender::connect(&options, bounds)?, topic: topic.to_owned() })
    }

    /// Its name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Appends records as they were read, and waits until each is on all in-sync replicas or has failed. The answers stand
    /// in the order of the records; those of one key that succeed in one call keep their order.
    pub async fn append(&self, records: &[&Record]) -> Vec<Appended> {
        let again = records.iter().map(|record| NewRecord::again(record)).collect();
        self.appender.append_to(&self.topic, again).await
    }
}

/// Which of the log's own topics has this name.
fn own(log: &LogOptions, topic: &str) -> Option<&'static str> {
    if topic == log.topic {
        return Some("the log");
    }
    (topic == log.rejected_topic).then_some("the topic of rejected events")
}

fn is_name(topic: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    !["", ".", ".."].contains(&topic) && topic.len() <= NAME_BYTES_MAX && topic.chars().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logs_own_topics_are_known() {
        let log = LogOptions::new("127.0.0.1:1");
        assert_eq!(own(&log, "rapport.interactions"), Some("the log"));
        assert_eq!(own(&log, "rapport.rejected"), Some("the topic of rejected events"));
        assert_eq!(own(&log, "rapport.interactions.copy"), None);
    }

    #[test]
    fn names_that_no_topic_has() {
        for (name, is) in [("partner.orders_1-a", true), ("", false), ("..", false), ("a b", false), ("ü", false)] {
            assert_eq!(is_name(name), is, "{name}");
        }
        assert!(is_name(&"x".repeat(249)) && !is_name(&"x".repeat(250)));
    }
}
