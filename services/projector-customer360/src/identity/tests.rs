//! What holds of every graph, whatever was said.

use std::collections::{BTreeSet, HashMap};

use domain::Stamp;
use projection::Pace;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn node(n: u8) -> Node {
    const KINDS: [&str; 6] = ["customer_no", "user_id", "email", "phone", "device_id", "anonymous_id"];
    Node::parse(&format!("{}:{}", KINDS[usize::from(n) % 6], n / 6)).expect("a linking identifier")
}

fn stamp(at: i64, event: u128) -> Stamp {
    Stamp::new(at, 1, None, Uuid::from_u128(event))
}

fn limits() -> HubLimits {
    HubLimits::new([("email", "user_id", 2), ("device_id", "*", 2)])
}

prop_compose! {
    fn history()(
        subjects in prop::collection::btree_map(prop::collection::btree_set(0u8..18, 1..4), 0i64..4, 0..12),
        events in prop::collection::vec((0u8..18, 0u8..18, 0i64..4, any::<bool>()), 0..8),
    ) -> (Vec<SubjectRow>, Vec<LinkEvent>) {
        let subject = |(i, (named, at)): (usize, (BTreeSet<u8>, i64))| {
            let identifiers: BTreeSet<Node> = named.into_iter().map(node).collect();
            SubjectRow { id: Uuid::from_u128(i as u128), identifiers: identifiers.into_iter().collect(), first: stamp(at, i as u128) }
        };
        let event = |(i, (a, b, at, asserted)): (usize, (u8, u8, i64, bool))| {
            Some(LinkEvent { pair: Pair::new(&node(a), &node(b))?, stamp: stamp(at, 100 + i as u128), asserted })
        };
        (subjects.into_iter().enumerate().map(subject).collect(), events.into_iter().enumerate().filter_map(event).collect())
    }
}

/// The classes of values that explicit links make one, as the least value of each.
fn aliases(graph: &Graph) -> HashMap<Node, Node> {
    let mut class: HashMap<Node, Node> = HashMap::new();
    let unique = graph.components.iter().flat_map(|c| &c.members).filter(|m| m.unique().is_some());
    class.extend(unique.map(|m| (m.clone(), m.clone())));
    for link in graph.links.iter().filter(|l| l.on && l.explicit) {
        let (left, right) = (link.pair.left(), link.pair.right());
        if left.unique().is_some() && left.unique() == right.unique() {
            let (a, b) = (class[left].clone(), class[right].clone());
            class.values_mut().filter(|c| **c == b).for_each(|c| *c = a.clone());
        }
    }
    class
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter((subjects, events) in history(), turn in 0usize..12) {
        let graph = resolve_all(&subjects, &events, &limits());
        let (mut turned, mut again) = (subjects.clone(), events.clone());
        turned.rotate_left(turn.min(subjects.len()));
        turned.reverse();
        again.reverse();
        again.extend(events);
        let other = resolve_all(&turned, &again, &limits());
        prop_assert_eq!(graph.components, other.components);
        prop_assert_eq!(graph.conflicts, other.conflicts);
        prop_assert_eq!(graph.anchors, other.anchors);
    }

    #[test]
    fn a_person_has_one_value_of_a_unique_kind((subjects, events) in history()) {
        let graph = resolve_all(&subjects, &events, &limits());
        let class = aliases(&graph);
        for component in &graph.components {
            for unique in Unique::ALL {
                let of_kind = component.members.iter().filter(|m| m.unique() == Some(unique));
                let values: BTreeSet<&Node> = of_kind.map(|m| &class[m]).collect();
                prop_assert!(values.len() <= 1, "{values:?}");
            }
        }
    }

    #[test]
    fn a_link_that_is_on_joins_or_is_a_conflict((subjects, events) in history()) {
        let graph = resolve_all(&subjects, &events, &limits());
        let home: HashMap<&Node, usize> =
            graph.components.iter().enumerate().flat_map(|(i, c)| c.members.iter().map(move |m| (m, i))).collect();
        let conflicts: BTreeSet<&Pair> = graph.conflicts.iter().map(|c| &c.pair).collect();
        for link in graph.links.iter().filter(|l| l.on) {
            let joined = home[link.pair.left()] == home[link.pair.right()];
            prop_assert_ne!(joined, conflicts.contains(&link.pair), "{:?}", link);
        }
    }

    #[test]
    fn whole_clusters_can_be_resolved_alone((subjects, events) in history()) {
        let graph = resolve_all(&subjects, &events, &limits());
        let hubs = hubs(&subjects, &limits());
        let clusters: BTreeSet<usize> = graph.components.iter().map(|c| c.cluster).collect();
        let mut apart = Vec::new();
        for cluster in clusters {
            let of_cluster = graph.components.iter().filter(|c| c.cluster == cluster);
            let universe: BTreeSet<Node> = of_cluster.flat_map(|c| c.members.iter().cloned()).collect();
            let hangs = |s: &&SubjectRow| graph.anchors[&s.id].as_ref().is_some_and(|a| universe.contains(a));
            let subjects: Vec<SubjectRow> = subjects.iter().filter(hangs).cloned().collect();
            let touches = |e: &&LinkEvent| universe.contains(e.pair.left()) || universe.contains(e.pair.right());
            let events: Vec<LinkEvent> = events.iter().filter(touches).cloned().collect();
            apart.extend(resolve(&universe, &subjects, &events, &hubs, &Pace::at_once()).components.into_iter().map(|c| (c.members, c.customer)));
        }
        apart.sort();
        let mut whole: Vec<_> = graph.components.into_iter().map(|c| (c.members, c.customer)).collect();
        whole.sort();
        prop_assert_eq!(whole, apart);
    }
}
