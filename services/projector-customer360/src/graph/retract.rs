//! Takes out of the graph what taken-back events had put there. The clusters are left dirty.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::arrive::{counted_pairs, crowded, set_hubs};
use super::{Dirty, nodes, texts};
use crate::effects::Effects;
use crate::identity::{HubLimits, LinkEvent, Node, SubjectRow};
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

/// Deletes subjects, and identifiers that none is left to name; counts the neighbours of the others again.
async fn forget(
    limits: &HubLimits,
    connection: &mut PgConnection,
    gone: HashMap<Uuid, Vec<Node>>,
    dirty: &mut Dirty,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = gone.keys().copied().collect();
    let named: BTreeSet<Node> = gone.into_values().flatten().collect();
    for delete in [
        "DELETE FROM naming WHERE identifier = ANY($1) AND subject_id = ANY($2)",
        "DELETE FROM neighbours WHERE identifier = ANY($1) AND $2::uuid[] IS NOT NULL",
    ] {
        sqlx::query(delete).bind(texts(&named)).bind(&ids).execute(&mut *connection).await?;
    }
    sqlx::query("DELETE FROM subjects WHERE subject_id = ANY($1)").bind(&ids).execute(&mut *connection).await?;
    sqlx::query(
        "DELETE FROM identifiers i WHERE identifier = ANY($1) AND NOT EXISTS (SELECT FROM naming n WHERE n.identifier = i.identifier)",
    )
    .bind(texts(&named))
    .execute(&mut *connection)
    .await?;
    count_neighbours(limits, connection, &named).await?;

    let crowded = crowded(limits, connection, &named.iter().collect::<Vec<_>>()).await?;
    let hubs: Vec<String> = sqlx::query_scalar("SELECT identifier FROM identifiers WHERE hub AND identifier = ANY($1)")
        .bind(texts(&named))
        .fetch_all(&mut *connection)
        .await?;
    // Fewer neighbours can only end a hub, never make one.
    let ended: BTreeSet<Node> = nodes(&hubs).into_iter().filter(|hub| !crowded.contains(hub)).collect();
    set_hubs(connection, &ended, false, dirty).await
}

async fn count_neighbours(
    limits: &HubLimits,
    connection: &mut PgConnection,
    of: &BTreeSet<Node>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<(Uuid, Vec<String>, Vec<u8>)> = sqlx::query_as(
        "SELECT subject_id, identifiers, first_stamp FROM subjects \
         WHERE subject_id = ANY (SELECT subject_id FROM naming WHERE identifier = ANY($1))",
    )
    .bind(texts(of))
    .fetch_all(&mut *connection)
    .await?;
    let row = |(id, identifiers, first): (Uuid, Vec<String>, Vec<u8>)| {
        Some(SubjectRow { id, identifiers: nodes(&identifiers), first: domain::Stamp::from_bytes(first)? })
    };
    let subjects: Vec<SubjectRow> = rows.into_iter().filter_map(row).collect();
    let pairs: Vec<(&Node, &Node)> =
        counted_pairs(limits, &subjects).into_iter().filter(|(node, _)| of.contains(*node)).collect();
    sqlx::query("INSERT INTO neighbours (identifier, neighbour) SELECT * FROM unnest($1::text[], $2::text[])")
        .bind(texts(pairs.iter().map(|(node, _)| *node)))
        .bind(texts(pairs.iter().map(|(_, neighbour)| *neighbour)))
        .execute(connection)
        .await?;
    Ok(())
}
