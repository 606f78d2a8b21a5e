//! Whatever the order, the repetitions and the batches: the same digest, and the oracle's rows.

use projector_customer360::Customer360;

use crate::history::{Dice, batches, history};
use crate::oracle::{asked, expected};
use crate::world::{World, namespace, small_limits};

/// How many histories are tried; `RAPPORT_TEST_HISTORIES` and `RAPPORT_TEST_SEED` choose others.
const HISTORIES: u64 = 60;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
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
            for (name, rows) in &must {
                let (missing, extra): (Vec<_>, Vec<_>) =
                    (rows.difference(&said[name]).collect(), said[name].difference(rows).collect());
                assert!(
                    missing.is_empty() && extra.is_empty(),
                    "seed {seed} round {round}: {name} differs\nmissing {missing:#?}\nextra {extra:#?}"
                );
            }
            digests.push(world.digest().await);
        }
        assert!(digests.windows(2).all(|d| d[0] == d[1]), "seed {seed}: digests differ {digests:#?}");
    }
}

#[tokio::test]
async fn any_order_repetition_and_batching_gives_the_oracles_rows() {
    let from = number("RAPPORT_TEST_SEED", 0);
    check(from..from + number("RAPPORT_TEST_HISTORIES", HISTORIES)).await;
}
