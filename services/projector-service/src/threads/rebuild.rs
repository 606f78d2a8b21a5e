//! Voids and lesser copies: the components that they touch are joined anew from their events. The caller is alone on the
//! generation, so no other lock is needed.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::TryStreamExt;
use projection::{Batch, Event, facts};
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::{
    Before, Told, counted, ids,
    store::{self, Place, Touched},
    targets,
    union::groups,
};

/// An event that is in a thread from now on, or still, as it stands in the table.
struct Stored {
    event_id: Uuid,
    nodes: Vec<String>,
}

pub(super) async fn apply(connection: &mut PgConnection, batch: &Batch, before: Before) -> Result<(), sqlx::Error> {
    let of_batch = ids(batch);
    let mut doubtful: BTreeSet<Uuid> = of_batch.iter().copied().chain(before.targets).collect();
    doubtful.extend(targets(connection, &of_batch).await?);
    let doubtful: Vec<Uuid> = doubtful.into_iter().collect();
    let voided = facts::voided(connection, &doubtful).await?;

    let events: Vec<&Event> = batch.events.iter().collect();
    let counted = counted(connection, &events).await?;
    let mut touched = replace(connection, &counted).await?;
    let mut stored = revise(connection, &doubtful, &voided, &mut touched).await?;
    let fresh = batch.events.iter().filter(|e| counted.contains(&e.interaction.event_id)).filter_map(Told::of);
    let (voided, active): (Vec<Told>, Vec<Told>) = fresh.partition(|told| voided.contains(&told.event_id()));
    store::write_facts(connection, &voided.iter().map(|told| (told, Place::default())).collect::<Vec<_>>()).await?;

    let named = active.iter().map(|told| &told.nodes).chain(stored.iter().map(|event| &event.nodes)).flatten();
    touched.extend(store::components(connection, named.map(String::as_str).collect()).await?.into_values());
    let touched: Vec<i64> = touched.into_iter().collect();
    stored.extend(of_components(connection, &touched).await?);
    forget(connection, &touched).await?;
    join(connection, &stored, &active).await
}

/// Takes out the events whose copies in the batch count from now on. Returns the components they were in.
async fn replace(connection: &mut PgConnection, counted: &HashSet<Uuid>) -> Result<BTreeSet<i64>, sqlx::Error> {
    const SQL: &str = "DELETE FROM thread_facts WHERE event_id = ANY($1) RETURNING component";
    let ids: Vec<Uuid> = counted.iter().copied().collect();
    let rows: Vec<Option<i64>> = sqlx::query_scalar(SQL).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().flatten().collect())
}

/// Takes events out of their threads that are voided now. Returns those that no longer are.
async fn revise(
    connection: &mut PgConnection,
    doubtful: &[Uuid],
    voided: &HashSet<Uuid>,
    touched: &mut BTreeSet<i64>,
) -> Result<Vec<Stored>, sqlx::Error> {
    const FIND: &str = "SELECT event_id, nodes, component FROM thread_facts WHERE event_id = ANY($1)";
    const TAKE_OUT: &str = "UPDATE thread_facts SET component = NULL, counts = false WHERE event_id = ANY($1)";
    let rows: Vec<(Uuid, Vec<String>, Option<i64>)> =
        sqlx::query_as(FIND).bind(doubtful).fetch_all(&mut *connection).await?;
    let (mut out, mut back) = (Vec::new(), Vec::new());
    for (event_id, nodes, component) in rows {
        match (voided.contains(&event_id), component) {
            (true, Some(component)) => {
                touched.insert(component);
                out.push(event_id);
            }
            (false, None) => back.push(Stored { event_id, nodes }),
            _ => {}
        }
    }
    if !out.is_empty() {
        sqlx::query(TAKE_OUT).bind(out).execute(connection).await?;
    }
    Ok(back)
}

async fn of_components(connection: &mut PgConnection, components: &[i64]) -> Result<Vec<Stored>, sqlx::Error> {
    const SQL: &str = "SELECT event_id, nodes FROM thread_facts WHERE component = ANY($1)";
    let rows: Vec<(Uuid, Vec<String>)> = sqlx::query_as(SQL).bind(components).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(event_id, nodes)| Stored { event_id, nodes }).collect())
}

/// Has of the events that tell of one message the one count that has the least standing, of equals the first. Events of
/// one message are in one component, so others need no look.
async fn count(connection: &mut PgConnection, components: &[i64]) -> Result<(), sqlx::Error> {
    const FIND: &str = "SELECT event_id, counts, message_key, standing, stamp FROM thread_facts
        WHERE component = ANY($1) AND message_key IS NOT NULL ORDER BY message_key, standing, stamp";
    const TURN: &str = "UPDATE thread_facts SET counts = NOT counts WHERE event_id = ANY($1)";
    let mut rows = sqlx::query(FIND).bind(components).fetch(&mut *connection);
    let (mut wrong, mut before): (Vec<Uuid>, Option<String>) = (Vec::new(), None);
    while let Some(row) = rows.try_next().await? {
        let (counts, key): (bool, String) = (row.try_get(1)?, row.try_get(2)?);
        let is_first = before.as_ref() != Some(&key);
        if counts != is_first {
            wrong.push(row.try_get(0)?);
        }
        before = Some(key);
    }
    drop(rows);
    if !wrong.is_empty() {
        sqlx::query(TURN).bind(wrong).execute(connection).await?;
    }
    Ok(())
}

async fn forget(connection: &mut PgConnection, components: &[i64]) -> Result<(), sqlx::Error> {
    const SQL: &str = "DELETE FROM thread_nodes WHERE component = ANY($1)";
    sqlx::query(SQL).bind(components).execute(&mut *connection).await?;
    store::forget(connection, components).await
}

/// Puts events into new components and derives these.
async fn join(connection: &mut PgConnection, stored: &[Stored], active: &[Told]) -> Result<(), sqlx::Error> {
    const PLACE: &str = "UPDATE thread_facts AS t SET component = placed.component
        FROM unnest($1::uuid[], $2::bigint[]) AS placed (event_id, component)
        WHERE t.event_id = ANY($1) AND t.event_id = placed.event_id";
    let nodes: Vec<&[String]> =
        stored.iter().map(|event| event.nodes.as_slice()).chain(active.iter().map(|t| t.nodes.as_slice())).collect();
    if nodes.is_empty() {
        return Ok(());
    }
    let groups = groups(&nodes, &HashMap::new());
    let components = store::new_components(connection, groups.len()).await?;
    let (mut places, mut new_nodes) = (vec![0; nodes.len()], Vec::new());
    for (group, component) in groups.iter().zip(&components) {
        group.events.iter().for_each(|event| places[*event] = *component);
        new_nodes.extend(group.new_nodes.iter().map(|node| (*node, *component)));
    }
    store::write_nodes(connection, &new_nodes).await?;
    for (some, places) in stored.chunks(store::ROWS_PAIRED_MAX).zip(places.chunks(store::ROWS_PAIRED_MAX)) {
        let ids: Vec<Uuid> = some.iter().map(|event| event.event_id).collect();
        sqlx::query(PLACE).bind(ids).bind(&places[..some.len()]).execute(&mut *connection).await?;
    }
    let place = |component: &i64| Place { component: Some(*component), counts: false };
    let placed: Vec<_> = active.iter().zip(places[stored.len()..].iter().map(place)).collect();
    store::write_facts(connection, &placed).await?;
    count(connection, &components).await?;
    store::derive(connection, &Touched { unknown: components, ..Touched::default() }).await
}
