//! The authorization server under `tests/peers/oidc`: certified, strict, and written by others.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use reqwest::Url;
use serde_json::{Value, json};

use super::jar::{Browser, Page};

/// Ends with its standard input, so a killed test leaves no server behind.
pub struct Peer {
    child: Child,
    _stdin: ChildStdin,
    issuer: String,
    client: reqwest::Client,
}

impl Peer {
    pub fn start() -> Self {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/peers/oidc"));
        assert!(folder.join("node_modules").is_dir(), "the peer's npm packages are missing: run `cargo xtask setup`");
        let mut child = Command::new("node")
            .args(["server.mjs", "--exit-with-stdin"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start node ({error}): run `cargo xtask setup`"));
        let stdin = child.stdin.take().expect("its standard input");
        let stdout = BufReader::new(child.stdout.take().expect("its standard output"));
        // Notices of the library come on the same stream.
        let listening = stdout.lines().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            line["listening"].as_str().map(str::to_owned)
        });
        let issuer = listening.expect("the peer ended before it listened");
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        Self { child, _stdin: stdin, issuer, client }
    }

    /// `http://127.0.0.1:port`
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.issuer.trim_start_matches("http://").parse().expect("an address")
    }

    /// Registers a confidential client (RFC 7591) with an id and secret of our choice.
    pub async fn register(&self, id: &str, secret: &str, redirect_uri: &str) {
        let metadata = json!({
            "redirect_uris": [redirect_uri],
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
            "scope": "openid offline_access email api:read api:write",
        });
        let request = self.client.post(format!("{}/reg", self.issuer));
        let request = request.header("x-client-id", id).header("x-client-secret", secret);
        let request = request.header("content-type", "application/json").body(metadata.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let body = answer.text().await.expect("its body");
        assert_eq!(status.as_u16(), 201, "{body}");
    }

    /// What happened so far: `token`, `codes`, `refreshes`, `revocations`, `grants_revoked`, `api`, `api_refused`.
    pub async fn counter(&self, name: &str) -> u64 {
        let answer = self.client.get(format!("{}/__counters", self.issuer)).send().await.expect("an answer");
        let counters: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        counters[name].as_u64().unwrap_or_else(|| panic!("no counter `{name}` in {counters}"))
    }

    /// See `server.mjs` for the settings there are.
    pub async fn set(&self, settings: Value) {
        self.control("__settings", settings).await;
    }

    /// Takes back every `access` token, `code` or `refresh` token issued so far.
    pub async fn expire(&self, kind: &str) {
        let answer = self.control("__expire", json!({ "kind": kind })).await;
        assert!(answer["gone"].as_u64().is_some_and(|gone| gone > 0), "no {kind} was there to expire");
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}/{path}", self.issuer)).body(body.to_string());
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let body = answer.text().await.expect("its body");
        assert_eq!(status.as_u16(), 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Does what a person does: signs in as `login`, allows the access, and is sent back. The callback is not opened.
    pub async fn consent(&self, authorize_url: &str, login: &str) -> Url {
        let mut browser = Browser::new();
        let form = self.walk(&mut browser, Url::parse(authorize_url).expect("an authorize URL")).await;
        let page = browser.post(action(&form), &[("prompt", "login"), ("login", login), ("password", "any")]).await;
        let form = self.walk(&mut browser, page.location.expect("a way on")).await;
        let page = browser.post(action(&form), &[("prompt", "consent")]).await;
        self.walk(&mut browser, page.location.expect("a way on")).await.url
    }

    /// As [`consent`](Self::consent), but the person says no.
    pub async fn deny(&self, authorize_url: &str) -> Url {
        let mut browser = Browser::new();
        let form = self.walk(&mut browser, Url::parse(authorize_url).expect("an authorize URL")).await;
        let abort = action(&form).join(&format!("{}/abort", action(&form).path())).expect("a URL");
        self.walk(&mut browser, abort).await.url
    }

    /// Opens the page of a device code, confirms the code, signs in as `login` and allows the access.
    pub async fn enter_code(&self, page: &str, login: &str) {
        let mut browser = Browser::new();
        let confirm = self.submit_code(&mut browser, page).await;
        let page = browser.post(action(&confirm), &pairs(&hidden(&confirm))).await;
        let form = self.walk(&mut browser, page.location.expect("a way on")).await;
        let page = browser.post(action(&form), &[("prompt", "login"), ("login", login), ("password", "any")]).await;
        let form = self.walk(&mut browser, page.location.expect("a way on")).await;
        let page = browser.post(action(&form), &[("prompt", "consent")]).await;
        self.walk(&mut browser, page.location.expect("a way on")).await;
    }

    /// As [`enter_code`](Self::enter_code), but the person says no.
    pub async fn refuse_code(&self, page: &str) {
        let mut browser = Browser::new();
        let confirm = self.submit_code(&mut browser, page).await;
        let mut fields = hidden(&confirm);
        fields.retain(|(name, _)| name != "confirm");
        fields.push(("abort".to_owned(), "yes".to_owned()));
        browser.post(action(&confirm), &pairs(&fields)).await;
    }

    /// The page that asks whether the code is the right one.
    async fn submit_code(&self, browser: &mut Browser, page: &str) -> Page {
        // A form that a browser submits by itself.
        let form = self.walk(browser, Url::parse(page).expect("a page for the code")).await;
        browser.post(action(&form), &pairs(&hidden(&form))).await
    }

    /// Follows redirects inside the server, up to a form or to the first address outside.
    async fn walk(&self, browser: &mut Browser, mut url: Url) -> Page {
        for _ in 0..10 {
            if !url.as_str().starts_with(&self.issuer) {
                return Page { url, status: 0, location: None, body: String::new() };
            }
            let page = browser.get(url).await;
            match page.location {
                Some(location) => url = location,
                None => {
                    assert_eq!(page.status, 200, "{}: {}", page.url, page.body);
                    return page;
                }
            }
        }
        panic!("the authorization server redirects without end");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the page's form goes.
fn action(page: &Page) -> Url {
    let action = page.body.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
    let action = action.unwrap_or_else(|| panic!("no form at {}: {}", page.url, page.body));
    page.url.join(action).expect("a URL")
}

fn hidden(page: &Page) -> Vec<(String, String)> {
    let value = |text: &str, name: &str| Some(text.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned());
    let inputs = page.body.split("<input").skip(1).filter(|input| input.contains("type=\"hidden\""));
    inputs.filter_map(|input| Some((value(input, "name")?, value(input, "value")?))).collect()
}

fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
