//! New events: the nodes they name are looked up, and the components that these are in become one.

use std::collections::{BTreeSet, HashMap, HashSet};

use projection::{Batch, Event, Mode, facts};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Told, counted,
    store::{self, Place, Touched},
    union::{Group, groups},
};

pub(super) async fn apply(
    connection: &mut PgConnection,
    lock: i64,
    batch: &Batch,
    mode: Mode,
) -> Result<(), sqlx::Error> {
    let told: Vec<(&Event, Told)> = batch.events.iter().filter_map(|e| Some((e, Told::of(e)?))).collect();
    if told.is_empty() {
        return Ok(());
    }
    let events: Vec<&Event> = told.iter().map(|(event, _)| *event).collect();
    let mut fresh: Vec<Told> = told.into_iter().map(|(_, told)| told).collect();
    if mode == Mode::Careful {
        // What was known stays as it is; none of it is a lesser copy, or this batch would be alone.
        let counted = counted(connection, &events).await?;
        let known = known(connection, &counted).await?;
        fresh.retain(|told| counted.contains(&told.event_id()) && !known.contains(&told.event_id()));
    }
    let ids: Vec<Uuid> = fresh.iter().map(Told::event_id).collect();
    let voided = facts::voided(connection, &ids).await?;
    let (voided, active): (Vec<Told>, Vec<Told>) =
        fresh.into_iter().partition(|told| voided.contains(&told.event_id()));
    // Kept, in no thread: what took it back may turn out to be no void.
    store::write_facts(connection, &voided.iter().map(|told| (told, Place::default())).collect::<Vec<_>>()).await?;
    if active.is_empty() {
        return Ok(());
    }
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(lock).execute(&mut *connection).await?;
    join(connection, &active).await
}

async fn known(connection: &mut PgConnection, ids: &HashSet<Uuid>) -> Result<HashSet<Uuid>, sqlx::Error> {
    const SQL: &str = "SELECT event_id FROM thread_facts WHERE event_id = ANY($1)";
    let ids: Vec<Uuid> = ids.iter().copied().collect();
    let rows: Vec<Uuid> = sqlx::query_scalar(SQL).bind(ids).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Puts events into their components and derives these. To be called with the threads' lock held, or alone on the
/// generation.
pub(super) async fn join(connection: &mut PgConnection, active: &[Told]) -> Result<(), sqlx::Error> {
    let nodes: Vec<&[String]> = active.iter().map(|told| told.nodes.as_slice()).collect();
    let known = store::components(connection, nodes.iter().copied().flatten().map(String::as_str).collect()).await?;
    let groups = groups(&nodes, &known);
    let mut new = store::new_components(connection, groups.iter().filter(|g| g.components.is_empty()).count()).await?;
    let sizes = sizes(connection, &groups).await?;
    let mut touched = Touched { new_events: active.iter().map(Told::event_id).collect(), ..Touched::default() };
    let (mut places, mut new_nodes) = (vec![0; active.len()], Vec::new());
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for group in &groups {
        let largest = |component: &&i64| (sizes.get(*component).copied().unwrap_or(0), **component);
        let kept = match group.components.iter().max_by_key(largest) {
            Some(kept) => *kept,
            None => new.pop().expect("as many were made as there are new groups"),
        };
        merged.extend(group.components.iter().filter(|c| **c != kept).map(|gone| (*gone, kept)));
        // What a component that takes in another one had before is not what its events without these come to.
        if group.components.len() > 1 { &mut touched.unknown } else { &mut touched.grown }.push(kept);
        group.events.iter().for_each(|event| places[*event] = kept);
        new_nodes.extend(group.new_nodes.iter().map(|node| (*node, kept)));
    }
    merge(connection, &merged).await?;
    store::write_nodes(connection, &new_nodes).await?;
    let counting = counting(connection, active).await?;
    let place =
        |component, told: &Told| Place { component: Some(component), counts: counting.contains(&told.event_id()) };
    let placed: Vec<_> = active.iter().zip(places).map(|(told, component)| (told, place(component, told))).collect();
    store::write_facts(connection, &placed).await?;
    store::derive(connection, &touched).await
}

/// Which of these events count for their message: those with the least standing, of equals the first. Takes that from
/// the event that counted before.
async fn counting(connection: &mut PgConnection, active: &[Told]) -> Result<HashSet<Uuid>, sqlx::Error> {
    const FIND: &str =
        "SELECT message_key, standing, stamp, event_id FROM thread_facts WHERE message_key = ANY($1) AND counts";
    const OUTDO: &str = "UPDATE thread_facts SET counts = false WHERE event_id = ANY($1)";
    let mut least: HashMap<&str, (i16, &[u8], Uuid)> = HashMap::new();
    for told in active {
        let Some(message) = &told.telling.message else { continue };
        let rank = (message.standing(), told.telling.stamp.as_bytes(), told.event_id());
        let counts = least.entry(&message.key).or_insert(rank);
        *counts = rank.min(*counts);
    }
    let keys: Vec<&str> = least.keys().copied().collect();
    let earlier: Vec<(String, i16, Vec<u8>, Uuid)> =
        sqlx::query_as(FIND).bind(keys).fetch_all(&mut *connection).await?;
    let mut outdone: Vec<Uuid> = Vec::new();
    for (key, standing, stamp, event_id) in earlier {
        match least.get(key.as_str()) {
            Some(new) if (new.0, new.1) < (standing, stamp.as_slice()) => outdone.push(event_id),
            _ => {
                least.remove(key.as_str());
            }
        }
    }
    if !outdone.is_empty() {
        sqlx::query(OUTDO).bind(outdone).execute(connection).await?;
    }
    Ok(least.into_values().map(|(_, _, event_id)| event_id).collect())
}

/// How many events the components have that are to become one.
async fn sizes(connection: &mut PgConnection, groups: &[Group<'_>]) -> Result<HashMap<i64, i64>, sqlx::Error> {
    const SQL: &str = "SELECT component, count(*) FROM thread_facts WHERE component = ANY($1) GROUP BY component";
    let several: BTreeSet<i64> =
        groups.iter().filter(|g| g.components.len() > 1).flat_map(|g| g.components.iter().copied()).collect();
    if several.is_empty() {
        return Ok(HashMap::new());
    }
    let several: Vec<i64> = several.into_iter().collect();
    let rows: Vec<(i64, i64)> = sqlx::query_as(SQL).bind(several).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

/// Renumbers components, each `(gone, kept)`.
async fn merge(connection: &mut PgConnection, merged: &[(i64, i64)]) -> Result<(), sqlx::Error> {
    if merged.is_empty() {
        return Ok(());
    }
    for some in merged.chunks(store::ROWS_PAIRED_MAX) {
        let (gone, kept): (Vec<i64>, Vec<i64>) = some.iter().copied().unzip();
        for table in ["thread_nodes", "thread_facts"] {
            let renumber = format!(
                "UPDATE {table} AS t SET component = merged.kept
                FROM unnest($1::bigint[], $2::bigint[]) AS merged (gone, kept)
                WHERE t.component = ANY($1) AND t.component = merged.gone"
            );
            sqlx::query(&renumber).bind(&gone).bind(&kept).execute(&mut *connection).await?;
        }
        store::forget(connection, &gone).await?;
    }
    Ok(())
}
