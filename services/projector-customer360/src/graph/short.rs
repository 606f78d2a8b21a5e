//! The short ways. They rest on one fact: while a cluster holds at most one value of each unique kind, it is one
//! component whatever the order and the times of its links. What they cannot decide they leave dirty.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use projection::copy::{CopyBuffer, copy_in};
use sqlx::PgConnection;
use uuid::Uuid;

use super::arrive::Arrived;
use super::{Dirty, First};
use crate::identity::{Customer, Node, Unique};

/// A component as stored.
#[derive(Clone, Copy, Debug)]
struct Stored {
    conflicted: bool,
    size: i32,
    uniques: i16,
    customer: Option<Customer>,
}

type StoredRow = (i64, bool, i32, i16, Option<Uuid>, Option<i64>, Option<i16>);

/// New subjects that share identifiers, taken together.
#[derive(Default)]
struct Group {
    nodes: BTreeSet<Node>,
    /// Those of the nodes that are new.
    fresh: Vec<Node>,
    /// Components of those that are known.
    components: BTreeSet<i64>,
    /// How many of the nodes are known.
    known: usize,
    /// Some known node has been named by a link event, and might be held off another by a revocation.
    linked: bool,
    customer: Option<Customer>,
}

/// What the short ways found out, to be written at once.
#[derive(Default)]
struct Writes {
    /// New identifiers that belong to a component known already.
    joined: Vec<(Node, i64)>,
    /// New components: their identifiers and what is stored of them.
    founded: Vec<(Vec<Node>, Stored)>,
    /// Components with new members.
    grown: BTreeMap<i64, Stored>,
    /// Component -> the one it is now part of.
    merged: Vec<(i64, i64)>,
}

/// Gives the new identifiers of new subjects their components, where a short way leads there; the others are written
/// without one and marked dirty.
pub(super) async fn append(
    connection: &mut PgConnection,
    arrived: Arrived,
    dirty: &mut Dirty,
) -> Result<(), sqlx::Error> {
    let groups: Vec<Group> = groups(&arrived).into_iter().filter(|g| !leave(g, &arrived, dirty)).collect();
    let touched: BTreeSet<i64> = groups.iter().flat_map(|g| g.components.iter().copied()).collect();
    let stored = components(connection, &touched).await?;
    let mut writes = Writes::default();
    let mut clean = Vec::new();
    for group in groups {
        if group.components.iter().any(|c| stored.get(c).is_none_or(|s| s.conflicted)) {
            leaf_on_conflicted(group, &stored, &mut writes, dirty);
        } else {
            clean.push(group);
        }
    }
    for group in united(clean) {
        join_clean(group, &stored, &mut writes, dirty);
    }
    write(connection, &arrived, writes, dirty).await
}

/// Subjects connected by identifiers that are no hubs.
fn groups(arrived: &Arrived) -> Vec<Group> {
    let mut sets = Sets::default();
    for subject in &arrived.subjects {
        for pair in subject.nodes.windows(2) {
            sets.unite(&pair[0], &pair[1]);
        }
    }
    let mut groups: HashMap<usize, Group> = HashMap::new();
    for subject in arrived.subjects.iter() {
        let Some(first) = subject.nodes.first() else { continue };
        let group = groups.entry(sets.root_of(first)).or_default();
        group.nodes.extend(subject.nodes.iter().cloned());
        group.customer = group.customer.into_iter().chain([subject.seniority]).min();
    }
    for group in groups.values_mut() {
        for node in &group.nodes {
            match arrived.known.get(node) {
                Some(known) => {
                    group.known += 1;
                    group.linked |= known.linked;
                    group.components.extend(known.component);
                }
                None => group.fresh.push(node.clone()),
            }
        }
    }
    groups.into_values().collect()
}

/// Whether the group goes the long way: it holds something dirty, or a known identifier that has no component yet.
fn leave(group: &Group, arrived: &Arrived, dirty: &mut Dirty) -> bool {
    let homeless = |n: &Node| arrived.known.get(n).is_some_and(|k| k.component.is_none());
    let left = group.nodes.iter().any(|n| dirty.identifiers.contains(n) || homeless(n));
    if left {
        dirty.identifiers.extend(group.nodes.iter().cloned());
    }
    left
}

/// A cluster with conflicts takes new identifiers of no unique kind if they hang on one known identifier: they decide
/// nothing. Everything else is resolved.
fn leaf_on_conflicted(group: Group, stored: &HashMap<i64, Stored>, writes: &mut Writes, dirty: &mut Dirty) {
    let component = group
        .components
        .first()
        .copied()
        .filter(|_| group.known == 1 && group.fresh.iter().all(|n| n.unique().is_none()));
    let stored = component.and_then(|c| Some((c, *writes.grown.get(&c).or_else(|| stored.get(&c))?)));
    match stored {
        Some((component, before)) => {
            writes.grown.insert(component, before.with(&group));
            writes.joined.extend(group.fresh.into_iter().map(|n| (n, component)));
        }
        None => dirty.identifiers.extend(group.nodes),
    }
}

/// Groups that touch the same component are one.
fn united(groups: Vec<Group>) -> Vec<Group> {
    let mut sets = Sets::default();
    for group in &groups {
        let mut components = group.components.iter();
        if let Some(first) = components.next() {
            components.for_each(|c| sets.unite(first, c));
        }
    }
    let mut alone = Vec::new();
    let mut together: HashMap<usize, Group> = HashMap::new();
    for group in groups {
        match group.components.first() {
            Some(first) => together.entry(sets.root_of(first)).or_default().absorb(group),
            None => alone.push(group),
        }
    }
    alone.extend(together.into_values());
    alone
}

/// A new component, a leaf on a clean one, or a merge of clean ones: as long as one value of each unique kind comes out.
fn join_clean(group: Group, stored: &HashMap<i64, Stored>, writes: &mut Writes, dirty: &mut Dirty) {
    let single = |unique: Unique| {
        let held = group.components.iter().filter(|c| stored[*c].uniques & 1 << unique.index() != 0).count();
        held + group.fresh.iter().filter(|n| n.unique() == Some(unique)).count() <= 1
    };
    // Two known identifiers of different components may be held apart by a revocation.
    let held_apart = group.components.len() > 1 && group.linked;
    if held_apart || !Unique::ALL.into_iter().all(single) {
        dirty.identifiers.extend(group.nodes);
        return;
    }
    let largest = group.components.iter().copied().max_by_key(|c| (stored[c].size, std::cmp::Reverse(*c)));
    let Some(largest) = largest else {
        let founded = Stored { conflicted: false, size: 0, uniques: 0, customer: None }.with(&group);
        writes.founded.push((group.fresh, founded));
        return;
    };
    let mut after = stored[&largest].with(&group);
    for other in group.components.iter().copied().filter(|c| *c != largest) {
        after = after.and(&stored[&other]);
        writes.merged.push((other, largest));
    }
    writes.grown.insert(largest, after);
    writes.joined.extend(group.fresh.into_iter().map(|n| (n, largest)));
}

impl Group {
    fn absorb(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        self.fresh.extend(other.fresh);
        self.components.extend(other.components);
        self.known += other.known;
        self.linked |= other.linked;
        self.customer = self.customer.into_iter().chain(other.customer).min();
    }
}

impl Stored {
    /// With a group's new identifiers and subjects.
    fn with(self, group: &Group) -> Self {
        let uniques = group.fresh.iter().filter_map(Node::unique).fold(self.uniques, |mask, u| mask | 1 << u.index());
        let size = self.size + i32::try_from(group.fresh.len()).unwrap_or(i32::MAX);
        let customer = self.customer.into_iter().chain(group.customer).min();
        Self { conflicted: self.conflicted, size, uniques, customer }
    }

    /// With all of another one.
    fn and(self, other: &Self) -> Self {
        Self {
            conflicted: false,
            size: self.size + other.size,
            uniques: self.uniques | other.uniques,
            customer: self.customer.into_iter().chain(other.customer).min(),
        }
    }
}

async fn components(connection: &mut PgConnection, of: &BTreeSet<i64>) -> Result<HashMap<i64, Stored>, sqlx::Error> {
    if of.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<StoredRow> = sqlx::query_as(
        "SELECT component, conflicted, size, uniques, customer_id, first_at, kind_rank FROM components WHERE component = ANY($1)",
    )
    .bind(of.iter().copied().collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(stored).collect())
}

fn stored((component, conflicted, size, uniques, id, first_at, kind_rank): StoredRow) -> (i64, Stored) {
    let customer = id.zip(first_at).zip(kind_rank).map(|((id, first_at), rank)| Customer {
        first_at,
        kind_rank: u8::try_from(rank).unwrap_or(u8::MAX),
        id,
    });
    (component, Stored { conflicted, size, uniques, customer })
}

async fn write(
    connection: &mut PgConnection,
    arrived: &Arrived,
    writes: Writes,
    dirty: &Dirty,
) -> Result<(), sqlx::Error> {
    let Writes { joined, founded, grown, merged } = writes;
    let numbers = super::settle::component_numbers(connection, founded.len()).await?;
    let mut components = CopyBuffer::with_capacity(8, founded.len() * 96);
    let mut homes: HashMap<Node, i64> = joined.into_iter().collect();
    for ((nodes, row), number) in founded.into_iter().zip(numbers) {
        components
            .begin_row()
            .put_i64(number)
            .put_i64(number)
            .put_bool(false)
            .put_i32(row.size)
            .put_i16(row.uniques)
            .put_opt(row.customer.map(|c| c.id), CopyBuffer::put_uuid)
            .put_opt(row.customer.map(|c| c.first_at), CopyBuffer::put_i64)
            .put_opt(row.customer.map(|c| i16::from(c.kind_rank)), CopyBuffer::put_i16);
        homes.extend(nodes.into_iter().map(|n| (n, number)));
    }
    let mut identifiers = CopyBuffer::with_capacity(4, arrived.fresh.len() * 64);
    for node in &arrived.fresh {
        let hub = arrived.known.get(node).is_some_and(|k| k.hub);
        // Only the ends of link events are dirty before they were ever stored, or stand beside such.
        let linked = dirty.identifiers.contains(node);
        identifiers
            .begin_row()
            .put_text(node.text())
            .put_opt(homes.get(node).copied(), CopyBuffer::put_i64)
            .put_bool(hub)
            .put_bool(linked);
    }
    copy_in(
        connection,
        "COPY components (component, cluster, conflicted, size, uniques, customer_id, first_at, kind_rank) FROM STDIN BINARY",
        components,
    )
    .await?;
    copy_in(connection, "COPY identifiers (identifier, component, hub, linked) FROM STDIN BINARY", identifiers).await?;
    merge(connection, &merged).await?;
    update(connection, &grown).await
}

/// The smaller components become part of the largest.
async fn merge(connection: &mut PgConnection, merged: &[(i64, i64)]) -> Result<(), sqlx::Error> {
    if merged.is_empty() {
        return Ok(());
    }
    let small: Vec<i64> = merged.iter().map(|(small, _)| *small).collect();
    sqlx::query(
        "UPDATE identifiers i SET component = m.into_component FROM unnest($1::bigint[], $2::bigint[]) AS m (component, into_component) \
         WHERE i.component = m.component",
    )
    .bind(&small)
    .bind(merged.iter().map(|(_, large)| *large).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM components WHERE component = ANY($1)").bind(small).execute(connection).await?;
    Ok(())
}

async fn update(connection: &mut PgConnection, grown: &BTreeMap<i64, Stored>) -> Result<(), sqlx::Error> {
    if grown.is_empty() {
        return Ok(());
    }
    let rows = grown.values();
    sqlx::query(include_str!("../../sql/update_components.sql"))
        .bind(grown.keys().copied().collect::<Vec<_>>())
        .bind(rows.clone().map(|r| r.size).collect::<Vec<_>>())
        .bind(rows.clone().map(|r| r.uniques).collect::<Vec<_>>())
        .bind(rows.clone().map(|r| r.customer.map(|c| c.id)).collect::<Vec<_>>())
        .bind(rows.clone().map(|r| r.customer.map(|c| c.first_at)).collect::<Vec<_>>())
        .bind(rows.map(|r| r.customer.map(|c| i16::from(c.kind_rank))).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// Subjects named earlier than known: in a clean cluster only the customer id may change. Where there are conflicts
/// the time of a link may decide, and the cluster is dirty.
pub(super) async fn rejuvenate(
    connection: &mut PgConnection,
    earlier: &BTreeMap<Uuid, First<'_>>,
    dirty: &mut Dirty,
) -> Result<(), sqlx::Error> {
    if earlier.is_empty() {
        return Ok(());
    }
    let rows: Vec<(Uuid, i16, i64)> = sqlx::query_as(
        "SELECT s.subject_id, s.kind_rank, i.component FROM subjects s JOIN identifiers i ON i.identifier = s.anchor \
         WHERE s.subject_id = ANY($1) AND i.component IS NOT NULL",
    )
    .bind(earlier.keys().copied().collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await?;
    let mut stored = components(connection, &rows.iter().map(|(_, _, c)| *c).collect()).await?;
    let mut changed: HashSet<i64> = HashSet::new();
    for (id, kind_rank, component) in rows {
        let (Some((stamp, subject)), Some(row)) = (earlier.get(&id), stored.get_mut(&component)) else { continue };
        let candidate =
            Customer { first_at: stamp.occurred_at(), kind_rank: u8::try_from(kind_rank).unwrap_or(u8::MAX), id };
        if row.conflicted {
            dirty.identifiers.extend(subject.nodes());
        } else if row.customer.is_none_or(|c| candidate < c) {
            row.customer = Some(candidate);
            changed.insert(component);
        }
    }
    let grown = stored.into_iter().filter(|(component, _)| changed.contains(component)).collect();
    update(connection, &grown).await
}

/// Union-find over whatever has a key.
struct Sets<K> {
    index: HashMap<K, usize>,
    parent: Vec<usize>,
}

impl<K> Default for Sets<K> {
    fn default() -> Self {
        Self { index: HashMap::new(), parent: Vec::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash> Sets<K> {
    fn root_of(&mut self, key: &K) -> usize {
        let next = self.parent.len();
        let mut i = *self.index.entry(key.clone()).or_insert(next);
        if i == next {
            self.parent.push(next);
        }
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn unite(&mut self, a: &K, b: &K) {
        let (a, b) = (self.root_of(a), self.root_of(b));
        self.parent[a.max(b)] = a.min(b);
    }
}
