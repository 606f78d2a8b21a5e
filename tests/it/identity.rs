//! Who is whom, in every order of arrival; and that a merge touches no fact of sales or service.

use std::collections::BTreeMap;

use domain::Namespace;
use projection::{ReadModel, direct, direct::Direct};
use projector_customer360::Customer360;
use projector_sales::Sales;
use projector_service::Service;
use serde_json::{Value, json};
use system_tests::history::{Recorded, START, recorded};
use uuid::Uuid;

const NAMESPACE: Namespace = Namespace::new(Uuid::from_u128(0x1de));

/// An event at a minute of the story, received a second later.
fn at(minute: i64, id: &str, kind: &str, subject: Option<&str>, identifiers: Option<&str>, data: Value) -> Recorded {
    let time = START + minute * 60_000_000;
    let mut event = json!({"specversion": "1.0", "id": id, "source": "story", "type": kind, "data": data,
                           "time": domain::time::format(time)});
    for (name, value) in [("subject", subject), ("identifiers", identifiers)] {
        if let Some(value) = value {
            event[name] = value.into();
        }
    }
    recorded(&event, time + 1_000_000)
}

fn viewed(minute: i64, id: &str, subject: &str, identifiers: Option<&str>) -> Recorded {
    at(minute, id, "web.page.viewed", Some(subject), identifiers, json!({"url": "https://shop.example/"}))
}

fn link(minute: i64, id: &str, kind: &str, left: &str, right: &str) -> Recorded {
    at(minute, id, kind, None, None, json!({"left": left, "right": right}))
}

async fn fold<M: ReadModel>(direct: &mut Direct<M>, records: &[&Recorded]) {
    for (n, record) in records.iter().enumerate() {
        let event =
            direct::event(record.value.clone(), record.received_at, 0, n as i64, &NAMESPACE).expect("a record of ours");
        assert_eq!(direct.fold(vec![event]).await.expect("it is folded"), 0, "nothing is set aside");
    }
}

/// identifier -> the identifiers of its customer.
async fn people(direct: &mut Direct<Customer360>) -> BTreeMap<String, Vec<String>> {
    let rows: Vec<(String, Vec<String>)> = sqlx::query_as(
        "SELECT i.identifier, c.identifiers FROM customer360.identifiers i JOIN customer360.customers c USING (customer_id)",
    )
    .fetch_all(&mut direct.connection)
    .await
    .expect("the views can be read");
    rows.into_iter().collect()
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    permutations(n - 1)
        .into_iter()
        .flat_map(|shorter| {
            (0..n).map(move |place| {
                let mut longer = shorter.clone();
                longer.insert(place, n - 1);
                longer
            })
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_conflict_and_revocation_in_every_order() {
    let (mail, phone, other) = ("email:ann@example.com", "phone:+4930123456", "email:bea@example.com");
    let story = [
        viewed(1, "v1", mail, Some("customer_no:1")),
        viewed(2, "v2", phone, None),
        link(3, "l1", "identity.link.asserted", mail, phone),
        // A third with another customer number: the phone cannot be of both.
        at(4, "v3", "web.page.viewed", Some(other), Some("customer_no:2"), json!({"url": "https://shop.example/"})),
        link(5, "l2", "identity.link.asserted", phone, other),
    ];
    let revoked = link(6, "l3", "identity.link.revoked", mail, phone);
    let url = test_kit::postgres().await;
    let mut direct = Direct::open(&url, Customer360::new(NAMESPACE), NAMESPACE).await.expect("a fresh database");
    let (mut conflicted, mut apart) = (None, None);
    for order in permutations(story.len()) {
        direct.reset().await.expect("fresh tables");
        let arrivals: Vec<&Recorded> = order.iter().map(|n| &story[*n]).collect();
        fold(&mut direct, &arrivals).await;
        let people = people(&mut direct).await;
        assert_eq!(people[mail], ["customer_no:1", mail, phone], "order {order:?}");
        assert_eq!(people[other], ["customer_no:2", other], "order {order:?}");
        let conflicts: Vec<(String, String, String)> =
            sqlx::query_as("SELECT left_value, right_value, kind FROM customer360.conflicts")
                .fetch_all(&mut direct.connection)
                .await
                .expect("conflicts");
        let expected = ("2".to_owned(), "1".to_owned(), "customer_no".to_owned());
        assert_eq!(conflicts, [expected], "order {order:?}");
        let digest = direct.digest().await.expect("a digest").digest;
        assert_eq!(conflicted.get_or_insert_with(|| digest.clone()), &digest, "order {order:?}");
    }
    // The revocation takes the phone away from the first, and so it is the other's: wherever it comes in.
    for place in 0..=story.len() {
        direct.reset().await.expect("fresh tables");
        let mut arrivals: Vec<&Recorded> = story.iter().collect();
        arrivals.insert(place, &revoked);
        fold(&mut direct, &arrivals).await;
        let people = people(&mut direct).await;
        assert_eq!(people[mail], ["customer_no:1", mail], "revoked at {place}");
        assert_eq!(people[other], ["customer_no:2", other, phone], "revoked at {place}");
        let digest = direct.digest().await.expect("a digest").digest;
        assert_eq!(apart.get_or_insert_with(|| digest.clone()), &digest, "revoked at {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_colleagues_of_one_account_stay_three_people() {
    let url = test_kit::postgres().await;
    let mut direct = Direct::open(&url, Customer360::new(NAMESPACE), NAMESPACE).await.expect("a fresh database");
    let story: Vec<Recorded> = (1..=3)
        .map(|n| viewed(n, &format!("v{n}"), &format!("email:p{n}@acme.example"), Some("account:acme,household:h1")))
        .collect();
    fold(&mut direct, &story.iter().collect::<Vec<_>>()).await;
    let customers: i64 = sqlx::query_scalar("SELECT count(*) FROM customer360.customers")
        .fetch_one(&mut direct.connection)
        .await
        .expect("a count");
    let colleagues: i64 =
        sqlx::query_scalar("SELECT people_count FROM customer360.accounts WHERE group_identifier = 'account:acme'")
            .fetch_one(&mut direct.connection)
            .await
            .expect("the account");
    assert_eq!((customers, colleagues), (3, 3));
}

/// Which transaction last wrote each row of a table.
async fn writers<M: ReadModel>(direct: &mut Direct<M>, tables: &[&str]) -> Vec<Vec<(String, String)>> {
    let schema = direct.generation().schema.clone();
    let mut all = Vec::new();
    for table in tables {
        // Of other events a model keeps which copy counts, and nothing else: those rows come with the links, and are no
        // facts of an entity.
        let only = if *table == "facts" { "WHERE value IS NOT NULL" } else { "" };
        let sql = format!("SELECT xmin::text, to_jsonb(t)::text FROM {schema}.{table} t {only} ORDER BY 2");
        all.push(sqlx::query_as(&sql).fetch_all(&mut direct.connection).await.expect("the rows"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_and_an_unmerge_touch_no_fact() {
    let url = test_kit::postgres().await;
    let mut graph = Direct::open(&url, Customer360::new(NAMESPACE), NAMESPACE).await.expect("a fresh database");
    let mut sales = Direct::open(&url, Sales, NAMESPACE).await.expect("the same database");
    let mut service = Direct::open(&url, Service, NAMESPACE).await.expect("the same database");
    let (mail, phone) = ("email:ann@example.com", "phone:+4930123456");
    let line = json!({"sku": "A", "quantity": 1, "total": {"amount_minor": 100, "currency": "EUR"}});
    let order = at(1, "o1", "order.placed", Some(mail), None, json!({"order_id": "1", "lines": [line]}));
    let case =
        at(2, "c1", "case.opened", Some(phone), None, json!({"case_id": "1", "title": "Late", "priority": "low"}));
    let merge = link(3, "l1", "identity.link.asserted", mail, phone);
    let unmerge = link(4, "l2", "identity.link.revoked", mail, phone);
    fold(&mut graph, &[&order, &case]).await;
    fold(&mut sales, &[&order, &case]).await;
    fold(&mut service, &[&order, &case]).await;
    let tables =
        |of: &str| if of == "sales" { ["facts", "orders", "order_lines"] } else { ["facts", "cases", "case_spans"] };
    let before = (writers(&mut sales, &tables("sales")).await, writers(&mut service, &tables("service")).await);
    assert!(before.0.iter().chain(&before.1).all(|rows| rows.len() == 1), "{before:?}");
    for (step, together) in [(&merge, true), (&unmerge, false)] {
        fold(&mut graph, &[step]).await;
        fold(&mut sales, &[step]).await;
        fold(&mut service, &[step]).await;
        assert_eq!(people(&mut graph).await[mail].contains(&phone.to_owned()), together);
        let after = (writers(&mut sales, &tables("sales")).await, writers(&mut service, &tables("service")).await);
        assert_eq!(before, after, "a row of sales or service was written");
    }
}
