//! What an app declares. No wasmtime here: authors' tools want this without an engine.

pub mod types;
