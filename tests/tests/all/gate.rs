//! The gate: connecting at a certified authorization server that nobody here wrote, and what must not connect.

use crate::support::apps::{
    CLIENT_ID, CLIENT_SECRET, begin, body, connect, connected, oidc_app, open, with_client, with_parameter,
};
use crate::support::deputy::Deputy;
use crate::support::oidc::Peer;
use crate::support::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_connected_and_calls_the_api() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    assert!(account.starts_with("oidc/"), "{account}");
    assert_eq!(deputy.accounts(), std::slice::from_ref(&account));
    let shown = deputy.json(&["account", "show", &account]);
    assert_eq!(text(&shown, "identity"), "ada@example.com");

    let answer = deputy.json(&["request", &account, "GET", "/api/me"]);
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(body(&answer)["sub"], "ada");
    assert_eq!(body(&answer)["scope"], "openid api:read");
    // One exchange; the test request at connect and the request above.
    assert_eq!((peer.counter("token").await, peer.counter("codes").await), (1, 1));
    assert_eq!(peer.counter("api").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pasted_callback_connects_too() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (mut running, authorize_url) = begin(&deputy, &["oidc", "--paste"]);
    let callback = peer.consent(&authorize_url, "ada").await;
    running.say(format!("{callback}\n").as_bytes());
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert_eq!(deputy.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_are_two_accounts_and_neither_speaks_for_the_other() {
    let peer = Peer::start();
    let (deputy, ada) = connected(&peer, "ada").await;
    let bob = connect(&deputy, &peer, "bob").await;
    assert_ne!(ada, bob);
    for (account, login) in [(&ada, "ada"), (&bob, "bob")] {
        let answer = deputy.json(&["request", account, "GET", "/api/me"]);
        assert_eq!(body(&answer)["sub"], login);
    }
    // The bare app no longer says which one is meant.
    let error = deputy.fails(&["request", "oidc", "GET", "/api/me"]);
    let candidates = error["candidates"].to_string();
    assert!(candidates.contains(&ada) && candidates.contains(&bob), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_with_foreign_state_connects_nothing() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (mut running, authorize_url) = begin(&deputy, &["oidc", "--paste"]);
    let callback = peer.consent(&authorize_url, "ada").await;
    running.say(with_parameter(&callback, "state", "foreign").as_str().as_bytes());
    let error = running.wait().error();
    assert_eq!(peer.counter("token").await, 0, "the code was redeemed: {error}");
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listening_callback_refuses_foreign_state() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (running, authorize_url) = begin(&deputy, &["oidc"]);
    let callback = peer.consent(&authorize_url, "ada").await;
    let (status, page) = open(with_parameter(&callback, "state", "foreign")).await;
    assert!((400..500).contains(&status), "{status}: {page}");
    assert_eq!(peer.counter("token").await, 0, "the code was redeemed");
    // Whether the flow goes on waiting or gives up, nothing is connected.
    drop(running);
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_of_another_issuer_connects_nothing() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (running, authorize_url) = begin(&deputy, &["oidc"]);
    let callback = peer.consent(&authorize_url, "ada").await;
    let (status, page) = open(with_parameter(&callback, "iss", "https://issuer.invalid")).await;
    assert!((400..500).contains(&status), "{status}: {page}");
    assert_eq!(peer.counter("token").await, 0, "the code was redeemed");
    drop(running);
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_consent_is_told_as_such() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (running, authorize_url) = begin(&deputy, &["oidc"]);
    let callback = peer.deny(&authorize_url).await;
    assert!(callback.as_str().contains("error=access_denied"), "{callback}");
    open(callback).await;
    let error = running.wait().error();
    assert!(error.to_string().contains("denied"), "{error}");
    assert_eq!(peer.counter("token").await, 0);
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_code_connects_nothing_and_a_new_attempt_works() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (running, authorize_url) = begin(&deputy, &["oidc"]);
    let callback = peer.consent(&authorize_url, "ada").await;
    peer.expire("code").await;
    open(callback).await;
    let error = running.wait().error();
    assert_eq!(peer.counter("codes").await, 0, "{error}");
    assert!(deputy.accounts().is_empty());
    connect(&deputy, &peer, "ada").await;
    assert_eq!(deputy.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_is_taken_once() {
    let peer = Peer::start();
    let deputy = with_client(&peer).await;
    let (mut running, authorize_url) = begin(&deputy, &["oidc", "--paste"]);
    let callback = peer.consent(&authorize_url, "ada").await;
    running.say(callback.as_str().as_bytes());
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    // The same callback, into another attempt: its state is not this attempt's.
    let (mut again, _) = begin(&deputy, &["oidc", "--paste"]);
    again.say(callback.as_str().as_bytes());
    again.wait().error();
    assert_eq!(peer.counter("token").await, 1);
    assert_eq!(deputy.accounts().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_client_secret_blames_the_client() {
    let peer = Peer::start();
    let deputy = Deputy::new(&[peer.address()]);
    deputy.install(&oidc_app(peer.issuer()));
    let client = deputy.json_with(&["client", "set", "oidc", "--id", CLIENT_ID], b"not-the-secret");
    peer.register(CLIENT_ID, CLIENT_SECRET, &text(&client, "redirect_uri")).await;
    let (running, authorize_url) = begin(&deputy, &["oidc"]);
    open(peer.consent(&authorize_url, "ada").await).await;
    let error = running.wait().error();
    assert!(text(&error, "fix").contains("client set"), "{error}");
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_an_account_revokes_it_at_the_server() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    deputy.json(&["account", "delete", &account, "--yes"]);
    assert!(deputy.accounts().is_empty());
    assert!(peer.counter("revocations").await >= 1);
    assert_eq!(peer.counter("grants_revoked").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_endpoints_are_closed_to_callers() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    let token_calls = peer.counter("token").await;
    for path in ["/token", "/token/revocation", "/token/introspection", "/reg", "/api/../token", "//evil.example/api"] {
        let error = deputy.fails(&["request", &account, "POST", path]);
        assert!(!text(&error, "message").is_empty(), "{path}");
    }
    assert_eq!(peer.counter("token").await, token_calls);
    assert_eq!(peer.counter("revocations").await, 0);
}
