//! The files that commands read, from any bytes: for fuzzing, and for nothing else.

pub use crate::import::fuzz::{csv, mail, mapping, ndjson};
pub use crate::ops::fuzz::resume;
