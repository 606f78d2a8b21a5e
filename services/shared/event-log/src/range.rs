//! A stretch of the log, once over.

use std::time::{Duration, Instant};

use domain::position::Offsets;

use crate::error::LogError;
use crate::log::{Log, Topic};
use crate::reader::{ReadError, Reader};
use crate::record::Record;

const RECORDS_MAX: usize = 1000;
const BYTES_MAX: usize = 4 * 1024 * 1024;
const WAIT: Duration = Duration::from_millis(500);
/// Without anything new for this long, a range that has an end is given up: the client itself never does.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// Where to begin.
#[derive(Clone, Debug)]
pub enum Start {
    /// With the first record still there.
    Beginning,
    /// With the first one appended at or after this time, milliseconds since 1970.
    Time(i64),
    /// At these offsets; partitions not named are left out.
    Offsets(Offsets),
}

/// Reads from a start to the log's end as it was when the reader was opened, or on and on.
pub struct RangeReader {
    reader: Option<Reader>,
    /// Partition -> end, for those not read to their end yet; not used when following.
    left: Offsets,
    follow: bool,
    stalled_after: Duration,
}

/// Why a range could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// The log could not be asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Reading broke off.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl RangeReader {
    /// Opens a range of a topic. `follow`: go on beyond the end, for ever.
    ///
    /// # Errors
    /// The log does not answer, or the client refuses its configuration.
    pub async fn open(log: &Log, topic: Topic, start: Start, follow: bool) -> Result<Self, RangeError> {
        let marks = log.watermarks(topic).await?;
        let from: Offsets = match start {
            Start::Beginning => marks.iter().map(|(p, w)| (*p, w.start)).collect(),
            Start::Time(at_ms) => log.offsets_at(topic, at_ms).await?,
            Start::Offsets(offsets) => offsets,
        };
        let ends = marks.iter().map(|(p, w)| (*p, w.end)).collect();
        Self::to(log, topic, from, &ends, follow)
    }

    /// Opens the records of a topic from `from` to before `to`, of the partitions that both name.
    ///
    /// # Errors
    /// The client refuses its configuration.
    pub fn between(log: &Log, topic: Topic, from: Offsets, to: &Offsets) -> Result<Self, RangeError> {
        Self::to(log, topic, from, to, false)
    }

    fn to(log: &Log, topic: Topic, from: Offsets, ends: &Offsets, follow: bool) -> Result<Self, RangeError> {
        let left: Offsets =
            from.iter().filter_map(|(p, o)| ends.get(p).filter(|end| *o < **end).map(|end| (*p, *end))).collect();
        let from: Offsets =
            if follow { from } else { from.into_iter().filter(|(p, _)| left.contains_key(p)).collect() };
        let reader = if from.is_empty() { None } else { Some(Reader::open(log, topic, &from)?) };
        Ok(Self { reader, left, follow, stalled_after: STALLED_AFTER })
    }

    /// The next records, in order within each partition; `None` at the end of the range.
    ///
    /// # Errors
    /// Reading broke off, or nothing new came for a minute before the end of the range.
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, ReadError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let mut last_news = Instant::now();
        loop {
            if !self.follow && self.left.is_empty() {
                return Ok(None);
            }
            let mut fetched = reader.next(RECORDS_MAX, BYTES_MAX, WAIT).await?;
            if !self.follow {
                let left = &mut self.left;
                let open = left.len();
                fetched.records.retain(|r| left.get(&r.partition).is_some_and(|end| r.offset < *end));
                for record in &fetched.records {
                    if left.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                        left.remove(&record.partition);
                    }
                }
                // The last offsets may hold no record (control records): the end is the end all the same.
                for partition in &fetched.at_end {
                    left.remove(partition);
                }
                // Records beyond the end are no news: one partition may get them for ever while another one is dead.
                if left.len() < open {
                    last_news = Instant::now();
                } else if fetched.records.is_empty() && last_news.elapsed() >= self.stalled_after {
                    return Err(ReadError::Stalled(self.stalled_after));
                }
            }
            if !fetched.records.is_empty() {
                return Ok(Some(fetched.records));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_range_that_gets_nothing_more_is_an_error() {
        let (reader, _sender) = Reader::silent();
        let left = Offsets::from([(0, 7)]);
        let mut range = RangeReader { reader: Some(reader), left, follow: false, stalled_after: Duration::ZERO };
        let error = range.next().await.expect_err("there is more to come, and nothing comes");
        assert!(matches!(error, ReadError::Stalled(_)), "{error}");
        // Who follows the log waits as long as it takes.
        range.follow = true;
        assert!(tokio::time::timeout(WAIT * 3, range.next()).await.is_err(), "it still waits");
    }
}
