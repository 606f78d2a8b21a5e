//! What every part of Rapport agrees on, and nothing that does I/O: identifiers and subjects, the order of facts,
//! event ids, positions, money, and the interaction as folds see it.
//!
//! | module | responsibility |
//! |---|---|
//! | [`identifier`] | `kind:value`: which kinds exist, which link, how each is normalized, what is a placeholder |
//! | [`ids`] | `event_id`, `subject_id`, `entity_id`: name-based UUIDs |
//! | [`stamp`] | the one order of facts, as bytes that compare like it |
//! | [`interaction`] | a record of the log, decoded: who, when, which entities, which body |
//! | [`receipt`] | what the collector does to an event before it is appended: normalize, check, choose the key |
//! | [`owner`] | to whom an entity belongs |
//! | [`nearest`] | the name that a misspelt one may have meant |
//! | [`position`] | where in the log something stands: the token clients hold on to |
//! | [`money`] | minor units, exact decimals, halves away from zero |
//! | [`time`] | microseconds UTC and RFC 3339 |

pub mod identifier;
pub mod ids;
pub mod interaction;
pub mod money;
pub mod nearest;
pub mod owner;
pub mod position;
pub mod receipt;
pub mod stamp;
pub mod time;

pub use identifier::{Identifier, Kind};
pub use ids::{EventId, Namespace, name_id};
pub use interaction::{Brief, Entity, Interaction, Subject};
pub use position::Position;
pub use stamp::Stamp;
