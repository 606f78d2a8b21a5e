//! The log: topic `rapport.interactions` in Kafka. The only crate that knows a Kafka client.
//!
//! ```text
//! collector -> Appender -> Kafka -> Reader -> projectors, `log read`
//!                                          -> `log forward` -> Target -> somebody else's topic
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | [`log`] | which cluster and topics; creating them; the log's id and secret namespace; watermarks |
//! | [`record`] | a record read, a record to append, their headers |
//! | [`appender`] | appending with an answer for each record, one wake-up a request |
//! | [`reader`] | following partitions from given offsets, without a consumer group |
//! | [`inspect`] | what a cluster says of the topics, for operators |
//! | [`range`] | a stretch of the log, from a time or the beginning to its end |
//! | [`target`] | a topic that is not the log's, to which records are delivered again |
//! | `client` | the consuming client: quiet where nothing is wrong |

pub mod appender;
mod client;
pub mod error;
pub mod inspect;
pub mod log;
pub mod range;
pub mod reader;
pub mod record;
pub mod target;

pub use appender::{AppendError, Appender, AppenderOptions};
pub use error::{LogError, OtherPartitions};
pub use inspect::{ClusterState, TopicState, inspect};
pub use log::{Log, LogOptions, Topic, Watermarks};
pub use range::{RangeReader, Start};
pub use reader::{Fetched, ReadError, Reader};
pub use record::{NewRecord, Record};
pub use target::{Target, TargetError};
