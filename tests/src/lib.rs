//! System tests: what only shows when everything runs together, and the oracle that the read models are held against.
//!
//! | module | responsibility |
//! |---|---|
//! | [`compare`] | a model's tables held against the oracle, row by row |
//! | [`faults`] | the fault bar: what is done to a running stack, a record of what it acknowledged, and a judge |
//! | [`fuzz`] | every parser that meets outside bytes, and bytes for them |
//! | [`history`] | random histories from a seed |
//! | [`load`] | a load that knows what was acknowledged, and the check that each is there exactly once |
//! | [`oracle`] | the read models computed naively from the whole set, to hold the projectors against |
//! | [`report`] | a report read whole by each of the public ways to it |
//! | [`stack`] | the whole product as its users start it, spoken to over HTTP, killed piece by piece |

pub mod compare;
pub mod faults;
pub mod fuzz;
pub mod history;
pub mod load;
pub mod oracle;
pub mod report;
pub mod stack;
