//! System tests: what only shows when everything runs together, and the oracle that the read models are held against.
//!
//! | module | responsibility |
//! |---|---|
//! | [`history`] | random histories from a seed |
//! | [`oracle`] | the read models computed naively from the whole set, to hold the projectors against |
//! | [`stack`] | the whole product as its users start it, spoken to over HTTP, killed piece by piece |

pub mod history;
pub mod oracle;
pub mod stack;
