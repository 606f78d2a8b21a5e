//! The collector against a real Kafka: what is answered, what is appended, what is kept, and what happens when senders
//! or Kafka misbehave.

mod answers;
mod connections;
mod limits;
mod outage;
mod support;
