//! Following, ranges, single records.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::position::Offsets;
use event_log::{NewRecord, RangeReader, ReadError, Reader, Record, Start, Topic};

use crate::setup::{self, WAIT};

const ALL: Duration = Duration::from_secs(30);

/// Reads until every partition's end was met.
async fn to_the_end(reader: &mut Reader, partitions: usize) -> Vec<Record> {
    let mut records = Vec::new();
    let mut ended = std::collections::BTreeSet::new();
    while ended.len() < partitions {
        let fetched = reader.next(70, 1 << 20, ALL).await.expect("reading goes on");
        assert!(fetched.records.len() <= 70);
        assert!(!fetched.is_empty(), "nothing came in time");
        ended.extend(fetched.at_end);
        records.extend(fetched.records);
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_appended_is_read_in_order() {
    let (log, appender) = setup::log().await;
    let places = setup::append(&appender, (0..500).map(|n| format!("key{n}"))).await;
    let from: Offsets = log.starts().await.expect("the log answers");
    let mut reader = Reader::open(&log, Topic::Log, &from).expect("the reader starts");
    let records = to_the_end(&mut reader, 3).await;
    assert_eq!(records.len(), 501);
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for record in &records {
        let next = next.entry(record.partition).or_default();
        assert_eq!(record.offset, *next, "in order");
        *next += 1;
    }
    let (created, rest): (Vec<_>, Vec<_>) = records.iter().partition(|r| r.created);
    assert_eq!(created.iter().map(|r| (r.partition, r.offset)).collect::<Vec<_>>(), [(0, 0)]);
    for (n, place) in places.iter().enumerate() {
        let record = rest.iter().find(|r| (r.partition, r.offset) == *place).expect("it stands where it was said to");
        assert_eq!((&record.key[..], &record.value[..]), (format!("key{n}").as_bytes(), format!("key{n}").as_bytes()));
        assert_eq!((record.header("h"), record.header("other")), (Some("v"), None));
    }
    // The reader goes on with what comes after the end.
    setup::append(&appender, ["later".to_owned()]).await;
    let fetched = reader.next(10, 1 << 20, WAIT).await.expect("reading goes on");
    assert_eq!(fetched.records.iter().map(|r| &r.value[..]).collect::<Vec<_>>(), [b"later"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interaction_carries_its_headers() {
    let (log, appender) = setup::log().await;
    let json = test_kit::Event::order_placed("o-1").subject("email:a@example.com").json().to_string();
    let wire: rapport_proto::v1::Interaction = rapport_proto::json::read(json.as_bytes()).expect("a valid event");
    let value = prost::Message::encode_to_vec(&wire);
    let received_at = 1_772_438_400_123_456;
    let answers = appender.append(Topic::Log, vec![NewRecord::of(&wire, value.clone(), received_at)]).await;
    let (partition, offset) = *answers[0].as_ref().expect("it is acknowledged");
    let mut found = log.read_at(&Offsets::from([(partition, offset)])).await.expect("the log answers");
    let record = found.remove(&partition).expect("it stands there");
    assert_eq!((&record.value[..], record.received_at, record.created), (&value[..], received_at, false));
    assert_eq!(record.key, "email:a@example.com");
    let headers: Vec<(&str, &str)> =
        record.headers().map(|(k, v)| (k, std::str::from_utf8(v).expect("headers are text"))).collect();
    assert_eq!(
        headers,
        [
            ("ce_specversion", "1.0"),
            ("ce_id", "o-1"),
            ("ce_source", "test"),
            ("ce_type", "io.rapport.order.placed"),
            ("ce_time", "2026-03-02T08:00:00Z"),
            ("ce_subject", "email:a@example.com"),
            ("ce_recordedtime", "2026-03-02T08:00:00.123456Z"),
            ("content-type", "application/protobuf"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_do_not_exist_end_the_reading() {
    let (log, _appender) = setup::log().await;
    let mut reader = Reader::open(&log, Topic::Log, &Offsets::from([(0, 1000)])).expect("the reader starts");
    let error = loop {
        match reader.next(10, 1 << 20, ALL).await {
            Ok(fetched) => assert!(fetched.is_empty(), "{fetched:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::OffsetOutOfRange(_)), "{error}");
    assert!(log.read_at(&Offsets::from([(0, 1000), (1, 0)])).await.expect("the log answers").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_ends_where_the_log_ended() {
    let (log, appender) = setup::log().await;
    setup::append(&appender, (0..100).map(|n| format!("a{n}"))).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let later = setup::append(&appender, (0..50).map(|n| format!("b{n}"))).await;
    let mut all = Vec::new();
    let mut range = RangeReader::open(&log, Topic::Log, Start::Beginning, false).await.expect("the range opens");
    setup::append(&appender, (0..10).map(|n| format!("c{n}"))).await;
    while let Some(records) = range.next().await.expect("reading goes on") {
        all.extend(records);
    }
    assert_eq!(all.len(), 151);
    let first_later = later.iter().map(|(p, o)| all.iter().find(|r| (r.partition, r.offset) == (*p, *o)));
    let at_ms = first_later.flatten().map(|r| r.timestamp_ms).min().expect("records have times");
    let mut range = RangeReader::open(&log, Topic::Log, Start::Time(at_ms), false).await.expect("the range opens");
    let mut some = 0;
    while let Some(records) = range.next().await.expect("reading goes on") {
        some += records.len();
    }
    assert_eq!(some, 60);
    let beyond = Start::Time(at_ms + 1_000_000_000);
    let mut none = RangeReader::open(&log, Topic::Log, beyond, false).await.expect("the range opens");
    assert!(none.next().await.expect("nothing to read").is_none());
    let offsets = Start::Offsets(Offsets::from([(0, 0)]));
    let mut following = RangeReader::open(&log, Topic::Log, offsets, true).await.expect("the range opens");
    let records = following.next().await.expect("reading goes on").expect("it never ends");
    assert!(records.iter().all(|r| r.partition == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_events_have_a_topic_of_their_own() {
    let (log, appender) = setup::log().await;
    let answers = appender.append(Topic::Rejected, vec![NewRecord::new("k", "raw")]).await;
    assert_eq!(answers, [Ok((0, 0))]);
    let marks = log.watermarks(Topic::Rejected).await.expect("the log answers");
    assert_eq!(marks.values().map(|w| (w.start, w.end)).collect::<Vec<_>>(), [(0, 1)]);
}
