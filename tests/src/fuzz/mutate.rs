use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// No variation is longer: what is read in pieces of 64 KiB is met, and nothing takes long.
const BYTES_MAX: usize = 80 * 1024;
/// A byte or a token that is written many times in a row: so often that what follows a nesting by calling itself is met.
const REPEATED_MAX: usize = 40_000;
/// Changes of one variation.
const CHANGES_MAX: usize = 4;
/// Bytes that numbers and texts change at.
const EDGES: [u8; 10] = [0, 1, b'\n', b'"', b'0', b'9', 0x7f, 0x80, 0xfe, 0xff];

/// Variations of given bytes, the same ones from the same seed.
#[derive(Debug)]
pub struct Mutator {
    random: StdRng,
    tokens: &'static [&'static str],
}

impl Mutator {
    /// `tokens`: texts to be strewn in.
    pub fn new(seed: u64, tokens: &'static [&'static str]) -> Self {
        Self { random: StdRng::seed_from_u64(seed), tokens }
    }

    /// A variation of one of these, which are not none.
    pub fn variation(&mut self, of: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = of.choose(&mut self.random).cloned().unwrap_or_default();
        for _ in 0..self.random.random_range(1..=CHANGES_MAX) {
            self.change(&mut bytes, of);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, of: &[Vec<u8>]) {
        let at = self.random.random_range(0..=bytes.len());
        match self.random.random_range(0..9) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.random.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *EDGES.choose(&mut self.random).unwrap_or(&0);
                }
            }
            2 => bytes.truncate(at),
            3 => {
                let end = self.random.random_range(at..=bytes.len().min(at + 32));
                bytes.drain(at..end);
            }
            4 => bytes.insert(at, self.random.random()),
            // A stretch of itself once more.
            5 => {
                let end = self.random.random_range(at..=bytes.len().min(at + 64));
                let again = bytes[at..end].to_vec();
                insert(bytes, at, &again);
            }
            // The end of another one behind its own beginning.
            6 => {
                let other = of.choose(&mut self.random).map_or(&[][..], Vec::as_slice);
                let from = self.random.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            7 => {
                let token = self.tokens.choose(&mut self.random).unwrap_or(&"");
                insert(bytes, at, token.as_bytes());
            }
            _ => self.repeat(bytes, at),
        }
    }

    /// Rarely many times: most of what is found, is found by small changes.
    fn repeat(&mut self, bytes: &mut Vec<u8>, at: usize) {
        let times = if self.random.random_ratio(1, 50) { REPEATED_MAX } else { 40 };
        let mut unit = self.tokens.choose(&mut self.random).unwrap_or(&"").as_bytes();
        if let (Some(byte), true) = (bytes.get(at..=at), self.random.random()) {
            unit = byte;
        }
        let times = self.random.random_range(1..=times).min(BYTES_MAX / unit.len().max(1));
        let many = unit.repeat(times);
        insert(bytes, at, &many);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}
