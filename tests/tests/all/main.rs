//! End-to-end tests: the built binary against servers that nobody here wrote, and rules about the source itself.
//!
//! One integration binary with modules, because every binary of its own would link the whole host once more.

mod actions;
mod authors;
mod conformance;
mod crash;
mod demo_provider;
mod device;
mod exchange;
mod faults;
mod gate;
mod hooks;
mod house;
mod import;
mod markers;
mod packages;
mod peer;
mod quirks;
mod recorded;
mod refresh;
mod script_env;
mod shapes;
mod steps;
mod support;
mod workflow;
mod workflow_check;
