//! The API behind the tokens. Each path proves one thing about a client: identity, paging, scrubbing, time limits,
//! and that requests run side by side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::fault::{self, Place};
use crate::state::{Bearer, State};

const PAGES: u64 = 3;
const PER_PAGE: u64 = 10;
const LONGEST_WAIT_MS: u64 = 60_000;
const LARGEST_GATHERING: u64 = 1_000;

/// Counts the call, serves a queued fault, and checks the bearer token (RFC 6750).
async fn admit(state: &State, headers: &HeaderMap) -> Result<usize, Response> {
    state.grants().counters.requests += 1;
    let fault = state.faults().take(Place::Api);
    if let Some(fault) = fault {
        return Err(fault::answer(fault).await);
    }
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer "));
    let mut grants = state.grants();
    let (error, text) = match token.map(|token| grants.bearer(token)) {
        Some(Bearer::Valid { grant }) => return Ok(grant),
        Some(Bearer::Expired) => ("token_expired", "the access token is expired"),
        Some(Bearer::Revoked) => ("account_revoked", "the person took the consent back"),
        Some(Bearer::Unknown) => ("invalid_token", "the access token is unknown"),
        None => ("missing_token", "send Authorization: Bearer …"),
    };
    grants.counters.refused += 1;
    let challenge = format!("Bearer realm=\"demo\", error=\"invalid_token\", error_description=\"{text}\"");
    Err((
        StatusCode::UNAUTHORIZED,
        [(header::WWW_AUTHENTICATE, challenge)],
        Json(json!({ "error": error, "message": text })),
    )
        .into_response())
}

/// Who is connected.
pub async fn me(Extract(state): Extract<Arc<State>>, headers: HeaderMap) -> Response {
    match admit(&state, &headers).await {
        Err(answer) => answer,
        Ok(grant) => {
            let scope = state.grants().scope(grant).to_owned();
            Json(json!({ "id": "usr_1", "login": "ada", "name": "Ada Example", "scope": scope })).into_response()
        }
    }
}

#[derive(Deserialize)]
pub struct Page {
    page: Option<u64>,
}

/// Three pages of ten items; the next page stands in the body and in a `Link` header (RFC 8288).
pub async fn items(Extract(state): Extract<Arc<State>>, headers: HeaderMap, Query(ask): Query<Page>) -> Response {
    if let Err(answer) = admit(&state, &headers).await {
        return answer;
    }
    let page = ask.page.unwrap_or(1);
    let first = page.saturating_sub(1).saturating_mul(PER_PAGE);
    let items: Vec<_> = if (1..=PAGES).contains(&page) {
        (first + 1..=first + PER_PAGE).map(|id| json!({ "id": id, "title": format!("Item {id}") })).collect()
    } else {
        Vec::new()
    };
    let next = (page < PAGES).then(|| page + 1);
    let body = Json(json!({ "items": items, "page": page, "next": next }));
    match next {
        Some(next) => {
            ([(header::LINK, format!("<{}/items?page={next}>; rel=\"next\"", state.issuer))], body).into_response()
        }
        None => body.into_response(),
    }
}

/// Everything the request held, credentials included: an answer that must be scrubbed.
pub async fn echo(
    Extract(state): Extract<Arc<State>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(answer) = admit(&state, &headers).await {
        return answer;
    }
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &headers {
        seen.entry(name.to_string()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Json(json!({
        "method": method.as_str(),
        "path": uri.path(),
        "query": uri.query(),
        "headers": seen,
        "body": String::from_utf8_lossy(&body),
    }))
    .into_response()
}

#[derive(Deserialize)]
pub struct Wait {
    ms: Option<u64>,
}

/// Answers after `ms` milliseconds: 1000 unless told, 60 000 at most.
pub async fn slow(Extract(state): Extract<Arc<State>>, headers: HeaderMap, Query(ask): Query<Wait>) -> Response {
    if let Err(answer) = admit(&state, &headers).await {
        return answer;
    }
    let wait_ms = ask.ms.unwrap_or(1_000).min(LONGEST_WAIT_MS);
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    Json(json!({ "waited_ms": wait_ms })).into_response()
}

#[derive(Deserialize)]
pub struct Together {
    n: Option<u64>,
}

/// Answers only when `n` requests (10 unless told) wait here at the same time.
pub async fn together(
    Extract(state): Extract<Arc<State>>,
    headers: HeaderMap,
    Query(ask): Query<Together>,
) -> Response {
    if let Err(answer) = admit(&state, &headers).await {
        return answer;
    }
    let size = ask.n.unwrap_or(10).clamp(1, LARGEST_GATHERING);
    state.gatherings.join(size).await;
    Json(json!({ "together": size })).into_response()
}
