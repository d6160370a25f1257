//! Connecting by OAuth in a browser (RFC 6749 section 4.1), and what the device flow shares with it.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use deputy_declaration::template;
use deputy_declaration::types::{AuthMethod, OAuth2};
use http::StatusCode;

use super::admit::Candidate;
use super::callback::{Listener, Page};
use super::connect::{Begun, ConnectOAuth, Connected, choose};
use super::discover::from_callback;
use super::inputs::{Way, confirm, known};
use super::reconnect::asked_again;
use super::{AccountError, Accounts};
use crate::auth::apps::{PinnedApp, oauth2_of};
use crate::auth::client::{Client, RedirectUri, context, redirect_uri};
use crate::auth::error::AuthError;
use crate::auth::flow::{self, FLOW_TTL, Flow};
use crate::auth::obtain::Obtained;
use crate::auth::{oauth2, obtain};
use crate::caller::{Caller, Owner};
use crate::ids::FlowId;
use crate::vault::Secret;

/// A flow that is not stored yet, and what it was made of.
pub(super) struct Opened {
    pub pinned: PinnedApp,
    pub flow: Flow,
    pub state: Secret,
    pub client: Client,
    pub redirect: RedirectUri,
}

impl Opened {
    pub fn method(&self) -> Result<(&AuthMethod, &OAuth2), AuthError> {
        let found = self.pinned.method(&self.flow.method).and_then(|(_, method)| Some((method, oauth2_of(method)?)));
        found.ok_or_else(|| AuthError::Internal("an OAuth method without OAuth".to_owned()))
    }
}

impl Accounts {
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

    /// Everything that can be refused before a person consents.
    pub(super) async fn open_flow(
        &self,
        caller: &Caller,
        connect: ConnectOAuth,
        way: Way,
    ) -> Result<Opened, AccountError> {
        let owner = &caller.owner;
        let pinned = self.agreed(&connect.app, connect.app_hash.as_deref())?;
        let app = &pinned.app;
        let method =
            choose(&pinned, connect.method.as_deref(), |method| oauth2_of(method).is_some(), "by pasting a key")?;
        let kind = |how| AuthError::MethodKind { app: app.slug.clone(), method: method.id.clone(), how };
        let declared = oauth2_of(method).ok_or_else(|| kind("by pasting a key"))?;
        match way {
            Way::Browser if declared.authorize_url.is_none() => return Err(kind("with a device code").into()),
            Way::Device if declared.device_url.is_none() => return Err(kind("in a browser, not with a code").into()),
            _ => {}
        }
        let redirect = self.redirect_of(owner, &pinned, method)?;
        let old = self.old(owner, connect.again.as_ref(), &connect.app).await?;
        let client = self
            .rows
            .current_client(owner, &app.slug, &method.id)
            .await?
            .ok_or_else(|| AuthError::ClientMissing { app: app.slug.clone(), redirect_uri: redirect.uri.clone() })?
            .value;
        let moves = connect.again.as_ref().is_some_and(|again| again.other_identity);
        let before = old.as_ref().map(|old| (old, moves));
        let inputs = known(app, method, way, &connect.inputs, before, Some(&client))?;
        self.free_name(owner, &connect.app, connect.nickname.as_deref()).await?;
        confirm(app, &inputs.values, connect.confirm_host, old.as_ref())?;
        let chosen = oauth2::scopes(app, declared, connect.scopes.as_deref())?;
        let added = oauth2::scopes(app, declared, Some(&connect.add_scopes))?;
        let asked = match &old {
            Some(old) if connect.scopes.is_none() => asked_again(old, chosen, added),
            _ => oauth2::with_more(chosen, added),
        };
        // Refused now rather than after a person has consented.
        client.for_endpoints(app, method, &inputs.values)?;
        self.rows.sweep_flows(owner).await?;
        let id = FlowId::new();
        let state = flow::new_state(&id)?;
        let flow = Flow {
            id,
            owner: owner.clone(),
            state_hash: flow::hash_of(&state),
            verifier: if way == Way::Browser { oauth2::verifier(declared) } else { None },
            redirect_uri: redirect.uri.clone(),
            issuer: declared.issuer.clone(),
            app: app.slug.clone(),
            declaration: pinned.hash.clone(),
            method: method.id.clone(),
            client: client.id.clone(),
            inputs: inputs.values,
            asked,
            nickname: connect.nickname,
            skip_check: connect.skip_check,
            again: connect.again,
            expected: inputs.expected,
            device: None,
            expires_at: self.rows.now().plus(FLOW_TTL),
        };
        Ok(Opened { pinned: pinned.clone(), flow, state, client, redirect })
    }

    pub async fn connect_begin(&self, caller: &Caller, connect: ConnectOAuth) -> Result<Begun, AccountError> {
        let opened = self.open_flow(caller, connect, Way::Browser).await?;
        let (_, declared) = opened.method()?;
        let app = &opened.pinned.app;
        let Opened { flow, state, client, redirect, .. } = &opened;
        let authorize = declared
            .authorize_url
            .as_ref()
            .ok_or_else(|| AuthError::Internal(format!("{} has no page to open", app.slug)))?;
        let page = template::url(app, authorize, &flow.inputs, "authorize-url").map_err(AuthError::from)?;
        let (id, verifier) = (&client.client_id, flow.verifier.as_ref());
        let url = oauth2::authorize_url(declared, page, id, &redirect.uri, state, verifier, &flow.asked)?;
        self.apps.keep(&opened.pinned.hash).map_err(AuthError::Internal)?;
        self.rows.put_flow(flow).await?;
        Ok(Begun {
            flow: flow.id.clone(),
            authorize_url: url.to_string(),
            redirect_uri: redirect.uri.clone(),
            warning: redirect.warning.clone(),
            expires_at: flow.expires_at,
        })
    }

    /// The declaration that a flow began under.
    pub(super) fn begun_under(&self, flow: &Flow) -> Result<PinnedApp, AuthError> {
        self.apps.pinned(&flow.declaration)?.ok_or_else(|| AuthError::AppMissing { app: flow.app.clone() })
    }

    /// The answer of the browser, as the URL it ended on. A foreign answer changes nothing; the flow's own is used up.
    pub async fn connect_finish(&self, caller: &Caller, id: &FlowId, answer: &str) -> Result<Connected, AccountError> {
        let owner = &caller.owner;
        let waiting = self.rows.flow(owner, id).await?.ok_or(AuthError::StateUnknown)?.value;
        let pinned = self.begun_under(&waiting)?;
        let unknown = || AuthError::Internal("an OAuth method without OAuth".to_owned());
        let (_, method) = pinned.method(&waiting.method).ok_or_else(unknown)?;
        let declared = oauth2_of(method).ok_or_else(unknown)?;
        let fields = flow::Fields::of(&pinned.app, declared);
        let mut callback = flow::Callback::read(answer, &waiting.redirect_uri, &fields)?;
        let mut flow = self.rows.take_flow(owner, Some(id), &callback.state).await?;
        let fields: BTreeMap<String, String> = std::mem::take(&mut callback.fields);
        let code = flow.code(callback)?;
        from_callback(&pinned.app, method, &fields, &flow.expected, &mut flow.inputs)?;
        let obtained = obtain::exchange(&self.rows, &*self.road, caller, &flow, &pinned, &code).await?;
        self.admit_flow(caller, flow, pinned.clone(), Way::Browser, obtained).await
    }

    /// The account of a flow that brought tokens.
    pub(super) async fn admit_flow(
        &self,
        caller: &Caller,
        flow: Flow,
        pinned: PinnedApp,
        way: Way,
        obtained: Obtained,
    ) -> Result<Connected, AccountError> {
        let client = self.rows.client(&caller.owner, &flow.client).await?;
        let missing = || AuthError::ClientMissing { app: flow.app.clone(), redirect_uri: String::new() };
        let client_id = client.ok_or_else(missing)?.value.client_id;
        let candidate = Candidate {
            pinned,
            method: flow.method,
            way,
            inputs: flow.inputs,
            expected: flow.expected,
            client: Some((flow.client, client_id)),
            redirect_uri: Some(flow.redirect_uri),
            obtained,
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
}
