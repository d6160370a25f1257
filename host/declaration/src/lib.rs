//! What an app declares. No wasmtime here: authors' tools want this without an engine.
//!
//! The way of a declaration: [`source`] reads an `app.toml` into [`types::App`], [`validate`] holds it against every
//! rule that the types cannot say, [`image`] lays it out as a data-only component, [`pack`] puts many of them into one
//! file for the binary. [`inspect`] looks at any bytes that claim to be an app, and [`template`] makes URLs and header
//! values for an account. [`draft`] writes first drafts of an `app.toml` from what providers describe their APIs with.

pub mod draft;
pub mod image;
pub mod inspect;
pub mod lint;
pub mod pack;
pub mod source;
mod suggest;
pub mod template;
pub mod types;
pub mod validate;

pub use suggest::nearest;

/// The contract that apps are built for.
pub const WIT: &str = include_str!("../../../wit/app/0.1.0/app.wit");

/// What a pack's bytes follow from besides the apps: with another contract or another layout of a component, a pack is
/// stale.
pub const PACKED_BY: &str = concat!(include_str!("../../../wit/app/0.1.0/app.wit"), include_str!("image.rs"));
