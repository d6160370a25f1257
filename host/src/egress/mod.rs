//! The one road: every credentialed byte leaves through [`Egress::send`].
//!
//! A caller names an account of its grant and a URL; this room asks [`Tokens`] for the fresh secrets of the account,
//! holds the request against the app's reach, puts the secrets where the app's rules say, dials only judged
//! addresses, reads what the answer means, scrubs it, and writes the audit line.

mod request;

pub use request::{Answer, AnswerBody, Body, Request};

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::types::App;
use futures_util::future::BoxFuture;
use url::Url;

use crate::caller::Caller;
use crate::ids::AccountId;
use crate::vault::Secret;

/// What a caller may use: one account, as that caller. Made by the facade or by a run, never from guest text.
#[derive(Debug, Clone)]
pub struct Grant {
    pub caller: Caller,
    pub account: AccountId,
}

/// Who a request goes out as.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// Through an account: reach, injection, one forced refresh when the app signals expiry.
    Account { grant: &'a Grant, tokens: &'a dyn Tokens },
    /// A call to an app's own token endpoint, built whole by `auth`: no injection, no `Tokens`, no scrubbing (its
    /// answer *is* a secret), but the same guard, limits and audit.
    TokenCall(&'a TokenCall),
}

/// A token, refresh or revoke call.
#[derive(Debug)]
pub struct TokenCall {
    pub caller: Caller,
    pub app: String,
    /// The account, once there is one.
    pub account: Option<AccountId>,
    /// `token`, `refresh`, `revoke`: stands in the audit.
    pub purpose: &'static str,
    /// The declared endpoint, rendered. The request's URL must be exactly this one.
    pub endpoint: Url,
}

/// An account ready for one request: what `auth` hands out, opened from the vault.
#[derive(Debug)]
pub struct Live {
    pub account: AccountId,
    /// `app/nickname`
    pub name: String,
    pub declaration: Arc<App>,
    /// Index into the declaration's methods.
    pub method: usize,
    /// From the sealed record.
    pub inputs: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, Secret>,
    /// Where this account's credentials may go: `https://host`, or `https://host:port`. From the sealed record.
    pub origins: Vec<url::Origin>,
    /// The app's base, rendered with the inputs; no trailing slash.
    pub base: Url,
    /// Declared token, refresh and revoke endpoints, rendered: denied to callers.
    pub token_endpoints: Vec<Url>,
    /// The generation of the secrets: an expiry signal for an older one asks for no refresh.
    pub generation: u64,
}

/// What egress needs from `auth`. A token call never passes here, so there is no circle.
pub trait Tokens: Send + Sync + 'static {
    /// The account's secrets, refreshed first when they are about to expire.
    fn live<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Arc<Live>, TokensError>>;

    /// The app says that the secrets of `generation` are expired: refresh once, or say why not.
    fn renew<'a>(&'a self, grant: &'a Grant, generation: u64) -> BoxFuture<'a, Result<Arc<Live>, TokensError>>;

    /// The app says that the account of `generation` is gone. Recorded; the answer is passed on all the same.
    fn revoked<'a>(&'a self, grant: &'a Grant, generation: u64) -> BoxFuture<'a, ()>;
}

/// Why there is no fresh credential. The sentences never hold a secret or an upstream body.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokensError {
    #[error("there is no such account")]
    NotFound,
    #[error("{name} must be reconnected: {reason}")]
    NeedsReconnect { name: String, reason: String },
    /// The client registration is wrong: no account is dead.
    #[error("the OAuth client of {app} is refused: {reason}")]
    Client { app: String, reason: String },
    /// Nothing can be refreshed: the account has no refresh token.
    #[error("{name} has nothing to refresh")]
    NotRenewable { name: String },
    #[error("the refresh of {name} failed for now: {reason}")]
    Transient { name: String, reason: String },
    #[error("{0}")]
    Internal(String),
}

/// Why nothing was sent, or why the answer ended early. No variant holds a secret, a query or an upstream body.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// A malformed request.
    #[error("{message}")]
    Invalid { message: String, fix: Option<String> },
    /// A rule of the app or the operator forbids it.
    #[error("{message}")]
    Denied { rule: &'static str, message: String, fix: Option<String> },
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Resolution, connection or TLS.
    #[error("cannot reach {host}: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} {what} within {limit_ms} ms")]
    Timeout { host: String, what: &'static str, limit_ms: u64 },
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("{host} broke the protocol: {reason}")]
    Protocol { host: String, reason: String },
    #[error("{0}")]
    Internal(String),
}

/// What the operator allows and the host's limits; from `deputy.toml`.
#[derive(Debug, Clone)]
pub struct Policy {
    /// `[egress] allow`: private `address:port` pairs let through, and plain http to them.
    pub allow: Vec<std::net::SocketAddr>,
    /// `[egress] resolve`: `host:port` sent elsewhere.
    pub resolve: BTreeMap<String, std::net::SocketAddr>,
    /// `[egress] ca`: one more trusted root, PEM.
    pub ca_pem: Option<Vec<u8>>,
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

impl Default for Policy {
    fn default() -> Self {
        Self { allow: Vec::new(), resolve: BTreeMap::new(), ca_pem: None, limits: Limits::default() }
    }
}

/// Where the one line per request goes.
pub trait Audit: Send + Sync + 'static {
    fn write(&self, line: AuditLine);
}

/// One request as the audit keeps it: names and numbers; no header, query or body.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AuditLine {
    pub at: crate::time::Time,
    pub owner: crate::caller::Owner,
    pub via: crate::caller::Via,
    pub app: String,
    pub account: Option<AccountId>,
    /// `request`, or the purpose of a token call.
    pub purpose: String,
    pub method: String,
    /// Scheme, host and port.
    pub origin: String,
    /// Without the query.
    pub path: String,
    pub status: Option<u16>,
    /// The code of the error, when nothing came back.
    pub error: Option<String>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration_ms: u64,
    /// Secrets found in the answer and replaced.
    pub scrubbed: u64,
}
