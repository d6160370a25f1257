//! What the tests of this room share: small apps, a store whose clock they move, and a strict server at the end of
//! the road.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use deputy_declaration::source;
use deputy_declaration::types::App;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::apps::{Apps, PinnedApp};
use super::road::{ProbeAnswer, RoadError, TokenAnswer, TokenRoad};
use super::rows::Rows;
use crate::egress::{Body, Credential, EgressError, Request, TokenCall};
use crate::store::MemoryStore;
use crate::store::{Op, Row, Store, StoreError};
use crate::time::Time;
use crate::vault::Vault;

pub const NO_INPUTS: &BTreeMap<String, String> = &BTreeMap::new();

pub fn app() -> App {
    app_at("https://as.example")
}

/// An app `as` whose OAuth server and API stand at `base`.
pub fn app_at(base: &str) -> App {
    app_with(base, "strict", "")
}

pub fn app_with(base: &str, rotation: &str, oauth: &str) -> App {
    let text = format!(
        r#"
slug = "as"
name = "Auth Server"
summary = "A test."
evidence = {{ level = "facts", date = "2026-11-23", source = "a test" }}
base = "{base}"
headers.X-Version = "7"
test = {{ path = "/me", id = "/id", label = "/login" }}

[methods.oauth]
header.Authorization = "Bearer {{access_token}}"
[methods.oauth.oauth2]
authorize-url = "{base}/authorize"
token-url = "{base}/token"
revoke-url = "{base}/revoke"
{rotation}
redirect = "loopback"
{oauth}
[methods.oauth.oauth2.scopes]
read = {{ text = "Read", default = true }}
write = "Write"

[methods.token]
tokens.key = {{ label = "Key", example = "tk_xxxx", pattern = 'tk_[a-z]+' }}
header.Authorization = "Bearer {{key}}"

[signals]
expired = [{{ status = 401 }}]
revoked = [{{ status = 403, body = {{ "/error" = "account_revoked" }} }}]
"#,
        rotation = match rotation {
            "grace" => "rotation = { grace-s = 60 }".to_owned(),
            other => format!("rotation = \"{other}\""),
        },
    );
    source::parse("as.toml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// An app with a tenant host.
pub fn shop() -> App {
    let text = r#"
slug = "shop"
name = "Shop"
summary = "A test."
evidence = { level = "facts", date = "2026-11-23", source = "a test" }
base = "https://{shop}.shop.example.com"
inputs.shop = { kind = "host-label" }
methods.token.tokens.key = { label = "Key" }
methods.token.header.X-Token = "{key}"
"#;
    source::parse("shop.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// An app at a base URL of the owner's choice.
pub fn own() -> App {
    let text = r#"
slug = "own"
name = "Own"
summary = "A test."
evidence = { level = "facts", date = "2026-11-23", source = "a test" }
base = "{base_url}"
inputs.base_url = { kind = "base-url" }
methods.token.tokens.key = { label = "Key" }
methods.token.header.X-Token = "{key}"
"#;
    source::parse("own.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

pub fn pinned(app: &App) -> PinnedApp {
    PinnedApp { hash: format!("hash of {} {:?}", app.slug, app.base), app: Arc::new(app.clone()) }
}

/// A catalog of these apps.
pub struct TestApps(pub Vec<PinnedApp>);

impl TestApps {
    pub fn of(apps: &[App]) -> Arc<Self> {
        Arc::new(Self(apps.iter().map(pinned).collect()))
    }
}

impl Apps for TestApps {
    fn current(&self, slug: &str) -> Result<Option<PinnedApp>, super::AuthError> {
        Ok(self.0.iter().find(|pinned| pinned.app.slug == slug).cloned())
    }

    fn pinned(&self, hash: &str) -> Result<Option<PinnedApp>, super::AuthError> {
        Ok(self.0.iter().find(|pinned| pinned.hash == hash).cloned())
    }

    fn keep(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A store in memory whose clock stands still until it is moved, and whose writes can be made to fail.
pub struct ClockStore {
    inner: MemoryStore,
    now_ms: AtomicI64,
    pub reads: AtomicI64,
    /// Commits that still go through; negative: all of them.
    pub commits_left: AtomicI64,
}

impl ClockStore {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            now_ms: AtomicI64::new(1_800_000_000_000),
            reads: AtomicI64::new(0),
            commits_left: AtomicI64::new(-1),
        })
    }

    pub fn advance(&self, duration: Duration) {
        self.now_ms.fetch_add(i64::try_from(duration.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Store for ClockStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.get(key)
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Row)>, StoreError>> {
        Box::pin(async move {
            let rows = self.inner.scan(prefix, after, limit).await?;
            self.reads.fetch_add(1 + i64::try_from(rows.len()).unwrap(), Ordering::SeqCst);
            Ok(rows)
        })
    }

    fn commit(&self, operations: Vec<Op>) -> BoxFuture<'_, Result<(), StoreError>> {
        match self.commits_left.load(Ordering::SeqCst) {
            0 => return Box::pin(async { Err(StoreError::Failed("no space left on device".to_owned())) }),
            1.. => {
                self.commits_left.fetch_sub(1, Ordering::SeqCst);
            }
            _ => {}
        }
        self.inner.commit(operations)
    }

    fn now(&self) -> Time {
        Time(self.now_ms.load(Ordering::SeqCst))
    }
}

pub fn rows() -> Rows {
    rows_on(ClockStore::new())
}

pub fn rows_on(store: Arc<ClockStore>) -> Rows {
    Rows { store, vault: Arc::new(Vault::ephemeral()) }
}

/// How the next token call ends.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Never reached.
    NotSent,
    /// Not acted on, and no answer.
    LostRequest,
    /// Acted on, and the answer is lost.
    LostReply,
    Answer(u16, &'static str),
}

#[derive(Default)]
pub struct ServerState {
    /// The one refresh token that is valid.
    pub refresh: Option<String>,
    pub issued: u32,
    pub calls: u32,
    pub revoked: Vec<String>,
    pub faults: VecDeque<Fault>,
    pub expires_in_s: u32,
    /// Answers without a new refresh token, and the old one stays.
    pub keeps_refresh: bool,
    pub probe: Option<(u16, &'static str)>,
    pub bodies: Vec<String>,
}

/// A strict authorization server: a refresh token used twice ends the grant.
pub struct StrictServer {
    state: Mutex<ServerState>,
    /// When set, token calls wait for it after they were counted.
    pub gate: Mutex<Option<Arc<Notify>>>,
    pub arrived: Notify,
}

impl StrictServer {
    pub fn new(refresh: &str) -> Arc<Self> {
        let state = ServerState { refresh: Some(refresh.to_owned()), expires_in_s: 3600, ..ServerState::default() };
        Arc::new(Self { state: Mutex::new(state), gate: Mutex::default(), arrived: Notify::new() })
    }

    pub fn state(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().unwrap()
    }

    pub fn fault(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    fn token(&self, form: &BTreeMap<String, String>) -> (u16, String) {
        let mut state = self.state();
        let known = match form["grant_type"].as_str() {
            "authorization_code" => form["code"] == "good",
            _ => state.refresh.as_deref() == Some(form["refresh_token"].as_str()),
        };
        if !known {
            // Used twice: the family dies.
            state.refresh = None;
            return (400, r#"{"error":"invalid_grant"}"#.to_owned());
        }
        state.issued += 1;
        let issued = state.issued;
        let mut reply = serde_json::json!({
            "access_token": format!("at-{issued}"), "token_type": "bearer", "expires_in": state.expires_in_s,
        });
        if !state.keeps_refresh {
            let next = format!("rt-{issued}");
            reply["refresh_token"] = next.clone().into();
            state.refresh = Some(next);
        }
        (200, reply.to_string())
    }
}

impl TokenRoad for StrictServer {
    fn call<'a>(&'a self, call: &'a TokenCall, request: Request) -> BoxFuture<'a, Result<TokenAnswer, RoadError>> {
        Box::pin(async move {
            let Body::Bytes(body) = &request.body else { panic!("a token call has a body") };
            let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
            assert_eq!(request.url, call.endpoint.as_str());
            let fault = {
                let mut state = self.state();
                state.bodies.push(String::from_utf8(body.to_vec()).unwrap());
                if call.purpose == "revoke" {
                    state.revoked.push(form["token"].clone());
                    return Ok(answer(200, ""));
                }
                state.calls += 1;
                state.faults.pop_front()
            };
            self.arrived.notify_one();
            let gate = self.gate.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            match fault {
                Some(Fault::NotSent) => Err(RoadError::NotSent("the connection was refused".to_owned())),
                Some(Fault::LostRequest) => Err(RoadError::Ambiguous("the connection was reset".to_owned())),
                Some(Fault::LostReply) => {
                    self.token(&form);
                    Err(RoadError::Ambiguous("the connection was reset".to_owned()))
                }
                Some(Fault::Answer(status, body)) => Ok(answer(status, body)),
                None => {
                    let (status, body) = self.token(&form);
                    Ok(answer(status, &body))
                }
            }
        })
    }

    fn probe<'a>(
        &'a self,
        credential: Credential<'a>,
        _request: Request,
    ) -> BoxFuture<'a, Result<ProbeAnswer, EgressError>> {
        Box::pin(async move {
            let Credential::Account { grant, tokens } = credential else { panic!("a probe goes through an account") };
            tokens.live(grant).await?;
            let (status, body) = self.state().probe.unwrap_or((200, r#"{"id":7,"login":"Ada L."}"#));
            Ok(ProbeAnswer { status, failed: false, body: body.as_bytes().to_vec() })
        })
    }
}

fn answer(status: u16, body: &str) -> TokenAnswer {
    TokenAnswer {
        status,
        retry_after: None,
        headers: Default::default(),
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}
