use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;

/// So many different hashes are counted in memory, some 20 MB; then they go to a temporary file.
const RECENT_MAX: usize = 400_000;

/// Bits of a run's filter for each of its hashes: one of a thousand absent hashes is looked for in vain.
const FILTER_BITS: usize = 16;
const FILTER_PROBES: u32 = 6;

const HASH_BYTES: usize = 16;
const ENTRY_BYTES: usize = HASH_BYTES + 4;

/// Counts how often each hash has come, exactly: a row's ordinal among its equals. A file of any length has room: beyond
/// the recent ones a hash takes two bytes of memory, and 20 of a temporary file that is gone with the process.
pub(super) struct Ordinals {
    recent_max: usize,
    recent: HashMap<[u8; HASH_BYTES], u32>,
    /// Older counts, the newest run last.
    runs: Vec<Run>,
}

/// Counts that were put away, in order of their hashes.
struct Run {
    file: File,
    entries: u64,
    filter: Filter,
}

impl Ordinals {
    pub(super) fn new() -> Self {
        Self::of(RECENT_MAX)
    }

    fn of(recent_max: usize) -> Self {
        Self { recent_max, recent: HashMap::new(), runs: Vec::new() }
    }

    /// How often the hash has come before.
    ///
    /// # Errors
    /// The temporary file cannot be written or read.
    pub(super) fn next(&mut self, hash: [u8; HASH_BYTES]) -> io::Result<u32> {
        let before = match self.recent.get(&hash) {
            Some(count) => *count,
            None => self.put_away(&hash)?,
        };
        self.recent.insert(hash, before.saturating_add(1));
        if self.recent.len() >= self.recent_max {
            self.runs.push(Run::write(&mut self.recent)?);
        }
        Ok(before)
    }

    fn put_away(&self, hash: &[u8; HASH_BYTES]) -> io::Result<u32> {
        for run in self.runs.iter().rev() {
            if let Some(count) = run.find(hash)? {
                return Ok(count);
            }
        }
        Ok(0)
    }
}

impl Run {
    fn write(counts: &mut HashMap<[u8; HASH_BYTES], u32>) -> io::Result<Self> {
        let mut entries: Vec<_> = counts.drain().collect();
        entries.sort_unstable();
        let mut filter = Filter::new(entries.len());
        // Without a name: whatever ends the process, nothing is left.
        let mut file = BufWriter::new(tempfile::tempfile()?);
        for (hash, count) in &entries {
            filter.insert(hash);
            file.write_all(hash)?;
            file.write_all(&count.to_be_bytes())?;
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Self { file, entries: entries.len() as u64, filter })
    }

    fn find(&self, hash: &[u8; HASH_BYTES]) -> io::Result<Option<u32>> {
        if !self.filter.may_have(hash) {
            return Ok(None);
        }
        let (mut from, mut to) = (0, self.entries);
        while from < to {
            let middle = from + (to - from) / 2;
            let mut entry = [0; ENTRY_BYTES];
            self.file.read_exact_at(&mut entry, middle * ENTRY_BYTES as u64)?;
            let (found, count) = entry.split_at(HASH_BYTES);
            match found.cmp(&hash[..]) {
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
                std::cmp::Ordering::Equal => {
                    return Ok(count.try_into().ok().map(u32::from_be_bytes));
                }
            }
        }
        Ok(None)
    }
}

/// Says of a hash that it is not there, or that it may be.
struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    fn new(hashes: usize) -> Self {
        Self { bits: vec![0; (hashes * FILTER_BITS).div_ceil(64).max(1)] }
    }

    fn insert(&mut self, hash: &[u8; HASH_BYTES]) {
        for (word, bit) in Self::places(hash, self.bits.len()) {
            self.bits[word] |= bit;
        }
    }

    fn may_have(&self, hash: &[u8; HASH_BYTES]) -> bool {
        Self::places(hash, self.bits.len()).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// Two halves of a good hash make as many as are wanted.
    fn places(hash: &[u8; HASH_BYTES], words: usize) -> impl Iterator<Item = (usize, u64)> {
        let whole = u128::from_be_bytes(*hash);
        let (first, step) = ((whole >> 64) as u64, whole as u64 | 1);
        (0..FILTER_PROBES).map(move |probe| {
            let place = first.wrapping_add(step.wrapping_mul(u64::from(probe))) % (words as u64 * 64);
            ((place / 64) as usize, 1 << (place % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::import::rows::first_half;

    #[test]
    fn counts_are_exact_however_many_there_are() {
        // Few in memory: most of them are in runs, and some in several.
        let mut ordinals = Ordinals::of(50);
        let mut expected: HashMap<u32, u32> = HashMap::new();
        for n in 0..5_000_u32 {
            // Some come once, some often, some after a long while.
            let value = if n % 3 == 0 { n % 40 } else { n % 1_700 };
            let hash = first_half(Sha256::new_with_prefix(value.to_be_bytes()));
            let count = expected.entry(value).or_default();
            assert_eq!(ordinals.next(hash).expect("a temporary file"), *count, "{value}");
            *count += 1;
            assert!(ordinals.recent.len() <= 50);
        }
        assert!(ordinals.runs.len() > 10);
    }

    #[test]
    fn memory_hardly_grows() {
        let mut ordinals = Ordinals::of(1_000);
        for n in 0..20_000_u32 {
            ordinals.next(first_half(Sha256::new_with_prefix(n.to_be_bytes()))).expect("a temporary file");
        }
        let bytes: usize = ordinals.runs.iter().map(|run| run.filter.bits.len() * 8).sum();
        assert!(bytes <= 20_000 * FILTER_BITS / 8 + 8 * ordinals.runs.len(), "{bytes}");
        let in_vain = (20_000..40_000_u32)
            .filter(|n| ordinals.runs[0].filter.may_have(&first_half(Sha256::new_with_prefix(n.to_be_bytes()))))
            .count();
        assert!(in_vain < 200, "{in_vain} of 20,000 were looked for in vain");
    }
}
