//! A record of the log, decoded: the interaction as every fold sees it.

use prost::{
    DecodeError as WireError, Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use rapport_proto::{catalogue, v1};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    identifier::{IDENTIFIER_BYTES_MAX, Identifier},
    ids::{self, EventId, Namespace},
    stamp::Stamp,
};

/// One event, with everything that folds ask of it worked out once. Two copies of one event have the same `event_id`.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// UUIDv5(source, 0x00, id).
    pub event_id: EventId,
    /// Where it stands in the order of facts.
    pub stamp: Stamp,
    /// When it happened, microseconds UTC: `time`, else `received_at`.
    pub occurred_at: i64,
    /// When the collector had read it, microseconds UTC.
    pub received_at: i64,
    /// SHA-256 of the record's value: tells copies of one event apart.
    pub hash: [u8; 32],
    /// The linking identifiers it names, if any.
    pub subject: Option<Subject>,
    /// The grouping identifiers it names (`account`, `partner`, `household`), sorted, each once.
    pub groups: Vec<Identifier>,
    /// Others involved: sorted, each once, linking kinds only.
    pub participants: Vec<Identifier>,
    /// The entities it names, in its data or as `correlationid`: sorted, each once.
    pub entities: Vec<Entity>,
    /// What was published.
    pub wire: v1::Interaction,
}

/// The set of linking identifiers that an event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// UUIDv5(the log's secret namespace, the sorted identifiers).
    pub id: Uuid,
    /// Strongest first, each once, never empty.
    pub identifiers: Vec<Identifier>,
}

impl Subject {
    /// The subject of these identifiers; `None` if none of them links.
    pub fn new(namespace: &Namespace, identifiers: impl IntoIterator<Item = Identifier>) -> Option<Self> {
        let mut identifiers: Vec<_> = identifiers.into_iter().filter(|i| i.kind().links()).collect();
        identifiers.sort_unstable();
        identifiers.dedup();
        (!identifiers.is_empty()).then(|| Self { id: namespace.subject_id(&identifiers), identifiers })
    }
}

/// What tells whether a fold needs to see an event whole. Read without decoding the rest of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brief<'v> {
    /// `id`, as published.
    pub id: Option<&'v str>,
    /// `source`, as published.
    pub source: Option<&'v str>,
    /// `type`, as it stands in the log.
    pub r#type: Option<&'v str>,
    /// `correlationid`, as published.
    pub correlation_id: Option<&'v str>,
}

/// Numbers of fields of `rapport.v1.Interaction`.
const ID: u32 = 2;
const SOURCE: u32 = 3;
const TYPE: u32 = 4;
const CORRELATION_ID: u32 = 11;

impl<'v> Brief<'v> {
    /// Reads it out of a record's value.
    fn read(value: &'v [u8]) -> Result<Self, WireError> {
        let (mut brief, mut rest) = (Self::default(), value);
        while !rest.is_empty() {
            let (number, wire_type) = decode_key(&mut rest)?;
            let field = match number {
                ID => &mut brief.id,
                SOURCE => &mut brief.source,
                TYPE => &mut brief.r#type,
                CORRELATION_ID => &mut brief.correlation_id,
                _ => {
                    skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
                    continue;
                }
            };
            #[expect(deprecated, reason = "prost has no other way to make its error")]
            let broken = |what: &'static str| WireError::new(what);
            if wire_type != WireType::LengthDelimited {
                return Err(broken("a text is none"));
            }
            let length = decode_varint(&mut rest)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
            let (text, after) = rest.split_at(length.ok_or_else(|| broken("a text ends beyond its record"))?);
            *field = Some(std::str::from_utf8(text).map_err(|_| broken("a text is not UTF-8"))?);
            rest = after;
        }
        Ok(brief)
    }

    /// Whether it names an entity of such a kind, or might.
    pub fn names(&self, of: impl Fn(&str) -> bool) -> bool {
        let correlated = self.correlation_id.and_then(|c| c.split_once(':')).is_some_and(|(kind, _)| of(kind));
        let fields = self.r#type.and_then(catalogue::by_name).map_or(&[][..], |t| t.fields);
        correlated || fields.iter().filter_map(|f| f.entity).any(&of)
    }

    /// Whether it takes back another event.
    pub fn is_void(&self) -> bool {
        self.r#type.and_then(catalogue::by_name).is_some_and(|t| t.name == "interaction.voided")
    }
}

/// What an event is about besides people: `order:77`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// A kind of the catalogue: `order`, `case`, `call` ...
    pub kind: &'static str,
    /// Its id as published.
    pub key: String,
}

impl std::fmt::Display for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.key)
    }
}

/// Kinds of entities that `correlationid` can name.
pub const ENTITY_KINDS: &[&str] = &[
    "order",
    "case",
    "call",
    "cart",
    "checkout",
    "thread",
    "lead",
    "opportunity",
    "quote",
    "promise",
    "callback",
    "meeting",
    "visit",
];

/// A record that is no interaction of ours. It goes to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The value is no protobuf of the contract.
    #[error("the record's value is no rapport.v1.Interaction: {0}")]
    Value(#[from] prost::DecodeError),
    /// A required attribute is missing.
    #[error("the event has no {0}; was the record written by something other than a collector?")]
    Missing(&'static str),
    /// An entity's key is longer than an index entry may be.
    #[error("the id of its {0} is longer than 512 bytes")]
    KeyTooLong(&'static str),
}

impl Interaction {
    /// Decodes a record's value. `received_at` (microseconds UTC) is the record's header, not part of the value.
    pub fn decode(value: &[u8], received_at: i64, namespace: &Namespace) -> Result<Self, DecodeError> {
        let wire = v1::Interaction::decode(value)?;
        Self::from_wire(wire, Sha256::digest(value).into(), received_at, namespace)
    }

    /// Decodes whole what `needs` says yes to; of anything else the interaction holds its ids, its type and its hash, as
    /// if nothing more had been published.
    pub fn decode_needed(
        value: &[u8],
        received_at: i64,
        namespace: &Namespace,
        needs: impl FnOnce(&Brief<'_>) -> bool,
    ) -> Result<Self, DecodeError> {
        let brief = Brief::read(value)?;
        if needs(&brief) {
            return Self::decode(value, received_at, namespace);
        }
        let text = |text: Option<&str>, what| text.map(str::to_owned).ok_or(DecodeError::Missing(what));
        let wire = v1::Interaction {
            source: Some(text(brief.source, "source")?),
            id: Some(text(brief.id, "id")?),
            r#type: Some(text(brief.r#type, "type")?),
            ..v1::Interaction::default()
        };
        Self::from_wire(wire, Sha256::digest(value).into(), received_at, namespace)
    }

    /// The same from a message already decoded, whose encoded value has this hash.
    pub fn from_wire(
        wire: v1::Interaction,
        hash: [u8; 32],
        received_at: i64,
        namespace: &Namespace,
    ) -> Result<Self, DecodeError> {
        let source = wire.source.as_deref().ok_or(DecodeError::Missing("source"))?;
        let id = wire.id.as_deref().ok_or(DecodeError::Missing("id"))?;
        let event_id = ids::event_id(source, id);
        if wire.r#type.is_none() {
            return Err(DecodeError::Missing("type"));
        }
        let occurred_at = wire.occurred_at.unwrap_or(received_at);
        let rank = wire.type_info().map_or(catalogue::CUSTOM_RANK, |t| t.rank);
        let sequence = wire.sequence.as_deref().map(|s| s.trim_matches('"'));
        let named: Vec<_> = named(&wire).collect();
        let mut groups: Vec<_> = named.iter().filter(|i| !i.kind().links()).cloned().collect();
        let mut participants: Vec<_> = list(wire.participants.as_deref().unwrap_or_default())
            .filter_map(|t| Identifier::parse(&t))
            .filter(|i| i.kind().links())
            .collect();
        for identifiers in [&mut groups, &mut participants] {
            identifiers.sort_unstable();
            identifiers.dedup();
        }
        Ok(Self {
            event_id,
            stamp: Stamp::new(occurred_at, rank, sequence, event_id),
            occurred_at,
            received_at,
            hash,
            subject: Subject::new(namespace, named),
            groups,
            participants,
            entities: entities(&wire)?,
            wire,
        })
    }

    /// The catalogue's bare name (`order.placed`), or a custom type as sent.
    pub fn kind(&self) -> &str {
        self.wire.type_info().map_or_else(|| self.wire.r#type.as_deref().unwrap_or_default(), |t| t.name)
    }

    /// The void this event is: the id of the event it takes back.
    pub fn voids(&self) -> Option<EventId> {
        match &self.wire.data {
            Some(v1::interaction::Data::InteractionVoided(v)) => {
                Some(ids::event_id(v.voided_source.as_deref()?, v.voided_id.as_deref()?))
            }
            _ => None,
        }
    }

    /// The key of an entity of this kind named by the event, if any (of two, the first in order).
    pub fn entity(&self, kind: &str) -> Option<&str> {
        self.entities.iter().find(|e| e.kind == kind).map(|e| e.key.as_str())
    }

    /// Of two copies of one event the least counts.
    pub fn copy_order(&self) -> (i64, [u8; 32]) {
        (self.received_at, self.hash)
    }
}

/// The identifiers in `subject` and `identifiers`, those that identify or group somebody.
pub fn named(wire: &v1::Interaction) -> impl Iterator<Item = Identifier> {
    let subject = wire.subject.as_deref().and_then(Identifier::parse);
    let further = list(wire.identifiers.as_deref().unwrap_or_default()).filter_map(|t| Identifier::parse(&t));
    subject.into_iter().chain(further)
}

fn entities(wire: &v1::Interaction) -> Result<Vec<Entity>, DecodeError> {
    let mut entities: Vec<Entity> = wire
        .entities()
        .into_iter()
        .filter(|(_, key)| !key.is_empty())
        .map(|(kind, key)| Entity { kind, key: key.to_owned() })
        .collect();
    let correlated = wire.correlation_id.as_deref().and_then(|c| c.split_once(':'));
    if let Some((kind, key)) = correlated
        && let Some(kind) = ENTITY_KINDS.iter().find(|k| **k == kind)
        && !key.is_empty()
    {
        entities.push(Entity { kind, key: key.to_owned() });
    }
    if let Some(long) = entities.iter().find(|e| e.key.len() > IDENTIFIER_BYTES_MAX) {
        return Err(DecodeError::KeyTooLong(long.kind));
    }
    entities.sort_unstable();
    entities.dedup();
    Ok(entities)
}

/// The entries of a list attribute (`identifiers`, `participants`): comma-separated, percent-decoded, trimmed.
pub fn list(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(|entry| percent_decode(entry.trim())).filter(|entry| !entry.is_empty())
}

/// One entry of a list attribute, written: `%`, `,` and control characters percent-encoded.
pub fn list_entry(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | ',') || c.is_control() {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A bare `%` stands for itself; bytes that give no UTF-8 leave the text as it was.
fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3))
            .flatten()
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn order() -> v1::Interaction {
        let json = r#"{"specversion":"1.0","id":"e-1","source":"shop","type":"order.placed","time":"2026-03-01T10:00:00Z",
            "subject":"email:ann@example.com","correlationid":"case:7","data":{"order_id":"1","lines":[]}}"#;
        rapport_proto::json::read(json.as_bytes()).expect("an order")
    }

    #[test]
    fn what_is_not_needed_keeps_its_identity() {
        let namespace = Namespace::new(uuid::Uuid::from_u128(7));
        let value = order().encode_to_vec();
        let whole = Interaction::decode(&value, 5, &namespace).expect("whole");
        let asked = |needed: bool, kinds: &'static [&str]| {
            Interaction::decode_needed(&value, 5, &namespace, |brief| {
                assert_eq!((brief.names(|kind| kinds.contains(&kind)), brief.is_void()), (needed, false), "{kinds:?}");
                needed
            })
            .expect("decoded")
        };
        assert_eq!(asked(true, &["order"]).wire, whole.wire);
        assert_eq!(asked(true, &["call", "case"]).entities, whole.entities);
        let brief = asked(false, &["call"]);
        assert_eq!((brief.event_id, brief.copy_order()), (whole.event_id, whole.copy_order()));
        assert_eq!((brief.entities.len(), brief.subject, brief.wire.subject), (0, None, None));
    }

    proptest! {
        #[test]
        fn a_brief_of_garbage_is_an_error_or_nothing(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            // What prost refuses at the top may pass here, never the other way round.
            if v1::Interaction::decode(value.as_slice()).is_ok() {
                prop_assert!(Brief::read(&value).is_ok());
            }
        }

        #[test]
        fn list_entries_read_back(entries in proptest::collection::vec("[a-z:@%,ä]{1,10}", 0..5)) {
            let written: Vec<_> = entries.iter().map(|e| list_entry(e)).collect();
            prop_assert_eq!(list(&written.join(",")).collect::<Vec<_>>(), entries);
        }
    }
}
