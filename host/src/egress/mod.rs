//! The one road: every credentialed byte leaves through [`Egress::send`].
//!
//! A caller names an account of its grant and a URL; this room asks [`Tokens`] for the fresh secrets of the account,
//! holds the request against the app's reach, puts the secrets where the app's rules say, dials only judged
//! addresses, reads what the answer means, scrubs it, and writes the audit line.

mod answer;
mod audit;
mod caller_headers;
mod decode;
mod dial;
mod entry;
mod error;
mod failure;
pub(crate) mod fields;
mod guard;
mod hook;
mod inject;
mod mask;
mod outgoing;
mod plain;
mod policy;
mod pool;
mod reach;
mod request;
mod retry_after;
mod scrub;
pub(crate) mod segments;
mod send;
pub(crate) mod sign;
mod signals;
mod target;
#[cfg(test)]
mod tests;

pub use audit::{Audit, AuditLine, FileAudit, MemoryAudit};
pub(crate) use error::reconnect;
pub use error::{EgressError, TokensError};
pub use hook::{Components, Hooks, Who};
pub use mask::Masker;
pub use plain::{PlainHost, refusal as plain_refusal};
pub use policy::{Limits, Policy};
pub use reach::is_ambiguous_path;
pub use request::{Answer, AnswerBody, Body, Request, Throttled};
pub use retry_after::{MOST_WAIT, http as retry_after};
pub(crate) use scrub::inside_base64;
pub use send::Egress;

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
    /// What a step said that it needs; none: all that the app allows.
    pub narrow: Option<Arc<Narrow>>,
}

impl Grant {
    /// For a person who uses the account itself.
    pub fn whole(caller: Caller, account: AccountId) -> Self {
        Self { caller, account, narrow: None }
    }
}

/// Bounds within the app's reach, for one prop of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Narrow {
    /// The prop that declares them: stands in refusals.
    pub prop: String,
    /// Empty: all that the app allows.
    pub methods: Vec<String>,
    /// Path prefixes at segment borders. Empty: all that the app allows.
    pub paths: Vec<String>,
}

/// Who a request goes out as.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// Through an account: reach, injection, one forced refresh when the app signals expiry.
    Account { grant: &'a Grant, tokens: &'a dyn Tokens },
    /// Through no account: only to the hosts that the operator allows to all code, and never with a secret of ours.
    Plain(&'a Caller),
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
    /// The declared endpoint, rendered. The request's URL must be this one, and may go on in its query: some services
    /// want their parameters there.
    pub endpoint: Url,
    /// The version of the app whose hook `token-reply` reads the answer.
    pub reply_hook: Option<String>,
}

impl TokenCall {
    fn is_for(&self, url: &Url) -> bool {
        let declared = self.endpoint.as_str();
        let more = url.as_str().strip_prefix(declared);
        let join = if self.endpoint.query().is_some() { '&' } else { '?' };
        self.endpoint.fragment().is_none() && more.is_some_and(|more| more.is_empty() || more.starts_with(join))
    }
}

/// An account ready for one request: what `auth` hands out, opened from the vault.
#[derive(Debug)]
pub struct Live {
    pub account: AccountId,
    /// `app/nickname`
    pub name: String,
    pub declaration: Arc<App>,
    /// The hash of the component that it came from: what the account pins, and whose hooks it uses.
    pub version: String,
    /// Index into the declaration's methods.
    pub method: usize,
    /// From the sealed record.
    pub inputs: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, Secret>,
    /// The id of the OAuth client it was connected with: rules may name it, and it is no secret.
    pub client_id: Option<String>,
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
