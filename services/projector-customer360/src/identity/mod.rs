//! Who is whom: a pure function of the subjects that events name, the explicit links and the hub limits.
//!
//! | module | responsibility |
//! |---|---|
//! | [`node`] | an identifier and its strength, pairs, the unique kinds |
//! | [`hubs`] | which identifiers are shared by too many to say anything |
//! | [`links`] | which links are on, since when |
//! | [`resolve`] | components, their customers, the conflicts |

pub mod hubs;
pub mod links;
pub mod node;
pub mod resolve;
#[cfg(test)]
mod tests;

use domain::Stamp;
use uuid::Uuid;

pub use hubs::{HubLimits, hubs};
pub use links::{Link, LinkEvent};
pub use node::{Node, Pair, Unique};
pub use resolve::{Component, Conflict, Customer, Graph, resolve, resolve_all};

/// A subject: the identifiers that an event names, and the first event that names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRow {
    /// UUIDv5 of the identifiers.
    pub id: Uuid,
    /// Strongest first, each once, never empty.
    pub identifiers: Vec<Node>,
    /// The least stamp of an unvoided event that names it.
    pub first: Stamp,
}

impl SubjectRow {
    /// What decides which subject gives a component its customer id: the earliest, then the strongest, then the least id.
    pub fn seniority(&self) -> Customer {
        let kind_rank = self.identifiers.iter().map(Node::rank).min().unwrap_or(u8::MAX);
        Customer { first_at: self.first.occurred_at(), kind_rank, id: self.id }
    }

    /// The strongest identifier that is no hub: what the subject hangs on.
    pub fn anchor(&self, is_hub: impl Fn(&Node) -> bool) -> Option<&Node> {
        self.identifiers.iter().filter(|n| !is_hub(n)).min()
    }
}
