//! A record of the log, decoded: the interaction as every fold sees it.

use std::collections::BTreeSet;

use prost::Message;
use rapport_proto::{catalogue, json, v1};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    identifier::{IDENTIFIER_BYTES_MAX, IDENTIFIERS_MAX, Identifier},
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
    /// The entities it names, in its data or as `correlationid`, and its session ([`SESSION`]): sorted, each once.
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

/// What tells whether a fold needs to see an event whole: asked before identifiers are read and ids are made of them.
#[derive(Clone, Copy, Debug)]
pub struct Brief<'w>(&'w v1::Interaction);

impl Brief<'_> {
    /// Whether it names an entity of such a kind, as [`Interaction::entities`] has them.
    pub fn names(&self, of: impl Fn(&str) -> bool) -> bool {
        entity_texts(self.0).iter().any(|(kind, _)| of(kind))
    }

    /// What it says, before anything is made of it.
    pub fn data(&self) -> Option<&v1::interaction::Data> {
        self.0.data.as_ref()
    }

    /// Whether it takes back another event.
    pub fn is_void(&self) -> bool {
        matches!(self.0.data, Some(v1::interaction::Data::InteractionVoided(_)))
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

/// The kind of entity that a session on the web site is. Nobody owns one, and an event belongs to nobody because of it.
pub const SESSION: &str = "session";

/// A record that is no interaction of ours. It goes to the dead letters.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The value is no protobuf of the contract.
    #[error("the record's value is no rapport.v1.Interaction: {0}")]
    Value(#[from] prost::DecodeError),
    /// A required attribute is missing.
    #[error("the event has no {0}; was the record written by something other than a collector?")]
    Missing(&'static str),
    /// A part of it that should be JSON is none.
    #[error(
        "a part of it that should be JSON is none, or holds U+0000; was the record written by something other than a collector?"
    )]
    NotJson,
    /// An entity's key is longer than an index entry may be.
    #[error("the id of its {0} is longer than {IDENTIFIER_BYTES_MAX} bytes")]
    KeyTooLong(&'static str),
    /// It names more linking identifiers than one event may.
    #[error("it names {0} linking identifiers as one person's; {IDENTIFIERS_MAX} are allowed")]
    TooManyIdentifiers(usize),
}

impl Interaction {
    /// Decodes a record's value. `received_at` (microseconds UTC) is the record's header, not part of the value.
    ///
    /// # Errors
    /// The value is no interaction of ours, or one that no model may fold.
    pub fn decode(value: &[u8], received_at: i64, namespace: &Namespace) -> Result<Self, DecodeError> {
        Self::decode_needed(value, received_at, namespace, |_| true)
    }

    /// Decodes whole what `needs` says yes to; of anything else the interaction holds its ids, its type and its hash, as
    /// if nothing more had been published.
    ///
    /// # Errors
    /// As [`Interaction::decode`], for the same values whatever `needs` says. That is why the value is always read to its
    /// end: a copy that one model set aside and another one counted would make them disagree for ever. What is saved is
    /// everything made of the value: identifiers, the subject's hash, entities.
    pub fn decode_needed(
        value: &[u8],
        received_at: i64,
        namespace: &Namespace,
        needs: impl FnOnce(&Brief<'_>) -> bool,
    ) -> Result<Self, DecodeError> {
        let mut wire = v1::Interaction::decode(value)?;
        if !needs(&Brief(&wire)) {
            admit(&wire)?;
            let v1::Interaction { source, id, r#type, .. } = wire;
            wire = v1::Interaction { source, id, r#type, ..v1::Interaction::default() };
        }
        Self::from_wire(wire, Sha256::digest(value).into(), received_at, namespace)
    }

    /// The same from a message already decoded, whose encoded value has this hash.
    ///
    /// # Errors
    /// As [`Interaction::decode`].
    pub fn from_wire(
        wire: v1::Interaction,
        hash: [u8; 32],
        received_at: i64,
        namespace: &Namespace,
    ) -> Result<Self, DecodeError> {
        let (source, id) = admit(&wire)?;
        let event_id = ids::event_id(source, id);
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
            entities: entities(&wire),
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

    /// The entities that have an owner: all but the session.
    pub fn owned_entities(&self) -> impl Iterator<Item = &Entity> {
        self.entities.iter().filter(|e| e.kind != SESSION)
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

/// Refuses what no model may fold, and answers `source` and `id`. Whether a model needs the event changes nothing here.
fn admit(wire: &v1::Interaction) -> Result<(&str, &str), DecodeError> {
    let source = wire.source.as_deref().ok_or(DecodeError::Missing("source"))?;
    let id = wire.id.as_deref().ok_or(DecodeError::Missing("id"))?;
    if wire.r#type.is_none() {
        return Err(DecodeError::Missing("type"));
    }
    // Whoever shows the event, or any other one beside it, would meet what no reader of JSON takes.
    if !json::is_sound(wire) {
        return Err(DecodeError::NotJson);
    }
    if let Some((kind, _)) = entity_texts(wire).iter().find(|(_, key)| key.len() > IDENTIFIER_BYTES_MAX) {
        return Err(DecodeError::KeyTooLong(kind));
    }
    // There are no more identifiers than entries and the subject: hardly ever has any of them to be read for this.
    let entries = wire.identifiers.as_deref().map_or(0, |text| text.split(',').count());
    if entries + 1 > IDENTIFIERS_MAX {
        let linking = named(wire).filter(|i| i.kind().links()).collect::<BTreeSet<_>>().len();
        if linking > IDENTIFIERS_MAX {
            return Err(DecodeError::TooManyIdentifiers(linking));
        }
    }
    Ok((source, id))
}

/// The session of an event that may lead to an order: a product seen, a cart changed, a step of the checkout, an order.
/// Pages and searches are most of a log and nothing is counted by their session: they name none here. An id that is empty,
/// or longer than an index entry may be, names none either.
pub fn session(wire: &v1::Interaction) -> Option<&str> {
    use v1::interaction::Data;
    let id = match wire.data.as_ref()? {
        Data::WebProductViewed(body) => &body.session_id,
        Data::WebCartChanged(body) => &body.session_id,
        Data::WebCheckoutStepReached(body) => &body.session_id,
        Data::OrderPlaced(body) => &body.session_id,
        _ => return None,
    };
    id.as_deref().filter(|id| !id.is_empty() && id.len() <= IDENTIFIER_BYTES_MAX)
}

/// The entities it names, in its data or as `correlationid`, as they stand there, and its session.
fn entity_texts(wire: &v1::Interaction) -> Vec<(&'static str, &str)> {
    let mut entities = wire.entities();
    if let Some((kind, key)) = wire.correlation_id.as_deref().and_then(|c| c.split_once(':'))
        && let Some(kind) = ENTITY_KINDS.iter().find(|k| **k == kind)
    {
        entities.push((kind, key));
    }
    entities.extend(session(wire).map(|id| (SESSION, id)));
    entities.retain(|(_, key)| !key.is_empty());
    entities
}

fn entities(wire: &v1::Interaction) -> Vec<Entity> {
    let entity = |(kind, key): (&'static str, &str)| Entity { kind, key: key.to_owned() };
    let mut entities: Vec<Entity> = entity_texts(wire).into_iter().map(entity).collect();
    entities.sort_unstable();
    entities.dedup();
    entities
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

    const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(7));

    /// Read and encoded as the log has it, whatever a collector would say to it.
    fn value(json: &str) -> Vec<u8> {
        rapport_proto::json::read::<v1::Interaction>(json.as_bytes()).expect("an event").encode_to_vec()
    }

    fn event(kind: &str, envelope: &str, data: &str) -> Vec<u8> {
        value(&format!(r#"{{"specversion":"1.0","id":"e-1","source":"shop","type":"{kind}"{envelope},"data":{data}}}"#))
    }

    fn identifiers(count: usize) -> String {
        let each = (0..count).map(|n| format!("device_id:{n}")).collect::<Vec<_>>().join(",");
        format!(r#","identifiers":"{each}""#)
    }

    #[test]
    fn what_is_not_needed_keeps_its_identity() {
        let value = order().encode_to_vec();
        let whole = Interaction::decode(&value, 5, &NAMESPACE).expect("whole");
        let asked = |needed: bool, kinds: &'static [&str]| {
            Interaction::decode_needed(&value, 5, &NAMESPACE, |brief| {
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

    #[test]
    fn sessions_of_what_may_lead_to_an_order() {
        let long = "s".repeat(IDENTIFIER_BYTES_MAX + 1);
        for (kind, data, session) in [
            ("web.product.viewed", r#"{"sku":"A","session_id":"s1"}"#, Some("s1")),
            ("web.cart.changed", r#"{"op":"emptied","session_id":"s1"}"#, Some("s1")),
            ("web.checkout.step_reached", r#"{"step":"1","session_id":"s1"}"#, Some("s1")),
            ("order.placed", r#"{"order_id":"1","lines":[],"session_id":"s1"}"#, Some("s1")),
            ("web.page.viewed", r#"{"url":"https://shop.example/","session_id":"s1"}"#, None),
            ("web.product.viewed", r#"{"sku":"A"}"#, None),
            ("web.product.viewed", r#"{"sku":"A","session_id":""}"#, None),
            ("web.product.viewed", &format!(r#"{{"sku":"A","session_id":"{long}"}}"#), None),
        ] {
            let told = Interaction::decode(&event(kind, "", data), 5, &NAMESPACE).expect("nothing is refused");
            assert_eq!(told.entity(SESSION), session, "{kind} {data}");
            assert!(told.owned_entities().all(|e| e.kind == "order"), "{kind}: a session has no owner");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_whether_needed_or_not() {
        let refused = |change: fn(&mut v1::Interaction)| {
            let mut wire = order();
            change(&mut wire);
            let value = wire.encode_to_vec();
            let [whole, brief] = [true, false].map(|need| Interaction::decode_needed(&value, 5, &NAMESPACE, |_| need));
            assert_eq!(whole.is_err(), brief.is_err());
            matches!(whole, Err(DecodeError::NotJson))
        };
        assert!(!refused(|wire| wire.extra_json = br#"{"zone":"b","area":[1.50]}"#.to_vec()));
        assert!(refused(|wire| wire.extra_json = b"{\"zone\":".to_vec()));
        assert!(refused(|wire| wire.extra_json = b"[1]".to_vec()));
        assert!(refused(|wire| wire.extra_json = b"{\"zone\":\"\xff\"}".to_vec()));
        assert!(refused(|wire| wire.extra_json = br#"{"zone":"\u0000"}"#.to_vec()));
        assert!(refused(|wire| wire.extra_json = br#"{"zone":"\ud800"}"#.to_vec()));
        assert!(refused(|wire| wire.sequence = Some("7 8".into())));
        assert!(refused(|wire| wire.actor = Some("a\0b".into())));
        assert!(refused(|wire| wire.data = Some(v1::interaction::Data::Custom(b"{".to_vec()))));
    }

    #[test]
    fn what_is_refused_is_refused_whether_needed_or_not() {
        let long = "7".repeat(IDENTIFIER_BYTES_MAX + 1);
        let nameless = v1::Interaction { source: None, ..order() };
        let mut broken = order().encode_to_vec();
        // An order's body whose first field says that it is longer than the body.
        let body =
            v1::interaction::Data::OrderPlaced(v1::OrderPlaced { order_id: Some("1".into()), ..Default::default() });
        let with_body = v1::Interaction { data: Some(body), ..v1::Interaction::default() }.encode_to_vec();
        broken.extend_from_slice(&with_body);
        *broken.iter_mut().rev().nth(1).expect("a length") = 9;
        let view = r#"{"url":"https://shop.example/"}"#;
        for (value, reason) in [
            (nameless.encode_to_vec(), "the event has no source"),
            (broken, "the record's value is no rapport.v1.Interaction"),
            (event("order.placed", "", &format!(r#"{{"order_id":"{long}","lines":[]}}"#)), "the id of its order is"),
            (event("web.page.viewed", &format!(r#","correlationid":"case:{long}""#), view), "the id of its case is"),
            (event("web.page.viewed", &identifiers(IDENTIFIERS_MAX + 1), view), "it names 257 linking identifiers"),
            (
                event("com.acme.x", &format!(r#","subject":"card:1"{}"#, identifiers(IDENTIFIERS_MAX)), "{}"),
                "it names 257 linking identifiers as one person's; 256 are allowed",
            ),
        ] {
            for needed in [true, false] {
                let decoded = Interaction::decode_needed(&value, 5, &NAMESPACE, |_| needed);
                let error = decoded.expect_err(reason).to_string();
                assert!(error.starts_with(reason), "{needed}: {error}");
            }
        }
        // Each counts once, and those that only group people do not.
        let many = identifiers(IDENTIFIERS_MAX).replace(r#""device_id:0,"#, r#""device_id:1,device_id:0,account:a,"#);
        let decoded = Interaction::decode(&event("web.page.viewed", &many, view), 5, &NAMESPACE).expect("just enough");
        assert_eq!(decoded.subject.expect("linking identifiers").identifiers.len(), IDENTIFIERS_MAX);
    }

    fn real() -> Vec<Vec<u8>> {
        let long = "7".repeat(IDENTIFIER_BYTES_MAX);
        let order = r#"{"order_id":"1","total":{"amount_minor":5,"currency":"EUR"},"x":[1,null],
            "lines":[{"sku":"a","quantity":2,"total":{"amount_minor":5,"currency":"EUR"}}]}"#;
        let rich = r#","time":"2026-03-01T10:00:00Z","subject":"email:a@b.example","identifiers":"phone:+4930123456",
            "participants":"email:c@d.example","sequence":7,"correlationid":"case:7","tenant":"t""#;
        vec![
            event("order.placed", rich, order),
            event("order.placed", "", &format!(r#"{{"order_id":"{long}","lines":[]}}"#)),
            event("case.opened", r#","correlationid":"order:1""#, r#"{"case_id":"7","title":"t","priority":"low"}"#),
            event("call.offered", rich, r#"{"call_id":"1","direction":"in","from":"+1","to":"+2"}"#),
            event("interaction.voided", "", r#"{"voided_source":"shop","voided_id":"e-0"}"#),
            event("identity.link.asserted", "", r#"{"left":"email:a@b.example","right":"user_id:1"}"#),
            event("com.acme.x", &identifiers(IDENTIFIERS_MAX), r#"{"deep":[{"x":1}]}"#),
        ]
    }

    /// One change of a value: where in it (a share of its length), what, with which byte.
    fn change(value: &mut Vec<u8>, (at, what, byte): (u16, u8, u8)) {
        let at = usize::from(at) * value.len() / (usize::from(u16::MAX) + 1);
        match what {
            0 => value.truncate(at),
            1 => value.insert(at, byte),
            2 if at < value.len() => drop(value.remove(at)),
            3 if at < value.len() => value[at] ^= 1 << (byte % 8),
            _ if at < value.len() => value[at] = byte,
            _ => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn needed_or_not_the_same_is_refused_and_the_rest_has_one_identity(
            which in 0..7usize, changes in proptest::collection::vec(any::<(u16, u8, u8)>(), 0..4),
        ) {
            let mut value = real().swap_remove(which);
            for (at, what, byte) in changes {
                change(&mut value, (at, what % 5, byte));
            }
            let mut told = None;
            let brief = Interaction::decode_needed(&value, 5, &NAMESPACE, |brief| {
                told = Some((brief.names(|kind| kind == "order"), brief.names(|kind| kind == "case"), brief.is_void()));
                false
            });
            match (Interaction::decode(&value, 5, &NAMESPACE), brief) {
                (Ok(whole), Ok(brief)) => {
                    prop_assert_eq!(brief.event_id, whole.event_id);
                    prop_assert_eq!(brief.hash, whole.hash);
                    prop_assert_eq!(brief.copy_order(), whole.copy_order());
                    let is_void = matches!(whole.wire.data, Some(v1::interaction::Data::InteractionVoided(_)));
                    let names = |kind| whole.entity(kind).is_some();
                    prop_assert_eq!(told, Some((names("order"), names("case"), is_void)));
                }
                (Err(whole), Err(brief)) => prop_assert_eq!(whole.to_string(), brief.to_string()),
                (whole, brief) => prop_assert!(false, "whole: {whole:?}, brief: {brief:?}"),
            }
        }

        #[test]
        fn list_entries_read_back(entries in proptest::collection::vec("[a-z:@%,ä]{1,10}", 0..5)) {
            let written: Vec<_> = entries.iter().map(|e| list_entry(e)).collect();
            prop_assert_eq!(list(&written.join(",")).collect::<Vec<_>>(), entries);
        }
    }
}
