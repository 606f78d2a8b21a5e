//! An order with more facts than count belongs to the first customer who is known, whichever facts count.

use domain::{Brief, Entity};
use projection::{
    ApplyError, Batch, BatchTx, Event, Mode, ReadModel,
    bounded::{self, Bounded, Change, Fact, Facts, Kind},
    direct::Direct,
};
use projector_sales::{Sales, folds::Rows};
use serde_json::Value;
use sqlx::{PgConnection, Row};
use test_kit::Event as Told;
use uuid::Uuid;

use crate::history::{NAMESPACE, RECEIVED_AT, record};

/// Sales, but of an order only this many facts count.
const FACTS_MAX: usize = 3;

struct Few;

impl ReadModel for Few {
    type Load = Facts<Self>;

    fn name(&self) -> &'static str {
        Sales.name()
    }

    fn schema_sql(&self) -> &'static str {
        Sales.schema_sql()
    }

    fn row_indexes_sql(&self) -> &'static str {
        Sales.row_indexes_sql()
    }

    fn indexes_sql(&self) -> &'static str {
        Sales.indexes_sql()
    }

    fn load(&self) -> Option<Self::Load> {
        Some(Facts::default())
    }

    async fn finish_load(&self, cx: &mut BatchTx<'_>, _: Self::Load) -> Result<(), sqlx::Error> {
        bounded::finish_load(self, cx).await
    }

    fn views(&self) -> &'static str {
        Sales.views()
    }

    fn digested(&self) -> &'static [(&'static str, &'static [&'static str])] {
        Sales.digested()
    }

    fn row_key(&self, view: &str) -> &'static [&'static str] {
        Sales.row_key(view)
    }

    fn fold_version(&self) -> u32 {
        Sales.fold_version()
    }

    fn settings(&self) -> String {
        format!("facts_max={FACTS_MAX}")
    }

    fn needs(&self, brief: &Brief<'_>) -> bool {
        Sales.needs(brief)
    }

    async fn apply(&self, cx: &mut BatchTx<'_>, batch: &Batch, mode: Mode) -> Result<(), ApplyError> {
        bounded::apply(self, cx, batch, mode).await
    }
}

impl Bounded for Few {
    const KINDS: &'static [Kind] = Sales::KINDS;

    type Rows = Rows;

    fn derive(&self, entity: &Entity, owner: Option<Uuid>, facts: &[Fact<'_>], capped: bool) -> Rows {
        Sales.derive(entity, owner, facts, capped)
    }

    async fn write(&self, connection: &mut PgConnection, changes: &[Change<Rows>]) -> Result<(), sqlx::Error> {
        Sales.write(connection, changes).await
    }

    fn facts_max(&self) -> usize {
        FACTS_MAX
    }
}

/// Ten facts of order `o`, of which the seventh, a mail that mentions it, and the ninth name somebody.
fn facts() -> Vec<Event> {
    let told = |n: i64| {
        let told = match n {
            6 => Told::email_received("e6").attribute("correlationid", "order:o").subject("email:a@example.com"),
            8 => Told::payment_recorded("e8", "o").subject("email:b@example.com"),
            _ => Told::payment_recorded(&format!("e{n}"), "o").attribute("subject", Value::Null),
        };
        record(&told.at_s(n).json(), RECEIVED_AT, n)
    };
    (0..10).map(told).collect()
}

fn void(id: &str, target: &str, offset: i64) -> Event {
    let told = Told::new("interaction.voided", id).data("voided_source", "test").data("voided_id", target);
    record(&told.json(), RECEIVED_AT, offset)
}

/// Owner, captured amount and flags of the order.
async fn order(db: &mut Direct<Few>) -> (Option<Uuid>, i64, Vec<String>) {
    let row = sqlx::query("SELECT subject_id, captured_minor, flags FROM sales.orders")
        .fetch_one(&mut db.connection)
        .await
        .expect("one order");
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn the_owner_is_looked_for_beyond_the_cap() {
    let mut db = Direct::open(&test_kit::postgres().await, Few, NAMESPACE).await.expect("a database of its own");
    let facts = facts();
    let subject = |n: usize| facts[n].interaction.subject.as_ref().map(|s| s.id);
    assert!(subject(6).is_some() && subject(8).is_some() && subject(6) != subject(8) && subject(0).is_none());
    let flags = vec!["facts_capped".to_owned(), "unplaced".to_owned()];
    // In and against their order and across it, one by one and in batches.
    for (step, shift, batch) in
        [(1, 0, 1), (9, 9, 1), (1, 0, 4), (9, 9, 4), (3, 6, 1), (7, 8, 2), (3, 2, 5), (1, 0, 10)]
    {
        db.reset().await.expect("new tables");
        let arrivals: Vec<Event> = (0..10).map(|n| facts[(n * step + shift) % 10].clone()).collect();
        for some in arrivals.chunks(batch) {
            assert_eq!(db.fold(some.to_vec()).await.expect("folded"), 0);
        }
        let what = format!("every {step}th from {shift}, {batch} at a time");
        check(&mut db, &what, [subject(6), subject(8)], &flags).await;
        let pieces = arrivals.chunks(batch).map(<[Event]>::to_vec).collect();
        assert_eq!(db.load(pieces).await.expect("loaded"), 0);
        check(&mut db, &format!("{what}, loaded"), [subject(6), subject(8)], &flags).await;
    }
}

/// The order belongs to the first who is known, then to the second, then to nobody.
async fn check(db: &mut Direct<Few>, what: &str, [first, second]: [Option<Uuid>; 2], flags: &[String]) {
    assert_eq!(order(db).await, (first, 30_000, flags.to_vec()), "{what}");
    for (target, owner) in [("e6", second), ("e8", None)] {
        db.fold(vec![void(&format!("void {target}"), target, 20)]).await.expect("folded");
        assert_eq!(order(db).await, (owner, 30_000, flags.to_vec()), "{what}, without {target}");
    }
}
