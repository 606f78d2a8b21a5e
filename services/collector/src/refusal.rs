//! Requests that are refused as a whole: nothing of them is appended and nothing kept.

use axum::http::StatusCode;
use service_kit::Problem;

/// Why a request is refused. The text says what was wrong, where, and what to do; it never repeats a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The body is no JSON, no UTF-8, or not of the shape its content type says.
    #[error("{0}")]
    Malformed(String),
    /// A header cannot be read.
    #[error("{0}")]
    Header(String),
    /// A query parameter has a value that means nothing.
    #[error("{0}")]
    Parameter(String),
    /// The connection ended or failed before the body was whole.
    #[error("the body ended before it was whole")]
    Incomplete,
    /// The body did not come in time.
    #[error("the body was not whole after {seconds} s; send it without pauses, or in smaller requests")]
    TooSlow { seconds: u64 },
    /// The body is longer than a request may be.
    #[error("the request is longer than {bytes_max} bytes; send fewer events in one request")]
    TooLong { bytes_max: usize },
    /// The batch holds more events than a request may.
    #[error("the batch holds more than {events_max} events; send it in parts")]
    TooManyEvents { events_max: usize },
    /// The content type is none of those accepted.
    #[error("{0}")]
    ContentType(String),
    /// The body is compressed.
    #[error("Content-Encoding {0:?} is not accepted; send the body as it is")]
    ContentEncoding(String),
    /// More requests or bytes are being worked on than the limits allow.
    #[error("too much is being published at once; send this request again after a second")]
    Busy,
    /// A path that does not exist.
    #[error("there is no such path here; events go to POST /events")]
    NoSuchPath,
    /// A path that knows other methods.
    #[error("this path does not know that method; see GET / for what it does")]
    NoSuchMethod,
    /// No type of the catalogue has that name.
    #[error(
        "{0:?} is no type of the catalogue; GET /schemas lists them. Types of your own need no schema: they are kept as sent"
    )]
    NoSuchType(String),
}

impl Refusal {
    /// The answer's status.
    const fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Header(_) | Self::Parameter(_) | Self::Incomplete => StatusCode::BAD_REQUEST,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::TooLong { .. } | Self::TooManyEvents { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType(_) | Self::ContentEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchPath | Self::NoSuchType(_) => StatusCode::NOT_FOUND,
            Self::NoSuchMethod => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The stable last part of the problem's `type`.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed-body",
            Self::Header(_) => "malformed-header",
            Self::Parameter(_) => "malformed-parameter",
            Self::Incomplete => "incomplete-body",
            Self::TooSlow { .. } => "slow-body",
            Self::TooLong { .. } => "request-too-large",
            Self::TooManyEvents { .. } => "too-many-events",
            Self::ContentType(_) => "content-type-not-accepted",
            Self::ContentEncoding(_) => "content-encoding-not-accepted",
            Self::Busy => "busy",
            Self::NoSuchPath => "no-such-path",
            Self::NoSuchMethod => "no-such-method",
            Self::NoSuchType(_) => "no-such-type",
        }
    }

    /// The answer.
    pub(crate) fn problem(&self) -> Problem {
        Problem::new(self.status(), self.kind(), self.to_string())
    }
}
