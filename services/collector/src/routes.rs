//! The HTTP surface: from a request to the events in it, and from what became of them to an answer.

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use rapport_proto::{catalogue, schema};
use service_kit::Clock;
use tokio::sync::Semaphore;

use crate::{
    answer::Receipt,
    binary,
    body::BodyReader,
    content::{self, Mode},
    metrics, openapi,
    publish::{Publisher, Sent},
    refusal::Refusal,
    split,
};

/// The header that carries the position of a publish.
pub const POSITION_HEADER: &str = "rapport-position";
/// What a sender is told to wait before it sends again, seconds.
const RETRY_AFTER_S: &str = "1";

/// What the handlers share.
pub(crate) struct App {
    pub(crate) publisher: Publisher,
    pub(crate) bodies: BodyReader,
    /// One permit a request being worked on.
    pub(crate) requests: Semaphore,
    pub(crate) request_events_max: usize,
    pub(crate) clock: Clock,
}

/// Every path with its method and what answers it. `openapi` describes each of them.
pub(crate) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Arc<App>>)> {
    vec![
        ("get", "/", get(index)),
        ("post", "/events", post(events)),
        ("get", "/schemas", get(schemas)),
        ("get", "/schemas/{type}", get(type_schema)),
        ("get", "/openapi.json", get(async || Json(openapi::document()))),
    ]
}

/// All routes of the collector.
pub(crate) fn router(app: Arc<App>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (_, path, answers)| router.route(path, answers))
        .fallback(async || refuse(&Refusal::NoSuchPath))
        .method_not_allowed_fallback(async || refuse(&Refusal::NoSuchMethod))
        .with_state(app)
}

/// `POST /events`.
async fn events(State(app): State<Arc<App>>, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let mode = content::mode(&parts.headers);
    let label = mode.as_ref().map_or("unknown", |mode| mode.as_str());
    let response = match publish(&app, &parts, mode, &mut body).await {
        Ok((receipt, validate_only)) => {
            if !validate_only {
                count(&receipt);
            }
            answer(&receipt)
        }
        Err(refusal) => {
            // One that waits for a 100 has sent nothing yet; one that was too slow has had its time.
            if !parts.headers.contains_key(header::EXPECT) && !matches!(refusal, Refusal::TooSlow { .. }) {
                BodyReader::discard(&mut body).await;
            }
            refuse(&refusal)
        }
    };
    ::metrics::counter!(metrics::REQUESTS_TOTAL, "status" => response.status().as_str().to_owned(), "mode" => label)
        .increment(1);
    response
}

/// Reads the request whole, cuts it into events and publishes them.
async fn publish(
    app: &App,
    parts: &Parts,
    mode: Result<Mode, Refusal>,
    body: &mut Body,
) -> Result<(Receipt, bool), Refusal> {
    let mode = mode?;
    let validate_only = validate_only(parts.uri.query())?;
    let announced = content_length(&parts.headers)?;
    let _slot = app.requests.try_acquire().map_err(|_| Refusal::Busy)?;
    let mut read = app.bodies.read(body, announced).await?;
    let (received_at, started) = (app.clock.now_us(), Instant::now());
    ::metrics::counter!(metrics::BODY_BYTES_TOTAL).increment(read.bytes.len() as u64);
    // Cloning bytes shares them: the body stays charged for as long as `read` lives.
    let bytes = read.bytes.clone();
    let assembled;
    let events = match mode {
        Mode::Batch => split::array(split::text(&bytes)?, app.request_events_max)?,
        Mode::Structured => vec![split::one(split::text(&bytes)?)?],
        Mode::BinaryJson | Mode::BinaryOther => {
            assembled = binary::structured(&parts.headers, &bytes, mode)?;
            vec![assembled.as_str()]
        }
    };
    app.bodies.charge_events(&mut read, events.len())?;
    ::metrics::histogram!(metrics::REQUEST_EVENTS).record(events.len() as f64);
    let content_type = content::one_text(&parts.headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    let sent = Sent { events, received_at, mode: mode.as_str(), content_type, validate_only };
    let receipt = app.publisher.publish(&sent).await;
    ::metrics::histogram!(metrics::REQUEST_SECONDS).record(started.elapsed());
    Ok((receipt, validate_only))
}

fn validate_only(query: Option<&str>) -> Result<bool, Refusal> {
    let parameters = query.unwrap_or_default().split('&').filter(|p| !p.is_empty());
    let mut only = false;
    for (name, value) in parameters.map(|p| p.split_once('=').unwrap_or((p, "true"))) {
        only = match (name, value) {
            ("validate_only", "false") => false,
            ("validate_only", "true") => true,
            ("validate_only", other) => {
                return Err(Refusal::Parameter(format!("validate_only is true or false, not {other:?}")));
            }
            // A misspelt one would publish what was only to be looked at, for ever.
            (other, _) => {
                let other: String = other.chars().take(40).collect();
                return Err(Refusal::Parameter(format!("{other:?} is no parameter here; there is validate_only")));
            }
        };
    }
    Ok(only)
}

fn content_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(text) = content::one_text(headers, header::CONTENT_LENGTH.as_str())? else { return Ok(None) };
    match text.trim().parse() {
        Ok(length) => Ok(Some(length)),
        Err(_) => Err(Refusal::Header(format!("Content-Length {text:?} is no number of bytes"))),
    }
}

fn count(receipt: &Receipt) {
    let counts = receipt.counts();
    for (outcome, n) in metrics::OUTCOMES.into_iter().zip([counts.accepted, counts.rejected, counts.retry]) {
        if n > 0 {
            ::metrics::counter!(metrics::EVENTS_TOTAL, "outcome" => outcome).increment(n as u64);
        }
    }
}

fn answer(receipt: &Receipt) -> Response {
    let mut response = json(receipt.status(), "application/json", receipt.to_json());
    let headers = response.headers_mut();
    if let Some(position) = receipt.position.as_deref().and_then(|p| HeaderValue::from_str(p).ok()) {
        headers.insert(HeaderName::from_static(POSITION_HEADER), position);
    }
    if receipt.retry_because.is_some() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    }
    response
}

fn refuse(refusal: &Refusal) -> Response {
    let mut response = refusal.problem().into_response();
    let headers = response.headers_mut();
    match refusal {
        Refusal::Busy => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        }
        Refusal::ContentEncoding(_) => {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        // What is left of the body cannot be told from a next request.
        Refusal::TooSlow { .. } | Refusal::Incomplete => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

fn json(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
}

/// `GET /`: what this is.
async fn index() -> Response {
    Json(serde_json::json!({
        "service": "Rapport collector",
        "publish": {
            "method": "POST",
            "path": "/events",
            "content_types": ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json with ce-* headers"],
            "validate_only": "/events?validate_only=true",
        },
        "schemas": "/schemas",
        "openapi": "/openapi.json",
    }))
    .into_response()
}

/// `GET /schemas`: the catalogue.
async fn schemas() -> Response {
    let types: Vec<_> = catalogue::all()
        .iter()
        .map(|t| serde_json::json!({"type": format!("{}{}", catalogue::PREFIX, t.name), "schema": format!("/schemas/{}", t.name)}))
        .collect();
    Json(serde_json::json!({ "types": types })).into_response()
}

/// `GET /schemas/{type}`: the type's JSON Schema.
async fn type_schema(Path(name): Path<String>) -> Response {
    match schema::json_schema(&name) {
        Some(schema) => json(StatusCode::OK, "application/schema+json", schema.to_string().into_bytes()),
        None => refuse(&Refusal::NoSuchType(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_only_is_asked_for_by_name() {
        for (query, expected) in [
            (None, Some(false)),
            (Some("validate_only=true"), Some(true)),
            (Some("validate_only"), Some(true)),
            (Some(""), Some(false)),
            (Some("validateonly=true"), None),
            (Some("a=b&validate_only"), None),
            (Some("validate_only=false"), Some(false)),
            (Some("validate_only=yes"), None),
        ] {
            assert_eq!(validate_only(query).ok(), expected, "{query:?}");
        }
    }
}
