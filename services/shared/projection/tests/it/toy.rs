//! A read model that shows at once when an event is folded twice or not at all: a table of facts, and totals that are
//! added up and never derived again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use domain::Namespace;
use projection::copy::{CopyBuffer, copy_in};
use projection::{ApplyError, Batch, BatchTx, Event, Load, Mode, ReadModel};
use uuid::Uuid;

/// What the model does with events whose id begins with `refused`, `zero`, `sleepy`, `short` or anything else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Toy {
    /// What it is called, if not `toy`: figures of a process are told apart by it.
    pub(crate) named: Option<&'static str>,
    pub(crate) settings: String,
    /// Each batch takes at least this long.
    pub(crate) pause_ms: u64,
    /// PostgreSQL has no space for events whose id begins with `short`.
    pub(crate) no_space: Arc<AtomicBool>,
    /// It folds events whose id begins with `refused` or `zero` like any other: its fold was put right.
    pub(crate) is_cured: Arc<AtomicBool>,
    /// It loads a log from its beginning, instead of folding it in batches.
    pub(crate) loads: bool,
    /// Its fold is wrong: this person's events count double.
    pub(crate) doubles: Option<usize>,
    /// It cannot fold anything: a table is missing.
    pub(crate) is_broken: bool,
    /// How many loads came to their end.
    pub(crate) loaded: Arc<AtomicU32>,
}

/// Facts as they come, totals in memory.
pub(crate) struct Loading {
    facts: CopyBuffer,
    totals: BTreeMap<String, i64>,
    /// Some event's id begins with `zero` or `refused`.
    is_poisoned: bool,
    /// Some event's id begins with `short`.
    is_short: bool,
}

impl Load for Loading {
    fn add(&mut self, event: &Event) {
        let id = event.interaction.wire.id.as_deref().unwrap_or_default();
        self.is_poisoned |= id.starts_with("zero") || id.starts_with("refused");
        self.is_short |= id.starts_with("short");
        let who = put(&mut self.facts, event);
        *self.totals.entry(who).or_default() += 1;
    }

    fn take_rows(&mut self) -> Vec<(String, CopyBuffer)> {
        vec![(COPY_FACTS.to_owned(), std::mem::replace(&mut self.facts, CopyBuffer::new(4)))]
    }

    fn row_bytes(&self) -> usize {
        self.facts.bytes()
    }

    fn held_bytes(&self) -> usize {
        self.totals.len() * 64
    }
}

const SCHEMA: &str = "
    CREATE TABLE facts (event_id uuid PRIMARY KEY, received_at bigint NOT NULL, hash bytea NOT NULL, who text NOT NULL);
    CREATE INDEX facts_who ON facts (who);
    CREATE TABLE totals (who text PRIMARY KEY, events bigint NOT NULL, padding text);
";

/// So long is the padding of each total that a load writes: all of them are more than it writes at a time.
const PADDING_BYTES: usize = 200 * 1024;

const VIEWS: &str = "
    CREATE OR REPLACE VIEW {model}.facts AS SELECT event_id, received_at, hash, who FROM {schema}.facts;
    COMMENT ON VIEW {model}.facts IS 'Every event, once.';
    CREATE OR REPLACE VIEW {model}.totals AS SELECT who, events FROM {schema}.totals;
    COMMENT ON VIEW {model}.totals IS 'How many events name whom.';
";

impl ReadModel for Toy {
    type Load = Loading;

    fn name(&self) -> &'static str {
        self.named.unwrap_or("toy")
    }

    fn schema_sql(&self) -> &'static str {
        SCHEMA
    }

    fn indexes_sql(&self) -> &'static str {
        "CREATE INDEX totals_events\n    ON totals (events);\n"
    }

    fn views(&self) -> &'static str {
        VIEWS
    }

    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[("facts", &["received_at"]), ("totals", &[])]
    }

    fn row_key(&self, view: &str) -> &'static [&'static str] {
        if view == "totals" { &["who"] } else { &["event_id"] }
    }

    fn fold_version(&self) -> u32 {
        1
    }

    fn load(&self) -> Option<Loading> {
        let totals = BTreeMap::new();
        self.loads.then(|| Loading { facts: CopyBuffer::new(4), totals, is_poisoned: false, is_short: false })
    }

    async fn finish_load(&self, cx: &mut BatchTx<'_>, load: Loading) -> Result<(), sqlx::Error> {
        if load.is_poisoned && !self.is_cured.load(Ordering::SeqCst) {
            sqlx::query("SELECT 1 / $1").bind(0i32).execute(&mut **cx).await?;
        }
        if load.is_short && self.no_space.load(Ordering::SeqCst) {
            sqlx::query(NO_SPACE).execute(&mut **cx).await?;
        }
        self.break_down(cx).await?;
        let mut totals = CopyBuffer::new(3);
        for (who, events) in self.counted(load.totals) {
            totals.begin_row().put_text(&who).put_i64(events).put_text(&"x".repeat(PADDING_BYTES));
        }
        cx.copy_in_steps("COPY totals (who, events, padding) FROM STDIN BINARY", totals).await?;
        self.loaded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn settings(&self) -> String {
        self.settings.clone()
    }

    async fn apply(&self, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
        tokio::time::sleep(std::time::Duration::from_millis(self.pause_ms)).await;
        self.break_down(cx).await?;
        let is_cured = self.is_cured.load(Ordering::SeqCst);
        for (index, event) in batch.events.iter().enumerate() {
            let id = event.interaction.wire.id.as_deref().unwrap_or_default();
            if id.starts_with("refused") && !is_cured {
                return Err(ApplyError::Refused { event: index, reason: "its id says so".into() });
            }
            if id.starts_with("zero") && !is_cured {
                sqlx::query("SELECT 1 / $1").bind(0i32).execute(&mut **cx).await?;
            }
            if id.starts_with("sleepy") {
                sqlx::query("SELECT pg_sleep(1)").execute(&mut **cx).await?;
            }
            if id.starts_with("short") && self.no_space.load(Ordering::SeqCst) {
                sqlx::query(NO_SPACE).execute(&mut **cx).await?;
            }
        }
        let new = if mode == Mode::Optimistic {
            batch.events.iter().collect()
        } else {
            self.unknown(cx, batch, mode).await?
        };
        let mut facts = CopyBuffer::new(4);
        let mut totals = BTreeMap::<String, i64>::new();
        for event in new {
            *totals.entry(put(&mut facts, event)).or_default() += 1;
        }
        copy_in(cx, COPY_FACTS, facts).await?;
        Ok(add_totals(cx, &self.counted(totals)).await?)
    }
}

impl Toy {
    fn counted(&self, mut totals: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        if let Some(events) = self.doubles.and_then(|who| totals.get_mut(&subject(who))) {
            *events *= 2;
        }
        totals
    }

    async fn break_down(&self, cx: &mut BatchTx<'_>) -> Result<(), sqlx::Error> {
        if self.is_broken {
            sqlx::query("SELECT FROM no_such_table").execute(&mut **cx).await?;
        }
        Ok(())
    }

    async fn unknown<'b>(
        &self,
        cx: &mut BatchTx<'_>,
        batch: &'b Batch,
        mode: Mode,
    ) -> Result<Vec<&'b Event>, ApplyError> {
        let ids: Vec<Uuid> = batch.events.iter().map(|e| e.interaction.event_id).collect();
        let known: Vec<(Uuid, i64, Vec<u8>)> =
            sqlx::query_as("SELECT event_id, received_at, hash FROM facts WHERE event_id = ANY($1)")
                .bind(&ids)
                .fetch_all(&mut **cx)
                .await?;
        let mut new = Vec::new();
        for event in &batch.events {
            let i = &event.interaction;
            let Some((_, received_at, hash)) = known.iter().find(|k| k.0 == i.event_id) else {
                new.push(event);
                continue;
            };
            if (*received_at, &hash[..]) <= (i.received_at, &i.hash[..]) || hash[..] == i.hash[..] {
                continue;
            }
            if mode != Mode::Exclusive {
                return Err(ApplyError::NeedsExclusive);
            }
            // The lesser copy counts: the other's share is taken back.
            let sql = "WITH old AS (DELETE FROM facts WHERE event_id = $1 RETURNING who)
                       UPDATE totals SET events = events - 1 WHERE who = (SELECT who FROM old)";
            sqlx::query(sql).bind(i.event_id).execute(&mut **cx).await?;
            sqlx::query("DELETE FROM totals WHERE events = 0").execute(&mut **cx).await?;
            new.push(event);
        }
        Ok(new)
    }
}

const COPY_FACTS: &str = "COPY facts (event_id, received_at, hash, who) FROM STDIN BINARY";
const NO_SPACE: &str = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'no space left'; END $$";

/// Puts an event's row; returns whom it names.
fn put(facts: &mut CopyBuffer, event: &Event) -> String {
    let i = &event.interaction;
    let who = i.wire.subject.clone().unwrap_or_default();
    facts.begin_row().put_uuid(i.event_id).put_i64(i.received_at).put_bytes(&i.hash).put_text(&who);
    who
}

async fn add_totals(cx: &mut BatchTx<'_>, totals: &BTreeMap<String, i64>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO totals (who, events) SELECT * FROM UNNEST($1::text[], $2::bigint[])
         ON CONFLICT (who) DO UPDATE SET events = totals.events + EXCLUDED.events",
    )
    .bind(totals.keys().cloned().collect::<Vec<_>>())
    .bind(totals.values().copied().collect::<Vec<_>>())
    .execute(&mut **cx)
    .await?;
    Ok(())
}

fn subject(who: usize) -> String {
    format!("email:who{who}@example.com")
}

/// A record's value: an event named `id` of somebody.
pub(crate) fn value(id: &str, who: usize, note: &str) -> (rapport_proto::v1::Interaction, Vec<u8>) {
    let json = test_kit::Event::new("com.example.noted", id).subject(&subject(who)).data("note", note).json();
    let wire: rapport_proto::v1::Interaction =
        rapport_proto::json::read(json.to_string().as_bytes()).expect("the test's events are valid");
    let value = prost::Message::encode_to_vec(&wire);
    (wire, value)
}

pub(crate) fn event(id: &str, who: usize, note: &str, received_at: i64, at: i64, namespace: &Namespace) -> Event {
    projection::direct::event(value(id, who, note).1, received_at, 0, at, namespace).expect("the test's events decode")
}
