//! The verbs about accounts, and about the OAuth clients they are made with.

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::types::{App, AuthKind, AuthMethod, Input, InputKind, InputSource, Setup, Token};
use serde::Serialize;

use super::{Caller, Deputy, Error};
use crate::account;
use crate::app::{AppError, Catalog, Pinned};
use crate::auth::apps::{Apps, PinnedApp, oauth2_of};
use crate::auth::client::{NewClient, mentions};
use crate::auth::error::AuthError;
use crate::ids::{AccountId, FlowId};
use crate::vault::Secret;

pub use crate::auth::flow::Again;

pub use crate::account::{
    AccountList, AccountSummary, AccountView, AccountsPage, Begun, ConnectKeys, ConnectOAuth, Connected, Deleted,
    DeviceBegun, Listener, Tested, TokenView,
};

/// What connecting will ask for.
#[derive(Debug, Serialize)]
pub struct ConnectPlan {
    pub app: String,
    /// The version that the person was asked about. Connecting with another one is refused.
    pub app_hash: String,
    /// The app's name, as its vendor writes it.
    pub name: String,
    pub method: String,
    /// `keys`, `exchange` or `oauth2`
    pub kind: &'static str,
    /// By a device code and not in a browser.
    pub device: bool,
    pub help: Option<String>,
    /// The provider's page about the method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// What a person is asked.
    pub inputs: Vec<Input>,
    /// What a person pastes.
    pub tokens: Vec<Token>,
    /// The account that is connected anew; none: a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
}

impl ConnectPlan {
    /// The base URL of the owner's choice, which must be confirmed; none where the app knows its hosts.
    pub fn owner_host<'a>(&self, inputs: &'a BTreeMap<String, String>) -> Option<&'a str> {
        let input = self.inputs.iter().find(|input| input.kind == InputKind::BaseUrl && input.hosts.is_empty())?;
        inputs.get(&input.name).map(String::as_str)
    }
}

/// A redirect URI to register at the provider.
#[derive(Debug, Serialize)]
pub struct ClientRedirect {
    pub app: String,
    pub method: String,
    pub redirect_uri: String,
    /// Nobody can listen there: connect with --paste.
    pub paste_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Nobody is sent there: the method knows device codes only.
    pub device_only: bool,
    /// How to register the client at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<Setup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// What `client set` asks besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
}

#[derive(Debug)]
pub struct ClientSet {
    pub app: String,
    /// None: the app's first OAuth method.
    pub method: Option<String>,
    pub client_id: String,
    /// None: a public client.
    pub secret: Option<Secret>,
    /// Those of the client, and an owner's base URL that decides the token endpoint.
    pub inputs: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub struct ClientView {
    pub id: String,
    pub client_id: String,
    #[serde(flatten)]
    pub redirect: ClientRedirect,
}

#[derive(Debug, Serialize)]
pub struct ClientList {
    pub clients: Vec<ClientView>,
}

#[derive(Debug, Serialize)]
pub struct ClientRemoved {
    pub app: String,
    pub removed: bool,
}

impl Deputy {
    /// `device`: by a device code, also where there is a browser.
    pub async fn connect_plan(
        &self,
        _caller: &Caller,
        app: &str,
        method: Option<&str>,
        device: bool,
    ) -> Result<ConnectPlan, Error> {
        let Pinned { app, hash, .. } = self.catalog.current(app)?;
        let found = match method {
            Some(id) => app.methods.iter().find(|method| method.id == id),
            None => app.methods.first(),
        };
        let method = found.ok_or_else(|| {
            let known: Vec<_> = app.methods.iter().map(|method| method.id.as_str()).collect();
            let (app, method, known) = (app.slug.clone(), method.unwrap_or_default().to_owned(), known.join(", "));
            AuthError::MethodUnknown { app, method, known }
        })?;
        let kind = match method.kind {
            AuthKind::Keys => "keys",
            AuthKind::OAuth2Code(_) => "oauth2",
            AuthKind::Exchange(_) => "exchange",
        };
        let oauth2 = oauth2_of(method);
        if device && oauth2.is_none_or(|oauth2| oauth2.device_url.is_none()) {
            let message = format!("{} --method {} knows no device code", app.slug, method.id);
            return Err(Error::new("usage", message).with_fix("leave --device out"));
        }
        let device = device || oauth2.is_some_and(|oauth2| oauth2.authorize_url.is_none());
        Ok(ConnectPlan {
            app: app.slug.clone(),
            app_hash: hash,
            name: app.name.clone(),
            method: method.id.clone(),
            kind,
            device,
            help: method.help.clone(),
            docs: method.docs.clone(),
            inputs: account::asked(&app, method, device),
            tokens: method.tokens.iter().filter(|token| token.reply.is_none()).cloned().collect(),
            account: None,
        })
    }

    /// As [`Self::connect_plan`], for an account that is there: its method, and inputs it does not have yet.
    pub async fn reconnect_plan(
        &self,
        caller: &Caller,
        account: &str,
        method: Option<&str>,
        device: bool,
    ) -> Result<ConnectPlan, Error> {
        let known = self.opened().await?.accounts.reconnecting(caller, account).await?;
        let mut plan = self.connect_plan(caller, &known.app, Some(method.unwrap_or(&known.method)), device).await?;
        plan.inputs.retain(|input| !known.inputs.contains_key(&input.name));
        plan.account = Some(known.account);
        Ok(plan)
    }

    pub async fn connect_keys(&self, caller: &Caller, connect: ConnectKeys) -> Result<Connected, Error> {
        Ok(self.opened().await?.accounts.connect_keys(caller, connect).await?)
    }

    /// Binds the callback address; before `connect_begin`, so that no browser finds nobody.
    pub async fn connect_listen(&self, _caller: &Caller) -> Result<Listener, Error> {
        Ok(self.opened().await?.accounts.listen().await?)
    }

    pub async fn connect_begin(&self, caller: &Caller, connect: ConnectOAuth) -> Result<Begun, Error> {
        Ok(self.opened().await?.accounts.connect_begin(caller, connect).await?)
    }

    pub async fn connect_wait(&self, caller: &Caller, listener: Listener, flow: &FlowId) -> Result<Connected, Error> {
        Ok(self.opened().await?.accounts.connect_wait(caller, listener, flow).await?)
    }

    pub async fn device_begin(&self, caller: &Caller, connect: ConnectOAuth) -> Result<DeviceBegun, Error> {
        Ok(self.opened().await?.accounts.device_begin(caller, connect).await?)
    }

    /// Until a person has entered the code, or will not any more.
    pub async fn device_wait(&self, caller: &Caller, flow: &FlowId) -> Result<Connected, Error> {
        Ok(self.opened().await?.accounts.device_wait(caller, flow).await?)
    }

    /// With the address that the browser ended on.
    pub async fn connect_paste(&self, caller: &Caller, flow: &FlowId, url: &str) -> Result<Connected, Error> {
        Ok(self.opened().await?.accounts.connect_finish(caller, flow, url).await?)
    }

    pub async fn account_list(&self, caller: &Caller, list: AccountList) -> Result<AccountsPage, Error> {
        Ok(self.opened().await?.accounts.list(caller, list).await?)
    }

    pub async fn account_rename(&self, caller: &Caller, name: &str, nickname: &str) -> Result<AccountView, Error> {
        Ok(self.opened().await?.accounts.rename(caller, name, nickname).await?)
    }

    pub async fn account_test(&self, caller: &Caller, name: &str) -> Result<Tested, Error> {
        Ok(self.opened().await?.accounts.test(caller, name).await?)
    }

    /// The redirect URI of an app's client, before there is a client.
    pub async fn client_redirect(
        &self,
        caller: &Caller,
        app: &str,
        method: Option<&str>,
    ) -> Result<ClientRedirect, Error> {
        // An app that does not exist is told with a guess, by the catalog.
        let app = self.catalog.current(app)?.app;
        let (method, redirect) = self.opened().await?.accounts.redirect(&caller.owner, &app.slug, method)?;
        let found = app.methods.iter().find(|known| known.id == method);
        Ok(ClientRedirect {
            app: app.slug.clone(),
            method,
            redirect_uri: redirect.uri,
            paste_only: redirect.paste_only,
            warning: redirect.warning,
            device_only: found.and_then(oauth2_of).is_some_and(|oauth2| oauth2.authorize_url.is_none()),
            setup: found.and_then(|method| method.setup.clone()),
            docs: found.and_then(|method| method.docs.clone()),
            inputs: found.map(|method| client_inputs(&app, method)).unwrap_or_default(),
        })
    }

    pub async fn client_set(&self, caller: &Caller, set: ClientSet) -> Result<ClientView, Error> {
        let redirect = self.client_redirect(caller, &set.app, set.method.as_deref()).await?;
        let app = self.catalog.current(&set.app)?.app;
        let Some(method) = app.methods.iter().find(|method| method.id == redirect.method) else {
            return Err(Error::new("method_unknown", format!("{} has no method `{}`", app.slug, redirect.method)));
        };
        let new = NewClient { client_id: set.client_id, secret: set.secret };
        let rows = self.opened().await?.accounts.rows();
        let client = rows.set_client(&caller.owner, &app, method, new, &set.inputs).await?;
        Ok(ClientView { id: client.id.to_string(), client_id: client.client_id, redirect })
    }

    pub async fn client_list(&self, caller: &Caller) -> Result<ClientList, Error> {
        let mut clients = Vec::new();
        for client in self.opened().await?.accounts.rows().clients(&caller.owner).await? {
            // A client whose app was removed since is still listed: it can be removed.
            let redirect = match self.client_redirect(caller, &client.app, Some(&client.method)).await {
                Ok(redirect) => redirect,
                Err(error) => ClientRedirect {
                    app: client.app.clone(),
                    method: client.method.clone(),
                    redirect_uri: String::new(),
                    paste_only: false,
                    warning: Some(error.message),
                    device_only: false,
                    setup: None,
                    docs: None,
                    inputs: Vec::new(),
                },
            };
            clients.push(ClientView { id: client.id.to_string(), client_id: client.client_id, redirect });
        }
        Ok(ClientList { clients })
    }

    /// Refused while accounts need it for their refresh.
    pub async fn client_remove(&self, caller: &Caller, app: &str) -> Result<ClientRemoved, Error> {
        let rows = self.opened().await?.accounts.rows();
        let mut removed = false;
        for client in rows.clients(&caller.owner).await?.iter().filter(|client| client.app == app) {
            removed |= rows.remove_client(&caller.owner, app, &client.method).await?.is_some();
        }
        if !removed {
            return Err(Error::new("client_missing", format!("no OAuth client is registered for `{app}`"))
                .with_fix("see `deputy client list`"));
        }
        Ok(ClientRemoved { app: app.to_owned(), removed })
    }

    /// An app whose accounts would be left without it.
    pub(super) async fn refuse_while_used(&self, caller: &Caller, slug: &str) -> Result<(), Error> {
        let count = self.opened().await?.accounts.count_of(&caller.owner, slug).await?;
        if count == 0 {
            let clients = self.opened().await?.accounts.rows().clients(&caller.owner).await?;
            if clients.iter().any(|client| client.app == slug) {
                return Err(Error::new("app_in_use", format!("`{slug}` still has an OAuth client"))
                    .with_fix(format!("run `deputy client remove {slug}` first")));
            }
            return Ok(());
        }
        let plural = if count == 1 { "account" } else { "accounts" };
        let fix = format!("see `deputy account list --app {slug}`, and delete them first");
        Err(Error::new("app_in_use", format!("`{slug}` still has {count} {plural}")).with_fix(fix))
    }
}

fn client_inputs(app: &App, method: &AuthMethod) -> Vec<Input> {
    let asked = |input: &&Input| input.source == InputSource::Client && mentions(app, method, &input.name);
    app.inputs.iter().filter(asked).cloned().collect()
}

impl From<account::AccountError> for Error {
    fn from(error: account::AccountError) -> Self {
        let mut carried = Error::new(error.code(), error.to_string());
        carried.fix = error.fix();
        carried.candidates = error.candidates();
        carried
    }
}

/// The catalog, as the account rooms want it.
pub(super) struct Declared(pub Arc<Catalog>);

impl Apps for Declared {
    fn current(&self, slug: &str) -> Result<Option<PinnedApp>, AuthError> {
        found(self.0.current(slug))
    }

    fn pinned(&self, hash: &str) -> Result<Option<PinnedApp>, AuthError> {
        found(self.0.pinned(hash))
    }

    fn keep(&self, hash: &str) -> Result<(), String> {
        self.0.keep(hash).map_err(|error| error.to_string())
    }
}

/// An app that is not there is none; one that is there and cannot be used is an error, told as the catalog tells it.
fn found(pinned: Result<Pinned, AppError>) -> Result<Option<PinnedApp>, AuthError> {
    match pinned {
        Ok(Pinned { hash, app, .. }) => Ok(Some(PinnedApp { hash, app })),
        Err(AppError::Unknown { .. } | AppError::UnknownVersion { .. }) => Ok(None),
        Err(error) => Err(AuthError::Catalog { code: error.code(), message: error.to_string(), fix: error.fix() }),
    }
}
