//! The system tests; each module is one promise.
