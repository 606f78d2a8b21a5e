//! The contract: what an event is, outside (a CloudEvent in JSON) and in the log (protobuf).
//!
//! ```text
//! JSON --json::read--> v1::Interaction --prost--> bytes in the log --prost--> v1::Interaction --json::write--> JSON
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | `v1` | the prost structs of `rapport/v1/*.proto` |
//! | [`json`] | reads and writes them as JSON; reports every fault of an event at once |
//! | [`catalogue`] | the event types: rank, channel, direction, fields |
//! | [`schema`] | the JSON Schema of a type |
//! | [`decimal`], [`time`] | numbers kept as digits, times kept as microseconds |
//!
//! # What comes back
//!
//! JSON read and written again is equal as JSON, with the digits of every number and the unknown fields at every
//! depth. What is put into normal form instead:
//!
//! - a key whose value is `null` is absent, where the key is a known one or an extension attribute;
//! - of two equal keys the last counts;
//! - the order of keys: known ones as in the `.proto`, unknown ones sorted;
//! - the attribute `time`: UTC, and what is finer than a microsecond is cut off towards the past;
//! - the attribute `type`: with the prefix `io.rapport.` where it is of the catalogue;
//! - `data_base64`: the standard alphabet, padded.
//!
//! So two publications of one event that differ in nothing else are the same bytes in the log.

pub mod catalogue;
pub mod decimal;
mod interaction;
pub mod json;
pub mod schema;
mod summary;
pub mod time;

/// The messages of the package `rapport.v1`.
pub mod v1 {
    #![allow(clippy::all, reason = "generated code")]
    use crate::json::checks;
    use crate::json::cx::Cx;
    use crate::json::out::{Out, Raw, ToJson};
    use crate::json::targets::{AnyJson, Decimal, Json, OpenObject, Time, Token};
    use serde::de::MapAccess;
    use std::borrow::Cow;
    include!(concat!(env!("OUT_DIR"), "/rapport.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/json.gen.rs"));
}

/// The `FileDescriptorSet` of the contract, its options included.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
