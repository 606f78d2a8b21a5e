//! Which links are on, and since when.

use std::collections::{BTreeMap, HashSet};

use domain::Stamp;
use projection::Pace;

use super::{Node, Pair, SubjectRow};

/// An event that says that two identifiers are, or are not, of one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// The two identifiers.
    pub pair: Pair,
    /// Where it stands in the order of facts.
    pub stamp: Stamp,
    /// Asserted or revoked.
    pub asserted: bool,
}

/// What is known of a pair of identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The two identifiers.
    pub pair: Pair,
    /// Whether they count as linked.
    pub on: bool,
    /// Asserted or revoked by an event; otherwise only implied by subjects.
    pub explicit: bool,
    /// While on: the event that first linked them after their last revocation. While off: the last revocation.
    pub since: Stamp,
}

/// What events said of one pair, and what subjects imply.
#[derive(Default)]
struct Said {
    implied: Option<Stamp>,
    explicit: Vec<(Stamp, bool)>,
}

impl Said {
    fn link(mut self, pair: Pair) -> Option<Link> {
        self.explicit.sort_unstable();
        let explicit = !self.explicit.is_empty();
        let (on, since) = match self.explicit.iter().rposition(|(_, asserted)| !asserted) {
            // What was said before the last revocation, or implied at any time, does not count against it.
            Some(revoked) => match self.explicit.get(revoked + 1) {
                Some((asserted, _)) => (true, asserted.clone()),
                None => (false, self.explicit[revoked].0.clone()),
            },
            None => {
                let asserted = self.explicit.into_iter().next().map(|(stamp, _)| stamp);
                (true, asserted.into_iter().chain(self.implied).min()?)
            }
        };
        Some(Link { pair, on, explicit, since })
    }
}

/// Every pair that an event asserted or revoked or that a subject implies, in the order of the pairs. A subject implies
/// a link from its anchor to each other identifier of it that is no hub; explicit links stay on at hubs.
pub fn links(subjects: &[SubjectRow], events: &[LinkEvent], hubs: &HashSet<Node>, pace: &Pace) -> Vec<Link> {
    let mut pairs: BTreeMap<Pair, Said> = BTreeMap::new();
    for subject in pace.along(subjects) {
        let Some(anchor) = subject.anchor(|n| hubs.contains(n)) else { continue };
        for other in subject.identifiers.iter().filter(|n| !hubs.contains(*n)) {
            let Some(pair) = Pair::new(anchor, other) else { continue };
            let implied = &mut pairs.entry(pair).or_default().implied;
            if implied.as_ref().is_none_or(|first| subject.first < *first) {
                *implied = Some(subject.first.clone());
            }
        }
    }
    for event in pace.along(events) {
        pairs.entry(event.pair.clone()).or_default().explicit.push((event.stamp.clone(), event.asserted));
    }
    pace.along(pairs).filter_map(|(pair, said)| said.link(pair)).collect()
}
