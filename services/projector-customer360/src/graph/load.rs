//! The whole graph at once, into empty tables without indexes.

use std::collections::{BTreeSet, HashMap, HashSet};

use projection::Pace;
use projection::copy::CopyBuffer;

use super::{arrive, settle};
use crate::identity::{self, HubLimits, LinkEvent, Node, SubjectRow};

/// The rows of a graph of which nothing is stored; those of the tables that get their indexes afterwards are sorted as
/// these are. Components are numbered from 1
/// on; `component_numbers` has to go on behind them.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) statements: Vec<(&'static str, CopyBuffer)>,
    pub(crate) components: i64,
}

/// The rows of the graph of these subjects, sorted by their ids, and link events.
pub(crate) fn rows(limits: &HubLimits, subjects: &[SubjectRow], links: &[LinkEvent], pace: &Pace) -> Rows {
    let pairs = arrive::counted_pairs(limits, pace.along(subjects).map(|s| s.identifiers.as_slice()));
    let pairs: Vec<(&Node, &Node)> = pace.along(pairs).collect();
    let is_hub = |near: &&[(&Node, &Node)]| limits.exceeded(near[0].0, near.iter().map(|(_, neighbour)| *neighbour));
    let of_a_node = pairs.chunk_by(|(node, _), (other, _)| node == other);
    let hubs: HashSet<Node> = pace.along(of_a_node).filter(is_hub).map(|near| near[0].0.clone()).collect();
    // Each once before they are sorted.
    let mut named: HashSet<&Node> = pace.along(subjects).flat_map(|s| &s.identifiers).collect();
    named.extend(pace.along(links).flat_map(|l| [l.pair.left(), l.pair.right()]));
    let universe: BTreeSet<Node> = pace.along(named).cloned().collect();
    let graph = identity::resolve(&universe, subjects, links, &hubs, pace);
    let numbers: Vec<i64> = (1..).take(graph.components.len()).collect();

    let mut homes: HashMap<&Node, i64> = HashMap::with_capacity(universe.len());
    for (component, number) in pace.along(graph.components.iter().zip(&numbers)) {
        homes.extend(component.members.iter().map(|node| (node, *number)));
    }
    let linked: HashSet<&Node> = pace.along(links).flat_map(|l| [l.pair.left(), l.pair.right()]).collect();
    let mut nodes: Vec<&Node> = pace.along(&universe).collect();
    nodes.sort_unstable_by_key(|node| node.text());
    let mut identifiers = CopyBuffer::with_capacity(4, nodes.len() * 64);
    for node in pace.along(nodes) {
        identifiers
            .begin_row()
            .put_text(node.text())
            .put_opt(homes.get(node).copied(), CopyBuffer::put_i64)
            .put_bool(hubs.contains(node))
            .put_bool(linked.contains(node));
    }
    let of_subjects = arrive::subject_rows(subjects, |node| hubs.contains(node), pace);
    Rows {
        components: numbers.len() as i64,
        statements: of_subjects
            .into_iter()
            .chain([
                ("COPY identifiers (identifier, component, hub, linked) FROM STDIN BINARY", identifiers),
                arrive::link_rows(pace.along(links)),
                neighbours(&pairs, pace),
                settle::component_rows(&graph, &numbers, pace),
                settle::conflict_rows(&graph, &numbers, pace),
            ])
            .collect(),
    }
}

fn neighbours(pairs: &[(&Node, &Node)], pace: &Pace) -> (&'static str, CopyBuffer) {
    let mut pairs: Vec<(&str, &str)> = pace.along(pairs).map(|(node, near)| (node.text(), near.text())).collect();
    pairs.sort_unstable();
    let mut rows = CopyBuffer::with_capacity(2, pairs.len() * 96);
    for (node, neighbour) in pace.along(pairs) {
        rows.begin_row().put_text(node).put_text(neighbour);
    }
    ("COPY neighbours (identifier, neighbour) FROM STDIN BINARY", rows)
}
