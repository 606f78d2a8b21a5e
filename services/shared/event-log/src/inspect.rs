//! What a cluster says of the log's topics: for those who look after it.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::Consumer as _;

use crate::error::LogError;
use crate::log::{LogOptions, REQUEST_TIMEOUT, Topic, asker, blocking};

/// A cluster as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// How many brokers are there.
    pub brokers: usize,
    /// The log's topics that are there.
    pub topics: Vec<TopicState>,
}

/// A topic as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Which of the two.
    pub topic: Topic,
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// Partitions without a leader: they take no records.
    pub leaderless: Vec<i32>,
    /// Copies of the partition that has the fewest.
    pub replicas: usize,
    /// Copies that are up to date, of the partition that has the fewest of those.
    pub in_sync: usize,
    /// Its settings by their names in Kafka, but for secret ones; `None` when the cluster does not tell them.
    pub settings: Option<BTreeMap<String, String>>,
}

/// Asks the cluster for the log's two topics. One that is missing is left out.
///
/// # Errors
/// The cluster does not answer within some seconds, or a property of `options` is refused.
pub async fn inspect(options: &LogOptions) -> Result<ClusterState, LogError> {
    let asked = options.clone();
    let mut state = blocking(move || metadata(&asked)).await?;
    let admin: AdminClient<DefaultClientContext> =
        options.client(&[], &[]).create().map_err(|e| LogError::Configuration(e.to_string()))?;
    for topic in &mut state.topics {
        topic.settings = settings(&admin, &topic.name).await;
    }
    // The admin's thread is joined when it is dropped.
    blocking(move || {
        drop(admin);
        Ok(())
    })
    .await?;
    Ok(state)
}

fn metadata(options: &LogOptions) -> Result<ClusterState, LogError> {
    let asker = asker(options)?;
    let mut state = ClusterState { brokers: 0, topics: Vec::new() };
    for topic in [Topic::Log, Topic::Rejected] {
        let name = options.name(topic);
        let metadata = asker.fetch_metadata(Some(name), REQUEST_TIMEOUT).map_err(|e| options.unreachable(e))?;
        state.brokers = metadata.brokers().len();
        let Some(found) = metadata.topics().iter().find(|t| t.name() == name && !t.partitions().is_empty()) else {
            continue;
        };
        let partitions = found.partitions();
        let fewest = |counts: &mut dyn Iterator<Item = usize>| counts.min().unwrap_or(0);
        state.topics.push(TopicState {
            topic,
            name: name.to_owned(),
            partitions: partitions.len(),
            leaderless: partitions.iter().filter(|p| p.leader() < 0).map(|p| p.id()).collect(),
            replicas: fewest(&mut partitions.iter().map(|p| p.replicas().len())),
            in_sync: fewest(&mut partitions.iter().map(|p| p.isr().len())),
            settings: None,
        });
    }
    Ok(state)
}

async fn settings(admin: &AdminClient<DefaultClientContext>, name: &str) -> Option<BTreeMap<String, String>> {
    let asked = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let resource = [ResourceSpecifier::Topic(name)];
    let described = admin.describe_configs(&resource, &asked).await.ok()?.pop()?.ok()?;
    let entries = described.entries.into_iter().filter(|entry| !entry.is_sensitive);
    Some(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}
