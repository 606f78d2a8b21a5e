//! From links to customers: components by Kruskal, one value of a unique kind in each.

use std::collections::{BTreeSet, HashMap, HashSet};

use domain::Stamp;
use projection::Pace;
use uuid::Uuid;

use super::links::links;
use super::{HubLimits, Link, LinkEvent, Node, Pair, SubjectRow, Unique, hubs};

/// Who a component is: the earliest of its subjects gives it its id. Ordered so that the least one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Customer {
    /// When the subject was first named, microseconds UTC.
    pub first_at: i64,
    /// The strength of its strongest identifier, hub or not.
    pub kind_rank: u8,
    /// Its id: the customer's.
    pub id: Uuid,
}

/// Identifiers of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The identifiers, strongest first.
    pub members: Vec<Node>,
    /// Who it is. `None` if no subject hangs on any member (a value that only ever stood beside a conflicting one).
    pub customer: Option<Customer>,
    /// Components with the same number are held apart by conflicts only.
    pub cluster: usize,
}

impl Component {
    /// Which unique kinds it holds a value of, as a mask of [`Unique::index`] bits.
    pub fn uniques(&self) -> u8 {
        self.members.iter().filter_map(Node::unique).fold(0, |mask, unique| mask | 1 << unique.index())
    }
}

/// A link that is on but left out: it would join two values of a unique kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The link.
    pub pair: Pair,
    /// The link's time.
    pub since: Stamp,
    /// The kind of which there would be two values.
    pub unique: Unique,
    /// The value on the side of the pair's left end (of values made one, the least).
    pub left_value: String,
    /// The value on the side of the right end.
    pub right_value: String,
    /// The cluster it lies in.
    pub cluster: usize,
}

/// The whole answer.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// What each subject hangs on; `None`: nothing but hubs, a customer of its own.
    pub anchors: HashMap<Uuid, Option<Node>>,
    /// Every pair something was said of.
    pub links: Vec<Link>,
    /// The components, in the order of their strongest members.
    pub components: Vec<Component>,
    /// The links left out, in the order of the pairs.
    pub conflicts: Vec<Conflict>,
}

/// The graph over a complete history.
pub fn resolve_all(subjects: &[SubjectRow], events: &[LinkEvent], limits: &HubLimits) -> Graph {
    let mut universe: BTreeSet<Node> = subjects.iter().flat_map(|s| s.identifiers.iter().cloned()).collect();
    universe.extend(events.iter().flat_map(|e| [e.pair.left().clone(), e.pair.right().clone()]));
    resolve(&universe, subjects, events, &hubs(subjects, limits), &Pace::at_once())
}

/// The graph over whole clusters: `universe` holds all their identifiers, `subjects` all that hang on one of them,
/// `events` all that name one of them, `hubs` the hubs among them all. What lies outside `universe` is left alone.
pub fn resolve(
    universe: &BTreeSet<Node>,
    subjects: &[SubjectRow],
    events: &[LinkEvent],
    hubs: &HashSet<Node>,
    pace: &Pace,
) -> Graph {
    let links = links(subjects, events, hubs, pace);
    let inside = |l: &&Link| l.on && universe.contains(l.pair.left()) && universe.contains(l.pair.right());
    let on: Vec<&Link> = pace.along(&links).filter(inside).collect();
    let linked: HashSet<&Node> = pace.along(&on).flat_map(|l| [l.pair.left(), l.pair.right()]).collect();
    // A hub that no event links by name belongs to nobody.
    let is_anybodys = |n: &&Node| linked.contains(n) || !hubs.contains(*n);
    let nodes: Vec<Node> = pace.along(universe).filter(is_anybodys).cloned().collect();

    let mut forest = Forest::new(nodes, pace);
    forest.unite_aliases(&on);
    let mut left_out = Vec::new();
    for link in pace.along(in_order(&on)) {
        if let Err(clash) = forest.join(&link.pair) {
            left_out.push((link, clash));
        }
    }
    let clusters = forest.clusters(left_out.iter().map(|(link, _)| &link.pair));
    let mut conflicts: Vec<Conflict> =
        left_out.into_iter().map(|(link, clash)| forest.conflict(link, clash, &clusters)).collect();
    conflicts.sort_by(|a, b| a.pair.texts().cmp(&b.pair.texts()));

    let mut anchors = HashMap::with_capacity(subjects.len());
    let mut customers: HashMap<usize, Customer> = HashMap::new();
    for subject in pace.along(subjects) {
        let anchor = subject.anchor(|n| hubs.contains(n)).cloned();
        if let Some(root) = anchor.as_ref().and_then(|a| forest.root_of(a)) {
            let senior = subject.seniority();
            customers.entry(root).and_modify(|c| *c = senior.min(*c)).or_insert(senior);
        }
        anchors.insert(subject.id, anchor);
    }
    let components = forest.components(&customers, &clusters, pace);
    Graph { anchors, links, components, conflicts }
}

/// The order in which links are taken: strength of the weaker end, time, pair.
fn in_order<'l>(on: &[&'l Link]) -> Vec<&'l Link> {
    let mut ordered = on.to_vec();
    ordered.sort_by(|a, b| {
        let key = |l: &'l Link| (l.pair.rank(), l.since.occurred_at(), l.pair.texts());
        key(a).cmp(&key(b))
    });
    ordered
}

/// Two classes of values of one unique kind that a link would have joined: the kind, the left side's, the right side's.
struct Clash {
    unique: Unique,
    left: usize,
    right: usize,
}

/// Union-find over the nodes. A component knows the class of values it holds of each unique kind.
struct Forest {
    nodes: Vec<Node>,
    index: HashMap<Node, usize>,
    parent: Vec<usize>,
    /// By root: the least node of the value's alias class, a unique kind.
    held: Vec<[Option<usize>; Unique::ALL.len()]>,
}

impl Forest {
    /// `nodes` sorted: the index of a node is its place in the order, so that the least root is the strongest member.
    fn new(nodes: Vec<Node>, pace: &Pace) -> Self {
        let index = pace.along(&nodes).cloned().enumerate().map(|(i, n)| (n, i)).collect();
        let held =
            nodes.iter().enumerate().map(|(i, n)| Unique::ALL.map(|u| (n.unique() == Some(u)).then_some(i))).collect();
        Self { parent: (0..nodes.len()).collect(), held, nodes, index }
    }

    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn root_of(&mut self, node: &Node) -> Option<usize> {
        let i = *self.index.get(node)?;
        Some(self.root(i))
    }

    fn ends(&mut self, pair: &Pair) -> (usize, usize) {
        let end = |forest: &mut Self, node| forest.root_of(node).expect("both ends of a link that is on are nodes");
        (end(self, pair.left()), end(self, pair.right()))
    }

    /// Joins two roots; the least stays a root.
    fn unite(&mut self, a: usize, b: usize) {
        let (top, below) = (a.min(b), a.max(b));
        self.parent[below] = top;
        for unique in Unique::ALL {
            let slot = unique.index();
            let held = [self.held[top][slot], self.held[below][slot]].into_iter().flatten().min();
            self.held[top][slot] = held;
        }
    }

    /// An explicit assertion between two values of one unique kind makes them one before anything else.
    fn unite_aliases(&mut self, on: &[&Link]) {
        for link in on.iter().filter(|l| l.explicit) {
            let (left, right) = (link.pair.left().unique(), link.pair.right().unique());
            if left.is_some() && left == right {
                let (a, b) = self.ends(&link.pair);
                if a != b {
                    self.unite(a, b);
                }
            }
        }
    }

    /// Joins the ends of a link, unless that would join two values of a unique kind.
    fn join(&mut self, pair: &Pair) -> Result<(), Clash> {
        let (a, b) = self.ends(pair);
        if a == b {
            return Ok(());
        }
        for unique in Unique::ALL {
            if let (Some(left), Some(right)) = (self.held[a][unique.index()], self.held[b][unique.index()]) {
                return Err(Clash { unique, left, right });
            }
        }
        self.unite(a, b);
        Ok(())
    }

    /// Root -> cluster: the least root among the components that links left out would have joined.
    fn clusters<'p>(&mut self, left_out: impl Iterator<Item = &'p Pair>) -> HashMap<usize, usize> {
        let mut above: Vec<usize> = (0..self.nodes.len()).collect();
        let top = |above: &[usize], mut i: usize| {
            while above[i] != i {
                i = above[i];
            }
            i
        };
        for pair in left_out {
            let (a, b) = self.ends(pair);
            let (a, b) = (top(&above, a), top(&above, b));
            above[a.max(b)] = a.min(b);
        }
        (0..self.nodes.len()).filter(|i| self.parent[*i] == *i).map(|root| (root, top(&above, root))).collect()
    }

    fn conflict(&mut self, link: &Link, clash: Clash, clusters: &HashMap<usize, usize>) -> Conflict {
        let (root, _) = self.ends(&link.pair);
        let value = |i: usize| self.nodes[i].value().to_owned();
        Conflict {
            pair: link.pair.clone(),
            since: link.since.clone(),
            unique: clash.unique,
            left_value: value(clash.left),
            right_value: value(clash.right),
            cluster: clusters[&root],
        }
    }

    fn components(
        &mut self,
        customers: &HashMap<usize, Customer>,
        clusters: &HashMap<usize, usize>,
        pace: &Pace,
    ) -> Vec<Component> {
        let mut members: HashMap<usize, Vec<Node>> = HashMap::new();
        for i in pace.along(0..self.nodes.len()) {
            let root = self.root(i);
            members.entry(root).or_default().push(self.nodes[i].clone());
        }
        let mut roots: Vec<usize> = members.keys().copied().collect();
        roots.sort_unstable();
        let component = |root: usize| Component {
            members: members.remove(&root).unwrap_or_default(),
            customer: customers.get(&root).copied(),
            cluster: clusters[&root],
        };
        pace.along(roots).map(component).collect()
    }
}
