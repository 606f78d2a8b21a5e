//! `rapport import`: rows of a file, or mails, to events, by a mapping, once.
//!
//! ```text
//! file ── csv | lines ──> rows ──> groups (ids, ordinals) ── program (jq) ──> events     on a thread of its own
//!                                                                               │
//!            customer360's timeline: known? ── yes ──> counted                  v
//!                                           └─ no ───> publish ──> collector
//! ```
//!
//! | module | responsibility |
//! |---|---|
//! | `mapping` | the mapping file |
//! | `source` | files, plain or gzip |
//! | `mail` | mailboxes, maildirs, single messages; in constant memory, whatever is attached |
//! | `csv`, `lines` | records and lines, in constant memory, with the place of each fault |
//! | `rows` | a row: its key, its hash, its value |
//! | `groups`, `ordinals` | adjacent rows of one key; ids that a second import finds again |
//! | `program`, `moment` | the jq program and its functions for money and dates |
//! | `ahead` | what is read ahead, bounded in bytes |
//! | `known` | which events customer360 has already |
//! | `tally` | how many came to what, and what of it is written out |
//! | `run` | the command |
//! | `fuzz` | any bytes as a file, for fuzzing |

mod ahead;
mod csv;
pub(crate) mod fuzz;
mod groups;
mod known;
mod lines;
mod mail;
mod mapping;
mod moment;
mod ordinals;
mod program;
mod rows;
mod run;
mod source;
mod tally;

pub(crate) use lines::{Line, Lines};
pub(crate) use run::run;
