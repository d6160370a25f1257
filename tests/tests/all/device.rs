//! Device codes (RFC 8628) at the certified server.

use serde_json::json;

use crate::support::apps::{body, with_device};
use crate::support::oidc::Peer;
use crate::support::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_entered_elsewhere_connects_an_account_that_refreshes() {
    let peer = Peer::start();
    let deputy = with_device(&peer).await;
    let mut running = deputy.start(&["connect", "oidc", "--device"]);
    let begun = running.line();
    assert!(text(&begun, "verification_uri").starts_with(peer.issuer()), "{begun}");
    let complete = text(&begun, "verification_uri_complete");
    assert!(complete.contains(&text(&begun, "user_code")), "{begun}");
    assert!(begun.get("device_code").is_none() && begun["interval_s"].as_u64().is_some(), "{begun}");
    peer.enter_code(&complete, "ada").await;
    let ended = running.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let account = text(&ended.last_json(), "name");
    let answer = deputy.json(&["request", &account, "GET", "/api/me"]);
    assert_eq!((&answer["status"], &body(&answer)["sub"]), (&json!(200), &json!("ada")), "{answer}");
    peer.expire("access").await;
    let answer = deputy.json(&["request", &account, "GET", "/api/me"]);
    assert_eq!(answer["status"], 200, "{answer}");
    assert_eq!(peer.counter("refreshes").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_refused_connects_nothing() {
    let peer = Peer::start();
    let deputy = with_device(&peer).await;
    let mut running = deputy.start(&["connect", "oidc", "--device"]);
    peer.refuse_code(&text(&running.line(), "verification_uri_complete")).await;
    let error = running.wait().error();
    assert_eq!(error["code"], "connect_denied", "{error}");
    assert!(deputy.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_a_device_url_says_so() {
    let peer = Peer::start();
    let deputy = crate::support::apps::with_client(&peer).await;
    let ended = deputy.run(&["connect", "oidc", "--device", "--json"]);
    assert_eq!((ended.code(), &ended.last_json()["error"]["code"]), (Some(2), &"usage".into()), "{ended}");
}
