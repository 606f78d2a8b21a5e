//! The routes, and what is the same on all of them: parameters, positions, headers, limits, one line in the log.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        FromRequestParts, MatchedPath, Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderValue, header, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use domain::identifier::Normalizer;
use tokio::{sync::Semaphore, time::Instant};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    customer,
    database::Database,
    log_end::LogEnd,
    metrics, models,
    params::Params,
    problem::{INTERNAL, Kind, POSITION_HEADER, Problem},
    reference::{self, Reference},
    snapshot::Wanted,
    timeline,
    waiting::Waiting,
};

/// What handlers share.
pub(crate) struct App {
    pub(crate) database: Database,
    pub(crate) waiting: Waiting,
    pub(crate) log_end: LogEnd,
    pub(crate) normalizer: Normalizer,
    /// One for each request that may be answered at once.
    pub(crate) slots: Semaphore,
    pub(crate) wait_default: Duration,
}

/// An answer read in a snapshot.
pub(crate) struct Answer {
    /// The position's token.
    pub(crate) token: String,
    /// JSON.
    pub(crate) body: String,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(token) = HeaderValue::try_from(self.token) {
            headers.insert(POSITION_HEADER, token);
        }
        response
    }
}

/// What every `GET` may ask: further parameters, and the position to wait for.
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

/// The routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/customers/{ref}", get(customer))
        .route("/api/v1/customers/{ref}/timeline", get(timeline))
        .route("/api/v1/models", get(models))
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
    let (Asked { params, wanted }, reference) = (asked?, read_reference(path, &app)?);
    params.finish()?;
    customer::page(&app, &reference, &wanted).await
}

async fn timeline(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    asked: Result<Asked, Problem>,
) -> Reply {
    let (Asked { mut params, wanted }, reference) = (asked?, read_reference(path, &app)?);
    let filter = timeline::Filter::take(&mut params);
    params.finish()?;
    timeline::page(&app, &reference, &filter, &wanted).await
}

async fn models(State(app): State<Arc<App>>, asked: Result<Asked, Problem>) -> Reply {
    let Asked { params, wanted } = asked?;
    params.finish()?;
    models::list(&app, &wanted).await
}

fn read_reference(path: Result<Path<String>, PathRejection>, app: &App) -> Result<Reference, Problem> {
    let Path(text) = path.map_err(|_| reference::bad("the reference's percent-encoding is broken or not UTF-8"))?;
    Reference::parse(&text, &app.normalizer)
}

async fn no_such_path() -> Problem {
    Problem::new(Kind::NoSuchPath, "there is no such path; the API stands under /api/v1")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Kind::NoSuchMethod, "this path answers GET only")
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
