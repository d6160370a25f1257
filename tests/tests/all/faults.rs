//! Servers that misbehave: each ends in its own error, in good time and with nothing half done.

use deputy_demo_provider::{DemoProvider, Fault, Place};
use serde_json::json;

use crate::support::apps::{begin, body, open};
use crate::support::deputy::Deputy;
use crate::support::raw::Raw;
use crate::support::text;

/// The app installed and the client set, nothing connected.
async fn ready() -> (DemoProvider, Deputy) {
    configured("").await
}

async fn configured(more: &str) -> (DemoProvider, Deputy) {
    let provider = DemoProvider::start().await.expect("a free port");
    let deputy = Deputy::configured(&[provider.address()], more);
    deputy.install(&provider.app_toml());
    let (id, secret) = provider.client();
    deputy.json_with(&["client", "set", "demo", "--id", &id], secret.as_bytes());
    (provider, deputy)
}

async fn connected() -> (DemoProvider, Deputy, String) {
    connect(ready().await).await
}

async fn connect((provider, deputy): (DemoProvider, Deputy)) -> (DemoProvider, Deputy, String) {
    let (running, authorize_url) = begin(&deputy, &["demo"]);
    let (status, page) = provider.browse(&authorize_url).await.expect("a page");
    assert_eq!(status, 200, "{page}");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    ended.assert_holds_none_of(&provider.secrets());
    let account = text(&ended.last_json(), "name");
    (provider, deputy, account)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_replies_that_are_none_connect_nothing() {
    let (provider, deputy) = ready().await;
    for fault in [Fault::Html, Fault::Empty, Fault::Status(500), Fault::Status(204), Fault::Huge] {
        provider.fail_next(Place::Token, fault);
        let (running, authorize_url) = begin(&deputy, &["demo"]);
        // The page tells the person; the command tells the program.
        provider.browse(&authorize_url).await.expect("a page");
        let ended = running.wait();
        ended.error();
        ended.assert_holds_none_of(&provider.secrets());
        assert!(deputy.accounts().is_empty(), "{fault:?}");
    }
    assert_eq!(provider.counters().exchanges, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_issuer_in_the_callback_connects_nothing() {
    let (provider, deputy) = ready().await;
    provider.fail_next(Place::Authorize, Fault::WrongIssuer);
    let (running, authorize_url) = begin(&deputy, &["demo"]);
    let (status, page) = provider.browse(&authorize_url).await.expect("a page");
    assert!((400..500).contains(&status), "{status}: {page}");
    drop(running);
    assert_eq!(provider.counters().token_calls, 0);
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_consent_connects_nothing() {
    let (provider, deputy) = ready().await;
    let (running, authorize_url) = begin(&deputy, &["demo"]);
    provider.browse(&format!("{authorize_url}&deny=1")).await.expect("a page");
    let error = running.wait().error();
    assert!(error.to_string().contains("denied"), "{error}");
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_at_refresh_is_not_the_end_of_the_account() {
    let (provider, deputy, account) = connected().await;
    provider.expire_access_tokens();
    // Refused before the token was looked at: it is still good.
    provider.fail_next(Place::Token, Fault::Status(503));
    provider.fail_next(Place::Token, Fault::Status(500));
    let error = deputy.fails(&["request", &account, "GET", "/me"]);
    assert_eq!(error["code"], "refresh_failed", "{error}");
    // After a failure the account is left alone for a moment, longer after each; the faults end before the patience.
    let mut tries = 0;
    let answer = loop {
        let ended = deputy.run(&["request", &account, "GET", "/me", "--json"]);
        if ended.code() == Some(0) {
            break ended.last_json();
        }
        tries += 1;
        assert!(tries < 100, "it never recovers: {ended}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert_eq!(body(&answer)["login"], "ada", "{answer}");
    assert_eq!((provider.counters().refreshes, provider.counters().reuses), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_is_cut_at_the_limit() {
    let (provider, deputy, account) = connected().await;
    provider.fail_next(Place::Api, Fault::Huge);
    let target = deputy.folder().join("huge");
    let ended = deputy.run(&["request", &account, "GET", "/items", "--output", &target.to_string_lossy()]);
    assert_eq!(ended.code(), Some(1), "{ended}");
    let written = std::fs::metadata(&target).expect("what came before the limit").len();
    assert!(written <= 50 << 20, "{written} bytes were let through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_hang_or_drip_are_left() {
    let limits = "[egress.limits]\nfirst_byte_ms = 2000\ntotal_ms = 3000\n";
    let (provider, deputy, account) = connect(configured(limits).await).await;
    for (fault, path) in [(Fault::Hang, "/me"), (Fault::Drip, "/items")] {
        provider.fail_next(Place::Api, fault);
        let ended = deputy.run(&["request", &account, "GET", path, "--json"]);
        assert_eq!(ended.error()["code"], "timeout", "{fault:?}: {ended}");
    }
    provider.fail_next(Place::Token, Fault::Hang);
    provider.expire_access_tokens();
    let error = deputy.fails(&["request", &account, "GET", "/me"]);
    assert_ne!(error["code"], "needs_reconnect", "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn html_from_the_api_is_passed_on_as_it_is() {
    let (provider, deputy, account) = connected().await;
    provider.fail_next(Place::Api, Fault::Html);
    let ended = deputy.run(&["request", &account, "GET", "/items"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stdout.starts_with(b"<!doctype html>"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_become_exit_codes() {
    let (provider, deputy, account) = connected().await;
    for (status, code) in [(404, 4), (422, 4), (500, 5), (503, 5)] {
        provider.fail_next(Place::Api, Fault::Status(status));
        let ended = deputy.run(&["request", &account, "GET", "/me"]);
        assert_eq!(ended.code(), Some(code), "{status}: {ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_echoes_the_credential_is_scrubbed() {
    let (provider, deputy, account) = connected().await;
    let ended = deputy.run(&["request", &account, "GET", "/echo", "--json"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    let answer = ended.last_json();
    // The credential was there, and only its value is gone.
    assert!(body(&answer)["headers"]["authorization"].is_array(), "{answer}");
    ended.assert_holds_none_of(&provider.secrets());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_cannot_bring_a_credential_of_its_own() {
    let (provider, deputy, account) = connected().await;
    let requests = provider.counters().requests;
    deputy.fails(&["request", &account, "GET", "/me", "-H", "authorization: Bearer mine"]);
    deputy.fails(&["request", &account, "POST", "/token"]);
    deputy.fails(&["request", &account, "POST", "/revoke"]);
    deputy.fails(&["request", &account, "GET", "http://127.0.0.1:9/me"]);
    assert_eq!(provider.counters().requests, requests, "something was sent");
    assert_eq!(provider.counters().revocations, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_rests_in_the_clear() {
    let (provider, deputy, account) = connected().await;
    provider.expire_access_tokens();
    deputy.json(&["request", &account, "GET", "/me"]);
    let secrets = provider.secrets();
    let mut files = 0;
    let mut folders = vec![deputy.folder().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).expect("a file");
            files += 1;
            for secret in &secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "a secret stands in {}", entry.path().display());
            }
        }
    }
    assert!(files > 3, "only {files} files: the store was not looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_would_break_a_header_are_refused() {
    let raw = Raw::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    let deputy = Deputy::new(&[raw.address()]);
    let base = format!("base_url=http://{}", raw.address());
    let connect = ["connect", "http", "--method", "bearer", "--input", &base, "--confirm-host", "--no-check"];
    for key in [&b"one\r\nx-evil: two"[..], b"nul\0byte", b"\x1b[31mred", b"", b"caf\xc3"] {
        let error = deputy.fails_with(&connect, key);
        assert!(!text(&error, "message").contains("x-evil"), "{error}");
    }
    assert!(deputy.accounts().is_empty());
    assert!(raw.requests().is_empty(), "something was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_carries_the_callers_bytes_and_one_credential() {
    let raw = Raw::start(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nok\x00\xff\n");
    let deputy = Deputy::new(&[raw.address()]);
    let base = format!("base_url=http://{}/v1", raw.address());
    let connect = ["connect", "http", "--method", "bearer", "--input", &base, "--confirm-host", "--no-check"];
    let connected = deputy.json_with(&connect, b"  canary-key-1234567890 \r\n");
    let account = text(&connected, "name");
    let ended = deputy.run(&["request", &account, "PUT", "/a%2Fb?q=1%202", "-H", "x-own: yes", "--body", "body"]);
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(ended.stdout, b"ok\x00\xff\n", "the answer is not byte for byte");
    let requests = raw.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = &requests[0];
    assert!(request.starts_with("PUT /v1/a%2Fb?q=1%202 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nbody"), "{request}");
    let lower = request.to_lowercase();
    assert_eq!(lower.matches("authorization: bearer canary-key-1234567890\r\n").count(), 1, "{request}");
    assert_eq!(lower.matches("authorization:").count(), 1, "{request}");
    assert!(lower.contains("x-own: yes\r\n"), "{request}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_address_that_the_operator_did_not_allow_gets_no_byte() {
    let raw = Raw::start(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let deputy = Deputy::new(&[]);
    let base = format!("base_url=http://{}", raw.address());
    let connect = ["connect", "http", "--method", "bearer", "--input", &base, "--confirm-host"];
    deputy.json_with(&connect, b"canary-key-1234567890");
    let error = deputy.fails(&["request", "http", "GET", "/"]);
    let fix = format!("allow = [\"{}\"]", raw.address());
    assert!(error["fix"].as_str().is_some_and(|text| text.contains(&fix)), "{error}");
    assert!(raw.requests().is_empty(), "a connection was made: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_callback_at_the_same_time_is_answered_too() {
    let (provider, deputy) = ready().await;
    let (running, authorize_url) = begin(&deputy, &["demo"]);
    let callback = provider.consent(&authorize_url).await.expect("a callback");
    let callback = reqwest::Url::parse(&callback).expect("a URL");
    let foreign = callback.join("/oauth/callback/foreign?code=x&state=y").expect("a URL");
    let (status, _) = open(foreign).await;
    assert!((400..500).contains(&status), "{status}");
    let (status, page) = open(callback).await;
    assert_eq!(status, 200, "{page}");
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(ended.last_json()["account"]["health"]["state"], json!("ok"), "{ended}");
}
