//! The log on a real Kafka.

mod appending;
mod forwarding;
mod opening;
mod partitions;
mod reading;
mod setup;
