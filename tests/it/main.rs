//! The system tests; each module is one promise.

mod bad_input;
mod convergence;
mod faults;
mod identity;
mod readme;
mod reference;
mod tidy;
mod walk;
