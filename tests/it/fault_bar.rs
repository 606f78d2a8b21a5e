//! The fault bar, one round: everything that can go wrong does, once, while events come in; nothing acknowledged is lost,
//! nothing is counted twice, and every table is what an independent fold of the log comes to. `make faults` goes on.

use system_tests::faults::{Fault, Round, run};

/// Another seed is another order of faults, other events and other choices.
const SEED: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn one_round() {
    let round = Round { seed: SEED, faults: Fault::all() };
    let figures = Box::pin(run(&round, |line| println!("{line}"))).await;
    println!("{figures}");
    assert!(figures.is_clean(), "seed {SEED}:\n{figures}");
    let injected = round.faults.len() - figures.skipped.len();
    assert!(figures.injected >= injected as u64 && figures.acknowledged > 1_000, "{figures}");
}
