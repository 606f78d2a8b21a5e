//! What must come out, computed at one go from the whole set of records.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{Identifier, Interaction, Stamp, Subject};
use projection::Event;
use projector_customer360::HubLimits;
use projector_customer360::identity::{Graph, LinkEvent, Node, Pair, SubjectRow, hubs, resolve_all};
use rapport_proto::v1::interaction::Data;
use uuid::Uuid;

use crate::world::{World, namespace};

/// Rows by name of what is compared.
pub(crate) type Answer = BTreeMap<&'static str, BTreeSet<String>>;

/// The questions put to the tables, in the form in which the oracle answers.
const QUESTIONS: &[(&str, &str)] = &[
    (
        "subjects",
        "SELECT concat_ws(' ', subject_id, coalesce(customer_id::text, '-'), set_by) FROM customer360.subjects",
    ),
    (
        "identifiers",
        "SELECT concat_ws(' ', identifier, coalesce(customer_id::text, '-'), is_hub, set_by) FROM customer360.identifiers",
    ),
    (
        "links",
        "SELECT concat_ws(' ', left_identifier, right_identifier, is_on, is_explicit, is_conflict, \
         (extract(epoch FROM since_at) * 1000000)::bigint, set_by) FROM customer360.links",
    ),
    (
        "conflicts",
        "SELECT concat_ws(' ', left_identifier, right_identifier, kind, left_value, right_value, \
         coalesce(left_customer_id::text, '-'), coalesce(right_customer_id::text, '-')) FROM customer360.conflicts",
    ),
    (
        "customers",
        "SELECT concat_ws(' ', customer_id, array_to_string(identifiers, ','), subject_count, set_by) FROM customer360.customers",
    ),
    ("timeline", "SELECT concat_ws(' ', event_id, type, subject_id, entity) FROM customer360.timeline"),
    ("duplicates", "SELECT concat_ws(' ', event_id, hash, is_counted) FROM customer360.duplicates"),
    ("profiles", "SELECT concat_ws(' ', customer_id, field, value::text, set_by) FROM customer360.profiles"),
    ("last_touches", "SELECT concat_ws(' ', customer_id, channel, direction, set_by) FROM customer360.last_touches"),
    ("affiliations", "SELECT concat_ws(' ', customer_id, group_identifier, set_by) FROM customer360.affiliations"),
    ("accounts", "SELECT concat_ws(' ', group_identifier, people_count, set_by) FROM customer360.accounts"),
];

/// What the tables say.
pub(crate) async fn asked(world: &mut World) -> Answer {
    let mut answer = Answer::new();
    for (name, sql) in QUESTIONS {
        answer.insert(name, world.rows(sql).await);
    }
    answer
}

/// What they must say.
pub(crate) fn expected(records: &[Event], limits: &HubLimits) -> Answer {
    let (counted, duplicates) = counted(records);
    let voids: BTreeSet<Uuid> = counted.iter().filter(|e| e.voids().is_some()).map(|e| e.event_id).collect();
    let taken_back: BTreeSet<Uuid> = counted.iter().filter_map(|e| e.voids()).filter(|t| !voids.contains(t)).collect();
    let facts: Vec<&Interaction> = counted.iter().filter(|e| !taken_back.contains(&e.event_id)).collect();
    let mut answer = Answer::new();
    let standing = |line: &String| !taken_back.iter().any(|id| line.starts_with(&id.to_string()));
    answer.insert("duplicates", duplicates.into_iter().filter(standing).collect());
    answer.insert("timeline", facts.iter().map(|e| timeline(e)).collect());
    let customers = identity(&facts, limits, &mut answer);
    registers(&facts, &customers, &mut answer);
    answer
}

/// Of each event the copy that counts, in order of facts; and the lines of `duplicates`.
fn counted(records: &[Event]) -> (Vec<Interaction>, BTreeSet<String>) {
    let mut copies: BTreeMap<Uuid, BTreeMap<[u8; 32], Interaction>> = BTreeMap::new();
    for Event { interaction, .. } in records {
        let same = copies.entry(interaction.event_id).or_default();
        let known = same.entry(interaction.hash).or_insert_with(|| interaction.clone());
        if interaction.received_at < known.received_at {
            *known = interaction.clone();
        }
    }
    let mut lines = BTreeSet::new();
    let mut counted = Vec::new();
    for (id, copies) in copies {
        let least = copies.values().min_by_key(|c| c.copy_order()).expect("a copy").clone();
        if copies.len() > 1 {
            let hex = |hash: &[u8; 32]| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let flag = |hash: &[u8; 32]| if *hash == least.hash { "t" } else { "f" };
            lines.extend(copies.keys().map(|hash| format!("{id} {} {}", hex(hash), flag(hash))));
        }
        counted.push(least);
    }
    counted.sort_by(|a, b| a.stamp.cmp(&b.stamp));
    (counted, lines)
}

fn timeline(event: &Interaction) -> String {
    let parts = [
        Some(event.event_id.to_string()),
        Some(event.kind().to_owned()),
        event.subject.as_ref().map(|s| s.id.to_string()),
        event.owned_entities().next().map(ToString::to_string),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn sides(event: &Interaction) -> Option<(Identifier, Identifier, bool)> {
    let (left, right, on) = match event.wire.data.as_ref()? {
        Data::IdentityLinkAsserted(l) => (&l.left, &l.right, true),
        Data::IdentityLinkRevoked(l) => (&l.left, &l.right, false),
        _ => return None,
    };
    Some((Identifier::parse(left.as_deref()?)?, Identifier::parse(right.as_deref()?)?, on))
}

fn nodes(identifiers: &[Identifier]) -> Vec<Node> {
    identifiers.iter().filter_map(Node::of).collect()
}

/// Answers the questions of the graph. Returns subject -> customer.
fn identity(facts: &[&Interaction], limits: &HubLimits, answer: &mut Answer) -> HashMap<Uuid, Option<Uuid>> {
    let mut subjects: BTreeMap<Uuid, SubjectRow> = BTreeMap::new();
    let mut links = Vec::new();
    for event in facts {
        let sides = sides(event);
        let singles =
            event.participants.iter().cloned().chain(sides.iter().flat_map(|(l, r, _)| [l.clone(), r.clone()]));
        for subject in event.subject.clone().into_iter().chain(singles.filter_map(|i| Subject::new(&namespace(), [i])))
        {
            // Facts come in order: the first is the least.
            subjects.entry(subject.id).or_insert_with(|| SubjectRow {
                id: subject.id,
                identifiers: nodes(&subject.identifiers),
                first: event.stamp.clone(),
            });
        }
        let pair = sides.and_then(|(l, r, on)| Some((Pair::new(&Node::of(&l)?, &Node::of(&r)?)?, on)));
        links.extend(pair.map(|(pair, asserted)| LinkEvent { pair, stamp: event.stamp.clone(), asserted }));
    }
    let subjects: Vec<SubjectRow> = subjects.into_values().collect();
    let graph = resolve_all(&subjects, &links, limits);
    let home: HashMap<&Node, Option<Uuid>> =
        graph.components.iter().flat_map(|c| c.members.iter().map(|m| (m, c.customer.map(|c| c.id)))).collect();
    let customers: HashMap<Uuid, Option<Uuid>> = subjects
        .iter()
        .map(|s| (s.id, graph.anchors[&s.id].as_ref().map_or(Some(s.id), |anchor| home.get(anchor).copied().flatten())))
        .collect();
    describe(&subjects, &graph, &home, &customers, limits, answer);
    customers
}

fn text(customer: Option<Uuid>) -> String {
    customer.map_or_else(|| "-".to_owned(), |id| id.to_string())
}

fn flag(value: bool) -> &'static str {
    if value { "t" } else { "f" }
}

fn describe(
    subjects: &[SubjectRow],
    graph: &Graph,
    home: &HashMap<&Node, Option<Uuid>>,
    customers: &HashMap<Uuid, Option<Uuid>>,
    limits: &HubLimits,
    answer: &mut Answer,
) {
    let set_by = |stamp: &Stamp| stamp.event_id();
    let line = |s: &SubjectRow| format!("{} {} {}", s.id, text(customers[&s.id]), set_by(&s.first));
    answer.insert("subjects", subjects.iter().map(line).collect());

    let hubs = hubs(subjects, limits);
    let mut first: BTreeMap<&Node, &Stamp> = BTreeMap::new();
    for subject in subjects {
        for node in &subject.identifiers {
            let known = first.entry(node).or_insert(&subject.first);
            *known = (*known).min(&subject.first);
        }
    }
    let line = |(n, stamp): (&&Node, &&Stamp)| {
        format!("{} {} {} {}", n.text(), text(home.get(*n).copied().flatten()), flag(hubs.contains(*n)), set_by(stamp))
    };
    answer.insert("identifiers", first.iter().map(line).collect());

    let conflicts: BTreeSet<&Pair> = graph.conflicts.iter().map(|c| &c.pair).collect();
    let line = |l: &projector_customer360::identity::Link| {
        let (left, right) = l.pair.texts();
        let flags = [l.on, l.explicit, conflicts.contains(&l.pair)].map(flag).join(" ");
        format!("{left} {right} {flags} {} {}", l.since.occurred_at(), set_by(&l.since))
    };
    answer.insert("links", graph.links.iter().map(line).collect());
    let line = |c: &projector_customer360::identity::Conflict| {
        let (left, right) = c.pair.texts();
        let [a, b] = [c.pair.left(), c.pair.right()].map(|n| text(home[n]));
        format!("{left} {right} {} {} {} {a} {b}", c.unique.name(), c.left_value, c.right_value)
    };
    answer.insert("conflicts", graph.conflicts.iter().map(line).collect());
    answer.insert("customers", people(subjects, graph, customers));
}

fn people(subjects: &[SubjectRow], graph: &Graph, customers: &HashMap<Uuid, Option<Uuid>>) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let ids: BTreeSet<Uuid> = customers.values().copied().flatten().collect();
    for id in ids {
        let own: Vec<&SubjectRow> = subjects.iter().filter(|s| customers[&s.id] == Some(id)).collect();
        let component = graph.components.iter().find(|c| c.customer.is_some_and(|c| c.id == id));
        let mut identifiers: Vec<&str> =
            component.map_or(&own[0].identifiers, |c| &c.members).iter().map(Node::text).collect();
        identifiers.sort_unstable();
        let first = own.iter().map(|s| &s.first).min().expect("a customer has a subject");
        lines.insert(format!("{id} {} {} {}", identifiers.join(","), own.len(), first.event_id()));
    }
    lines
}

/// Answers the questions of the registers, from the facts in order.
fn registers(facts: &[&Interaction], customers: &HashMap<Uuid, Option<Uuid>>, answer: &mut Answer) {
    let mut owners: BTreeMap<String, Uuid> = BTreeMap::new();
    for event in facts {
        for entity in event.owned_entities() {
            if let Some(subject) = &event.subject {
                owners.entry(entity.to_string()).or_insert(subject.id);
            }
        }
    }
    let mut profiles: BTreeMap<(Uuid, String), (String, Uuid)> = BTreeMap::new();
    let mut touches: BTreeMap<(Uuid, String, String), Uuid> = BTreeMap::new();
    let mut affiliations: BTreeMap<(Uuid, String), Uuid> = BTreeMap::new();
    let mut accounts: BTreeMap<String, (BTreeSet<Uuid>, Option<Uuid>)> = BTreeMap::new();
    for event in facts {
        let subjects: Vec<Uuid> = match &event.subject {
            Some(subject) => vec![subject.id],
            None => event.owned_entities().filter_map(|e| owners.get(&e.to_string()).copied()).collect(),
        };
        let of: BTreeSet<Uuid> = subjects.iter().filter_map(|s| customers[s]).collect();
        let party = event.subject.is_some() || event.owned_entities().next().is_some();
        for group in event.groups.iter().filter(|_| party).map(ToString::to_string) {
            let (people, last) = accounts.entry(group).or_default();
            people.extend(&of);
            *last = Some(event.event_id);
        }
        for customer in of {
            let (channel, direction) = (event.wire.channel().to_owned(), event.wire.direction().to_owned());
            if !channel.is_empty() && direction != "none" {
                touches.insert((customer, channel, direction), event.event_id);
            }
            for group in &event.groups {
                affiliations.insert((customer, group.to_string()), event.event_id);
            }
            if let Some(Data::CustomerProfileUpdated(update)) = &event.wire.data {
                let fields: BTreeMap<String, Box<serde_json::value::RawValue>> =
                    serde_json::from_slice(&update.fields).expect("an object");
                for (name, value) in fields {
                    profiles.insert((customer, name), (value.get().to_owned(), event.event_id));
                }
            }
        }
    }
    let profiles = profiles.into_iter().filter(|(_, (value, _))| value != "null");
    answer.insert("profiles", profiles.map(|((c, field), (value, by))| format!("{c} {field} {value} {by}")).collect());
    answer.insert("last_touches", touches.into_iter().map(|((c, ch, d), by)| format!("{c} {ch} {d} {by}")).collect());
    answer.insert("affiliations", affiliations.into_iter().map(|((c, g), by)| format!("{c} {g} {by}")).collect());
    let account = |(g, (people, by)): (String, (BTreeSet<Uuid>, Option<Uuid>))| {
        format!("{g} {} {}", people.len(), by.expect("named"))
    };
    answer.insert("accounts", accounts.into_iter().map(account).collect());
}
