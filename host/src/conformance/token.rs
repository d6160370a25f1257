//! The made provider's OAuth side: authorize page, token call with its quirks, refresh, revocation.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_declaration::types::{AuthMethod, ClientAuth, Expiry, OAuth2, Param, Pkce, Rotation, TokenBody};
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded;

use super::fake::{self, Fake, Reply, Seen, State};
use super::values::shaped;

/// What a code was given for.
pub struct Authorized {
    redirect_uri: String,
    challenge: Option<String>,
    scopes: BTreeMap<String, String>,
}

type Pairs = Vec<(String, String)>;

/// Takes one value out; two of a name are a fault.
fn take(pairs: &mut Pairs, name: &str) -> Result<String, String> {
    let at = pairs.iter().position(|(known, _)| known == name).ok_or_else(|| format!("`{name}` is missing"))?;
    let (_, value) = pairs.remove(at);
    match pairs.iter().any(|(known, _)| known == name) {
        true => Err(format!("`{name}` stands there twice")),
        false => Ok(value),
    }
}

fn must(pairs: &mut Pairs, name: &str, wanted: &str) -> Result<(), String> {
    match take(pairs, name)? {
        value if value == wanted => Ok(()),
        _ => Err(format!("`{name}` has another value than the declaration or the flow gives it")),
    }
}

fn fixed(pairs: &mut Pairs, params: &[Param]) -> Result<(), String> {
    params.iter().try_for_each(|param| must(pairs, &param.name, &param.value))
}

fn nothing_else(pairs: &Pairs) -> Result<(), String> {
    match pairs.first() {
        Some((name, _)) => Err(format!("the declaration says nothing of `{name}`")),
        None => Ok(()),
    }
}

/// Where the browser is sent back to, with a code.
pub(super) fn authorize(fake: &Fake, state: &mut State, oauth2: &OAuth2, url: &str) -> Result<String, String> {
    let page = oauth2.authorize_url.as_ref().ok_or("the declaration has no authorize page")?;
    let page = fake.url(state, page)?;
    let opened = Url::parse(url).map_err(|error| error.to_string())?;
    if (opened.origin(), opened.path()) != (page.origin(), page.path()) {
        return Err(format!("the page must be {page}"));
    }
    let mut pairs: Pairs = opened.query_pairs().into_owned().collect();
    for (name, value) in page.query_pairs() {
        must(&mut pairs, &name, &value)?;
    }
    let client = state.client.clone().ok_or("no client is registered")?;
    must(&mut pairs, "response_type", "code")?;
    must(&mut pairs, "client_id", &client.id)?;
    must(&mut pairs, "redirect_uri", &client.redirect_uri)?;
    let returned = take(&mut pairs, "state")?;
    if returned.len() < 16 {
        return Err("`state` is too short to be unguessable".to_owned());
    }
    let challenge = match oauth2.pkce {
        Pkce::S256 => {
            must(&mut pairs, "code_challenge_method", "S256")?;
            let challenge = take(&mut pairs, "code_challenge")?;
            if URL_SAFE_NO_PAD.decode(&challenge).map(|bytes| bytes.len()) != Ok(32) {
                return Err("`code_challenge` is no SHA-256 in base64url".to_owned());
            }
            Some(challenge)
        }
        Pkce::Off => None,
    };
    let mut scopes = BTreeMap::new();
    for list in &oauth2.scope_lists {
        let wanted: Vec<_> =
            list.scopes.iter().filter(|scope| scope.default).map(|scope| scope.name.as_str()).collect();
        if !wanted.is_empty() {
            let wanted = wanted.join(&list.separator);
            must(&mut pairs, &list.param, &wanted)?;
            scopes.insert(list.param.clone(), wanted);
        }
    }
    fixed(&mut pairs, &oauth2.authorize_params)?;
    nothing_else(&pairs)?;
    state.issued += 1;
    let code = shaped("code-", 40, deputy_declaration::types::Alphabet::Alphanumeric, 7_000 + state.issued);
    state.codes.insert(code.clone(), Authorized { redirect_uri: client.redirect_uri.clone(), challenge, scopes });
    let mut back = Url::parse(&client.redirect_uri).map_err(|error| error.to_string())?;
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &returned);
    if let Some(issuer) = &oauth2.issuer {
        back.query_pairs_mut().append_pair("iss", issuer);
    }
    Ok(back.to_string())
}

/// The parameters of a call to the token endpoint, without what proves the client.
fn parameters(state: &State, oauth2: &OAuth2, seen: &Seen) -> Result<Pairs, String> {
    if seen.method != "POST" {
        return Err("the method must be POST".to_owned());
    }
    if seen.target.contains('?') {
        return Err("the declaration puts nothing into the query".to_owned());
    }
    let header = |name: &str| seen.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let kind = header("content-type").unwrap_or_default();
    let mut pairs: Pairs = match oauth2.body {
        TokenBody::Form if kind == "application/x-www-form-urlencoded" => {
            form_urlencoded::parse(&seen.body).into_owned().collect()
        }
        TokenBody::Json if kind == "application/json" => {
            let fields: BTreeMap<String, String> = serde_json::from_slice(&seen.body)
                .map_err(|error| format!("the body must be a JSON object of texts: {error}"))?;
            fields.into_iter().collect()
        }
        TokenBody::Form | TokenBody::Json => return Err("the body is not of the declared kind".to_owned()),
        TokenBody::Query => return Err("the kit cannot check a token call in the query".to_owned()),
    };
    let client = state.client.as_ref().ok_or("no client is registered")?;
    let secret = client.secret.as_deref().unwrap_or_default();
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let wanted = match oauth2.client_auth {
        ClientAuth::Basic => Some(format!("{}:{}", encoded(&client.id), encoded(secret))),
        ClientAuth::BasicRaw => Some(format!("{}:{secret}", client.id)),
        ClientAuth::BasicSecret => Some(format!("{secret}:")),
        ClientAuth::Post => {
            must(&mut pairs, "client_id", &client.id)?;
            must(&mut pairs, "client_secret", secret)?;
            None
        }
        ClientAuth::None => {
            must(&mut pairs, "client_id", &client.id)?;
            None
        }
    };
    let wanted = wanted.map(|pair| format!("Basic {}", STANDARD.encode(pair)));
    if header("authorization") != wanted.as_deref() {
        return Err(match wanted {
            Some(_) => "the client must prove itself by Basic, as the declaration says".to_owned(),
            None => "the declaration proves the client in the body, not in `authorization`".to_owned(),
        });
    }
    Ok(pairs)
}

pub(super) fn call(
    fake: &Fake,
    state: &mut State,
    method: &AuthMethod,
    oauth2: &OAuth2,
    seen: &Seen,
) -> Result<Reply, String> {
    let mut pairs = parameters(state, oauth2, seen)?;
    let refresh_url = oauth2.refresh_url.as_ref().unwrap_or(&oauth2.token_url);
    let place = |template| fake.url(state, template).is_ok_and(|url| fake::same_place(&url, seen));
    let (tokens_here, refresh_here) = (place(&oauth2.token_url), place(refresh_url));
    let grant = take(&mut pairs, "grant_type")?;
    match grant.as_str() {
        "authorization_code" if tokens_here => {
            let code = take(&mut pairs, "code")?;
            let authorized = state.codes.remove(&code).ok_or("the code is unknown, or was used before")?;
            must(&mut pairs, "redirect_uri", &authorized.redirect_uri)?;
            if let Some(challenge) = &authorized.challenge {
                let verifier = take(&mut pairs, "code_verifier")?;
                if URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) != *challenge {
                    return Err("`code_verifier` does not belong to the challenge".to_owned());
                }
            }
            fixed(&mut pairs, &oauth2.token_params)?;
            nothing_else(&pairs)?;
            if let Some(error) = &state.token_error {
                return Ok(refusal(oauth2, error));
            }
            for token in &method.tokens {
                issue(state, &token.name, &token.marker.prefix, true);
            }
            Ok(reply(state, method, None, &authorized.scopes))
        }
        "refresh_token" if refresh_here => {
            let sent = take(&mut pairs, "refresh_token")?;
            fixed(&mut pairs, &oauth2.refresh_params)?;
            nothing_else(&pairs)?;
            let known = state.refresh.iter().find(|(_, value)| **value == sent).map(|(name, _)| name.clone());
            let Some(name) = known else { return Err("the refresh token is unknown, or was rotated away".to_owned()) };
            if let Some(error) = &state.token_error {
                return Ok(refusal(oauth2, error));
            }
            state.refreshes += 1;
            let rotates = oauth2.rotation != Rotation::None;
            let prefix = method.tokens.iter().find(|token| token.name == name).map(|token| token.marker.prefix.clone());
            issue(state, &name, &prefix.unwrap_or_default(), rotates);
            Ok(reply(state, method, Some(&name), &BTreeMap::new()))
        }
        other => Err(format!("the grant type `{other}` does not belong to this address")),
    }
}

fn issue(state: &mut State, name: &str, prefix: &str, rotates: bool) {
    let alphabet = deputy_declaration::types::Alphabet::Alphanumeric;
    state.issued += 1;
    state.tokens.insert(name.to_owned(), shaped(prefix, 48, alphabet, 9_000 + state.issued));
    if rotates {
        state.refresh.insert(name.to_owned(), shaped("rt-", 48, alphabet, 12_000 + state.issued));
    }
}

/// In the declared shape: every token at its place, or only the one that was refreshed.
fn reply(state: &State, method: &AuthMethod, only: Option<&str>, scopes: &BTreeMap<String, String>) -> Reply {
    let mut body = json!({ "token_type": "Bearer" });
    for token in method.tokens.iter().filter(|token| only.is_none_or(|only| token.name == only)) {
        let Some(place) = &token.reply else { continue };
        let (Some(access), refresh) = (state.tokens.get(&token.name), state.refresh.get(&token.name)) else { continue };
        fake::put(&mut body, &place.access, Value::from(access.as_str()));
        if let (Some(at), Some(refresh)) = (&place.refresh, refresh) {
            fake::put(&mut body, at, Value::from(refresh.as_str()));
        }
        if let Some(Expiry::Seconds(at)) = &place.expiry {
            fake::put(&mut body, at, Value::from(3600));
        }
        if let (Some(at), Some(scopes)) = (&place.scope, scopes.values().next()) {
            fake::put(&mut body, at, Value::from(scopes.as_str()));
        }
    }
    fake::json(200, &body)
}

fn refusal(oauth2: &OAuth2, code: &str) -> Reply {
    let mut body = json!({});
    fake::put(&mut body, &oauth2.error, Value::from(code));
    fake::json(400, &body)
}

pub(super) fn revoke(_: &Fake, state: &mut State, oauth2: &OAuth2, seen: &Seen) -> Result<Reply, String> {
    let mut pairs = parameters(state, oauth2, seen)?;
    let token = take(&mut pairs, "token")?;
    let hint = take(&mut pairs, "token_type_hint")?;
    nothing_else(&pairs)?;
    let known = match hint.as_str() {
        "refresh_token" => state.refresh.values().any(|value| *value == token),
        "access_token" => state.tokens.values().any(|value| *value == token),
        _ => return Err("`token_type_hint` is neither of the two".to_owned()),
    };
    if !known {
        return Err("the token to revoke is not one that was given".to_owned());
    }
    state.revoked.push(hint);
    Ok((200, Vec::new(), Vec::new()))
}
