//! The read model customer360: every interaction on one timeline, who is whom, and what is last known of each person.
//!
//! The path of one event:
//!
//! ```text
//! projection --batch--> effects (what it says: pure)
//!     -> copies      which copy counts; duplicates
//!     -> timeline    COPY of the event, appearances on others' timelines
//!     -> registers   last touches, profile fields, affiliations, owners of entities: greatest or least stamp wins
//!     -> graph       new subjects and links: hubs, components, customers (under the identity lock)
//! a void or a lesser copy -> undo: what the event had set is derived again from the timeline
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | [`identity`] | who is whom, as a pure function of subjects, links and hub limits |
//! | `effects` | what an interaction sets, as a pure function |
//! | `apply` | a batch, step by step, in its three modes |
//! | `copies` | which copy of an event counts |
//! | `timeline` | the timeline's rows |
//! | `registers` | last-writer-wins rows of a party |
//! | `graph` | the stored identity graph: short ways where they are safe, else [`identity::resolve`] over whole clusters |
//! | `load` | a log from its beginning, into empty tables |
//! | `undo` | voids and lesser copies |
//! | [`repair`] | which rows tell of a customer |
//! | [`past`] | which events made a customer what it was at a past moment |
//!
//! The query service reads the tables of `sql/schema.sql` by name: they are this crate's interface as much as the views.

mod apply;
mod copies;
mod effects;
mod graph;
pub mod identity;
mod load;
mod model;
pub mod past;
mod registers;
pub mod repair;
mod timeline;
mod undo;

pub use effects::FIELD_BYTES_MAX;
pub use identity::HubLimits;
pub use model::Customer360;
