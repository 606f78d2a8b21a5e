//! The collector: takes events in over HTTP and appends them to the log. It knows Kafka and no database.
//!
//! The path of one event:
//!
//! ```text
//! POST /events ── content ──> which mode? ── body ──> read within length, time and memory
//!                                                      │
//!                 binary: ce-* headers + data ─────────┤ split: the text of each event, no tree
//!                                                      v
//!                                    judge: read by the contract, checked, normalized
//!                                       │                                   │
//!                               acceptable: a record                  faults: what is kept
//!                                       v                                   v
//!                             topic rapport.interactions            topic rapport.rejected
//!                                       │   (all in-sync replicas have it)  │
//!                                       └──────────────┬────────────────────┘
//!                                                      v
//!                              answer: a result an event, in order; the position
//! ```
//!
//! An event is answered with `accepted` or `rejected` only once Kafka has it or what is kept of it; everything else is
//! `retry`. Sending an event again does no harm: copies of one `id` and `source` count once.
//!
//! Every request is worked on within its own task, and everything that could grow has a limit ([`Limits`]): what does
//! not fit is refused at once with 429 or 503 and `Retry-After`, before it is read where possible.
//!
//! | module | responsibility |
//! |---|---|
//! | `routes` | the HTTP surface: handlers, status codes, headers |
//! | `content` | which of CloudEvents' modes; content types and encodings that are not accepted |
//! | `body` | reading a body within its limits |
//! | `split`, `binary` | the texts of a request's events |
//! | `judge` | one event: acceptable as which record, or rejected why |
//! | `outage` | whether Kafka confirms records: told once each way, and to readiness |
//! | `publish` | appending, keeping rejected events, the position |
//! | `answer` | the answer to a publish |
//! | `rejected` | the record kept of a rejected event |
//! | `refusal` | requests refused as a whole |
//! | `openapi` | what all paths take and answer, as OpenAPI |
//! | `service` | options, starting, readiness, ending |
//! | `fuzz` | any bytes as a request, for fuzzing |
//! | [`metrics`] | names of metrics |

mod answer;
mod binary;
mod body;
mod content;
#[doc(hidden)]
pub mod fuzz;
mod judge;
pub mod metrics;
mod openapi;
mod outage;
mod publish;
mod refusal;
mod rejected;
mod routes;
mod service;
mod split;

pub use rejected::{Reason, RejectedRecord};
pub use routes::POSITION_HEADER;
pub use service::{Admin, CollectorError, Handle, Limits, Options, serve, start};
