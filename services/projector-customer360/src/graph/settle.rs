//! Whole clusters, loaded, resolved, and the differences written.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::Stamp;
use projection::Pace;
use projection::copy::{CopyBuffer, copy_in};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Dirty, nodes, texts};
use crate::identity::{Graph, LinkEvent, Node, Pair, SubjectRow, resolve};

/// Whole clusters as stored.
struct Loaded {
    /// Every identifier of the clusters, and the dirty ones, with their component.
    universe: BTreeMap<Node, Option<i64>>,
    /// Every component of the clusters.
    components: BTreeSet<i64>,
    clusters: Vec<i64>,
    subjects: Vec<SubjectRow>,
    /// What each subject hangs on as stored.
    anchors: HashMap<Uuid, Option<String>>,
    events: Vec<LinkEvent>,
    hubs: HashSet<Node>,
}

/// Resolves the clusters of what is dirty again.
pub(super) async fn settle(connection: &mut PgConnection, dirty: Dirty) -> Result<(), sqlx::Error> {
    if dirty.is_empty() {
        return Ok(());
    }
    let loaded = load(connection, dirty).await?;
    let universe: BTreeSet<Node> = loaded.universe.keys().cloned().collect();
    let graph = resolve(&universe, &loaded.subjects, &loaded.events, &loaded.hubs, &Pace::at_once());
    write(connection, loaded, graph).await
}

async fn load(connection: &mut PgConnection, dirty: Dirty) -> Result<Loaded, sqlx::Error> {
    let Dirty { identifiers, components, reanchor } = dirty;
    let of_dirty: Vec<i64> = sqlx::query_scalar(
        "SELECT DISTINCT component FROM identifiers WHERE identifier = ANY($1) AND component IS NOT NULL",
    )
    .bind(texts(&identifiers))
    .fetch_all(&mut *connection)
    .await?;
    let touched: Vec<i64> = components.into_iter().chain(of_dirty).collect();
    // A clean cluster is one component; only those of a conflicted one have to be looked for.
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT component, cluster FROM components WHERE component = ANY($1) UNION SELECT component, cluster FROM components \
         WHERE conflicted AND cluster = ANY (SELECT cluster FROM components WHERE component = ANY($1) AND conflicted)",
    )
    .bind(touched)
    .fetch_all(&mut *connection)
    .await?;
    let clusters: BTreeSet<i64> = rows.iter().map(|(_, cluster)| *cluster).collect();
    let components: BTreeSet<i64> = rows.into_iter().map(|(component, _)| component).collect();

    let rows: Vec<(String, Option<i64>, bool)> = sqlx::query_as(
        "SELECT identifier, component, hub FROM identifiers WHERE component = ANY($1) \
         UNION SELECT identifier, component, hub FROM identifiers WHERE identifier = ANY($2)",
    )
    .bind(components.iter().copied().collect::<Vec<_>>())
    .bind(texts(&identifiers))
    .fetch_all(&mut *connection)
    .await?;
    let mut universe = BTreeMap::new();
    let mut hubs = HashSet::new();
    for (text, component, hub) in rows {
        let Some(node) = Node::parse(&text) else { continue };
        if hub {
            hubs.insert(node.clone());
        }
        universe.insert(node, component);
    }
    let events = events(connection, &universe).await?;
    let mut loaded = Loaded {
        clusters: clusters.into_iter().collect(),
        components,
        events,
        universe,
        hubs,
        subjects: Vec::new(),
        anchors: HashMap::new(),
    };
    subjects(connection, &mut loaded, reanchor).await?;
    Ok(loaded)
}

/// The subjects that hang on an identifier of the universe, and those whose anchor may have changed.
async fn subjects(
    connection: &mut PgConnection,
    loaded: &mut Loaded,
    reanchor: HashSet<Uuid>,
) -> Result<(), sqlx::Error> {
    // Nobody hangs on a hub.
    let plain = loaded.universe.keys().filter(|n| !loaded.hubs.contains(*n));
    /// Subject, identifiers, first stamp, anchor.
    type Row = (Uuid, Vec<String>, Vec<u8>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT subject_id, identifiers, first_stamp, anchor FROM subjects \
         WHERE subject_id = ANY (SELECT subject_id FROM naming WHERE identifier = ANY($1) UNION SELECT unnest($2::uuid[]))",
    )
    .bind(texts(plain))
    .bind(reanchor.iter().copied().collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    let mut named = BTreeSet::new();
    for (id, identifiers, first, anchor) in rows {
        let identifiers = nodes(&identifiers);
        named.extend(identifiers.iter().filter(|n| !loaded.universe.contains_key(*n)).cloned());
        loaded.anchors.insert(id, anchor);
        loaded.subjects.push(SubjectRow { id, identifiers, first: stamp(first)? });
    }
    let beyond: Vec<String> =
        sqlx::query_scalar("SELECT identifier FROM identifiers WHERE hub AND identifier = ANY($1)")
            .bind(texts(&named))
            .fetch_all(connection)
            .await?;
    loaded.hubs.extend(nodes(&beyond));
    // One that names an identifier of the universe may hang on one beyond it, held apart by a revocation.
    let Loaded { subjects, hubs, universe, .. } = loaded;
    subjects.retain(|s| {
        s.anchor(|n| hubs.contains(n)).map_or(reanchor.contains(&s.id), |anchor| universe.contains_key(anchor))
    });
    Ok(())
}

async fn events(
    connection: &mut PgConnection,
    universe: &BTreeMap<Node, Option<i64>>,
) -> Result<Vec<LinkEvent>, sqlx::Error> {
    let rows: Vec<(String, String, Vec<u8>, bool)> = sqlx::query_as(
        "SELECT left_id, right_id, stamp, asserted FROM link_events WHERE left_id = ANY($1) \
         UNION SELECT left_id, right_id, stamp, asserted FROM link_events WHERE right_id = ANY($1)",
    )
    .bind(texts(universe.keys()))
    .fetch_all(connection)
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for (left, right, bytes, asserted) in rows {
        let pair = Node::parse(&left).zip(Node::parse(&right)).and_then(|(l, r)| Pair::new(&l, &r));
        let Some(pair) = pair else { continue };
        events.push(LinkEvent { pair, stamp: stamp(bytes)?, asserted });
    }
    Ok(events)
}

fn stamp(bytes: Vec<u8>) -> Result<Stamp, sqlx::Error> {
    Stamp::from_bytes(bytes)
        .ok_or_else(|| sqlx::Error::Decode("a stamp is shorter than a stamp can be: was the table edited?".into()))
}

async fn write(connection: &mut PgConnection, loaded: Loaded, graph: Graph) -> Result<(), sqlx::Error> {
    let numbers = numbers(connection, &loaded, &graph).await?;
    let mut homes: HashMap<&Node, i64> = HashMap::new();
    for (component, number) in graph.components.iter().zip(&numbers) {
        homes.extend(component.members.iter().map(|n| (n, *number)));
    }
    let moved = loaded.universe.iter().map(|(node, before)| (node, *before, homes.get(node).copied()));
    let moved: Vec<(&Node, Option<i64>)> =
        moved.filter(|(_, before, now)| before != now).map(|(node, _, now)| (node, now)).collect();
    if !moved.is_empty() {
        sqlx::query(
            "UPDATE identifiers i SET component = n.component FROM unnest($1::text[], $2::bigint[]) AS n (identifier, component) \
             WHERE i.identifier = n.identifier",
        )
        .bind(texts(moved.iter().map(|(node, _)| *node)))
        .bind(moved.iter().map(|(_, now)| *now).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    components(connection, &loaded, &graph, &numbers).await?;
    conflicts(connection, &loaded, &graph, &numbers).await?;
    anchors(connection, &loaded, &graph).await
}

/// A number for each component: the one that most of its identifiers had, else a new one.
async fn numbers(connection: &mut PgConnection, loaded: &Loaded, graph: &Graph) -> Result<Vec<i64>, sqlx::Error> {
    let mut votes: Vec<(usize, i64, usize)> = Vec::new();
    for (index, component) in graph.components.iter().enumerate() {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for number in component.members.iter().filter_map(|n| loaded.universe.get(n).copied().flatten()) {
            *counts.entry(number).or_default() += 1;
        }
        votes.extend(counts.into_iter().map(|(number, count)| (count, number, index)));
    }
    votes.sort_unstable_by(|a, b| b.cmp(a));
    let mut numbers: Vec<Option<i64>> = vec![None; graph.components.len()];
    let mut taken = HashSet::new();
    for (_, number, index) in votes {
        if numbers[index].is_none() && taken.insert(number) {
            numbers[index] = Some(number);
        }
    }
    let mut new = component_numbers(connection, numbers.iter().filter(|n| n.is_none()).count()).await?.into_iter();
    Ok(numbers.into_iter().map(|n| n.or_else(|| new.next()).expect("as many numbers as were asked for")).collect())
}

async fn components(
    connection: &mut PgConnection,
    loaded: &Loaded,
    graph: &Graph,
    numbers: &[i64],
) -> Result<(), sqlx::Error> {
    if !loaded.components.is_empty() {
        let old: Vec<i64> = loaded.components.iter().copied().collect();
        sqlx::query("DELETE FROM components WHERE component = ANY($1)").bind(old).execute(&mut *connection).await?;
    }
    let (statement, rows) = component_rows(graph, numbers, &Pace::at_once());
    copy_in(connection, statement, rows).await?;
    Ok(())
}

/// The rows of a graph's components under these numbers.
pub(super) fn component_rows(graph: &Graph, numbers: &[i64], pace: &Pace) -> (&'static str, CopyBuffer) {
    let mut in_cluster: HashMap<usize, (i64, usize)> = HashMap::new();
    for (component, number) in pace.along(graph.components.iter().zip(numbers)) {
        in_cluster.entry(component.cluster).or_insert((*number, 0)).1 += 1;
    }
    let mut rows = CopyBuffer::with_capacity(8, graph.components.len() * 96);
    for (component, number) in pace.along(graph.components.iter().zip(numbers)) {
        let (cluster, count) = in_cluster[&component.cluster];
        rows.begin_row()
            .put_i64(*number)
            .put_i64(cluster)
            .put_bool(count > 1)
            .put_i32(i32::try_from(component.members.len()).unwrap_or(i32::MAX))
            .put_i16(i16::from(component.uniques()))
            .put_opt(component.customer.map(|c| c.id), CopyBuffer::put_uuid)
            .put_opt(component.customer.map(|c| c.first_at), CopyBuffer::put_i64)
            .put_opt(component.customer.map(|c| i16::from(c.kind_rank)), CopyBuffer::put_i16);
    }
    (
        "COPY components (component, cluster, conflicted, size, uniques, customer_id, first_at, kind_rank) FROM STDIN BINARY",
        rows,
    )
}

async fn conflicts(
    connection: &mut PgConnection,
    loaded: &Loaded,
    graph: &Graph,
    numbers: &[i64],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM conflicts WHERE cluster = ANY($1)")
        .bind(&loaded.clusters)
        .execute(&mut *connection)
        .await?;
    let (statement, rows) = conflict_rows(graph, numbers, &Pace::at_once());
    copy_in(connection, statement, rows).await?;
    Ok(())
}

/// The rows of a graph's conflicts, its components having these numbers.
pub(super) fn conflict_rows(graph: &Graph, numbers: &[i64], pace: &Pace) -> (&'static str, CopyBuffer) {
    let mut of_cluster: HashMap<usize, i64> = HashMap::new();
    for (component, number) in pace.along(graph.components.iter().zip(numbers)) {
        of_cluster.entry(component.cluster).or_insert(*number);
    }
    let mut rows = CopyBuffer::new(7);
    for conflict in &graph.conflicts {
        rows.begin_row()
            .put_text(conflict.pair.left().text())
            .put_text(conflict.pair.right().text())
            .put_bytes(conflict.since.as_bytes())
            .put_text(conflict.unique.name())
            .put_text(&conflict.left_value)
            .put_text(&conflict.right_value)
            .put_i64(of_cluster[&conflict.cluster]);
    }
    ("COPY conflicts (left_id, right_id, stamp, kind, left_value, right_value, cluster) FROM STDIN BINARY", rows)
}

async fn anchors(connection: &mut PgConnection, loaded: &Loaded, graph: &Graph) -> Result<(), sqlx::Error> {
    let differs = |(id, now): &(&Uuid, &Option<Node>)| {
        loaded.anchors.get(*id).is_some_and(|before| before.as_deref() != now.as_ref().map(Node::text))
    };
    let moved: Vec<(&Uuid, &Option<Node>)> = graph.anchors.iter().filter(differs).collect();
    if moved.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE subjects s SET anchor = n.anchor FROM unnest($1::uuid[], $2::text[]) AS n (subject_id, anchor) \
         WHERE s.subject_id = n.subject_id",
    )
    .bind(moved.iter().map(|(id, _)| **id).collect::<Vec<_>>())
    .bind(moved.iter().map(|(_, now)| now.as_ref().map(Node::text)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Numbers for new components.
pub(super) async fn component_numbers(connection: &mut PgConnection, count: usize) -> Result<Vec<i64>, sqlx::Error> {
    if count == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT nextval('component_numbers') FROM generate_series(1, $1)")
        .bind(i64::try_from(count).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await
}
