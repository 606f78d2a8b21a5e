//! The runtime on a real Kafka and a real PostgreSQL, with a model small enough to see through.

mod copy;
mod faults;
mod generations;
mod loading;
mod metrics;
mod model;
mod redrive;
mod running;
mod setup;
mod toy;
