//! What the operator allows, and the host's limits.

use std::collections::BTreeMap;

use super::PlainHost;

/// What the operator allows and the host's limits; from `deputy.toml`.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `[egress] allow`: private `address:port` pairs let through, and plain http to them.
    pub allow: Vec<std::net::SocketAddr>,
    /// `[egress] resolve`: `host:port` sent elsewhere.
    pub resolve: BTreeMap<String, std::net::SocketAddr>,
    /// `[egress] ca`: one more trusted root, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// `[egress] plain`: hosts that requests without an account may reach.
    pub plain: Vec<PlainHost>,
    pub limits: Limits,
}

/// Defaults from `docs/threat-model.md`.
#[derive(Debug, Clone)]
pub struct Limits {
    pub request_bytes: u64,
    /// After decoding.
    pub response_bytes: u64,
    pub header_bytes: usize,
    pub connect_ms: u64,
    pub first_byte_ms: u64,
    pub total_ms: u64,
    /// A body that falls below this rate over ten seconds is cut.
    pub min_bytes_per_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: 10 << 20,
            response_bytes: 50 << 20,
            header_bytes: 64 << 10,
            connect_ms: 5_000,
            first_byte_ms: 30_000,
            total_ms: 120_000,
            min_bytes_per_s: 1024,
        }
    }
}
