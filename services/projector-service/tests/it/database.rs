//! The tables are a function of the set of events.

use std::collections::BTreeMap;

use projection::{Event, Mode, direct::Direct};
use projector_service::{Service, folds};
use proptest::{prelude::*, test_runner::TestRunner};
use sqlx::Row;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::history::{NAMESPACE, RECEIVED_AT, facts, history, record, surviving};

/// Random histories folded a test.
const HISTORIES: u32 = 60;

async fn open() -> Direct<Service> {
    Direct::open(&test_kit::postgres().await, Service, NAMESPACE).await.expect("a database of its own")
}

/// How a history arrives: in which order, some records twice, cut where, and in which mode each batch is tried first.
#[derive(Clone, Debug)]
struct Arrival(Vec<(Event, bool, bool, u8)>);

fn arrivals() -> impl Strategy<Value = (Vec<Event>, Arrival)> {
    history().prop_flat_map(|records| {
        let one = |record: Event| (Just(record), proptest::bool::weighted(0.2), proptest::bool::weighted(0.3), 0..8u8);
        let all: Vec<_> = records.iter().cloned().map(one).collect();
        (Just(records), all)
            .prop_flat_map(|(records, told)| (Just(records), Just(told).prop_shuffle()))
            .prop_map(|(records, told)| (records, Arrival(told)))
    })
}

async fn arrive(db: &mut Direct<Service>, arrival: Arrival) {
    let mut batch = Vec::new();
    let count = arrival.0.len();
    for (n, (record, twice, cut, mode)) in arrival.0.into_iter().enumerate() {
        batch.extend(std::iter::repeat_n(record, 1 + usize::from(twice)));
        if cut || n + 1 == count {
            let batch = std::mem::take(&mut batch);
            let tried = match mode {
                0 => db.apply(batch.clone(), Mode::Exclusive).await,
                1 => db.apply(batch.clone(), Mode::Careful).await,
                _ => Err(projection::ApplyError::NeedsCareful),
            };
            if tried.is_err() {
                assert_eq!(db.fold(batch).await.expect("the batch is folded"), 0, "nothing is set aside");
            }
        }
    }
}

/// The digest of the tables once a history has arrived in this way.
async fn digest(db: &mut Direct<Service>, arrival: Arrival) -> String {
    db.reset().await.expect("the tables are new");
    arrive(db, arrival).await;
    let digest = db.digest().await.expect("a digest");
    format!("{digest:?}")
}

#[test]
fn any_arrival_gives_the_same_tables() {
    let runtime = Runtime::new().expect("a runtime");
    let db = std::cell::RefCell::new(runtime.block_on(open()));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: HISTORIES, failure_persistence: None, ..ProptestConfig::default() });
    let result = runner.run(&arrivals(), |(records, arrival)| {
        let db = &mut *db.borrow_mut();
        runtime.block_on(async {
            let got = digest(db, arrival).await;
            let plain = Arrival(surviving(&records).into_iter().map(|e| (e, false, false, 9)).collect());
            let expected = digest(db, plain).await;
            prop_assert_eq!(&got, &expected, "{}", dump(db).await);
            prop_assert_eq!(stored(db).await, folded(&records));
            Ok(())
        })
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

async fn dump(db: &mut Direct<Service>) -> String {
    const SQL: &str =
        "SELECT to_json(o)::text FROM service.cases o UNION ALL SELECT to_json(o)::text FROM service.calls o";
    let rows: Vec<String> = sqlx::query_scalar(SQL).fetch_all(&mut db.connection).await.expect("rows");
    rows.join("\n")
}

/// What shows of a case or a call in this comparison: owner, two texts, two figures, two counts, the event that set it.
type Shown = (Option<Uuid>, Option<String>, Option<String>, Option<String>, i32, i64, Uuid);

async fn stored(db: &mut Direct<Service>) -> BTreeMap<String, Shown> {
    const SQL: &str = "SELECT 'case ' || case_id, subject_id, status, assignee, requester_wait_min::text, reopens,
            (SELECT count(*) FROM service.case_spans s WHERE s.case_id = c.case_id), set_by FROM service.cases c
        UNION ALL SELECT 'call ' || call_id, subject_id, disposition, queue, wait_s::text, leg_count,
            (SELECT count(*) FROM service.call_legs l WHERE l.call_id = c.call_id), set_by FROM service.calls c";
    let rows = sqlx::query(SQL).fetch_all(&mut db.connection).await.expect("the rows");
    let shown = |r: &sqlx::postgres::PgRow| (r.get(1), r.get(2), r.get(3), r.get(4), r.get(5), r.get(6), r.get(7));
    rows.iter().map(|r| (r.get(0), shown(r))).collect()
}

/// The same by folding what survives, one by one.
fn folded(records: &[Event]) -> BTreeMap<String, Shown> {
    let survivors = surviving(records);
    let mut all = BTreeMap::new();
    for id in ["k1", "k2"] {
        let named = |kind: &str| {
            facts(survivors.iter().filter(|e| e.interaction.entities.iter().any(|n| n.kind == kind && n.key == id)))
        };
        let owner = |kind: &str| named(kind).iter().find_map(|f| f.subject_id);
        let rows = folds::case(id, owner("case"), &named("case"), false);
        if let Some(c) = rows.case {
            let wait = format!("{:.3}", c.requester_wait_us as f64 / 60e6);
            all.insert(
                format!("case {id}"),
                (c.subject_id, c.status, c.assignee, Some(wait), c.reopens, rows.spans.len() as i64, c.set_by),
            );
        }
        let rows = folds::call(id, owner("call"), &named("call"), false);
        if let Some(c) = rows.call {
            let wait = c.wait_ms.map(|ms| format!("{}.{:03}", ms / 1000, ms % 1000));
            all.insert(
                format!("call {id}"),
                (c.subject_id, c.disposition, c.queue, wait, c.leg_count, rows.legs.len() as i64, c.set_by),
            );
        }
    }
    all
}

/// Two workers, each with half of the records of the same few cases, at the same time.
#[tokio::test]
async fn two_workers_at_once_give_the_same_tables() {
    let url = test_kit::postgres().await;
    let mut one = Direct::open(&url, Service, NAMESPACE).await.expect("a first worker");
    let mut two = Direct::open(&url, Service, NAMESPACE).await.expect("a second worker");
    let events: Vec<Event> = (0..600)
        .map(|n| {
            let told = test_kit::Event::case_changed(
                &format!("e{}", n % 400),
                &format!("c{}", n % 7),
                ["open", "solved"][n as usize % 2],
            )
            .at_s(n % 50);
            record(&told.json(), RECEIVED_AT + n % 3, n)
        })
        .collect();
    let (left, right): (Vec<_>, Vec<_>) = events.iter().cloned().enumerate().partition(|(n, _)| n % 2 == 0);
    let work = |mut db: Direct<Service>, events: Vec<(usize, Event)>| async move {
        for batch in events.chunks(10) {
            db.fold(batch.iter().map(|(_, e)| e.clone()).collect()).await.expect("a batch is folded");
        }
        db
    };
    let (left, right) = tokio::join!(work(one, left), work(two, right));
    (one, two) = (left, right);
    let together = one.digest().await.expect("a digest");
    two.reset().await.expect("new tables");
    two.fold(surviving(&events)).await.expect("one batch");
    assert_eq!(together, two.digest().await.expect("a digest"));
}

/// Views answer, and every column is explained.
#[tokio::test]
async fn views_are_explained() {
    let mut db = open().await;
    db.fold(vec![record(&test_kit::Event::case_opened("c").json(), RECEIVED_AT, 0)]).await.expect("folded");
    for view in ["cases", "case_spans"] {
        let count: i64 = sqlx::query_scalar(&format!("SELECT count(*) FROM service.{view}"))
            .fetch_one(&mut db.connection)
            .await
            .expect("it answers");
        assert_eq!(count, 1, "{view}");
    }
    let unexplained: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0
         WHERE c.relnamespace = 'service'::regnamespace AND c.relkind = 'v'
           AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)",
    )
    .fetch_all(&mut db.connection)
    .await
    .expect("the catalog");
    assert_eq!(unexplained, Vec::<String>::new());
}
