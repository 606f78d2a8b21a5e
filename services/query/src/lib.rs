//! The query service: answers over HTTP from the three read models, at a position, in one snapshot. It reads PostgreSQL
//! and makes the views over more than one model there; of Kafka it asks only where the log ends.
//!
//! The path of one question:
//!
//! ```text
//! GET /api/v1/customers/{ref}   header Rapport-Position: p1.…
//!   http ── params, reference: understood?
//!     └─ snapshot: BEGIN REPEATABLE READ READ ONLY; checkpoints ── reached? ── yes ─┐
//!          ^                                        │ no                            │
//!          └──── again ──── waiting <── poller ─────┘                               v
//!                 (one for all who wait, every 2 ms)     customer: which one is it? ── candidates
//!                                                                  │
//!                               page: identifiers, profile, orders, cases, calls … / timeline: one page of events
//!                               search: who may be meant by a name, an identifier, a number
//!                               reports: a view as analyst, found in PostgreSQL's catalogue
//!                                                                  v
//!                          JSON, CSV or SQL + Rapport-Position: what it was read at
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | `http` | routes; parameters, headers, limits and log lines that all of them share |
//! | `params`, `reference` | reading what was asked |
//! | `snapshot` | one transaction over the three models, at or after a position |
//! | `progress` | what each model has reached, compared with a position |
//! | `database` | transactions for requests; whether PostgreSQL answers at all |
//! | `waiting` | one poller of checkpoints for everybody who waits |
//! | `customer` | who a reference stands for; the 360-degree page |
//! | `candidates` | the customers that an ambiguous reference may mean |
//! | `timeline` | keyset pages of events |
//! | `search` | customers by name, identifier, order or case number; keyset pages |
//! | `reports` | every view as a report: its parameters, its rows, its SQL |
//! | `views` | the views over more than one model: made, and made again |
//! | `openapi` | what all paths take and answer, as OpenAPI |
//! | `models`, `log_end` | where the models stand, beside the log's end |
//! | `problem` | errors as `application/problem+json` |
//! | `service` | options, starting, readiness, ending |
//! | `fuzz` | any bytes as a question, for fuzzing |
//! | [`metrics`] | names of metrics |

mod candidates;
mod customer;
mod database;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod log_end;
pub mod metrics;
mod models;
mod openapi;
mod params;
mod past;
mod problem;
mod progress;
mod reference;
mod reports;
mod search;
mod service;
mod snapshot;
mod timeline;
mod views;
mod waiting;

pub use service::{Admin, Handle, Limits, Options, QueryError, serve, start};
