//! Which rows of a model of bounded entities tell of what.

use super::{Find, Part, What};
use crate::bounded::{Bounded, Kind, Table};

const IN_EVENTS: &str = "r.event_id IN (SELECT event_id FROM pg_temp.repair_events)";

/// How its tables are asked for more names: [`super::Repairable::finds`]. `tables`: those that are derived.
pub fn finds<B: Bounded>(tables: &[Table]) -> Vec<Find> {
    let owned = tables.iter().filter(|table| table.columns.contains(&"subject_id"));
    let owned = owned.map(|Table { name, kind, key, .. }| Find {
        what: What::Entities,
        sql: format!(
            "SELECT '{kind}', r.{key}::text FROM pg_temp.repair_subjects AS s
             JOIN {{schema}}.{name} AS r ON r.subject_id = s.subject_id"
        ),
    });
    let mut finds: Vec<Find> = owned.collect();
    for Kind { kind, column } in B::KINDS {
        finds.push(Find {
            what: What::Events,
            sql: format!(
                "SELECT f.event_id FROM pg_temp.repair_entities AS e
                 JOIN {{schema}}.facts AS f ON f.{column} = e.key COLLATE \"C\" WHERE e.kind = '{kind}'
                 UNION SELECT f.event_id FROM pg_temp.repair_entities AS e
                 JOIN {{schema}}.facts AS f ON f.correlated = ('{kind}:' || e.key) COLLATE \"C\" WHERE e.kind = '{kind}'"
            ),
        });
        finds.push(Find {
            what: What::Said,
            sql: format!(
                "SELECT event_id, '{kind}', f.{column}::text FROM pg_temp.repair_events
                 JOIN {{schema}}.facts AS f USING (event_id) WHERE f.{column} IS NOT NULL
                 UNION ALL SELECT event_id, '{kind}', substr(f.correlated, length('{kind}:') + 1)::text
                 FROM pg_temp.repair_events JOIN {{schema}}.facts AS f USING (event_id)
                 WHERE starts_with(f.correlated, '{kind}:')"
            ),
        });
    }
    finds.push(voids());
    finds
}

/// Whatever takes back an event, and what an event takes back: the table is every model's.
pub(super) fn voids() -> Find {
    Find {
        what: What::Events,
        sql: "SELECT v.void_id FROM pg_temp.repair_events AS e JOIN {schema}.voids AS v ON v.target = e.event_id
              UNION SELECT v.target FROM pg_temp.repair_events AS e JOIN {schema}.voids AS v ON v.void_id = e.event_id"
            .to_owned(),
    }
}

/// The rows of its facts, and of these derived tables: [`super::Repairable::parts`].
pub fn parts(tables: &[Table]) -> Vec<Part> {
    // An entity may stand there that only a copy named which does not count.
    let entities = "(r.kind, r.key) IN (SELECT kind COLLATE \"C\", key COLLATE \"C\" FROM pg_temp.repair_entities)";
    let voids = "(r.void_id IN (SELECT event_id FROM pg_temp.repair_events)
                  OR r.target IN (SELECT event_id FROM pg_temp.repair_events))";
    let mut parts = vec![
        Part::of("entities", &["kind", "key"], entities, "NULL").keeping_more(),
        Part::of("facts", &["event_id"], IN_EVENTS, "q.event_id"),
        Part::of("voids", &["void_id"], voids, "q.void_id"),
    ];
    parts.extend(tables.iter().map(derived));
    parts
}

fn derived(table: &Table) -> Part {
    let Table { name, kind, key, columns } = table;
    let condition = format!(
        "EXISTS (SELECT FROM pg_temp.repair_entities AS e WHERE e.kind = '{kind}' AND e.key COLLATE \"C\" = r.{key})"
    );
    let is_numbered = columns.get(1).is_some_and(|second| second.ends_with("_no") || *second == "event_id");
    let set_by = if columns.contains(&"set_by") { "q.set_by" } else { "NULL" };
    Part::of(name, &columns[..if is_numbered { 2 } else { 1 }], &condition, set_by)
}
