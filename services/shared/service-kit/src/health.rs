use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::Metric;

/// Whether a condition of readiness holds.
pub const CONDITION_HOLDS: &str = "rapport_condition_holds";

/// What is measured of readiness.
pub const HEALTH_METRICS: &[Metric] = &[Metric::gauge(
    CONDITION_HOLDS,
    &["condition"],
    "1 while this condition of `/readyz` holds, else 0; `/readyz` says why it does not",
)];

/// Whether a process can do its work: named conditions, all of which must hold. Clones share them.
#[derive(Debug, Clone)]
pub struct Health {
    conditions: Arc<Mutex<BTreeMap<&'static str, Condition>>>,
}

/// One thing that a process needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub holds: bool,
    /// Why it does not hold; without personal data, because it is shown and logged.
    pub reason: String,
}

impl Health {
    /// Conditions that do not hold yet.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let starting = Condition { holds: false, reason: "starting".to_owned() };
        let conditions: BTreeMap<_, _> = names.into_iter().map(|name| (name, starting.clone())).collect();
        crate::describe(HEALTH_METRICS);
        conditions.keys().for_each(|name| show(name, false));
        Self { conditions: Arc::new(Mutex::new(conditions)) }
    }

    /// Notes that a condition holds. A change is logged, once.
    pub fn holds(&self, name: &'static str) {
        self.set(name, Condition { holds: true, reason: String::new() });
    }

    /// Notes that a condition does not hold, and why.
    pub fn fails(&self, name: &'static str, reason: impl Into<String>) {
        self.set(name, Condition { holds: false, reason: reason.into() });
    }

    /// Whether all of them hold.
    pub fn is_ready(&self) -> bool {
        self.snapshot().values().all(|condition| condition.holds)
    }

    /// All conditions as they are now.
    pub fn snapshot(&self) -> BTreeMap<&'static str, Condition> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, name: &'static str, condition: Condition) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = conditions.insert(name, condition.clone());
        drop(conditions);
        show(name, condition.holds);
        if before.is_some_and(|before| before.holds == condition.holds) {
            return;
        }
        match condition.holds {
            true => tracing::info!(condition = name, "condition holds"),
            false => tracing::warn!(condition = name, reason = condition.reason, "condition does not hold"),
        }
    }
}

fn show(name: &'static str, holds: bool) {
    metrics::gauge!(CONDITION_HOLDS, "condition" => name).set(f64::from(u8::from(holds)));
}

/// `/livez` (the event loop turns), `/readyz` (all conditions hold; else 503 and why) and
/// `/metrics`.
pub fn admin_router(health: Health, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(health))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(health): State<Health>) -> Response {
    let conditions = health.snapshot();
    let ready = conditions.values().all(|condition| condition.holds);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let conditions: serde_json::Map<String, serde_json::Value> = conditions
        .into_iter()
        .map(|(name, condition)| {
            let text = if condition.holds { "ok".to_owned() } else { condition.reason };
            (name.to_owned(), text.into())
        })
        .collect();
    (status, Json(json!({"ready": ready, "conditions": conditions}))).into_response()
}

async fn render(State(metrics): State<PrometheusHandle>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_condition_holds() {
        let health = Health::new(["kafka", "database"]);
        assert!(!health.is_ready());
        health.clone().holds("kafka");
        health.holds("database");
        assert!(health.is_ready());
        health.fails("kafka", "no broker answers");
        assert!(!health.is_ready());
        assert_eq!(health.snapshot()["kafka"].reason, "no broker answers");
    }
}
