//! The system tests; each module is one promise.

mod bad_input;
mod bi_tools;
mod convergence;
mod demo;
mod faults;
mod forwarding;
mod fuzz;
mod identity;
mod importing;
mod loading;
mod openapi;
mod readme;
mod redrive;
mod reference;
mod replays;
mod tidy;
mod topic;
mod walk;
