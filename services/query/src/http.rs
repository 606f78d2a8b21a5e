//! The routes, and what is the same on all of them: parameters, positions, headers, limits, one line in the log.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequestParts, MatchedPath, Path, Query, Request, State,
        rejection::{BytesRejection, PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use domain::identifier::Normalizer;
use tokio::{sync::Semaphore, time::Instant};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    customer,
    database::Database,
    log_end::LogEnd,
    metrics, models, openapi,
    params::Params,
    past::{Folding, Past},
    problem::{INTERNAL, Kind, POSITION_HEADER, Problem},
    reference::{self, Reference},
    reports,
    search::{self, Question},
    snapshot::Wanted,
    timeline,
    waiting::Waiting,
};

/// Whether a report has more rows than the answer.
const TRUNCATED_HEADER: HeaderName = HeaderName::from_static("rapport-truncated");

/// What handlers share.
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) waiting: Waiting,
    pub(crate) log_end: LogEnd,
    pub(crate) normalizer: Normalizer,
    /// One for each request that may be answered at once.
    pub(crate) slots: Semaphore,
    /// One for each report that may be made at once.
    pub(crate) report_slots: Semaphore,
    /// How long a report may take.
    pub(crate) report_timeout: Duration,
    pub(crate) wait_default: Duration,
    pub(crate) folding: Folding,
}

/// An answer read in a snapshot.
pub(crate) struct Answer {
    token: String,
    content_type: &'static str,
    body: String,
    truncated: Option<bool>,
}

impl Answer {
    /// JSON, read at the position whose token it is.
    pub(crate) fn json(token: String, body: String) -> Self {
        Self { token, content_type: "application/json", body, truncated: None }
    }

    /// CSV with a line of names.
    pub(crate) fn csv(token: String, body: String) -> Self {
        Self { content_type: "text/csv; charset=utf-8; header=present", ..Self::json(token, body) }
    }

    /// Text.
    pub(crate) fn text(token: String, body: String) -> Self {
        Self { content_type: "text/plain; charset=utf-8", ..Self::json(token, body) }
    }

    /// Says in a header whether there would have been more: CSV has no other place for it.
    pub(crate) fn truncated(self, truncated: bool) -> Self {
        Self { truncated: Some(truncated), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Some(truncated) = self.truncated {
            headers.insert(TRUNCATED_HEADER, HeaderValue::from_static(if truncated { "true" } else { "false" }));
        }
        if let Some(token) = Some(self.token).filter(|token| !token.is_empty()).and_then(|t| t.try_into().ok()) {
            headers.insert(POSITION_HEADER, token);
        }
        response
    }
}

/// What every request may ask: further parameters, and the position to wait for.
struct Asked {
    params: Params,
    wanted: Wanted,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let given: Result<Query<Vec<(String, String)>>, QueryRejection> = Query::from_request_parts(parts, app).await;
        let Query(given) = given.map_err(|_| Problem::new(Kind::Parameter, "the query string cannot be decoded"))?;
        let mut params = Params::new(given);
        let wanted = Wanted::take(&mut params, position_header(&parts.headers)?, app.wait_default)?;
        Ok(Self { params, wanted })
    }
}

fn position_header(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let value = headers.get(POSITION_HEADER).map(HeaderValue::to_str).transpose();
    value.map_err(|_| Problem::new(Kind::Position, domain::position::NotAPosition.to_string()))
}

/// Every path with its method and what answers it. `openapi` describes each of them.
pub(crate) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Arc<App>>)> {
    let body_limit = DefaultBodyLimit::max(search::BODY_BYTES_MAX);
    vec![
        ("get", "/api/v1/customers", get(customers)),
        ("post", "/api/v1/customers/search", post(customers_search).layer(body_limit)),
        ("get", "/api/v1/customers/{ref}", get(customer)),
        ("get", "/api/v1/customers/{ref}/timeline", get(timeline)),
        ("get", "/api/v1/reports", get(reports)),
        ("get", "/api/v1/reports/{report}", get(report)),
        ("get", "/api/v1/reports/{report}/sql", get(report_sql)),
        ("get", "/api/v1/models", get(models)),
        ("get", "/api/v1/openapi.json", get(openapi_json)),
    ]
}

/// The routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    routes()
        .into_iter()
        .fold(Router::new(), |router, (_, path, answers)| router.route(path, answers))
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

type Reply = Result<Answer, Problem>;

async fn customer(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
) -> Reply {
    let (Asked { mut params, wanted }, reference) = (asked?, read_reference(path, &app)?);
    let past = Past::take(&mut params);
    params.finish()?;
    customer::page(&app, &reference, &wanted, &past).await
}

async fn timeline(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
) -> Reply {
    let (Asked { mut params, wanted }, reference) = (asked?, read_reference(path, &app)?);
    let filter = timeline::Filter::take(&mut params);
    let past = Past::take(&mut params);
    params.finish()?;
    timeline::page(&app, &reference, &filter, &wanted, &past).await
}

async fn models(State(app): State<Arc<App>>, asked: Result<Asked, Problem>) -> Reply {
    let Asked { params, wanted } = asked?;
    params.finish()?;
    models::list(&app, &wanted).await
}

async fn customers(State(app): State<Arc<App>>, asked: Result<Asked, Problem>) -> Reply {
    let Asked { mut params, wanted } = asked?;
    let question = Question::take(&mut params);
    params.finish()?;
    search::page(&app, &question?, &wanted).await
}

async fn customers_search(
    State(app): State<Arc<App>>,
    asked: Result<Asked, Problem>,
    body: Result<Bytes, BytesRejection>,
) -> Reply {
    let Asked { params, wanted } = asked?;
    params.finish()?;
    let body = body.map_err(|rejection| search::bad_body(rejection.status()))?;
    search::page(&app, &Question::read(&body)?, &wanted).await
}

async fn reports(State(app): State<Arc<App>>, asked: Result<Asked, Problem>) -> Reply {
    let Asked { params, wanted } = asked?;
    params.finish()?;
    reports::list(&app, &wanted).await
}

async fn report(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
) -> Reply {
    let Asked { params, wanted } = asked?;
    reports::run(&app, &read_name(path)?, params, &wanted).await
}

async fn report_sql(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
) -> Reply {
    let Asked { params, wanted } = asked?;
    reports::sql(&app, &read_name(path)?, params, &wanted).await
}

/// `GET /openapi.json` depends on no model and no position.
async fn openapi_json() -> Answer {
    Answer::json(String::new(), openapi::document().to_string())
}

fn read_name(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let Path(name) = path.map_err(|_| Problem::new(Kind::NoSuchReport, "no report has a name that is not UTF-8"))?;
    Ok(name)
}

fn read_reference(path: Result<Path<String>, PathRejection>, app: &App) -> Result<Reference, Problem> {
    let Path(text) = path.map_err(|_| reference::bad("the reference's percent-encoding is broken or not UTF-8"))?;
    Reference::parse(&text, &app.normalizer)
}

async fn no_such_path() -> Problem {
    Problem::new(Kind::NoSuchPath, "there is no such path; the API stands under /api/v1")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Kind::NoSuchMethod, "this path does not know that method; see /api/v1/openapi.json")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic's own message is on stderr already; it may hold what was asked for, which is personal data.
    tracing::error!("a request handler panicked");
    Problem::new(Kind::Internal, INTERNAL).into_response()
}

/// Takes a slot, measures, logs. The route's pattern is logged and never the path: references are personal data.
async fn observe(State(app): State<Arc<App>>, route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let mut response = match app.slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => Problem::new(Kind::Busy, "too many requests are being answered; ask again after Retry-After")
            .into_response(),
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let took = began.elapsed();
    metrics::answered(route, response.status(), took);
    tracing::debug!(route, status = response.status().as_u16(), took_ms = took.as_millis() as u64, "answered");
    response
}
