//! Reads a request's body within its limits: length, time, and the bytes that all requests together may hold.
//!
//! A client that writes while its connection is closed sees a broken pipe and not why: what is left of a body that is
//! refused is read and thrown away first, within limits of its own.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::refusal::Refusal;

/// Limits of reading bodies. Cheap to clone; clones share the budget.
#[derive(Clone, Debug)]
pub(crate) struct BodyReader {
    bytes_max: usize,
    timeout: Duration,
    /// One permit a byte. Bytes are charged as they arrive: a sender that only announces a long body holds nothing.
    budget: Arc<Semaphore>,
}

/// A body and its share of the budget, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    charge: Option<OwnedSemaphorePermit>,
}

/// What an event costs beside its own bytes: its record, its result, its share of the answer. Without it a short body
/// of many tiny events would hold far more memory than it was charged for.
const EVENT_BYTES: usize = 1024;

/// What is thrown away of a refused body at most, and for how long. A sender of more finds its connection closed.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

impl BodyReader {
    /// `bytes_max` and `events_max`: of one body. `in_flight_bytes_max`: of all being worked on, at least what one needs.
    /// `timeout`: from a request's headers to the end of its body.
    pub(crate) fn new(bytes_max: usize, events_max: usize, in_flight_bytes_max: usize, timeout: Duration) -> Self {
        let one = bytes_max.saturating_add(events_max.saturating_mul(EVENT_BYTES));
        let budget = in_flight_bytes_max.max(one).min(Semaphore::MAX_PERMITS);
        Self { bytes_max, timeout, budget: Arc::new(Semaphore::new(budget)) }
    }

    /// Reads a body whole. `announced`: its Content-Length, if it has one.
    pub(crate) async fn read(&self, body: &mut Body, announced: Option<usize>) -> Result<ReadBody, Refusal> {
        if announced.is_some_and(|length| length > self.bytes_max) {
            return Err(Refusal::TooLong { bytes_max: self.bytes_max });
        }
        match tokio::time::timeout(self.timeout, self.collect(body)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::TooSlow { seconds: self.timeout.as_secs() }),
        }
    }

    /// Throws away what is left of a body.
    pub(crate) async fn discard(body: &mut Body) {
        let all = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > DISCARD_BYTES_MAX {
                    break;
                }
            }
        };
        // Whether it ended in time or not, an answer follows.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, all).await;
    }

    async fn collect(&self, body: &mut Body) -> Result<ReadBody, Refusal> {
        let mut charge: Option<OwnedSemaphorePermit> = None;
        // Most bodies come in one piece, which is then taken as it is.
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Refusal::Incomplete)?.into_data() else { continue };
            let length = first.len().max(joined.len()) + data.len();
            if length > self.bytes_max {
                return Err(Refusal::TooLong { bytes_max: self.bytes_max });
            }
            self.charge(&mut charge, data.len())?;
            if length == data.len() {
                first = data;
                continue;
            }
            if joined.is_empty() {
                // Not for what is only announced: that would take memory which is charged to nobody.
                joined.reserve(length);
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        let bytes = if joined.is_empty() { first } else { joined.freeze() };
        Ok(ReadBody { bytes, charge })
    }

    /// Charges a body for the events found in it.
    pub(crate) fn charge_events(&self, body: &mut ReadBody, events: usize) -> Result<(), Refusal> {
        self.charge(&mut body.charge, events.saturating_mul(EVENT_BYTES))
    }

    fn charge(&self, charge: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Refusal> {
        let bytes = u32::try_from(bytes).map_err(|_| Refusal::TooLong { bytes_max: self.bytes_max })?;
        let more = Arc::clone(&self.budget).try_acquire_many_owned(bytes).map_err(|_| Refusal::Busy)?;
        match charge {
            Some(charge) => charge.merge(more),
            None => *charge = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn reader() -> BodyReader {
        BodyReader::new(8, 0, 10, Duration::from_millis(50))
    }

    fn chunks(chunks: &[&'static str]) -> Body {
        Body::from_stream(stream::iter(
            chunks.iter().map(|c| Ok::<_, std::io::Error>(Bytes::from_static(c.as_bytes()))).collect::<Vec<_>>(),
        ))
    }

    #[tokio::test]
    async fn pieces_are_joined_within_the_limit() {
        let read = reader().read(&mut chunks(&["ab", "", "cd", "efgh"]), None).await.expect("a body");
        assert_eq!(read.bytes, "abcdefgh");
        assert_eq!(
            reader().read(&mut chunks(&["abcd", "efghi"]), None).await.expect_err("long"),
            Refusal::TooLong { bytes_max: 8 }
        );
        assert_eq!(
            reader().read(&mut Body::empty(), Some(9)).await.expect_err("long"),
            Refusal::TooLong { bytes_max: 8 }
        );
    }

    #[tokio::test]
    async fn the_budget_is_shared_and_given_back() {
        let reader = reader();
        let held = reader.read(&mut chunks(&["abc", "def"]), Some(6)).await.expect("a body");
        assert_eq!(reader.read(&mut chunks(&["abc", "de"]), None).await.expect_err("over"), Refusal::Busy);
        drop(held);
        assert_eq!(reader.read(&mut chunks(&["abc", "de"]), None).await.expect("a body").bytes, "abcde");
    }

    #[tokio::test]
    async fn events_are_charged_beside_their_bytes() {
        let reader = BodyReader::new(8, 2, 0, Duration::from_millis(50));
        let mut body = reader.read(&mut chunks(&["[1,2]"]), None).await.expect("a body");
        reader.charge_events(&mut body, 2).expect("one request always fits");
        let mut other = reader.read(&mut chunks(&["[1]"]), None).await.expect("a body");
        assert_eq!(reader.charge_events(&mut other, 1).expect_err("over"), Refusal::Busy);
        drop(body);
        reader.charge_events(&mut other, 1).expect("there is room again");
    }

    #[tokio::test]
    async fn a_pause_ends_it() {
        let mut body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        assert_eq!(reader().read(&mut body, Some(4)).await.expect_err("slow"), Refusal::TooSlow { seconds: 0 });
    }
}
