//! `deputy app test`: the real host against a provider made from the declaration.
//!
//! A second facade with temporary folders; every name of the app is sent to one local server, and nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use deputy_declaration::template;
use deputy_declaration::types::{App, AuthKind, AuthMethod, ClientAuth, OAuth2, Rule};
use http::Method;

use super::{
    AppSource, Caller, ClientSet, Config, ConnectKeys, ConnectOAuth, Connected, Deputy, Error, HttpRequest, Overrides,
    Secret,
};
use crate::conformance::{Answering, Check, Client, Expected, Fake, Server, conditions, inputs, oauth2_urls, pasted};

pub use crate::conformance::{Outcome, Report};

/// Where a check's own requests go: below the base.
const PROBE: &str = "/conformance-probe";
const PUBLIC_URL: &str = "https://deputy.conformance.example";

impl Deputy {
    /// Tests an app, given as source or component, or one that is known by its slug.
    pub async fn app_test(&self, caller: &Caller, app: AppTest) -> Result<Report, Error> {
        let app = match app {
            AppTest::Known(slug) => self.app_show(caller, &slug).await?.app,
            AppTest::Source(source) => self.app_check(caller, source).await?.app,
        };
        run(&app, &app).await
    }
}

#[derive(Debug)]
pub enum AppTest {
    Known(String),
    Source(AppSource),
}

/// The provider speaks `declared`, the host is given `driven`: two that differ must fail.
pub async fn run(declared: &App, driven: &App) -> Result<Report, Error> {
    let mut checks = Vec::new();
    let made = match inputs(declared) {
        Ok(made) => made,
        Err(error) => {
            checks.push(not_testable("", "the app's inputs are taken", format!("not testable: {error}")));
            return Ok(Report::new(declared.slug.clone(), checks));
        }
    };
    let fake = Arc::new(Fake::new(declared.clone(), made.clone()));
    // No built-in app may be replaced, and the slug never leaves the host.
    let driven = App { slug: "under-test".to_owned(), ..driven.clone() };
    let hosts = hosts(declared, &made)?;
    let names: Vec<_> =
        hosts.iter().filter_map(|host| host.rsplit_once(':')).map(|(name, _)| name.to_owned()).collect();
    let server = Server::start(&names, fake.clone()).await.map_err(|error| Error::new("app_test_failed", error))?;
    let folder = tempfile::tempdir().map_err(|error| Error::new("app_test_failed", error.to_string()))?;
    let overrides = Overrides { data: Some(folder.path().join("data")), config: Some(folder.path().join("config")) };
    let mut config = Config::load(overrides, &|_| None)?;
    config.egress.resolve =
        hosts.into_iter().map(|host| (host, server.address)).collect::<BTreeMap<String, SocketAddr>>();
    config.egress.ca_pem = Some(server.root_pem.clone());
    let public = url::Url::parse(PUBLIC_URL).map_err(|error| Error::new("app_test_failed", error.to_string()))?;
    config.callback.public_url = Some(public);
    let host = Deputy::with_config(config)?;
    let component = deputy_declaration::image::component(&driven)
        .map_err(|error| Error::new("app_unbuildable", error.to_string()))?;
    let caller = Caller::local();
    host.app_install(&caller, AppSource::Component(component)).await?;
    for (at, method) in declared.methods.iter().enumerate() {
        let mut driver = Driver { host: &host, caller: &caller, fake: &fake, inputs: &made, at, checks: Vec::new() };
        driver.method(method).await;
        checks.append(&mut driver.checks);
    }
    host.close().await;
    Ok(Report::new(declared.slug.clone(), checks))
}

/// `host:port` of every place that the app's credentials may go to.
fn hosts(app: &App, inputs: &BTreeMap<String, String>) -> Result<Vec<String>, Error> {
    let unusable = |error: template::RenderError| Error::new("app_test_failed", error.to_string());
    let mut urls = vec![template::base(app, inputs).map_err(unusable)?];
    for method in &app.methods {
        if let AuthKind::OAuth2Code(oauth2) = &method.kind {
            for template in oauth2_urls(oauth2) {
                urls.push(template::url(app, template, inputs, "url").map_err(unusable)?);
            }
        }
    }
    let named = urls.iter().filter_map(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    let mut hosts: Vec<_> = named.collect();
    hosts.sort();
    hosts.dedup();
    Ok(hosts)
}

fn not_testable(method: &str, name: &str, reason: String) -> Check {
    let outcome = Outcome::NotTestable { reason };
    Check { method: method.to_owned(), name: name.to_owned(), outcome, sent: Vec::new(), duration_ms: 0 }
}

struct Driver<'a> {
    host: &'a Deputy,
    caller: &'a Caller,
    fake: &'a Fake,
    inputs: &'a BTreeMap<String, String>,
    at: usize,
    checks: Vec<Check>,
}

type Found = Result<(), String>;

impl Driver<'_> {
    /// Notes a check; what the provider refused meanwhile fails it.
    fn note(&mut self, method: &AuthMethod, name: &str, begun: Instant, found: Found) -> bool {
        let (sent, refused) = self.fake.take();
        let reasons: Vec<_> = refused.into_iter().chain(found.err()).collect();
        let outcome = match reasons.is_empty() {
            true => Outcome::Passed,
            false => Outcome::Failed { reason: reasons.join("; ") },
        };
        let passed = outcome == Outcome::Passed;
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.checks.push(Check { method: method.id.clone(), name: name.to_owned(), outcome, sent, duration_ms });
        passed
    }

    fn skip(&mut self, method: &AuthMethod, name: &str, reason: &str) {
        self.checks.push(not_testable(&method.id, name, format!("not testable: {reason}")));
    }

    async fn method(&mut self, method: &AuthMethod) {
        let signed = method.rule_sets.iter().flat_map(|set| &set.rules);
        if signed.clone().any(|rule| matches!(rule, Rule::Body(_) | Rule::Path(_) | Rule::Sign(_))) {
            return self.skip(method, "the method", "the kit does not check rules of this kind yet");
        }
        self.fake.speak(self.at, None);
        self.fake.expect_test();
        let account = match &method.kind {
            AuthKind::Keys => self.keys(method).await,
            AuthKind::OAuth2Code(oauth2) => self.oauth2(method, oauth2).await,
            AuthKind::Exchange(_) => return self.skip(method, "the method", "the kit makes no exchanges yet"),
        };
        if let Some(account) = account {
            self.account(method, &account).await;
        }
    }

    async fn connect_keys(
        &self,
        method: &AuthMethod,
        tokens: BTreeMap<String, String>,
        inputs: BTreeMap<String, String>,
    ) -> Result<Connected, Error> {
        let secret = |value: String| Secret::new(value.into_bytes());
        let connect = ConnectKeys {
            app: "under-test".to_owned(),
            app_hash: None,
            method: Some(method.id.clone()),
            nickname: None,
            inputs,
            tokens: tokens.into_iter().map(|(name, value)| (name, secret(value))).collect(),
            confirm_host: true,
            skip_check: false,
            again: None,
        };
        self.host.connect_keys(self.caller, connect).await
    }

    async fn keys(&mut self, method: &AuthMethod) -> Option<String> {
        let (good, wrong) = match (pasted(method, 1), pasted(method, 2)) {
            (Ok(good), Ok(wrong)) => (good, wrong),
            (Err(error), _) | (_, Err(error)) => {
                self.skip(method, "the method", &error.to_string());
                return None;
            }
        };
        for token in method.tokens.iter().filter(|token| !token.optional) {
            let begun = Instant::now();
            let mut tokens = good.clone();
            tokens.remove(&token.name);
            let result = self.connect_keys(method, tokens, self.inputs.clone()).await;
            self.note(method, "a missing credential is asked for by name", begun, names(result, &token.name));
        }
        for input in self.fake.app.inputs.clone().iter().filter(|input| input.default.is_none()) {
            let begun = Instant::now();
            let mut inputs = self.inputs.clone();
            inputs.remove(&input.name);
            let result = self.connect_keys(method, good.clone(), inputs).await;
            self.note(method, "a missing input is asked for by name", begun, names(result, &input.name));
        }
        let name = "wrong credentials are refused, and nothing is stored";
        if self.fake.app.test.is_none() {
            self.skip(method, name, "the app declares no test request");
        } else {
            let begun = Instant::now();
            self.fake.with(|state| {
                state.tokens = wrong.clone();
                state.answering = Answering::Signal(vec![deputy_declaration::types::Condition::Status(403)]);
            });
            let result = self.connect_keys(method, wrong, self.inputs.clone()).await;
            let found = self.refused(result).await;
            self.note(method, name, begun, found);
        }
        self.fake.with(|state| {
            state.tokens = good.clone();
            state.answering = Answering::Well;
        });
        let begun = Instant::now();
        let connected = self.connect_keys(method, good, self.inputs.clone()).await;
        self.connected(method, begun, connected)
    }

    /// An error, and no account.
    async fn refused(&self, result: Result<Connected, Error>) -> Found {
        if result.is_ok() {
            return Err("the account was connected".to_owned());
        }
        let list = super::AccountList { app: Some("under-test".to_owned()), limit: 10, after: None };
        match self.host.account_list(self.caller, list).await {
            Ok(page) if page.accounts.is_empty() => Ok(()),
            Ok(_) => Err("an account was stored".to_owned()),
            Err(error) => Err(error.message),
        }
    }

    fn connected(
        &mut self,
        method: &AuthMethod,
        begun: Instant,
        connected: Result<Connected, Error>,
    ) -> Option<String> {
        let test = self.fake.app.test.clone();
        let found = match &connected {
            Err(error) => Err(error.message.clone()),
            Ok(connected) => {
                let wanted = test.as_ref().and_then(|test| test.id.as_ref()).map(|_| "conformance-1");
                let same_place = test.as_ref().is_some_and(|test| test.id == test.label);
                match connected.account.identity_id.as_deref() == wanted || same_place {
                    true => Ok(()),
                    false => Err("the identity was not read from the test request's answer".to_owned()),
                }
            }
        };
        self.note(method, "it connects", begun, found);
        if test.is_none() {
            self.skip(method, "the test request tells who it is", "the app declares no test request");
        }
        connected.ok().map(|connected| connected.account.name)
    }

    async fn begin(&self, method: &AuthMethod) -> Result<super::Begun, Error> {
        let connect = ConnectOAuth {
            app: "under-test".to_owned(),
            app_hash: None,
            method: Some(method.id.clone()),
            nickname: None,
            inputs: self.inputs.clone(),
            scopes: None,
            add_scopes: Vec::new(),
            confirm_host: true,
            skip_check: false,
            again: None,
        };
        self.host.connect_begin(self.caller, connect).await
    }

    async fn authorize(&self, method: &AuthMethod) -> Result<Connected, Error> {
        let begun = self.begin(method).await?;
        let back = self.fake.browse(&begun.authorize_url).map_err(|reason| Error::new("authorize_refused", reason))?;
        self.host.connect_paste(self.caller, &begun.flow, &back).await
    }

    async fn oauth2(&mut self, method: &AuthMethod, oauth2: &OAuth2) -> Option<String> {
        // Characters that an encoding would change, so that a wrong one shows.
        let id = "conformance+client/1".to_owned();
        let secret = (oauth2.client_auth != ClientAuth::None).then(|| "s3cret:with+odd/characters%&=".to_owned());
        let set = ClientSet {
            app: "under-test".to_owned(),
            method: Some(method.id.clone()),
            client_id: id.clone(),
            secret: secret.clone().map(|secret| Secret::new(secret.into_bytes())),
            inputs: self.inputs.clone(),
        };
        let begun = Instant::now();
        let view = match self.host.client_set(self.caller, set).await {
            Ok(view) => view,
            Err(error) => {
                self.note(method, "its client is registered", begun, Err(error.message));
                return None;
            }
        };
        let redirect_uri = view.redirect.redirect_uri;
        self.fake.speak(self.at, Some(Client { id, secret, redirect_uri }));
        self.fake.expect_test();
        let begun = Instant::now();
        self.fake.with(|state| state.token_error = Some("invalid_grant".to_owned()));
        let result = self.authorize(method).await;
        let found = self.refused(result).await;
        self.note(method, "a refused code connects nothing", begun, found);
        self.fake.with(|state| state.token_error = None);
        let begun = Instant::now();
        let connected = self.authorize(method).await;
        self.connected(method, begun, connected)
    }

    async fn send(&self, account: &str, rule_set: Option<&str>) -> Result<super::Answer, Error> {
        let method = self.fake.app.reach.methods.first().map_or("GET", String::as_str).to_owned();
        let path = self.probe();
        let expected = Expected {
            method: method.clone(),
            path: path.clone(),
            headers: Vec::new(),
            body: Vec::new(),
            rule_set: rule_set.map(str::to_owned),
        };
        self.fake.expect(expected);
        let verb =
            Method::from_bytes(method.as_bytes()).map_err(|error| Error::new("app_test_failed", error.to_string()))?;
        let request = HttpRequest { rule_set: rule_set.map(str::to_owned), ..HttpRequest::new(verb, path) };
        self.host.request(self.caller, account, request).await
    }

    /// Within reach, and like no test request where the reach leaves the choice.
    fn probe(&self) -> String {
        let app = &self.fake.app;
        let base = template::base(app, self.inputs).map(|base| base.path().trim_end_matches('/').to_owned());
        let base = base.unwrap_or_default();
        let within = |path: &str| {
            app.reach.paths.is_empty() || app.reach.paths.iter().any(|prefix| path.starts_with(prefix.as_str()))
        };
        if within(&format!("{base}{PROBE}/")) {
            return format!("{PROBE}?probe=a%20b");
        }
        let below = app.reach.paths.iter().find_map(|prefix| prefix.strip_prefix(&base));
        below.map_or_else(|| PROBE.to_owned(), |path| format!("{}{PROBE}?probe=a%20b", path.trim_end_matches('/')))
    }

    /// What holds for a connected account, whatever connected it.
    async fn account(&mut self, method: &AuthMethod, account: &str) {
        for set in &method.rule_sets {
            let begun = Instant::now();
            let found = ok(self.send(account, Some(&set.name)).await).await.map(|_| ());
            self.note(
                method,
                &format!("`{}` puts the credentials in their place, and nowhere else", set.name),
                begun,
                found,
            );
        }
        let begun = Instant::now();
        let secrets = self.fake.with(|state| {
            state.answering = Answering::Echo;
            state.tokens.values().cloned().collect::<Vec<_>>()
        });
        let found = match ok(self.send(account, None).await).await {
            Ok(body) if secrets.iter().any(|secret| body.contains(secret.as_str())) => {
                Err("the caller got a credential back".to_owned())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        self.note(method, "credentials in an answer are scrubbed", begun, found);
        for list in conditions(&self.fake.app.signals.throttled, 429) {
            let begun = Instant::now();
            self.fake.with(|state| state.answering = Answering::Signal(list));
            let found = match self.send(account, None).await {
                Ok(answer) if answer.throttled.is_some() => Ok(()),
                Ok(_) => Err("the answer was not seen as throttled".to_owned()),
                Err(error) => Err(error.message),
            };
            self.note(method, "a throttle is seen", begun, found);
        }
        self.fake.with(|state| state.answering = Answering::Well);
        let begun = Instant::now();
        let outside = HttpRequest::new(Method::GET, "https://outside.conformance.example/");
        let found = match self.host.request(self.caller, account, outside).await {
            Ok(_) => Err("it was sent".to_owned()),
            Err(_) => Ok(()),
        };
        self.note(method, "nothing goes outside the reach", begun, found);
        if matches!(method.kind, AuthKind::OAuth2Code(_)) {
            self.expiry(method, account).await;
        }
        self.end(method, account).await;
    }

    async fn expiry(&mut self, method: &AuthMethod, account: &str) {
        let name = "an expired token is refreshed once, and the request made again";
        if !method.tokens.iter().any(|token| token.reply.as_ref().is_some_and(|place| place.refresh.is_some())) {
            return self.skip(method, name, "the declared replies hold no refresh token");
        }
        for list in conditions(&self.fake.app.signals.expired, 401) {
            let begun = Instant::now();
            let before = self.fake.with(|state| {
                state.answering = Answering::Once(list);
                state.refreshes
            });
            let found = match self.send(account, None).await {
                Ok(answer) if answer.renewed && answer.status.is_success() => Ok(()),
                Ok(answer) => Err(format!("it answered {}, refreshed: {}", answer.status, answer.renewed)),
                Err(error) => Err(error.message),
            };
            let count = self.fake.with(|state| state.refreshes) - before;
            // Each refresh token is used once.
            let wanted =
                method.tokens.iter().filter(|token| token.reply.as_ref().is_some_and(|place| place.refresh.is_some()));
            let wanted = wanted.count() as u64;
            let found = found.and_then(|()| match count == wanted {
                true => Ok(()),
                false => Err(format!("{count} refreshes were made instead of {wanted}")),
            });
            self.note(method, name, begun, found);
        }
    }

    async fn end(&mut self, method: &AuthMethod, account: &str) {
        let begun = Instant::now();
        let deleted = self.host.account_delete(self.caller, account, true).await;
        let declared = matches!(&method.kind, AuthKind::OAuth2Code(oauth2) if oauth2.revoke_url.is_some());
        let found = match deleted {
            Err(error) => Err(error.message),
            Ok(_) if declared && self.fake.with(|state| state.revoked.is_empty()) => {
                Err("nothing was revoked".to_owned())
            }
            Ok(_) => Ok(()),
        };
        self.note(method, "a deleted account is revoked where the app says how", begun, found);
    }
}

/// The body of a good answer.
async fn ok(answer: Result<super::Answer, Error>) -> Result<String, String> {
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
