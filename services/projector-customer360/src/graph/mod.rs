//! The stored identity graph. Known subjects cost one lookup; new ones, earlier ones and link events take the identity
//! lock, so that one batch at a time changes who is whom.
//!
//! | module | responsibility |
//! |---|---|
//! | `arrive` | subjects, identifiers, neighbours, hubs and link events that a batch adds |
//! | `short` | the short ways: a new component, a leaf, a merge of clean clusters |
//! | `retract` | takes out what taken-back events had added |
//! | `load` | the whole graph at once, into empty tables |
//! | `settle` | everything else: whole clusters are resolved again and the differences written |

mod arrive;
mod load;
pub(crate) mod retract;
mod settle;
mod short;

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::Stamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::effects::{Effects, Named};
use crate::identity::{LinkEvent, Node};
use crate::model::Customer360;

pub(crate) use load::{Rows, rows};

/// What has to be resolved again by whole clusters.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Identifiers whose clusters changed in a way that no short way covers.
    pub(crate) identifiers: HashSet<Node>,
    /// Components to be looked at though no identifier of them may be left.
    pub(crate) components: HashSet<i64>,
    /// Subjects whose anchor may have changed.
    pub(crate) reanchor: HashSet<Uuid>,
}

impl Dirty {
    fn is_empty(&self) -> bool {
        self.identifiers.is_empty() && self.components.is_empty() && self.reanchor.is_empty()
    }
}

/// A subject named in the batch, and the first event of the batch that names it.
type First<'e> = (&'e Stamp, &'e Named<'e>);

/// Writes what unvoided events say of who is whom; `dirty` is what an undo left to be resolved.
pub(crate) async fn write(
    model: &Customer360,
    connection: &mut PgConnection,
    identity_lock: i64,
    effects: &[&Effects<'_>],
    mut dirty: Dirty,
) -> Result<(), sqlx::Error> {
    let mut named: BTreeMap<Uuid, First<'_>> = BTreeMap::new();
    for effect in effects {
        for subject in &effect.named {
            let first = named.entry(subject.id).or_insert((effect.stamp, subject));
            first.0 = effect.stamp.min(first.0);
        }
    }
    let links: Vec<&LinkEvent> = effects.iter().filter_map(|e| e.link.as_ref()).collect();
    drop_known(connection, &mut named).await?;
    if named.is_empty() && links.is_empty() && dirty.is_empty() {
        return Ok(());
    }
    lock(connection, identity_lock).await?;
    // Others may have named them while this batch waited.
    let earlier = drop_known(connection, &mut named).await?;
    let (earlier, new): (BTreeMap<_, _>, BTreeMap<_, _>) = named.into_iter().partition(|(id, _)| earlier.contains(id));

    let arrived = arrive::arrive(model, connection, &new, &earlier, &links, &mut dirty).await?;
    if model.always_resolve {
        dirty.identifiers.extend(new.values().chain(earlier.values()).flat_map(|(_, subject)| subject.nodes()));
    }
    short::append(connection, arrived, &mut dirty).await?;
    short::rejuvenate(connection, &earlier, &mut dirty).await?;
    settle::settle(connection, dirty).await
}

/// Takes the generation's identity lock until the transaction ends.
pub(crate) async fn lock(connection: &mut PgConnection, identity_lock: i64) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(identity_lock).execute(connection).await?;
    Ok(())
}

/// Drops subjects that are known to have been named as early. Returns those that are known, but not so early.
async fn drop_known(
    connection: &mut PgConnection,
    named: &mut BTreeMap<Uuid, First<'_>>,
) -> Result<HashSet<Uuid>, sqlx::Error> {
    if named.is_empty() {
        return Ok(HashSet::new());
    }
    let rows: Vec<(Uuid, Vec<u8>)> =
        sqlx::query_as("SELECT subject_id, first_stamp FROM subjects WHERE subject_id = ANY($1)")
            .bind(named.keys().copied().collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
    let known: HashMap<Uuid, Vec<u8>> = rows.into_iter().collect();
    named.retain(|id, (stamp, _)| known.get(id).is_none_or(|first| stamp.as_bytes() < first.as_slice()));
    Ok(known.into_keys().filter(|id| named.contains_key(id)).collect())
}

/// The texts of nodes, to be bound.
fn texts<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> Vec<&'n str> {
    nodes.into_iter().map(Node::text).collect()
}

/// Identifiers as read from a column.
fn nodes(texts: &[String]) -> Vec<Node> {
    texts.iter().filter_map(|text| Node::parse(text)).collect()
}
