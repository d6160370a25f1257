//! Connecting: by keys that a person pasted, or by OAuth in a browser.
//!
//! Promises: nothing is stored before the app's test request went through (unless the owner skips it); credentials go
//! to no host that the owner did not confirm; the nickname is unique, and two connects at once get two of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use deputy_declaration::template;
use deputy_declaration::types::{App, AuthKind, AuthMethod, InputKind};
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde::Serialize;
use url::Url;

use super::callback::{Listener, Page};
use super::reconnect::asked_again;
use super::verbs::counts;
use super::view::AccountView;
use super::{AccountError, Accounts, check, names};
use crate::auth::apps::{PinnedApp, oauth2_of};
use crate::auth::client::{RedirectUri, context, redirect_uri};
use crate::auth::error::AuthError;
use crate::auth::flow::{self, Again, FLOW_TTL, Flow};
use crate::auth::keys::{check_keys, inputs as check_inputs};
use crate::auth::oauth2::Asked;
use crate::auth::record::{Health, Held, Identity, Record};
use crate::auth::refresh::live;
use crate::auth::rows::{name_key, plain};
use crate::auth::{oauth2, obtain};
use crate::caller::{Caller, Owner};
use crate::egress::{Grant, Live, Tokens, TokensError};
use crate::ids::{AccountId, ClientId, FlowId};
use crate::store::Expect;
use crate::time::Time;
use crate::vault::Secret;

/// How often a derived nickname is looked for again when somebody else took it at the same moment.
const NAME_ATTEMPTS: usize = 8;

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

/// Everything of an account but its name.
struct Candidate {
    owner: Owner,
    pinned: PinnedApp,
    method: String,
    inputs: BTreeMap<String, String>,
    client: Option<ClientId>,
    tokens: BTreeMap<String, Held>,
    raw_reply: Option<Secret>,
    asked: Asked,
    nickname: Option<String>,
    skip_check: bool,
    again: Option<Again>,
}

impl Accounts {
    /// The current version, if it is the one that was agreed to: secrets typed for one app never go to another.
    fn agreed(&self, app: &str, hash: Option<&str>) -> Result<PinnedApp, AccountError> {
        let pinned = self.current(app)?;
        match hash {
            Some(hash) if hash != pinned.hash => Err(AccountError::AppChanged { app: app.to_owned() }),
            _ => Ok(pinned),
        }
    }

    pub async fn connect_keys(&self, caller: &Caller, connect: ConnectKeys) -> Result<Connected, AccountError> {
        let pinned = self.agreed(&connect.app, connect.app_hash.as_deref())?;
        let is_keys = |method: &AuthMethod| matches!(method.kind, AuthKind::Keys);
        let method = choose(&pinned, connect.method.as_deref(), is_keys, "in a browser, by OAuth")?;
        let old = self.old(&caller.owner, connect.again.as_ref(), &connect.app).await?;
        let inputs = inputs_of(&pinned.app, connect.inputs, old.as_ref())?;
        check_keys(method, &connect.tokens)?;
        self.free_name(&caller.owner, &connect.app, connect.nickname.as_deref()).await?;
        confirm(&pinned, &inputs, connect.confirm_host, old.as_ref())?;
        let held = |value| Held { value, refresh: None, expires_at: None, lifetime_s: None, scopes: Vec::new() };
        let candidate = Candidate {
            owner: caller.owner.clone(),
            method: method.id.clone(),
            pinned: pinned.clone(),
            inputs,
            client: None,
            tokens: connect.tokens.into_iter().map(|(name, value)| (name, held(value))).collect(),
            raw_reply: None,
            asked: Asked::new(),
            nickname: connect.nickname,
            skip_check: connect.skip_check,
            again: connect.again,
        };
        self.admit(caller, candidate).await
    }

    /// Where the browser will be sent back to, and what the provider thinks of it.
    pub fn redirect(
        &self,
        owner: &Owner,
        app: &str,
        method: Option<&str>,
    ) -> Result<(String, RedirectUri), AccountError> {
        let pinned = self.current(app)?;
        let method = choose(&pinned, method, |method| oauth2_of(method).is_some(), "by pasting a key")?;
        Ok((method.id.clone(), self.redirect_of(owner, &pinned, method)?))
    }

    fn redirect_of(&self, owner: &Owner, pinned: &PinnedApp, method: &AuthMethod) -> Result<RedirectUri, AccountError> {
        let oauth2 = oauth2_of(method).ok_or_else(|| AuthError::MethodKind {
            app: pinned.app.slug.clone(),
            method: method.id.clone(),
            how: "by pasting a key",
        })?;
        let mut callback = self.callback.clone();
        if callback.listen.port() == 0 {
            // RFC 8252 section 7.3: any port, the one that was given to us.
            callback.listen = self.bound.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(callback.listen);
        }
        Ok(redirect_uri(oauth2, &context(&self.rows, owner, &pinned.app.slug, &method.id), &callback))
    }

    pub async fn connect_begin(&self, caller: &Caller, connect: ConnectOAuth) -> Result<Begun, AccountError> {
        let owner = &caller.owner;
        let pinned = self.agreed(&connect.app, connect.app_hash.as_deref())?;
        let app = &pinned.app;
        let method =
            choose(&pinned, connect.method.as_deref(), |method| oauth2_of(method).is_some(), "by pasting a key")?;
        let redirect = self.redirect_of(owner, &pinned, method)?;
        let Some(declared) = oauth2_of(method) else {
            return Err(AuthError::Internal("an OAuth method without OAuth".to_owned()).into());
        };
        let old = self.old(owner, connect.again.as_ref(), &connect.app).await?;
        let inputs = inputs_of(app, connect.inputs, old.as_ref())?;
        self.free_name(owner, &connect.app, connect.nickname.as_deref()).await?;
        confirm(&pinned, &inputs, connect.confirm_host, old.as_ref())?;
        let chosen = oauth2::scopes(app, declared, connect.scopes.as_deref())?;
        let added = oauth2::scopes(app, declared, Some(&connect.add_scopes))?;
        let asked = match &old {
            Some(old) if connect.scopes.is_none() => asked_again(old, chosen, added),
            _ => oauth2::with_more(chosen, added),
        };
        let client = self
            .rows
            .current_client(owner, &app.slug, &method.id)
            .await?
            .ok_or_else(|| AuthError::ClientMissing { app: app.slug.clone(), redirect_uri: redirect.uri.clone() })?;
        // Refused now rather than after a person has consented.
        client.value.for_endpoints(app, method, &inputs)?;

        self.rows.sweep_flows(owner).await?;
        let id = FlowId::new();
        let state = flow::new_state(&id)?;
        let verifier = oauth2::verifier(declared);
        let authorize = declared
            .authorize_url
            .as_ref()
            .ok_or_else(|| AuthError::Internal(format!("{} has no page to open", app.slug)))?;
        let page = template::url(app, authorize, &inputs, "authorize-url").map_err(AuthError::from)?;
        let url = oauth2::authorize_url(
            declared,
            page,
            &client.value.client_id,
            &redirect.uri,
            &state,
            verifier.as_ref(),
            &asked,
        )?;
        let expires_at = self.rows.now().plus(FLOW_TTL);
        let flow = Flow {
            id: id.clone(),
            owner: owner.clone(),
            state_hash: flow::hash_of(&state),
            verifier,
            redirect_uri: redirect.uri.clone(),
            issuer: declared.issuer.clone(),
            app: app.slug.clone(),
            declaration: pinned.hash.clone(),
            method: method.id.clone(),
            client: client.value.id.clone(),
            inputs,
            asked,
            nickname: connect.nickname,
            skip_check: connect.skip_check,
            again: connect.again,
            expires_at,
        };
        self.apps.keep(&pinned.hash).map_err(AuthError::Internal)?;
        self.rows.put_flow(&flow).await?;
        let (redirect_uri, warning) = (redirect.uri, redirect.warning);
        Ok(Begun { flow: id, authorize_url: url.to_string(), redirect_uri, warning, expires_at })
    }

    /// The answer of the browser, as the URL it ended on. A foreign answer changes nothing; the flow's own is used up.
    pub async fn connect_finish(&self, caller: &Caller, id: &FlowId, answer: &str) -> Result<Connected, AccountError> {
        let owner = &caller.owner;
        let waiting = self.rows.flow(owner, id).await?.ok_or(AuthError::StateUnknown)?;
        let callback = flow::Callback::read(answer, &waiting.value.redirect_uri)?;
        let flow = self.rows.take_flow(owner, Some(id), &callback.state).await?;
        let code = flow.code(callback)?;
        let pinned =
            self.apps.pinned(&flow.declaration)?.ok_or_else(|| AuthError::AppMissing { app: flow.app.clone() })?;
        let obtained = obtain::exchange(&self.rows, &*self.road, caller, &flow, &pinned, &code).await?;
        let candidate = Candidate {
            owner: owner.clone(),
            pinned,
            method: flow.method,
            inputs: flow.inputs,
            client: Some(flow.client),
            tokens: obtained.tokens,
            raw_reply: obtained.raw,
            asked: flow.asked,
            nickname: flow.nickname,
            skip_check: flow.skip_check,
            again: flow.again,
        };
        self.admit(caller, candidate).await
    }

    /// Waits at the listener until this flow has its answer. What strangers send is refused and waited over.
    pub async fn connect_wait(
        &self,
        caller: &Caller,
        mut listener: Listener,
        id: &FlowId,
    ) -> Result<Connected, AccountError> {
        let deadline = tokio::time::Instant::now() + FLOW_TTL;
        loop {
            let visit = match tokio::time::timeout_at(deadline, listener.next()).await {
                Ok(Some(visit)) => visit,
                Ok(None) | Err(_) => return Err(AccountError::CallbackTimeout),
            };
            let result = self.connect_finish(caller, id, &visit.url).await;
            let page = match &result {
                Ok(connected) => Page::connected(&connected.account.name),
                Err(error) => Page::refused(StatusCode::BAD_REQUEST, error.to_string()),
            };
            visit.answer(page);
            match result {
                Err(AccountError::Auth(
                    AuthError::StateUnknown | AuthError::CallbackElsewhere { .. } | AuthError::CallbackMalformed { .. },
                )) => {}
                result => {
                    listener.close().await;
                    return result;
                }
            }
        }
    }

    pub async fn listen(&self) -> Result<Listener, AccountError> {
        let listener = Listener::bind(&self.callback).await?;
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener.address());
        Ok(listener)
    }

    /// Tests a candidate, names it, stores it.
    async fn admit(&self, caller: &Caller, candidate: Candidate) -> Result<Connected, AccountError> {
        let now = self.rows.now();
        let app = candidate.pinned.app.clone();
        let origins = template::origins(&app, &candidate.inputs).map_err(AuthError::from)?;
        let mut record = Record {
            id: AccountId::new(),
            owner: candidate.owner.clone(),
            app: app.slug.clone(),
            nickname: String::new(),
            declaration: candidate.pinned.hash.clone(),
            method: candidate.method,
            inputs: candidate.inputs,
            origins: origins.iter().map(url::Origin::ascii_serialization).collect(),
            client: candidate.client,
            identity: Identity::default(),
            tokens: candidate.tokens,
            secrets: 1,
            obtained_at: now,
            created_at: now,
            previous: Vec::new(),
            raw_reply: candidate.raw_reply,
            health: Health::Ok,
            checked_at: None,
            asked: candidate.asked,
            disabled: false,
        };
        self.apps.keep(&candidate.pinned.hash).map_err(AuthError::Internal)?;
        let (checked, note) = match (&app.test, candidate.skip_check) {
            (Some(test), false) => {
                let grant = Grant::whole(caller.clone(), record.id.clone());
                let tokens = Unstored(Arc::new(live(&*self.apps, &record)?));
                let tested = check::check(&*self.road, &grant, &tokens, &app.slug, test, false).await;
                match tested {
                    Ok(identity) => record.identity = identity,
                    // A grant that is not kept must not stay behind at the provider.
                    Err(error) if record.client.is_some() => {
                        let revoked = self.revoke(caller, &record).await;
                        return Err(AccountError::NotAdmitted { error: Box::new(error), revoked });
                    }
                    Err(error) => return Err(error),
                }
                record.checked_at = Some(now);
                (true, None)
            }
            (Some(_), true) => (false, Some("not checked, as you asked".to_owned())),
            (None, _) => (false, Some(format!("not checked: {} declares no test request", app.slug))),
        };
        if let Some(again) = &candidate.again {
            return match self.store_again(&mut record, again).await {
                Ok(()) => Ok(Connected { account: (&record).into(), checked, note }),
                // The other person's grant is not kept, so it must not stay behind either.
                Err(error @ AccountError::OtherIdentity { .. }) if record.client.is_some() => {
                    let revoked = self.revoke(caller, &record).await;
                    Err(AccountError::NotAdmitted { error: Box::new(error), revoked })
                }
                Err(error) => Err(error),
            };
        }
        let twin = self.store_new(&mut record, candidate.nickname).await?;
        let note = match (note, twin) {
            (Some(note), Some(twin)) => Some(format!("{note}; {twin}")),
            (note, twin) => note.or(twin),
        };
        Ok(Connected { account: (&record).into(), checked, note })
    }

    /// Stores a new account; says so when the provider's same identity has an account already.
    async fn store_new(&self, record: &mut Record, nickname: Option<String>) -> Result<Option<String>, AccountError> {
        let owner = record.owner.clone();
        let base = nickname.clone().unwrap_or_else(|| names::derive(record.identity.shown()));
        let twin = match (&nickname, &record.identity.id) {
            (None, Some(identity)) => self.twin(&owner, &record.app, &base, identity).await?,
            _ => None,
        };
        for _ in 0..NAME_ATTEMPTS {
            record.nickname = match &nickname {
                Some(nickname) => nickname.clone(),
                None => names::free(&self.rows, &owner, &record.app, &base, &record.id).await?,
            };
            let mut operations = self.rows.put_account(record, 0)?;
            let name = name_key(&owner, &record.app, &record.nickname);
            operations.push(plain(name, &record.id, Expect::Absent)?);
            operations.extend(counts(record, 1));
            if let Some(client) = &record.client {
                operations.push(self.rows.client_unchanged(&owner, &record.app, client).await?);
            }
            match self.rows.commit(operations).await {
                Err(error) if error.is_conflict() && nickname.is_some() => {
                    return Err(AccountError::NameTaken { name: record.name() });
                }
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(twin),
            }
        }
        Err(AccountError::Busy)
    }

    /// Some providers end an older grant when the same person gives a second one: the owner should know.
    async fn twin(
        &self,
        owner: &Owner,
        app: &str,
        nickname: &str,
        identity: &str,
    ) -> Result<Option<String>, AccountError> {
        let Some(id) = self.rows.named(owner, app, nickname).await? else { return Ok(None) };
        // A damaged record beside it is told when somebody uses it.
        let other = self.rows.account(owner, &id).await.unwrap_or_default();
        let same = other.is_some_and(|other| other.value.identity.id.as_deref() == Some(identity));
        Ok(same.then(|| format!("{app}/{nickname} is the same identity; delete the one you do not need")))
    }

    /// The account that is connected anew, if one is.
    async fn old(&self, owner: &Owner, again: Option<&Again>, app: &str) -> Result<Option<Record>, AccountError> {
        match again {
            Some(again) => Ok(Some(self.again(owner, again, app).await?)),
            None => Ok(None),
        }
    }

    /// A chosen nickname must be sound and free before anything is sent.
    async fn free_name(&self, owner: &Owner, app: &str, nickname: Option<&str>) -> Result<(), AccountError> {
        let Some(nickname) = nickname else { return Ok(()) };
        names::check(nickname)?;
        match self.rows.named(owner, app, nickname).await? {
            Some(_) => Err(AccountError::NameTaken { name: format!("{app}/{nickname}") }),
            None => Ok(()),
        }
    }
}

/// The inputs given; for an account that is there, its own where none is given.
fn inputs_of(
    app: &App,
    mut given: BTreeMap<String, String>,
    old: Option<&Record>,
) -> Result<BTreeMap<String, String>, AuthError> {
    for (name, value) in old.iter().flat_map(|old| &old.inputs) {
        // An app that changed since may not ask for it any more.
        if app.inputs.iter().any(|input| input.name == *name) {
            given.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    check_inputs(app, &given)
}

/// The method asked for, or the first that fits.
fn choose<'a>(
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

/// A host of the owner's choice gets credentials only after the owner said so.
fn confirm(
    pinned: &PinnedApp,
    inputs: &BTreeMap<String, String>,
    confirmed: bool,
    old: Option<&Record>,
) -> Result<(), AccountError> {
    for input in pinned.app.inputs.iter().filter(|input| input.kind == InputKind::BaseUrl && input.hosts.is_empty()) {
        let as_before = old.is_some_and(|old| old.inputs.get(&input.name) == inputs.get(&input.name));
        if confirmed || as_before {
            continue;
        }
        let url = inputs.get(&input.name).and_then(|value| Url::parse(value).ok());
        let host = url.map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        return Err(AccountError::HostUnconfirmed { host });
    }
    Ok(())
}

/// An account that is tested before it is stored: nothing of it can be refreshed.
struct Unstored(Arc<Live>);

impl Tokens for Unstored {
    fn live<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        let found = if grant.account == self.0.account { Ok(self.0.clone()) } else { Err(TokensError::NotFound) };
        Box::pin(std::future::ready(found))
    }

    fn renew<'a>(&'a self, _: &'a Grant, _: u64) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        let name = self.0.name.clone();
        Box::pin(async { Err(TokensError::NotRenewable { name }) })
    }

    fn revoked<'a>(&'a self, _: &'a Grant, _: u64) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
