//! Who is whom, computed at one go over everything that was ever said: no increments, no clusters, no shortcuts.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Identifier, Interaction, Kind, Namespace, Stamp, Subject};
use rapport_proto::v1::interaction::Data;
use uuid::Uuid;

/// A subject: the identifiers it is made of, and the first event that names it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Strongest first.
    pub identifiers: Vec<Identifier>,
    /// The least stamp of the events that name it.
    pub first: Stamp,
}

/// An unordered pair, the lesser text first.
pub type Pair = (Identifier, Identifier);

/// What was said of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// On: the first assertion after the last revocation. Off: the last revocation.
    pub since: Stamp,
    /// Whether it counts as a link.
    pub on: bool,
    /// Whether somebody said it, rather than an event implying it.
    pub explicit: bool,
}

/// A link that is on and left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The unique kind of which there would be two values.
    pub kind: &'static str,
    /// On the side of the pair's first; of values that are one, the least.
    pub left_value: String,
    /// On the side of the pair's second.
    pub right_value: String,
}

/// The whole graph.
#[derive(Debug, Default)]
pub struct Graph {
    /// Every subject named by an unvoided event.
    pub subjects: BTreeMap<Uuid, Named>,
    /// Identifiers too widely shared to tell people apart.
    pub hubs: BTreeSet<Identifier>,
    /// Every pair that something was said of.
    pub links: BTreeMap<Pair, Link>,
    /// Links that are on and left out, because they would join two values of a unique kind.
    pub conflicts: BTreeMap<Pair, Conflict>,
    /// subject -> customer.
    pub customers: BTreeMap<Uuid, Uuid>,
    /// identifier -> customer, for those that belong to one.
    pub identifiers: BTreeMap<Identifier, Uuid>,
}

/// The graph of these counted, unvoided interactions.
pub fn graph(events: &[&Interaction], namespace: &Namespace) -> Graph {
    let subjects = subjects(events, namespace);
    let hubs = hubs(&subjects);
    let links = links(events, &subjects, &hubs);
    let mut graph = Graph { subjects, hubs, links, ..Graph::default() };
    join(&mut graph);
    graph
}

fn subjects(events: &[&Interaction], namespace: &Namespace) -> BTreeMap<Uuid, Named> {
    let mut subjects: BTreeMap<Uuid, Named> = BTreeMap::new();
    for event in events {
        let singles = event.participants.iter().cloned().chain(sides(event).into_iter().flat_map(|(l, r, _)| [l, r]));
        let named = event.subject.clone().into_iter().chain(singles.filter_map(|i| Subject::new(namespace, [i])));
        for subject in named {
            let entry = subjects
                .entry(subject.id)
                .or_insert_with(|| Named { identifiers: subject.identifiers, first: event.stamp.clone() });
            if event.stamp < entry.first {
                entry.first = event.stamp.clone();
            }
        }
    }
    subjects
}

/// The two sides of an explicit link and whether it is asserted; `None` if a side identifies nobody.
fn sides(event: &Interaction) -> Option<(Identifier, Identifier, bool)> {
    let (left, right, asserted) = match event.wire.data.as_ref()? {
        Data::IdentityLinkAsserted(l) => (&l.left, &l.right, true),
        Data::IdentityLinkRevoked(l) => (&l.left, &l.right, false),
        _ => return None,
    };
    let side = |text: &Option<String>| Identifier::parse(text.as_deref()?).filter(|i| i.kind().links());
    Some((side(left)?, side(right)?, asserted))
}

fn limit(of: &Kind, neighbour: &Kind) -> Option<usize> {
    use Kind::{AnonymousId, Card, CustomerNo, DeviceId, Email, Phone, UserId};
    match (of, neighbour) {
        (Email | Phone | Card, UserId | CustomerNo) => Some(5),
        (Email, Phone) | (Phone, Email) => Some(10),
        (Email | Phone, DeviceId | AnonymousId) => Some(50),
        (Card, Email) => Some(5),
        (DeviceId | AnonymousId, stronger) if stronger.rank() < of.rank() => Some(5),
        _ => None,
    }
}

fn hubs(subjects: &BTreeMap<Uuid, Named>) -> BTreeSet<Identifier> {
    let mut neighbours: BTreeMap<&Identifier, BTreeSet<&Identifier>> = BTreeMap::new();
    for subject in subjects.values() {
        for a in &subject.identifiers {
            neighbours.entry(a).or_default().extend(subject.identifiers.iter().filter(|b| *b != a));
        }
    }
    let crowded = |of: &Identifier, around: &BTreeSet<&Identifier>| {
        around.iter().any(|n| {
            let same_kind = around.iter().filter(|o| o.kind() == n.kind()).count();
            limit(of.kind(), n.kind()).is_some_and(|limit| same_kind > limit)
        })
    };
    neighbours.iter().filter(|(of, around)| crowded(of, around)).map(|(of, _)| (*of).clone()).collect()
}

fn pair(a: &Identifier, b: &Identifier) -> Pair {
    if a.to_string() <= b.to_string() { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

fn links(
    events: &[&Interaction],
    subjects: &BTreeMap<Uuid, Named>,
    hubs: &BTreeSet<Identifier>,
) -> BTreeMap<Pair, Link> {
    let mut implied: BTreeMap<Pair, Stamp> = BTreeMap::new();
    for subject in subjects.values() {
        let plain: Vec<_> = subject.identifiers.iter().filter(|i| !hubs.contains(i)).collect();
        let Some(anchor) = plain.iter().min() else { continue };
        for other in plain.iter().filter(|o| o != &anchor) {
            let since = implied.entry(pair(anchor, other)).or_insert_with(|| subject.first.clone());
            if subject.first < *since {
                *since = subject.first.clone();
            }
        }
    }
    let mut said: BTreeMap<Pair, Vec<(&Interaction, bool)>> = BTreeMap::new();
    for event in events {
        if let Some((left, right, asserted)) = sides(event).filter(|(l, r, _)| l != r) {
            said.entry(pair(&left, &right)).or_default().push((event, asserted));
        }
    }
    let mut links: BTreeMap<Pair, Link> = implied
        .iter()
        .map(|(pair, since)| (pair.clone(), Link { since: since.clone(), on: true, explicit: false }))
        .collect();
    for (pair, mut said) in said {
        said.sort_by(|a, b| a.0.stamp.cmp(&b.0.stamp));
        let revoked = said.iter().rposition(|(_, asserted)| !asserted);
        let link = match (revoked, said.get(revoked.map_or(0, |i| i + 1))) {
            (Some(revoked), None) => Link { since: said[revoked].0.stamp.clone(), on: false, explicit: true },
            (Some(_), Some((again, _))) => Link { since: again.stamp.clone(), on: true, explicit: true },
            (None, first) => {
                let said = first.map(|(event, _)| &event.stamp);
                let since = said.into_iter().chain(implied.get(&pair)).min().expect("something was said").clone();
                Link { since, on: true, explicit: true }
            }
        };
        links.insert(pair, link);
    }
    links
}

/// A node of the graph: an identifier, or a subject that nothing but hubs name.
type Node = Result<Identifier, Uuid>;

fn join(graph: &mut Graph) {
    let mut component: BTreeMap<Node, usize> = BTreeMap::new();
    let node = |component: &mut BTreeMap<Node, usize>, n: Node| {
        let next = component.len();
        component.entry(n).or_insert(next);
    };
    let anchor = |graph: &Graph, id: &Uuid, named: &Named| -> Node {
        named.identifiers.iter().filter(|i| !graph.hubs.contains(i)).min().cloned().ok_or(*id)
    };
    for (id, named) in &graph.subjects {
        node(&mut component, anchor(graph, id, named));
        for identifier in named.identifiers.iter().filter(|i| !graph.hubs.contains(i)) {
            node(&mut component, Ok(identifier.clone()));
        }
    }
    for (a, b) in graph.links.iter().filter(|(_, l)| l.on).map(|(p, _)| p) {
        node(&mut component, Ok(a.clone()));
        node(&mut component, Ok(b.clone()));
    }
    let merge = |component: &mut BTreeMap<Node, usize>, a: usize, b: usize| {
        component.values_mut().filter(|c| **c == b).for_each(|c| *c = a);
    };
    let at = |component: &BTreeMap<Node, usize>, i: &Identifier| component[&Ok(i.clone())];

    // Aliases first: two values of one unique kind that somebody said are one.
    for (a, b) in graph
        .links
        .iter()
        .filter(|((a, b), l)| l.on && l.explicit && a.kind() == b.kind() && a.kind().is_unique())
        .map(|(p, _)| p)
    {
        let (x, y) = (at(&component, a), at(&component, b));
        merge(&mut component, x, y);
    }
    // Which value a unique identifier counts as, its aliases united.
    let value: BTreeMap<Identifier, usize> = component
        .iter()
        .filter_map(|(n, c)| n.as_ref().ok().filter(|i| i.kind().is_unique()).map(|i| (i.clone(), *c)))
        .collect();

    let mut ordered: Vec<(&Pair, &Link)> = graph.links.iter().filter(|(_, l)| l.on).collect();
    ordered.sort_by_key(|(pair, link)| {
        let weaker = pair.0.kind().rank().max(pair.1.kind().rank());
        (weaker, link.since.occurred_at(), pair.0.to_string(), pair.1.to_string())
    });
    for (pair, _) in ordered {
        let (x, y) = (at(&component, &pair.0), at(&component, &pair.1));
        if x == y {
            continue;
        }
        // The least value of a unique kind that a component holds: of alias classes it has one at most.
        let held = |c: usize, kind: &str| {
            let of_kind = component.iter().filter(|(_, at)| **at == c).filter_map(|(n, _)| n.as_ref().ok());
            of_kind.filter(|i| i.kind().as_str() == kind).min().cloned()
        };
        let clash = ["customer_no", "user_id"].iter().find_map(|kind| Some((*kind, held(x, kind)?, held(y, kind)?)));
        match clash {
            Some((kind, left, right)) => {
                let conflict = Conflict { kind, left_value: least(&value, &left), right_value: least(&value, &right) };
                graph.conflicts.insert(pair.clone(), conflict);
            }
            None => merge(&mut component, x, y),
        }
    }

    let mut earliest: BTreeMap<usize, (i64, u8, Uuid)> = BTreeMap::new();
    let mut of_subject: BTreeMap<Uuid, usize> = BTreeMap::new();
    for (id, named) in &graph.subjects {
        let c = component[&anchor(graph, id, named)];
        of_subject.insert(*id, c);
        let rank = named.identifiers.first().map_or(u8::MAX, |i| i.kind().rank());
        let candidate = (named.first.occurred_at(), rank, *id);
        let best = earliest.entry(c).or_insert(candidate);
        *best = (*best).min(candidate);
    }
    graph.customers = of_subject.into_iter().map(|(s, c)| (s, earliest[&c].2)).collect();
    graph.identifiers =
        component.iter().filter_map(|(n, c)| Some((n.as_ref().ok()?.clone(), earliest.get(c)?.2))).collect();
}

/// The least of the values that are one with this one.
fn least(classes: &BTreeMap<Identifier, usize>, of: &Identifier) -> String {
    let class = classes.get(of);
    classes.iter().filter(|(_, c)| Some(*c) == class).map(|(i, _)| i).min().unwrap_or(of).value().to_owned()
}
