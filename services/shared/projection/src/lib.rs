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
//! | [`backbone`] | the `backbone` schema and its migrations, roles |
//! | [`generation`] | a model's tables as a generation, its definition, its stable views |
//! | [`positions`] | how far the live generations have come; waiting for a position |
//! | [`digest`] | one digest a view and one for the model |
//! | [`direct`] | folding events without a log: property tests, oracles |
//! | [`database`] | connections, and what PostgreSQL's errors ask of us |

pub mod backbone;
pub mod batch;
pub mod bounded;
mod checkpoint;
pub mod copy;
pub mod database;
mod dead_letters;
pub mod digest;
pub mod direct;
pub mod facts;
mod fold;
pub mod generation;
pub mod metrics;
pub mod model;
pub mod positions;
mod unit;

pub use batch::Batch;
pub use direct::Direct;
pub use generation::Generation;
pub use model::{ApplyError, BatchTx, Event, Mode, ReadModel};
