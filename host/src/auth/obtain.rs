//! The first tokens of an account, for a code.
//!
//! A code is sent once: an answer that got lost is told as such, never asked for again (RFC 6749 section 4.1.2).

use std::collections::BTreeMap;
use std::time::Instant;

use deputy_declaration::template;
use deputy_declaration::types::{App, AuthMethod, OAuth2};

use super::apps::{PinnedApp, oauth2_of};
use super::call::{Party, Values};
use super::client::Client;
use super::error::AuthError;
use super::errors::{Class, Memory};
use super::exchange::{self, Received};
use super::flow::Flow;
use super::oauth2::{self, ClientCredentials};
use super::record::{Held, MAX_RAW_BYTES};
use super::refusal::read_refusal;
use super::reply::Reply;
use super::road::{TokenAnswer, TokenRoad};
use super::rows::Rows;
use super::sequence::{Order, Step, Stopped, Why, run};
use crate::caller::Caller;
use crate::egress::TokenCall;
use crate::ids::ClientId;
use crate::killpoint::reach;
use crate::vault::Secret;

/// What a code was good for.
#[derive(Debug)]
pub struct Obtained {
    pub tokens: BTreeMap<String, Held>,
    /// The reply as it came, where it is not too long to keep.
    pub raw: Option<Secret>,
    /// Every reply, in order: they may say more than tokens.
    pub replies: Vec<Reply>,
}

/// The declaration that a flow began under, and its client.
pub(super) struct Parties<'a> {
    pub app: &'a App,
    pub method: &'a AuthMethod,
    pub declared: &'a OAuth2,
    pub client: Client,
    /// The hash of the declaration.
    pub version: &'a str,
}

impl<'a> Parties<'a> {
    pub async fn of(rows: &Rows, caller: &Caller, flow: &Flow, pinned: &'a PinnedApp) -> Result<Self, AuthError> {
        let app = &*pinned.app;
        let unknown =
            || AuthError::MethodUnknown { app: app.slug.clone(), method: flow.method.clone(), known: String::new() };
        let (_, method) = pinned.method(&flow.method).ok_or_else(unknown)?;
        let declared = oauth2_of(method).ok_or_else(unknown)?;
        let client = client(rows, caller, &app.slug, &flow.client).await?;
        Ok(Self { app, method, declared, client, version: &pinned.hash })
    }

    /// Whose hook reads the replies, where one does.
    pub fn reply_hook(&self) -> Option<String> {
        self.method.reply_hook.then(|| self.version.to_owned())
    }

    pub fn credentials(&self, flow: &Flow) -> Result<ClientCredentials<'_>, AuthError> {
        self.client.for_endpoints(self.app, self.method, &flow.inputs)
    }
}

/// Redeems a code with the declaration that the flow began under.
pub async fn exchange(
    rows: &Rows,
    road: &dyn TokenRoad,
    caller: &Caller,
    flow: &Flow,
    pinned: &PinnedApp,
    code: &Secret,
) -> Result<Obtained, AuthError> {
    let parties = Parties::of(rows, caller, flow, pinned).await?;
    let Parties { app, declared, .. } = parties;
    let credentials = parties.credentials(flow)?;
    let endpoint = template::url(app, &declared.token_url, &flow.inputs, "token-url")?;
    let verifier = flow.verifier.as_ref();
    let request = oauth2::exchange(app, declared, &endpoint, credentials, code, &flow.redirect_uri, verifier)?;
    let call = TokenCall {
        caller: caller.clone(),
        app: app.slug.clone(),
        account: None,
        purpose: "token",
        endpoint: endpoint.clone(),
        reply_hook: parties.reply_hook(),
    };
    let failed = |reason: String| AuthError::ExchangeFailed { app: app.slug.clone(), reason };
    let began = Instant::now();
    let answer = road.call(&call, request).await.map_err(|error| failed(error.to_string()))?;
    let received = Received { at: rows.now(), took: began.elapsed() };
    reach("connect-after-reply");
    if granted(declared, &answer).is_some() {
        return redeemed(rows, road, caller, &parties, flow, answer, received).await;
    }
    let secrets: Vec<&[u8]> = [Some(code), credentials.secret].into_iter().flatten().map(Secret::expose).collect();
    let (class, reason) = read_refusal(&answer, declared, &declared.errors, &secrets);
    Err(refusal(app, class, reason))
}

/// The reply, when it says yes.
pub(super) fn granted(declared: &OAuth2, answer: &TokenAnswer) -> Option<Reply> {
    let reply = Reply::parse(&answer.body).ok()?;
    ((200..300).contains(&answer.status) && reply.error(&declared.error).is_none()).then_some(reply)
}

/// The tokens of the reply to a code, and of the calls that follow it.
pub(super) async fn redeemed(
    rows: &Rows,
    road: &dyn TokenRoad,
    caller: &Caller,
    parties: &Parties<'_>,
    flow: &Flow,
    answer: TokenAnswer,
    received: Received,
) -> Result<Obtained, AuthError> {
    let Parties { app, method, declared, .. } = parties;
    let slug = || app.slug.clone();
    let failed = |reason: String| AuthError::ExchangeFailed { app: slug(), reason };
    let credentials = parties.credentials(flow)?;
    let mut values = Values {
        inputs: flow.inputs.clone(),
        client_id: Some(credentials.id.to_owned()),
        client_secret: credentials.secret.map(Secret::duplicate),
        redirect_uri: Some(flow.redirect_uri.clone()),
        ..Values::default()
    };
    let first = Step::new(answer, received, &declared.error).map_err(|refused| failed(refused.0.reason(&[])))?;
    let party = Party { caller, app, method, account: None, purpose: "token", version: parties.version };
    let count = 1 + declared.then.len();
    let order = Order { calls: &declared.then, name: "then", error: &declared.error, declared: count };
    let steps = match run(road, &|| rows.now(), &party, order, &mut values, vec![first]).await {
        Ok(steps) => steps,
        Err(Stopped { why: Why::Unbuilt(error), .. }) => return Err(error),
        Err(Stopped { why: Why::Road(error), .. }) => return Err(failed(error.to_string())),
        Err(Stopped { why: Why::Refused(refused), .. }) => {
            let class = refused.class(&declared.errors, Memory::default());
            return Err(refusal(app, class, refused.reason(&values.secrets())));
        }
    };
    let missing = || failed("a declared token is missing in the reply".to_owned());
    let tokens = exchange::first(method, &steps, &flow.asked).ok_or_else(missing)?;
    let last = steps.last().map(|step| &step.answer.body).filter(|body| body.len() <= MAX_RAW_BYTES);
    let raw = last.map(|body| Secret::new(body.to_vec()));
    Ok(Obtained { tokens, raw, replies: steps.into_iter().filter_map(Step::into_reply).collect() })
}

/// What a refused code means for the person who waits.
pub(super) fn refusal(app: &App, class: Class, reason: String) -> AuthError {
    let app = app.slug.clone();
    match class {
        Class::Configuration => AuthError::ClientRefused { app, reason },
        Class::Permanent | Class::LostRotation | Class::Raced => AuthError::CodeRefused { app, reason },
        Class::Throttle(_) | Class::Transient | Class::Ambiguous => AuthError::ExchangeFailed { app, reason },
    }
}

pub(super) async fn client(rows: &Rows, caller: &Caller, app: &str, id: &ClientId) -> Result<Client, AuthError> {
    let missing = || AuthError::ClientMissing { app: app.to_owned(), redirect_uri: String::new() };
    Ok(rows.client(&caller.owner, id).await?.ok_or_else(missing)?.value)
}
