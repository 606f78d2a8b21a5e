//! The views of customer360, row by row, from the whole set.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Identifier, Interaction, Namespace, Stamp};
use rapport_proto::v1::interaction::Data;
use serde_json::{Value, json, value::RawValue};
use uuid::Uuid;

use super::{
    Rows, Set,
    identity::{Graph, graph},
    time,
};

/// A person or, for an event that names nobody, an entity whose owner it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    Subject(Uuid),
    Entity(String),
}

/// Every digested view of customer360.
pub fn rows(set: &Set, namespace: &Namespace) -> Rows {
    let facts = set.facts();
    let graph = graph(&facts, namespace);
    let owners = owners(&facts);
    let customer = |party: &Party| match party {
        Party::Subject(id) => graph.customers.get(id).copied(),
        Party::Entity(entity) => owners.get(entity).and_then(|subject| graph.customers.get(subject)).copied(),
    };
    let mut rows = Rows::default();
    identity(&graph, &mut rows);
    groups(&facts, &customer, &mut rows);
    registers(&facts, &customer, &mut rows);
    copies(set, &mut rows);
    for event in &facts {
        rows.push("timeline", &timeline(event));
    }
    rows
}

/// entity -> the subject of its first identified fact.
fn owners(facts: &[&Interaction]) -> BTreeMap<String, Uuid> {
    let mut owners = BTreeMap::new();
    for event in facts {
        for entity in event.owned_entities() {
            if let Some(subject) = &event.subject {
                owners.entry(entity.to_string()).or_insert(subject.id);
            }
        }
    }
    owners
}

fn parties(event: &Interaction) -> Vec<Party> {
    match &event.subject {
        Some(subject) => vec![Party::Subject(subject.id)],
        None => event.owned_entities().map(|e| Party::Entity(e.to_string())).collect(),
    }
}

fn kind_and_value(identifier: &str) -> (&str, &str) {
    identifier.split_once(':').expect("kind:value")
}

fn identity(graph: &Graph, rows: &mut Rows) {
    let texts = |list: &[Identifier]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut first: BTreeMap<&Identifier, &Stamp> = BTreeMap::new();
    let mut people: BTreeMap<Uuid, (usize, &Stamp, BTreeSet<String>)> = BTreeMap::new();
    for (id, named) in &graph.subjects {
        let customer = graph.customers[id];
        rows.push(
            "subjects",
            &json!({"subject_id": id, "customer_id": customer, "identifiers": texts(&named.identifiers),
                    "first_seen_at": time(named.first.occurred_at()), "set_by": named.first.event_id()}),
        );
        for identifier in &named.identifiers {
            let earliest = first.entry(identifier).or_insert(&named.first);
            *earliest = (*earliest).min(&named.first);
        }
        let person = people.entry(customer).or_insert((0, &named.first, BTreeSet::new()));
        person.0 += 1;
        person.1 = person.1.min(&named.first);
        if named.identifiers.iter().all(|i| graph.hubs.contains(i)) && *id == customer {
            person.2.extend(texts(&named.identifiers));
        }
    }
    for (identifier, customer) in &graph.identifiers {
        if let Some(person) = people.get_mut(customer) {
            person.2.insert(identifier.to_string());
        }
    }
    for (customer, (subjects, first, identifiers)) in &people {
        rows.push(
            "customers",
            &json!({"customer_id": customer, "identifiers": identifiers, "subject_count": subjects,
                    "first_seen_at": time(first.occurred_at()), "set_by": first.event_id()}),
        );
    }
    for (identifier, first) in first {
        rows.push(
            "identifiers",
            &json!({"identifier": identifier.to_string(), "kind": identifier.kind().as_str(), "value": identifier.value(),
                    "customer_id": graph.identifiers.get(identifier), "is_hub": graph.hubs.contains(identifier),
                    "first_seen_at": time(first.occurred_at()), "set_by": first.event_id()}),
        );
    }
    for (pair, link) in &graph.links {
        rows.push(
            "links",
            &json!({"left_identifier": pair.0.to_string(), "right_identifier": pair.1.to_string(), "is_on": link.on,
                    "is_explicit": link.explicit, "is_conflict": graph.conflicts.contains_key(pair),
                    "since_at": time(link.since.occurred_at()), "set_by": link.since.event_id()}),
        );
    }
    for (pair, conflict) in &graph.conflicts {
        let since = &graph.links[pair].since;
        rows.push(
            "conflicts",
            &json!({"left_identifier": pair.0.to_string(), "right_identifier": pair.1.to_string(), "kind": conflict.kind,
                    "left_value": conflict.left_value, "right_value": conflict.right_value,
                    "left_customer_id": graph.identifiers.get(&pair.0), "right_customer_id": graph.identifiers.get(&pair.1),
                    "since_at": time(since.occurred_at()), "set_by": since.event_id()}),
        );
    }
}

/// First and last, by stamp.
#[derive(Clone)]
struct Span<'a>(&'a Stamp, &'a Stamp);

impl<'a> Span<'a> {
    fn widen(&mut self, stamp: &'a Stamp) {
        *self = Self(self.0.min(stamp), self.1.max(stamp));
    }
}

fn groups(facts: &[&Interaction], customer: &impl Fn(&Party) -> Option<Uuid>, rows: &mut Rows) {
    let mut accounts: BTreeMap<String, (Span<'_>, BTreeSet<Uuid>)> = BTreeMap::new();
    let mut affiliations: BTreeMap<(Uuid, String), Span<'_>> = BTreeMap::new();
    for event in facts {
        for party in parties(event) {
            for group in event.groups.iter().map(ToString::to_string) {
                let account = accounts
                    .entry(group.clone())
                    .or_insert_with(|| (Span(&event.stamp, &event.stamp), BTreeSet::new()));
                account.0.widen(&event.stamp);
                let Some(customer) = customer(&party) else { continue };
                account.1.insert(customer);
                affiliations.entry((customer, group)).or_insert(Span(&event.stamp, &event.stamp)).widen(&event.stamp);
            }
        }
    }
    for (group, (span, people)) in accounts {
        let (kind, value) = kind_and_value(&group);
        rows.push(
            "accounts",
            &json!({"group_identifier": group, "kind": kind, "value": value, "people_count": people.len(),
                    "first_seen_at": time(span.0.occurred_at()), "last_seen_at": time(span.1.occurred_at()), "set_by": span.1.event_id()}),
        );
    }
    for ((customer, group), span) in affiliations {
        rows.push(
            "affiliations",
            &json!({"customer_id": customer, "group_identifier": group, "kind": kind_and_value(&group).0,
                    "first_seen_at": time(span.0.occurred_at()), "last_seen_at": time(span.1.occurred_at()), "set_by": span.1.event_id()}),
        );
    }
}

/// What the last writer decides: profile fields and last touches. Facts come in order, so a later one overwrites.
fn registers(facts: &[&Interaction], customer: &impl Fn(&Party) -> Option<Uuid>, rows: &mut Rows) {
    let mut fields: BTreeMap<(Uuid, String), (Box<RawValue>, &Stamp)> = BTreeMap::new();
    let mut touches: BTreeMap<(Uuid, String, String), &Stamp> = BTreeMap::new();
    for event in facts {
        for customer in parties(event).iter().filter_map(customer) {
            if let Some(Data::CustomerProfileUpdated(update)) = &event.wire.data {
                let set: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&update.fields).unwrap_or_default();
                fields.extend(set.into_iter().map(|(field, value)| ((customer, field), (value, &event.stamp))));
            }
            let (channel, direction) = (event.wire.channel(), event.wire.direction());
            if !channel.is_empty() && (direction == "in" || direction == "out") {
                touches.insert((customer, channel.to_owned(), direction.to_owned()), &event.stamp);
            }
        }
    }
    for ((customer, field), (value, stamp)) in fields.iter().filter(|(_, (value, _))| value.get() != "null") {
        let rest = json!({"customer_id": customer, "field": field, "set_at": time(stamp.occurred_at()), "set_by": stamp.event_id()});
        rows.push_with("profiles", &rest, "value", value.get());
    }
    for ((customer, channel, direction), stamp) in touches {
        rows.push(
            "last_touches",
            &json!({"customer_id": customer, "channel": channel, "direction": direction,
                    "occurred_at": time(stamp.occurred_at()), "set_by": stamp.event_id()}),
        );
    }
}

fn payload(event: &Interaction) -> String {
    String::from_utf8(rapport_proto::json::write(&event.wire, Vec::new())).expect("JSON is UTF-8")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn copies(set: &Set, rows: &mut Rows) {
    for copy in set.differing.iter().filter(|c| !set.voided.contains(&c.event_id)) {
        let counted = set.counted.iter().find(|e| e.event_id == copy.event_id).expect("one copy counts");
        let rest = json!({"event_id": copy.event_id, "source": counted.wire.source, "id": counted.wire.id,
                          "hash": hex(&copy.hash), "is_counted": copy.hash == counted.hash});
        rows.push_with("duplicates", &rest, "payload", &payload(copy));
    }
}

fn timeline(event: &Interaction) -> Box<RawValue> {
    let entities: Vec<String> = event.owned_entities().map(ToString::to_string).collect();
    let null_if_empty = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let rest = json!({
        "event_id": event.event_id, "source": event.wire.source, "id": event.wire.id, "type": event.kind(),
        "occurred_at": time(event.occurred_at), "subject_id": event.subject.as_ref().map(|s| s.id),
        "entity": entities.first(), "entities": if entities.is_empty() { Value::Null } else { entities.into() },
        "channel": null_if_empty(event.wire.channel()), "direction": event.wire.direction(), "summary": event.wire.summary(),
        "stamp": format!("\\x{}", hex(event.stamp.as_bytes())),
    });
    super::with_raw(&rest, "payload", &payload(event))
}
