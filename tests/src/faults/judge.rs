//! The judge: reads the log by itself and holds against it what clients were told, what the tables say, what an independent
//! fold of the same log comes to, and what clean folds of it into empty databases come to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use domain::{Interaction, Position, position::Offsets};
use event_log::{Log, LogOptions, RangeReader, Record, Start, Topic};
use projection::{ReadModel, digest};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{
    recorder::Book,
    rival::{LOOK_PAUSE, MODELS, PATIENCE, Rival},
};
use crate::{
    compare::compare,
    history::Recorded,
    load::caught_up,
    oracle::{self, Set},
    stack::Stack,
};

/// What a judge has found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Acknowledged events that do not stand in the log before the position that acknowledged them.
    pub(super) lost: u64,
    /// Rows beyond one an event.
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
    /// Where each event stands.
    events: BTreeMap<Uuid, Vec<Place>>,
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
        events: read.events.len() as u64,
        records: read.records,
        complaints: book.complaints.clone(),
        ..Verdict::default()
    };
    acknowledged(&mut verdict, book, &read, log.log_id());
    if read.poison != *poison {
        verdict.complaints.push(format!("the log holds broken records at {:?}, not at {poison:?}", read.poison));
    }
    let mut connection = PgConnection::connect(&stack.database_url()).await.expect("PostgreSQL answers");
    dead_letters(&mut verdict, &mut connection, poison).await;
    doubles(&mut verdict, &mut connection, &read).await;
    by_the_oracle(&mut verdict, &mut connection, &read.set, &log).await;
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
    let (mut events, mut poison, mut recorded) = (BTreeMap::<Uuid, Vec<Place>>::new(), BTreeSet::new(), Vec::new());
    let count = records.len() as u64;
    for record in records {
        let place = (record.partition, record.offset);
        match Interaction::decode(&record.value, record.received_at, log.namespace()) {
            Ok(event) => {
                events.entry(event.event_id).or_default().push(place);
                let (received_at, value) = (record.received_at, record.value.to_vec());
                recorded.push(Recorded { key: String::new(), received_at, value });
            }
            Err(_) => _ = poison.insert(place),
        }
    }
    Read { events, poison, set: Set::new(&recorded, log.namespace()), records: count }
}

/// What was acknowledged stands in the log, before the position that was answered.
fn acknowledged(verdict: &mut Verdict, book: &Book, read: &Read, log_id: Uuid) {
    for (id, position) in &book.acknowledged {
        let is_covered = |(partition, offset): &Place| position.next.get(partition).is_some_and(|next| offset < next);
        let places = read.events.get(id).map(Vec::as_slice).unwrap_or_default();
        if position.log_id != log_id || !places.iter().any(is_covered) {
            verdict.lost += 1;
            verdict.complaints.push(format!("{id} was acknowledged at {:?} and stands at {places:?}", position.next));
        }
    }
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
    let all = read.events.len();
    let shown = read.set.facts().len();
    for (what, rows, expected) in [
        ("the timeline", "customer360.timeline".to_owned(), shown),
        ("sales", facts_of(connection, "sales").await, all),
        ("service", facts_of(connection, "service").await, all),
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

/// The table of a live generation's facts.
async fn facts_of(connection: &mut PgConnection, model: &str) -> String {
    let schema: String =
        sqlx::query_scalar("SELECT schema_name FROM backbone.generations WHERE model = $1 AND state = 'live'")
            .bind(model)
            .fetch_one(connection)
            .await
            .expect("a live generation");
    format!("{schema}.facts")
}

async fn by_the_oracle(verdict: &mut Verdict, connection: &mut PgConnection, set: &Set, log: &Log) {
    let customer360 = Customer360::new(*log.namespace());
    let told = oracle::customer360::rows(set, log.namespace());
    let differences = [
        ("sales", compare(connection, &Sales, &oracle::sales::rows(set)).await.1),
        ("service", compare(connection, &Service, &oracle::service::rows(set)).await.1),
        ("customer360", compare(connection, &customer360, &told).await.1),
    ];
    for (model, differing) in differences.into_iter().filter(|(_, differing)| !differing.is_empty()) {
        verdict.complaints.push(format!("{model} differs from what the log says:\n{differing}"));
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

    use super::*;

    /// A log in which event 7 stands at offset 4 of partition 1, and nothing else.
    fn log_of_one() -> Read {
        let set = Set::new(&[], &Namespace::new(Uuid::from_u128(1)));
        Read { events: BTreeMap::from([(Uuid::from_u128(7), vec![(1, 4)])]), poison: BTreeSet::new(), set, records: 1 }
    }

    fn lost(event: u128, log_id: u128, next: i64) -> u64 {
        let mut book = Book::default();
        let position = Position::new(Uuid::from_u128(log_id), Offsets::from([(1, next)]));
        book.acknowledged.insert(Uuid::from_u128(event), Arc::new(position));
        let mut verdict = Verdict::default();
        acknowledged(&mut verdict, &book, &log_of_one(), Uuid::from_u128(1));
        assert_eq!(verdict.lost, verdict.complaints.len() as u64);
        verdict.lost
    }

    #[test]
    fn lost_is_what_is_not_before_its_position() {
        assert_eq!(lost(7, 1, 5), 0);
        assert_eq!(lost(8, 1, 5), 1, "it is not in the log");
        assert_eq!(lost(7, 1, 4), 1, "it stands behind the position that acknowledged it");
        assert_eq!(lost(7, 2, 5), 1, "the position is of another log");
    }
}
