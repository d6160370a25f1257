//! How an account is connected with each kind of auth method, as its users would, and what must not connect one.

use std::collections::BTreeMap;
use std::time::Instant;

use deputy_declaration::types::{
    App, AuthKind, AuthMethod, ClientAuth, Condition, Input, InputKind, InputSource, OAuth2,
};

use super::super::{
    AccountList, Caller, ClientSet, ConnectKeys, ConnectOAuth, ConnectPlan, Connected, Deputy, Error, Secret,
};
use super::failed;
use crate::conformance::{Answering, Check, Client, Fake, Fixture, Outcome, Unmakeable, inputs, pasted};

/// One method with values for all that it asks.
pub struct Spoken {
    pub at: usize,
    pub inputs: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, String>,
}

impl Spoken {
    pub fn new(app: &App, at: usize, method: &AuthMethod) -> Result<Self, Unmakeable> {
        let tokens = pasted(app, method, 1)?;
        Ok(Self { at, inputs: inputs(app, &tokens)?, tokens })
    }
}

pub fn not_testable(method: &str, about: String, name: &str, reason: impl Into<String>) -> Check {
    let outcome = Outcome::NotTestable { reason: reason.into() };
    let (method, name) = (method.to_owned(), name.to_owned());
    Check { method, name, about, place: None, outcome, sent: Vec::new(), duration_ms: 0 }
}

pub struct Driver<'a> {
    pub(super) host: &'a Deputy,
    pub(super) caller: &'a Caller,
    pub(super) fake: &'a Fake,
    slug: &'a str,
    pub(super) fixtures: &'a [Fixture],
    pub spoken: Spoken,
    pub checks: Vec<Check>,
}

pub(super) type Found = Result<(), String>;

impl<'a> Driver<'a> {
    pub fn new(
        host: &'a Deputy,
        caller: &'a Caller,
        fake: &'a Fake,
        slug: &'a str,
        fixtures: &'a [Fixture],
        spoken: Spoken,
    ) -> Self {
        Self { host, caller, fake, slug, fixtures, spoken, checks: Vec::new() }
    }

    pub async fn method(&mut self, method: &AuthMethod) {
        match &method.kind {
            AuthKind::Keys | AuthKind::Exchange(_) => {
                let account = self.keys(method).await;
                self.account(method, account).await;
            }
            AuthKind::OAuth2Code(oauth2) => {
                if !self.client(method, oauth2).await {
                    return;
                }
                if oauth2.authorize_url.is_some() {
                    let account = self.browser(method).await;
                    self.account(method, account).await;
                }
                if oauth2.device_url.is_some() {
                    let account = self.device(method).await;
                    self.account(method, account).await;
                }
            }
        }
        self.recorded(method).await;
    }

    /// In whatever way the method connects.
    pub(super) async fn connect_anyhow(&self, method: &AuthMethod) -> Result<Connected, Error> {
        match &method.kind {
            AuthKind::OAuth2Code(oauth2) if oauth2.authorize_url.is_some() => self.authorize(method).await,
            AuthKind::OAuth2Code(_) => self.enter(method).await,
            AuthKind::Keys | AuthKind::Exchange(_) => {
                let inputs = self.asked(&self.plan(method, false).await?.inputs);
                self.connect(method, &self.spoken.tokens.clone(), inputs).await
            }
        }
    }

    /// A part of the method under test.
    pub(super) fn part(&self, part: &str) -> String {
        format!("methods[{}]{part}", self.spoken.at)
    }

    /// Notes a check about a part of the declaration; what the provider refused meanwhile fails it.
    pub(super) fn note(
        &mut self,
        method: &AuthMethod,
        about: String,
        name: impl Into<String>,
        begun: Instant,
        found: Found,
    ) {
        let (sent, refused) = self.fake.take();
        let about = refused.iter().find_map(|refused| refused.about.clone()).unwrap_or(about);
        let reasons: Vec<_> = refused.into_iter().map(|refused| refused.reason).chain(found.err()).collect();
        let outcome = match reasons.is_empty() {
            true => Outcome::Passed,
            false => Outcome::Failed { reason: reasons.join("; ") },
        };
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (method, name) = (method.id.clone(), name.into());
        self.checks.push(Check { method, name, about, place: None, outcome, sent, duration_ms });
    }

    pub(super) fn skip(&mut self, method: &AuthMethod, name: &str, reason: &str) {
        self.checks.push(not_testable(&method.id, self.part(""), name, reason));
    }

    /// The provider anew: nothing is issued, and what the method needs is there.
    fn speak(&self, client: Option<Client>) {
        self.fake.speak(self.spoken.at, self.spoken.inputs.clone(), self.spoken.tokens.clone(), client);
    }

    /// The client again, after a check that changed what the provider knows.
    pub(super) fn speak_again(&self) {
        let client = self.fake.with(|state| state.client());
        self.speak(client);
    }

    async fn plan(&self, method: &AuthMethod, device: bool) -> Result<ConnectPlan, Error> {
        self.host.connect_plan(self.caller, self.slug, Some(&method.id), device).await
    }

    pub(super) fn asked(&self, asked: &[Input]) -> BTreeMap<String, String> {
        let value = |input: &Input| Some((input.name.clone(), self.spoken.inputs.get(&input.name)?.clone()));
        asked.iter().filter_map(value).collect()
    }

    async fn connect(
        &self,
        method: &AuthMethod,
        tokens: &BTreeMap<String, String>,
        inputs: BTreeMap<String, String>,
    ) -> Result<Connected, Error> {
        let secret = |(name, value): (&String, &String)| (name.clone(), Secret::new(value.clone().into_bytes()));
        let connect = ConnectKeys {
            app: self.slug.to_owned(),
            app_hash: None,
            method: Some(method.id.clone()),
            nickname: None,
            inputs,
            tokens: tokens.iter().map(secret).collect(),
            confirm_host: true,
            skip_check: false,
            again: None,
        };
        self.host.connect_keys(self.caller, connect).await
    }

    async fn keys(&mut self, method: &AuthMethod) -> Option<String> {
        self.speak(None);
        let begun = Instant::now();
        let plan = match self.plan(method, false).await {
            Ok(plan) => plan,
            Err(error) => {
                self.note(method, self.part(""), "it can be connected", begun, Err(error.message));
                return None;
            }
        };
        let (good, given) = (self.spoken.tokens.clone(), self.asked(&plan.inputs));
        for token in plan.tokens.iter().filter(|token| !token.optional) {
            let begun = Instant::now();
            let mut tokens = good.clone();
            tokens.remove(&token.name);
            let result = self.connect(method, &tokens, given.clone()).await;
            let about = self.part(&format!(".tokens[{}]", place(&method.tokens, |known| known.name == token.name)));
            let name = format!("a missing `{}` is asked for", token.name);
            self.note(method, about, name, begun, names(result, &token.name));
        }
        for input in plan.inputs.iter().filter(|input| input.default.is_none()) {
            let begun = Instant::now();
            let mut inputs = given.clone();
            inputs.remove(&input.name);
            let result = self.connect(method, &good, inputs).await;
            let about = format!("inputs[{}]", place(&self.fake.app.inputs, |known| known.name == input.name));
            let name = format!("a missing `{}` is asked for", input.name);
            self.note(method, about, name, begun, names(result, &input.name));
        }
        let name = "wrong credentials are refused, and nothing is stored";
        if matches!(method.kind, AuthKind::Keys) && self.fake.app.test.is_none() {
            self.skip(method, name, "the app declares no test request");
        } else {
            let begun = Instant::now();
            let refusal = self.fake.app.signals.failed.first().cloned().unwrap_or(vec![Condition::Status(401)]);
            self.fake.with(|state| {
                state.answering = Answering::Signal(refusal);
                state.login_error = Some(wrong(method));
            });
            let result = self.connect(method, &good, given.clone()).await;
            let found = self.refused(result).await;
            self.note(method, "test".to_owned(), name, begun, found);
        }
        self.speak_again();
        if self.reads_by_hook(method) {
            return None;
        }
        let begun = Instant::now();
        let connected = self.connect(method, &good, given).await;
        self.connected(method, "it connects", begun, connected)
    }

    /// Nobody but the hook and its provider knows what it reads.
    fn reads_by_hook(&mut self, method: &AuthMethod) -> bool {
        let identity = self.fake.app.test.as_ref().is_some_and(|test| test.identity_hook);
        if method.reply_hook || identity {
            self.skip(method, "it connects", "a hook of the app reads what the provider answers");
        }
        method.reply_hook || identity
    }

    /// An error, and no account.
    async fn refused(&self, result: Result<Connected, Error>) -> Found {
        if result.is_ok() {
            return Err("the account was connected".to_owned());
        }
        let list = AccountList { app: Some(self.slug.to_owned()), limit: 10, after: None };
        match self.host.account_list(self.caller, list).await {
            Ok(page) if page.accounts.is_empty() => Ok(()),
            Ok(_) => Err("an account was stored".to_owned()),
            Err(error) => Err(error.message),
        }
    }

    fn connected(
        &mut self,
        method: &AuthMethod,
        name: &str,
        begun: Instant,
        connected: Result<Connected, Error>,
    ) -> Option<String> {
        let test = self.fake.app.test.clone();
        let found = match &connected {
            Err(error) => Err(error.message.clone()),
            Ok(connected) => {
                let told = test.as_ref().and_then(|test| test.id.as_ref()).map(|_| "conformance-1");
                match connected.account.identity_id.as_deref() == told {
                    true => Ok(()),
                    false => Err("the identity was not read from the test request's answer".to_owned()),
                }
            }
        };
        self.note(method, "test".to_owned(), name, begun, found);
        if test.is_none() {
            self.skip(method, "it is known whose account it is", "the app declares no test request");
        }
        connected.ok().map(|connected| connected.account.name)
    }

    async fn client(&mut self, method: &AuthMethod, oauth2: &OAuth2) -> bool {
        // Characters that an encoding would change, so that a wrong one shows.
        let id = "conformance+client/1".to_owned();
        let secret = (oauth2.client_auth != ClientAuth::None).then(|| "s3cret:with+odd/characters%&=".to_owned());
        let is_clients = |input: &&Input| {
            input.source == InputSource::Client || (input.kind == InputKind::BaseUrl && input.hosts.is_empty())
        };
        let own: Vec<Input> = self.fake.app.inputs.iter().filter(is_clients).cloned().collect();
        let set = ClientSet {
            app: self.slug.to_owned(),
            method: Some(method.id.clone()),
            client_id: id.clone(),
            secret: secret.clone().map(|secret| Secret::new(secret.into_bytes())),
            inputs: self.asked(&own),
        };
        let begun = Instant::now();
        match self.host.client_set(self.caller, set).await {
            Ok(view) => {
                self.speak(Some(Client { id, secret, redirect_uri: view.redirect.redirect_uri }));
                true
            }
            Err(error) => {
                self.note(method, self.part(".kind"), "its client is registered", begun, Err(error.message));
                false
            }
        }
    }

    async fn begin(&self, method: &AuthMethod, device: bool) -> Result<ConnectOAuth, Error> {
        let plan = self.plan(method, device).await?;
        Ok(ConnectOAuth {
            app: self.slug.to_owned(),
            app_hash: None,
            method: Some(method.id.clone()),
            nickname: None,
            inputs: self.asked(&plan.inputs),
            scopes: None,
            add_scopes: Vec::new(),
            confirm_host: true,
            skip_check: false,
            again: None,
        })
    }

    async fn authorize(&self, method: &AuthMethod) -> Result<Connected, Error> {
        let connect = self.begin(method, false).await?;
        let begun = self.host.connect_begin(self.caller, connect).await?;
        let back = self.fake.browse(&begun.authorize_url).map_err(failed)?;
        self.host.connect_paste(self.caller, &begun.flow, &back).await
    }

    async fn browser(&mut self, method: &AuthMethod) -> Option<String> {
        let begun = Instant::now();
        self.fake.with(|state| state.login_error = Some(wrong(method)));
        let result = self.authorize(method).await;
        let found = self.refused(result).await;
        self.note(method, self.part(".kind"), "a refused code connects nothing", begun, found);
        self.speak_again();
        if self.reads_by_hook(method) {
            return None;
        }
        let begun = Instant::now();
        let connected = self.authorize(method).await;
        self.connected(method, "it connects in a browser", begun, connected)
    }

    async fn device(&mut self, method: &AuthMethod) -> Option<String> {
        self.speak_again();
        if self.reads_by_hook(method) {
            return None;
        }
        let begun = Instant::now();
        let connected = self.enter(method).await;
        self.connected(method, "it connects by a device code", begun, connected)
    }

    async fn enter(&self, method: &AuthMethod) -> Result<Connected, Error> {
        let connect = self.begin(method, true).await?;
        let begun = self.host.device_begin(self.caller, connect).await?;
        self.host.device_wait(self.caller, &begun.flow).await
    }
}

/// Where in a list.
fn place<T>(list: &[T], is: impl FnMut(&T) -> bool) -> usize {
    list.iter().position(is).unwrap_or_default()
}

/// The error of a login with wrong secrets.
fn wrong(method: &AuthMethod) -> String {
    match &method.kind {
        AuthKind::OAuth2Code(_) => "invalid_grant".to_owned(),
        AuthKind::Keys | AuthKind::Exchange(_) => "invalid_credentials".to_owned(),
    }
}

/// An error that names the field.
fn names(result: Result<Connected, Error>, field: &str) -> Found {
    match result {
        Ok(_) => Err(format!("it connected without `{field}`")),
        Err(error) if error.message.contains(field) || error.fix.as_deref().is_some_and(|fix| fix.contains(field)) => {
            Ok(())
        }
        Err(error) => Err(format!("the error does not name `{field}`: {}", error.message)),
    }
}
