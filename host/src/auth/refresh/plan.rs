//! What one renewal sends, built before the lease is taken.

use std::time::Instant;

use deputy_declaration::template;
use deputy_declaration::types::{AuthKind, AuthMethod, Call, ErrorMeaning, Exchange, OAuth2, Rotation};

use super::live::pinned;
use super::{Core, Failure};
use crate::auth::apps::PinnedApp;
use crate::auth::call::{Built, Party, Values};
use crate::auth::error::AuthError;
use crate::auth::errors::{Class, Memory};
use crate::auth::exchange::Received;
use crate::auth::login;
use crate::auth::oauth2;
use crate::auth::record::Record;
use crate::auth::refusal::Refusal;
use crate::auth::sequence::{self, Order, Step, Stopped, Why};
use crate::caller::Caller;
use crate::egress::TokenCall;
use crate::ids::ClientId;
use crate::vault::Secret;

/// What is renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The keyed fingerprint of a refresh token.
    Grant(String),
    /// The tokens of this generation of secrets that declared calls bring without a refresh token.
    Again(u64),
}

impl Target {
    /// As an intent names it.
    pub fn name(&self) -> String {
        match self {
            Self::Grant(fingerprint) => fingerprint.clone(),
            Self::Again(secrets) => format!("again-{secrets}"),
        }
    }
}

pub(super) struct Plan {
    pub pinned: PinnedApp,
    pub method: AuthMethod,
    pub client: Option<ClientId>,
    pub rotation: Rotation,
    /// The refresh token that goes out.
    pub sent: Option<Secret>,
    pub values: Values,
    calls: Vec<Call>,
    name: &'static str,
    /// A person's own secrets go out, and no refresh token.
    pub login: bool,
    /// OAuth: a reply to a refresh may hold its token at the top (RFC 6749 section 5.1).
    pub lenient: bool,
}

impl Core {
    /// With OAuth's own refresh call, where there is one: the plan's calls follow it.
    pub(super) async fn plan(
        &self,
        caller: &Caller,
        record: &Record,
        group: &[String],
        target: &Target,
    ) -> Result<(Plan, Option<Built>), Failure> {
        let internal = |error: AuthError| Failure::Internal { reason: error.to_string() };
        let mut found: Option<PinnedApp> = None;
        let (pinned, _, method) = pinned(&*self.apps, record, &mut found).map_err(internal)?;
        let sent = match target {
            Target::Grant(_) => record.tokens[&group[0]].refresh.as_ref().map(Secret::duplicate),
            Target::Again(_) => None,
        };
        let tokens = record.tokens.iter().map(|(name, held)| (name.clone(), held.value.duplicate())).collect();
        let mut plan = Plan {
            pinned: pinned.clone(),
            method: method.clone(),
            client: None,
            rotation: Rotation::None,
            values: Values {
                inputs: record.inputs.clone(),
                tokens,
                redirect_uri: record.redirect_uri.clone(),
                refresh_token: sent.as_ref().map(Secret::duplicate),
                ..Values::default()
            },
            sent,
            calls: Vec::new(),
            name: "refresh",
            login: false,
            lenient: false,
        };
        let first = match &method.kind {
            AuthKind::Keys => return Err(Failure::NotRenewable),
            AuthKind::OAuth2Code(oauth2) => self.plan_oauth2(caller, record, oauth2, &mut plan).await?,
            AuthKind::Exchange(exchange) => {
                plan_exchange(exchange, target, &mut plan);
                None
            }
        };
        Ok((plan, first))
    }

    async fn plan_oauth2(
        &self,
        caller: &Caller,
        record: &Record,
        oauth2: &OAuth2,
        plan: &mut Plan,
    ) -> Result<Option<Built>, Failure> {
        let internal = |error: AuthError| Failure::Internal { reason: error.to_string() };
        let app = &plan.pinned.app;
        let missing = || Failure::Client { reason: "it is not registered any more".to_owned() };
        let id = record.client.as_ref().ok_or_else(missing)?;
        if let Some((until, reason)) = self.refused().get(id).cloned()
            && self.rows.now() < until
        {
            return Err(Failure::Client { reason });
        }
        let client = self.rows.client(&caller.owner, id).await.map_err(internal)?;
        let client = client.ok_or_else(missing)?.value;
        let credentials = client
            .for_endpoints(app, &plan.method, &record.inputs)
            .map_err(|error| Failure::Client { reason: error.to_string() })?;
        plan.client = Some(id.clone());
        plan.rotation = oauth2.rotation;
        plan.lenient = true;
        plan.values.client_id = Some(credentials.id.to_owned());
        plan.values.client_secret = credentials.secret.map(Secret::duplicate);
        if !oauth2.refresh.is_empty() {
            plan.calls = oauth2.refresh.clone();
            return Ok(None);
        }
        let (template, place) = match &oauth2.refresh_url {
            Some(url) => (url, "refresh-url"),
            None => (&oauth2.token_url, "token-url"),
        };
        let endpoint = template::url(app, template, &record.inputs, place).map_err(|error| internal(error.into()))?;
        let token = plan.sent.as_ref().ok_or(Failure::NotRenewable)?;
        let request = oauth2::refresh(app, oauth2, &endpoint, credentials, token).map_err(internal)?;
        let call = TokenCall {
            caller: caller.clone(),
            app: record.app.clone(),
            account: Some(record.id.clone()),
            purpose: "refresh",
            endpoint,
            reply_hook: plan.method.reply_hook.then(|| plan.pinned.hash.clone()),
        };
        plan.calls = oauth2.then.clone();
        plan.name = "then";
        Ok(Some(Built { call, request }))
    }
}

/// A login is no rotation: an interrupted one is simply made again.
fn plan_exchange(exchange: &Exchange, target: &Target, plan: &mut Plan) {
    match target {
        Target::Grant(_) => {
            plan.calls = exchange.refresh.clone();
            plan.rotation = exchange.rotation;
        }
        Target::Again(_) => {
            plan.calls = exchange.calls.clone();
            plan.name = "calls";
            plan.login = true;
        }
    }
}

impl Plan {
    /// Where error codes stand, and what they mean.
    fn errors(&self) -> (&str, &[ErrorMeaning]) {
        match &self.method.kind {
            AuthKind::OAuth2Code(oauth2) => (&oauth2.error, &oauth2.errors),
            AuthKind::Exchange(exchange) => (&exchange.error, &exchange.errors),
            AuthKind::Keys => ("/error", &[]),
        }
    }

    pub fn class(&self, refusal: &Refusal, memory: Memory) -> Class {
        let (_, declared) = self.errors();
        match &self.method.kind {
            AuthKind::Exchange(_) if self.login => match refusal.class_of_login(declared) {
                Class::Permanent if memory.raced => Class::Raced,
                class => class,
            },
            _ => refusal.class(declared, memory),
        }
    }

    /// How many replies the declaration counts at connect.
    pub fn declared(&self) -> usize {
        match &self.method.kind {
            AuthKind::OAuth2Code(oauth2) => 1 + oauth2.then.len(),
            AuthKind::Exchange(exchange) => login::calls(exchange).declared,
            AuthKind::Keys => 0,
        }
    }

    /// Makes the calls, once each.
    pub async fn send(
        &mut self,
        core: &Core,
        caller: &Caller,
        record: &Record,
        first: Option<Built>,
    ) -> Result<Vec<Step>, Stopped> {
        let declared = self.declared();
        let error = self.errors().0.to_owned();
        let mut made = Vec::new();
        if let Some(Built { call, request }) = first {
            let began = Instant::now();
            let answer = match core.road.call(&call, request).await {
                Ok(answer) => answer,
                Err(error) => {
                    return Err(Stopped { why: Why::Road(error), made, answer: None, at: core.rows.now() });
                }
            };
            let received = Received { at: core.rows.now(), took: began.elapsed() };
            match Step::new(answer, received, &error) {
                Ok(step) => made.push(step),
                Err(refused) => {
                    let (refusal, answer) = *refused;
                    let (why, answer) = (Why::Refused(refusal), Some(answer));
                    return Err(Stopped { why, made, answer, at: received.at });
                }
            }
        }
        let party = Party {
            caller,
            app: &self.pinned.app,
            method: &self.method,
            account: Some(&record.id),
            purpose: if self.login { "token" } else { "refresh" },
            version: &self.pinned.hash,
        };
        let order = Order { calls: &self.calls, name: self.name, error: &error, declared };
        sequence::run(&*core.road, &|| core.rows.now(), &party, order, &mut self.values, made).await
    }

    /// A refresh token that came although the calls did not come to their end: the one that was sent may be spent.
    pub fn salvaged(&self) -> Option<Secret> {
        let (sent, now) = (self.sent.as_ref()?, self.values.refresh_token.as_ref()?);
        (sent.expose() != now.expose()).then(|| now.duplicate())
    }
}
