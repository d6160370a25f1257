//! What a token endpoint answered, read leniently.
//!
//! Providers send JSON under any content type, form-encoded text, numbers as strings, scopes as lists, no
//! `token_type`, and errors behind status 200. All of that is read; nothing else is guessed. Bounds: 1 MiB, and what is
//! JSON nests at most 128 deep. Promise: no error holds a piece of the text, and the values are wiped on drop.

use serde_json::Value;
use zeroize::Zeroize;

use deputy_declaration::types::{Expiry, ReplyToken};

use crate::time::Time;
use crate::vault::Secret;

/// The largest token reply that is read, in bytes.
pub const MAX_REPLY_BYTES: usize = 1 << 20;

/// Why a reply says nothing. Without its content, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the reply is empty")]
    Empty,
    #[error("the reply is an HTML page")]
    Html,
    #[error("the reply is larger than {MAX_REPLY_BYTES} bytes")]
    TooLarge,
    #[error("the reply is neither JSON nor form-encoded, or it is cut off")]
    Malformed,
}

/// A readable reply.
pub struct Reply(Value);

/// One token as the reply holds it.
#[derive(Debug)]
pub struct ReadToken {
    pub value: Secret,
    /// None: the reply brings no new one, and the old one stays.
    pub refresh: Option<Secret>,
    /// Counted from the reply.
    pub expires_in_s: Option<u64>,
    /// Where the provider names the moment itself.
    pub expires_at: Option<Time>,
    /// None: the reply says nothing, and the scopes stay as they were.
    pub scopes: Option<Vec<String>>,
}

impl Reply {
    /// A reply that says nothing beside a token.
    pub fn silent() -> Self {
        Self(Value::Null)
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_REPLY_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
        match bytes.first() {
            None => Err(Unreadable::Empty),
            Some(b'{') => match serde_json::from_slice(bytes) {
                Ok(value) => Ok(Self(value)),
                Err(_) => Err(Unreadable::Malformed),
            },
            Some(b'<') => Err(Unreadable::Html),
            Some(_) => form(bytes).ok_or(Unreadable::Malformed).map(Self),
        }
    }

    /// The error code at `pointer`, whatever the status was. Absent, null, false, zero and an empty text mean success.
    pub fn error(&self, pointer: &str) -> Option<String> {
        match self.0.pointer(pointer)? {
            Value::Null | Value::Bool(false) => None,
            Value::String(code) if code.is_empty() || code == "0" => None,
            Value::String(code) => Some(code.clone()),
            Value::Number(code) if code.as_f64() == Some(0.0) => None,
            Value::Number(code) => Some(code.to_string()),
            Value::Bool(true) => Some("true".to_owned()),
            // Some providers nest the code one level deeper than their documentation says.
            Value::Object(object) => {
                let code = ["code", "type", "error", "message"].iter().find_map(|name| object.get(*name)?.as_str());
                Some(code.unwrap_or("unnamed").to_owned())
            }
            Value::Array(_) => Some("unnamed".to_owned()),
        }
    }

    /// The token that `place` describes. None when it is not there, or could not stand in a header.
    pub fn token(&self, place: &ReplyToken) -> Option<ReadToken> {
        Some(self.beside(place, self.secret(&place.access)?))
    }

    /// What the reply says of a token that was found already: in itself, in a header, or as the whole body.
    pub fn beside(&self, place: &ReplyToken, value: Secret) -> ReadToken {
        let at = |pointer: &Option<String>| pointer.as_deref().and_then(|pointer| self.0.pointer(pointer));
        let (expires_in_s, expires_at) = match &place.expiry {
            Some(Expiry::Seconds(pointer)) => (self.0.pointer(pointer).and_then(seconds), None),
            // Rounded up: half a second is a lifetime too.
            Some(Expiry::Milliseconds(pointer)) => {
                (self.0.pointer(pointer).and_then(seconds).map(|ms| ms.div_ceil(1000)), None)
            }
            Some(Expiry::At(pointer)) => (None, self.0.pointer(pointer).and_then(moment)),
            Some(Expiry::Jwt) => (None, jwt_end(&value)),
            None => (None, None),
        };
        let fixed = place.lifetime_s.map(u64::from).filter(|_| expires_at.is_none());
        ReadToken {
            refresh: place.refresh.as_deref().and_then(|pointer| self.secret(pointer)),
            expires_in_s: expires_in_s.or(fixed),
            expires_at,
            scopes: at(&place.scope).and_then(scopes),
            value,
        }
    }

    /// A text or number that is no secret.
    pub fn text(&self, pointer: &str) -> Option<String> {
        match self.0.pointer(pointer)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn secret(&self, pointer: &str) -> Option<Secret> {
        let text = self.0.pointer(pointer)?.as_str()?;
        Secret::entered(text.as_bytes().to_vec()).ok()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(values) => values.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reply(redacted)")
    }
}

/// `a=b&c=d`, each name once, as RFC 6749 appendix B writes it.
fn form(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f || matches!(byte, b'{' | b'}' | b'<' | b'>' | b'"')) {
        return None;
    }
    let mut values = serde_json::Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        pair.split_once('=')?;
    }
    for (name, value) in url::form_urlencoded::parse(bytes) {
        if values.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
            return None;
        }
    }
    (!values.is_empty()).then_some(Value::Object(values))
}

/// Zero and less say nothing about a lifetime.
fn seconds(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse::<f64>().ok()?,
        _ => return None,
    };
    // `as` saturates, and a NaN is refused by the comparison.
    (number >= 1.0).then_some(number as u64)
}

/// RFC 3339, or seconds or milliseconds since 1970: what lies behind the year 5138 in seconds is milliseconds.
fn moment(value: &Value) -> Option<Time> {
    if let Value::String(text) = value
        && let Ok(moment) = text.trim().parse::<jiff::Timestamp>()
    {
        return Some(Time(moment.as_millisecond()));
    }
    let number = seconds(value)?;
    let ms = if number < 100_000_000_000 { number * 1000 } else { number };
    i64::try_from(ms).ok().map(Time)
}

/// The claim `exp` of a JWT (RFC 7519 section 4.1.4), not verified: a hint when to ask for a new one, and no more.
fn jwt_end(token: &Secret) -> Option<Time> {
    #[derive(serde::Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = token.expose().split(|byte| *byte == b'.').nth(1)?;
    let claims = zeroize::Zeroizing::new(data_encoding::BASE64URL_NOPAD.decode(claims).ok()?);
    let exp = serde_json::from_slice::<Claims>(&claims).ok()?.exp;
    // `as` saturates, and a NaN is refused by the comparison.
    (exp >= 1.0 && exp < 1e12).then_some(Time((exp * 1000.0) as i64))
}

fn scopes(value: &Value) -> Option<Vec<String>> {
    // RFC 6749 section 3.3: visible ASCII without quotes and backslashes. Nothing else is ever shown.
    let sound = |word: &&str| {
        (1..=256).contains(&word.len()) && word.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    };
    let words = |text: &str| -> Vec<String> { text.split([' ', ',']).filter(sound).map(str::to_owned).collect() };
    let mut scopes: Vec<String> = match value {
        Value::String(text) => words(text),
        Value::Array(values) => values.iter().filter_map(Value::as_str).flat_map(words).collect(),
        _ => return None,
    };
    scopes.truncate(200);
    Some(scopes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> ReplyToken {
        ReplyToken {
            call: 0,
            access: "/access_token".into(),
            access_header: None,
            refresh: Some("/refresh_token".into()),
            expiry: Some(Expiry::Seconds("/expires_in".into())),
            scope: Some("/scope".into()),
            lifetime_s: None,
        }
    }

    #[allow(clippy::type_complexity)]
    fn read(text: &str) -> Option<(String, Option<String>, Option<u64>, Option<Vec<String>>)> {
        let text_of = |secret: Secret| String::from_utf8(secret.expose().to_vec()).unwrap();
        let token = Reply::parse(text.as_bytes()).ok()?.token(&place())?;
        Some((text_of(token.value), token.refresh.map(text_of), token.expires_in_s, token.scopes))
    }

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn what_real_providers_send_is_read() {
        let full = Some(("at".into(), Some("rt".into()), Some(3600), words(&["a", "b"])));
        for text in [
            r#"{"access_token":"at","token_type":"Bearer","refresh_token":"rt","expires_in":3600,"scope":"a b"}"#,
            r#"{"access_token":"at","refresh_token":"rt","expires_in":"3600","scope":["a","b"]}"#,
            r#"{"access_token":"at","refresh_token":"rt","expires_in":3600.9,"scope":"a,b"}"#,
            "\u{feff}  {\"access_token\":\"at\",\"refresh_token\":\"rt\",\"expires_in\":3600,\"scope\":\"a b\"}\r\n",
            "access_token=at&refresh_token=rt&expires_in=3600&scope=a%2Cb",
            "access_token=at&refresh_token=rt&expires_in=3600&scope=a+b&",
        ] {
            assert_eq!(read(text), full, "{text}");
        }
        assert_eq!(read(r#"{"access_token":"at"}"#), Some(("at".into(), None, None, None)));
        assert_eq!(read(r#"{"access_token":"at","expires_in":0}"#).unwrap().2, None);
        assert_eq!(read(r#"{"access_token":"at","expires_in":-5}"#).unwrap().2, None);
        assert_eq!(read(r#"{"access_token":"at","expires_in":1e300}"#).unwrap().2, Some(u64::MAX));
    }

    #[test]
    fn a_token_that_could_not_stand_in_a_header_is_no_token() {
        for text in [r#"{"access_token":""}"#, r#"{"access_token":"a\r\nb"}"#, r#"{"access_token":7}"#, "access_token="]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_named_without_its_content() {
        let parse = |text: &[u8]| Reply::parse(text).map(|_| ()).unwrap_err();
        assert_eq!(parse(b""), Unreadable::Empty);
        assert_eq!(parse(b" \r\n"), Unreadable::Empty);
        assert_eq!(parse(b"<html>secret</html>"), Unreadable::Html);
        assert_eq!(parse(br#"{"access_token":"sec"#), Unreadable::Malformed);
        assert_eq!(parse(b"Too many requests"), Unreadable::Malformed);
        assert_eq!(parse(b"a=1&a=2"), Unreadable::Malformed);
        assert_eq!(parse(b"[1]"), Unreadable::Malformed);
        assert_eq!(parse(&vec![b'a'; MAX_REPLY_BYTES + 1]), Unreadable::TooLarge);
        assert_eq!(parse(&[b'{'; 100_000]), Unreadable::Malformed);
    }

    #[test]
    fn an_error_behind_a_good_status_is_seen() {
        let error = |text: &str| Reply::parse(text.as_bytes()).unwrap().error("/error");
        assert_eq!(error(r#"{"ok":false,"error":"invalid_grant"}"#), Some("invalid_grant".into()));
        assert_eq!(error("error=bad_verification_code&error_description=x"), Some("bad_verification_code".into()));
        assert_eq!(error(r#"{"error":{"code":"expired"}}"#), Some("expired".into()));
        assert_eq!(error(r#"{"error":10002}"#), Some("10002".into()));
        for fine in [r#"{"access_token":"a"}"#, r#"{"error":null}"#, r#"{"error":0}"#, r#"{"error":""}"#] {
            assert_eq!(error(fine), None, "{fine}");
        }
    }

    #[test]
    fn an_end_is_told_in_several_ways() {
        let claims = data_encoding::BASE64URL_NOPAD.encode(br#"{"sub":"ada","exp":1800000000.5}"#);
        let text = format!(
            r#"{{"access_token":"e30.{claims}.sig","s":"90","ms":1500,"iso":"2027-01-15T08:00:00Z","offset":
            "2027-01-15T09:00:00+01:00","epoch":1800000000,"epoch_ms":"1800000000000","odd":"tomorrow"}}"#
        );
        let reply = Reply::parse(text.as_bytes()).unwrap();
        let read = |expiry: Expiry| {
            let place = ReplyToken { expiry: Some(expiry), lifetime_s: Some(7), ..place() };
            let read = reply.token(&place).unwrap();
            (read.expires_in_s, read.expires_at)
        };
        let at = Some(Time(1_800_000_000_000));
        assert_eq!(read(Expiry::Seconds("/s".into())), (Some(90), None));
        assert_eq!(read(Expiry::Milliseconds("/ms".into())), (Some(2), None));
        for place in ["/iso", "/offset", "/epoch", "/epoch_ms"] {
            assert_eq!(read(Expiry::At(place.into())), (None, at), "{place}");
        }
        assert_eq!(read(Expiry::Jwt), (None, Some(Time(1_800_000_000_500))));
        assert_eq!(read(Expiry::At("/odd".into())), (Some(7), None), "the declared lifetime, when nothing is told");
        let plain = ReplyToken { expiry: Some(Expiry::Jwt), ..place() };
        let opaque = Reply::parse(br#"{"access_token":"a.b.c"}"#).unwrap().token(&plain).unwrap();
        assert_eq!((opaque.expires_in_s, opaque.expires_at), (None, None));
    }

    #[test]
    fn each_token_has_its_own_place() {
        let reply = Reply::parse(br#"{"access_token":"bot","authed_user":{"access_token":"user"}}"#).unwrap();
        let user = ReplyToken { access: "/authed_user/access_token".into(), refresh: None, ..place() };
        assert_eq!(reply.token(&user).unwrap().value.expose(), b"user");
        assert_eq!(reply.token(&place()).unwrap().value.expose(), b"bot");
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(reply) = Reply::parse(&bytes) {
                let _ = (reply.token(&place()), reply.error("/error"), reply.error(""));
            }
        }

        #[test]
        fn json_shaped_noise_is_safe(text in r#"\{("(access_token|error|scope|expires_in)":("[^"\\]{0,9}"|-?[0-9]{1,25}(e[0-9]{1,3})?|null|\[\]|\{\}),?){0,5}\}?"#) {
            if let Ok(reply) = Reply::parse(text.as_bytes()) {
                let _ = (reply.token(&place()), reply.error("/error"));
            }
        }

        #[test]
        fn json_and_form_read_alike(at in "[!-~]{1,40}", rt in "[!-~]{1,40}", seconds in 1_u32..) {
            let json = serde_json::json!({"access_token": at, "refresh_token": rt, "expires_in": seconds}).to_string();
            let form: String = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("access_token", &at).append_pair("refresh_token", &rt)
                .append_pair("expires_in", &seconds.to_string()).finish();
            prop_assert_eq!(read(&json), Some((at, Some(rt), Some(u64::from(seconds)), None)));
            prop_assert_eq!(read(&json), read(&form));
        }

        #[test]
        fn a_cut_reply_is_never_a_token(cut in 1_usize..60) {
            let whole = r#"{"access_token":"at","refresh_token":"rt","expires_in":3600}"#;
            prop_assert!(Reply::parse(&whole.as_bytes()[..whole.len() - cut.min(whole.len() - 1)]).is_err());
        }
    }
}
