//! The made provider's state, and which of its doors a request knocks at.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use deputy_declaration::template;
use deputy_declaration::types::{AnyOf, App, AuthKind, AuthMethod, Condition, OAuth2, Template};
use serde_json::{Value, json};
use url::Url;

use super::{resource, token};

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

/// How the resource answers a request that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    Well,
    /// One condition of a signal, until it is changed.
    Signal(Vec<Condition>),
    /// One condition, to the first request only.
    Once(Vec<Condition>),
    /// The credentials themselves come back in the body.
    Echo,
}

/// What the driver asked the host to send.
#[derive(Debug, Clone)]
pub struct Expected {
    pub method: String,
    /// Below the base, with the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub rule_set: Option<String>,
}

pub struct State {
    pub(super) method: usize,
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) client: Option<Client>,
    /// Current access tokens, or pasted keys, by name.
    pub tokens: BTreeMap<String, String>,
    /// Current refresh token of each token.
    pub refresh: BTreeMap<String, String>,
    pub(super) codes: BTreeMap<String, token::Authorized>,
    pub(super) issued: u64,
    pub(super) expected: Option<Expected>,
    pub answering: Answering,
    /// The token call is answered with this error.
    pub token_error: Option<String>,
    pub refreshes: u64,
    pub revoked: Vec<String>,
    sent: Vec<String>,
    refused: Vec<String>,
}

/// A provider made from a declaration.
pub struct Fake {
    pub app: App,
    state: Mutex<State>,
}

impl Fake {
    pub fn new(app: App, inputs: BTreeMap<String, String>) -> Self {
        let state = State {
            method: 0,
            inputs,
            client: None,
            tokens: BTreeMap::new(),
            refresh: BTreeMap::new(),
            codes: BTreeMap::new(),
            issued: 0,
            expected: None,
            answering: Answering::Well,
            token_error: None,
            refreshes: 0,
            revoked: Vec::new(),
            sent: Vec::new(),
            refused: Vec::new(),
        };
        Self { app, state: Mutex::new(state) }
    }

    /// Sets or reads the state. No lock is held over an await.
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the method at this place is spoken, by this client.
    pub fn speak(&self, method: usize, client: Option<Client>) {
        self.with(|state| {
            state.method = method;
            state.client = client;
            state.tokens.clear();
            state.refresh.clear();
            state.revoked.clear();
            state.answering = Answering::Well;
            state.expected = None;
        });
    }

    pub fn expect(&self, expected: Expected) {
        self.with(|state| state.expected = Some(expected));
    }

    /// The app's own test request.
    pub fn expect_test(&self) {
        let expected = self.app.test.as_ref().map(|test| Expected {
            method: test.method.clone(),
            path: test.path.clone(),
            headers: test.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
            body: test.body.clone().unwrap_or_default().into_bytes(),
            rule_set: None,
        });
        self.with(|state| state.expected = expected);
    }

    /// What came since the last time, and what of it was refused and why.
    pub fn take(&self) -> (Vec<String>, Vec<String>) {
        self.with(|state| (std::mem::take(&mut state.sent), std::mem::take(&mut state.refused)))
    }

    pub fn answer(&self, seen: Seen) -> Reply {
        self.with(|state| {
            let path = seen.target.split('?').next().unwrap_or_default().to_owned();
            state.sent.push(format!("{} https://{}{path}", seen.method, seen.host));
            match self.route(state, &seen) {
                Ok(reply) => reply,
                Err(reason) => {
                    let reply = json(421, &json!({ "refused": reason }));
                    state.refused.push(format!("{} https://{}{path}: {reason}", seen.method, seen.host));
                    reply
                }
            }
        })
    }

    fn route(&self, state: &mut State, seen: &Seen) -> Result<Reply, String> {
        let method = self.method(state)?;
        if let AuthKind::OAuth2Code(oauth2) = &method.kind {
            let is = |template: &Template| self.url(state, template).is_ok_and(|url| same_place(&url, seen));
            if oauth2.revoke_url.as_ref().is_some_and(is) {
                return token::revoke(self, state, oauth2, seen);
            }
            if is(&oauth2.token_url) || oauth2.refresh_url.as_ref().is_some_and(is) {
                return token::call(self, state, method, oauth2, seen);
            }
        }
        resource::call(self, state, method, seen)
    }

    /// The browser at the authorize page: where it is sent back to.
    pub fn browse(&self, url: &str) -> Result<String, String> {
        self.with(|state| {
            state.sent.push("GET the authorize page".to_owned());
            let answer = self.method(state).and_then(|method| match &method.kind {
                AuthKind::OAuth2Code(oauth2) => token::authorize(self, state, oauth2, url),
                AuthKind::Keys | AuthKind::Exchange(_) => Err("the method has no authorize page".to_owned()),
            });
            answer.inspect_err(|reason| state.refused.push(format!("the authorize page: {reason}")))
        })
    }

    pub(super) fn method(&self, state: &State) -> Result<&AuthMethod, String> {
        self.app.methods.get(state.method).ok_or_else(|| "no such method".to_owned())
    }

    pub(super) fn url(&self, state: &State, template: &Template) -> Result<Url, String> {
        template::url(&self.app, template, &state.inputs, "url").map_err(|error| error.to_string())
    }
}

/// The hosts that a method's requests may go to.
pub fn oauth2_urls(oauth2: &OAuth2) -> impl Iterator<Item = &Template> {
    let optional = [&oauth2.authorize_url, &oauth2.refresh_url, &oauth2.revoke_url];
    std::iter::once(&oauth2.token_url).chain(optional.into_iter().flatten())
}

pub(super) fn same_place(url: &Url, seen: &Seen) -> bool {
    authority(url) == seen.host && seen.target.split('?').next() == Some(url.path())
}

/// As the `Host` header writes it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn json(status: u16, body: &Value) -> Reply {
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

/// Sets a value at a JSON Pointer, making what is missing on the way.
pub(super) fn put(body: &mut Value, pointer: &str, value: Value) {
    let mut place = body;
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        if let Ok(index) = name.parse::<usize>() {
            if !place.is_array() {
                *place = json!([]);
            }
            let Some(list) = place.as_array_mut() else { return };
            while list.len() <= index {
                list.push(json!({}));
            }
            place = &mut list[index];
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            let Some(object) = place.as_object_mut() else { return };
            place = object.entry(name).or_insert(Value::Null);
        }
    }
    *place = value;
}
