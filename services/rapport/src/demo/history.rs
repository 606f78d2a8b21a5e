//! The events of a demo, one after the other: tale by tale, and within a tale by time. Nothing is kept but the tale that
//! is being told and how many phone numbers have been given out, so that ten million events need no more memory than a
//! thousand. The first N events are the same whatever comes after them: a larger demo extends a smaller one.

use std::collections::VecDeque;

use super::lives;
use super::people::Numbers;
use super::tale::Tale;

/// An endless iterator over the events of a seed, each a CloudEvent in JSON.
pub(super) struct History {
    seed: u64,
    next: u64,
    numbers: Numbers,
    told: VecDeque<Vec<u8>>,
}

impl History {
    /// From the first event on.
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, next: 0, numbers: Numbers::default(), told: VecDeque::new() }
    }
}

impl Iterator for History {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(event) = self.told.pop_front() {
                return Some(event);
            }
            let mut tale = Tale::new(self.seed, self.next, &mut self.numbers);
            lives::tell(&mut tale);
            self.told = tale.finish().into();
            self.next += 1;
        }
    }
}
