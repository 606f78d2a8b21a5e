use std::collections::BTreeMap;

use event_log::{Log, LogError, LogOptions, Topic, TopicState, inspect};
use service_kit::Config;

use super::Check;
use crate::failure::{Failure, Outcome};
use crate::ops::{log_exit, log_options};

/// A topic takes records of at least this many bytes: an event of 2 MiB, the most that can be set, and its envelope.
const RECORD_BYTES_MIN: u64 = 4 * 1024 * 1024;

const REACHABLE: &str = "Kafka";

pub(super) async fn checks(config: &Config) -> Outcome<Vec<Check>> {
    let options = log_options(config)?;
    let state = match inspect(&options).await {
        Ok(state) => state,
        Err(error @ LogError::Configuration(_)) => return Err(Failure::of(log_exit(&error), error)),
        Err(error) => {
            return Ok(vec![Check::unreachable(
                REACHABLE,
                error.to_string(),
                "without it nothing is accepted and nothing new is folded; what has been folded can still be read",
                "start it (`rapport up` starts a local one), or correct the setting `kafka` and the [kafka] properties",
            )]);
        }
    };
    let own = !config.is_given("kafka");
    let mut checks = vec![Check::ok(REACHABLE, format!("{} brokers answer at {}", state.brokers, options.brokers))];
    let opened = match state.topics.iter().any(|t| t.topic == Topic::Log) {
        true => Some(Log::open(&options).await),
        false => None,
    };
    for (topic, name) in [(Topic::Log, &options.topic), (Topic::Rejected, &options.rejected_topic)] {
        checks.extend(match state.topics.iter().find(|t| t.topic == topic) {
            Some(found) => {
                let place = Place { brokers: &options.brokers, count: state.brokers, own };
                let partitions = (topic == Topic::Log).then(|| partitions(&options, opened.as_ref()));
                of_topic(found, &place, partitions)
            }
            None => vec![missing(name)],
        });
    }
    checks.extend(opened.map(is_a_log));
    Ok(checks)
}

/// How many partitions the log's topic should have.
#[derive(Clone, Copy)]
struct Partitions {
    /// What the setting says.
    set: usize,
    /// How many the log was made with, as far as is known.
    made: Option<usize>,
}

fn partitions(options: &LogOptions, opened: Option<&Result<Log, LogError>>) -> Partitions {
    let count = |partitions: i32| usize::try_from(partitions).unwrap_or(0);
    let made = opened.and_then(|opened| opened.as_ref().ok()).map(|log| count(log.partitions()));
    Partitions { set: count(options.partitions), made }
}

fn missing(name: &str) -> Check {
    Check::finding(
        format!("topic {name}"),
        "it does not exist",
        "events are kept there",
        "start the collector: it creates the topic",
    )
}

fn is_a_log(opened: Result<Log, LogError>) -> Check {
    let name = "log";
    match opened {
        Ok(log) => Check::ok(name, format!("log {} of {} partitions", log.log_id(), log.partitions())),
        Err(error @ (LogError::Unreachable { .. } | LogError::Missing { .. })) => Check::unreachable(
            name,
            error.to_string(),
            "its first record names the log, and every service reads it first",
            "look at the brokers' logs",
        ),
        Err(error) => Check::finding(
            name,
            error.to_string(),
            "its first record names the log, and every service reads it first",
            "name another topic in the setting `topic`, or start the collector where the topic is empty",
        ),
    }
}

/// The cluster that a topic is in.
struct Place<'a> {
    /// Where it answers, as commands are told it.
    brokers: &'a str,
    /// How many brokers it has.
    count: usize,
    /// It is the local one of this machine.
    own: bool,
}

/// `partitions`: how many it should have, where anything says it of this topic.
fn of_topic(topic: &TopicState, place: &Place<'_>, partitions: Option<Partitions>) -> Vec<Check> {
    let name = format!("topic {}", topic.name);
    let mut checks = Vec::new();
    let mut finding = |what: &str, found: String, reason: &str, remedy: String| {
        checks.push(Check::finding(format!("{name}, {what}"), found, reason, remedy));
    };
    if !topic.leaderless.is_empty() {
        finding(
            "leaders",
            format!("partitions {:?} have no leader", topic.leaderless),
            "they take no events and give none",
            "start the brokers that hold them".to_owned(),
        );
    }
    if topic.in_sync < topic.replicas {
        finding(
            "copies",
            format!("a partition has {} of its {} copies up to date", topic.in_sync, topic.replicas),
            "the copies that are left may be lost as well",
            "start the broker that is missing, and wait until it has caught up".to_owned(),
        );
    }
    if topic.replicas < 2 && (!place.own || place.count > 1) {
        finding(
            "copies",
            "there is one copy of each partition".to_owned(),
            "a broker that is lost takes its events along; the log is the truth, and there is no other",
            format!(
                "`kafka-reassign-partitions` gives {} further copies; `replication` = 3 does for new topics",
                topic.name
            ),
        );
    }
    let made = partitions.and_then(|p| p.made).unwrap_or(topic.partitions);
    if topic.partitions != made {
        finding(
            "partitions",
            format!("it has {}, and its log was made with {made}: somebody has changed the topic", topic.partitions),
            "with another number the events of one person would lie in two places: nothing is accepted, and what lies in \
             added partitions is not folded",
            "deploy/runbooks/partitions-were-added.md says how to go on in a topic as it should be".to_owned(),
        );
    }
    if let Some(set) = partitions.map(|p| p.set).filter(|set| *set != made) {
        finding(
            "setting `partitions`",
            format!("the log was made with {made}, and the setting `partitions` says {set}"),
            "the setting counts when a log is created; a partition more would send the events of one person to two places",
            format!("set `partitions` = {made}, and never add partitions to the topic"),
        );
    }
    match &topic.settings {
        Some(settings) => checks.extend(of_settings(topic, settings, place.brokers)),
        None => checks.push(Check::unreachable(
            format!("{name}, settings"),
            "the cluster does not tell them",
            "whether events are kept for ever cannot be seen",
            "allow this client DescribeConfigs on the topic",
        )),
    }
    if checks.is_empty() {
        let found = format!(
            "{} partitions, {} copies, min.insync.replicas {}, kept for ever",
            topic.partitions,
            topic.replicas,
            topic.settings.as_ref().and_then(|s| s.get("min.insync.replicas")).map_or("?", String::as_str)
        );
        checks.push(Check::ok(name, found));
    }
    checks
}

fn of_settings(topic: &TopicState, settings: &BTreeMap<String, String>, brokers: &str) -> Vec<Check> {
    let name = &topic.name;
    let of = |setting: &str| settings.get(setting).map_or("unknown", String::as_str);
    let alter = |setting: &str, value: &str| {
        format!(
            "kafka-configs --bootstrap-server {brokers} --alter --entity-type topics --entity-name {name} \
             --add-config {setting}={value}"
        )
    };
    let mut checks = Vec::new();
    let mut finding = |setting: &str, wanted: &str, reason: &str| {
        checks.push(Check::finding(
            format!("topic {name}, {setting}"),
            format!("it is {}, and should be {wanted}", of(setting)),
            reason,
            alter(setting, wanted.trim_start_matches("at least ")),
        ));
    };
    for setting in ["retention.ms", "retention.bytes"] {
        if of(setting) != "-1" {
            finding(setting, "-1", "Kafka deletes events beyond it, and no read model can be replayed without them");
        }
    }
    if of("cleanup.policy") != "delete" {
        finding("cleanup.policy", "delete", "compaction keeps one event of each key and deletes the others");
    }
    let in_sync: usize = of("min.insync.replicas").parse().unwrap_or(0);
    if topic.replicas >= 3 && in_sync < 2 {
        finding("min.insync.replicas", "2", "an event is acknowledged with one copy, which may be lost");
    }
    if in_sync > topic.replicas {
        finding("min.insync.replicas", "1", "there are fewer copies than that: no event is ever acknowledged");
    }
    if of("unclean.leader.election.enable") == "true" {
        let reason = "a copy that lacks acknowledged events may be made the one that counts, and they are lost";
        finding("unclean.leader.election.enable", "false", reason);
    }
    if of("message.timestamp.type") == "LogAppendTime" {
        let reason = "a record of another program that says no time of receipt is dated by it: a copy of the topic would \
                      date it anew, and read models folded from it would differ";
        finding("message.timestamp.type", "CreateTime", reason);
    }
    if of("max.message.bytes").parse::<u64>().is_ok_and(|bytes| bytes < RECORD_BYTES_MIN) {
        finding(
            "max.message.bytes",
            &format!("at least {RECORD_BYTES_MIN}"),
            "larger events are refused by the brokers",
        );
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::State;

    fn as_it_should_be() -> TopicState {
        let settings = [
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("cleanup.policy", "delete"),
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
            ("message.timestamp.type", "CreateTime"),
            ("max.message.bytes", "4194304"),
        ];
        TopicState {
            topic: Topic::Log,
            name: "t".to_owned(),
            partitions: 6,
            leaderless: Vec::new(),
            replicas: 3,
            in_sync: 3,
            settings: Some(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }
    }

    fn topic(change: impl FnOnce(&mut TopicState)) -> Vec<(String, State)> {
        let mut topic = as_it_should_be();
        change(&mut topic);
        let place = Place { brokers: "k:9092", count: 3, own: false };
        let partitions = Partitions { set: 6, made: Some(6) };
        of_topic(&topic, &place, Some(partitions)).into_iter().map(|check| (check.name, check.state)).collect()
    }

    fn with(setting: &str, value: &str) -> Vec<(String, State)> {
        topic(|t| {
            let settings = t.settings.get_or_insert_default();
            settings.insert(setting.to_owned(), value.to_owned());
        })
    }

    #[test]
    fn a_topic_as_it_should_be() {
        assert_eq!(topic(|_| {}), [("topic t".to_owned(), State::Ok)]);
        let alone = |own: bool, brokers: usize| {
            let settings = BTreeMap::from(
                [
                    ("min.insync.replicas", "1"),
                    ("retention.ms", "-1"),
                    ("retention.bytes", "-1"),
                    ("cleanup.policy", "delete"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
            let topic = TopicState {
                topic: Topic::Rejected,
                name: "t".to_owned(),
                partitions: 1,
                leaderless: Vec::new(),
                replicas: 1,
                in_sync: 1,
                settings: Some(settings),
            };
            of_topic(&topic, &Place { brokers: "k:9092", count: brokers, own }, None)[0].state
        };
        // One local broker cannot do better, and the README says what that means.
        assert_eq!([alone(true, 1), alone(false, 1), alone(true, 3)], [State::Ok, State::Finding, State::Finding]);
    }

    #[test]
    fn what_is_wrong_with_a_topic() {
        for (found, what, state) in [
            (with("retention.ms", "604800000"), "retention.ms", State::Finding),
            (with("retention.bytes", "1000"), "retention.bytes", State::Finding),
            (with("cleanup.policy", "compact"), "cleanup.policy", State::Finding),
            (with("min.insync.replicas", "1"), "min.insync.replicas", State::Finding),
            (with("min.insync.replicas", "4"), "min.insync.replicas", State::Finding),
            (with("unclean.leader.election.enable", "true"), "unclean.leader.election.enable", State::Finding),
            (with("message.timestamp.type", "LogAppendTime"), "message.timestamp.type", State::Finding),
            (with("max.message.bytes", "1048588"), "max.message.bytes", State::Finding),
            (topic(|t| t.leaderless = vec![2]), "leaders", State::Finding),
            (topic(|t| t.in_sync = 2), "copies", State::Finding),
            (topic(|t| t.partitions = 7), "partitions", State::Finding),
            (topic(|t| t.settings = None), "settings", State::Unreachable),
        ] {
            assert_eq!(found, [(format!("topic t, {what}"), state)]);
        }
        assert_eq!(missing("t").state, State::Finding);
    }

    #[test]
    fn how_many_partitions_there_should_be() {
        let found = |partitions: usize, set: usize, made: Option<usize>| {
            let mut topic = as_it_should_be();
            topic.partitions = partitions;
            let place = Place { brokers: "k:9092", count: 3, own: false };
            of_topic(&topic, &place, Some(Partitions { set, made })).into_iter().map(|c| c.name).collect::<Vec<_>>()
        };
        assert_eq!(found(6, 6, None), ["topic t"]);
        assert_eq!(found(7, 6, Some(6)), ["topic t, partitions"]);
        assert_eq!(found(6, 7, Some(6)), ["topic t, setting `partitions`"]);
        assert_eq!(found(7, 6, None), ["topic t, setting `partitions`"]);
    }
}
