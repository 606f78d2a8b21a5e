//! Errors as RFC 9457 problems. Their `type` is stable: programs compare it, people read `detail`.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// The header that carries a position, on requests and on answers.
pub(crate) const POSITION_HEADER: HeaderName = HeaderName::from_static("rapport-position");
/// What a client learns of our own mistakes.
pub(crate) const INTERNAL: &str =
    "the question could not be answered because of a mistake in this service; its log says more";

/// What a client learns while PostgreSQL is away.
const AWAY: &str = "PostgreSQL does not answer at the moment; publishing goes on, ask again after Retry-After";

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No such path.
    NoSuchPath,
    /// A path that knows other methods.
    NoSuchMethod,
    /// A query parameter was not understood.
    Parameter,
    /// `{ref}` is neither an id nor `kind:value`.
    Reference,
    /// The body is not what the path takes.
    Body,
    /// The body is longer than the path takes.
    BodyTooLong,
    /// The token is not a position.
    Position,
    /// The token belongs to another log.
    OtherLog,
    /// The models have not reached the position in time.
    NotReached,
    /// A read model was never built here.
    ModelsNotReady,
    /// Nobody is known by this reference.
    NoSuchCustomer,
    /// There is no report of this name.
    NoSuchReport,
    /// A report took longer than it may.
    ReportTooSlow,
    /// The reference stands for more than one customer.
    SeveralCustomers,
    /// A past is made of too many events.
    PastTooLong,
    /// Nobody noted what was known then.
    PastNotKept,
    /// The past cannot be folded here, or by this version.
    PastNotFoldable,
    /// PostgreSQL cannot be reached, or does not answer in time.
    Unavailable,
    /// More requests than the service takes at once.
    Busy,
    /// A mistake of ours.
    Internal,
}

impl Kind {
    /// Status, the stable last part of `type`, and the seconds after which asking again makes sense.
    const fn parts(self) -> (StatusCode, &'static str, Option<u32>) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "no-such-path", None),
            Self::NoSuchMethod => (StatusCode::METHOD_NOT_ALLOWED, "no-such-method", None),
            Self::Parameter => (StatusCode::BAD_REQUEST, "malformed-parameter", None),
            Self::Reference => (StatusCode::BAD_REQUEST, "malformed-reference", None),
            Self::Body => (StatusCode::BAD_REQUEST, "malformed-body", None),
            Self::BodyTooLong => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-long", None),
            Self::Position => (StatusCode::BAD_REQUEST, "malformed-position", None),
            Self::OtherLog => (StatusCode::CONFLICT, "other-log", None),
            Self::NotReached => (StatusCode::SERVICE_UNAVAILABLE, "position-not-reached", Some(1)),
            Self::ModelsNotReady => (StatusCode::SERVICE_UNAVAILABLE, "models-not-ready", Some(5)),
            Self::NoSuchCustomer => (StatusCode::NOT_FOUND, "no-such-customer", None),
            Self::NoSuchReport => (StatusCode::NOT_FOUND, "no-such-report", None),
            Self::ReportTooSlow => (StatusCode::SERVICE_UNAVAILABLE, "report-too-slow", Some(10)),
            Self::SeveralCustomers => (StatusCode::MULTIPLE_CHOICES, "several-customers", None),
            Self::PastTooLong => (StatusCode::UNPROCESSABLE_ENTITY, "past-too-long", None),
            Self::PastNotKept => (StatusCode::UNPROCESSABLE_ENTITY, "past-not-kept", None),
            Self::PastNotFoldable => (StatusCode::SERVICE_UNAVAILABLE, "past-not-foldable", Some(60)),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", Some(1)),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(1)),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", None),
        }
    }
}

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Stable name of the fault.
    pub(crate) code: &'static str,
    /// Which parameter, or `ref`.
    pub(crate) pointer: String,
    /// A sentence. Never repeats a reference: those are personal data.
    pub(crate) detail: String,
}

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem {
    /// Boxed: an error is rare and should not make every result large.
    body: Box<service_kit::Problem>,
    position: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (status, name, retry_after_s) = kind.parts();
        let body = service_kit::Problem::new(status, name, detail);
        let body = match retry_after_s {
            Some(seconds) => body.retry_after_s(seconds),
            None => body,
        };
        Self { body: Box::new(body), position: None }
    }

    /// A mistake of ours; `what` for the log, nothing of it for the client.
    pub(crate) fn internal(what: &str, error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "{what}");
        Self::new(Kind::Internal, INTERNAL)
    }

    /// PostgreSQL does not answer.
    pub(crate) fn unavailable() -> Self {
        Self::new(Kind::Unavailable, AWAY)
    }

    pub(crate) fn with_errors(mut self, errors: Vec<Fault>) -> Self {
        for fault in errors {
            self.body = Box::new(self.body.error(fault.code, &fault.pointer, fault.detail));
        }
        self
    }

    /// A further member beside the standard ones.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.body = Box::new(self.body.member(name, value));
        self
    }

    /// The position that the models were read at.
    pub(crate) fn at(mut self, position: String) -> Self {
        self.position = Some(position).filter(|token| !token.is_empty());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.body.into_response();
        if let Some(position) = self.position.and_then(|p| HeaderValue::try_from(p).ok()) {
            response.headers_mut().insert(POSITION_HEADER, position);
        }
        response
    }
}

/// What PostgreSQL's failure means to the one who asked: not there (ask again), or a mistake of ours.
impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        let kind = classify(&error);
        match kind {
            Kind::Internal => tracing::error!(error = %error, "a query failed"),
            // That the database is away is told once, as a condition of readiness, and not by every request.
            _ => tracing::debug!(error = %error, "the read models cannot be asked"),
        }
        let detail = match kind {
            Kind::Busy => "every database connection of this service is busy; ask again after Retry-After",
            Kind::Unavailable => AWAY,
            Kind::ModelsNotReady => {
                "a read model's tables are not there yet; they come with its projector's first start"
            }
            _ => INTERNAL,
        };
        Self::new(kind, detail)
    }
}

/// SQLSTATE classes decide; everything below SQL is a connection that was lost or never came about.
fn classify(error: &sqlx::Error) -> Kind {
    match error {
        sqlx::Error::PoolTimedOut => Kind::Busy,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => Kind::Unavailable,
        sqlx::Error::Database(refusal) => match refusal.code().as_deref() {
            // A view that a new generation is just being given, or a schema that nobody has made yet.
            Some("42P01" | "3F000") => Kind::ModelsNotReady,
            // Connection trouble, shutting down or starting up, no slots, cancelled by a timeout, a standby's conflict.
            Some(code) if ["08", "57", "53", "40"].iter().any(|class| code.starts_with(class)) => Kind::Unavailable,
            _ => Kind::Internal,
        },
        _ => Kind::Internal,
    }
}
