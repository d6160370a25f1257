//! What an answer means: the app's conditions over status, headers and a JSON body.

use deputy_declaration::types::{AnyOf, Condition, Signals, TextMatch};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

/// Bodies are read for a decision up to this size; a larger one meets no body condition.
pub(super) const MOST_BODY_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    pub expired: bool,
    pub revoked: bool,
    pub failed: bool,
    pub throttled: bool,
}

/// Whether the body could change the meaning: it is JSON, and some list holds but for its body conditions.
pub(super) fn wants_body(signals: &Signals, status: StatusCode, headers: &HeaderMap) -> bool {
    let open = |list: &Vec<Condition>| {
        list.iter().any(|condition| matches!(condition, Condition::Body(_)))
            && list.iter().all(|condition| match condition {
                Condition::Body(_) => true,
                other => holds(other, status, headers, None),
            })
    };
    let all = [&signals.expired, &signals.revoked, &signals.failed, &signals.throttled];
    is_json(headers) && all.into_iter().flatten().any(open)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json") || kind == "text/json" || kind == "text/javascript"
}

pub(super) fn read(signals: &Signals, status: StatusCode, headers: &HeaderMap, body: Option<&Value>) -> Meaning {
    let any = |lists: &AnyOf| {
        lists
            .iter()
            .any(|list| !list.is_empty() && list.iter().all(|condition| holds(condition, status, headers, body)))
    };
    // An app that says nothing means what HTTP says.
    let expired = if signals.expired.is_empty() { status == StatusCode::UNAUTHORIZED } else { any(&signals.expired) };
    let throttled =
        if signals.throttled.is_empty() { status == StatusCode::TOO_MANY_REQUESTS } else { any(&signals.throttled) };
    Meaning { expired, revoked: any(&signals.revoked), failed: any(&signals.failed), throttled }
}

fn holds(condition: &Condition, status: StatusCode, headers: &HeaderMap, body: Option<&Value>) -> bool {
    match condition {
        Condition::Status(wanted) => status.as_u16() == *wanted,
        Condition::Header(wanted) => header_holds(wanted, headers),
        Condition::Body(wanted) => body.is_some_and(|body| body_holds(wanted, body)),
    }
}

fn header_holds(wanted: &TextMatch, headers: &HeaderMap) -> bool {
    headers.get_all(wanted.name.as_str()).iter().any(|value| value.as_bytes() == wanted.value.as_bytes())
}

fn body_holds(wanted: &TextMatch, body: &Value) -> bool {
    match body.pointer(&wanted.name) {
        Some(Value::String(text)) => *text == wanted.value,
        Some(Value::Number(number)) => number.to_string().as_str() == wanted.value,
        Some(Value::Bool(true)) => wanted.value == "true",
        Some(Value::Bool(false)) => wanted.value == "false",
        Some(Value::Null) => wanted.value == "null",
        Some(Value::Array(_) | Value::Object(_)) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn body(name: &str, value: &str) -> Condition {
        Condition::Body(TextMatch { name: name.into(), value: value.into() })
    }

    fn slack() -> Signals {
        Signals {
            expired: vec![vec![body("/ok", "false"), body("/error", "token_expired")]],
            revoked: vec![vec![Condition::Status(200), body("/error", "token_revoked")]],
            failed: vec![vec![body("/ok", "false")]],
            ..Signals::default()
        }
    }

    fn headers(kind: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(kind));
        headers
    }

    #[test]
    fn an_error_behind_a_good_status() {
        let read = |body: Value| read(&slack(), StatusCode::OK, &headers("application/json"), Some(&body));
        assert_eq!(read(json!({"ok": true})), Meaning::default());
        assert_eq!(read(json!({"ok": false, "error": "x"})), Meaning { failed: true, ..Meaning::default() });
        let expired = Meaning { failed: true, expired: true, ..Meaning::default() };
        assert_eq!(read(json!({"ok": false, "error": "token_expired"})), expired);
        assert!(read(json!({"ok": false, "error": "token_revoked"})).revoked);
        assert_eq!(read(json!({"ok": "true", "error": ["token_expired"]})), Meaning::default());
    }

    #[test]
    fn without_a_declaration_expiry_is_401() {
        let none = Signals::default();
        assert!(read(&none, StatusCode::UNAUTHORIZED, &HeaderMap::new(), None).expired);
        assert_eq!(read(&none, StatusCode::FORBIDDEN, &HeaderMap::new(), None), Meaning::default());
        assert!(!read(&slack(), StatusCode::UNAUTHORIZED, &HeaderMap::new(), None).expired, "the app's word counts");
        let empty = Signals { expired: vec![vec![]], ..Signals::default() };
        assert!(!read(&empty, StatusCode::UNAUTHORIZED, &HeaderMap::new(), None).expired, "an empty list never holds");
    }

    #[test]
    fn without_a_declaration_throttled_is_429() {
        let none = Signals::default();
        assert!(read(&none, StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), None).throttled);
        assert!(!read(&none, StatusCode::FORBIDDEN, &HeaderMap::new(), None).throttled);
        let limit = Condition::Header(TextMatch { name: "x-ratelimit-remaining".into(), value: "0".into() });
        let github = Signals { throttled: vec![vec![Condition::Status(403), limit]], ..Signals::default() };
        let mut headers = HeaderMap::new();
        assert!(!read(&github, StatusCode::FORBIDDEN, &headers, None).throttled);
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        assert!(read(&github, StatusCode::FORBIDDEN, &headers, None).throttled);
        assert!(!read(&github, StatusCode::TOO_MANY_REQUESTS, &headers, None).throttled, "the app's word counts");
    }

    #[test]
    fn a_throttle_told_in_the_body_is_read() {
        let signals = Signals { throttled: vec![vec![body("/error", "ratelimited")]], ..Signals::default() };
        let headers = headers("application/json");
        assert!(wants_body(&signals, StatusCode::OK, &headers));
        assert!(read(&signals, StatusCode::OK, &headers, Some(&json!({"error": "ratelimited"}))).throttled);
    }

    #[test]
    fn the_body_is_read_only_where_it_decides() {
        assert!(wants_body(&slack(), StatusCode::OK, &headers("application/json; charset=utf-8")));
        assert!(wants_body(&slack(), StatusCode::OK, &headers("application/problem+json")));
        assert!(!wants_body(&slack(), StatusCode::OK, &headers("text/html")));
        assert!(!wants_body(&slack(), StatusCode::OK, &HeaderMap::new()));
        let only_400 = Signals {
            expired: vec![vec![Condition::Status(400), body("/e", "x")]],
            revoked: vec![vec![Condition::Status(403)]],
            ..Signals::default()
        };
        assert!(!wants_body(&only_400, StatusCode::OK, &headers("application/json")));
        assert!(wants_body(&only_400, StatusCode::BAD_REQUEST, &headers("application/json")));
    }

    #[test]
    fn headers_match_by_whole_value() {
        let mut map = HeaderMap::new();
        map.append("x-reason", HeaderValue::from_static("other"));
        map.append("x-reason", HeaderValue::from_static("expired"));
        let condition = |value: &str| {
            let list = vec![vec![Condition::Header(TextMatch { name: "X-Reason".into(), value: value.into() })]];
            let signals = Signals { expired: list, ..Signals::default() };
            read(&signals, StatusCode::OK, &map, None).expired
        };
        assert!(condition("expired"));
        assert!(!condition("expire"));
    }
}
