//! What one interaction says to this model, worked out without a database.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::{Identifier, Interaction, Namespace, Stamp, Subject};
use rapport_proto::{json, v1, v1::interaction::Data};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::identity::{LinkEvent, Node, Pair};

/// A profile field's name may be this long, in bytes (it stands in an index entry); a longer one stays in the event only.
pub const FIELD_BYTES_MAX: usize = 512;
/// A channel's name may be this long; what a source calls a channel beyond it counts as `other`.
const CHANNEL_BYTES_MAX: usize = 64;

/// A subject that an event names: its own, a participant's, or a side of a link.
#[derive(Clone, Debug)]
pub(crate) struct Named<'i> {
    pub(crate) id: Uuid,
    pub(crate) identifiers: Cow<'i, [Identifier]>,
}

impl Named<'_> {
    /// Its identifiers as nodes of the graph.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.identifiers.iter().filter_map(Node::of).collect()
    }
}

/// An entity that an event names.
#[derive(Clone, Debug)]
pub(crate) struct Touched<'i> {
    pub(crate) id: Uuid,
    pub(crate) kind: &'static str,
    pub(crate) key: &'i str,
}

/// What an unvoided interaction sets.
#[derive(Debug)]
pub(crate) struct Effects<'i> {
    pub(crate) stamp: &'i Stamp,
    /// The subject that the event is about.
    pub(crate) own: Option<Uuid>,
    /// Every subject it names, its own first, each once.
    pub(crate) named: Vec<Named<'i>>,
    pub(crate) entities: Vec<Touched<'i>>,
    pub(crate) link: Option<LinkEvent>,
    /// Channel and direction, where it is a touch: something from or to the customer.
    pub(crate) touch: Option<(&'i str, &'static str)>,
    /// Profile fields with their JSON values.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) groups: Vec<String>,
}

impl<'i> Effects<'i> {
    /// What `interaction` sets.
    pub(crate) fn of(interaction: &'i Interaction, namespace: &Namespace) -> Self {
        let mut named = Vec::with_capacity(1 + interaction.participants.len());
        if let Some(Subject { id, identifiers }) = &interaction.subject {
            named.push(Named { id: *id, identifiers: Cow::Borrowed(identifiers) });
        }
        let sides = sides(&interaction.wire);
        let singles = interaction.participants.iter().cloned();
        for single in singles.chain(sides.iter().flat_map(|(l, r, _)| [l.clone(), r.clone()])) {
            let id = namespace.subject_id([&single]);
            if named.iter().all(|n: &Named<'_>| n.id != id) {
                named.push(Named { id, identifiers: Cow::Owned(vec![single]) });
            }
        }
        let entity =
            |e: &'i domain::Entity| Touched { id: namespace.entity_id(e.kind, &e.key), kind: e.kind, key: &e.key };
        Self {
            stamp: &interaction.stamp,
            own: interaction.subject.as_ref().map(|s| s.id),
            named,
            entities: interaction.owned_entities().map(entity).collect(),
            link: sides.and_then(|(left, right, asserted)| {
                let pair = Pair::new(&Node::of(&left)?, &Node::of(&right)?)?;
                Some(LinkEvent { pair, stamp: interaction.stamp.clone(), asserted })
            }),
            touch: touch(&interaction.wire),
            fields: profile_fields(&interaction.wire),
            groups: interaction.groups.iter().map(ToString::to_string).collect(),
        }
    }

    /// On whose registers it writes: its own subject's, else those of the entities it names.
    pub(crate) fn parties(&self) -> impl Iterator<Item = Uuid> {
        let entities = if self.own.is_some() { &[] } else { self.entities.as_slice() };
        self.own.into_iter().chain(entities.iter().map(|e| e.id))
    }

    /// On whose timelines it is besides its own subject's.
    pub(crate) fn appearances(&self) -> impl Iterator<Item = Uuid> {
        let others = self.named.iter().map(|n| n.id).filter(|id| Some(*id) != self.own);
        others.chain(self.entities.iter().map(|e| e.id))
    }
}

/// The channel as stored.
pub(crate) fn channel(wire: &v1::Interaction) -> &str {
    let channel = wire.channel();
    if channel.len() > CHANNEL_BYTES_MAX { "other" } else { channel }
}

fn touch(wire: &v1::Interaction) -> Option<(&str, &'static str)> {
    let direction = match wire.direction() {
        "in" => "in",
        "out" => "out",
        _ => return None,
    };
    let channel = channel(wire);
    (!channel.is_empty()).then_some((channel, direction))
}

/// The two sides of an explicit link, and whether it is asserted. `None` unless both identify somebody.
fn sides(wire: &v1::Interaction) -> Option<(Identifier, Identifier, bool)> {
    let (left, right, asserted) = match wire.data.as_ref()? {
        Data::IdentityLinkAsserted(link) => (&link.left, &link.right, true),
        Data::IdentityLinkRevoked(link) => (&link.left, &link.right, false),
        _ => return None,
    };
    let side = |text: &Option<String>| Identifier::parse(text.as_deref()?).filter(|i| i.kind().links());
    Some((side(left)?, side(right)?, asserted))
}

/// The fields that a profile event sets, with their values as JSON text.
fn profile_fields(wire: &v1::Interaction) -> BTreeMap<String, String> {
    let Some(Data::CustomerProfileUpdated(update)) = &wire.data else { return BTreeMap::new() };
    // A record that another producer wrote may hold anything here: what is no object sets nothing.
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&update.fields).unwrap_or_default();
    let usable = fields.into_iter().filter(|(name, value)| name.len() <= FIELD_BYTES_MAX && is_text(value.get()));
    usable.map(|(name, value)| (name, value.get().to_owned())).collect()
}

/// Whether a JSON value's texts are texts: one may have half a character escaped, or U+0000, which PostgreSQL can keep as
/// written and not read. Nothing needs a look but values with such escapes.
fn is_text(value: &str) -> bool {
    !value.contains("\\u") || (!value.contains("\\u0000") && serde_json::from_str::<serde_json::Value>(value).is_ok())
}

/// Reads an interaction back from the timeline.
///
/// # Errors
/// A sentence, where the row is none that this model wrote.
pub(crate) fn read_back(
    payload: &str,
    hash: &[u8],
    received_at: i64,
    namespace: &Namespace,
) -> Result<Interaction, String> {
    // In the log a catalogue type has its prefix; a bare name there belongs to a source that declared its names foreign.
    let reading = json::Reading { is_foreign: Some(&|_| true) };
    let wire: v1::Interaction = json::read_with(payload.as_bytes(), reading)
        .map_err(|faults| faults.first().map_or_else(|| "it is no event".to_owned(), ToString::to_string))?;
    let hash = hash.try_into().map_err(|_| "its hash is not 32 bytes".to_owned())?;
    Interaction::from_wire(wire, hash, received_at, namespace).map_err(|e| e.to_string())
}
