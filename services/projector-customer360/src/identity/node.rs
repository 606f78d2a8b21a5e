//! An identifier as the graph sees it: its text and its strength.

use std::sync::Arc;

use domain::{Identifier, Kind};

/// A linking identifier. Sorts strongest first: by the rank of its kind, then by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    rank: u8,
    text: Arc<str>,
}

impl Node {
    /// The node of an identifier's text (`email:a@b.c`). `None` if its kind links nobody.
    pub fn parse(text: &str) -> Option<Self> {
        let kind = Kind::parse(text.split_once(':')?.0).filter(Kind::links)?;
        Some(Self { rank: kind.rank(), text: text.into() })
    }

    /// The node of an identifier; `None` if its kind links nobody.
    pub fn of(identifier: &Identifier) -> Option<Self> {
        let kind = identifier.kind();
        kind.links().then(|| Self { rank: kind.rank(), text: identifier.to_string().into() })
    }

    /// `kind:value`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The kind by its full name (`external.crm` is a kind).
    pub fn kind(&self) -> &str {
        self.text.split_once(':').map_or("", |(kind, _)| kind)
    }

    /// The value behind the kind.
    pub fn value(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, value)| value)
    }

    /// The strength of the kind: 0 is the strongest.
    pub const fn rank(&self) -> u8 {
        self.rank
    }

    /// Which unique kind it is of, if any: one person has one value of it.
    pub const fn unique(&self) -> Option<Unique> {
        match self.rank {
            0 => Some(Unique::CustomerNo),
            1 => Some(Unique::UserId),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The kinds of which one person has one value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Unique {
    /// The company's own number of a customer.
    CustomerNo,
    /// The login.
    UserId,
}

impl Unique {
    /// All of them, strongest first.
    pub const ALL: [Self; 2] = [Self::CustomerNo, Self::UserId];

    /// The kind's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CustomerNo => "customer_no",
            Self::UserId => "user_id",
        }
    }

    /// Its place in a list of one slot a unique kind, and its bit in a mask.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Two identifiers in no order: the lesser text stands left.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pair {
    left: Node,
    right: Node,
}

impl Pair {
    /// The pair of `a` and `b`; `None` if they are the same identifier.
    pub fn new(a: &Node, b: &Node) -> Option<Self> {
        let (left, right) = match a.text().cmp(b.text()) {
            std::cmp::Ordering::Less => (a, b),
            std::cmp::Ordering::Greater => (b, a),
            std::cmp::Ordering::Equal => return None,
        };
        Some(Self { left: left.clone(), right: right.clone() })
    }

    /// The one with the lesser text.
    pub const fn left(&self) -> &Node {
        &self.left
    }

    /// The one with the greater text.
    pub const fn right(&self) -> &Node {
        &self.right
    }

    /// The rank of its weaker end.
    pub fn rank(&self) -> u8 {
        self.left.rank.max(self.right.rank)
    }

    /// The two texts, for the order of pairs.
    pub fn texts(&self) -> (&str, &str) {
        (self.left.text(), self.right.text())
    }
}
