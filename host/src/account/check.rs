//! The app's test request: whether an account works, and whose it is.

use std::collections::BTreeMap;

use deputy_declaration::types::TestRequest;
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::AccountError;
use crate::auth::record::Identity;
use crate::auth::road::TokenRoad;
use crate::egress::{Body, Credential, EgressError, Grant, Request, Tokens};

/// The longest identity that is kept, in characters.
const MAX_IDENTITY: usize = 128;

/// Whose test it is.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub app: &'a str,
    /// The hash of the declaration.
    pub version: &'a str,
    pub inputs: &'a BTreeMap<String, String>,
}

/// Makes the test request. A bad answer is an error; what the answer says of the identity is the result.
pub(super) async fn check(
    road: &dyn TokenRoad,
    grant: &Grant,
    tokens: &dyn Tokens,
    of: Of<'_>,
    test: &TestRequest,
    stored: bool,
) -> Result<Identity, AccountError> {
    let answer = road.probe(Credential::Account { grant, tokens }, request(test)?).await?;
    if !(200..=299).contains(&answer.status) || answer.failed {
        let reason = match answer.failed {
            true => format!("it answered {} with an error inside", answer.status),
            false => format!("it answered {}", answer.status),
        };
        let (app, method, path) = (of.app.to_owned(), test.method.clone(), test.path.clone());
        return Err(AccountError::TestFailed { app, method, path, reason, stored });
    }
    if test.identity_hook {
        let line = |told: Option<String>| told.and_then(|told| text(&Value::String(told)));
        let who = road.identify(of.app, of.version, of.inputs, &answer).await?;
        return Ok(Identity { id: line(who.id), label: line(who.label) });
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let at = |pointer: &Option<String>| pointer.as_deref().and_then(|pointer| text(body.pointer(pointer)?));
    Ok(Identity { id: at(&test.id), label: at(&test.label) })
}

fn request(test: &TestRequest) -> Result<Request, AccountError> {
    let malformed = |_| EgressError::Internal("the app's test request cannot be built".to_owned());
    let method = Method::from_bytes(test.method.as_bytes()).map_err(|error| malformed(error.to_string()))?;
    let mut request = Request::new(method, test.path.clone());
    for header in &test.headers {
        let name = HeaderName::try_from(&header.name).map_err(|error| malformed(error.to_string()))?;
        let value = HeaderValue::try_from(&header.value).map_err(|error| malformed(error.to_string()))?;
        request.headers.append(name, value);
    }
    if let Some(body) = &test.body {
        request.body = Body::Bytes(body.clone().into());
    }
    Ok(request)
}

/// A provider's text on one line, bounded, without anything that could steer a terminal.
pub(super) fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_IDENTITY).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_identity_is_one_plain_line() {
        assert_eq!(text(&json!("Octo\u{1b}[31m\nCat ")), Some("Octo[31mCat".to_owned()));
        assert_eq!(text(&json!(42)), Some("42".to_owned()));
        for nothing in [json!(""), json!("\n"), json!(null), json!({"a": 1})] {
            assert_eq!(text(&nothing), None, "{nothing}");
        }
        assert_eq!(text(&json!("x".repeat(1000))).map(|text| text.len()), Some(MAX_IDENTITY));
    }
}
