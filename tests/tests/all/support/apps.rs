//! Apps for the servers that tests run, and an account connected through them.

use reqwest::Url;
use serde_json::Value;

use super::deputy::{Deputy, Running};
use super::jar::Browser;
use super::oidc::Peer;
use super::text;

pub const CLIENT_ID: &str = "deputy-tests";
/// With characters that must be form-urlencoded inside HTTP Basic (RFC 6749 section 2.3.1).
pub const CLIENT_SECRET: &str = "p%s+w o/r=d&~-canary";

/// The `app.toml` of the authorization server under `tests/peers/oidc`, as slug `oidc`.
pub fn oidc_app(issuer: &str) -> String {
    format!(
        r#"slug = "oidc"
name = "OIDC peer"
summary = "A certified authorization server for tests"
docs = "https://www.rfc-editor.org/rfc/rfc6749"
evidence = {{ level = "verified", date = "2026-11-23", source = "tests/peers/oidc/server.mjs" }}
base = "{issuer}"

[methods.oauth]
header.Authorization = "Bearer {{access_token}}"

[methods.oauth.oauth2]
authorize-url = "{issuer}/auth"
token-url = "{issuer}/token"
revoke-url = "{issuer}/token/revocation"
issuer = "{issuer}"
rotation = "strict"
redirect = "loopback"

[methods.oauth.oauth2.scopes]
openid = {{ text = "Sign you in", default = true }}
"api:read" = {{ text = "Read the API", default = true }}
"api:write" = "Change things through the API"

[reach]
paths = ["/api"]

[test]
path = "/api/me"
id = "/sub"
label = "/email"

[signals]
expired = [{{ status = 401, body = {{ "/error" = "invalid_token" }} }}]
"#
    )
}

/// A machine with the app installed and its client registered on both sides.
pub async fn with_client(peer: &Peer) -> Deputy {
    let deputy = Deputy::new(&[peer.address()]);
    deputy.install(&oidc_app(peer.issuer()));
    let client = deputy.json_with(&["client", "set", "oidc", "--id", CLIENT_ID], CLIENT_SECRET.as_bytes());
    peer.register(CLIENT_ID, CLIENT_SECRET, &text(&client, "redirect_uri")).await;
    deputy
}

/// As [`with_client`], for an app that knows device codes besides.
pub async fn with_device(peer: &Peer) -> Deputy {
    let deputy = Deputy::new(&[peer.address()]);
    let issuer = peer.issuer();
    let device = format!("[methods.oauth.oauth2]\ndevice-url = \"{issuer}/device/auth\"");
    deputy.install(&oidc_app(issuer).replace("[methods.oauth.oauth2]", &device));
    let client = deputy.json_with(&["client", "set", "oidc", "--id", CLIENT_ID], CLIENT_SECRET.as_bytes());
    peer.register(CLIENT_ID, CLIENT_SECRET, &text(&client, "redirect_uri")).await;
    deputy
}

/// Starts `connect` and gives it with its authorize URL.
#[track_caller]
pub fn begin(deputy: &Deputy, arguments: &[&str]) -> (Running, String) {
    let arguments: Vec<_> = ["connect"].iter().chain(arguments).chain(&["--no-browser"]).copied().collect();
    let mut connect = deputy.start(&arguments);
    let begun = connect.line();
    let authorize_url = text(&begun, "authorize_url");
    (connect, authorize_url)
}

/// Opens the callback as a browser would: its status and page.
pub async fn open(callback: Url) -> (u16, String) {
    let page = Browser::new().get(callback).await;
    (page.status, page.body)
}

/// A machine with one account of `login`: its name is the second part.
pub async fn connected(peer: &Peer, login: &str) -> (Deputy, String) {
    let deputy = with_client(peer).await;
    let account = connect(&deputy, peer, login).await;
    (deputy, account)
}

/// Connects one more account, and gives its name.
pub async fn connect(deputy: &Deputy, peer: &Peer, login: &str) -> String {
    let (running, authorize_url) = begin(deputy, &["oidc"]);
    let (status, page) = open(peer.consent(&authorize_url, login).await).await;
    assert_eq!(status, 200, "{page}");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    text(&ended.last_json(), "name")
}

/// The callback with another value for one of its parameters.
pub fn with_parameter(callback: &Url, name: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = callback.query_pairs().into_owned().collect();
    assert!(pairs.iter().any(|(known, _)| known == name), "no `{name}` in {callback}");
    let mut changed = callback.clone();
    changed.query_pairs_mut().clear().extend_pairs(
        pairs.iter().map(|(known, old)| (known.as_str(), if known == name { value } else { old.as_str() })),
    );
    changed
}

/// The body of `request --json`.
pub fn body(answer: &Value) -> &Value {
    &answer["body"]
}
