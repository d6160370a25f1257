//! Accounts by exchange, from the prompt to the end: over TLS, with the built binary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::deputy::Deputy;
use crate::support::provider::{Provider, Reply, Seen};
use crate::support::text;

const PASSWORD: &str = "exchange-password-canary";
const SESSION: &str = "exchange-session-canary";

const APP: &str = r#"slug = "vault"
name = "Vault"
summary = "A provider that trades a password for a session"
evidence = { level = "facts", date = "2026-11-23", source = "tests/tests/all/exchange.rs" }
base = "https://api.vault.example"
test = { path = "/me", id = "/id", label = "/name" }

[methods.login]
tokens.username = {}
tokens.password = {}
tokens.session = { access-header = "X-Session" }
header.X-Session = "{session}"
revoke = [{ method = "DELETE", url = "https://api.vault.example/session", headers.X-Session = "{session}" }]

[methods.login.exchange]
error = "/error"
errors.wrong_password = "permanent"
calls = [{ url = "https://api.vault.example/session", json = { "/user" = "{username}", "/password" = "{password}" } }]

[methods.app.client-credentials]
token-url = "https://api.vault.example/token"
scopes = ["a", "b"]

[signals]
expired = [{ status = 401 }]
"#;

/// Only the last session that was given is good; `over` ends it.
#[derive(Default)]
struct Sessions {
    given: AtomicU32,
    over: AtomicBool,
}

impl Sessions {
    fn answer(&self, seen: &Seen) -> Reply {
        let last = format!("{SESSION}-{}", self.given.load(Ordering::SeqCst));
        match (seen.method.as_str(), seen.target.as_str()) {
            ("POST", "/session") if seen.json()["password"] != PASSWORD => {
                Reply::json(400, &json!({"error": "wrong_password", "sent": seen.json()["password"]}))
            }
            ("POST", "/session") => {
                self.over.store(false, Ordering::SeqCst);
                let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
                Reply::json(201, &json!({})).header("X-Session", &format!("{SESSION}-{number}"))
            }
            ("DELETE", "/session") => Reply::json(200, &json!({})),
            ("POST", "/token") => Reply::json(200, &json!({"access_token": "cc-canary", "expires_in": 3600})),
            _ if seen.header("authorization") == "Bearer cc-canary" => {
                Reply::json(200, &json!({"id": 8, "name": "App"}))
            }
            _ if seen.header("x-session") != last || self.over.load(Ordering::SeqCst) => {
                Reply::json(401, &json!({"error": "over"}))
            }
            _ => Reply::json(200, &json!({"id": 7, "name": "Ada"})),
        }
    }
}

fn world() -> (Provider, Deputy, Arc<Sessions>) {
    let sessions = Arc::new(Sessions::default());
    let told = sessions.clone();
    let provider = Provider::start(&["api.vault.example"], move |seen| told.answer(seen));
    let deputy = Deputy::before(&provider);
    deputy.install(APP);
    (provider, deputy, sessions)
}

fn pasted(password: &str) -> Vec<u8> {
    json!({"username": "ada", "password": password}).to_string().into_bytes()
}

fn targets(provider: &Provider) -> Vec<String> {
    provider.take().into_iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
}

#[test]
fn a_password_becomes_a_session_that_is_made_again_and_ended() {
    let (provider, deputy, sessions) = world();
    let refused = deputy.fails_with(&["connect", "vault"], &pasted("wrong-canary"));
    assert_eq!(refused["code"], "secrets_refused", "{refused}");
    assert!(!refused.to_string().contains("canary"), "{refused}");
    assert!(deputy.accounts().is_empty());
    provider.take();

    let connected = deputy.json_with(&["connect", "vault"], &pasted(PASSWORD));
    let account = text(&connected["account"], "name");
    assert_eq!(targets(&provider), ["POST /session", "GET /me"]);

    let answer = deputy.json(&["request", &account, "GET", "/me"]);
    assert_eq!(answer["status"], 200, "{answer}");
    sessions.over.store(true, Ordering::SeqCst);
    let answer = deputy.json(&["request", &account, "GET", "/me"]);
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(targets(&provider), ["GET /me", "GET /me", "POST /session", "GET /me"]);

    let denied = deputy.fails(&["request", &account, "POST", "/session"]);
    assert_eq!(denied["code"], "denied", "{denied}");
    assert!(targets(&provider).is_empty());

    let deleted = deputy.json(&["account", "delete", &account, "--yes"]);
    assert!(text(&deleted, "note").starts_with("its tokens were revoked at Vault"), "{deleted}");
    let last = provider.take();
    assert_eq!((last[0].method.as_str(), last[0].header("x-session")), ("DELETE", format!("{SESSION}-2").as_str()));
}

#[test]
fn client_credentials_become_a_token() {
    let (provider, deputy, _) = world();
    let pasted: Value = json!({"client_id": "cid", "client_secret": "cc-secret-canary"});
    let connected = deputy.json_with(&["connect", "vault", "--method", "app"], pasted.to_string().as_bytes());
    let account = text(&connected["account"], "name");
    let seen = provider.take();
    let sent = seen[0].text();
    assert!(sent.contains("grant_type=client_credentials") && sent.contains("scope=a+b"), "{sent}");
    let answer = deputy.json(&["request", &account, "GET", "/me"]);
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(targets(&provider), ["GET /me"], "the token is kept while it lasts");
}
