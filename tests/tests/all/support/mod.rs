//! What the tests stand on: the built binary, the authorization server, and a server of raw bytes.

pub mod apps;
pub mod deputy;
pub mod jar;
pub mod oidc;
pub mod provider;
pub mod raw;

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

/// The first value under this key, at any depth: tests state what an answer tells, not how it is nested.
pub fn find<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(key).or_else(|| fields.values().find_map(|value| find(value, key))),
        Value::Array(items) => items.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

/// [`find`] for text; a test without it fails with the whole value.
#[track_caller]
pub fn text(value: &Value, key: &str) -> String {
    match find(value, key) {
        Some(Value::String(text)) => text.clone(),
        other => panic!("no text `{key}` but {other:?} in {value}"),
    }
}

/// A loopback address that nobody listens on now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
