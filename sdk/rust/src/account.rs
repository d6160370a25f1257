//! Accounts: handles of this run, chosen by the prop they are bound to.

use crate::Error;
use crate::bindings::deputy::step::accounts;
use crate::http::{Method, Request};

/// What is known about an account. None of it is secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The app's slug.
    pub app: String,
    /// `app/nickname`, as its owner calls it.
    pub name: String,
    /// The identity at the app, when known.
    pub identity: Option<String>,
    /// Scopes granted, when known.
    pub scopes: Vec<String>,
}

/// One account bound to a prop of this run. It holds no credential.
pub struct Account {
    handle: accounts::Account,
}

impl Account {
    /// The account bound to a prop.
    pub fn get(prop: &str) -> Result<Self, Error> {
        Ok(Self { handle: accounts::get(prop)? })
    }

    pub fn facts(&self) -> Facts {
        let facts = self.handle.facts();
        Facts { app: facts.app, name: facts.name, identity: facts.identity, scopes: facts.scopes }
    }

    /// A request through this account. `url` is a path below the app's base, such as `/user`, or an absolute URL
    /// within the account's reach.
    pub fn request(&self, method: Method, url: impl Into<String>) -> Request<'_> {
        Request::new(self, method, url.into())
    }

    pub(crate) fn handle(&self) -> &accounts::Account {
        &self.handle
    }
}
