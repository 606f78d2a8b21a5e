//! What a batch adds to the graph, before it is asked who that is.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use projection::Pace;
use projection::copy::{CopyBuffer, copy_in};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Dirty, First, nodes, texts};
use crate::identity::{Customer, HubLimits, LinkEvent, Node, SubjectRow};
use crate::model::Customer360;

/// An identifier as stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) component: Option<i64>,
    pub(super) hub: bool,
    pub(super) linked: bool,
}

/// New subjects and what is known of their identifiers.
pub(super) struct Arrived {
    pub(super) subjects: Vec<Newcomer>,
    /// The stored ones among their identifiers, and those new ones that are hubs at once.
    pub(super) known: HashMap<Node, Known>,
    /// Their new identifiers.
    pub(super) fresh: BTreeSet<Node>,
}

/// A new subject.
pub(super) struct Newcomer {
    /// Its identifiers that are no hubs.
    pub(super) nodes: Vec<Node>,
    pub(super) seniority: Customer,
}

/// Writes new subjects, earlier first stamps and link events; finds the hubs. New identifiers are left to be written
/// once their component is known.
pub(super) async fn arrive(
    model: &Customer360,
    connection: &mut PgConnection,
    new: &BTreeMap<Uuid, First<'_>>,
    earlier: &BTreeMap<Uuid, First<'_>>,
    links: &[&LinkEvent],
    dirty: &mut Dirty,
) -> Result<Arrived, sqlx::Error> {
    let row = |(id, (stamp, subject)): (&Uuid, &First<'_>)| SubjectRow {
        id: *id,
        identifiers: subject.nodes(),
        first: (*stamp).clone(),
    };
    let subjects: Vec<SubjectRow> = new.iter().map(row).collect();
    let named: BTreeSet<Node> = subjects.iter().flat_map(|s| s.identifiers.iter().cloned()).collect();
    let mut known = identifiers(connection, &named).await?;
    let fresh: BTreeSet<Node> = named.into_iter().filter(|n| !known.contains_key(n)).collect();

    let became = new_hubs(&model.limits, connection, &subjects, &known).await?;
    for node in &became {
        let row = known.entry(node.clone()).or_insert(Known { component: None, hub: true, linked: false });
        row.hub = true;
    }
    let is_hub = |node: &Node| known.get(node).is_some_and(|k| k.hub);
    write_subjects(connection, &subjects, is_hub).await?;
    write_earlier(connection, earlier).await?;
    write_links(connection, links).await?;
    dirty.identifiers.extend(links.iter().flat_map(|l| [l.pair.left().clone(), l.pair.right().clone()]));
    set_hubs(connection, &became, true, dirty).await?;

    let newcomer = |subject: SubjectRow| Newcomer {
        seniority: subject.seniority(),
        nodes: subject.identifiers.into_iter().filter(|n| !is_hub(n)).collect(),
    };
    Ok(Arrived { subjects: subjects.into_iter().map(newcomer).collect(), known: known.clone(), fresh })
}

async fn identifiers(
    connection: &mut PgConnection,
    named: &BTreeSet<Node>,
) -> Result<HashMap<Node, Known>, sqlx::Error> {
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, Option<i64>, bool, bool)> =
        sqlx::query_as("SELECT identifier, component, hub, linked FROM identifiers WHERE identifier = ANY($1)")
            .bind(texts(named))
            .fetch_all(connection)
            .await?;
    let row = |(text, component, hub, linked): (String, _, _, _)| {
        Some((Node::parse(&text)?, Known { component, hub, linked }))
    };
    Ok(rows.into_iter().filter_map(row).collect())
}

/// The pairs of identifiers co-named in one subject that a hub limit counts.
pub(crate) fn counted_pairs<'s>(
    limits: &HubLimits,
    subjects: impl IntoIterator<Item = &'s [Node]>,
) -> BTreeSet<(&'s Node, &'s Node)> {
    let mut pairs = BTreeSet::new();
    for identifiers in subjects {
        for node in identifiers {
            pairs
                .extend(identifiers.iter().filter(|n| *n != node && limits.most(node, n).is_some()).map(|n| (node, n)));
        }
    }
    pairs
}

/// Notes who stands beside whom. Returns the identifiers that this made hubs.
async fn new_hubs(
    limits: &HubLimits,
    connection: &mut PgConnection,
    subjects: &[SubjectRow],
    known: &HashMap<Node, Known>,
) -> Result<BTreeSet<Node>, sqlx::Error> {
    let pairs = counted_pairs(limits, subjects.iter().map(|s| s.identifiers.as_slice()));
    if pairs.is_empty() {
        return Ok(BTreeSet::new());
    }
    // Beside a new identifier nobody stood before.
    let (met, unmet): (Vec<_>, Vec<_>) = pairs.iter().partition(|(node, _)| known.contains_key(*node));
    let mut rows = CopyBuffer::with_capacity(2, unmet.len() * 96);
    for (node, neighbour) in unmet {
        rows.begin_row().put_text(node.text()).put_text(neighbour.text());
    }
    copy_in(connection, "COPY neighbours (identifier, neighbour) FROM STDIN BINARY", rows).await?;
    let added: Vec<String> = sqlx::query_scalar(
        "INSERT INTO neighbours (identifier, neighbour) SELECT * FROM unnest($1::text[], $2::text[]) \
         ON CONFLICT DO NOTHING RETURNING identifier",
    )
    .bind(texts(met.iter().map(|(node, _)| *node)))
    .bind(texts(met.iter().map(|(_, neighbour)| *neighbour)))
    .fetch_all(&mut *connection)
    .await?;
    let mut near: HashMap<&Node, Vec<&Node>> = HashMap::new();
    for (node, neighbour) in &pairs {
        near.entry(node).or_default().push(neighbour);
    }
    // All neighbours of a new identifier stand in this batch; of a known one the others have to be read.
    let mut hubs: BTreeSet<Node> = BTreeSet::new();
    let fresh = near.iter().filter(|(node, _)| !known.contains_key(**node));
    hubs.extend(
        fresh.filter(|(node, near)| limits.exceeded(node, near.iter().copied())).map(|(node, _)| (*node).clone()),
    );
    let added: HashSet<&str> = added.iter().map(String::as_str).collect();
    let grown: Vec<&Node> =
        near.into_keys().filter(|n| added.contains(n.text()) && known.get(n).is_some_and(|k| !k.hub)).collect();
    hubs.extend(crowded(limits, connection, &grown).await?);
    Ok(hubs)
}

/// Which of these identifiers, none of them a hub yet, have more neighbours than the limits allow.
async fn crowded(
    limits: &HubLimits,
    connection: &mut PgConnection,
    of: &[&Node],
) -> Result<BTreeSet<Node>, sqlx::Error> {
    if of.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT identifier, neighbour FROM neighbours WHERE identifier = ANY($1)")
            .bind(texts(of.iter().copied()))
            .fetch_all(connection)
            .await?;
    let mut near: HashMap<String, Vec<Node>> = HashMap::new();
    for (identifier, neighbour) in rows {
        near.entry(identifier).or_default().extend(Node::parse(&neighbour));
    }
    let exceeded = |node: &&&Node| near.get(node.text()).is_some_and(|near| limits.exceeded(node, near));
    Ok(of.iter().filter(exceeded).map(|n| (*n).clone()).collect())
}

/// Turns identifiers into hubs, or back: every subject that names one hangs on another identifier now, or again on it.
pub(crate) async fn set_hubs(
    connection: &mut PgConnection,
    of: &BTreeSet<Node>,
    hub: bool,
    dirty: &mut Dirty,
) -> Result<(), sqlx::Error> {
    if of.is_empty() {
        return Ok(());
    }
    sqlx::query("UPDATE identifiers SET hub = $2 WHERE identifier = ANY($1)")
        .bind(texts(of))
        .bind(hub)
        .execute(&mut *connection)
        .await?;
    let rows: Vec<(Uuid, Vec<String>)> = sqlx::query_as(
        "SELECT subject_id, identifiers FROM subjects WHERE subject_id = ANY (SELECT subject_id FROM naming WHERE identifier = ANY($1))",
    )
    .bind(texts(of))
    .fetch_all(connection)
    .await?;
    dirty.identifiers.extend(of.iter().cloned());
    for (subject, identifiers) in rows {
        dirty.reanchor.insert(subject);
        dirty.identifiers.extend(nodes(&identifiers));
    }
    Ok(())
}

async fn write_subjects(
    connection: &mut PgConnection,
    subjects: &[SubjectRow],
    is_hub: impl Fn(&Node) -> bool,
) -> Result<(), sqlx::Error> {
    for (statement, rows) in subject_rows(subjects, is_hub, &Pace::at_once()) {
        copy_in(connection, statement, rows).await?;
    }
    Ok(())
}

/// The rows of new subjects, in their order, and of what names them, in the order of identifiers.
pub(super) fn subject_rows(
    subjects: &[SubjectRow],
    is_hub: impl Fn(&Node) -> bool,
    pace: &Pace,
) -> [(&'static str, CopyBuffer); 2] {
    let mut rows = CopyBuffer::with_capacity(5, subjects.len() * 160);
    let mut names: Vec<(&str, Uuid)> = Vec::with_capacity(subjects.len() * 2);
    for subject in pace.along(subjects) {
        rows.begin_row()
            .put_uuid(subject.id)
            .put_text_array(&texts(&subject.identifiers))
            .put_bytes(subject.first.as_bytes())
            .put_i16(i16::from(subject.seniority().kind_rank))
            .put_opt(subject.anchor(&is_hub), |to, anchor| to.put_text(anchor.text()));
        names.extend(subject.identifiers.iter().map(|node| (node.text(), subject.id)));
    }
    names.sort_unstable();
    let mut naming = CopyBuffer::with_capacity(2, names.len() * 64);
    for (identifier, subject) in pace.along(names) {
        naming.begin_row().put_text(identifier).put_uuid(subject);
    }
    [
        ("COPY subjects (subject_id, identifiers, first_stamp, kind_rank, anchor) FROM STDIN BINARY", rows),
        ("COPY naming (identifier, subject_id) FROM STDIN BINARY", naming),
    ]
}

async fn write_earlier(connection: &mut PgConnection, earlier: &BTreeMap<Uuid, First<'_>>) -> Result<(), sqlx::Error> {
    if earlier.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE subjects s SET first_stamp = n.stamp FROM unnest($1::uuid[], $2::bytea[]) AS n (subject_id, stamp) \
         WHERE s.subject_id = n.subject_id",
    )
    .bind(earlier.keys().copied().collect::<Vec<_>>())
    .bind(earlier.values().map(|(stamp, _)| stamp.as_bytes()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows of link events.
pub(super) fn link_rows<'l>(links: impl IntoIterator<Item = &'l LinkEvent>) -> (&'static str, CopyBuffer) {
    let mut rows = CopyBuffer::new(4);
    for link in links {
        rows.begin_row()
            .put_text(link.pair.left().text())
            .put_text(link.pair.right().text())
            .put_bytes(link.stamp.as_bytes())
            .put_bool(link.asserted);
    }
    ("COPY link_events (left_id, right_id, stamp, asserted) FROM STDIN BINARY", rows)
}

async fn write_links(connection: &mut PgConnection, links: &[&LinkEvent]) -> Result<(), sqlx::Error> {
    let (statement, rows) = link_rows(links.iter().copied());
    copy_in(connection, statement, rows).await?;
    let ends: Vec<&str> = links.iter().flat_map(|l| [l.pair.left().text(), l.pair.right().text()]).collect();
    if !ends.is_empty() {
        sqlx::query("UPDATE identifiers SET linked = true WHERE identifier = ANY($1)")
            .bind(ends)
            .execute(connection)
            .await?;
    }
    Ok(())
}
