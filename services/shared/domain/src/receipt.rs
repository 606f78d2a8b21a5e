//! What happens to an event between the wire and the log: identifiers are normalized, placeholders dropped, bounds
//! checked, the record's key chosen. Pure: the collector and the import's dry run give the same answers.

use std::collections::HashSet;

use rapport_proto::{
    catalogue::{self, PREFIX},
    json::Fault,
    v1,
};

use crate::{
    identifier::{IDENTIFIER_BYTES_MAX, IDENTIFIERS_MAX, Identifier, KeptBecause, Kind, Normalized, Normalizer},
    interaction::{self, ENTITY_KINDS},
    nearest::nearest,
    time,
};

/// Something that was kept but not understood, or dropped as a placeholder. Answered beside `status`; it carries no
/// identifier's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Stable code: `identifier_not_understood`, `placeholder_dropped`, `unknown_subject` or `unknown_type`.
    pub code: &'static str,
    /// Which attribute, as a JSON pointer.
    pub pointer: &'static str,
    /// A sentence.
    pub detail: String,
}

/// Bounds of receipt.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How far `time` may lie ahead of receipt, microseconds.
    pub time_ahead_max: i64,
}

/// `id` and `source` may be this long, in bytes.
pub const ID_BYTES_MAX: usize = 1024;

/// Normalizes `subject`, `identifiers` and `participants` in place, and says what of the event was not understood.
pub fn normalize(wire: &mut v1::Interaction, normalizer: &Normalizer) -> Vec<Warning> {
    let mut warnings = Vec::new();
    warnings.extend(wire.r#type.as_deref().and_then(unknown_type));
    if let Some(sent) = wire.subject.take() {
        wire.subject = match normalizer.normalize(&sent) {
            Normalized::Identifier(i) => Some(i.to_string()),
            Normalized::Dropped => {
                warnings.push(dropped("/subject"));
                None
            }
            Normalized::Kept(why) => {
                // Without a kind it is legal CloudEvents; but whoever sends `ann` and means a customer learns it here.
                let code = match why {
                    KeptBecause::NoKind => "unknown_subject",
                    _ => "identifier_not_understood",
                };
                warnings.push(Warning { code, pointer: "/subject", detail: format!("subject: {why}") });
                Some(sent)
            }
        };
    }
    for (attribute, pointer) in [(&mut wire.identifiers, "/identifiers"), (&mut wire.participants, "/participants")] {
        let Some(sent) = attribute.take() else { continue };
        let mut kept: Vec<String> = Vec::new();
        for entry in interaction::list(&sent) {
            let text = match normalizer.normalize(&entry) {
                Normalized::Identifier(i) => i.to_string(),
                Normalized::Dropped => {
                    warnings.push(dropped(pointer));
                    continue;
                }
                Normalized::Kept(why) => {
                    warnings.push(Warning {
                        code: "identifier_not_understood",
                        pointer,
                        detail: format!("{}: {why}", &pointer[1..]),
                    });
                    entry
                }
            };
            let text = interaction::list_entry(&text);
            if !kept.contains(&text) {
                kept.push(text);
            }
        }
        *attribute = (!kept.is_empty()).then(|| kept.join(","));
    }
    // The two sides of an explicit link name the same people as the envelope does: one normal form for both.
    if let Some((left, right)) = link_sides(wire) {
        for (side, pointer) in [(left, "/data/left"), (right, "/data/right")] {
            let Some(sent) = side.as_deref() else { continue };
            match normalizer.normalize(sent) {
                Normalized::Identifier(i) => *side = Some(i.to_string()),
                Normalized::Dropped => warnings.push(Warning {
                    code: "placeholder_dropped",
                    pointer,
                    detail: format!(
                        "{} is a placeholder that stands for nobody: this link joins nothing",
                        &pointer[6..]
                    ),
                }),
                Normalized::Kept(why) => {
                    warnings.push(Warning {
                        code: "identifier_not_understood",
                        pointer,
                        detail: format!("{}: {why}", &pointer[6..]),
                    });
                }
            }
        }
    }
    warnings
}

/// A type that its sender may have taken for one of the catalogue's and that is none: one with the catalogue's prefix, and
/// a bare one that is nearly one of them or begins with the same word. Every other type is a custom one, and welcome.
fn unknown_type(given: &str) -> Option<Warning> {
    if catalogue::by_name(given).is_some() {
        return None;
    }
    let bare = given.strip_prefix(PREFIX);
    let name = bare.unwrap_or(given);
    let near = nearest(name, catalogue::all().iter().map(|known| known.name));
    if bare.is_none() && near.is_none() && !begins_like_a_known_one(name) {
        return None;
    }
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let detail = format!("the catalogue has no such type: the event is kept whole as one of a type of its own{hint}");
    Some(Warning { code: "unknown_type", pointer: "/type", detail })
}

fn begins_like_a_known_one(name: &str) -> bool {
    fn first_word(name: &str) -> Option<&str> {
        name.split_once('.').map(|(first, _)| first)
    }
    let first = first_word(name);
    first.is_some() && catalogue::all().iter().any(|known| first_word(known.name) == first)
}

/// The two sides of `identity.link.asserted` and `.revoked`, to be changed in place.
fn link_sides(wire: &mut v1::Interaction) -> Option<(&mut Option<String>, &mut Option<String>)> {
    match wire.data.as_mut()? {
        v1::interaction::Data::IdentityLinkAsserted(l) => Some((&mut l.left, &mut l.right)),
        v1::interaction::Data::IdentityLinkRevoked(l) => Some((&mut l.left, &mut l.right)),
        _ => None,
    }
}

fn dropped(pointer: &'static str) -> Warning {
    Warning {
        code: "placeholder_dropped",
        pointer,
        detail: format!("{}: a placeholder that stands for nobody was dropped", &pointer[1..]),
    }
}

/// What the contract alone cannot know: times against the clock, lengths that an index can hold.
pub fn check(wire: &v1::Interaction, received_at: i64, limits: &Limits) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |pointer: &str, detail: String| {
        faults.push(Fault { code: "out_of_range", pointer: pointer.to_owned(), detail })
    };
    if let Some(at) = wire.occurred_at {
        if at < time::EARLIEST {
            fault("/time", "time lies before 1900; is the year right?".into());
        } else if at > received_at.saturating_add(limits.time_ahead_max) {
            let hours = limits.time_ahead_max / (60 * time::MINUTE);
            fault(
                "/time",
                format!("time lies more than {hours} h ahead of its receipt; is the sender's clock or zone right?"),
            );
        }
    }
    for (value, pointer) in [(&wire.id, "/id"), (&wire.source, "/source")] {
        if value.as_ref().is_some_and(|v| v.len() > ID_BYTES_MAX) {
            fault(pointer, format!("{} is longer than {ID_BYTES_MAX} bytes", &pointer[1..]));
        }
    }
    for (kind, key) in wire.entities() {
        if key.len() > IDENTIFIER_BYTES_MAX {
            fault("/data", format!("the id of its {kind} is longer than {IDENTIFIER_BYTES_MAX} bytes"));
        }
    }
    if let Some((kind, key)) = wire.correlation_id.as_deref().and_then(|c| c.split_once(':'))
        && ENTITY_KINDS.contains(&kind)
        && key.len() > IDENTIFIER_BYTES_MAX
    {
        fault("/correlationid", format!("correlationid is longer than {IDENTIFIER_BYTES_MAX} bytes"));
    }
    let linking = linking_texts(wire);
    if linking > IDENTIFIERS_MAX {
        fault(
            "/identifiers",
            format!(
                "subject and identifiers name {linking} linking identifiers as one person's; {IDENTIFIERS_MAX} are allowed"
            ),
        );
    }
    faults
}

/// How many linking identifiers it names, as they were sent and each text once. Normalizing makes one of several or none
/// of one, never several of one: what is accepted by this count is refused by no fold.
fn linking_texts(wire: &v1::Interaction) -> usize {
    let links = |text: &String| {
        let kind = text.split_once(':').and_then(|(kind, _)| Kind::parse(&kind.trim().to_lowercase()));
        kind.is_some_and(|kind| kind.links())
    };
    let further = interaction::list(wire.identifiers.as_deref().unwrap_or_default());
    wire.subject.clone().into_iter().chain(further).filter(links).collect::<HashSet<_>>().len()
}

/// The record's key: the strongest identifier, else the entity it names, else its own id. Equal keys share a partition
/// and so keep their order in the log.
pub fn key(wire: &v1::Interaction) -> String {
    let strongest: Option<Identifier> = interaction::named(wire).filter(|i| i.kind().links()).min();
    if let Some(identifier) = strongest {
        return identifier.to_string();
    }
    let correlated = wire
        .correlation_id
        .as_deref()
        .filter(|c| c.split_once(':').is_some_and(|(kind, _)| ENTITY_KINDS.contains(&kind)));
    match (wire.entities().first(), correlated) {
        (Some((kind, key)), _) => format!("{kind}:{key}"),
        (None, Some(entity)) => entity.to_owned(),
        (None, None) => wire.id.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{Interaction, Namespace};

    const RECEIVED_AT: i64 = 1_772_359_200_000_000;

    fn event(identifiers: &[String]) -> v1::Interaction {
        v1::Interaction {
            id: Some("e-1".into()),
            source: Some("shop".into()),
            r#type: Some("com.acme.x".into()),
            subject: Some("user_id:1".into()),
            identifiers: Some(identifiers.join(",")),
            ..v1::Interaction::default()
        }
    }

    fn judged(identifiers: &[String]) -> Vec<Fault> {
        check(&event(identifiers), RECEIVED_AT, &Limits { time_ahead_max: 0 })
    }

    fn devices(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("Device_ID: d{n}")).collect()
    }

    fn warned(wire: v1::Interaction) -> Vec<Warning> {
        normalize(&mut { wire }, &Normalizer::new("DE", &[]).expect("a region"))
    }

    #[test]
    fn types_that_are_nearly_ours_are_warned_of() {
        for (given, near) in [
            ("io.rapport.oder.placed", Some("; did you mean order.placed?")),
            ("oder.placed", Some("; did you mean order.placed?")),
            ("Order.Placed", Some("; did you mean order.placed?")),
            ("io.rapport.loyalty.points_earned", Some("type of its own")),
            ("order.wrapped_as_a_present", Some("type of its own")),
            ("io.rapport.", Some("type of its own")),
            ("io.rapport.order.placed", None),
            ("order.placed", None),
            ("com.example.order.placed", None),
            ("com.example.x", None),
            ("loyalty.points_earned", None),
            ("order", None),
        ] {
            let warnings = warned(v1::Interaction { r#type: Some(given.into()), ..v1::Interaction::default() });
            let said: Vec<_> = warnings.iter().map(|w| (w.code, w.pointer)).collect();
            assert_eq!(said, near.map_or(vec![], |_| vec![("unknown_type", "/type")]), "{given}");
            assert!(warnings.iter().all(|w| near.is_some_and(|near| w.detail.ends_with(near))), "{warnings:?}");
        }
    }

    #[test]
    fn a_subject_without_a_kind_is_kept_and_warned_of() {
        for (given, code) in [
            ("ann", Some("unknown_subject")),
            ("fax:1", Some("identifier_not_understood")),
            ("email:no-reply@x.example", Some("placeholder_dropped")),
            ("user_id:ann", None),
        ] {
            let mut wire = v1::Interaction { subject: Some(given.into()), ..event(&[]) };
            wire.identifiers = None;
            let warnings = warned(wire.clone());
            assert_eq!(warnings.iter().map(|w| w.code).collect::<Vec<_>>(), Vec::from_iter(code), "{given}");
            assert!(warnings.iter().all(|w| w.pointer == "/subject"), "{warnings:?}");
            normalize(&mut wire, &Normalizer::new("DE", &[]).expect("a region"));
            assert_eq!(wire.subject.is_some(), code != Some("placeholder_dropped"), "{given}");
        }
    }

    #[test]
    fn one_person_has_so_many_identifiers_in_an_event_and_no_more() {
        let faults = judged(&devices(IDENTIFIERS_MAX));
        let detail = "subject and identifiers name 257 linking identifiers as one person's; 256 are allowed".to_owned();
        assert_eq!(faults, [Fault { code: "out_of_range", pointer: "/identifiers".into(), detail }]);
        // Texts that are there twice, that only group, and that are of no kind of ours do not count.
        let mut many = devices(IDENTIFIERS_MAX - 1);
        many.extend(devices(IDENTIFIERS_MAX - 1));
        many.extend((0..IDENTIFIERS_MAX).flat_map(|n| [format!("account:{n}"), format!("fax:{n}"), format!("{n}")]));
        many.push("user_id:1".into());
        assert_eq!(judged(&many), []);
    }

    #[test]
    fn what_is_accepted_is_refused_by_no_fold() {
        let normalizer = Normalizer::new("DE", &[]).expect("a region");
        for (sent, accepted) in [
            (devices(IDENTIFIERS_MAX - 1), true),
            ((0..IDENTIFIERS_MAX - 1).map(|n| format!("phone:+49 30 {:06}", 123_000 + n)).collect(), true),
            // Kept as it is, because no country has the prefix, and yet of a form that identifies.
            ((0..IDENTIFIERS_MAX - 1).map(|n| format!("phone:+999{:06}", 123_000 + n)).collect(), true),
            ((0..IDENTIFIERS_MAX).map(|n| format!("phone:+999{:06}", 123_000 + n)).collect(), false),
            ((0..IDENTIFIERS_MAX).map(|n| format!("%65mail:a{n}@b.example")).collect(), false),
        ] {
            let mut wire = event(&sent);
            assert_eq!(judged(&sent).is_empty(), accepted, "{:?}", sent.first());
            normalize(&mut wire, &normalizer);
            let namespace = Namespace::new(uuid::Uuid::from_u128(7));
            let decoded = Interaction::decode(&wire.encode_to_vec(), RECEIVED_AT, &namespace);
            let named = decoded.map(|i| i.subject.map_or(0, |s| s.identifiers.len()));
            assert_eq!(named.ok(), accepted.then_some(IDENTIFIERS_MAX), "{:?}", sent.first());
        }
    }
}
