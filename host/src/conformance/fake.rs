//! The made provider's state, and which of the requests that it expects has come.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{AnyOf, App, AuthKind, AuthMethod, Condition, Part, Template};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;

use super::calls::Chain;
use super::recorded::{Fixture, To};
use super::wanted::{Difference, Wanted, put};
use super::{api, calls, login};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub host: String,
    pub method: String,
    /// With the query.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

pub(super) type Reply = (u16, Vec<(String, String)>, Vec<u8>);

/// The OAuth client that is registered.
#[derive(Debug, Clone)]
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
    pub redirect_uri: String,
}

/// How the API answers a request that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    Well,
    /// All conditions of one list of a signal, until it is changed.
    Signal(Vec<Condition>),
    /// The same, until a token is issued anew.
    UntilRenewed(Vec<Condition>),
    /// The credentials themselves come back in the body.
    Echo,
    /// As it was recorded, once; or until a token is issued anew.
    Recorded(Box<Fixture>),
}

/// A request to the API that the host was asked for.
#[derive(Debug, Clone)]
pub struct Expected {
    pub to: To,
    pub method: String,
    /// Below the base, with the query; or an absolute URL.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub rule_set: Option<String>,
    /// What the answer says when all is well.
    pub answer: Value,
}

pub struct State {
    pub(super) method: usize,
    /// Every input of the method, whoever says it.
    pub inputs: BTreeMap<String, String>,
    pub(super) client: Option<Client>,
    /// Pasted secrets and current access tokens, by name.
    pub tokens: BTreeMap<String, String>,
    /// Current refresh token of each token.
    pub refresh: BTreeMap<String, String>,
    pub(super) codes: BTreeMap<String, login::Authorized>,
    pub(super) device: Option<String>,
    /// How far a chain of calls has come: the place of the call that may follow.
    pub(super) chain: Option<(Chain, usize)>,
    pub(super) issued: u64,
    pub(super) expected: Vec<Expected>,
    pub answering: Answering,
    /// The login is answered with this error.
    pub login_error: Option<String>,
    /// What new tokens last.
    pub lifetime_s: u64,
    /// Renewals that went well.
    pub renewals: u64,
    /// What was revoked.
    pub revoked: Vec<String>,
    /// What the service really answered, instead of what the declaration makes.
    pub recorded: Vec<Fixture>,
    sent: Vec<String>,
    refused: Vec<Refused>,
}

/// A request that was refused.
#[derive(Debug)]
pub struct Refused {
    pub reason: String,
    /// What of the declaration it should have been made from.
    pub about: Option<String>,
}

/// What a request that is right leads to.
pub(super) enum Then {
    Code(String),
    DeviceCode,
    DeviceToken,
    /// By the refresh token of this token.
    Refresh(String),
    /// RFC 7009.
    Revoke(&'static str),
    Call(Chain, usize),
    /// An answer of the API, and what its signature still has to prove.
    Api(Expected, Vec<deputy_declaration::types::Signer>),
}

pub(super) type Candidates = Vec<(Wanted, Then)>;

/// A provider made from a declaration.
pub struct Fake {
    pub app: App,
    state: Mutex<State>,
}

impl Fake {
    pub fn new(app: App) -> Self {
        let state = State {
            method: 0,
            inputs: BTreeMap::new(),
            client: None,
            tokens: BTreeMap::new(),
            refresh: BTreeMap::new(),
            codes: BTreeMap::new(),
            device: None,
            chain: None,
            issued: 0,
            expected: Vec::new(),
            answering: Answering::Well,
            login_error: None,
            lifetime_s: 3600,
            renewals: 0,
            revoked: Vec::new(),
            recorded: Vec::new(),
            sent: Vec::new(),
            refused: Vec::new(),
        };
        Self { app, state: Mutex::new(state) }
    }

    /// Sets or reads the state. No lock is held over an await.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the method at this place is spoken: by this client, and for whoever has these secrets.
    pub fn speak(
        &self,
        method: usize,
        inputs: BTreeMap<String, String>,
        tokens: BTreeMap<String, String>,
        client: Option<Client>,
    ) {
        self.with(|state| {
            let issued = state.issued;
            *state = State {
                method,
                inputs,
                client,
                tokens,
                refresh: BTreeMap::new(),
                codes: BTreeMap::new(),
                device: None,
                chain: None,
                issued,
                expected: Vec::new(),
                answering: Answering::Well,
                login_error: None,
                lifetime_s: 3600,
                renewals: 0,
                revoked: Vec::new(),
                recorded: Vec::new(),
                sent: std::mem::take(&mut state.sent),
                refused: std::mem::take(&mut state.refused),
            };
        });
        self.with(|state| state.expected = api::at_connect(&self.app, state));
    }

    /// This request to the API, and no other.
    pub fn expect(&self, expected: Expected) {
        self.with(|state| state.expected = vec![expected]);
    }

    /// What came since the last time, and what of it was refused and why.
    pub fn take(&self) -> (Vec<String>, Vec<Refused>) {
        self.with(|state| (std::mem::take(&mut state.sent), std::mem::take(&mut state.refused)))
    }

    pub fn answer(&self, seen: Seen) -> Reply {
        self.with(|state| {
            // The path may hold a credential.
            let path = state.masked(seen.target.split('?').next().unwrap_or_default());
            state.sent.push(format!("{} https://{}{path}", seen.method, seen.host));
            match self.route(state, &seen) {
                Ok(reply) => reply,
                Err(Refused { reason, about }) => {
                    let reply = json_reply(421, &json!({ "refused": reason }));
                    let reason = format!("{} https://{}{path}: {reason}", seen.method, seen.host);
                    state.refused.push(Refused { reason, about });
                    reply
                }
            }
        })
    }

    /// The wanted request that this one is; else what sets it apart from the one it is most like.
    fn route(&self, state: &mut State, seen: &Seen) -> Result<Reply, Refused> {
        let unknown = |reason: String| Refused { reason, about: None };
        let method = self.method(state).map_err(unknown)?;
        let mut candidates = Candidates::new();
        match &method.kind {
            AuthKind::OAuth2Code(oauth2) => {
                login::candidates(self, state, oauth2, seen, &mut candidates).map_err(unknown)?;
            }
            AuthKind::Keys | AuthKind::Exchange(_) => {}
        }
        calls::candidates(self, state, method, &mut candidates).map_err(unknown)?;
        api::candidates(self, state, method, &mut candidates).map_err(unknown)?;
        let mut depth = 0;
        let mut nearest = unknown("no request was asked for".to_owned());
        for (wanted, then) in candidates {
            match wanted.check(seen, &state.secrets()) {
                Ok(()) => {
                    let differs = |difference: Difference| Refused {
                        about: Some(wanted.part(&difference)),
                        reason: difference.reason,
                    };
                    return self.reply(state, method, seen, then).map_err(differs);
                }
                Err(difference) if difference.depth >= depth => {
                    depth = difference.depth;
                    nearest = Refused { about: Some(wanted.part(&difference)), reason: difference.reason };
                }
                Err(_) => {}
            }
        }
        Err(nearest)
    }

    /// What was recorded for this request, else what the declaration makes of an answer.
    fn reply(&self, state: &mut State, method: &AuthMethod, seen: &Seen, then: Then) -> Result<Reply, Difference> {
        let recorded = recorded(state, &then, seen).cloned();
        if let Some(fixture) = &recorded {
            let code = match &then {
                Then::Code(code) => Some(code.as_str()),
                _ => None,
            };
            fixture.check(state, seen, code)?;
        }
        let late = |reason: String| Difference::new(Difference::HEADERS, reason);
        let made = self.lead(state, method, seen, then).map_err(late)?;
        Ok(recorded.map_or(made, |fixture| fixture.reply(state)))
    }

    fn lead(&self, state: &mut State, method: &AuthMethod, seen: &Seen, then: Then) -> Result<Reply, String> {
        match then {
            Then::Api(expected, signers) => api::answer(state, seen, &expected, &signers),
            Then::Call(chain, at) => calls::answer(self, state, method, chain, at),
            then => login::answer(self, state, method, then),
        }
    }

    /// The browser at the authorize page: where it is sent back to.
    pub fn browse(&self, url: &str) -> Result<String, String> {
        self.with(|state| {
            state.sent.push("GET the authorize page".to_owned());
            let answer = self.method(state).and_then(|method| match &method.kind {
                AuthKind::OAuth2Code(oauth2) => login::authorize(self, state, oauth2, url),
                AuthKind::Keys | AuthKind::Exchange(_) => Err("the method has no authorize page".to_owned()),
            });
            answer.inspect_err(|reason| {
                let reason = format!("the authorize page: {reason}");
                let about = Some(format!("methods[{}].kind.oauth2-code.authorize-url", state.method));
                state.refused.push(Refused { reason, about });
            })
        })
    }

    fn method(&self, state: &State) -> Result<&AuthMethod, String> {
        self.app.methods.get(state.method).ok_or_else(|| "no such method".to_owned())
    }

    pub(super) fn url(&self, state: &State, template: &Template) -> Result<Url, String> {
        let id = state.client.as_ref().map(|client| utf8_percent_encode(&client.id, NON_ALPHANUMERIC).to_string());
        let fill = |part: &Part| match part {
            Part::Host(host) if host.name == "client_id" => Part::Text(id.clone().unwrap_or_default()),
            _ => part.clone(),
        };
        let template: Template = template.iter().map(fill).collect();
        template::url(&self.app, &template, &state.inputs, "url").map_err(|error| error.to_string())
    }
}

impl State {
    pub fn client(&self) -> Option<Client> {
        self.client.clone()
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        let client = self.client.as_ref().and_then(|client| client.secret.as_ref());
        let all = self.tokens.values().chain(self.refresh.values()).chain(client).map(String::as_str);
        all.filter(|value| value.len() >= 4).collect()
    }

    /// A path for the report: without the values of credentials.
    fn masked(&self, path: &str) -> String {
        self.secrets().into_iter().fold(path.to_owned(), |path, secret| path.replace(secret, "…"))
    }

    /// A recorded text with this run's values where `{names}` stand.
    pub(super) fn filled(&self, text: &str) -> String {
        let client = self.client.iter().flat_map(|client| {
            let secret = client.secret.as_ref().map(|secret| ("client_secret", secret));
            [("client_id", &client.id), ("redirect_uri", &client.redirect_uri)].into_iter().chain(secret)
        });
        let named = |(name, value): (&str, &String)| (format!("{{{name}}}"), value.clone());
        let mut values: Vec<(String, String)> = client.map(named).collect();
        values.extend(self.inputs.iter().chain(&self.tokens).map(|(name, value)| named((name, value))));
        values.extend(self.refresh.iter().map(|(name, value)| (format!("{{{name}.refresh}}"), value.clone())));
        values.extend(self.refresh.values().next().map(|value| ("{refresh_token}".to_owned(), value.clone())));
        values.into_iter().fold(text.to_owned(), |text, (name, value)| text.replace(&name, &value))
    }

    /// Whether every token that a template names is there.
    pub(super) fn has(&self, template: &[Part]) -> bool {
        template::names(template).all(|name| !matches!(name, Name::Token(token) if !self.tokens.contains_key(token)))
    }

    /// A template with the values of this moment. None: it names a token that is not there.
    pub(super) fn render(&self, template: &[Part]) -> Result<Option<String>, String> {
        if !self.has(template) {
            return Ok(None);
        }
        let client = self.client.as_ref();
        let lookup = |name: Name<'_>| match name {
            Name::Input(name) => self.inputs.get(name).map(String::as_bytes),
            Name::Token(name) => self.tokens.get(name).map(String::as_bytes),
            Name::Host("client_id") => client.map(|client| client.id.as_bytes()),
            Name::Host("client_secret") => client.and_then(|client| client.secret.as_deref()).map(str::as_bytes),
            Name::Host("redirect_uri") => client.map(|client| client.redirect_uri.as_bytes()),
            Name::Host("refresh_token") => self.refresh.values().next().map(String::as_bytes),
            Name::Host(_) => None,
        };
        let mut out = Vec::new();
        template::render(template, &mut out, lookup).map_err(|error| error.to_string())?;
        String::from_utf8(out).map(Some).map_err(|error| error.to_string())
    }
}

fn recorded<'s>(state: &'s State, then: &Then, seen: &Seen) -> Option<&'s Fixture> {
    let (to, call) = match then {
        Then::Code(_) | Then::DeviceToken => (To::Token, 0),
        Then::Call(Chain::Login, at) => (To::Token, *at),
        Then::Call(Chain::Then, at) => (To::Token, at + 1),
        Then::Refresh(_) => (To::Refresh, 0),
        Then::Call(Chain::Refresh, at) => (To::Refresh, *at),
        Then::Api(expected, _) => (expected.to, 0),
        Then::DeviceCode | Then::Revoke(_) | Then::Call(Chain::Revoke, _) => return None,
    };
    let path = seen.target.split('?').next();
    let of_this = |fixture: &&Fixture| {
        let url = fixture.request.url.as_ref().and_then(|url| Url::parse(&state.filled(url)).ok());
        fixture.to == to
            && fixture.call == call
            // Several requests may find out inputs.
            && (to != To::Inputs || url.is_none_or(|url| Some(url.path()) == path))
    };
    state.recorded.iter().find(of_this)
}

pub(super) fn json_reply(status: u16, body: &Value) -> Reply {
    (status, vec![("content-type".to_owned(), "application/json".to_owned())], body.to_string().into_bytes())
}

/// An answer for which all conditions of a list hold.
pub(super) fn signal(conditions: &[Condition]) -> Reply {
    let mut status = 200;
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let mut body = json!({});
    for condition in conditions {
        match condition {
            Condition::Status(code) => status = *code,
            Condition::Header(header) => headers.push((header.name.clone(), header.value.clone())),
            Condition::Body(field) => {
                let value = match field.value.as_str() {
                    "true" | "false" | "null" => serde_json::from_str(&field.value).unwrap_or(Value::Null),
                    text => Value::String(text.to_owned()),
                };
                put(&mut body, &field.name, value);
            }
        }
    }
    (status, headers, body.to_string().into_bytes())
}

/// The signal's lists, or what HTTP says where the app says nothing.
pub fn conditions(lists: &AnyOf, default: u16) -> AnyOf {
    if lists.is_empty() { vec![vec![Condition::Status(default)]] } else { lists.clone() }
}
