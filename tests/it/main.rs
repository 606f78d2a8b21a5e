//! The system tests; each module is one promise.

mod bad_input;
mod convergence;
mod faults;
mod identity;
mod loading;
mod readme;
mod reference;
mod tidy;
mod walk;
