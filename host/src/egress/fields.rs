//! Fields of a request's body: where rules of the kind `body` put a credential, and where code puts a marker.
//!
//! Promise: what the caller wrote is kept byte for byte, member for member; a field is added to or taken from the
//! structure, never found in text. Two members that some server could take for the same one are refused.

use std::fmt;

use http::{HeaderMap, header};
use percent_encoding::percent_encode;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::caller_headers::{folded, has_field};
use super::inject::RESERVED;

/// Bodies that have fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Form,
}

/// Why a body takes no field. No variant holds anything of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The caller wrote something there, or something that could be read as being there.
    Taken,
    /// No JSON object, or no form.
    Malformed,
    /// A JSON Pointer, and the body is a form.
    PointerIntoForm,
}

/// A JSON object, its members as they were written.
struct Object<'b>(Vec<(String, &'b RawValue)>);

impl<'de: 'b, 'b> Deserialize<'de> for Object<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Object)
    }
}

fn object(bytes: &[u8]) -> Result<Vec<(String, &RawValue)>, Fault> {
    serde_json::from_slice::<Object<'_>>(bytes).map(|object| object.0).map_err(|_| Fault::Malformed)
}

/// What the content type of a request says; none: no content type, or a body without fields.
pub(crate) fn kind_of(content_type: &str) -> Option<Kind> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        "application/json" => Some(Kind::Json),
        json if json.starts_with("application/") && json.ends_with("+json") => Some(Kind::Json),
        _ => None,
    }
}

/// The same for headers; none also where there are several.
pub(super) fn kind(headers: &HeaderMap) -> Option<Kind> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let first = types.next()?.to_str().ok()?;
    types.next().is_none().then(|| kind_of(first)).flatten()
}

/// The way to a field of a JSON body: a JSON Pointer (RFC 6901), or the name of a member of the body itself.
fn steps(name: &str) -> Vec<String> {
    match name.strip_prefix('/') {
        Some(pointer) => pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect(),
        None => vec![name.to_owned()],
    }
}

/// Does anything stand in this field? An unreadable body holds nothing that could be named.
pub(super) fn holds(kind: Kind, body: &[u8], name: &str) -> bool {
    match kind {
        Kind::Form => !name.starts_with('/') && std::str::from_utf8(body).is_ok_and(|form| has_field(form, name)),
        Kind::Json => put(kind, body, name, "").err() == Some(Fault::Taken),
    }
}

/// The body with one more field.
pub(super) fn put(kind: Kind, body: &[u8], name: &str, value: &str) -> Result<Zeroizing<Vec<u8>>, Fault> {
    match kind {
        Kind::Json => {
            let value = json_text(value);
            put_member(body, &steps(name), &value)
        }
        Kind::Form if name.starts_with('/') => Err(Fault::PointerIntoForm),
        Kind::Form => {
            let form = std::str::from_utf8(body).map_err(|_| Fault::Malformed)?;
            if has_field(form, name) {
                return Err(Fault::Taken);
            }
            // All the room first, so that no growth leaves a copy behind.
            let mut out = Zeroizing::new(Vec::with_capacity(body.len() + 3 * (name.len() + value.len()) + 2));
            out.extend_from_slice(body);
            if !body.is_empty() && !body.ends_with(b"&") {
                out.push(b'&');
            }
            percent_encode(name.as_bytes(), RESERVED).for_each(|piece| out.extend_from_slice(piece.as_bytes()));
            out.push(b'=');
            percent_encode(value.as_bytes(), RESERVED).for_each(|piece| out.extend_from_slice(piece.as_bytes()));
            Ok(out)
        }
    }
}

fn json_text(text: &str) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(6 * text.len() + 2));
    serde_json::to_writer(&mut *out, text).expect("memory takes every text");
    out
}

fn put_member(body: &[u8], steps: &[String], value: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let Some((step, rest)) = steps.split_first() else { return Err(Fault::Malformed) };
    let members = object(body)?;
    let mut alike = members.iter().filter(|(name, _)| folded(name) == folded(step));
    let inner = match (alike.next(), alike.next(), rest) {
        (None, _, []) => Zeroizing::new(value.to_vec()),
        (None, ..) => put_member(b"{}", rest, value)?,
        (Some((name, there)), None, [_, ..]) if name == step => match put_member(there.get().as_bytes(), rest, value) {
            // A text or a list in the way is something of the caller's.
            Err(Fault::Malformed) => return Err(Fault::Taken),
            other => other?,
        },
        _ => return Err(Fault::Taken),
    };
    let names = members.iter().map(|(name, _)| name.len()).sum::<usize>() + step.len();
    let values = members.iter().map(|(_, value)| value.get().len()).sum::<usize>() + inner.len();
    let mut out = Zeroizing::new(Vec::with_capacity(6 * names + values + 6 * (members.len() + 2)));
    out.push(b'{');
    let others = members.iter().filter(|(name, _)| name != step);
    for (name, value) in others.map(|(name, value)| (name, value.get().as_bytes())).chain([(step, &inner[..])]) {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&json_text(name));
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    Ok(out)
}

/// The body without this field, where its text is one that `wanted` knows; none: it is left as it is.
pub(crate) fn without(kind: Kind, body: &[u8], name: &str, wanted: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    match kind {
        Kind::Json => without_member(body, &steps(name), wanted),
        Kind::Form if name.starts_with('/') => None,
        Kind::Form => {
            let form = std::str::from_utf8(body).ok()?;
            let is_wanted = |pair: &&str| {
                url::form_urlencoded::parse(pair.as_bytes())
                    .next()
                    .is_some_and(|(field, value)| folded(&field) == folded(name) && wanted(&value))
            };
            let kept: Vec<&str> = form.split('&').filter(|pair| !is_wanted(pair)).collect();
            (kept.len() < form.split('&').count()).then(|| kept.join("&").into_bytes())
        }
    }
}

fn without_member(body: &[u8], steps: &[String], wanted: &dyn Fn(&str) -> bool) -> Option<Vec<u8>> {
    let (step, rest) = steps.split_first()?;
    let members = object(body).ok()?;
    let mut out = vec![b'{'];
    let mut found = false;
    for (name, value) in &members {
        let text = value.get();
        let mut inner = None;
        if name == step {
            if rest.is_empty() {
                if serde_json::from_str::<String>(text).is_ok_and(|text| wanted(&text)) {
                    found = true;
                    continue;
                }
            } else {
                inner = without_member(text.as_bytes(), rest, wanted);
                found |= inner.is_some();
            }
        }
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(&json_text(name));
        out.push(b':');
        out.extend_from_slice(inner.as_deref().unwrap_or(text.as_bytes()));
    }
    out.push(b'}');
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(body: &str, name: &str) -> Result<String, Fault> {
        put(Kind::Json, body.as_bytes(), name, "s\"é").map(|body| String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn a_member_is_added_and_the_rest_stays_as_it_was_written() {
        for (body, name, expected) in [
            ("{}", "/key", r#"{"key":"s\"é"}"#),
            ("{}", "key", r#"{"key":"s\"é"}"#),
            (" { \"a\" : 1.0e400 , \"b\":[ 1, 2 ] } ", "/key", r#"{"a":1.0e400,"b":[ 1, 2 ],"key":"s\"é"}"#),
            (r#"{"n":12345678901234567890123}"#, "/auth/key", r#"{"n":12345678901234567890123,"auth":{"key":"s\"é"}}"#),
            (r#"{"auth":{"x":1},"n":2}"#, "/auth/key", r#"{"n":2,"auth":{"x":1,"key":"s\"é"}}"#),
            (r#"{"a":1,"a":2}"#, "/key", r#"{"a":1,"a":2,"key":"s\"é"}"#),
            ("{}", "/a~1b/~0c", r#"{"a/b":{"~c":"s\"é"}}"#),
        ] {
            assert_eq!(json(body, name).as_deref(), Ok(expected), "{body} {name}");
        }
    }

    #[test]
    fn what_could_be_read_as_the_field_is_refused() {
        for (body, name) in [
            (r#"{"key":"x"}"#, "/key"),
            (r#"{"key":null}"#, "/key"),
            (r#"{"KEY":"x"}"#, "/key"),
            (r#"{"\u006bey":"x"}"#, "/key"),
            (r#"{"api-key":"x"}"#, "/api_key"),
            (r#"{"auth":{"key":"x"}}"#, "/auth/key"),
            (r#"{"auth":"x"}"#, "/auth/key"),
            (r#"{"auth":[]}"#, "/auth/key"),
            (r#"{"auth":{},"auth":{"key":"x"}}"#, "/auth/key"),
            (r#"{"Auth":{"key":"x"}}"#, "/auth/key"),
        ] {
            assert_eq!(json(body, name), Err(Fault::Taken), "{body} {name}");
            assert!(holds(Kind::Json, body.as_bytes(), name), "{body} {name}");
        }
        for body in ["", "[]", "1", "{", "{}{}", "{\"a\":}", "\u{feff}{}"] {
            assert_eq!(json(body, "/key"), Err(Fault::Malformed), "{body}");
            assert!(!holds(Kind::Json, body.as_bytes(), "/key"));
        }
    }

    #[test]
    fn a_field_of_a_form() {
        let form = |body: &str, name: &str| {
            put(Kind::Form, body.as_bytes(), name, "a b&c=ü").map(|body| String::from_utf8(body.to_vec()).unwrap())
        };
        assert_eq!(form("", "key").as_deref(), Ok("key=a%20b%26c%3D%C3%BC"));
        assert_eq!(form("x=+y", "k&").as_deref(), Ok("x=+y&k%26=a%20b%26c%3D%C3%BC"));
        assert_eq!(form("x=1&", "key").as_deref(), Ok("x=1&key=a%20b%26c%3D%C3%BC"));
        for body in ["key=1", "x=1&KEY", "%6bey=1", "key[]=1", "x;key=1"] {
            assert_eq!(form(body, "key"), Err(Fault::Taken), "{body}");
        }
        assert_eq!(form("x=1", "/key"), Err(Fault::PointerIntoForm));
        assert_eq!(put(Kind::Form, b"\xff", "key", "").err(), Some(Fault::Malformed));
    }

    #[test]
    fn content_types() {
        for (text, kind) in [
            ("application/json", Some(Kind::Json)),
            ("Application/JSON; charset=utf-8", Some(Kind::Json)),
            ("application/vnd.api+json", Some(Kind::Json)),
            ("application/x-www-form-urlencoded;charset=UTF-8", Some(Kind::Form)),
            ("text/plain", None),
            ("text/json", None),
            ("multipart/form-data", None),
            ("", None),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
        let mut headers = HeaderMap::new();
        headers.append("content-type", "application/json".parse().unwrap());
        assert_eq!(kind(&headers), Some(Kind::Json));
        headers.append("content-type", "text/plain".parse().unwrap());
        assert_eq!(kind(&headers), None, "two of them say nothing");
    }

    #[test]
    fn taking_a_field_leaves_the_others() {
        let is_m = |text: &str| text == "M";
        let json = |body: &str, name: &str| {
            without(Kind::Json, body.as_bytes(), name, &is_m).map(|body| String::from_utf8(body).unwrap())
        };
        assert_eq!(json(r#"{"a":1.0, "key":"M"}"#, "/key").as_deref(), Some(r#"{"a":1.0}"#));
        assert_eq!(json(r#"{"auth":{"key":"\u004d","b":2}}"#, "/auth/key").as_deref(), Some(r#"{"auth":{"b":2}}"#));
        for body in [r#"{"key":"xM"}"#, r#"{"other":"M"}"#, r#"["M"]"#, r#"{"key":["M"]}"#, "M", ""] {
            assert_eq!(json(body, "/key"), None, "{body}");
        }
        let form = |body: &str| without(Kind::Form, body.as_bytes(), "api_key", &is_m);
        assert_eq!(form("a=1&api_key=M&b=2").as_deref(), Some(&b"a=1&b=2"[..]));
        assert_eq!(form("API-KEY=%4d").as_deref(), Some(&b""[..]));
        assert_eq!(form("api_key=xM&q=M"), None);
    }

    proptest! {
        /// Added and taken away again, the body means what it meant.
        #[test]
        fn put_and_taken(keys in prop::collection::vec("[a-z\"\\\\é]{0,4}", 0..5), value in "\\PC{0,10}", name in "/[A-Z]{1,3}(/[A-Z]{1,3})?") {
            let body: serde_json::Map<_, _> = keys.into_iter().map(|key| (key, serde_json::json!([1.5, {"x": null}]))).collect();
            let body = serde_json::Value::Object(body);
            if let Ok(with) = put(Kind::Json, body.to_string().as_bytes(), &name, &value) {
                let read: serde_json::Value = serde_json::from_slice(&with).unwrap();
                prop_assert_eq!(read.pointer(&name).and_then(serde_json::Value::as_str), Some(value.as_str()));
                let back = without(Kind::Json, &with, &name, &|text| text == value).unwrap();
                let mut back: serde_json::Value = serde_json::from_slice(&back).unwrap();
                if name.matches('/').count() == 2 {
                    back.as_object_mut().unwrap().remove(name.split('/').nth(1).unwrap());
                }
                prop_assert_eq!(back, body);
            }
        }
    }
}
