//! Stretches of the log, appended again to a topic that is not the log's.

use domain::position::Offsets;
use event_log::{Log, NewRecord, RangeReader, Record, Target, TargetError, Topic};

use crate::setup;

async fn read(log: &Log, from: Offsets, to: &Offsets) -> Vec<Record> {
    let mut range = RangeReader::between(log, Topic::Log, from, to).expect("the reader starts");
    let mut records = Vec::new();
    while let Some(more) = range.next().await.expect("it is read to its end") {
        records.extend(more);
    }
    records
}

/// Key, value, headers.
type Content = (Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn contents(records: &[Record]) -> Vec<Content> {
    let headers = |r: &Record| r.headers().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
    let mut contents: Vec<_> = records.iter().map(|r| (r.key.to_vec(), r.value.to_vec(), headers(r))).collect();
    contents.sort();
    contents
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stretch_is_appended_again_as_it_was() {
    let (log, appender) = setup::log().await;
    let (other, _) = setup::log().await;
    let odd = NewRecord::new("", vec![0, 0xff, 10]).header("empty", "").header("twice", "1").header("twice", "2");
    appender.append(Topic::Log, vec![odd.partition(1)]).await.remove(0).expect("it is acknowledged");
    setup::append(&appender, (0..60).map(|n| format!("key{n}"))).await;
    let ends = log.ends().await.expect("the log answers");
    let to: Offsets = ends.iter().map(|(partition, end)| (*partition, (*end - 1).min(9))).collect();
    let stretch = read(&log, Offsets::from([(0, 3), (1, 0)]), &to).await;
    let places: Vec<_> = stretch.iter().map(|r| (r.partition, r.offset)).collect();
    let expected = (3..to[&0]).map(|offset| (0, offset)).chain((0..to[&1]).map(|offset| (1, offset)));
    assert!(expected.clone().count() > 5 && expected.clone().all(|place| places.contains(&place)), "{places:?}");
    assert_eq!(places.len(), expected.count());

    let topic = other.topic(Topic::Log).to_owned();
    let begins = other.ends().await.expect("the log answers");
    let target = Target::open(&log, None, &topic).await.expect("a topic of somebody else's");
    let answers = target.append(&stretch.iter().collect::<Vec<_>>()).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let arrived = read(&other, begins, &other.ends().await.expect("the log answers")).await;
    assert_eq!(contents(&arrived), contents(&stretch));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_logs_own_topics_and_those_that_are_not_there_are_refused() {
    let (log, _) = setup::log().await;
    for topic in [Topic::Log, Topic::Rejected] {
        let opened = Target::open(&log, None, log.topic(topic)).await;
        assert!(matches!(opened.err(), Some(TargetError::Own { .. })), "{topic:?}");
        // Said in other words, it is the same cluster.
        let twice = format!("{0},{0}", log.options().brokers);
        let opened = Target::open(&log, Some(&twice), log.topic(topic)).await;
        assert!(matches!(opened.err(), Some(TargetError::Own { .. })), "{topic:?}");
    }
    for topic in ["test-is-not-there", "no name", ""] {
        let opened = Target::open(&log, None, topic).await;
        assert!(matches!(opened.err(), Some(TargetError::Missing { .. })), "{topic:?}");
    }
}
