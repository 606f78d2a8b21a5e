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
//! | [`projector`], `attend` | starting and stopping the workers of one model and of each of its generations; what stops them for good |
//! | `worker`, `lease` | one worker: its connection, its leases, its batches; heartbeats, taking over |
//! | `load` | the log from its beginning, into the empty tables of a new generation |
//! | `background` | how a generation that is built leaves room to the live ones |
//! | `feed`, `unit` | reading and decoding ahead; a stretch of records on its way into one transaction |
//! | `fold`, `checkpoint`, `dead_letters` | one transaction: modes, attempts, fencing, what is set aside |
//! | [`status`], [`metrics`] | what a projector knows about itself |
//! | [`backbone`] | the `backbone` schema and its migrations, roles |
//! | [`generation`] | a model's tables as a generation, its definition, its stable views |
//! | [`swap`] | making another generation the live one |
//! | [`scratch`] | a few events folded on their own, in tables that are thrown away |
//! | [`redrive`] | folding dead letters again into the generation they belong to |
//! | [`repair`] | the rows of one entity or one customer, held against the log and put right |
//! | [`compare`] | two generations at one position: digests, and the rows that differ |
//! | [`positions`] | how far the live generations have come; waiting for a position |
//! | `moments` | what was committed at which time |
//! | [`digest`] | one digest a view and one for the model |
//! | [`direct`] | folding events without a log: property tests, oracles |
//! | [`failpoint`] | steps at which a test has a process kill or stop itself |
//! | [`database`] | connections, and what PostgreSQL's errors ask of us |

mod attend;
pub mod backbone;
mod background;
pub mod batch;
pub mod bounded;
mod checkpoint;
mod clock;
pub mod compare;
pub mod copy;
pub mod database;
mod dead_letters;
pub mod digest;
pub mod direct;
pub mod facts;
pub mod failpoint;
mod feed;
mod fold;
pub mod generation;
mod lease;
mod load;
pub mod metrics;
pub mod model;
mod moments;
pub mod positions;
pub mod projector;
pub mod redrive;
pub mod repair;
pub mod scratch;
pub mod status;
pub mod swap;
mod unit;
mod worker;

pub use background::Pace;
pub use batch::{Arrival, Batch};
pub use direct::Direct;
pub use generation::{Generation, GenerationError};
pub use load::Load;
pub use model::{ApplyError, BatchTx, Event, Mode, ReadModel};
pub use projector::{Health, Projector, ProjectorError, ProjectorOptions};
