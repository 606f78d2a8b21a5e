//! Customer360 on a real PostgreSQL: histories folded in any order, and the oracle that says what must come out.

mod history;
mod oracle;
mod properties;
mod scenarios;
mod world;
