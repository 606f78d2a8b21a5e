//! Reading and decoding ahead of the fold: while one batch commits, the next is being decoded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::position::Offsets;
use event_log::{Log, ReadError, Reader, Topic};
use service_kit::messaging;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::model::ReadModel;
use crate::unit::Decoded;

/// Records decoded at once; after them other tasks get their turn.
const CHUNK_RECORDS_MAX: usize = 1000;
const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;
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
        let open = if is_urgent { Reader::open } else { Reader::open_unhurried };
        let reader = open(log, Topic::Log, from)?;
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let mut task = JoinSet::new();
        task.spawn(decode(Arc::clone(model), reader, log.clone(), sender));
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
) {
    let decoded = |record| Decoded::new(record, log.namespace(), |brief| model.needs(brief));
    loop {
        let asked = Instant::now();
        let chunk = match reader.next(CHUNK_RECORDS_MAX, CHUNK_BYTES_MAX, WAIT).await {
            Ok(fetched) if fetched.is_empty() => continue,
            Ok(fetched) => {
                let partitions = fetched.records.iter().map(|record| record.partition);
                messaging::received(log.topic(Topic::Log), partitions, asked.elapsed());
                Ok(Taken { decoded: fetched.records.into_iter().map(decoded).collect(), at_end: fetched.at_end })
            }
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if sender.send(chunk).await.is_err() || failed {
            return;
        }
    }
}
