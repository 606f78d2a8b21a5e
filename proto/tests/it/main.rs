//! The tests of the contract.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod catalogue;
mod example_events;
mod faults;
mod golden;
mod round_trip;
mod schemas;
mod wire;
