//! Which events are in one thread: those that have a text in common, directly or by others.

use std::collections::{BTreeSet, HashMap};

/// Events that are in one thread, and what is known of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Group<'n> {
    /// Indexes of the events.
    pub(super) events: Vec<usize>,
    /// The components that it joins; none if all of it is new.
    pub(super) components: BTreeSet<i64>,
    /// What joins its events that was in no component yet, each once.
    pub(super) new_nodes: Vec<&'n str>,
}

/// Groups events by what joins them (none of these is empty), and by the components that know some of it.
pub(super) fn groups<'n>(events: &[&'n [String]], known: &HashMap<String, i64>) -> Vec<Group<'n>> {
    let mut union = Union::default();
    let mut elements: HashMap<&'n str, usize> = HashMap::new();
    let mut components: HashMap<i64, usize> = HashMap::new();
    let mut new_nodes: Vec<(&'n str, usize)> = Vec::new();
    let mut homes: Vec<usize> = Vec::with_capacity(events.len());
    for nodes in events {
        let home = union.add();
        homes.push(home);
        for node in *nodes {
            let element = *elements.entry(node).or_insert_with(|| match known.get(node) {
                Some(component) => *components.entry(*component).or_insert_with(|| union.add()),
                None => {
                    let element = union.add();
                    new_nodes.push((node, element));
                    element
                }
            });
            union.join(home, element);
        }
    }
    let mut groups: Vec<Group<'n>> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    for (event, home) in homes.into_iter().enumerate() {
        let place = *places.entry(union.root(home)).or_insert_with(|| {
            groups.push(Group::default());
            groups.len() - 1
        });
        groups[place].events.push(event);
    }
    for (component, element) in components {
        groups[places[&union.root(element)]].components.insert(component);
    }
    for (node, element) in new_nodes {
        groups[places[&union.root(element)]].new_nodes.push(node);
    }
    groups
}

/// Disjoint sets of numbers.
#[derive(Debug, Default)]
struct Union {
    parents: Vec<usize>,
}

impl Union {
    fn add(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.parents.len() - 1
    }

    fn root(&mut self, mut of: usize) -> usize {
        while self.parents[of] != of {
            self.parents[of] = self.parents[self.parents[of]];
            of = self.parents[of];
        }
        of
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same worked out naively: grown from each event until nothing is added.
    fn grown(events: &[Vec<String>], known: &HashMap<String, i64>) -> BTreeSet<(Vec<usize>, Vec<i64>, Vec<String>)> {
        let shares = |a: &[String], b: &[String]| {
            a.iter().any(|x| b.iter().any(|y| x == y || (known.contains_key(x) && known.get(x) == known.get(y))))
        };
        let grow = |from: usize| {
            let mut of: BTreeSet<usize> = BTreeSet::from([from]);
            loop {
                let more = (0..events.len()).filter(|n| of.iter().any(|m| shares(&events[*n], &events[*m])));
                let wider: BTreeSet<usize> = of.iter().copied().chain(more).collect();
                if wider == of {
                    return of;
                }
                of = wider;
            }
        };
        let describe = |of: BTreeSet<usize>| {
            let nodes: BTreeSet<&String> = of.iter().flat_map(|n| &events[*n]).collect();
            let components: BTreeSet<i64> = nodes.iter().filter_map(|n| known.get(*n).copied()).collect();
            let new = nodes.into_iter().filter(|n| !known.contains_key(*n)).cloned().collect();
            (of.into_iter().collect(), components.into_iter().collect(), new)
        };
        (0..events.len()).map(|n| describe(grow(n))).collect()
    }

    proptest! {
        #[test]
        fn groups_are_components(
            events in proptest::collection::vec(proptest::collection::btree_set("[a-h]", 1..4), 0..8),
            known in proptest::collection::hash_map("[a-h]", 1..4i64, 0..6),
        ) {
            let events: Vec<Vec<String>> = events.into_iter().map(|nodes| nodes.into_iter().collect()).collect();
            let slices: Vec<&[String]> = events.iter().map(Vec::as_slice).collect();
            let found = groups(&slices, &known);
            let count = found.len();
            let found: BTreeSet<_> = found
                .into_iter()
                .map(|g| {
                    let mut nodes: Vec<String> = g.new_nodes.into_iter().map(str::to_owned).collect();
                    nodes.sort();
                    (g.events, g.components.into_iter().collect::<Vec<_>>(), nodes)
                })
                .collect();
            prop_assert_eq!(count, found.len());
            prop_assert_eq!(found, grown(&events, &known));
        }
    }
}
