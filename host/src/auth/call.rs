//! A declared call made into a request: an exchange's logins, OAuth's calls after the token call, calls that revoke.
//!
//! Pure: what goes out is built here, and sent by others. Secrets stand in wiped buffers and in header values marked
//! as sensitive; a secret in a query is the exception, since a URL is text. A field that names an optional token which
//! the account lacks is left out; any other missing value ends the call before anything is sent.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{App, AuthMethod, BasicRule, Call, CallBody, JsonField, Part};
use http::{HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::de::IgnoredAny;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::error::AuthError;
use super::oauth2::CALL_TIMEOUT;
use crate::caller::Caller;
use crate::egress::{Body, Request, TokenCall};
use crate::ids::AccountId;
use crate::vault::Secret;

/// RFC 3986 section 2.3: all but the unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How deep the values of a JSON body may lie.
const MAX_DEPTH: usize = 16;

/// Whose call it is.
#[derive(Clone, Copy)]
pub struct Party<'a> {
    pub caller: &'a Caller,
    pub app: &'a App,
    pub method: &'a AuthMethod,
    /// None: before there is one.
    pub account: Option<&'a AccountId>,
    /// `token`, `refresh`, `revoke`: stands in the audit.
    pub purpose: &'static str,
    /// The hash of the declaration: whose hooks read the replies.
    pub version: &'a str,
}

/// What a call's placeholders stand for, as far as it is there.
#[derive(Default)]
pub struct Values {
    pub inputs: BTreeMap<String, String>,
    pub tokens: BTreeMap<String, Secret>,
    pub client_id: Option<String>,
    pub client_secret: Option<Secret>,
    pub redirect_uri: Option<String>,
    pub refresh_token: Option<Secret>,
}

impl Values {
    fn find(&self, name: Name<'_>) -> Option<&[u8]> {
        match name {
            Name::Input(name) => self.inputs.get(name).map(String::as_bytes),
            Name::Token(name) => self.tokens.get(name).map(Secret::expose),
            Name::Host("client_id") => self.client_id.as_deref().map(str::as_bytes),
            Name::Host("client_secret") => self.client_secret.as_ref().map(Secret::expose),
            Name::Host("redirect_uri") => self.redirect_uri.as_deref().map(str::as_bytes),
            Name::Host("refresh_token") => self.refresh_token.as_ref().map(Secret::expose),
            Name::Host(_) => None,
        }
    }

    /// Everything that no error may hold.
    pub fn secrets(&self) -> Vec<&[u8]> {
        let own = [&self.client_secret, &self.refresh_token].into_iter().flatten();
        self.tokens.values().chain(own).map(Secret::expose).collect()
    }
}

/// A request to exactly this endpoint.
pub struct Built {
    pub call: TokenCall,
    pub request: Request,
}

/// `place` names the call in errors.
pub fn build(party: &Party<'_>, call: &Call, values: &Values, place: &str) -> Result<Built, AuthError> {
    let malformed = |what: &str| AuthError::Internal(format!("{} declares a call whose {what}", party.app.slug));
    let endpoint = template::url(
        party.app,
        &template::with_client(&call.url, values.client_id.as_deref()),
        &values.inputs,
        place,
    )?;
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| malformed("method is none"))?;
    let mut url = endpoint.to_string();
    for field in &call.query {
        let Some(value) = rendered(party, &field.value, values)? else { continue };
        url.push(if url.contains('?') { '&' } else { '?' });
        url.extend(percent_encode(field.name.as_bytes(), RESERVED));
        url.push('=');
        url.extend(percent_encode(&value, RESERVED));
    }
    let mut request = Request::new(method, url);
    request.timeout = Some(CALL_TIMEOUT);
    if let Some((content_type, body)) = body(party, &call.body, values)? {
        let content_type = HeaderValue::try_from(content_type).map_err(|_| malformed("content type is none"))?;
        request.headers.insert(header::CONTENT_TYPE, content_type);
        request.body = Body::Bytes(Bytes::from_owner(body));
    }
    for field in &call.headers {
        let Some(value) = rendered(party, &field.value, values)? else { continue };
        let name = HeaderName::try_from(&field.name).map_err(|_| malformed("header has no name"))?;
        request.headers.insert(name, sensitive(&value)?);
    }
    if let Some(rule) = &call.basic {
        request.headers.insert(header::AUTHORIZATION, basic(party, rule, values)?);
    }
    // Some providers want their version header on every call. What this call itself says stays.
    for default in &party.app.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(&default.name), HeaderValue::try_from(&default.value)) {
            request.headers.entry(name).or_insert(value);
        }
    }
    request.headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    let call = TokenCall {
        caller: party.caller.clone(),
        app: party.app.slug.clone(),
        account: party.account.cloned(),
        purpose: party.purpose,
        endpoint,
        reply_hook: (party.method.reply_hook && party.purpose != "revoke").then(|| party.version.to_owned()),
    };
    Ok(Built { call, request })
}

/// Every template of a call.
pub fn templates(call: &Call) -> Vec<&[Part]> {
    let named = call.headers.iter().chain(&call.query);
    let mut all: Vec<&[Part]> = named.map(|field| field.value.as_slice()).collect();
    all.push(&call.url);
    all.extend(call.basic.iter().flat_map(|rule| [rule.username.as_slice(), &rule.password]));
    match &call.body {
        CallBody::None => {}
        CallBody::Form(fields) => all.extend(fields.iter().map(|field| field.value.as_slice())),
        CallBody::Json(fields) => all.extend(fields.iter().map(|field| field.value.as_slice())),
        CallBody::Text(text) => all.push(&text.value),
    }
    all
}

/// None: it names an optional token that is not there.
fn rendered(party: &Party<'_>, template: &[Part], values: &Values) -> Result<Option<Zeroizing<Vec<u8>>>, AuthError> {
    let optional = |name: &str| party.method.tokens.iter().any(|token| token.name == name && token.optional);
    let lacks = |name| matches!(name, Name::Token(token) if optional(token) && values.find(name).is_none());
    if template::names(template).any(lacks) {
        return Ok(None);
    }
    let mut out = Zeroizing::new(Vec::new());
    template::render(template, &mut out, |name| values.find(name))?;
    Ok(Some(out))
}

fn text(bytes: &[u8]) -> Result<&str, AuthError> {
    std::str::from_utf8(bytes).map_err(|_| AuthError::Internal("a value for a call is not text".to_owned()))
}

fn sensitive(value: &[u8]) -> Result<HeaderValue, AuthError> {
    let unfit = |_| AuthError::Internal("a value for a call cannot stand in a header".to_owned());
    let mut value = HeaderValue::from_bytes(value).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 7617.
fn basic(party: &Party<'_>, rule: &BasicRule, values: &Values) -> Result<HeaderValue, AuthError> {
    let username = rendered(party, &rule.username, values)?.unwrap_or_default();
    let password = rendered(party, &rule.password, values)?.unwrap_or_default();
    if username.contains(&b':') {
        let token = template::names(&rule.username).find_map(|name| match name {
            Name::Token(token) => Some(token.to_owned()),
            Name::Input(_) | Name::Host(_) => None,
        });
        let reason = "it holds a colon, which a user name (RFC 7617) cannot".to_owned();
        return Err(AuthError::Key { name: token.unwrap_or_default(), reason, help: None });
    }
    let mut pair = Zeroizing::new(Vec::with_capacity(username.len() + password.len() + 1));
    pair.extend_from_slice(&username);
    pair.push(b':');
    pair.extend_from_slice(&password);
    let mut value = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    value.push_str("Basic ");
    STANDARD.encode_string(&*pair, &mut value);
    sensitive(value.as_bytes())
}

/// A body with its content type.
type Typed<'a> = (&'a str, Zeroizing<Vec<u8>>);

fn body<'a>(party: &Party<'_>, body: &'a CallBody, values: &Values) -> Result<Option<Typed<'a>>, AuthError> {
    Ok(match body {
        CallBody::None => None,
        CallBody::Form(fields) => {
            let mut pairs = Vec::with_capacity(fields.len());
            for field in fields {
                if let Some(value) = rendered(party, &field.value, values)? {
                    pairs.push((field.name.as_str(), value));
                }
            }
            let room = pairs.iter().map(|(name, value)| (name.len() + value.len()) * 3 + 2).sum();
            let mut form = Serializer::new(String::with_capacity(room));
            for (name, value) in &pairs {
                form.append_pair(name, text(value)?);
            }
            Some(("application/x-www-form-urlencoded", Zeroizing::new(form.finish().into_bytes())))
        }
        CallBody::Json(fields) => Some(("application/json", json(party, fields, values)?)),
        CallBody::Text(declared) => {
            let value = rendered(party, &declared.value, values)?.unwrap_or_default();
            Some((declared.content_type.as_str(), value))
        }
    })
}

/// A JSON body while it is put together.
enum Node {
    /// Keys in the order they were declared. Keys that count from 0 make an array of it.
    Object(Vec<(String, Node)>),
    Text(Zeroizing<Vec<u8>>),
    Raw(Zeroizing<Vec<u8>>),
}

fn json(party: &Party<'_>, fields: &[JsonField], values: &Values) -> Result<Zeroizing<Vec<u8>>, AuthError> {
    let malformed = |at: &str, what: &str| {
        AuthError::Internal(format!("{} declares a JSON body where `{at}` {what}", party.app.slug))
    };
    let mut root = Node::Object(Vec::new());
    for field in fields {
        let Some(value) = rendered(party, &field.value, values)? else { continue };
        let leaf = match field.raw {
            true => {
                let parsed: Result<IgnoredAny, _> = serde_json::from_slice(&value);
                parsed.map_err(|_| malformed(&field.at, "is no JSON value"))?;
                Node::Raw(value)
            }
            false => {
                text(&value)?;
                Node::Text(value)
            }
        };
        let keys: Vec<String> =
            field.at.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
        if keys.len() > MAX_DEPTH || !place(&mut root, &keys, leaf) {
            return Err(malformed(&field.at, "has no place of its own"));
        }
    }
    let mut out = Zeroizing::new(Vec::with_capacity(room(&root)));
    write(&root, &mut out).map_err(|error| AuthError::Internal(error.to_string()))?;
    Ok(out)
}

/// False: something else stands there, or above.
fn place(node: &mut Node, keys: &[String], leaf: Node) -> bool {
    let [key, rest @ ..] = keys else {
        let free = matches!(node, Node::Object(fields) if fields.is_empty());
        if free {
            *node = leaf;
        }
        return free;
    };
    let Node::Object(fields) = node else { return false };
    let at = match fields.iter().position(|(name, _)| name == key) {
        Some(at) => at,
        None => {
            fields.push((key.clone(), Node::Object(Vec::new())));
            fields.len() - 1
        }
    };
    place(&mut fields[at].1, rest, leaf)
}

/// At most so many bytes are written: the buffer never grows once a secret is in it.
fn room(node: &Node) -> usize {
    match node {
        Node::Object(fields) => 2 + fields.iter().map(|(key, node)| key.len() * 6 + 4 + room(node)).sum::<usize>(),
        Node::Text(value) => value.len() * 6 + 2,
        Node::Raw(value) => value.len(),
    }
}

fn write(node: &Node, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match node {
        Node::Object(fields) => {
            let counts = fields.iter().enumerate().all(|(index, (key, _))| *key == index.to_string());
            let list = counts && !fields.is_empty();
            out.push(if list { b'[' } else { b'{' });
            for (index, (key, node)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if !list {
                    serde_json::to_writer(&mut *out, key)?;
                    out.push(b':');
                }
                write(node, out)?;
            }
            out.push(if list { b']' } else { b'}' });
        }
        // Checked when it was placed.
        Node::Text(value) => serde_json::to_writer(&mut *out, std::str::from_utf8(value).unwrap_or_default())?,
        Node::Raw(value) => out.extend_from_slice(value),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use deputy_declaration::types::{NamedTemplate, Placeholder, TextBody};

    use super::super::testing;
    use super::*;

    fn token(name: &str) -> Part {
        Part::Token(Placeholder { name: name.into(), encodings: vec![] })
    }

    fn host(name: &str) -> Part {
        Part::Host(Placeholder { name: name.into(), encodings: vec![] })
    }

    fn text(text: &str) -> Part {
        Part::Text(text.into())
    }

    fn named(name: &str, value: Vec<Part>) -> NamedTemplate {
        NamedTemplate { name: name.into(), value }
    }

    fn field(at: &str, value: Vec<Part>, raw: bool) -> JsonField {
        JsonField { at: at.into(), value, raw }
    }

    fn call(body: CallBody) -> Call {
        Call {
            method: "POST".into(),
            url: vec![text("https://as.example/login")],
            headers: vec![],
            query: vec![],
            basic: None,
            body,
        }
    }

    fn values() -> Values {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        Values {
            tokens: BTreeMap::from([("user".into(), secret("ada")), ("password".into(), secret("p\"&ü"))]),
            client_id: Some("a/b?c".into()),
            ..Values::default()
        }
    }

    fn built(call: &Call) -> Result<Built, AuthError> {
        let app = testing::app();
        let mut method = app.methods[1].clone();
        method.tokens[0].name = "otp".into();
        method.tokens[0].optional = true;
        let caller = Caller::local();
        let party = Party { caller: &caller, app: &app, method: &method, account: None, purpose: "token", version: "" };
        build(&party, call, &values(), "calls[0].url")
    }

    fn sent(request: &Request) -> String {
        match &request.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Empty => String::new(),
            Body::Stream { .. } => panic!("a call has no stream"),
        }
    }

    #[test]
    fn a_form_holds_its_values_and_leaves_out_what_is_optional() {
        let form = CallBody::Form(vec![
            named("u", vec![token("user")]),
            named("p", vec![token("password")]),
            named("otp", vec![token("otp")]),
        ]);
        let built = built(&call(form)).unwrap();
        assert_eq!(sent(&built.request), "u=ada&p=p%22%26%C3%BC");
        assert_eq!(built.request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(built.request.headers["x-version"], "7", "the app's default headers go along");
        assert_eq!((built.call.endpoint.as_str(), built.call.purpose), ("https://as.example/login", "token"));
    }

    #[test]
    fn a_json_body_is_made_from_pointers() {
        let json = CallBody::Json(vec![
            field("/user/name", vec![token("user")], false),
            field("/user/a~1b", vec![text("x "), token("password")], false),
            field("/list/0", vec![text("one")], false),
            field("/list/1", vec![text("2")], true),
            field("/remember", vec![text("true")], true),
            field("/otp", vec![token("otp")], false),
        ]);
        let built = built(&call(json)).unwrap();
        let sent: serde_json::Value = serde_json::from_str(&sent(&built.request)).unwrap();
        let meant = serde_json::json!({
            "user": {"name": "ada", "a/b": "x p\"&ü"}, "list": ["one", 2], "remember": true,
        });
        assert_eq!(sent, meant);
    }

    #[test]
    fn two_values_never_share_a_place() {
        for (first, second) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a")] {
            let json =
                CallBody::Json(vec![field(first, vec![text("1")], false), field(second, vec![text("2")], false)]);
            assert_eq!(built(&call(json)).err().unwrap().code(), "internal", "{first} {second}");
        }
        assert_eq!(
            built(&call(CallBody::Json(vec![field("/a", vec![text("{")], true)]))).err().unwrap().code(),
            "internal"
        );
    }

    #[test]
    fn query_headers_basic_and_text() {
        let mut declared = call(CallBody::Text(TextBody {
            content_type: "text/xml".into(),
            value: vec![text("<u>"), token("user"), text("</u>")],
        }));
        declared.url = vec![text("https://as.example/apps/"), host("client_id"), text("/grant?v=1")];
        declared.query = vec![named("k", vec![token("password")]), named("otp", vec![token("otp")])];
        declared.headers = vec![named("X-Key", vec![text("k "), token("user")]), named("X-Version", vec![text("8")])];
        declared.basic = Some(BasicRule { username: vec![token("user")], password: vec![token("user")] });
        let Built { call, request } = built(&declared).unwrap();
        assert_eq!(call.endpoint.as_str(), "https://as.example/apps/a%2Fb%3Fc/grant?v=1");
        assert_eq!(request.url, "https://as.example/apps/a%2Fb%3Fc/grant?v=1&k=p%22%26%C3%BC");
        assert_eq!(
            (&request.headers["x-key"], &request.headers["x-version"]),
            (&"k ada".parse().unwrap(), &"8".parse().unwrap())
        );
        assert_eq!(request.headers["authorization"], format!("Basic {}", STANDARD.encode("ada:ada")));
        assert!(request.headers["authorization"].is_sensitive() && request.headers["x-key"].is_sensitive());
        assert_eq!(
            (sent(&request).as_str(), &request.headers["content-type"]),
            ("<u>ada</u>", &"text/xml".parse().unwrap())
        );
    }

    #[test]
    fn a_missing_value_sends_nothing_and_a_secret_stays_out_of_the_path() {
        let missing = call(CallBody::Form(vec![named("t", vec![host("refresh_token")])]));
        assert_eq!(built(&missing).err().unwrap().code(), "template_value_missing");
        let mut secret = call(CallBody::None);
        secret.url = vec![text("https://as.example/"), token("password")];
        let error = built(&secret).err().unwrap();
        assert_eq!(error.code(), "template_url_invalid");
        assert!(!error.to_string().contains("p\""), "{error}");
        let mut elsewhere = call(CallBody::None);
        elsewhere.url = vec![text("https://"), host("client_id"), text("/login")];
        assert_eq!(built(&elsewhere).err().unwrap().code(), "template_url_invalid");
    }
}
