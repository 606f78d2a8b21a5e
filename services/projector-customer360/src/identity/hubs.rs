//! Which identifiers are hubs: shared by so many that they say nothing about who somebody is.

use std::collections::{BTreeSet, HashMap, HashSet};

use domain::Kind;

use super::{Node, SubjectRow};

/// How many distinct neighbours of a kind an identifier may have before it is a hub. Part of the model's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// A rule is (kind, kind of the neighbours, most); `*` stands for every kind that is stronger.
    rules: Vec<(String, String, usize)>,
}

/// Every kind that is stronger than the identifier's own.
const STRONGER: &str = "*";

impl Default for HubLimits {
    fn default() -> Self {
        Self::new([
            ("email", "customer_no", 5),
            ("email", "user_id", 5),
            ("email", "phone", 10),
            ("email", "device_id", 50),
            ("email", "anonymous_id", 50),
            ("phone", "customer_no", 5),
            ("phone", "user_id", 5),
            ("phone", "email", 10),
            ("phone", "device_id", 50),
            ("phone", "anonymous_id", 50),
            ("card", "customer_no", 5),
            ("card", "user_id", 5),
            ("card", "email", 5),
            ("device_id", STRONGER, 5),
            ("anonymous_id", STRONGER, 5),
        ])
    }
}

impl HubLimits {
    /// Limits by rules `(kind, kind of the neighbours or "*" for each stronger one, most)`; the first that fits counts.
    pub fn new<'a>(rules: impl IntoIterator<Item = (&'a str, &'a str, usize)>) -> Self {
        Self { rules: rules.into_iter().map(|(kind, of, most)| (kind.to_owned(), of.to_owned(), most)).collect() }
    }

    /// These limits with some set otherwise: `device_id/email=20`, `email/anonymous_id=100`, `card/*=3` for every kind
    /// that is stronger.
    ///
    /// # Errors
    /// A sentence, where one cannot be read or names a kind that links nobody.
    pub fn with(self, changes: &[String]) -> Result<Self, String> {
        let mut rules = Vec::with_capacity(changes.len() + self.rules.len());
        for change in changes {
            let unread = || format!("{change:?} is no hub limit such as email/user_id=5");
            let (kinds, most) = change.split_once('=').ok_or_else(unread)?;
            let (kind, of) = kinds.split_once('/').ok_or_else(unread)?;
            let (kind, of) = (kind.trim(), of.trim());
            let most: usize = most.trim().parse().map_err(|_| unread())?;
            for name in [Some(kind), (of != STRONGER).then_some(of)].into_iter().flatten() {
                if !Kind::parse(name).is_some_and(|kind| kind.links()) {
                    return Err(format!("{change:?} names {name:?}, which is no kind of identifier that links people"));
                }
            }
            rules.push((kind.to_owned(), of.to_owned(), most));
        }
        // The first that fits counts.
        rules.extend(self.rules);
        Ok(Self { rules })
    }

    /// How many neighbours of `neighbour`'s kind `node` may have; `None`: any number.
    pub fn most(&self, node: &Node, neighbour: &Node) -> Option<usize> {
        self.rules
            .iter()
            .find(|(kind, of, _)| {
                kind == node.kind() && (of == neighbour.kind() || (of == STRONGER && neighbour.rank() < node.rank()))
            })
            .map(|(_, _, most)| *most)
    }

    /// Whether these distinct neighbours make `node` a hub.
    pub fn exceeded<'a>(&self, node: &Node, neighbours: impl IntoIterator<Item = &'a Node>) -> bool {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        neighbours.into_iter().any(|neighbour| {
            let Some(most) = self.most(node, neighbour) else { return false };
            let count = counts.entry(neighbour.kind()).or_default();
            *count += 1;
            *count > most
        })
    }

    /// The rules as text, for the model's definition.
    pub fn canonical(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(|(kind, of, most)| format!("{kind}/{of}={most}")).collect();
        rules.join(",")
    }
}

/// The hubs among the identifiers of all these subjects, told plainly; the fold and the load find the same as they go.
pub fn hubs(subjects: &[SubjectRow], limits: &HubLimits) -> HashSet<Node> {
    let mut neighbours: HashMap<&Node, BTreeSet<&Node>> = HashMap::new();
    for subject in subjects {
        for node in &subject.identifiers {
            // Others are not counted: a subject may name hundreds.
            let counted = subject.identifiers.iter().filter(|o| *o != node && limits.most(node, o).is_some());
            neighbours.entry(node).or_default().extend(counted);
        }
    }
    let exceeded = |(node, near): (&Node, BTreeSet<&Node>)| limits.exceeded(node, near).then(|| node.clone());
    neighbours.into_iter().filter_map(exceeded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(texts: &[&str]) -> Vec<Node> {
        texts.iter().map(|t| Node::parse(t).expect("a linking identifier")).collect()
    }

    #[test]
    fn a_limit_is_what_is_still_allowed() {
        let limits = HubLimits::new([("email", "user_id", 2)]);
        let email = &nodes(&["email:a@b.c"])[0];
        assert!(!limits.exceeded(email, &nodes(&["user_id:1", "user_id:2", "phone:+491"])));
        assert!(limits.exceeded(email, &nodes(&["user_id:1", "user_id:2", "user_id:3"])));
    }

    #[test]
    fn limits_can_be_set_otherwise() {
        let changes = ["email/user_id=1", " device_id / email = 9 "].map(str::to_owned);
        let limits = HubLimits::default().with(&changes).expect("limits");
        let most = |node: &str, near: &str| limits.most(&nodes(&[node])[0], &nodes(&[near])[0]);
        assert_eq!(most("email:a", "user_id:1"), Some(1));
        assert_eq!(most("device_id:d", "email:a"), Some(9));
        assert_eq!((most("device_id:d", "phone:1"), most("email:a", "phone:1")), (Some(5), Some(10)));
        assert_ne!(limits.canonical(), HubLimits::default().canonical(), "another definition");
        for wrong in ["email", "email/user_id", "email=5", "email/user_id=few", "mail/user_id=5", "email/account=5"] {
            let sentence = HubLimits::default().with(&[wrong.to_owned()]).expect_err(wrong);
            assert!(sentence.contains(wrong), "{sentence}");
        }
    }

    #[test]
    fn stronger_kinds_are_counted_each_on_its_own() {
        let limits = HubLimits::default();
        let device = &nodes(&["device_id:d"])[0];
        let mut near =
            nodes(&["email:1", "email:2", "email:3", "email:4", "email:5", "phone:1", "phone:2", "external.crm:1"]);
        near.extend(nodes(&[
            "anonymous_id:1",
            "anonymous_id:2",
            "anonymous_id:3",
            "anonymous_id:4",
            "anonymous_id:5",
            "anonymous_id:6",
        ]));
        assert!(!limits.exceeded(device, &near));
        near.extend(nodes(&["email:6"]));
        assert!(limits.exceeded(device, &near));
        let user = &nodes(&["user_id:u"])[0];
        let many: Vec<Node> = (0..500).filter_map(|n| Node::parse(&format!("device_id:{n}"))).collect();
        assert!(!limits.exceeded(user, &many));
    }
}
