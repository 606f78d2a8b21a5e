//! Takes out of the graph what taken-back events had put there. The clusters are left dirty.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::arrive::{counted_pairs, set_hubs};
use super::{Dirty, nodes, texts};
use crate::effects::Effects;
use crate::identity::{HubLimits, LinkEvent, Node};
use crate::model::Customer360;

/// Withdraws what these events said; the timeline no longer counts them. The identity lock is held.
pub(crate) async fn retract(
    model: &Customer360,
    connection: &mut PgConnection,
    taken_back: &[Effects<'_>],
) -> Result<Dirty, sqlx::Error> {
    let mut dirty = Dirty::default();
    let links: Vec<&LinkEvent> = taken_back.iter().filter_map(|e| e.link.as_ref()).collect();
    dirty.identifiers.extend(links.iter().flat_map(|l| [l.pair.left().clone(), l.pair.right().clone()]));
    delete_links(connection, &links).await?;

    let named: HashMap<Uuid, Vec<Node>> = taken_back.iter().flat_map(|e| &e.named).map(|s| (s.id, s.nodes())).collect();
    let gone = restamp(connection, named, &mut dirty).await?;
    let of_dirty: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT component FROM identifiers WHERE identifier = ANY($1) AND component IS NOT NULL",
    )
    .bind(texts(&dirty.identifiers))
    .fetch_all(&mut *connection)
    .await?;
    dirty.components.extend(of_dirty);
    if !gone.is_empty() {
        forget(&model.limits, connection, gone, &mut dirty).await?;
    }
    Ok(dirty)
}

async fn delete_links(connection: &mut PgConnection, links: &[&LinkEvent]) -> Result<(), sqlx::Error> {
    if links.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM link_events l USING unnest($1::text[], $2::text[], $3::bytea[]) AS n (left_id, right_id, stamp) \
         WHERE l.left_id = n.left_id AND l.right_id = n.right_id AND l.stamp = n.stamp",
    )
    .bind(texts(links.iter().map(|l| l.pair.left())))
    .bind(texts(links.iter().map(|l| l.pair.right())))
    .bind(links.iter().map(|l| l.stamp.as_bytes()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the first stamps anew. Returns the subjects that no event names any more, with their identifiers.
async fn restamp(
    connection: &mut PgConnection,
    named: HashMap<Uuid, Vec<Node>>,
    dirty: &mut Dirty,
) -> Result<HashMap<Uuid, Vec<Node>>, sqlx::Error> {
    let ids: Vec<Uuid> = named.keys().copied().collect();
    let firsts: Vec<(Uuid, Option<Vec<u8>>)> =
        sqlx::query_as(include_str!("../../sql/first_stamps.sql")).bind(&ids).fetch_all(&mut *connection).await?;
    let remaining: Vec<(Uuid, &[u8])> =
        firsts.iter().filter_map(|(id, first)| Some((*id, first.as_deref()?))).collect();
    let changed: Vec<Uuid> = sqlx::query_scalar(
        "UPDATE subjects s SET first_stamp = n.stamp FROM unnest($1::uuid[], $2::bytea[]) AS n (subject_id, stamp) \
         WHERE s.subject_id = n.subject_id AND s.first_stamp <> n.stamp RETURNING s.subject_id",
    )
    .bind(remaining.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(remaining.iter().map(|(_, first)| *first).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    dirty.identifiers.extend(changed.iter().filter_map(|id| named.get(id)).flatten().cloned());
    let kept: BTreeSet<Uuid> = remaining.iter().map(|(id, _)| *id).collect();
    let gone: HashMap<Uuid, Vec<Node>> = named.into_iter().filter(|(id, _)| !kept.contains(id)).collect();
    dirty.identifiers.extend(gone.values().flatten().cloned());
    Ok(gone)
}

/// Deletes subjects, and identifiers that none is left to name; ends the hubs that have become few enough. What this
/// costs follows the subjects that go, not the hubs that they name.
async fn forget(
    limits: &HubLimits,
    connection: &mut PgConnection,
    gone: HashMap<Uuid, Vec<Node>>,
    dirty: &mut Dirty,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = gone.keys().copied().collect();
    let named: BTreeSet<&Node> = gone.values().flatten().collect();
    sqlx::query("DELETE FROM naming WHERE identifier = ANY($1) AND subject_id = ANY($2)")
        .bind(texts(named.iter().copied()))
        .bind(&ids)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM subjects WHERE subject_id = ANY($1)").bind(&ids).execute(&mut *connection).await?;
    part(connection, &counted_pairs(limits, gone.values().map(Vec::as_slice))).await?;
    sqlx::query(
        "DELETE FROM identifiers i WHERE identifier = ANY($1) AND NOT EXISTS (SELECT FROM naming n WHERE n.identifier = i.identifier)",
    )
    .bind(texts(named.iter().copied()))
    .execute(&mut *connection)
    .await?;

    let hubs: Vec<String> = sqlx::query_scalar("SELECT identifier FROM identifiers WHERE hub AND identifier = ANY($1)")
        .bind(texts(named))
        .fetch_all(&mut *connection)
        .await?;
    // Fewer neighbours can only end a hub, never make one.
    let mut ended = BTreeSet::new();
    for hub in nodes(&hubs) {
        if !is_crowded(limits, connection, &hub).await? {
            ended.insert(hub);
        }
    }
    set_hubs(connection, &ended, false, dirty).await
}

/// Those of these pairs that stand together in no subject any more are neighbours no more.
async fn part(connection: &mut PgConnection, pairs: &BTreeSet<(&Node, &Node)>) -> Result<(), sqlx::Error> {
    let both: BTreeSet<&Node> = pairs.iter().flat_map(|(node, neighbour)| [*node, *neighbour]).collect();
    let named: Vec<(String, i64)> = sqlx::query_as(
        "SELECT i.identifier, (SELECT count(*) FROM (SELECT FROM naming n WHERE n.identifier = i.identifier LIMIT 1000) c) \
         FROM unnest($1::text[]) AS i (identifier)",
    )
    .bind(texts(both))
    .fetch_all(&mut *connection)
    .await?;
    let subjects: HashMap<&str, i64> = named.iter().map(|(text, count)| (text.as_str(), *count)).collect();
    // A hub is named by very many: of two identifiers, the subjects of the one that fewer name are gone through.
    let count = |node: &Node| subjects.get(node.text()).copied().unwrap_or_default();
    let (mut rarer, mut other) = (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
    for (node, neighbour) in pairs {
        let (less, more) = if count(node) <= count(neighbour) { (node, neighbour) } else { (neighbour, node) };
        rarer.push(less.text());
        other.push(more.text());
    }
    sqlx::query(
        "DELETE FROM neighbours nb USING unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS p (identifier, neighbour, rarer, other) \
         WHERE nb.identifier = p.identifier AND nb.neighbour = p.neighbour AND NOT EXISTS ( \
             SELECT FROM naming a WHERE a.identifier = p.rarer \
             AND EXISTS (SELECT FROM naming b WHERE b.identifier = p.other AND b.subject_id = a.subject_id))",
    )
    .bind(texts(pairs.iter().map(|(node, _)| *node)))
    .bind(texts(pairs.iter().map(|(_, neighbour)| *neighbour)))
    .bind(rarer)
    .bind(other)
    .execute(connection)
    .await?;
    Ok(())
}

/// Neighbours of a hub that are looked at together.
const NEIGHBOURS_READ_MAX: i64 = 500;

/// Whether a hub still has more neighbours than the limits allow. Looks at no more of them than that takes.
async fn is_crowded(limits: &HubLimits, connection: &mut PgConnection, hub: &Node) -> Result<bool, sqlx::Error> {
    let mut near: Vec<Node> = Vec::new();
    let mut after = String::new();
    loop {
        let some: Vec<String> = sqlx::query_scalar(
            "SELECT neighbour FROM neighbours WHERE identifier = $1 AND neighbour > $2 ORDER BY neighbour LIMIT $3",
        )
        .bind(hub.text())
        .bind(&after)
        .bind(NEIGHBOURS_READ_MAX)
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = some.last() else { return Ok(false) };
        after.clone_from(last);
        near.extend(nodes(&some));
        if limits.exceeded(hub, &near) {
            return Ok(true);
        }
    }
}
