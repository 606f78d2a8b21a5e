//! A generation in a database of its own, and ways to look at it.

use std::collections::BTreeSet;

use domain::Namespace;
use projection::{Direct, Event, direct};
use projector_customer360::{Customer360, HubLimits};
use prost::Message;
use rapport_proto::{json, v1};
use serde_json::Value;
use uuid::Uuid;

/// The secret of the tests' logs.
pub(crate) fn namespace() -> Namespace {
    Namespace::new(Uuid::from_u128(42))
}

/// Limits small enough to be met by chance.
pub(crate) fn small_limits() -> HubLimits {
    HubLimits::new([
        ("email", "user_id", 1),
        ("email", "customer_no", 1),
        ("email", "phone", 1),
        ("phone", "user_id", 1),
        ("phone", "email", 2),
        ("device_id", "*", 1),
        ("anonymous_id", "*", 2),
    ])
}

/// A CloudEvent as a record of the log.
pub(crate) fn record(event: &Value, received_at: i64, offset: i64) -> Event {
    let text = event.to_string();
    let wire: v1::Interaction = json::read(text.as_bytes()).unwrap_or_else(|faults| panic!("{faults:?} in {text}"));
    direct::event(wire.encode_to_vec(), received_at, (offset % 3) as i32, offset, &namespace()).expect("an interaction")
}

/// The model with its tables.
pub(crate) struct World(pub(crate) Direct<Customer360>);

impl World {
    pub(crate) async fn open(model: Customer360) -> Self {
        Self::at(&test_kit::postgres().await, model).await
    }

    /// In a database that others use too.
    pub(crate) async fn at(url: &str, model: Customer360) -> Self {
        Self(Direct::open(url, model, namespace()).await.expect("the tables are created"))
    }

    /// With the tests' limits.
    pub(crate) async fn small() -> Self {
        Self::open(Customer360::new(namespace()).with_limits(small_limits())).await
    }

    /// Empties every table.
    pub(crate) async fn clear(&mut self) {
        let schema = self.0.generation().schema.clone();
        let tables = [
            "timeline",
            "appearances",
            "voids",
            "copies",
            "entities",
            "profile_fields",
            "touches",
            "affiliations",
            "subjects",
            "naming",
            "identifiers",
            "neighbours",
            "link_events",
            "components",
            "conflicts",
        ];
        let statements: String = tables.iter().map(|t| format!("DELETE FROM {schema}.{t};")).collect();
        sqlx::raw_sql(&statements).execute(&mut self.0.connection).await.expect("tables are emptied");
    }

    /// Folds batches one after another; nothing may be set aside.
    pub(crate) async fn fold(&mut self, batches: Vec<Vec<Event>>) {
        for batch in batches {
            let aside = self.0.fold(batch).await.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(aside, 0, "an event was set aside");
        }
    }

    /// One digest a view.
    pub(crate) async fn digest(&mut self) -> Vec<String> {
        let digest = self.0.digest().await.expect("a digest");
        digest.views.iter().map(|v| format!("{} {} {:032x}", v.view, v.count, v.sum)).collect()
    }

    /// The rows of a query, each as text.
    pub(crate) async fn rows(&mut self, sql: &str) -> BTreeSet<String> {
        let rows: Vec<String> = sqlx::query_scalar(sql)
            .fetch_all(&mut self.0.connection)
            .await
            .unwrap_or_else(|error| panic!("{error} in {sql}"));
        let count = rows.len();
        let set: BTreeSet<String> = rows.into_iter().collect();
        assert_eq!(set.len(), count, "a row stands twice in {sql}");
        set
    }

    /// Each customer as the sorted list of its identifiers.
    pub(crate) async fn people(&mut self) -> BTreeSet<String> {
        self.rows("SELECT array_to_string(identifiers, ' ') FROM customer360.customers").await
    }
}
