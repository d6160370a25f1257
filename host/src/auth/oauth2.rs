//! OAuth 2.0 authorization code as this host speaks it: the authorize URL, and the bodies of exchange, refresh and
//! revocation.
//!
//! RFC 6749 sections 4.1 and 6, RFC 7636 (S256 only), RFC 7009. Pure: what goes out is built here, and sent by others.
//! A declared parameter never replaces one of the protocol's own.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use deputy_declaration::nearest;
use deputy_declaration::types::{App, ClientAuth, OAuth2, Param, Pkce, ScopeList, TokenBody};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::error::AuthError;
use crate::egress::{Body, Request};
use crate::vault::Secret;

/// Longer than the road's own wait would be wrong, shorter than half a lease must it be.
pub const CALL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// The client as a call needs it.
#[derive(Clone, Copy)]
pub struct ClientCredentials<'a> {
    pub id: &'a str,
    pub secret: Option<&'a Secret>,
}

/// One scope parameter of the authorize URL with what is asked in it.
pub type Asked = BTreeMap<String, Vec<String>>;

/// The scopes to ask for: the declared defaults, or exactly those chosen. `param=scope` names the list where two of
/// them know the same scope; a bare scope means the first list that does.
pub fn scopes(app: &App, oauth2: &OAuth2, chosen: Option<&[String]>) -> Result<Asked, AuthError> {
    let mut asked = Asked::new();
    let Some(chosen) = chosen else {
        for list in &oauth2.scope_lists {
            let defaults = list.scopes.iter().filter(|scope| scope.default).map(|scope| scope.name.clone());
            asked.insert(list.param.clone(), defaults.collect());
        }
        return Ok(asked);
    };
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
    let mut own = vec![
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
    add_declared(&mut own, &oauth2.authorize_params);
    page.query_pairs_mut().extend_pairs(&own);
    Ok(page)
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
    call(app, oauth2, endpoint, client, own, &oauth2.token_params)
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
    call(app, oauth2, endpoint, client, own, &oauth2.refresh_params)
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
    call(app, oauth2, endpoint, client, own, &[])
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Secret(&'a Secret),
}

impl Value<'_> {
    fn text(&self) -> Result<&str, AuthError> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Secret(secret) => std::str::from_utf8(secret.expose())
                .map_err(|_| AuthError::Internal("a secret for a token call is not text".to_owned())),
        }
    }
}

fn call<'a>(
    app: &App,
    oauth2: &OAuth2,
    endpoint: &Url,
    client: ClientCredentials<'a>,
    mut own: Vec<(&'a str, Value<'a>)>,
    declared: &'a [Param],
) -> Result<Request, AuthError> {
    let mut request = Request::new(Method::POST, endpoint.as_str());
    request.timeout = Some(CALL_TIMEOUT);
    let secret = || client.secret.ok_or_else(|| AuthError::ClientSecretMissing { app: app.slug.clone() });
    match oauth2.client_auth {
        ClientAuth::Basic => {
            request.headers.insert(header::AUTHORIZATION, basic(client.id, secret()?, true)?);
        }
        ClientAuth::BasicRaw => {
            request.headers.insert(header::AUTHORIZATION, basic(client.id, secret()?, false)?);
        }
        ClientAuth::BasicSecret => return Err(unsupported(app)),
        ClientAuth::Post => {
            own.push(("client_id", Value::Text(client.id)));
            own.push(("client_secret", Value::Secret(secret()?)));
        }
        ClientAuth::None => own.push(("client_id", Value::Text(client.id))),
    }
    for param in declared {
        if !own.iter().any(|(name, _)| *name == param.name) {
            own.push((&param.name, Value::Text(&param.value)));
        }
    }
    let (content_type, body) = match oauth2.body {
        TokenBody::Form => ("application/x-www-form-urlencoded", form(&own)?),
        TokenBody::Json => ("application/json", json(&own)?),
        TokenBody::Query => return Err(unsupported(app)),
    };
    add_default_headers(app, &mut request.headers);
    request.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    request.body = Body::Bytes(Bytes::from_owner(body));
    Ok(request)
}

/// Validation lets no such declaration in.
fn unsupported(app: &App) -> AuthError {
    AuthError::Internal(format!("{} declares a token call that this version does not make", app.slug))
}

/// Some providers want their version header on token calls too. What this call itself decides is left out.
fn add_default_headers(app: &App, headers: &mut HeaderMap) {
    for default in &app.headers {
        let parsed = (HeaderName::try_from(&default.name), HeaderValue::try_from(&default.value));
        if let (Ok(name), Ok(value)) = parsed
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
}

fn add_declared(own: &mut Vec<(String, String)>, declared: &[Param]) {
    for param in declared {
        if !own.iter().any(|(name, _)| *name == param.name) {
            own.push((param.name.clone(), param.value.clone()));
        }
    }
}

/// RFC 6749 section 2.3.1: both parts are form-urlencoded first, except for providers that do not decode them.
fn basic(id: &str, secret: &Secret, encoded: bool) -> Result<HeaderValue, AuthError> {
    let secret = Value::Secret(secret);
    let secret = secret.text()?;
    let pair = if encoded {
        let mut pair = Zeroizing::new(String::with_capacity((id.len() + secret.len()) * 3 + 1));
        pair.extend(url::form_urlencoded::byte_serialize(id.as_bytes()));
        pair.push(':');
        pair.extend(url::form_urlencoded::byte_serialize(secret.as_bytes()));
        pair
    } else {
        Zeroizing::new(format!("{id}:{secret}"))
    };
    let mut text = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    text.push_str("Basic ");
    STANDARD.encode_string(pair.as_bytes(), &mut text);
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| AuthError::Internal("the client's credentials cannot stand in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn form(pairs: &[(&str, Value<'_>)]) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let mut room = 0;
    for (name, value) in pairs {
        room += (name.len() + value.text()?.len()) * 3 + 2;
    }
    let mut form = Serializer::new(String::with_capacity(room));
    for (name, value) in pairs {
        form.append_pair(name, value.text()?);
    }
    Ok(Zeroizing::new(form.finish().into_bytes()))
}

fn json(pairs: &[(&str, Value<'_>)]) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let mut room = 2;
    for (name, value) in pairs {
        room += (name.len() + value.text()?.len()) * 6 + 6;
    }
    let mut body = Zeroizing::new(Vec::with_capacity(room));
    let failed = |error: serde_json::Error| AuthError::Internal(error.to_string());
    body.push(b'{');
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut *body, name).map_err(failed)?;
        body.push(b':');
        serde_json::to_writer(&mut *body, value.text()?).map_err(failed)?;
    }
    body.push(b'}');
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::super::apps::oauth2_of;
    use super::super::testing;
    use super::*;

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
        assert_eq!(choose(&["wrte"]).unwrap_err().fix().unwrap(), "did you mean `write`?");
    }
}
