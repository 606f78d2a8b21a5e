//! Pure folds: the facts of a case or a call, in order, to its rows. They know no SQL and read no clock.

mod call;
mod case;
mod replies;
mod spans;

pub use call::{Call, CallLeg, CallRows, call};
pub use case::{Case, CaseRows, case};
pub use spans::Span;
