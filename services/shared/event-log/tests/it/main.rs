//! The log on a real Kafka.

mod appending;
mod opening;
mod reading;
mod setup;
