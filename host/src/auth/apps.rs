//! What this room needs of the catalog: a declaration by slug when an account is made, by hash ever after.

use std::sync::Arc;

use deputy_declaration::types::{App, AuthKind, AuthMethod, Exchange, OAuth2};

use super::error::AuthError;

/// An installed declaration under the hash that accounts pin.
#[derive(Debug, Clone)]
pub struct PinnedApp {
    pub hash: String,
    pub app: Arc<App>,
}

impl PinnedApp {
    /// The method's place in the declaration.
    pub fn method(&self, id: &str) -> Option<(usize, &AuthMethod)> {
        self.app.methods.iter().enumerate().find(|(_, method)| method.id == id)
    }
}

/// The OAuth part of a method, when it has one.
pub fn oauth2_of(method: &AuthMethod) -> Option<&OAuth2> {
    match &method.kind {
        AuthKind::OAuth2Code(oauth2) => Some(oauth2),
        AuthKind::Keys | AuthKind::Exchange(_) => None,
    }
}

/// The exchange of a method, when it has one.
pub fn exchange_of(method: &AuthMethod) -> Option<&Exchange> {
    match &method.kind {
        AuthKind::Exchange(exchange) => Some(exchange),
        AuthKind::Keys | AuthKind::OAuth2Code(_) => None,
    }
}

pub trait Apps: Send + Sync + 'static {
    /// What new accounts of the app use.
    fn current(&self, slug: &str) -> Result<Option<PinnedApp>, AuthError>;

    /// What an account was made with. Immutable.
    fn pinned(&self, hash: &str) -> Result<Option<PinnedApp>, AuthError>;

    /// Makes sure that `pinned` finds this version for as long as the store lives.
    fn keep(&self, hash: &str) -> Result<(), String>;
}
