//! The exchanges that a test expects, in order: the next request must be the next of them, byte for byte.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::support::provider::{Reply, Seen};

/// An app, as its accounts are connected and recognised.
#[derive(Clone)]
pub struct App {
    pub slug: &'static str,
    /// The auth method whose key is pasted.
    pub method: &'static str,
    pub key: &'static str,
    pub inputs: &'static [(&'static str, &'static str)],
    /// The first is where requests go, unless an exchange names another.
    pub hosts: &'static [&'static str],
    /// What every request to it carries: the credential in its slot, and the app's own headers.
    pub headers: Vec<(&'static str, String)>,
    pub test: Exchange,
}

/// One run of an action, and all that it owes.
#[derive(Clone)]
pub struct Owed {
    pub action: &'static str,
    pub props: Value,
    pub sends: Vec<Exchange>,
    pub gives: Gives,
}

#[derive(Clone)]
pub enum Gives {
    Value(Value),
    /// Status and body of the whole answer.
    Answer(u16, Value),
}

#[derive(Clone)]
pub enum Sent {
    Nothing,
    Json(Value),
    /// Exactly these bytes, form or JSON.
    Text(&'static str, &'static str),
}

#[derive(Clone)]
pub struct Exchange {
    pub method: &'static str,
    /// With the query, as it stands on the wire.
    pub target: String,
    pub body: Sent,
    /// Beyond those of the app.
    pub headers: Vec<(&'static str, String)>,
    pub status: u16,
    pub reply: Value,
    pub reply_headers: Vec<(&'static str, String)>,
}

impl Exchange {
    fn new(method: &'static str, target: impl Into<String>, body: Sent) -> Self {
        let target = target.into();
        Self { method, target, body, headers: Vec::new(), status: 200, reply: Value::Null, reply_headers: Vec::new() }
    }

    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target, Sent::Nothing)
    }

    pub fn post(target: impl Into<String>, body: Value) -> Self {
        Self::new("POST", target, Sent::Json(body))
    }

    pub fn json(method: &'static str, target: impl Into<String>, body: Value) -> Self {
        Self::new(method, target, Sent::Json(body))
    }

    pub fn form(target: impl Into<String>, body: &'static str) -> Self {
        Self::new("POST", target, Sent::Text("application/x-www-form-urlencoded", body))
    }

    pub fn bare(method: &'static str, target: impl Into<String>) -> Self {
        Self::new(method, target, Sent::Nothing)
    }

    pub fn text(method: &'static str, target: impl Into<String>, kind: &'static str, body: &'static str) -> Self {
        Self::new(method, target, Sent::Text(kind, body))
    }

    pub fn answers(self, status: u16, reply: Value) -> Self {
        Self { status, reply, ..self }
    }

    /// One more header of the answer.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.reply_headers.push((name, value.to_owned()));
        self
    }

    /// One more header of the request.
    pub fn carrying(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.body {
            Sent::Nothing => Vec::new(),
            Sent::Json(value) => value.to_string().into_bytes(),
            Sent::Text(_, text) => text.as_bytes().to_vec(),
        }
    }

    /// All headers of the request, by name.
    fn all_headers(&self, app: &App, host: &str) -> BTreeMap<String, String> {
        let mut headers: BTreeMap<String, String> = [
            ("host", host),
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
            ("user-agent", concat!("deputy/", env!("CARGO_PKG_VERSION"))),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let length = self.bytes().len();
        if length > 0 || matches!(self.method, "POST" | "PUT" | "PATCH") {
            headers.insert("content-length".to_owned(), length.to_string());
        }
        match self.body {
            Sent::Nothing => {}
            Sent::Json(_) => drop(headers.insert("content-type".to_owned(), "application/json".to_owned())),
            Sent::Text(kind, _) => drop(headers.insert("content-type".to_owned(), kind.to_owned())),
        }
        for (name, value) in app.headers.iter().chain(&self.headers) {
            headers.insert((*name).to_owned(), value.clone());
        }
        headers
    }
}

#[derive(Default)]
struct State {
    strict: VecDeque<Exchange>,
    /// Host, path, answer: what connecting by OAuth asks for, which other tests look at.
    loose: Vec<(&'static str, &'static str, Value)>,
    faults: Vec<String>,
    answered: usize,
}

/// What the provider answers by.
pub struct Wire {
    apps: Vec<App>,
    state: Mutex<State>,
}

impl Wire {
    pub fn new(apps: &[App]) -> Self {
        Self { apps: apps.to_vec(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on exactly these, in order.
    pub fn expect(&self, exchanges: Vec<Exchange>) {
        let mut state = self.state();
        state.strict = exchanges.into();
        state.loose.clear();
        state.faults.clear();
    }

    pub fn expect_loosely(&self, answers: Vec<(&'static str, &'static str, Value)>) {
        self.state().loose = answers;
    }

    /// Everything expected has come, and nothing else.
    #[track_caller]
    pub fn settled(&self, what: &str) {
        if let Err(fault) = self.state_of() {
            panic!("{what}: {fault}");
        }
    }

    /// What came that was not expected, or did not come.
    pub fn state_of(&self) -> Result<(), String> {
        let state = self.state();
        if !state.faults.is_empty() {
            return Err(state.faults.join("\n"));
        }
        let left: Vec<_> = state.strict.iter().map(|next| format!("{} {}", next.method, next.target)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("these never came: {left:?}")) }
    }

    pub fn faults(&self) -> Vec<String> {
        self.state().faults.clone()
    }

    pub fn answered(&self) -> usize {
        self.state().answered
    }

    pub fn answer(&self, seen: &Seen) -> Reply {
        let mut state = self.state();
        state.answered += 1;
        if let Some((_, _, answer)) =
            state.loose.iter().find(|(host, path, _)| *host == seen.host && *path == seen.target)
        {
            return Reply::json(200, answer);
        }
        let next = state.strict.pop_front();
        match self.judge(seen, next) {
            Ok(exchange) => {
                let reply = match exchange.reply {
                    Value::Null => Reply { status: exchange.status, headers: Vec::new(), body: Vec::new() },
                    body => Reply::json(exchange.status, &body),
                };
                exchange.reply_headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
            }
            Err(fault) => {
                state.faults.push(fault);
                Reply { status: 418, headers: Vec::new(), body: Vec::new() }
            }
        }
    }

    fn judge(&self, seen: &Seen, next: Option<Exchange>) -> Result<Exchange, String> {
        let came = format!("{} {}{}", seen.method, seen.host, seen.target);
        let next = next.ok_or_else(|| format!("{came}: nothing more was owed"))?;
        let app = self.apps.iter().find(|app| app.hosts.contains(&seen.host.as_str()));
        let app = app.ok_or_else(|| format!("{came}: no app lives there"))?;
        let host = app.hosts[0];
        let owed = format!("{} {host}{}", next.method, next.target);
        if came != owed {
            return Err(format!("owed: {owed}\ncame: {came}"));
        }
        if seen.body != next.bytes() {
            let owed = String::from_utf8_lossy(&next.bytes()).into_owned();
            return Err(format!("{came}\nowed: {owed}\ncame: {}", seen.text()));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in &seen.headers {
            if headers.insert(name.clone(), value.clone()).is_some() {
                return Err(format!("{came}: the header {name} came twice"));
            }
        }
        let owed = next.all_headers(app, host);
        if headers != owed {
            return Err(format!("{came}\nowed: {owed:?}\ncame: {headers:?}"));
        }
        Ok(next)
    }
}
