//! `GET /healthz`: whether runs are taken and stored.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Door;

pub(super) async fn show(State(door): State<Door>) -> Response {
    match door.deputy.health().await {
        Ok(()) => Json(json!({ "state": "ok" })).into_response(),
        Err(error) => {
            let body = json!({ "state": "failed", "code": error.code, "reason": error.message });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
