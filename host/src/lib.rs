//! Deputy: code uses people's accounts without ever holding their keys.
//!
//! Rooms, from the doors down; each imports only what stands below it. See `docs/architecture.md`.

pub mod cli;
pub mod deputy;
pub mod server;

#[cfg(feature = "conformance")]
pub mod conformance;

pub mod account;
pub mod app;
pub mod auth;
pub mod egress;
pub mod step;
pub mod store;
pub mod vault;
pub mod wasm;
pub mod workflow;

pub mod caller;
pub mod config;
pub mod ids;
pub mod killpoint;
pub mod time;
