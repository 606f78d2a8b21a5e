//! Chance: the same numbers from the same seed, on every machine and in every version.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A seeded generator. Whole numbers only: what `powf` or `ln` give differs from machine to machine.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// Stream number `stream` of a seed: streams are independent of each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: i64, most: i64) -> i64 {
        self.0.random_range(least..=most)
    }

    /// True so many times in a thousand.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        self.0.random_range(0..1000) < per_mille
    }

    /// One of them, each as likely as the other. There must be one.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.0.random_range(0..items.len() as u64) as usize]
    }

    /// One of them, as likely as its weight says. The weights must not all be zero.
    pub(super) fn weighted<'a, T>(&mut self, items: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
        let mut left = self.0.random_range(0..items.iter().map(&weight).sum());
        let chosen = items.iter().find(|item| match left.checked_sub(weight(item)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        chosen.expect("the number drawn is below the sum of the weights")
    }

    /// Mostly 1, now and then far more, at most `most`: each doubling is `per_mille` as likely as the one before it.
    pub(super) fn heavy_tail(&mut self, per_mille: u32, most: i64) -> i64 {
        let mut high = 1;
        while high < most && self.chance(per_mille) {
            high *= 2;
        }
        self.between(high / 2 + 1, high).min(most)
    }

    /// Sixteen hexadecimal digits.
    pub(super) fn token(&mut self) -> String {
        format!("{:016x}", self.0.random::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_their_own_and_the_same_again() {
        let draw = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..8).map(|_| dice.between(0, 1 << 40)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn weights_and_tails() {
        let mut dice = Dice::new(1, 0);
        let items = [("often", 90), ("never", 0), ("seldom", 10)];
        let drawn: Vec<&str> = (0..1000).map(|_| dice.weighted(&items, |item| item.1).0).collect();
        let count = |name| drawn.iter().filter(|n| **n == name).count();
        assert!((850..950).contains(&count("often")) && count("never") == 0, "{}", count("often"));
        let tail: Vec<i64> = (0..10_000).map(|_| dice.heavy_tail(400, 64)).collect();
        let (ones, large) = (tail.iter().filter(|n| **n == 1).count(), tail.iter().filter(|n| **n > 16).count());
        assert!((5500..6500).contains(&ones) && (40..250).contains(&large), "{ones} {large}");
        assert!(tail.iter().all(|n| (1..=64).contains(n)));
    }
}
