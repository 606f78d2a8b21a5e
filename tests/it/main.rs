//! The system tests; each module is one promise.

mod readme;
mod walk;
