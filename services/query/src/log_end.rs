//! Where the log ends: asked of Kafka at most every half second, for all requests together. Kafka being away makes lag
//! unknown and nothing else.

use std::{collections::BTreeMap, time::Duration};

use domain::{Namespace, position::Offsets};
use event_log::{Log, LogOptions};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// An answer is given again for this long.
const FRESH: Duration = Duration::from_millis(500);
/// A failure is: so that a Kafka that is away is not asked by every request.
const FAILURE_FRESH: Duration = Duration::from_secs(2);
/// Kafka has this long to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// The log's ends, or a sentence that says why they are not known.
pub(crate) type Ends = Result<Offsets, String>;

/// The shared cache.
pub(crate) struct LogEnd {
    options: LogOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    log: Option<Log>,
    last: Option<(Instant, Ends)>,
    /// Of a log, it never changes.
    namespace: Option<Namespace>,
}

impl LogEnd {
    pub(crate) fn new(options: LogOptions) -> Self {
        Self { options: LogOptions { open_timeout: Duration::ZERO, ..options }, state: Mutex::default() }
    }

    /// The offset that the next record of each partition will get.
    pub(crate) async fn ends(&self) -> Ends {
        let mut state = self.state.lock().await;
        if let Some((at, ends)) = &state.last {
            let fresh = if ends.is_ok() { FRESH } else { FAILURE_FRESH };
            if at.elapsed() < fresh {
                return ends.clone();
            }
        }
        let ends = timeout(ASK_TIMEOUT, self.ask(&mut state.log)).await.unwrap_or_else(|_| Err(late()));
        if let Err(reason) = &ends {
            tracing::warn!(reason = %reason, "the log's end is unknown");
        }
        state.last = Some((Instant::now(), ends.clone()));
        ends
    }

    /// When the records at these offsets were received, microseconds UTC. One request at a time asks.
    pub(crate) async fn received_at(&self, offsets: &Offsets) -> Result<BTreeMap<i32, i64>, String> {
        let state = self.state.lock().await;
        let Some(log) = &state.log else { return Err("the log is not open".into()) };
        match timeout(ASK_TIMEOUT, log.read_at(offsets)).await {
            Ok(Ok(records)) => {
                Ok(records.into_iter().map(|(partition, record)| (partition, record.received_at)).collect())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(late()),
        }
    }

    /// The log's secret namespace of subject ids.
    pub(crate) async fn namespace(&self) -> Result<Namespace, String> {
        let mut state = self.state.lock().await;
        if let Some(namespace) = state.namespace {
            return Ok(namespace);
        }
        timeout(ASK_TIMEOUT, self.ask(&mut state.log)).await.unwrap_or_else(|_| Err(late()))?;
        state.namespace = state.log.as_ref().map(|log| *log.namespace());
        state.namespace.ok_or_else(late)
    }

    async fn ask(&self, log: &mut Option<Log>) -> Ends {
        let open = match log.take() {
            Some(open) => open,
            None => Log::open(&self.options).await.map_err(|e| e.to_string())?,
        };
        let ends = open.ends().await.map_err(|e| e.to_string())?;
        *log = Some(open);
        Ok(ends)
    }
}

fn late() -> String {
    format!("Kafka did not answer within {} s", ASK_TIMEOUT.as_secs())
}
