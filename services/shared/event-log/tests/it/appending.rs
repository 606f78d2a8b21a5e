//! Appending where something is in the way.

use std::time::{Duration, Instant};

use event_log::{AppendError, Appender, AppenderOptions, Log, LogOptions, NewRecord, Topic};
use local_stack::{KafkaOptions, Lifetime};

use crate::setup;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_fails_alone() {
    let (_log, appender) = setup::log().await;
    let records = vec![NewRecord::new("a", "x"), NewRecord::new("b", vec![0; 5_000_000]), NewRecord::new("c", "y")];
    let answers = appender.append(Topic::Log, records).await;
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(answers[1], Err(AppendError::TooLarge));
    assert!(appender.append(Topic::Log, Vec::new()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_and_recovers() {
    let (log, _) = setup::log().await;
    let options = AppenderOptions { queue_records_max: 50, linger_ms: 100.0, ..AppenderOptions::default() };
    let appender = Appender::open(&log, options).expect("the appender connects");
    let many = || (0..500).map(|n| NewRecord::new(format!("k{n}"), "v")).collect::<Vec<_>>();
    let answers = appender.append(Topic::Log, many()).await;
    let refused = answers.iter().filter(|a| **a == Err(AppendError::QueueFull)).count();
    assert!(refused > 0 && answers.iter().filter(|a| a.is_ok()).count() == 500 - refused, "{refused} refused");
    // The client counts a record for a moment longer than it takes to answer for it.
    let emptied = async {
        while appender.waiting() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), emptied).await.expect("nothing waits that was answered");
    setup::append(&appender, ["after".to_owned()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_choose_the_partition_as_java_does() {
    let log = Log::open_or_create(&LogOptions { partitions: 6, ..setup::options().await }).await.expect("created");
    let appender = Appender::open(&log, AppenderOptions::default()).expect("the appender connects");
    for key in ["email:a@example.com", "order:77", "user_id:4711", "x"] {
        let answers = appender.append(Topic::Log, vec![NewRecord::new(key, "v")]).await;
        assert_eq!(answers[0].as_ref().map(|(p, _)| *p), Ok(java_partition(key.as_bytes())), "{key}");
    }
}

/// Java's `DefaultPartitioner` for six partitions: 32-bit murmur2 with its seed.
fn java_partition(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ key.len() as u32;
    let mut chunks = key.chunks_exact(4);
    for chunk in &mut chunks {
        let k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ (k ^ (k >> 24)).wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
        h = (h ^ last).wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^= h >> 15;
    ((h & 0x7fff_ffff) % 6) as i32
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_dies_is_answered_for_in_time_and_found_again() {
    let artifacts = local_stack::fetch(&test_kit::stack_dir(), |line| eprintln!("{line}")).await.expect("fetched");
    let dir = tempfile::tempdir().expect("a directory");
    let port = local_stack::free_ports(2).expect("ports are free");
    let mut kafka = KafkaOptions::new(dir.path().join("kafka"), port, port + 1);
    kafka.lifetime = Lifetime::WithParent;
    let mut server = kafka.start(&artifacts).await.expect("Kafka starts");
    let log = Log::open_or_create(&LogOptions::new(format!("127.0.0.1:{}", kafka.port))).await.expect("created");
    let timeout = Duration::from_millis(1500);
    let appender =
        Appender::open(&log, AppenderOptions { timeout, ..AppenderOptions::default() }).expect("it connects");
    setup::append(&appender, ["before".to_owned()]).await;
    appender.ready(Duration::from_secs(5)).await.expect("all is well");
    server.kill().await;
    let began = Instant::now();
    let answers = appender.append(Topic::Log, vec![NewRecord::new("k", "while it is away")]).await;
    assert!(matches!(answers[0], Err(AppendError::Unavailable(_))), "{answers:?}");
    // Far above the timeout, however busy the machine, and far below what librdkafka would wait by itself.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    appender.ready(Duration::from_millis(300)).await.expect_err("nobody answers");
    let _server = kafka.start(&artifacts).await.expect("Kafka starts again");
    let deadline = Instant::now() + Duration::from_secs(30);
    while appender.append(Topic::Log, vec![NewRecord::new("k", "after")]).await[0].is_err() {
        assert!(Instant::now() < deadline, "appending does not recover");
    }
    appender.ready(Duration::from_secs(5)).await.expect("all is well again");
}
