//! What tests stand on: a real Kafka and a real PostgreSQL, a wire to cut between them and a worker, and small events to send.
//!
//! The servers are started once a test process, on free ports, without flushing to disk, and end
//! with it. Every call gets a database and a topic prefix of its own, so tests run in parallel.
//! With `RAPPORT_TEST_KAFKA=host:port` and `RAPPORT_TEST_DATABASE_URL=postgres://…` (a role that may
//! create databases) they use yours instead, and leave their topics and databases there.
//!
//! Everything here panics when it cannot do its work: a test that cannot run has failed.

mod backbone;
mod event;
mod wire;

pub use backbone::{Backbone, backbone, kafka, postgres, stack_dir};
pub use event::{BASE_TIME, Event};
pub use wire::Wire;
