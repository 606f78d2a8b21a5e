//! Reading and decoding ahead of the fold: while one batch commits, the next is being decoded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::position::Offsets;
use event_log::{Log, ReadError, Reader, Topic};
use service_kit::messaging;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::background;
use crate::model::ReadModel;
use crate::unit::Decoded;

/// Records decoded at once; after them other tasks get their turn.
const CHUNK_RECORDS_MAX: usize = 1000;
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Decoded at once, and waiting for the fold, where nobody waits for it: others wait for the processor no longer than that.
const UNHURRIED_RECORDS_MAX: usize = 250;
const UNHURRIED_CHUNKS_MAX: usize = 4;
/// Bytes of records taken into one batch, about.
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Decoded chunks that wait for the fold.
const CHUNKS_MAX: usize = 6;
const WAIT: Duration = Duration::from_secs(1);

/// What one batch is made of.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) decoded: Vec<Decoded>,
    /// Partitions whose end was reached after these records.
    pub(crate) at_end: Vec<i32>,
}

impl Taken {
    /// When its last record was received, microseconds UTC.
    pub(crate) fn received_at(&self) -> Option<i64> {
        self.decoded.last().map(|d| d.record.received_at)
    }

    fn bytes(&self) -> usize {
        self.decoded.iter().map(|d| d.record.size()).sum()
    }
}

/// The decoded records of some partitions, from some offsets on.
pub(crate) struct Feed {
    chunks: mpsc::Receiver<Result<Taken, ReadError>>,
    /// A failure that came behind records that were taken first.
    failed: Option<ReadError>,
    /// Ends its task when it is dropped.
    _task: JoinSet<()>,
}

impl Feed {
    /// `is_urgent`: somebody waits for what is folded.
    pub(crate) fn open<M: ReadModel>(
        model: &Arc<M>,
        log: &Log,
        from: &Offsets,
        is_urgent: bool,
    ) -> Result<Self, ReadError> {
        let (reader, chunks_max) = match is_urgent {
            true => (Reader::open(log, Topic::Log, from)?, CHUNKS_MAX),
            false => (Reader::open_unhurried(log, Topic::Log, from)?, UNHURRIED_CHUNKS_MAX),
        };
        let (sender, chunks) = mpsc::channel(chunks_max);
        let mut task = JoinSet::new();
        task.spawn(decode(Arc::clone(model), reader, log.clone(), sender, is_urgent));
        Ok(Self { chunks, failed: None, _task: task })
    }

    /// Everything decoded by now, up to about `events_max`; waits for the first. Safe to cancel.
    pub(crate) async fn take(&mut self, events_max: usize) -> Result<Taken, ReadError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(first) = self.chunks.recv().await else {
            return Err(ReadError::Fatal("decoding has ended".into()));
        };
        let mut taken = first?;
        let mut bytes = taken.bytes();
        while taken.decoded.len() < events_max && bytes < BATCH_BYTES_MAX {
            match self.chunks.try_recv() {
                Ok(Ok(more)) => {
                    bytes += more.bytes();
                    taken.at_end.retain(|p| !more.decoded.iter().any(|d| d.record.partition == *p));
                    taken.at_end.extend(more.at_end);
                    taken.decoded.extend(more.decoded);
                }
                Ok(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(taken)
    }
}

async fn decode<M: ReadModel>(
    model: Arc<M>,
    mut reader: Reader,
    log: Log,
    sender: mpsc::Sender<Result<Taken, ReadError>>,
    is_urgent: bool,
) {
    let records_max = if is_urgent { CHUNK_RECORDS_MAX } else { UNHURRIED_RECORDS_MAX };
    let decoded = |record| Decoded::new(record, log.namespace(), |brief| model.needs(brief));
    loop {
        let asked = Instant::now();
        let fetched = match reader.next(records_max, CHUNK_BYTES_MAX, WAIT).await {
            Ok(fetched) if fetched.is_empty() => continue,
            Ok(fetched) => fetched,
            Err(error) => {
                // Nobody may be listening any more.
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        let partitions = fetched.records.iter().map(|record| record.partition);
        messaging::received(log.topic(Topic::Log), partitions, asked.elapsed());
        let began = Instant::now();
        let decoded = fetched.records.into_iter().map(decoded).collect();
        let worked = began.elapsed();
        if sender.send(Ok(Taken { decoded, at_end: fetched.at_end })).await.is_err() {
            return;
        }
        if !is_urgent {
            background::rest(worked).await;
        }
    }
}
