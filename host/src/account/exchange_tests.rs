//! Accounts by exchange: a login that is made again, a refresh token beside it, and the end of both.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deputy_declaration::source;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::auth::road::{ProbeAnswer, RoadError, TokenAnswer};
use crate::auth::testing::{ClockStore, TestApps};
use crate::caller::{Caller, Owner};
use crate::egress::{Body, Credential, EgressError, Grant, Live, Request, TokenCall};
use crate::vault::Secret;

const PASSWORD: &str = "hunter22-canary";

#[derive(Default)]
struct Server {
    /// Path and JSON body of every call.
    seen: Mutex<Vec<(String, Value)>>,
    refuses_password: Mutex<bool>,
    refuses_refresh: Mutex<bool>,
    issued: Mutex<u32>,
}

impl Server {
    fn answer(&self, path: &str, body: &Value) -> (u16, Value) {
        let mut issued = self.issued.lock().unwrap();
        *issued += 1;
        let tokens = json!({"session": format!("session-{issued}"), "refresh": format!("rt-{issued}"), "ms": 600_000});
        match path {
            "/hello" => (200, json!({"nonce": "n-1"})),
            "/login" if body["nonce"] != "n-1" => (400, json!({"error": "no_nonce"})),
            "/login" if body["password"] != PASSWORD || *self.refuses_password.lock().unwrap() => {
                (200, json!({"error": "E_LOGIN", "sent": body["password"]}))
            }
            "/refresh" if *self.refuses_refresh.lock().unwrap() => (400, json!({"error": "E_REFRESH"})),
            "/login" | "/refresh" => (200, tokens),
            _ => (204, Value::Null),
        }
    }

    fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

impl TokenRoad for Server {
    fn call<'a>(&'a self, call: &'a TokenCall, request: Request) -> BoxFuture<'a, Result<TokenAnswer, RoadError>> {
        Box::pin(async move {
            let body = match &request.body {
                Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
                _ => Value::Null,
            };
            let path = call.endpoint.path().to_owned();
            // Everybody who waits for the same login has come by then.
            tokio::task::yield_now().await;
            let (status, answer) = self.answer(&path, &body);
            self.seen.lock().unwrap().push((path, body));
            let body = Zeroizing::new(answer.to_string().into_bytes());
            Ok(TokenAnswer { status, retry_after: None, headers: Default::default(), body })
        })
    }

    fn probe<'a>(&'a self, credential: Credential<'a>, _: Request) -> BoxFuture<'a, Result<ProbeAnswer, EgressError>> {
        Box::pin(async move {
            let Credential::Account { grant, tokens } = credential else { panic!("a probe goes through an account") };
            tokens.live(grant).await?;
            Ok(ProbeAnswer { status: 200, failed: false, body: br#"{"id":1,"login":"ada"}"#.to_vec() })
        })
    }
}

struct Bench {
    store: Arc<ClockStore>,
    server: Arc<Server>,
    accounts: Arc<Accounts>,
    caller: Caller,
}

/// `session`: more of its declaration; `more`: more of the exchange.
fn bench(session: &str, more: &str, revoke: &str) -> Bench {
    let text = format!(
        r#"
slug = "box"
name = "Box"
summary = "A test."
evidence = {{ level = "facts", date = "2026-11-23", source = "a test" }}
base = "https://api.box.example"
test = {{ path = "/me", id = "/id", label = "/login" }}
[methods.login]
tokens.username = {{}}
tokens.password = {{}}
tokens.nonce = {{ call = 0, access = "/nonce" }}
tokens.session = {{ call = 1, access = "/session", expires-in = "/ms", expires-unit = "milliseconds"{session} }}
header.Authorization = "Session {{session}}"
{revoke}
[methods.login.exchange]
error = "/error"
errors.E_LOGIN = "permanent"
errors.E_REFRESH = "permanent"
calls = [
  {{ url = "https://api.box.example/hello" }},
  {{ url = "https://api.box.example/login", json = {{ "/user" = "{{username}}", "/password" = "{{password}}", "/nonce" = "{{nonce}}" }} }},
]
{more}
[signals]
expired = [{{ status = 401 }}]
"#
    );
    let app = source::parse("box.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let store = ClockStore::new();
    let server = Arc::new(Server::default());
    let callback = Callback { listen: "127.0.0.1:7878".parse().unwrap(), public_url: None };
    let (vault, apps) = (Arc::new(Vault::ephemeral()), TestApps::of(&[app]));
    let accounts = Accounts::new(store.clone(), vault, apps, server.clone(), callback);
    Bench { store, server, accounts, caller: Caller::local() }
}

impl Bench {
    async fn connect(&self, password: &str) -> Result<AccountView, AccountError> {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        let connect = ConnectKeys {
            app: "box".to_owned(),
            app_hash: None,
            method: None,
            nickname: None,
            inputs: BTreeMap::new(),
            tokens: BTreeMap::from([("username".to_owned(), secret("ada")), ("password".to_owned(), secret(password))]),
            confirm_host: false,
            skip_check: false,
            again: None,
        };
        Ok(self.accounts.connect_keys(&self.caller, connect).await?.account)
    }

    fn grant(&self, account: &AccountView) -> Grant {
        Grant::whole(self.caller.clone(), account.id.clone())
    }

    async fn record(&self, account: &AccountView) -> crate::auth::record::Record {
        self.accounts.rows().account(&Owner::local(), &account.id).await.unwrap().unwrap().value
    }
}

fn session(live: &Live) -> String {
    String::from_utf8(live.tokens["session"].expose().to_vec()).unwrap()
}

#[tokio::test]
async fn a_login_is_made_again_when_its_token_is_over_and_once_for_all_who_ask() {
    let bench = bench("", "", "");
    let account = bench.connect(PASSWORD).await.unwrap();
    assert_eq!(bench.server.paths(), ["/hello", "/login"]);
    let record = bench.record(&account).await;
    let names: Vec<&str> = record.tokens.keys().map(String::as_str).collect();
    assert_eq!(names, ["nonce", "password", "session", "username"]);
    assert!(record.tokens["session"].again && record.tokens["session"].refresh.is_none());
    assert_eq!(record.tokens["session"].lifetime_s, Some(600));
    let tokens = bench.accounts.tokens();
    let first = session(&tokens.live(&bench.grant(&account)).await.unwrap());
    assert_eq!(bench.server.paths().len(), 2, "fresh: nothing was asked");
    bench.store.advance(Duration::from_secs(600));
    let asks = (0..20).map(|_| {
        let (tokens, grant) = (tokens.clone(), bench.grant(&account));
        tokio::spawn(async move { session(&tokens.live(&grant).await.unwrap()) })
    });
    let asks: Vec<_> = asks.collect();
    for ask in asks {
        assert_ne!(ask.await.unwrap(), first);
    }
    assert_eq!(bench.server.paths(), ["/hello", "/login", "/hello", "/login"]);
}

#[tokio::test]
async fn an_expiry_signal_forces_one_login() {
    let bench = bench("", "", "");
    let account = bench.connect(PASSWORD).await.unwrap();
    let (tokens, grant) = (bench.accounts.tokens(), bench.grant(&account));
    let live = tokens.live(&grant).await.unwrap();
    let (one, two) = tokio::join!(tokens.renew(&grant, live.generation), tokens.renew(&grant, live.generation));
    assert_eq!(session(&one.unwrap()), session(&two.unwrap()));
    assert_eq!(bench.server.paths().iter().filter(|path| *path == "/login").count(), 2);
}

#[tokio::test]
async fn a_wrong_password_is_told_without_it_and_stores_nothing() {
    let bench = bench("", "", "");
    let error = bench.connect("wrong-hunter-canary").await.unwrap_err();
    assert_eq!(error.code(), "secrets_refused");
    assert!(error.to_string().contains("E_LOGIN") && !format!("{error:?}").contains("hunter"), "{error:?}");
    let list = bench.accounts.list(&bench.caller, AccountList { limit: 10, ..AccountList::default() }).await.unwrap();
    assert!(list.accounts.is_empty());
}

#[tokio::test]
async fn a_password_that_was_changed_needs_a_person() {
    let bench = bench("", "", "");
    let account = bench.connect(PASSWORD).await.unwrap();
    *bench.server.refuses_password.lock().unwrap() = true;
    bench.store.advance(Duration::from_secs(600));
    let error = bench.accounts.tokens().live(&bench.grant(&account)).await.unwrap_err();
    assert!(error.to_string().contains("what was pasted"), "{error}");
    let calls = bench.server.paths().len();
    bench.accounts.tokens().live(&bench.grant(&account)).await.unwrap_err();
    assert_eq!(bench.server.paths().len(), calls, "a refused password is not tried again");
}

#[tokio::test]
async fn a_refresh_token_comes_first_and_the_login_when_it_is_over() {
    let refresh = r#"refresh = [{ url = "https://api.box.example/refresh", json = { "/token" = "{refresh_token}" } }]"#;
    let bench = bench(r#", refresh = "/refresh""#, refresh, "");
    let account = bench.connect(PASSWORD).await.unwrap();
    let tokens = bench.accounts.tokens();
    bench.store.advance(Duration::from_secs(600));
    tokens.live(&bench.grant(&account)).await.unwrap();
    assert_eq!(bench.server.paths(), ["/hello", "/login", "/refresh"]);
    assert_eq!(bench.server.seen.lock().unwrap()[2].1, json!({"token": "rt-2"}));
    *bench.server.refuses_refresh.lock().unwrap() = true;
    bench.store.advance(Duration::from_secs(600));
    tokens.live(&bench.grant(&account)).await.unwrap();
    assert_eq!(bench.server.paths()[3..], ["/refresh", "/hello", "/login"]);
}

#[tokio::test]
async fn a_deleted_account_ends_its_session_and_callers_reach_no_login() {
    let revoke = r#"revoke = [{ method = "DELETE", url = "https://api.box.example/session", headers.Authorization = "Session {session}" }]"#;
    let bench = bench("", "", revoke);
    let account = bench.connect(PASSWORD).await.unwrap();
    let live = bench.accounts.tokens().live(&bench.grant(&account)).await.unwrap();
    let denied: Vec<&str> = live.token_endpoints.iter().map(url::Url::path).collect();
    assert_eq!(denied, ["/session", "/hello", "/login"]);
    let deleted = bench.accounts.delete(&bench.caller, "box").await.unwrap();
    assert_eq!(deleted.note, "its tokens were revoked at Box; what was pasted stays valid there");
    assert_eq!(bench.server.paths().last().map(String::as_str), Some("/session"));
}
