//! The kit as its users see it.

mod config;
mod serve;
