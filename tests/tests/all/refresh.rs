//! Refresh at the certified server: strict rotation, where one token used twice ends the whole grant.

use std::time::Duration;

use serde_json::json;

use crate::support::apps::{body, connect, connected};
use crate::support::oidc::Peer;
use crate::support::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_signal_refreshes_once_and_the_request_succeeds() {
    let peer = Peer::start();
    peer.set(json!({ "access_ttl_s": 3600 })).await;
    let (deputy, account) = connected(&peer, "ada").await;
    for round in 1..=3 {
        peer.expire("access").await;
        let answer = deputy.json(&["request", &account, "GET", "/api/me"]);
        assert_eq!((&answer["status"], &body(&answer)["sub"]), (&json!(200), &json!("ada")), "{answer}");
        assert_eq!(peer.counter("refreshes").await, round);
        // The refreshed token is stored: the next process needs no refresh.
        deputy.json(&["request", &account, "GET", "/api/me"]);
        assert_eq!(peer.counter("refreshes").await, round);
    }
    assert_eq!(peer.counter("grants_revoked").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_near_its_end_is_refreshed_before_it_is_used() {
    let peer = Peer::start();
    // Long enough for the check at connect on a busy machine; due after half of it.
    peer.set(json!({ "access_ttl_s": 12 })).await;
    let (deputy, account) = connected(&peer, "ada").await;
    peer.set(json!({ "access_ttl_s": 3600 })).await;
    let refused = peer.counter("api_refused").await;
    tokio::time::sleep(Duration::from_millis(6_100)).await;
    deputy.json(&["request", &account, "GET", "/api/me"]);
    assert_eq!(peer.counter("refreshes").await, 1);
    assert_eq!(peer.counter("api_refused").await, refused, "the expired token was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_sent_again_after_the_refresh() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    peer.expire("access").await;
    let answer = deputy.json(&["request", &account, "POST", "/api/echo", "--body", "the very body"]);
    assert_eq!(body(&answer)["body"], "the very body", "{answer}");
    assert_eq!(peer.counter("refreshes").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_refresh_token_is_told_once_and_not_tried_again() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    peer.expire("refresh").await;
    peer.expire("access").await;
    let error = deputy.fails(&["request", &account, "GET", "/api/me"]);
    assert_eq!(error["code"], "needs_reconnect", "{error}");
    assert!(text(&error, "fix").contains("connect"), "{error}");
    let token_calls = peer.counter("token").await;
    let error = deputy.fails(&["request", &account, "GET", "/api/me"]);
    assert_eq!(error["code"], "needs_reconnect", "{error}");
    assert_eq!(peer.counter("token").await, token_calls, "a dead token was tried again");
    let shown = deputy.json(&["account", "show", &account]);
    assert_ne!(shown["health"], "ok", "{shown}");
}

/// The server rotated, its reply was lost: the new token is nowhere. Nothing can save the grant; it must be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_rotation_is_told_honestly() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    peer.expire("access").await;
    peer.set(json!({ "lose_replies": 1 })).await;
    deputy.fails(&["request", &account, "GET", "/api/me"]);
    assert_eq!(peer.counter("refreshes").await, 1);
    let error = deputy.fails(&["request", &account, "GET", "/api/me"]);
    assert_eq!(error["code"], "needs_reconnect", "{error}");
    assert!(text(&error, "fix").contains("connect"), "{error}");
    // And the way out works.
    connect(&deputy, &peer, "bob").await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_send_and_persist_the_loss_is_told() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    peer.expire("access").await;
    let mut killed = deputy.command(&["request", account.as_str(), "GET", "/api/me", "--json"]);
    let killed = killed.env("DEPUTY_KILL_AT", "refresh-after-reply").output().expect("it starts");
    assert!(!killed.status.success(), "it was not killed: {}", String::from_utf8_lossy(&killed.stdout));
    assert_eq!(peer.counter("refreshes").await, 1, "it was killed too early");
    let error = deputy.fails(&["request", &account, "GET", "/api/me"]);
    assert_eq!(error["code"], "needs_reconnect", "{error}");
    assert!(text(&error, "fix").contains("connect"), "{error}");
    assert_eq!(deputy.accounts(), [account], "the account itself is still there");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_send_or_after_persist_nothing_is_lost() {
    for (point, refreshes_then, refreshes_after) in [("refresh-before-send", 0, 1), ("refresh-after-persist", 1, 1)] {
        let peer = Peer::start();
        let (deputy, account) = connected(&peer, "ada").await;
        peer.expire("access").await;
        let mut killed = deputy.command(&["request", account.as_str(), "GET", "/api/me", "--json"]);
        let killed = killed.env("DEPUTY_KILL_AT", point).output().expect("it starts");
        assert!(!killed.status.success(), "{point}: it was not killed");
        assert_eq!(peer.counter("refreshes").await, refreshes_then, "{point}");
        let answer = deputy.json(&["request", &account, "GET", "/api/me"]);
        assert_eq!(body(&answer)["sub"], "ada", "{point}: {answer}");
        assert_eq!(peer.counter("refreshes").await, refreshes_after, "{point}");
        assert_eq!(peer.counter("grants_revoked").await, 0, "{point}");
    }
}

/// One process owns the store; the others say who holds it. None of them may use the refresh token a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_processes_refresh_once() {
    let peer = Peer::start();
    let (deputy, account) = connected(&peer, "ada").await;
    peer.expire("access").await;
    peer.set(json!({ "token_delay_ms": 300 })).await;
    let racers: Vec<_> = (0..6).map(|_| deputy.start(&["request", &account, "GET", "/api/me"])).collect();
    let mut answered = 0;
    for racer in racers {
        let ended = racer.wait();
        if ended.code() == Some(0) {
            assert_eq!(ended.last_json()["status"], 200, "{ended}");
            answered += 1;
        } else {
            let error = ended.error();
            assert_ne!(error["code"], "needs_reconnect", "{error}");
            assert!(text(&error, "message").contains("pid") || text(&error, "message").contains("process"), "{error}");
        }
    }
    assert!(answered >= 1, "nobody was answered");
    assert_eq!(peer.counter("refreshes").await, 1);
    assert_eq!(peer.counter("grants_revoked").await, 0);
    deputy.json(&["request", &account, "GET", "/api/me"]);
}
