//! What is tried with one auth method, in order, as its users would.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use deputy_declaration::template;
use deputy_declaration::types::{
    App, AuthKind, AuthMethod, ClientAuth, Condition, Input, InputKind, InputSource, OAuth2, Rule, Signer, Token,
};
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::json;

use super::super::{
    AccountList, Answer, Body, Caller, ClientSet, ConnectKeys, ConnectOAuth, ConnectPlan, Connected, Deputy, Error,
    HttpRequest, Secret,
};
use super::failed;
use crate::conformance::{Answering, Check, Client, Expected, Fake, Outcome, Unmakeable, conditions, inputs, pasted};

/// Where a check's own requests go, below the base.
const PROBE: &str = "/conformance-probe";

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

pub fn not_testable(method: &str, name: &str, reason: impl Into<String>) -> Check {
    let outcome = Outcome::NotTestable { reason: reason.into() };
    Check { method: method.to_owned(), name: name.to_owned(), outcome, sent: Vec::new(), duration_ms: 0 }
}

pub struct Driver<'a> {
    host: &'a Deputy,
    caller: &'a Caller,
    fake: &'a Fake,
    slug: &'a str,
    pub spoken: Spoken,
    pub checks: Vec<Check>,
}

type Found = Result<(), String>;

impl<'a> Driver<'a> {
    pub fn new(host: &'a Deputy, caller: &'a Caller, fake: &'a Fake, slug: &'a str, spoken: Spoken) -> Self {
        Self { host, caller, fake, slug, spoken, checks: Vec::new() }
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
    }

    /// Notes a check; what the provider refused meanwhile fails it.
    fn note(&mut self, method: &AuthMethod, name: impl Into<String>, begun: Instant, found: Found) {
        let (sent, refused) = self.fake.take();
        let reasons: Vec<_> = refused.into_iter().chain(found.err()).collect();
        let outcome = match reasons.is_empty() {
            true => Outcome::Passed,
            false => Outcome::Failed { reason: reasons.join("; ") },
        };
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.checks.push(Check { method: method.id.clone(), name: name.into(), outcome, sent, duration_ms });
    }

    fn skip(&mut self, method: &AuthMethod, name: &str, reason: &str) {
        self.checks.push(not_testable(&method.id, name, reason));
    }

    /// The provider anew: nothing is issued, and what the method needs is there.
    fn speak(&self, client: Option<Client>) {
        self.fake.speak(self.spoken.at, self.spoken.inputs.clone(), self.spoken.tokens.clone(), client);
    }

    /// The client again, after a check that changed what the provider knows.
    fn speak_again(&self) {
        let client = self.fake.with(|state| state.client());
        self.speak(client);
    }

    async fn plan(&self, method: &AuthMethod, device: bool) -> Result<ConnectPlan, Error> {
        self.host.connect_plan(self.caller, self.slug, Some(&method.id), device).await
    }

    fn asked(&self, asked: &[Input]) -> BTreeMap<String, String> {
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
                self.note(method, "it can be connected", begun, Err(error.message));
                return None;
            }
        };
        let (good, given) = (self.spoken.tokens.clone(), self.asked(&plan.inputs));
        for token in plan.tokens.iter().filter(|token| !token.optional) {
            let begun = Instant::now();
            let mut tokens = good.clone();
            tokens.remove(&token.name);
            let result = self.connect(method, &tokens, given.clone()).await;
            self.note(method, format!("a missing `{}` is asked for", token.name), begun, names(result, &token.name));
        }
        for input in plan.inputs.iter().filter(|input| input.default.is_none()) {
            let begun = Instant::now();
            let mut inputs = given.clone();
            inputs.remove(&input.name);
            let result = self.connect(method, &good, inputs).await;
            self.note(method, format!("a missing `{}` is asked for", input.name), begun, names(result, &input.name));
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
            self.note(method, name, begun, found);
        }
        self.speak_again();
        let begun = Instant::now();
        let connected = self.connect(method, &good, given).await;
        self.connected(method, "it connects", begun, connected)
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
        self.note(method, name, begun, found);
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
                self.note(method, "its client is registered", begun, Err(error.message));
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
        self.note(method, "a refused code connects nothing", begun, found);
        self.speak_again();
        let begun = Instant::now();
        let connected = self.authorize(method).await;
        self.connected(method, "it connects in a browser", begun, connected)
    }

    async fn device(&mut self, method: &AuthMethod) -> Option<String> {
        self.speak_again();
        let begun = Instant::now();
        let connected = self.enter(method).await;
        self.connected(method, "it connects by a device code", begun, connected)
    }

    async fn enter(&self, method: &AuthMethod) -> Result<Connected, Error> {
        let connect = self.begin(method, true).await?;
        let begun = self.host.device_begin(self.caller, connect).await?;
        self.host.device_wait(self.caller, &begun.flow).await
    }

    /// A request below the base, and what the provider must see of it.
    fn probe(&self, rules: &[Rule]) -> (HttpRequest, Expected) {
        let app = &self.fake.app;
        let field = rules.iter().find_map(|rule| match rule {
            Rule::Body(field) => Some(field.name.starts_with('/')),
            _ => None,
        });
        let allowed = |verb: &&str| app.reach.methods.is_empty() || app.reach.methods.iter().any(|known| known == verb);
        let preferred = if field.is_some() { ["POST", "PUT", "PATCH"] } else { ["GET", "POST", "PUT"] };
        let verb = preferred.into_iter().find(allowed).unwrap_or("GET");
        let (kind, body) = match field {
            Some(true) => (Some("application/json"), json!({ "probe": "a b" }).to_string()),
            Some(false) => (Some("application/x-www-form-urlencoded"), "probe=a+b".to_owned()),
            None => (None, String::new()),
        };
        let path = self.path();
        let mut request = HttpRequest::new(Method::from_bytes(verb.as_bytes()).unwrap_or(Method::GET), path.clone());
        if let Some(kind) = kind {
            request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            request.body = Body::Bytes(body.clone().into());
        }
        let expected = Expected {
            method: verb.to_owned(),
            target: path,
            headers: kind.map(|kind| ("content-type".to_owned(), kind.to_owned())).into_iter().collect(),
            body: body.into_bytes(),
            rule_set: None,
            answer: json!({}),
        };
        (request, expected)
    }

    /// Within the app's paths, and like no test request where they leave the choice.
    fn path(&self) -> String {
        let app = &self.fake.app;
        let base = template::base(app, &self.spoken.inputs).map(|base| base.path().trim_end_matches('/').to_owned());
        let base = base.unwrap_or_default();
        let own = format!("{base}{PROBE}");
        if app.reach.paths.is_empty() || app.reach.paths.iter().any(|prefix| own.starts_with(prefix.as_str())) {
            return format!("{PROBE}?probe=a%20b");
        }
        let below = app.reach.paths.iter().find_map(|prefix| prefix.strip_prefix(&base));
        below.map_or_else(|| PROBE.to_owned(), |path| format!("{}{PROBE}?probe=a%20b", path.trim_end_matches('/')))
    }

    async fn send(&self, account: &str, rules: &[Rule], rule_set: Option<&str>) -> Result<Answer, Error> {
        let (mut request, mut expected) = self.probe(rules);
        request.rule_set = rule_set.map(str::to_owned);
        expected.rule_set = rule_set.map(str::to_owned);
        self.fake.expect(expected);
        self.host.request(self.caller, account, request).await
    }

    /// What holds for a connected account, whatever connected it.
    async fn account(&mut self, method: &AuthMethod, account: Option<String>) {
        let Some(account) = account else { return };
        let account = account.as_str();
        for set in &method.rule_sets {
            let begun = Instant::now();
            let found = good(self.send(account, &set.rules, Some(&set.name)).await).await.map(|_| ());
            let name = format!("`{}` puts the credentials in their place, and nowhere else", set.name);
            self.note(method, name, begun, found);
            if set.rules.iter().any(|rule| matches!(rule, Rule::Sign(Signer::Hook(_)))) {
                let reason = "what a hook computes is known to it and its provider alone";
                self.skip(method, "the signature belongs to the request", reason);
            }
        }
        let rules = method.rule_sets.first().map(|set| set.rules.as_slice()).unwrap_or_default();
        self.own_credential(method, account, rules).await;
        self.answers(method, account, rules).await;
        self.borders(method, account).await;
        if !matches!(method.kind, AuthKind::Keys) {
            self.expiry(method, account, rules).await;
        }
        self.revoked(method, account, rules).await;
        self.end(method, account).await;
    }

    /// A caller who brings a credential for the same place is refused, and nothing is sent.
    async fn own_credential(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let (mut request, _) = self.probe(rules);
        let own = HeaderValue::from_static("of-the-caller");
        let placed = rules.iter().find_map(|rule| match rule {
            Rule::Header(field) => HeaderName::from_bytes(field.name.as_bytes()).ok().map(Place::Header),
            Rule::Basic(_) => Some(Place::Header(header::AUTHORIZATION)),
            Rule::Query(field) => Some(Place::Query(field.name.clone())),
            Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => None,
        });
        match placed {
            Some(Place::Header(name)) => drop(request.headers.insert(name, own)),
            Some(Place::Query(name)) => request.url += &format!("&{name}=of-the-caller"),
            None => return,
        }
        let begun = Instant::now();
        let result = self.host.request(self.caller, account, request).await;
        let found = unsent(result, &self.fake.take().0);
        self.note(method, "a caller's own credential in that place is refused", begun, found);
    }

    async fn answers(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let begun = Instant::now();
        let secrets = self.fake.with(|state| {
            state.answering = Answering::Echo;
            state.tokens.values().cloned().collect::<Vec<_>>()
        });
        let found = match good(self.send(account, rules, None).await).await {
            Ok(body) if secrets.iter().any(|secret| body.contains(secret.as_str())) => {
                Err("the caller got a credential back".to_owned())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.note(method, "credentials in an answer are scrubbed", begun, found);
        let signals = self.fake.app.signals.clone();
        for list in conditions(&signals.throttled, 429) {
            let begun = Instant::now();
            self.fake.with(|state| state.answering = Answering::Signal(list));
            let found = match self.send(account, rules, None).await {
                Ok(answer) if answer.throttled.is_some() => Ok(()),
                Ok(_) => Err("the answer was not seen as throttled".to_owned()),
                Err(error) => Err(error.message),
            };
            self.note(method, "a throttle is seen", begun, found);
        }
        for list in signals.failed {
            let begun = Instant::now();
            self.fake.with(|state| state.answering = Answering::Signal(list));
            let found = match self.send(account, rules, None).await {
                Ok(answer) if answer.failed => Ok(()),
                Ok(_) => Err("the answer was not seen as failed".to_owned()),
                Err(error) => Err(error.message),
            };
            self.note(method, "a failure is seen", begun, found);
        }
        self.fake.with(|state| state.answering = Answering::Well);
    }

    async fn borders(&mut self, method: &AuthMethod, account: &str) {
        let begun = Instant::now();
        let outside = HttpRequest::new(Method::GET, "https://outside.conformance.example/");
        let result = self.host.request(self.caller, account, outside).await;
        let found = unsent(result, &self.fake.take().0);
        self.note(method, "nothing goes outside the reach", begun, found);
        let endpoints = template::token_endpoints(&self.fake.app, method, &self.spoken.inputs).unwrap_or_default();
        for endpoint in endpoints.into_iter().take(1) {
            let begun = Instant::now();
            let result = self.host.request(self.caller, account, HttpRequest::new(Method::POST, endpoint)).await;
            let found = unsent(result, &self.fake.take().0);
            self.note(method, "no request reaches the token endpoint", begun, found);
        }
    }

    async fn expiry(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let name = "an expired token is renewed once, and the request made again";
        let renewable = match &method.kind {
            AuthKind::Keys => 0,
            // A login renews all of its tokens; a standard refresh renews its own.
            AuthKind::Exchange(_) => 1,
            AuthKind::OAuth2Code(oauth2) if !oauth2.refresh.is_empty() => 1,
            AuthKind::OAuth2Code(_) => self.fake.with(|state| state.refresh.len()) as u64,
        };
        if renewable == 0 {
            return self.skip(method, name, "the declared replies hold no refresh token");
        }
        if let AuthKind::Exchange(exchange) = &method.kind
            && exchange.refresh.is_empty()
            && method.tokens.iter().any(|token| token.once)
        {
            return self.skip(method, name, "its login needs what is not stored");
        }
        for list in conditions(&self.fake.app.signals.expired, 401) {
            let begun = Instant::now();
            let before = self.fake.with(|state| {
                state.answering = Answering::UntilRenewed(list);
                state.renewals
            });
            let found = match self.send(account, rules, None).await {
                Ok(answer) if answer.renewed && answer.status.is_success() => Ok(()),
                Ok(answer) => Err(format!("it answered {}, renewed: {}", answer.status, answer.renewed)),
                Err(error) => Err(error.message),
            };
            let count = self.fake.with(|state| {
                state.answering = Answering::Well;
                state.renewals - before
            });
            let found = found.and_then(|()| match count == renewable {
                true => Ok(()),
                false => Err(format!("{count} renewals were made instead of {renewable}")),
            });
            self.note(method, name, begun, found);
        }
        self.due(method, account, rules).await;
    }

    /// A token that is about to end is renewed first: the provider never sees it.
    async fn due(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let told = |token: &Token| token.reply.as_ref().is_some_and(|reply| reply.expiry.is_some());
        if !method.tokens.iter().any(told) {
            return self.skip(method, "a token is renewed before it ends", "no reply says how long its tokens last");
        }
        let signal = conditions(&self.fake.app.signals.expired, 401).swap_remove(0);
        self.fake.with(|state| {
            state.answering = Answering::UntilRenewed(signal);
            state.lifetime_s = 1;
        });
        // Brings tokens that end in a second.
        let short = good(self.send(account, rules, None).await).await;
        let _ = self.fake.take();
        // Half of its life is over: then it is due.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let begun = Instant::now();
        let before = self.fake.with(|state| {
            state.lifetime_s = 3600;
            state.renewals
        });
        let found = match (short, good(self.send(account, rules, None).await).await) {
            (Err(error), _) | (_, Err(error)) => Err(error),
            (Ok(_), Ok(_)) if self.fake.with(|state| state.renewals) == before => Err("nothing was renewed".to_owned()),
            (Ok(_), Ok(_)) => Ok(()),
        };
        self.note(method, "a token is renewed before it ends", begun, found);
    }

    /// An answer that says so ends the account: nothing is sent with it any more.
    async fn revoked(&mut self, method: &AuthMethod, account: &str, rules: &[Rule]) {
        let Some(list) = self.fake.app.signals.revoked.first().cloned() else { return };
        let begun = Instant::now();
        self.fake.with(|state| state.answering = Answering::Signal(list));
        // What the first answer says is for whoever asked; the account shows it afterwards.
        let first = self.send(account, rules, None).await.map(|_| ());
        let _ = self.fake.take();
        let second = self.send(account, rules, None).await;
        let found = first.map_err(|error| error.message).and_then(|()| unsent(second, &self.fake.take().0));
        self.fake.with(|state| state.answering = Answering::Well);
        self.note(method, "a revoked account sends nothing any more", begun, found);
    }

    async fn end(&mut self, method: &AuthMethod, account: &str) {
        let begun = Instant::now();
        let deleted = self.host.account_delete(self.caller, account, true).await;
        let standard = matches!(&method.kind, AuthKind::OAuth2Code(oauth2) if oauth2.revoke_url.is_some());
        let wanted = method.revoke.len() + usize::from(standard);
        let revoked = self.fake.with(|state| state.revoked.len());
        let found = match deleted {
            Err(error) => Err(error.message),
            Ok(_) if revoked < wanted => Err(format!("{revoked} calls that revoke came instead of {wanted}")),
            Ok(_) => Ok(()),
        };
        let name = match wanted {
            0 => "it is deleted",
            _ => "a deleted account is revoked at the provider",
        };
        self.note(method, name, begun, found);
    }
}

enum Place {
    Header(HeaderName),
    Query(String),
}

/// The error of a login with wrong secrets.
fn wrong(method: &AuthMethod) -> String {
    match &method.kind {
        AuthKind::OAuth2Code(_) => "invalid_grant".to_owned(),
        AuthKind::Keys | AuthKind::Exchange(_) => "invalid_credentials".to_owned(),
    }
}

/// Refused, and nothing came to the provider.
fn unsent(result: Result<Answer, Error>, sent: &[String]) -> Found {
    match (result, sent) {
        (Ok(_), _) => Err("it was sent".to_owned()),
        (Err(_), [first, ..]) => Err(format!("it was refused, and yet something was sent: {first}")),
        (Err(_), []) => Ok(()),
    }
}

/// The body of a good answer.
async fn good(answer: Result<Answer, Error>) -> Result<String, String> {
    let answer = answer.map_err(|error| error.message)?;
    let status = answer.status;
    let body = answer.body.collect(1 << 20).await.map_err(|error| error.to_string())?;
    match status.is_success() {
        true => Ok(String::from_utf8_lossy(&body).into_owned()),
        false => Err(format!("it answered {status}")),
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
