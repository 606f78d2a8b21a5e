//! Direct folding, digests, the backbone.

use domain::Namespace;
use projection::{Direct, Mode, backbone, digest};
use uuid::Uuid;

use crate::toy::{self, Toy};

const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(7));

#[tokio::test]
async fn any_batches_in_any_order_give_one_digest() {
    let url = test_kit::postgres().await;
    let mut direct = Direct::open(&url, Toy::default(), NAMESPACE).await.expect("the model is created");
    let mut events = Vec::new();
    for n in 0..60usize {
        for (note, received_at) in [("a", 5), ("b", 3), ("a", 9), ("c", 4)].into_iter().take(1 + n % 4) {
            events.push(toy::event(&format!("e{n}"), n % 7, note, received_at, events.len() as i64, &NAMESPACE));
        }
    }
    let mut digests = std::collections::BTreeSet::new();
    for round in 1..6usize {
        direct.reset().await.expect("the tables are created anew");
        let mut shuffled = events.clone();
        shuffled.sort_by_key(|e| (e.offset as usize * 7919 * round) % 1009);
        for batch in shuffled.chunks(round * 5) {
            assert_eq!(direct.fold(batch.to_vec()).await.expect("the batch is folded"), 0);
        }
        digests.insert(direct.digest().await.expect("the views are digested").digest);
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[tokio::test]
async fn rows_from_elsewhere_have_the_digest_of_equal_rows() {
    let url = test_kit::postgres().await;
    let mut direct = Direct::open(&url, Toy::default(), NAMESPACE).await.expect("the model is created");
    direct
        .fold((0..3).map(|n| toy::event(&format!("e{n}"), n, "a", 1, 0, &NAMESPACE)).collect())
        .await
        .expect("folded");
    let (facts, totals): (String, String) = sqlx::query_as(
        "SELECT (SELECT json_agg(f)::text FROM toy.facts f), (SELECT json_agg(t ORDER BY who DESC)::text FROM toy.totals t)",
    )
    .fetch_one(&mut direct.connection)
    .await
    .expect("rows are read");
    let folded = direct.digest().await.expect("the views are digested");
    let rows = std::collections::BTreeMap::from([("facts", facts), ("totals", totals)]);
    let given = digest::of_rows(&mut direct.connection, &Toy::default(), &rows).await.expect("the rows are digested");
    assert_eq!(folded, given);
    let rows = std::collections::BTreeMap::from([("totals", r#"[{"who": "x", "events": 1}]"#.to_owned())]);
    let other = digest::of_rows(&mut direct.connection, &Toy::default(), &rows).await.expect("the rows are digested");
    assert_eq!((other.views[0].count, other.views[1].count), (0, 1));
    assert_ne!(other.digest, folded.digest);
}

#[tokio::test]
async fn modes_refuse_what_is_not_theirs() {
    let url = test_kit::postgres().await;
    let mut direct = Direct::open(&url, Toy::default(), NAMESPACE).await.expect("the model is created");
    let event = |note, received_at| vec![toy::event("e", 1, note, received_at, 0, &NAMESPACE)];
    direct.apply(event("a", 5), Mode::Optimistic).await.expect("a new event");
    assert!(direct.apply(event("a", 5), Mode::Optimistic).await.is_err(), "a unique violation");
    direct.apply(event("a", 9), Mode::Careful).await.expect("an equal copy changes nothing");
    assert!(direct.apply(event("b", 3), Mode::Careful).await.is_err(), "a lesser copy needs the lock");
    direct.apply(event("b", 3), Mode::Exclusive).await.expect("a lesser copy counts");
}

#[tokio::test]
async fn the_backbone_can_be_migrated_again_and_its_zone_set() {
    let url = test_kit::postgres().await;
    let mut connection = projection::database::connect(&url, "test").await.expect("the database answers");
    for _ in 0..2 {
        backbone::migrate(&mut connection).await.expect("it is brought up to date");
        backbone::set_reporting_timezone(&mut connection, "Europe/Berlin").await.expect("the zone is known");
    }
    assert!(backbone::set_reporting_timezone(&mut connection, "Mars/Olympus'; --").await.is_err());
    let (zone, euro, yen, dinar): (String, String, String, String) = sqlx::query_as(
        "SELECT backbone.reporting_timezone(), backbone.decimal(-1234, 'EUR')::text, backbone.decimal(1234, 'JPY')::text,
                backbone.decimal(1234, 'KWD')::text",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the functions are there");
    assert_eq!([zone, euro, yen, dinar].each_ref().map(String::as_str), ["Europe/Berlin", "-12.34", "1234", "1.234"]);
}
