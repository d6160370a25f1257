//! OAuth 2.0 as this host speaks it: the authorize URL, and the requests of exchange, device code, refresh and
//! revocation.
//!
//! RFC 6749 sections 4.1 and 6, RFC 7636 (S256 only), RFC 7009, RFC 8628. Pure: what goes out is built here, and sent
//! by others. A declared parameter never replaces one of the protocol's own, unless the app leaves that one out.

mod wire;

use std::collections::BTreeMap;

use deputy_declaration::nearest;
use deputy_declaration::types::{App, ClientAuth, OAuth2, Pkce, ScopeList};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;

use self::wire::{Leg, Value};
use super::error::AuthError;
use crate::egress::Request;
use crate::vault::Secret;

/// Longer than the road's own wait would be wrong, shorter than half a lease must it be.
pub const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The client as a call needs it.
#[derive(Clone, Copy)]
pub struct ClientCredentials<'a> {
    pub id: &'a str,
    pub secret: Option<&'a Secret>,
}

/// One scope parameter of the authorize URL with what is asked in it.
pub type Asked = BTreeMap<String, Vec<String>>;

/// The scopes to ask for: the declared defaults, or those chosen beside the required ones. `param=scope` names the list where two of
/// them know the same scope; a bare scope means the first list that does.
pub fn scopes(app: &App, oauth2: &OAuth2, chosen: Option<&[String]>) -> Result<Asked, AuthError> {
    let mut asked = Asked::new();
    for list in &oauth2.scope_lists {
        let wanted = list.scopes.iter().filter(|scope| scope.required || chosen.is_none() && scope.default);
        let wanted: Vec<String> = wanted.map(|scope| scope.name.clone()).collect();
        if !wanted.is_empty() {
            asked.insert(list.param.clone(), wanted);
        }
    }
    let Some(chosen) = chosen else { return Ok(asked) };
    let knows = |list: &ScopeList, name: &str| list.scopes.iter().any(|scope| scope.name == name);
    for text in chosen {
        let bare = oauth2.scope_lists.iter().find(|list| knows(list, text)).map(|list| (list, text.as_str()));
        let named = text.split_once('=').and_then(|(param, name)| {
            let list = oauth2.scope_lists.iter().find(|list| list.param == param && knows(list, name))?;
            Some((list, name))
        });
        let Some((list, name)) = bare.or(named) else {
            let known = oauth2.scope_lists.iter().flat_map(|list| &list.scopes).map(|scope| scope.name.as_str());
            let nearest = nearest(text, known).map(str::to_owned);
            return Err(AuthError::ScopeUnknown { app: app.slug.clone(), scope: text.clone(), nearest });
        };
        let scopes = asked.entry(list.param.clone()).or_default();
        if !scopes.iter().any(|scope| scope == name) {
            scopes.push(name.to_owned());
        }
    }
    Ok(asked)
}

/// What was asked for before, and more.
pub fn with_more(mut asked: Asked, more: Asked) -> Asked {
    for (param, scopes) in more {
        let known = asked.entry(param).or_default();
        for scope in scopes {
            if !known.contains(&scope) {
                known.push(scope);
            }
        }
    }
    asked
}

/// The page that a person opens. `verifier`: only where the app takes PKCE.
pub fn authorize_url(
    oauth2: &OAuth2,
    mut page: Url,
    client_id: &str,
    redirect_uri: &str,
    state: &Secret,
    verifier: Option<&Secret>,
    asked: &Asked,
) -> Result<Url, AuthError> {
    let text = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    let mut own: Vec<(String, String)> = vec![
        ("response_type".to_owned(), "code".to_owned()),
        ("client_id".to_owned(), client_id.to_owned()),
        ("redirect_uri".to_owned(), redirect_uri.to_owned()),
        ("state".to_owned(), text(state)),
    ];
    if let Some(verifier) = verifier {
        let verifier = PkceCodeVerifier::new(text(verifier));
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        own.push(("code_challenge".to_owned(), challenge.as_str().to_owned()));
        own.push(("code_challenge_method".to_owned(), challenge.method().as_str().to_owned()));
    }
    for list in &oauth2.scope_lists {
        let scopes = asked.get(&list.param).map(Vec::as_slice).unwrap_or_default();
        if !scopes.is_empty() {
            own.push((list.param.clone(), scopes.join(&list.separator)));
        }
    }
    let mut own: Vec<(String, String)> =
        own.into_iter().filter_map(|(name, value)| Some((name_of(oauth2, &name)?.to_owned(), value))).collect();
    // Without it nothing ties the answer to the person who began: fails closed.
    if name_of(oauth2, "state").is_none() {
        return Err(AuthError::Internal("the app leaves `state` out, and no answer could be believed".to_owned()));
    }
    for param in &oauth2.authorize_params {
        if !own.iter().any(|(name, _)| *name == param.name) {
            own.push((param.name.clone(), param.value.clone()));
        }
    }
    page.query_pairs_mut().extend_pairs(&own);
    Ok(page)
}

/// What the service calls a standard parameter; none: it is left out.
pub fn name_of<'a>(oauth2: &'a OAuth2, name: &'a str) -> Option<&'a str> {
    match oauth2.names.iter().find(|rename| rename.name == name) {
        Some(rename) => rename.to.as_deref(),
        None => Some(name),
    }
}

/// A new PKCE verifier (RFC 7636 section 4.1), or none where the app cannot take one.
pub fn verifier(oauth2: &OAuth2) -> Option<Secret> {
    match oauth2.pkce {
        Pkce::S256 => {
            let (_, verifier) = PkceCodeChallenge::new_random_sha256();
            Some(Secret::new(verifier.secret().as_bytes().to_vec()))
        }
        Pkce::Off => None,
    }
}

/// RFC 6749 section 4.1.3.
pub fn exchange(
    app: &App,
    oauth2: &OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'_>,
    code: &Secret,
    redirect_uri: &str,
    verifier: Option<&Secret>,
) -> Result<Request, AuthError> {
    let mut own = vec![
        ("grant_type", Value::Text("authorization_code")),
        ("code", Value::Secret(code)),
        ("redirect_uri", Value::Text(redirect_uri)),
    ];
    if let Some(verifier) = verifier {
        own.push(("code_verifier", Value::Secret(verifier)));
    }
    wire::call(app, oauth2, endpoint, client, own, Leg::token(oauth2))
}

/// RFC 8628 section 3.1. The client says its id even where it authenticates: many services know it by that alone.
pub fn device(
    app: &App,
    oauth2: &OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'_>,
    asked: &Asked,
) -> Result<Request, AuthError> {
    let scopes: Vec<(&str, String)> = oauth2
        .scope_lists
        .iter()
        .filter_map(|list| Some((list.param.as_str(), asked.get(&list.param)?.join(&list.separator))))
        .filter(|(_, scopes)| !scopes.is_empty())
        .collect();
    let mut own: Vec<_> = scopes.iter().map(|(param, scopes)| (*param, Value::Text(scopes))).collect();
    if !matches!(oauth2.client_auth, ClientAuth::Post | ClientAuth::None) {
        own.push(("client_id", Value::Text(client.id)));
    }
    wire::call(app, oauth2, endpoint, client, own, Leg::plain())
}

/// RFC 8628 section 3.4.
pub fn device_token(
    app: &App,
    oauth2: &OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'_>,
    device_code: &Secret,
) -> Result<Request, AuthError> {
    let own = vec![("grant_type", Value::Text(DEVICE_GRANT)), ("device_code", Value::Secret(device_code))];
    wire::call(app, oauth2, endpoint, client, own, Leg::token(oauth2))
}

/// RFC 6749 section 6.
pub fn refresh(
    app: &App,
    oauth2: &OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'_>,
    token: &Secret,
) -> Result<Request, AuthError> {
    let own = vec![("grant_type", Value::Text("refresh_token")), ("refresh_token", Value::Secret(token))];
    wire::call(app, oauth2, endpoint, client, own, Leg::refresh(oauth2))
}

/// RFC 7009 section 2.1.
pub fn revoke(
    app: &App,
    oauth2: &OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'_>,
    token: &Secret,
    hint: &'static str,
) -> Result<Request, AuthError> {
    let own = vec![("token", Value::Secret(token)), ("token_type_hint", Value::Text(hint))];
    wire::call(app, oauth2, endpoint, client, own, Leg::plain())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use deputy_declaration::types::{Param, Rename, Scope, TokenBody};
    use http::Method;

    use super::super::apps::oauth2_of;
    use super::super::testing;
    use super::*;
    use crate::egress::Body;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn body(request: &Request) -> String {
        match &request.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => panic!("a token call has a body"),
        }
    }

    fn refreshed(change: impl Fn(&mut OAuth2), id: &str, client_secret: Option<&str>) -> Result<Request, AuthError> {
        let app = testing::app();
        let mut oauth2 = oauth2_of(&app.methods[0]).unwrap().clone();
        change(&mut oauth2);
        let client_secret = client_secret.map(secret);
        let client = ClientCredentials { id, secret: client_secret.as_ref() };
        refresh(&app, &oauth2, &Url::parse("https://as.example/token").unwrap(), client, &secret("r t&"))
    }

    #[test]
    fn a_client_says_who_it_is_in_four_ways() {
        let auth = |request: &Request| request.headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
        let (id, key) = ("weird:client", Some("p%s+w o/r=d&~"));
        let basic = refreshed(|_| (), id, key).unwrap();
        let expected = STANDARD.encode("weird%3Aclient:p%25s%2Bw+o%2Fr%3Dd%26%7E");
        assert_eq!(auth(&basic), Some(format!("Basic {expected}")));
        assert_eq!(body(&basic), "grant_type=refresh_token&refresh_token=r+t%26");
        let raw = refreshed(|oauth2| oauth2.client_auth = ClientAuth::BasicRaw, "id", Some("a+b")).unwrap();
        assert_eq!(auth(&raw), Some(format!("Basic {}", STANDARD.encode("id:a+b"))));
        let post = refreshed(|oauth2| oauth2.client_auth = ClientAuth::Post, "id", Some("a+b")).unwrap();
        assert_eq!((auth(&post), body(&post).contains("&client_id=id&client_secret=a%2Bb")), (None, true));
        let public = refreshed(|oauth2| oauth2.client_auth = ClientAuth::None, "id", None).unwrap();
        assert!(body(&public).ends_with("&client_id=id"));
        assert_eq!(refreshed(|_| (), "id", None).unwrap_err().code(), "client_secret_missing");
    }

    fn renamed(names: &[(&str, Option<&str>)]) -> Vec<Rename> {
        let rename = |(name, to): &(&str, Option<&str>)| Rename { name: (*name).into(), to: to.map(str::to_owned) };
        names.iter().map(rename).collect()
    }

    #[test]
    fn a_client_whose_secret_is_the_user_name() {
        let request = refreshed(|oauth2| oauth2.client_auth = ClientAuth::BasicSecret, "id", Some("sk_1")).unwrap();
        assert_eq!(request.headers["authorization"], format!("Basic {}", STANDARD.encode("sk_1:")));
        assert_eq!(body(&request), "grant_type=refresh_token&refresh_token=r+t%26");
    }

    #[test]
    fn parameters_under_other_names_or_left_out() {
        let request = refreshed(
            |oauth2| {
                oauth2.client_auth = ClientAuth::Post;
                oauth2.names = renamed(&[("client_id", Some("client_key")), ("grant_type", None)]);
                oauth2.refresh_params = vec![Param { name: "grant_type".into(), value: "renew".into() }];
            },
            "id",
            Some("s"),
        );
        let sent = body(&request.unwrap());
        assert_eq!(sent, "refresh_token=r+t%26&client_key=id&client_secret=s&grant_type=renew");
        let app = testing::app();
        let mut oauth2 = oauth2_of(&app.methods[0]).unwrap().clone();
        oauth2.names = renamed(&[("client_id", Some("app")), ("response_type", None), ("state", Some("context"))]);
        let asked = scopes(&app, &oauth2, None).unwrap();
        let page = Url::parse("https://as.example/authorize").unwrap();
        let url = |oauth2: &OAuth2| {
            authorize_url(oauth2, page.clone(), "id", "http://127.0.0.1:7878/cb", &secret("st"), None, &asked)
        };
        let query = url(&oauth2).unwrap().query().unwrap().to_owned();
        assert_eq!(query, "app=id&redirect_uri=http%3A%2F%2F127.0.0.1%3A7878%2Fcb&context=st&scope=read");
        oauth2.names = renamed(&[("state", None)]);
        assert_eq!(url(&oauth2).unwrap_err().code(), "internal", "an answer without a state cannot be believed");
    }

    #[test]
    fn a_token_call_may_be_a_get() {
        let request = refreshed(
            |oauth2| {
                oauth2.body = TokenBody::Query;
                oauth2.client_auth = ClientAuth::Post;
                oauth2.token_headers = vec![
                    Param { name: "Accept".into(), value: "text/plain".into() },
                    Param { name: "X-Version".into(), value: "9".into() },
                ];
            },
            "id",
            Some("s&"),
        );
        let request = request.unwrap();
        assert_eq!((&request.method, matches!(request.body, Body::Empty)), (&Method::GET, true));
        let query = "grant_type=refresh_token&refresh_token=r+t%26&client_id=id&client_secret=s%26";
        assert_eq!(request.url, format!("https://as.example/token?{query}"));
        assert_eq!(
            (&request.headers["accept"], &request.headers["x-version"]),
            (&"text/plain".parse().unwrap(), &"9".parse().unwrap())
        );
        assert!(!request.headers.contains_key("content-type"));
    }

    #[test]
    fn the_device_calls() {
        let app = testing::app();
        let oauth2 = oauth2_of(&app.methods[0]).unwrap();
        let (endpoint, key) = (Url::parse("https://as.example/device").unwrap(), secret("s"));
        let client = ClientCredentials { id: "id", secret: Some(&key) };
        let asked = scopes(&app, oauth2, None).unwrap();
        let request = device(&app, oauth2, &endpoint, client, &asked).unwrap();
        assert_eq!(body(&request), "scope=read&client_id=id");
        let request = device_token(&app, oauth2, &endpoint, client, &secret("dc")).unwrap();
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        assert_eq!(body(&request), format!("grant_type={grant}&device_code=dc"));
    }

    #[test]
    fn a_json_body_and_declared_parameters() {
        let request = refreshed(
            |oauth2| {
                oauth2.body = TokenBody::Json;
                oauth2.refresh_params = vec![
                    Param { name: "expiring".into(), value: "1".into() },
                    Param { name: "refresh_token".into(), value: "stolen".into() },
                ];
            },
            "id",
            Some("s"),
        )
        .unwrap();
        let sent: serde_json::Value = serde_json::from_str(&body(&request)).unwrap();
        let meant = serde_json::json!({"grant_type": "refresh_token", "refresh_token": "r t&", "expiring": "1"});
        assert_eq!(sent, meant);
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["x-version"], "7", "the app's default headers go along");
    }

    #[test]
    fn the_authorize_url_keeps_the_protocols_own_parameters() {
        let app = testing::app();
        let mut oauth2 = oauth2_of(&app.methods[0]).unwrap().clone();
        oauth2.authorize_params = vec![
            Param { name: "access_type".into(), value: "offline".into() },
            Param { name: "redirect_uri".into(), value: "https://evil.example".into() },
        ];
        let asked = scopes(&app, &oauth2, None).unwrap();
        // RFC 7636 appendix B.
        let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let page = Url::parse("https://as.example/authorize?tenant=1").unwrap();
        let url =
            authorize_url(&oauth2, page, "id", "http://127.0.0.1:7878/cb", &secret("st"), Some(&verifier), &asked);
        let url = url.unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(query["code_challenge"], "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(query["code_challenge_method"], "S256");
        assert_eq!(query["redirect_uri"], "http://127.0.0.1:7878/cb");
        assert_eq!((query["scope"].as_str(), query["access_type"].as_str()), ("read", "offline"));
        assert_eq!((query["state"].as_str(), query["tenant"].as_str()), ("st", "1"));
    }

    #[test]
    fn scopes_are_chosen_by_name_or_by_list() {
        let app = testing::app();
        let oauth2 = oauth2_of(&app.methods[0]).unwrap();
        let choose = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            scopes(&app, oauth2, Some(&names))
        };
        assert_eq!(choose(&["write", "read", "write"]).unwrap()["scope"], ["write", "read"]);
        assert_eq!(choose(&["scope=read"]).unwrap()["scope"], ["read"]);
        let mut scoped = oauth2.clone();
        let offline = Scope { name: "offline".into(), text: "Stay".into(), default: true, required: true };
        scoped.scope_lists[0].scopes.push(offline);
        let asked = |chosen: Option<&[String]>| scopes(&app, &scoped, chosen).unwrap();
        assert_eq!(asked(Some(&["write".to_owned()]))["scope"], ["offline", "write"]);
        assert_eq!(asked(Some(&["offline".to_owned()]))["scope"], ["offline"]);
        assert_eq!(asked(None)["scope"], ["read", "offline"]);
        assert_eq!(choose(&["wrte"]).unwrap_err().fix().unwrap(), "did you mean `write`?");
    }
}
