//! Which rows tell of a customer, or of one entity on somebody's timeline.

use std::collections::BTreeSet;

use domain::Interaction;
use projection::repair::{Find, Part, Repairable, Replaced, Said, What};

use crate::effects::Effects;
use crate::identity::Node;
use crate::model::Customer360;

impl Customer360 {
    /// What an event says of subjects and of who is whom.
    pub fn said(&self, interaction: &Interaction) -> Said {
        let effects = Effects::of(interaction, &self.namespace);
        let identifiers =
            |named: &crate::effects::Named<'_>| named.identifiers.iter().map(ToString::to_string).collect();
        let link = effects.link.as_ref().map(|link| {
            let (left, right) = link.pair.texts();
            (left.to_owned(), right.to_owned())
        });
        Said {
            named: effects.named.iter().map(|named| (named.id, identifiers(named))).collect(),
            link,
            ..Said::of(interaction)
        }
    }

    /// Whether an identifier is a hub that is named beside these others, subject by subject. Duplicates do not count.
    pub fn is_hub(&self, identifier: &str, near: &BTreeSet<String>) -> bool {
        let Some(node) = Node::parse(identifier) else { return false };
        let near: Vec<Node> = near.iter().filter(|other| *other != identifier).filter_map(|n| Node::parse(n)).collect();
        self.limits.exceeded(&node, &near)
    }
}

const IN_EVENTS: &str = "r.event_id IN (SELECT event_id FROM pg_temp.repair_events)";
const OF_PARTIES: &str = "r.party IN (SELECT party FROM pg_temp.repair_parties)";
const NAMED: &str = "SELECT identifier FROM pg_temp.repair_identifiers";
const FOLLOWED: &str = "SELECT identifier FROM pg_temp.repair_identifiers WHERE followed";
const SUBJECTS: &str = "SELECT subject_id FROM pg_temp.repair_subjects";
/// The components that tables have for whom is looked at.
const COMPONENTS: &str = "SELECT i.component FROM {schema}.identifiers AS i
     JOIN pg_temp.repair_identifiers AS n ON n.identifier = i.identifier WHERE i.component IS NOT NULL
     UNION SELECT c.component FROM {schema}.components AS c
     JOIN pg_temp.repair_subjects AS s ON s.subject_id = c.customer_id";
/// A component's number differs from one fold to another: it is known by its customer, or its first identifier.
const WHO: &str = "coalesce((SELECT c.customer_id::text FROM {schema}.components AS c WHERE c.component = r.component),
     (SELECT min(m.identifier COLLATE \"C\") FROM {schema}.identifiers AS m WHERE m.component = r.component))";

impl Repairable for Customer360 {
    fn finds(&self) -> Vec<Find> {
        let find = |what, sql: &str| Find { what, sql: sql.to_owned() };
        vec![
            find(
                What::Subjects,
                "SELECT s.subject_id FROM pg_temp.repair_identifiers AS n
                 JOIN {schema}.subjects AS s ON s.anchor = n.identifier
                 UNION SELECT g.subject_id FROM pg_temp.repair_identifiers AS n
                 JOIN {schema}.naming AS g ON g.identifier = n.identifier WHERE n.followed",
            ),
            find(
                What::Identifiers,
                "SELECT unnest(s.identifiers) FROM pg_temp.repair_subjects JOIN {schema}.subjects AS s USING (subject_id)",
            ),
            Find {
                what: What::Identifiers,
                sql: format!(
                    "SELECT identifier FROM {{schema}}.identifiers WHERE component IN ({COMPONENTS}
                     UNION SELECT c.component FROM {{schema}}.components AS c WHERE c.conflicted AND c.cluster IN
                         (SELECT k.cluster FROM {{schema}}.components AS k WHERE k.component IN ({COMPONENTS})))"
                ),
            },
            find(
                What::Entities,
                "SELECT e.kind, e.key FROM pg_temp.repair_subjects AS s
                 JOIN {schema}.entities AS e ON e.owner_subject = s.subject_id",
            ),
            find(
                What::Events,
                "SELECT t.event_id FROM pg_temp.repair_subjects AS s
                 JOIN {schema}.timeline AS t ON t.subject_id = s.subject_id
                 UNION SELECT {schema}.stamp_event(a.stamp) FROM pg_temp.repair_parties AS p
                 JOIN {schema}.appearances AS a ON a.party = p.party WHERE length(a.stamp) >= 16",
            ),
            find(
                What::Events,
                "SELECT v.void_id FROM pg_temp.repair_events AS e JOIN {schema}.voids AS v ON v.target = e.event_id
                 UNION SELECT v.target FROM pg_temp.repair_events AS e JOIN {schema}.voids AS v ON v.void_id = e.event_id",
            ),
        ]
    }

    fn prepare(&self) -> Vec<String> {
        let of = |schema: &str| COMPONENTS.replace("{schema}", schema);
        vec![
            "DROP TABLE IF EXISTS pg_temp.repair_appearances, pg_temp.repair_live_components, pg_temp.repair_components"
                .to_owned(),
            "CREATE TEMP TABLE repair_appearances ON COMMIT DROP AS
             SELECT a.party, a.stamp FROM {scratch}.appearances AS a
             WHERE {scratch}.stamp_event(a.stamp) IN (SELECT event_id FROM pg_temp.repair_events)"
                .to_owned(),
            format!("CREATE TEMP TABLE repair_live_components ON COMMIT DROP AS {}", of("{live}")),
            format!("CREATE TEMP TABLE repair_components ON COMMIT DROP AS {}", of("{scratch}")),
        ]
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = of_events();
        parts.extend(of_parties());
        parts.extend(of_the_graph());
        parts
    }

    fn together(&self) -> Vec<String> {
        let named = format!("r.identifier IN ({NAMED})");
        let in_live = "IN (SELECT component FROM pg_temp.repair_live_components)";
        vec![
            "CREATE TEMP TABLE repair_components_numbered ON COMMIT DROP AS
             SELECT component AS scratch, nextval('{live}.component_numbers') AS live FROM pg_temp.repair_components"
                .to_owned(),
            format!(
                "DELETE FROM {{live}}.conflicts AS r WHERE r.left_id IN ({NAMED}) OR r.right_id IN ({NAMED})
                    OR r.cluster IN (SELECT cluster FROM {{live}}.components WHERE component {in_live})"
            ),
            format!("DELETE FROM {{live}}.components AS r WHERE r.component {in_live}"),
            format!("DELETE FROM {{live}}.identifiers AS r WHERE {named}"),
            "INSERT INTO {live}.components
                 (component, cluster, conflicted, size, uniques, customer_id, first_at, kind_rank)
             SELECT c.live, k.live, r.conflicted, r.size, r.uniques, r.customer_id, r.first_at, r.kind_rank
             FROM {scratch}.components AS r
             JOIN pg_temp.repair_components_numbered AS c ON c.scratch = r.component
             JOIN pg_temp.repair_components_numbered AS k ON k.scratch = r.cluster"
                .to_owned(),
            format!(
                "INSERT INTO {{live}}.identifiers (identifier, component, hub, linked)
                 SELECT r.identifier, c.live, r.hub, r.linked FROM {{scratch}}.identifiers AS r
                 LEFT JOIN pg_temp.repair_components_numbered AS c ON c.scratch = r.component WHERE {named}"
            ),
            format!(
                "INSERT INTO {{live}}.conflicts (left_id, right_id, stamp, kind, left_value, right_value, cluster)
                 SELECT r.left_id, r.right_id, r.stamp, r.kind, r.left_value, r.right_value, c.live
                 FROM {{scratch}}.conflicts AS r
                 JOIN pg_temp.repair_components_numbered AS c ON c.scratch = r.cluster
                 WHERE r.left_id IN ({NAMED}) OR r.right_id IN ({NAMED})"
            ),
        ]
    }
}

fn of_events() -> Vec<Part> {
    let voids = "(r.void_id IN (SELECT event_id FROM pg_temp.repair_events)
                  OR r.target IN (SELECT event_id FROM pg_temp.repair_events))";
    vec![
        Part::of("timeline", &["event_id"], IN_EVENTS, "q.event_id"),
        Part::of(
            "appearances",
            &["party", "stamp"],
            &format!("({OF_PARTIES} OR (r.party, r.stamp) IN (SELECT party, stamp FROM pg_temp.repair_appearances))"),
            "CASE WHEN length(q.stamp) >= 16 THEN {schema}.stamp_event(q.stamp) END",
        ),
        Part::of("voids", &["void_id"], voids, "q.void_id"),
        Part::of("copies", &["event_id", "hash"], IN_EVENTS, "q.event_id"),
        Part::of("arrivals", &["event_id", "partition", "log_offset"], IN_EVENTS, "q.event_id"),
        // More of it stands where a lesser copy came later, or a void no longer is one.
        Part::of("taken_back", &["name", "event_id"], IN_EVENTS, "q.event_id").keeping_more(),
    ]
}

fn of_parties() -> Vec<Part> {
    // One that stands there under another id than its own is wrong.
    let entities = "(r.entity_id IN (SELECT entity_id FROM pg_temp.repair_entities)
                     OR (r.kind, r.key) IN (SELECT kind, key FROM pg_temp.repair_entities))";
    let set_by = |stamp: &str| format!("CASE WHEN length({stamp}) >= 16 THEN {{schema}}.stamp_event({stamp}) END");
    vec![
        Part::of("entities", &["entity_id"], entities, &set_by("q.owner_stamp")),
        Part::of("profile_fields", &["party", "field"], OF_PARTIES, &set_by("q.stamp")),
        Part::of("touches", &["party", "channel", "direction"], OF_PARTIES, &set_by("q.stamp")),
        Part::of("affiliations", &["party", "group_id"], OF_PARTIES, &set_by("q.last_stamp")),
    ]
}

fn of_the_graph() -> Vec<Part> {
    let set_by = |stamp: &str| format!("CASE WHEN length({stamp}) >= 16 THEN {{schema}}.stamp_event({stamp}) END");
    let together = |table, key, rows: String, set_by: String| Part {
        table,
        key,
        rows,
        set_by,
        keeps_more: false,
        replaced: Replaced::Together,
    };
    // What is linked by hand is looked at more closely ever after; a link that was taken back leaves that as it is.
    let linked = "(r.linked OR NOT EXISTS (SELECT FROM {schema}.link_events AS l WHERE l.left_id = r.identifier)
                   AND NOT EXISTS (SELECT FROM {schema}.link_events AS l WHERE l.right_id = r.identifier))";
    let in_components =
        "r.component IN (SELECT component FROM pg_temp.repair_live_components WHERE '{schema}' = '{live}'
                          UNION ALL SELECT component FROM pg_temp.repair_components WHERE '{schema}' = '{scratch}')";
    vec![
        Part::of("subjects", &["subject_id"], &format!("r.subject_id IN ({SUBJECTS})"), &set_by("q.first_stamp")),
        Part::of(
            "naming",
            &["identifier", "subject_id"],
            &format!("(r.identifier IN ({FOLLOWED}) OR r.subject_id IN ({SUBJECTS}))"),
            "NULL",
        ),
        Part::of(
            "neighbours",
            &["identifier", "neighbour"],
            &format!("(r.identifier IN ({FOLLOWED}) OR r.neighbour IN ({FOLLOWED}))"),
            "NULL",
        ),
        Part::of(
            "link_events",
            &["left_id", "right_id", "stamp"],
            &format!("(r.left_id IN ({NAMED}) OR r.right_id IN ({NAMED}))"),
            &set_by("q.stamp"),
        ),
        together(
            "identifiers",
            &["identifier"],
            format!(
                "SELECT r.identifier, {WHO} AS customer_id, r.hub, {linked} AS linked
                 FROM {{schema}}.identifiers AS r WHERE r.identifier IN ({NAMED})"
            ),
            "NULL".to_owned(),
        ),
        together(
            "components",
            &["customer_id"],
            format!(
                "SELECT {WHO} AS customer_id, r.conflicted, r.size, r.uniques, r.first_at, r.kind_rank,
                        (SELECT min(o.customer_id::text) FROM {{schema}}.components AS o
                         WHERE r.conflicted AND o.conflicted AND o.cluster = r.cluster) AS cluster
                 FROM {{schema}}.components AS r WHERE {in_components}"
            ),
            "NULL".to_owned(),
        ),
        together(
            "conflicts",
            &["left_id", "right_id"],
            format!(
                "SELECT r.left_id, r.right_id, r.stamp, r.kind, r.left_value, r.right_value,
                        (SELECT min(o.customer_id::text) FROM {{schema}}.components AS o WHERE o.cluster = r.cluster) AS cluster
                 FROM {{schema}}.conflicts AS r
                 WHERE r.left_id IN ({NAMED}) OR r.right_id IN ({NAMED})
                    OR r.cluster IN (SELECT k.cluster FROM {{schema}}.components AS k WHERE k.component IN
                        (SELECT component FROM pg_temp.repair_live_components WHERE '{{schema}}' = '{{live}}'
                         UNION ALL SELECT component FROM pg_temp.repair_components WHERE '{{schema}}' = '{{scratch}}'))"
            ),
            set_by("q.stamp"),
        ),
    ]
}
