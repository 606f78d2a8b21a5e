//! Which rows tell of a case, a call or a thread.

use domain::Interaction;
use projection::repair::{Find, Part, Repairable, Replaced, What, finds, parts};

use crate::{Service, folds::telling::telling, tables};

/// What joins an event to others in a thread; nothing where it tells of none.
pub fn nodes(interaction: &Interaction) -> Vec<String> {
    telling(interaction).map(|(_, nodes)| nodes).unwrap_or_default()
}

/// The components in which live tables have a thread that is looked at.
const COMPONENTS: &str = "SELECT n.component FROM {schema}.thread_nodes AS n
     JOIN pg_temp.repair_threads AS t ON t.node = n.node
     UNION SELECT component FROM {schema}.thread_facts
     WHERE nodes && (SELECT coalesce(array_agg(node::text), '{}') FROM pg_temp.repair_threads)
     UNION SELECT t.component FROM pg_temp.repair_subjects AS s JOIN {schema}.threads AS t ON t.subject_id = s.subject_id";

/// A component's number differs from one fold to another: what a thread is known by here is the first text that joins it.
const FIRST_NODE: &str = "(SELECT min(n.node) FROM {schema}.thread_nodes AS n WHERE n.component = r.component)";

impl Repairable for Service {
    fn finds(&self) -> Vec<Find> {
        let mut all = finds::<Self>(&tables::ALL);
        all.push(Find {
            what: What::Threads,
            sql: format!("SELECT node::text FROM {{schema}}.thread_nodes WHERE component IN ({COMPONENTS})"),
        });
        all.push(Find {
            what: What::Events,
            sql: format!(
                "SELECT event_id FROM {{schema}}.thread_facts
                 WHERE component IN ({COMPONENTS})
                    OR nodes && (SELECT coalesce(array_agg(node::text), '{{}}') FROM pg_temp.repair_threads)"
            ),
        });
        all
    }

    fn prepare(&self) -> Vec<String> {
        let live = |sql: &str| sql.replace("{schema}", "{live}");
        let scratch = |sql: &str| sql.replace("{schema}", "{scratch}");
        let (in_live, in_scratch) = (live(COMPONENTS), scratch(COMPONENTS));
        vec![
            "DROP TABLE IF EXISTS pg_temp.repair_live_threads, pg_temp.repair_scratch_threads, pg_temp.repair_messages"
                .to_owned(),
            // A row of a thread that nothing joins any more is known by its thread's id.
            format!(
                "CREATE TEMP TABLE repair_scratch_threads ON COMMIT DROP AS {in_scratch};
                 CREATE TEMP TABLE repair_live_threads ON COMMIT DROP AS {in_live};
                 INSERT INTO pg_temp.repair_live_threads SELECT l.component FROM {{live}}.threads AS l
                     JOIN {{scratch}}.threads AS s USING (thread_id)
                     WHERE s.component IN (SELECT component FROM pg_temp.repair_scratch_threads);
                 INSERT INTO pg_temp.repair_live_threads SELECT l.component FROM {{live}}.thread_waits AS l
                     JOIN {{scratch}}.threads AS s USING (thread_id)
                     WHERE s.component IN (SELECT component FROM pg_temp.repair_scratch_threads)"
            ),
            format!(
                "CREATE TEMP TABLE repair_messages ON COMMIT DROP AS {} UNION {}",
                messages("{live}", "repair_live_threads"),
                messages("{scratch}", "repair_scratch_threads")
            ),
        ]
    }

    fn parts(&self) -> Vec<Part> {
        let mut all = parts(&tables::ALL);
        let of = |table, key, rows: String, set_by: &str| Part {
            table,
            key,
            rows,
            set_by: set_by.to_owned(),
            keeps_more: false,
            replaced: Replaced::Together,
        };
        all.push(of(
            "thread_facts",
            &["event_id"],
            format!(
                "SELECT r.event_id, {FIRST_NODE} AS thread, r.nodes, r.stamp, r.occurred_at, r.subject_id, r.thread_key,
                        r.message_key, r.standing, r.counts, r.message_id, r.parent_key, r.in_reply_to, r.channel, r.outbound,
                        r.writer, r.internal, r.actor, r.title, r.case_id, r.sent_at
                 FROM {{schema}}.thread_facts AS r WHERE r.event_id IN (SELECT event_id FROM pg_temp.repair_messages)"
            ),
            "q.event_id",
        ));
        all.push(of(
            "thread_nodes",
            &["node"],
            format!(
                "SELECT r.node, {FIRST_NODE} AS thread FROM {{schema}}.thread_nodes AS r
                 WHERE r.node IN (SELECT node FROM pg_temp.repair_threads)"
            ),
            "NULL",
        ));
        let in_threads = "r.component IN (SELECT component FROM pg_temp.repair_live_threads WHERE '{schema}' = '{live}'
                           UNION ALL SELECT component FROM pg_temp.repair_scratch_threads WHERE '{schema}' = '{scratch}')";
        all.push(of(
            "threads",
            &["thread_id"],
            format!("SELECT {FIRST_NODE} AS thread, {THREAD} FROM {{schema}}.threads AS r WHERE {in_threads}"),
            "q.set_by",
        ));
        all.push(of(
            "thread_waits",
            &["thread_id", "wait_no"],
            format!("SELECT {FIRST_NODE} AS thread, {WAIT} FROM {{schema}}.thread_waits AS r WHERE {in_threads}"),
            "coalesce(q.answered_event_id, q.asked_event_id)",
        ));
        all
    }

    fn together(&self) -> Vec<String> {
        let insert = |table: &str, columns: &str, condition: &str| {
            format!(
                "INSERT INTO {{live}}.{table} (component, {columns})
                 SELECT c.live, {columns} FROM {{scratch}}.{table} AS r
                 LEFT JOIN pg_temp.repair_threads_numbered AS c ON c.scratch = r.component WHERE {condition}"
            )
        };
        let in_scratch = "r.component IN (SELECT component FROM pg_temp.repair_scratch_threads)";
        vec![
            "CREATE TEMP TABLE repair_threads_numbered ON COMMIT DROP AS
             SELECT component AS scratch, nextval('{live}.thread_components') AS live
             FROM (SELECT DISTINCT component FROM pg_temp.repair_scratch_threads WHERE component IS NOT NULL) AS c"
                .to_owned(),
            "DELETE FROM {live}.thread_facts WHERE event_id IN (SELECT event_id FROM pg_temp.repair_messages)"
                .to_owned(),
            "DELETE FROM {live}.thread_nodes WHERE component IN (SELECT component FROM pg_temp.repair_live_threads)
                OR node IN (SELECT node FROM pg_temp.repair_threads)"
                .to_owned(),
            "DELETE FROM {live}.threads WHERE component IN (SELECT component FROM pg_temp.repair_live_threads)"
                .to_owned(),
            "DELETE FROM {live}.thread_waits WHERE component IN (SELECT component FROM pg_temp.repair_live_threads)"
                .to_owned(),
            insert("thread_facts", MESSAGE, "r.event_id IN (SELECT event_id FROM pg_temp.repair_messages)"),
            insert("thread_nodes", "node", in_scratch),
            insert("threads", THREAD, in_scratch),
            insert("thread_waits", WAIT, in_scratch),
        ]
    }
}

/// Events of the threads, also those that were taken back and are in none.
fn messages(schema: &str, components: &str) -> String {
    format!(
        "SELECT event_id FROM {schema}.thread_facts
         WHERE nodes && (SELECT coalesce(array_agg(node::text), '{{}}') FROM pg_temp.repair_threads)
            OR component IN (SELECT component FROM pg_temp.{components})"
    )
}

/// The columns of the tables but their component.
const MESSAGE: &str = "event_id, nodes, stamp, occurred_at, subject_id, thread_key, message_key, standing, counts, message_id, \
     parent_key, in_reply_to, channel, outbound, writer, internal, actor, title, case_id, sent_at";
const THREAD: &str = "thread_id, subject_id, channel, title, first_at, last_at, message_count, messages_customer, \
     messages_agent, wait_count, first_asked_at, first_answered_at, first_wait_s, unanswered_since, flags, set_by";
const WAIT: &str = "wait_no, thread_id, subject_id, title, channel, asked_at, asked_message_id, answered_at, \
     answered_message_id, answered_by, wait_s, ended_at, next_asked_at, flags, asked_event_id, answered_event_id";
