//! Whatever the order, the repetitions and the batches: the same digest, and the oracle's rows.

use projector_customer360::Customer360;

use crate::history::{Dice, batches, history};
use crate::oracle::{Answer, asked, expected};
use crate::world::{World, namespace, small_limits};

/// How many histories are tried; `RAPPORT_TEST_HISTORIES` and `RAPPORT_TEST_SEED` choose others.
const HISTORIES: u64 = 60;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn compare(said: &Answer, must: &Answer, of: &str) {
    for (name, rows) in must {
        let missing: Vec<_> = rows.difference(&said[name]).collect();
        let extra: Vec<_> = said[name].difference(rows).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{of}: {name} differs\nmissing {missing:#?}\nextra {extra:#?}");
    }
}

/// Folds each history in three ways and holds them against each other and the oracle.
async fn check(seeds: std::ops::Range<u64>) {
    let mut short = World::small().await;
    let mut long = World::open(Customer360::new(namespace()).with_limits(small_limits()).always_resolving()).await;
    for seed in seeds {
        let records = history(seed);
        let must = expected(&records, &small_limits());
        let mut digests = Vec::new();
        for round in 0..3u64 {
            let dice = &mut Dice(seed.wrapping_mul(31).wrapping_add(round));
            let world = if round == 2 { &mut long } else { &mut short };
            world.clear().await;
            world.fold(batches(&records, dice)).await;
            let said = asked(world).await;
            compare(&said, &must, &format!("seed {seed}, round {round}"));
            digests.push(world.digest().await);
        }
        assert!(digests.windows(2).all(|d| d[0] == d[1]), "seed {seed}: digests differ {digests:#?}");
    }
}

/// Folds each history from two connections at once, as two workers with a partition each would.
#[tokio::test]
async fn two_workers_at_once_give_the_oracles_rows() {
    let url = test_kit::postgres().await;
    let model = || Customer360::new(namespace()).with_limits(small_limits());
    let mut one = World::at(&url, model()).await;
    let mut other = World::at(&url, model()).await;
    let from = number("RAPPORT_TEST_SEED", 0);
    for seed in from..from + number("RAPPORT_TEST_HISTORIES", HISTORIES) {
        let records = history(seed);
        one.clear().await;
        let (left, right) = records.iter().cloned().partition::<Vec<_>, _>(|record| record.partition == 0);
        let (left, right) = (batches(&left, &mut Dice(seed)), batches(&right, &mut Dice(seed + 1)));
        tokio::join!(one.fold(left), other.fold(right));
        compare(&asked(&mut one).await, &expected(&records, &small_limits()), &format!("seed {seed}, two workers"));
    }
}

#[tokio::test]
async fn any_order_repetition_and_batching_gives_the_oracles_rows() {
    let from = number("RAPPORT_TEST_SEED", 0);
    check(from..from + number("RAPPORT_TEST_HISTORIES", HISTORIES)).await;
}
