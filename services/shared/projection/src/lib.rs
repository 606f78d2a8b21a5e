//! The runtime every read model runs on: it takes the log's records, folds them in batches into a generation's tables
//! and commits rows and checkpoint in one transaction, so that each event counts exactly once whatever is killed when.
//!
//! The path of one event:
//!
//! ```text
//! Kafka -> event_log::Reader -> decode -> reduce copies -> ReadModel::apply -> checkpoint -> COMMIT
//!          (own thread)         (feed)    (batch)          (fold: three modes) (same transaction)
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | [`model`] | what a read model is: its schema, its views, `apply` |
//! | [`batch`] | one copy of each event id in a batch |
//! | [`copy`] | binary COPY |
//! | [`facts`], [`bounded`] | keeping the facts of bounded entities (orders, cases) and deriving their rows again |

pub mod batch;
pub mod bounded;
pub mod copy;
pub mod facts;
pub mod model;

pub use batch::Batch;
pub use model::{ApplyError, BatchTx, Event, Mode, ReadModel};
