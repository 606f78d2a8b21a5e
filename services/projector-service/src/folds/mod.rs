//! Pure folds: the facts of a case or a call, or what events tell of a thread, in order, to its rows. They know no SQL and
//! read no clock.

mod call;
mod case;
mod mail;
pub mod message_id;
mod replies;
mod spans;
pub mod telling;
mod thread;

pub use call::{Call, CallLeg, CallRows, call};
pub use case::{Case, CaseRows, case};
pub use spans::Span;
pub use thread::{Thread, ThreadRows, Wait, thread};
