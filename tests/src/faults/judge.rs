//! The judge: reads the log by itself and holds against it what clients were told, what the tables say, what an independent
//! fold of the same log comes to, and what clean folds of it into empty databases come to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use collector::RejectedRecord;
use domain::{Interaction, Position, ids::event_id, position::Offsets};
use event_log::{Log, LogOptions, RangeReader, Record, Start, Topic};
use projection::{ReadModel, digest};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    recorder::{Book, Version},
    rival::{LOOK_PAUSE, MODELS, PATIENCE, Rival},
};
use crate::{
    compare::{Compared, compare},
    history::Recorded,
    load::caught_up,
    oracle::{self, Set},
    stack::Stack,
};

/// What a judge has found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Acknowledged events that do not stand in the log, with the contents that were sent, before the position that
    /// acknowledged them; rejected ones that are not kept as they were sent.
    pub(super) lost: u64,
    /// Rows beyond one an event, and beyond as many as the log accounts for.
    pub(super) double: u64,
    /// Distinct events in the log.
    pub(super) events: u64,
    /// Records of the log, copies among them.
    pub(super) records: u64,
    /// Everything that is not as it must be.
    pub(super) complaints: Vec<String>,
}

/// Partition and offset of a record.
pub(super) type Place = (i32, i64);

/// The log, read whole.
struct Read {
    /// Where each version of an event stands.
    versions: BTreeMap<Version, Vec<Place>>,
    /// How many events that are.
    events: usize,
    /// What no fold can take.
    poison: BTreeSet<Place>,
    set: Set,
    records: u64,
}

/// Judges a stack whose faults are over. `poison`: what was appended beside the collector; `databases`: names of further
/// databases on the stack's server into which the log has been folded in part.
pub(super) async fn judge(stack: &Stack, book: &Book, poison: &BTreeSet<Place>, databases: &[String]) -> Verdict {
    let log = Log::open(&LogOptions::new(stack.kafka())).await.expect("the log can be read");
    let ends = log.ends().await.expect("the log's ends");
    caught_up(stack, Position::new(log.log_id(), ends.clone())).await;
    let read = read(&log).await;
    let mut verdict = Verdict {
        events: read.events as u64,
        records: read.records,
        complaints: book.complaints.clone(),
        ..Verdict::default()
    };
    acknowledged(&mut verdict, book, &read, log.log_id());
    rejected(&mut verdict, book, &read, &kept(&log).await);
    if read.poison != *poison {
        verdict.complaints.push(format!("the log holds broken records at {:?}, not at {poison:?}", read.poison));
    }
    let mut connection = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    tables(&mut verdict, &mut connection, &read, &log).await;
    let folded = digests(&mut connection, &log).await;
    let clean = super::database(stack, "clean").await;
    for database in databases.iter().chain([&clean]) {
        verdict.complaints.extend(folded_alike(stack, &log, &ends, database, &folded).await);
    }
    verdict
}

async fn read(log: &Log) -> Read {
    let mut records: Vec<Record> = Vec::new();
    let mut reader = RangeReader::open(log, Topic::Log, Start::Beginning, false).await.expect("the log can be read");
    while let Some(some) = reader.next().await.expect("the log can be read") {
        records.extend(some.into_iter().filter(|record| !record.created));
    }
    let (mut versions, mut poison, mut recorded) =
        (BTreeMap::<Version, Vec<Place>>::new(), BTreeSet::new(), Vec::new());
    let count = records.len() as u64;
    for record in records {
        let place = (record.partition, record.offset);
        match Interaction::decode(&record.value, record.received_at, log.namespace()) {
            Ok(event) => {
                versions.entry((event.event_id, event.hash)).or_default().push(place);
                let (received_at, value) = (record.received_at, record.value.to_vec());
                recorded.push(Recorded { key: String::new(), received_at, value });
            }
            Err(_) => _ = poison.insert(place),
        }
    }
    let events = versions.keys().map(|(id, _)| id).collect::<BTreeSet<_>>().len();
    Read { versions, events, poison, set: Set::new(&recorded, log.namespace()), records: count }
}

/// What is kept of rejected events, by rejection id.
async fn kept(log: &Log) -> BTreeMap<String, Value> {
    let mut kept = BTreeMap::new();
    let mut reader = RangeReader::open(log, Topic::Rejected, Start::Beginning, false).await.expect("it can be read");
    while let Some(some) = reader.next().await.expect("what was rejected can be read") {
        for record in some {
            let read = RejectedRecord::parse(&record.value).expect("a record of a rejected event");
            let event = serde_json::from_str(&read.event).unwrap_or_default();
            kept.insert(format!("{}-{}", record.partition, record.offset), event);
        }
    }
    kept
}

/// What was acknowledged stands in the log, before the position that was answered.
fn acknowledged(verdict: &mut Verdict, book: &Book, read: &Read, log_id: Uuid) {
    for (version, position) in &book.acknowledged {
        let is_covered = |(partition, offset): &Place| position.next.get(partition).is_some_and(|next| offset < next);
        let places = read.versions.get(version).map(Vec::as_slice).unwrap_or_default();
        if position.log_id != log_id || !places.iter().any(is_covered) {
            verdict.lost += 1;
            let (id, next) = (version.0, &position.next);
            verdict.complaints.push(format!("{id} was acknowledged at {next:?} and stands as it was at {places:?}"));
        }
    }
}

/// What was rejected is kept as it was sent, and no model will ever see it.
fn rejected(verdict: &mut Verdict, book: &Book, read: &Read, kept: &BTreeMap<String, Value>) {
    let in_log: BTreeSet<&Uuid> = read.versions.keys().map(|(id, _)| id).collect();
    for (rejection_id, event) in &book.rejected {
        if kept.get(rejection_id) != Some(event) {
            verdict.lost += 1;
            let found = kept.get(rejection_id);
            verdict.complaints.push(format!("{event} was rejected as {rejection_id}, where there is {found:?}"));
        }
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        if in_log.contains(&event_id(text("source"), text("id"))) {
            verdict.complaints.push(format!("{event} was rejected, and stands in the log"));
        }
    }
}

/// Everything that the tables have to say of the log.
async fn tables(verdict: &mut Verdict, connection: &mut PgConnection, read: &Read, log: &Log) {
    dead_letters(verdict, connection, &read.poison).await;
    doubles(verdict, connection, read).await;
    by_the_oracle(verdict, connection, &read.set, log).await;
}

/// Tables that are wrong, and a word of what is to be said of it: a judge that does not see it is none. SQL with the schema of
/// each model's live tables.
const WRONG: [(&str, &str); 4] = [
    (
        "INSERT INTO {customer360}.timeline
         SELECT (jsonb_populate_record(t, jsonb_build_object('event_id', gen_random_uuid()))).*
         FROM {customer360}.timeline AS t LIMIT 1",
        "customer360.timeline\n  only in the table (1)",
    ),
    ("DELETE FROM {service}.facts WHERE event_id = (SELECT event_id FROM {service}.facts LIMIT 1)", "service has"),
    ("UPDATE {sales}.orders SET gross_minor = gross_minor * 2", "sales differs"),
    (
        "INSERT INTO backbone.dead_letters
             (model, generation, partition, log_offset, error, fold, key, value, received_at, headers)
         SELECT model, generation, 0, -1, 'none', 'none', '', '', now(), '{}' FROM backbone.generations
         WHERE model = 'sales' AND state = 'live'",
        "sales has set",
    ),
];

/// Makes right tables wrong, for good, and complains of whatever a judge would not complain of then.
pub(super) async fn would_be_seen(stack: &Stack) -> Vec<String> {
    let log = Log::open(&LogOptions::new(stack.kafka())).await.expect("the log can be read");
    let read = read(&log).await;
    let mut connection = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    let mut names = Vec::new();
    for model in MODELS {
        names.push((format!("{{{model}}}"), live_schema(&mut connection, model).await));
    }
    let mut unseen = Vec::new();
    for (wrong, _) in WRONG {
        let statement = names.iter().fold(wrong.to_owned(), |sql, (name, schema)| sql.replace(name, schema));
        let made = sqlx::query(&statement).execute(&mut connection).await.expect("the tables can be changed");
        assert!(made.rows_affected() > 0, "nothing is changed by {statement}");
    }
    let mut seen = Verdict::default();
    tables(&mut seen, &mut connection, &read, &log).await;
    for (wrong, told) in WRONG {
        if !seen.complaints.iter().any(|complaint| complaint.contains(told)) {
            unseen.push(format!("the judge does not see what this does: {wrong}: {seen:?}"));
        }
    }
    if seen.double == 0 {
        unseen.push(format!("the judge counts nothing as double: {seen:?}"));
    }
    unseen
}

/// Exactly what cannot be folded is set aside, in each model.
async fn dead_letters(verdict: &mut Verdict, connection: &mut PgConnection, poison: &BTreeSet<Place>) {
    for model in MODELS {
        let aside: Vec<Place> = sqlx::query_as(
            "SELECT partition, log_offset FROM backbone.dead_letters JOIN backbone.generations USING (model, generation)
             WHERE model = $1 AND state = 'live' ORDER BY partition, log_offset",
        )
        .bind(model)
        .fetch_all(&mut *connection)
        .await
        .expect("dead letters");
        if !aside.iter().eq(poison) {
            verdict.complaints.push(format!("{model} has set {aside:?} aside, not {poison:?}"));
        }
    }
}

/// Each event has one row on the timeline, but for those taken back, and one among the facts of sales and of service.
async fn doubles(verdict: &mut Verdict, connection: &mut PgConnection, read: &Read) {
    let all = read.events;
    let shown = read.set.facts().len();
    for (what, rows, expected) in [
        ("the timeline", "customer360.timeline".to_owned(), shown),
        ("sales", format!("{}.facts", live_schema(connection, "sales").await), all),
        ("service", format!("{}.facts", live_schema(connection, "service").await), all),
    ] {
        let count = format!("SELECT count(*), count(DISTINCT event_id) FROM {rows}");
        let (count, distinct): (i64, i64) =
            sqlx::query_as(&count).fetch_one(&mut *connection).await.expect("rows are counted");
        let double = count - distinct;
        verdict.double += double.unsigned_abs();
        if double != 0 || usize::try_from(distinct).ok() != Some(expected) {
            let told = format!("{what} has {count} rows of {distinct} events; the log has {expected}");
            verdict.complaints.push(told);
        }
    }
}

/// The schema of a live generation's tables.
async fn live_schema(connection: &mut PgConnection, model: &str) -> String {
    sqlx::query_scalar("SELECT schema_name FROM backbone.generations WHERE model = $1 AND state = 'live'")
        .bind(model)
        .fetch_one(connection)
        .await
        .expect("a live generation")
}

async fn by_the_oracle(verdict: &mut Verdict, connection: &mut PgConnection, set: &Set, log: &Log) {
    let customer360 = Customer360::new(*log.namespace());
    let told = oracle::customer360::rows(set, log.namespace());
    let differences = [
        ("sales", compare(connection, &Sales, &oracle::sales::rows(set)).await),
        ("service", compare(connection, &Service, &oracle::service::rows(set)).await),
        ("customer360", compare(connection, &customer360, &told).await),
    ];
    for (model, Compared { differences, surplus, .. }) in differences {
        verdict.double += surplus as u64;
        if !differences.is_empty() {
            verdict.complaints.push(format!("{model} differs from what the log says:\n{differences}"));
        }
    }
}

pub(super) async fn digests(connection: &mut PgConnection, log: &Log) -> [String; 3] {
    async fn of<M: ReadModel>(connection: &mut PgConnection, model: M) -> String {
        digest::model(connection, &model).await.expect("a digest").digest
    }
    [
        of(connection, Sales).await,
        of(connection, Service).await,
        of(connection, Customer360::new(*log.namespace())).await,
    ]
}

/// Has three projectors fold the log to its end in another database, and compares digests.
async fn folded_alike(
    stack: &Stack,
    log: &Log,
    ends: &Offsets,
    database_url: &str,
    folded: &[String; 3],
) -> Vec<String> {
    let settings = [("RAPPORT_DATABASE_URL", database_url)];
    let projectors = MODELS.map(|model| Rival::projector(stack, model, &settings));
    reached(database_url, ends).await;
    drop(projectors);
    let mut connection = PgConnection::connect(database_url).await.expect("PostgreSQL answers");
    let (clean, name) = (digests(&mut connection, log).await, database_url.rsplit('/').next().unwrap_or_default());
    let pairs = MODELS.iter().zip(folded.iter().zip(&clean));
    pairs
        .filter(|(_, (folded, clean))| folded != clean)
        .map(|(model, (folded, clean))| format!("{model} has digest {folded}; a fold into database {name} has {clean}"))
        .collect()
}

/// Waits until all models in a database have come as far as this.
pub(super) async fn reached(database_url: &str, ends: &Offsets) {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut connection = PgConnection::connect(database_url).await.expect("PostgreSQL answers");
        // Before the first projector has set things up there is nothing to be read.
        let at = projection::positions::read(&mut connection).await.unwrap_or_default();
        let has_reached = |model: &Offsets| ends.iter().all(|(p, end)| model.get(p).is_some_and(|next| next >= end));
        if at.len() == MODELS.len() && at.values().all(has_reached) {
            return;
        }
        assert!(Instant::now() < end, "the models have not reached {ends:?} after {PATIENCE:?}: {at:?}");
        tokio::time::sleep(LOOK_PAUSE * 10).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::Namespace;
    use serde_json::json;

    use super::*;

    /// A log in which event 7 stands at offset 4 of partition 1, and nothing else.
    fn log_of_one() -> Read {
        let set = Set::new(&[], &Namespace::new(Uuid::from_u128(1)));
        let versions = BTreeMap::from([((Uuid::from_u128(7), [1; 32]), vec![(1, 4)])]);
        Read { versions, events: 1, poison: BTreeSet::new(), set, records: 1 }
    }

    fn lost((event, contents): (u128, u8), log_id: u128, next: i64) -> u64 {
        let mut book = Book::default();
        let position = Position::new(Uuid::from_u128(log_id), Offsets::from([(1, next)]));
        book.acknowledged.insert((Uuid::from_u128(event), [contents; 32]), Arc::new(position));
        let mut verdict = Verdict::default();
        acknowledged(&mut verdict, &book, &log_of_one(), Uuid::from_u128(1));
        assert_eq!(verdict.lost, verdict.complaints.len() as u64);
        verdict.lost
    }

    #[test]
    fn lost_is_what_is_not_before_its_position() {
        assert_eq!(lost((7, 1), 1, 5), 0);
        assert_eq!(lost((8, 1), 1, 5), 1, "it is not in the log");
        assert_eq!(lost((7, 2), 1, 5), 1, "it is in the log with other contents");
        assert_eq!(lost((7, 1), 1, 4), 1, "it stands behind the position that acknowledged it");
        assert_eq!(lost((7, 1), 2, 5), 1, "the position is of another log");
    }

    #[test]
    fn what_was_rejected_is_kept() {
        let event = |id: &str| json!({"source": "s", "id": id});
        let told = |kept: &BTreeMap<String, Value>, read: &Read| {
            let book = Book { rejected: BTreeMap::from([("0-3".into(), event("a"))]), ..Book::default() };
            let mut verdict = Verdict::default();
            rejected(&mut verdict, &book, read, kept);
            (verdict.lost, verdict.complaints.len())
        };
        let read = log_of_one();
        assert_eq!(told(&BTreeMap::from([("0-3".into(), event("a"))]), &read), (0, 0));
        assert_eq!(told(&BTreeMap::from([("0-3".into(), event("b"))]), &read), (1, 1), "another one's");
        assert_eq!(told(&BTreeMap::new(), &read), (1, 1), "it is not there");
        let mut accepted = log_of_one();
        accepted.versions.insert((event_id("s", "a"), [1; 32]), vec![(0, 9)]);
        assert_eq!(told(&BTreeMap::from([("0-3".into(), event("a"))]), &accepted), (0, 1), "it is in the log as well");
    }
}
