//! Decides about one event: can it be appended as it is, and as what record.

use domain::{
    identifier::Normalizer,
    receipt::{self, Warning},
};
use event_log::NewRecord;
use prost::Message;
use rapport_proto::{
    json::{self, Fault},
    v1,
};
use serde::Deserialize;

/// Code of an event longer than the limit.
pub(crate) const TOO_LARGE: &str = "too_large";

/// At most so many faults of one event are told: a batch of broken events must not grow a hundredfold in memory.
pub(crate) const FAULTS_MAX: usize = 20;

/// What every event is held to.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) normalizer: Normalizer,
    pub(crate) limits: receipt::Limits,
    /// An event's JSON may be this long.
    pub(crate) event_bytes_max: usize,
}

/// One event, judged.
#[derive(Debug)]
pub(crate) struct Judged {
    /// Its `id`, where it could be read.
    pub(crate) id: Option<String>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) verdict: Verdict,
}

/// What to do with it.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Append this record to the log.
    Append(NewRecord),
    /// It can never be accepted as it is.
    Reject(Vec<Fault>),
}

impl Judge {
    /// Reads, normalizes and checks the event in `json`, received at `received_at` (microseconds UTC).
    pub(crate) fn judge(&self, json: &str, received_at: i64) -> Judged {
        if json.len() > self.event_bytes_max {
            return reject(json, vec![too_large(json.len(), self.event_bytes_max)]);
        }
        let mut wire = match json::read::<v1::Interaction>(json.as_bytes()) {
            Ok(wire) => wire,
            Err(faults) => return reject(json, faults),
        };
        // Bounds come first: an identifier is normalized at most once, and never one that nobody will see.
        let faults = receipt::check(&wire, received_at, &self.limits);
        if !faults.is_empty() {
            return Judged { id: wire.id, warnings: Vec::new(), verdict: Verdict::Reject(faults) };
        }
        let warnings = receipt::normalize(&mut wire, &self.normalizer);
        let record = NewRecord::of(&wire, wire.encode_to_vec(), received_at);
        Judged { id: wire.id, warnings, verdict: Verdict::Append(record) }
    }
}

/// The fault of an event that is too long.
pub(crate) fn too_large(bytes: usize, bytes_max: usize) -> Fault {
    let detail = format!(
        "the event is {bytes} bytes long, and at most {bytes_max} are accepted; keep large content elsewhere and send its address"
    );
    Fault { code: TOO_LARGE, pointer: String::new(), detail }
}

fn reject(json: &str, mut faults: Vec<Fault>) -> Judged {
    faults.truncate(FAULTS_MAX);
    faults.shrink_to_fit();
    Judged { id: id_of(json), warnings: Vec::new(), verdict: Verdict::Reject(faults) }
}

/// The `id` of an event that could not be read, if at least that can be.
fn id_of(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    serde_json::from_str::<Named>(json).ok().map(|named| named.id).filter(|id| id.len() <= receipt::ID_BYTES_MAX)
}
