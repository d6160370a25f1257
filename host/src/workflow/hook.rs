//! A request to a workflow's address: is it genuine, and what does it hand over? Pure over bytes.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER_PERMISSIVE;
use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Value};

use super::expression::TriggerFacts;
use super::records::TriggerKind;
use super::{Signature, SignatureAlgorithm, SignatureEncoding};
use crate::time::Time;

/// Headers that prove something to somebody: no step needs to see them.
const PRIVATE: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// Whether the body was signed with the key. Compared in constant time; every malformed header is a wrong one.
pub fn is_signed(signature: &Signature, key: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let mut values = headers.get_all(signature.header.as_str()).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some(text) = value.to_str().ok().and_then(|text| text.trim().strip_prefix(signature.prefix.as_str())) else {
        return false;
    };
    let digest = match signature.encoding {
        SignatureEncoding::Hex => HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok(),
        SignatureEncoding::Base64 => STANDARD.decode(text).ok(),
    };
    let algorithm = match signature.algorithm {
        SignatureAlgorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        SignatureAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
        SignatureAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
    };
    digest.is_some_and(|digest| hmac::verify(&hmac::Key::new(algorithm, key), body, &digest).is_ok())
}

/// What the run sees of the request, or why its body is not what it says.
pub fn facts(
    method: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: Time,
) -> Result<TriggerFacts, &'static str> {
    let mut seen = BTreeMap::new();
    for (name, value) in headers {
        if !PRIVATE.contains(name) {
            seen.insert(name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
        }
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok(TriggerFacts {
        kind: TriggerKind::Http.word().to_owned(),
        body: value(content_type, body)?,
        headers: seen,
        query: url::form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        method: Some(method.to_owned()),
        time: now.to_string(),
    })
}

/// JSON and forms by their type; any other body as text, or in base64 where it is none.
fn value(content_type: &str, body: &[u8]) -> Result<Value, &'static str> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") {
        return serde_json::from_slice(body).map_err(|_| "the body is not the JSON that its content type says");
    }
    if essence == "application/x-www-form-urlencoded" {
        let mut fields = Map::new();
        for (name, text) in url::form_urlencoded::parse(body) {
            let text = Value::String(text.into_owned());
            match fields.get_mut(&*name) {
                None => {
                    fields.insert(name.into_owned(), text);
                }
                // A name that comes twice is a list.
                Some(Value::Array(items)) => items.push(text),
                Some(first) => *first = Value::Array(vec![first.take(), text]),
            }
        }
        return Ok(Value::Object(fields));
    }
    Ok(Value::String(match std::str::from_utf8(body) {
        Ok(text) => text.to_owned(),
        Err(_) => STANDARD.encode(body),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signature(algorithm: SignatureAlgorithm, encoding: SignatureEncoding, prefix: &str) -> Signature {
        Signature {
            header: "X-Hub-Signature-256".to_owned(),
            prefix: prefix.to_owned(),
            algorithm,
            encoding,
            key_env: "KEY".to_owned(),
        }
    }

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    /// The example of GitHub's own documentation of its webhooks.
    #[test]
    fn a_signature_as_github_makes_it() {
        let signature = signature(SignatureAlgorithm::HmacSha256, SignatureEncoding::Hex, "sha256=");
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let key = b"It's a Secret to Everybody";
        let check = |values: &[&str], body: &str| {
            is_signed(&signature, key, &headers("x-hub-signature-256", values), body.as_bytes())
        };
        assert!(check(&[good], "Hello, World!"));
        assert!(!check(&[good], "Hello, World"), "another body");
        assert!(!check(&[&good.replace("75", "76")], "Hello, World!"));
        assert!(!check(&[&good[7..]], "Hello, World!"), "no prefix");
        assert!(!check(&[&good[..20]], "Hello, World!"), "half of it");
        assert!(!check(&[], "Hello, World!"));
        assert!(!check(&[good, good], "Hello, World!"), "which of the two?");
    }

    /// RFC 2202 test case 2 and RFC 4231 test case 2, the latter in base64.
    #[test]
    fn every_algorithm_and_encoding() {
        let body = b"what do ya want for nothing?";
        let sha1 = signature(SignatureAlgorithm::HmacSha1, SignatureEncoding::Hex, "");
        let value = "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79";
        assert!(is_signed(&sha1, b"Jefe", &headers("x-hub-signature-256", &[value]), body));
        let sha512 = signature(SignatureAlgorithm::HmacSha512, SignatureEncoding::Base64, "v1=");
        let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA512, b"Jefe"), body);
        assert!(data_encoding::HEXLOWER.encode(digest.as_ref()).starts_with("164b7a7bfcf819e2e395fbe73b56e0a3"));
        let value = format!("v1={}", STANDARD.encode(digest.as_ref()));
        assert!(is_signed(&sha512, b"Jefe", &headers("x-hub-signature-256", &[&value]), body));
        assert!(!is_signed(&sha512, b"jefe", &headers("x-hub-signature-256", &[&value]), body));
    }

    #[test]
    fn a_body_is_what_its_type_says() {
        let body = |kind: &str, body: &[u8]| value(kind, body);
        assert_eq!(body("application/json; charset=utf-8", b"{\"a\":1}"), Ok(json!({"a": 1})));
        assert_eq!(body("application/cloudevents+json", b"[]"), Ok(json!([])));
        assert!(body("application/json", b"{").is_err());
        assert_eq!(
            body("application/x-www-form-urlencoded", b"a=1&b=x+y&a=%32&a=3"),
            Ok(json!({"a": ["1", "2", "3"], "b": "x y"}))
        );
        assert_eq!(body("text/plain", b"hi"), Ok(json!("hi")));
        assert_eq!(body("image/png", b"\xff\x00"), Ok(json!("/wA=")));
        assert_eq!(body("", b""), Ok(Value::Null));
    }

    #[test]
    fn a_run_sees_neither_cookies_nor_credentials_of_the_request() {
        let mut all = headers("x-event", &["push"]);
        all.insert(header::AUTHORIZATION, "Bearer canary".parse().unwrap());
        all.insert(header::COOKIE, "session=canary".parse().unwrap());
        let facts = facts("POST", "a=1&b=2&a=3", &all, b"", Time(0)).unwrap();
        assert!(!format!("{facts:?}").contains("canary"));
        assert_eq!(facts.headers["x-event"], "push");
        assert_eq!(facts.query["a"], "3");
    }
}
