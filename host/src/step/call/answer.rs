//! What an answer gives: parsed as the call says, and the provider's own words where it is an error.

use base64::Engine;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{AnswerRules, Parse};

/// An answer that was read to its end, within the run's bound.
#[derive(Debug)]
pub(super) struct Whole {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Whole {
    /// The call's value, or what is wrong with the answer.
    pub(super) fn value(self, rules: &AnswerRules) -> Result<Value, String> {
        match &rules.output {
            Some(pointer) => {
                let mut body = self.json()?;
                let found = body.pointer_mut(pointer).map(Value::take);
                found.ok_or_else(|| format!("its answer holds nothing at `{pointer}`"))
            }
            None => {
                let (status, headers) = (self.status.as_u16(), headers(&self.headers));
                Ok(json!({ "status": status, "headers": headers, "body": self.body(rules.parse)? }))
            }
        }
    }

    pub(super) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.bytes).map_err(|error| format!("its answer is not JSON: {error}"))
    }

    fn body(self, parse: Parse) -> Result<Value, String> {
        let base64 = |bytes: &[u8]| Value::from(base64::engine::general_purpose::STANDARD.encode(bytes));
        match parse {
            Parse::Json => self.json(),
            Parse::Text => match String::from_utf8(self.bytes) {
                Ok(text) => Ok(text.into()),
                Err(error) => {
                    let at = error.utf8_error().valid_up_to();
                    Err(format!("its answer is not UTF-8 from byte {at} on"))
                }
            },
            Parse::Base64 => Ok(base64(&self.bytes)),
            Parse::Auto => {
                if self.bytes.is_empty() {
                    return Ok(Value::Null);
                }
                let kind = Kind::of(&self.headers);
                if matches!(kind, Kind::Json | Kind::Unknown)
                    && let Ok(value) = serde_json::from_slice(&self.bytes)
                {
                    return Ok(value);
                }
                if kind == Kind::Other {
                    return Ok(base64(&self.bytes));
                }
                Ok(match String::from_utf8(self.bytes) {
                    Ok(text) => text.into(),
                    Err(error) => base64(error.as_bytes()),
                })
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Text,
    /// No content type.
    Unknown,
    Other,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
            return Self::Unknown;
        };
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" | "text/json" => Self::Json,
            kind if kind.ends_with("+json") => Self::Json,
            "application/xml"
            | "application/javascript"
            | "application/x-www-form-urlencoded"
            | "application/x-ndjson"
            | "application/yaml" => Self::Text,
            kind if kind.starts_with("text/") || kind.ends_with("+xml") => Self::Text,
            _ => Self::Other,
        }
    }
}

/// By lower-case name; several of one name are joined.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    headers
        .keys()
        .map(|name| {
            let values: Vec<_> =
                headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            (name.to_string(), values.join(", ").into())
        })
        .collect()
}

/// The provider's own words about an error, in one bounded line; empty where it has none in a place that is known.
pub(super) fn said(headers: &HeaderMap, bytes: &[u8]) -> String {
    /// Where services put a sentence or a code. RFC 9457 and RFC 6749 among them.
    const PLACES: [&str; 14] = [
        "/error/message",
        "/error_description",
        "/error/description",
        "/error",
        "/errors/0/message",
        "/errors/0/detail",
        "/errors/0/title",
        "/errors/0",
        "/errors",
        "/message",
        "/detail",
        "/title",
        "/reason",
        "/0/message",
    ];
    let text = match serde_json::from_slice::<Value>(bytes) {
        Ok(body) => {
            let text = |pointer: &&str| body.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
            let said = PLACES.iter().find_map(text).or_else(|| message(&body, 0));
            let mut said = said.unwrap_or_default().to_owned();
            // Slack names the scope that it misses beside the code.
            if let Some(needed) = body.get("needed").and_then(Value::as_str).filter(|_| !said.is_empty()) {
                said.push_str(&format!(" (needed: {needed})"));
            }
            said
        }
        Err(_) if Kind::of(headers) == Kind::Text && !is_markup(headers) => {
            String::from_utf8_lossy(bytes).trim().to_owned()
        }
        Err(_) => String::new(),
    };
    line(&text)
}

/// The first `message` at any depth: GraphQL's are where the query put them.
fn message(value: &Value, depth: usize) -> Option<&str> {
    const MAX_DEPTH: usize = 6;
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Object(fields) => {
            let own = fields.get("message").and_then(Value::as_str).filter(|text| !text.is_empty());
            own.or_else(|| fields.values().find_map(|value| message(value, depth + 1)))
        }
        Value::Array(items) => items.iter().find_map(|value| message(value, depth + 1)),
        _ => None,
    }
}

fn is_markup(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|kind| {
        let kind = kind.to_ascii_lowercase();
        kind.contains("html") || kind.contains("xml")
    })
}

fn line(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut line: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(MAX_CHARS + 1)
        .collect();
    if line.chars().count() > MAX_CHARS {
        line.pop();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn whole(kind: Option<&'static str>, bytes: &[u8]) -> Whole {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert("content-type", HeaderValue::from_static(kind));
        }
        Whole { status: StatusCode::OK, headers, bytes: bytes.to_vec() }
    }

    fn parsed(parse: Parse, kind: Option<&'static str>, bytes: &[u8]) -> Result<Value, String> {
        let rules = AnswerRules { parse, ..AnswerRules::default() };
        whole(kind, bytes).value(&rules).map(|mut value| value["body"].take())
    }

    #[test]
    fn bodies_are_parsed_by_their_content_type() {
        for (kind, bytes, expected) in [
            (Some("application/json; charset=utf-8"), &b"{\"a\":1}"[..], json!({"a": 1})),
            (Some("application/problem+json"), b"[1]", json!([1])),
            (Some("application/json"), b"<html>", json!("<html>")),
            (Some("text/plain"), b"{\"a\":1}", json!("{\"a\":1}")),
            (Some("text/plain"), b"\xff", json!("/w==")),
            (Some("image/png"), b"{}", json!("e30=")),
            (None, b"{\"a\":1}", json!({"a": 1})),
            (None, b"plain", json!("plain")),
            (None, b"\xff\xfe", json!("//4=")),
            (Some("application/json"), b"", Value::Null),
        ] {
            assert_eq!(parsed(Parse::Auto, kind, bytes), Ok(expected), "{kind:?}");
        }
    }

    #[test]
    fn a_call_that_names_a_form_gets_it_or_an_error() {
        assert_eq!(parsed(Parse::Json, Some("text/plain"), b"[1]"), Ok(json!([1])));
        assert!(parsed(Parse::Json, None, b"<html>").unwrap_err().contains("not JSON"));
        assert_eq!(parsed(Parse::Text, Some("application/json"), b"[1]"), Ok(json!("[1]")));
        assert!(parsed(Parse::Text, None, b"a\xff").unwrap_err().contains("byte 1"));
        assert_eq!(parsed(Parse::Base64, Some("application/json"), b"[1]"), Ok(json!("WzFd")));
    }

    #[test]
    fn the_output_pointer_gives_a_part_and_says_where_there_is_none() {
        let rules = |pointer: &str| AnswerRules { output: Some(pointer.to_owned()), ..AnswerRules::default() };
        let body = br#"{"message": {"ts": "1.2"}, "none": null}"#;
        assert_eq!(whole(None, body).value(&rules("/message/ts")), Ok(json!("1.2")));
        assert_eq!(whole(None, body).value(&rules("/none")), Ok(Value::Null));
        assert_eq!(whole(None, b"[1]").value(&rules("")), Ok(json!([1])));
        assert!(whole(None, body).value(&rules("/message/id")).unwrap_err().contains("`/message/id`"));
        assert!(whole(None, b"").value(&rules("/x")).unwrap_err().contains("not JSON"));
    }

    #[test]
    fn headers_of_one_name_are_joined() {
        let mut whole = whole(Some("text/plain"), b"x");
        whole.headers.append("x-a", HeaderValue::from_static("1"));
        whole.headers.append("x-a", HeaderValue::from_static("2"));
        let value = whole.value(&AnswerRules::default()).unwrap();
        assert_eq!(
            value,
            json!({"status": 200, "headers": {"content-type": "text/plain", "x-a": "1, 2"}, "body": "x"})
        );
    }

    #[test]
    fn the_providers_words_are_one_bounded_line() {
        let said = |kind: Option<&'static str>, body: &str| said(&whole(kind, b"").headers, body.as_bytes());
        for (body, words) in [
            (r#"{"ok":false,"error":"channel_not_found"}"#, "channel_not_found"),
            (r#"{"ok":false,"error":"missing_scope","needed":"chat:write"}"#, "missing_scope (needed: chat:write)"),
            (r#"{"error":{"message":"No such customer","code":"x"}}"#, "No such customer"),
            (r#"{"message":"Not Found","documentation_url":"x"}"#, "Not Found"),
            (r#"{"errors":[{"message":"a\nb"}]}"#, "a b"),
            (r#"{"errors":["bad"]}"#, "bad"),
            (r#"{"error":"invalid_grant","error_description":"It is gone."}"#, "It is gone."),
            (r#"{"data":{"make":{"thing":null,"userErrors":[{"field":["title"],"message":"is empty"}]}}}"#, "is empty"),
            (r#"{"secret":"value"}"#, ""),
            ("5", ""),
        ] {
            assert_eq!(said(Some("application/json"), body), words, "{body}");
        }
        assert_eq!(said(Some("text/plain"), " busy\u{1b}[2J\n"), "busy[2J");
        assert_eq!(said(Some("text/html"), "<h1>busy</h1>"), "");
        assert_eq!(said(None, "busy"), "");
        assert_eq!(said(Some("text/plain"), &"x".repeat(1_000)).chars().count(), 301);
    }
}
