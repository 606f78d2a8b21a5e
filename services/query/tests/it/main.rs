//! The query service on a real Kafka and PostgreSQL, with the real projectors folding beside it.

mod access_paths;
mod asking;
mod by_customer;
mod identities;
mod outages;
mod paging;
mod past;
mod plans;
mod positions;
mod reports;
mod search;
mod statements;
mod views;
mod world;
