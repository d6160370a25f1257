//! Accounts: connected, found by name, shown, renamed, tested and deleted.
//!
//! Promises: an account is acknowledged only when it is durable; what an account may do is read from its sealed record;
//! no verb chooses between two accounts; no answer of this room holds a secret.

mod admit;
pub mod callback;
mod check;
mod connect;
mod device;
mod discover;
#[cfg(test)]
mod discovery_tests;
mod error;
#[cfg(test)]
mod exchange_tests;
mod inputs;
mod names;
mod oauth;
mod reconnect;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trials;
mod verbs;
mod versions;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

pub use callback::Listener;
pub use connect::{Begun, ConnectKeys, ConnectOAuth, Connected, asked};
pub use device::DeviceBegun;
pub use error::AccountError;
pub use reconnect::Reconnecting;
pub use verbs::{AccountList, Deleted, Tested};
pub use versions::Behind;
pub use view::{AccountSummary, AccountView, AccountsPage, TokenView};

use crate::auth::Auth;
use crate::auth::apps::{Apps, PinnedApp};
use crate::auth::error::AuthError;
use crate::auth::road::TokenRoad;
use crate::auth::rows::Rows;
use crate::config::Callback;
use crate::egress::Tokens;
use crate::store::Store;
use crate::vault::Vault;

pub struct Accounts {
    rows: Rows,
    apps: Arc<dyn Apps>,
    road: Arc<dyn TokenRoad>,
    auth: Arc<Auth>,
    callback: Callback,
    /// Where the last listener stands, for a configured port 0.
    bound: Mutex<Option<SocketAddr>>,
}

impl Accounts {
    pub fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        apps: Arc<dyn Apps>,
        road: Arc<dyn TokenRoad>,
        callback: Callback,
    ) -> Arc<Self> {
        let rows = Rows { store, vault };
        let auth = Arc::new(Auth::new(rows.clone(), apps.clone(), road.clone()));
        Arc::new(Self { rows, apps, road, auth, callback, bound: Mutex::default() })
    }

    /// What the road asks for fresh secrets.
    pub fn tokens(&self) -> Arc<dyn Tokens> {
        self.auth.clone()
    }

    /// Waits for refreshes under way: their answers must not be lost with the process.
    pub async fn drain(&self) {
        self.auth.drain().await;
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// The installed app that new accounts use.
    fn current(&self, slug: &str) -> Result<PinnedApp, AuthError> {
        self.apps.current(slug)?.ok_or_else(|| AuthError::AppMissing { app: slug.to_owned() })
    }
}
