//! `POST /hooks/{address}`: requests that start runs.

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{BODY_BYTES, Door, refused};
use crate::deputy::{Error, HookAnswer, HookRequest};

/// Headers that a run's answer may carry, besides its own `x-…`. No cookies, nothing about the connection, nothing
/// that loosens what a browser keeps to on this server.
const CARRIED: [HeaderName; 12] = [
    header::CONTENT_TYPE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_DISPOSITION,
    header::CACHE_CONTROL,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::ALLOW,
];

pub(super) async fn take(State(door): State<Door>, Path(address): Path<String>, request: Request) -> Response {
    let Ok(_permit) = door.requests.try_acquire() else {
        let response = refused(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests are at work");
        return ([(header::RETRY_AFTER, "1")], response).into_response();
    };
    let (head, body) = request.into_parts();
    let body = match tokio::time::timeout(door.limits.body_time, read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(response)) => return response,
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "body_slow", "the body did not come in time"),
    };
    let request = HookRequest {
        address,
        method: head.method.as_str().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    match door.deputy.hook(request).await {
        Ok(answer) => answered(answer),
        Err(error) => failed(&error),
    }
}

async fn read(body: Body) -> Result<Bytes, Response> {
    to_bytes(body, BODY_BYTES).await.map_err(|error| {
        // axum tells a body beyond the limit from one that broke off by its source alone.
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(inner) = source {
            if inner.is::<http_body_util::LengthLimitError>() {
                let message = format!("the body is larger than {BODY_BYTES} bytes");
                return refused(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message);
            }
            source = inner.source();
        }
        refused(StatusCode::BAD_REQUEST, "body_broken", "the body broke off")
    })
}

fn answered(answer: HookAnswer) -> Response {
    match answer {
        HookAnswer::Accepted { run } => (StatusCode::ACCEPTED, Json(json!({ "run": run }))).into_response(),
        HookAnswer::Failed { run, code } => {
            let error = json!({ "code": code, "message": "the run failed" });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "run": run, "error": error }))).into_response()
        }
        HookAnswer::Result { run, status, headers, body } => {
            let mut response = match body {
                Value::Null => status.into_response(),
                Value::String(text) => (status, text).into_response(),
                other => (status, Json(other)).into_response(),
            };
            for (name, value) in headers {
                let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) else {
                    continue;
                };
                if CARRIED.contains(&name) || name.as_str().starts_with("x-") {
                    response.headers_mut().insert(name, value);
                }
            }
            if let Ok(run) = HeaderValue::try_from(run.as_str()) {
                response.headers_mut().insert("deputy-run", run);
            }
            response
        }
    }
}

/// What a stranger learns: the code, and a sentence where the request itself is at fault.
fn failed(error: &Error) -> Response {
    let status = match &*error.code {
        "hook_unknown" => StatusCode::NOT_FOUND,
        "signature_wrong" => StatusCode::UNAUTHORIZED,
        "body_invalid" => StatusCode::BAD_REQUEST,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "workflow_disabled" => StatusCode::CONFLICT,
        "stopping" | "workflow_changed" => StatusCode::SERVICE_UNAVAILABLE,
        code if code.starts_with("store_") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error() {
        tracing::error!("a hook was not taken: {error}");
        // Trying again helps against everything but a server without its key.
        let message = match &*error.code {
            "hook_key_missing" => "this server lacks the key that signatures are checked with",
            _ => "the run was not taken; try again",
        };
        return refused(status, &error.code, message);
    }
    refused(status, &error.code, &error.message)
}
