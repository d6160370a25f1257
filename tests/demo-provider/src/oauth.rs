//! The authorization server: `/authorize`, `/token`, `/revoke`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Form, Query, State as Extract};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::fault::{self, Fault, Place};
use crate::state::{CLIENT_ID, State};

#[derive(Deserialize)]
pub struct Authorize {
    #[serde(default)]
    response_type: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    scope: String,
    state: Option<String>,
    #[serde(default)]
    code_challenge: String,
    #[serde(default)]
    code_challenge_method: String,
    /// `deny=1`: the person says no.
    deny: Option<String>,
}

/// RFC 6749 section 4.1.1. Consent is given at once; `deny=1` refuses it.
pub async fn authorize(Extract(state): Extract<Arc<State>>, Query(ask): Query<Authorize>) -> Response {
    // Without a known client and a safe redirect URI nobody is redirected (RFC 6749 section 4.1.2.1).
    if ask.client_id != CLIENT_ID {
        return (StatusCode::BAD_REQUEST, "unknown client_id").into_response();
    }
    let Some(mut back) = loopback(&ask.redirect_uri) else {
        return (StatusCode::BAD_REQUEST, "the redirect_uri must be an http URL on loopback").into_response();
    };
    let fault = state.faults().take(Place::Authorize);
    let outcome = if ask.response_type != "code" {
        Err(("unsupported_response_type", "response_type must be code"))
    } else if ask.code_challenge.is_empty() || ask.code_challenge_method != "S256" {
        Err(("invalid_request", "PKCE with code_challenge_method=S256 is required"))
    } else if ask.deny.is_some() {
        Err(("access_denied", "the person said no"))
    } else {
        match state.grants().authorize(&ask.redirect_uri, &ask.code_challenge, &ask.scope) {
            Ok(code) => Ok(code),
            Err(error) => return (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    };
    match fault {
        None | Some(Fault::WrongIssuer) => {}
        Some(fault) => return fault::answer(fault).await,
    }
    {
        let mut query = back.query_pairs_mut();
        match &outcome {
            Ok(code) => {
                query.append_pair("code", code);
            }
            Err((error, description)) => {
                query.append_pair("error", error).append_pair("error_description", description);
            }
        }
        if let Some(state) = &ask.state {
            query.append_pair("state", state);
        }
        let wrong = fault == Some(Fault::WrongIssuer);
        query.append_pair("iss", if wrong { "https://issuer.invalid" } else { &state.issuer });
    }
    (StatusCode::FOUND, [(header::LOCATION, back.to_string())]).into_response()
}

fn loopback(uri: &str) -> Option<Url> {
    let url = Url::parse(uri).ok()?;
    let is_loopback = match url.host()? {
        url::Host::Domain(name) => name == "localhost",
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
    };
    (url.scheme() == "http" && is_loopback && url.fragment().is_none()).then_some(url)
}

#[derive(Deserialize)]
pub struct TokenCall {
    #[serde(default)]
    grant_type: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    redirect_uri: String,
    #[serde(default)]
    code_verifier: String,
    #[serde(default)]
    refresh_token: String,
}

/// RFC 6749 sections 4.1.3 and 6.
pub async fn token(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    form: Result<Form<TokenCall>, axum::extract::rejection::FormRejection>,
) -> Response {
    state.grants().counters.token_calls += 1;
    let fault = state.faults().take(Place::Token);
    match fault {
        None | Some(Fault::LostReply) => {}
        Some(fault) => return fault::answer(fault).await,
    }
    if !is_client(&headers, &state) {
        return unauthorized();
    }
    let call = match form {
        Ok(Form(call)) => call,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "invalid_request", &error.to_string()),
    };
    let outcome = match call.grant_type.as_str() {
        "authorization_code" => state.grants().exchange(&call.code, &call.redirect_uri, &call.code_verifier),
        "refresh_token" => state.grants().refresh(&call.refresh_token),
        other => return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type", other),
    };
    if let Some(fault) = fault {
        return fault::answer(fault).await;
    }
    match outcome {
        Ok(Ok(tokens)) => ([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
        Ok(Err(reason)) => refuse(StatusCode::BAD_REQUEST, "invalid_grant", reason),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &error.to_string()),
    }
}

#[derive(Deserialize)]
pub struct Revocation {
    #[serde(default)]
    token: String,
}

/// RFC 7009: 200 whether or not the token is known.
pub async fn revoke(Extract(state): Extract<Arc<State>>, headers: HeaderMap, Form(call): Form<Revocation>) -> Response {
    if !is_client(&headers, &state) {
        return unauthorized();
    }
    state.grants().revoke(&call.token);
    StatusCode::OK.into_response()
}

/// RFC 6749 section 2.3.1: both parts are form-urlencoded inside HTTP Basic.
fn is_client(headers: &HeaderMap, state: &State) -> bool {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let pair = value.and_then(|value| value.strip_prefix("Basic ")).and_then(|encoded| STANDARD.decode(encoded).ok());
    let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
    let Some((id, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else { return false };
    form_decode(id) == CLIENT_ID && form_decode(secret) == state.client_secret
}

fn form_decode(text: &str) -> String {
    // One key without `=`: the parser gives its decoded name.
    url::form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

fn unauthorized() -> Response {
    let mut answer = refuse(StatusCode::UNAUTHORIZED, "invalid_client", "the client is unknown or its secret is wrong");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"demo\""));
    answer
}

fn refuse(status: StatusCode, error: &str, description: &str) -> Response {
    (status, Json(json!({ "error": error, "error_description": description }))).into_response()
}
