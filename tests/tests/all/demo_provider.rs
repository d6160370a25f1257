//! The demo provider held against the RFCs it claims, without Deputy: a test server that is wrong proves nothing.

use std::collections::HashMap;

use base64::Engine;
use deputy_demo_provider::{DemoProvider, Fault, Place};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

const REDIRECT: &str = "http://127.0.0.1:7878/oauth/callback/c";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636 appendix B
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

struct Session {
    provider: DemoProvider,
    http: Client,
}

impl Session {
    async fn start() -> Self {
        let provider = DemoProvider::start().await.expect("a free port");
        Self { provider, http: Client::builder().no_proxy().build().expect("an HTTP client") }
    }

    fn authorize_url(&self, extra: &str) -> String {
        format!(
            "{}/authorize?response_type=code&client_id=demo-client&redirect_uri={REDIRECT}&scope=read&state=s1\
             &code_challenge={CHALLENGE}&code_challenge_method=S256{extra}",
            self.provider.url()
        )
    }

    async fn callback(&self, extra: &str) -> HashMap<String, String> {
        let callback = self.provider.consent(&self.authorize_url(extra)).await.expect("a redirect");
        assert!(callback.starts_with(REDIRECT), "{callback}");
        Url::parse(&callback).expect("a URL").query_pairs().into_owned().collect()
    }

    async fn token(&self, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let (id, secret) = self.provider.client();
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        self.token_as(&basic, fields).await
    }

    async fn token_as(&self, basic: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}/token", self.provider.url())).body(body);
        let request = request.header("authorization", format!("Basic {basic}"));
        let answer =
            request.header("content-type", "application/x-www-form-urlencoded").send().await.expect("an answer");
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    async fn connect(&self) -> Value {
        let code = self.callback("").await["code"].clone();
        let fields = [("code", code.as_str()), ("redirect_uri", REDIRECT), ("code_verifier", VERIFIER)];
        let (status, tokens) = self.token(&[&[("grant_type", "authorization_code")], &fields[..]].concat()).await;
        assert_eq!(status, 200, "{tokens}");
        tokens
    }

    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        let request = self.http.get(format!("{}{path}", self.provider.url()));
        let answer = request.header("authorization", format!("Bearer {token}")).send().await.expect("an answer");
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }
}

fn string<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no `{key}` in {value}"))
}

#[tokio::test]
async fn the_flow_of_rfc_6749_with_pkce_and_issuer() {
    let session = Session::start().await;
    let callback = session.callback("").await;
    assert_eq!(callback["state"], "s1");
    assert_eq!(callback["iss"], session.provider.url());
    let tokens = session.connect().await;
    let (status, me) = session.get("/me", string(&tokens, "access_token")).await;
    assert_eq!((status, string(&me, "login"), string(&me, "scope")), (StatusCode::OK, "ada", "read"));
    let secrets = session.provider.secrets();
    for secret in [string(&tokens, "access_token"), string(&tokens, "refresh_token"), &callback["code"], VERIFIER] {
        assert!(secrets.iter().any(|known| known == secret), "{secret} is not remembered");
    }
}

#[tokio::test]
async fn refusals_have_their_rfc_codes() {
    let session = Session::start().await;
    assert_eq!(session.callback("&deny=1").await["error"], "access_denied");
    let (status, reply) = session.token(&[("grant_type", "refresh_token"), ("refresh_token", "unknown")]).await;
    assert_eq!((status, string(&reply, "error")), (StatusCode::BAD_REQUEST, "invalid_grant"));
    let (status, reply) = session.token(&[("grant_type", "password")]).await;
    assert_eq!((status, string(&reply, "error")), (StatusCode::BAD_REQUEST, "unsupported_grant_type"));
    let basic = base64::engine::general_purpose::STANDARD.encode("demo-client:wrong");
    let (status, reply) = session.token_as(&basic, &[("grant_type", "refresh_token")]).await;
    assert_eq!((status, string(&reply, "error")), (StatusCode::UNAUTHORIZED, "invalid_client"));
    let (status, _) = session.get("/me", "unknown").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn expiry_refresh_reuse_and_revocation() {
    let session = Session::start().await;
    let first = session.connect().await;
    session.provider.expire_access_tokens();
    let (status, error) = session.get("/me", string(&first, "access_token")).await;
    assert_eq!((status, string(&error, "error")), (StatusCode::UNAUTHORIZED, "token_expired"));
    let refresh = |token: String| {
        let session = &session;
        async move { session.token(&[("grant_type", "refresh_token"), ("refresh_token", &token)]).await }
    };
    let (status, second) = refresh(string(&first, "refresh_token").to_owned()).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(session.get("/me", string(&second, "access_token")).await.0, 200);
    let (status, _) = refresh(string(&first, "refresh_token").to_owned()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (_, error) = session.get("/me", string(&second, "access_token")).await;
    assert_eq!(string(&error, "error"), "account_revoked");
    assert_eq!((session.provider.counters().refreshes, session.provider.counters().reuses), (1, 1));
}

#[tokio::test]
async fn ten_together_are_answered_and_pages_end() {
    let session = Session::start().await;
    let tokens = session.connect().await;
    let token = string(&tokens, "access_token");
    let answers = futures_util::future::join_all((0..10).map(|_| session.get("/together?n=10", token))).await;
    assert!(answers.iter().all(|(status, body)| *status == 200 && body["together"] == 10), "{answers:?}");
    let (_, last) = session.get("/items?page=3", token).await;
    assert_eq!((last["items"].as_array().map(Vec::len), &last["next"]), (Some(10), &Value::Null));
    let (_, beyond) = session.get("/items?page=4", token).await;
    assert_eq!(beyond["items"].as_array().map(Vec::len), Some(0));
    let (_, echo) = session.get("/echo?a=b", token).await;
    assert_eq!(echo["headers"]["authorization"][0], format!("Bearer {token}"));
}

#[tokio::test]
async fn faults_strike_once() {
    let session = Session::start().await;
    let tokens = session.connect().await;
    let token = string(&tokens, "access_token");
    session.provider.fail_next(Place::Api, Fault::Status(503));
    assert_eq!(session.get("/me", token).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(session.get("/me", token).await.0, StatusCode::OK);
    session.provider.fail_next(Place::Authorize, Fault::WrongIssuer);
    assert_eq!(session.callback("").await["iss"], "https://issuer.invalid");
    assert_eq!(session.callback("").await["iss"], session.provider.url());
}

#[tokio::test]
async fn only_loopback_is_served_and_redirected_to() {
    let refused = DemoProvider::start_at("192.0.2.1:0".parse().expect("an address")).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("not on loopback")));
    let session = Session::start().await;
    let url = session.authorize_url("").replace(REDIRECT, "https://evil.example/cb");
    assert!(session.provider.consent(&url).await.is_err());
    assert!(session.provider.consent("https://evil.example/authorize?x").await.is_err());
}

#[tokio::test]
async fn its_app_toml_is_valid() {
    let session = Session::start().await;
    let app = deputy_declaration::source::parse("app.toml", &session.provider.app_toml());
    let app = app.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!((app.slug.as_str(), app.methods.len()), ("demo", 1));
}
