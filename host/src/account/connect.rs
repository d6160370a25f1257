//! Connecting: by keys that a person pasted; see `oauth` for a browser and `device` for a device code.
//!
//! Promises: nothing is stored before the app's test request went through (unless the owner skips it); credentials go
//! to no host that the owner did not confirm; the nickname is unique, and two connects at once get two of them.

use std::collections::BTreeMap;

use deputy_declaration::types::{App, AuthKind, AuthMethod, Input};
use serde::Serialize;

use super::admit::Candidate;
use super::inputs::{self, Way, confirm, known};
use super::view::AccountView;
use super::{AccountError, Accounts, names};
use crate::auth::apps::PinnedApp;
use crate::auth::error::AuthError;
use crate::auth::flow::Again;
use crate::auth::keys::check_keys;
use crate::auth::login::login;
use crate::auth::oauth2::Asked;
use crate::auth::obtain::Obtained;
use crate::auth::record::{Held, Record};
use crate::caller::{Caller, Owner};
use crate::ids::FlowId;
use crate::time::Time;
use crate::vault::Secret;

/// An account from pasted keys.
#[derive(Debug)]
pub struct ConnectKeys {
    pub app: String,
    /// The version that the person agreed to; none: whichever is current.
    pub app_hash: Option<String>,
    /// An id of a keys method; none: the app's first one.
    pub method: Option<String>,
    /// None: from the identity.
    pub nickname: Option<String>,
    pub inputs: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, Secret>,
    /// The owner agrees to the host that the inputs name.
    pub confirm_host: bool,
    /// Store without the app's test request.
    pub skip_check: bool,
    /// The account that gets the keys; none: a new one.
    pub again: Option<Again>,
}

/// An account by OAuth, begun.
#[derive(Debug)]
pub struct ConnectOAuth {
    pub app: String,
    /// The version that the person agreed to; none: whichever is current.
    pub app_hash: Option<String>,
    /// An id of an OAuth method; none: the app's first one.
    pub method: Option<String>,
    pub nickname: Option<String>,
    pub inputs: BTreeMap<String, String>,
    /// None: the app's defaults; for an account that is there, what it was asked for before.
    pub scopes: Option<Vec<String>>,
    /// Asked for besides.
    pub add_scopes: Vec<String>,
    pub confirm_host: bool,
    pub skip_check: bool,
    /// The account that gets the tokens; none: a new one.
    pub again: Option<Again>,
}

/// What a browser needs to go on.
#[derive(Debug, Serialize)]
pub struct Begun {
    pub flow: FlowId,
    pub authorize_url: String,
    pub redirect_uri: String,
    /// What a person must know about the redirect URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    pub expires_at: Time,
}

#[derive(Debug, Serialize)]
pub struct Connected {
    pub account: AccountView,
    /// The test request went through.
    pub checked: bool,
    /// Why it was not made, or what else the owner should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Accounts {
    /// The current version, if it is the one that was agreed to: secrets typed for one app never go to another.
    pub(super) fn agreed(&self, app: &str, hash: Option<&str>) -> Result<PinnedApp, AccountError> {
        let pinned = self.current(app)?;
        match hash {
            Some(hash) if hash != pinned.hash => Err(AccountError::AppChanged { app: app.to_owned() }),
            _ => Ok(pinned),
        }
    }

    pub async fn connect_keys(&self, caller: &Caller, connect: ConnectKeys) -> Result<Connected, AccountError> {
        let pinned = self.agreed(&connect.app, connect.app_hash.as_deref())?;
        let is_pasted = |method: &AuthMethod| matches!(method.kind, AuthKind::Keys | AuthKind::Exchange(_));
        let method = choose(&pinned, connect.method.as_deref(), is_pasted, "in a browser, by OAuth")?;
        let old = self.old(&caller.owner, connect.again.as_ref(), &connect.app).await?;
        let moves = connect.again.as_ref().is_some_and(|again| again.other_identity);
        let before = old.as_ref().map(|old| (old, moves));
        let inputs = known(&pinned.app, method, Way::Paste, &connect.inputs, before, None)?;
        check_keys(method, &connect.tokens)?;
        self.free_name(&caller.owner, &connect.app, connect.nickname.as_deref()).await?;
        confirm(&pinned.app, &inputs.values, connect.confirm_host, old.as_ref())?;
        let obtained = match &method.kind {
            AuthKind::Exchange(_) => {
                login(&self.rows, &*self.road, caller, &pinned, method, &inputs.values, connect.tokens).await?
            }
            AuthKind::Keys | AuthKind::OAuth2Code(_) => {
                let tokens = connect.tokens.into_iter().map(|(name, value)| (name, Held::pasted(value))).collect();
                Obtained { tokens, raw: None, replies: Vec::new() }
            }
        };
        let candidate = Candidate {
            method: method.id.clone(),
            pinned: pinned.clone(),
            way: Way::Paste,
            inputs: inputs.values,
            expected: inputs.expected,
            client: None,
            redirect_uri: None,
            obtained,
            asked: Asked::new(),
            nickname: connect.nickname,
            skip_check: connect.skip_check,
            again: connect.again,
        };
        self.admit(caller, candidate).await
    }

    /// The account that is connected anew, if one is.
    pub(super) async fn old(
        &self,
        owner: &Owner,
        again: Option<&Again>,
        app: &str,
    ) -> Result<Option<Record>, AccountError> {
        match again {
            Some(again) => Ok(Some(self.again(owner, again, app).await?)),
            None => Ok(None),
        }
    }

    /// A chosen nickname must be sound and free before anything is sent.
    pub(super) async fn free_name(&self, owner: &Owner, app: &str, nickname: Option<&str>) -> Result<(), AccountError> {
        let Some(nickname) = nickname else { return Ok(()) };
        names::check(nickname)?;
        match self.rows.named(owner, app, nickname).await? {
            Some(_) => Err(AccountError::NameTaken { name: format!("{app}/{nickname}") }),
            None => Ok(()),
        }
    }
}

/// The method asked for, or the first that fits.
pub(super) fn choose<'a>(
    pinned: &'a PinnedApp,
    id: Option<&str>,
    fits: impl Fn(&AuthMethod) -> bool,
    how: &'static str,
) -> Result<&'a AuthMethod, AuthError> {
    let app = &pinned.app;
    let known = || app.methods.iter().map(|method| method.id.as_str()).collect::<Vec<_>>().join(", ");
    match id {
        Some(id) => match pinned.method(id) {
            None => Err(AuthError::MethodUnknown { app: app.slug.clone(), method: id.to_owned(), known: known() }),
            Some((_, method)) if fits(method) => Ok(method),
            Some(_) => Err(AuthError::MethodKind { app: app.slug.clone(), method: id.to_owned(), how }),
        },
        None => app.methods.iter().find(|method| fits(method)).ok_or_else(|| AuthError::MethodKind {
            app: app.slug.clone(),
            method: known(),
            how,
        }),
    }
}

/// What a person is asked when an account is connected by this method.
pub fn asked(app: &App, method: &AuthMethod, device: bool) -> Vec<Input> {
    let way = match method.kind {
        AuthKind::OAuth2Code(_) if device => Way::Device,
        AuthKind::OAuth2Code(_) => Way::Browser,
        AuthKind::Keys | AuthKind::Exchange(_) => Way::Paste,
    };
    inputs::asked(app, method, way).cloned().collect()
}
