//! System tests: what only shows when everything runs together, and the oracle that the read models are held against.
//!
//! | module | responsibility |
//! |---|---|
//! | [`history`] | random histories from a seed |

pub mod history;
