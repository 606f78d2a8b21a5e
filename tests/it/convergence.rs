//! A read model is a function of the set of events: any shuffle, duplication and split into batches, loaded from the
//! beginning or folded by one worker or by two at once, ends in the digest that the oracle computes from the sorted set.

use domain::Namespace;
use projection::{ReadModel, direct, direct::Direct};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use system_tests::{
    compare::{Compared, compare},
    history::{Recorded, batches, history, shuffled},
    oracle::{self, Rows, Set},
};
use uuid::Uuid;

/// Histories tried; `RAPPORT_TEST_SEEDS` tries more.
const SEEDS: u64 = 24;
/// Shuffles of each, beside the order of arrival.
const SHUFFLES: u64 = 4;
/// Events of a history.
const EVENTS: usize = 160;

fn seeds() -> u64 {
    std::env::var("RAPPORT_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS)
}

const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(0x5eed));

/// Folds these arrivals, the first `loaded` of them as a load, and says how the tables differ from what the oracle tells.
async fn fold<M: ReadModel + Clone>(
    direct: &mut Direct<M>,
    arrivals: Vec<Vec<Recorded>>,
    loaded: usize,
    expected: &Rows,
) -> (String, String) {
    let mut offset = 0;
    let mut event = |r: Recorded| {
        offset += 1;
        direct::event(r.value, r.received_at, (offset % 3) as i32, offset, &NAMESPACE).expect("a record of ours")
    };
    let mut arrivals = arrivals.into_iter().map(|batch| batch.into_iter().map(&mut event).collect());
    if loaded > 0 {
        let aside = direct.load(arrivals.by_ref().take(loaded).collect()).await.expect("they are loaded");
        assert_eq!(aside, 0, "an event was set aside as a dead letter");
    }
    for events in arrivals {
        let aside = direct.fold(events).await.expect("the batch is folded");
        assert_eq!(aside, 0, "an event was set aside as a dead letter");
    }
    let model = direct.model().clone();
    let Compared { digest, differences, .. } = compare(&mut direct.connection, &model, expected).await;
    (digest, differences)
}

async fn converges<M: ReadModel + Clone>(model: M, expected: impl Fn(&Set) -> Rows) {
    let url = test_kit::postgres().await;
    let mut direct = Direct::open(&url, model, NAMESPACE).await.expect("a fresh database");
    for seed in 0..seeds() {
        let records = history(seed, EVENTS);
        let told = expected(&Set::new(&records, &NAMESPACE));
        let mut first = None;
        for shuffle in 0..=SHUFFLES {
            let arrivals = if shuffle == 0 { records.clone() } else { shuffled(&records, seed * 31 + shuffle) };
            let arrivals = batches(arrivals, seed + shuffle);
            let loaded = match shuffle {
                1 => arrivals.len(),
                3 => arrivals.len() / 2,
                _ => 0,
            };
            direct.reset().await.expect("fresh tables");
            let (digest, differences) = fold(&mut direct, arrivals, loaded, &told).await;
            assert!(differences.is_empty(), "seed {seed}, shuffle {shuffle}:\n{differences}");
            assert_eq!(first.get_or_insert_with(|| digest.clone()), &digest, "seed {seed}, shuffle {shuffle}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales() {
    converges(Sales, oracle::sales::rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service() {
    converges(Service, oracle::service::rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customer360() {
    converges(Customer360::new(NAMESPACE), |set| oracle::customer360::rows(set, &NAMESPACE)).await;
}

/// The short ways through the identity graph give what resolving whole clusters gives.
#[tokio::test(flavor = "multi_thread")]
async fn customer360_without_short_ways() {
    let model = Customer360::new(NAMESPACE).always_resolving();
    converges(model, |set| oracle::customer360::rows(set, &NAMESPACE)).await;
}

/// Two workers fold one shuffled history at the same time, each its own partitions.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_at_once() {
    let url = test_kit::postgres().await;
    let model = Customer360::new(NAMESPACE);
    let mut one = Direct::open(&url, model.clone(), NAMESPACE).await.expect("a fresh database");
    let mut two = Direct::open(&url, model.clone(), NAMESPACE).await.expect("the same database");
    let (mut sales_one, mut sales_two) = (
        Direct::open(&url, Sales, NAMESPACE).await.expect("the same database"),
        Direct::open(&url, Sales, NAMESPACE).await.expect("the same database"),
    );
    let records: Vec<Recorded> = history(7_001, 1_500);
    let set = Set::new(&records, &NAMESPACE);
    let (left, right): (Vec<_>, Vec<_>) = shuffled(&records, 5).into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let batches_of = |side: Vec<(usize, Recorded)>| batches(side.into_iter().map(|(_, r)| r).collect(), 3);
    let (left, right) = (batches_of(left), batches_of(right));
    let nothing = Rows::default();
    tokio::join!(
        fold(&mut one, left.clone(), 0, &nothing),
        fold(&mut two, right.clone(), 0, &nothing),
        fold(&mut sales_one, left, 0, &nothing),
        fold(&mut sales_two, right, 0, &nothing),
    );
    let Compared { differences, .. } =
        compare(&mut one.connection, &model, &oracle::customer360::rows(&set, &NAMESPACE)).await;
    assert!(differences.is_empty(), "{differences}");
    let Compared { differences, .. } = compare(&mut sales_one.connection, &Sales, &oracle::sales::rows(&set)).await;
    assert!(differences.is_empty(), "{differences}");
}

/// What one history has come to, with the fold version that made it so. A fold that gives other rows needs another
/// version: raise it, and pin the digest that the message names.
const PINNED: [(&str, u32, &str); 3] = [
    ("sales", 5, "13ab49408b7a67c23b40ce42e9197c3a642057ca245489d6374c37453c0803f0"),
    ("service", 5, "5cc4e2d96fee413db12fa01ca446c0176f423f4900cddf3843d348fd554f3b08"),
    ("customer360", 1, "ec8b0362f0064c92b8b287447e286a59bc8ea1ab4027fe38396b3398a0f39f7b"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_fold_needs_another_version() {
    async fn now<M: ReadModel + Clone>(url: &str, model: M) -> (&'static str, u32, String) {
        let (name, version) = (model.name(), model.fold_version());
        let mut direct = Direct::open(url, model, NAMESPACE).await.expect("a fresh database");
        let (digest, _) = fold(&mut direct, batches(history(2_026, 400), 1), 0, &Rows::default()).await;
        (name, version, digest)
    }
    let url = test_kit::postgres().await;
    let told = [now(&url, Sales).await, now(&url, Service).await, now(&url, Customer360::new(NAMESPACE)).await];
    assert_eq!(told.each_ref().map(|(name, version, digest)| (*name, *version, digest.as_str())), PINNED);
}
