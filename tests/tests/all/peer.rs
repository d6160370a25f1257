//! The authorization server and the browser that drives it, without Deputy: a test bench that is wrong proves nothing.

use std::collections::HashMap;

use reqwest::Url;
use serde_json::{Value, json};

use crate::support::oidc::Peer;

const REDIRECT: &str = "http://127.0.0.1:7878/oauth/callback/c";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636 appendix B
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn authorize_url(peer: &Peer) -> String {
    format!(
        "{}/auth?response_type=code&client_id=c1&redirect_uri={REDIRECT}&scope=openid%20api:read&state=s1\
         &code_challenge={CHALLENGE}&code_challenge_method=S256",
        peer.issuer()
    )
}

fn parameters(callback: &Url) -> HashMap<String, String> {
    assert!(callback.as_str().starts_with(REDIRECT), "{callback}");
    callback.query_pairs().into_owned().collect()
}

async fn token(peer: &Peer, fields: &[(&str, &str)]) -> Result<Value, String> {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let request = http.post(format!("{}/token", peer.issuer())).basic_auth("c1", Some("s1-secret")).body(body);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let answer = request.send().await.map_err(|error| error.to_string())?;
    let reply: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    match reply["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(reply),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consent_denial_expiry_rotation_and_lost_replies() {
    let peer = Peer::start();
    peer.register("c1", "s1-secret", REDIRECT).await;
    let denied = parameters(&peer.deny(&authorize_url(&peer)).await);
    assert_eq!((denied["error"].as_str(), denied["iss"].as_str()), ("access_denied", peer.issuer()));

    let callback = parameters(&peer.consent(&authorize_url(&peer), "ada").await);
    assert_eq!((callback["state"].as_str(), callback["iss"].as_str()), ("s1", peer.issuer()));
    let exchange = |code: String| {
        let peer = &peer;
        async move {
            let fields = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", REDIRECT)];
            token(peer, &[&fields[..], &[("code_verifier", VERIFIER)]].concat()).await
        }
    };
    peer.expire("code").await;
    assert_eq!(exchange(callback["code"].clone()).await, Err("invalid_grant".to_owned()));

    let callback = parameters(&peer.consent(&authorize_url(&peer), "ada").await);
    let first = exchange(callback["code"].clone()).await.expect("tokens");
    let refresh = |tokens: &Value| {
        let (peer, token_of) = (&peer, tokens["refresh_token"].as_str().expect("a refresh token").to_owned());
        async move { token(peer, &[("grant_type", "refresh_token"), ("refresh_token", &token_of)]).await }
    };
    let second = refresh(&first).await.expect("tokens");
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(peer.counter("refreshes").await, 1);

    peer.set(json!({ "lose_replies": 1 })).await;
    assert!(refresh(&second).await.is_err_and(|error| error != "invalid_grant"), "the reply was not lost");
    assert_eq!(peer.counter("refreshes").await, 2, "the lost call was not carried out");
    assert_eq!(refresh(&second).await, Err("invalid_grant".to_owned()));
    assert_eq!(peer.counter("grants_revoked").await, 1);
}
