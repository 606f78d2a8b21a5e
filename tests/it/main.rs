//! The system tests; each module is one promise.

mod bad_input;
mod bi_tools;
mod convergence;
mod demo;
mod fault_bar;
mod faults;
mod forwarding;
mod fuzz;
mod identity;
mod importing;
mod loading;
mod metrics;
mod openapi;
mod past;
mod readme;
mod redrive;
mod reference;
mod repair;
mod replays;
mod runbooks;
mod tidy;
mod topic;
mod walk;
