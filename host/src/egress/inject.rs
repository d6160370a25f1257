//! Puts an account's secrets where the app's rules say (R5, R12): whole headers, whole query fields, a Basic pair,
//! fields of a body, segments of the path; a signature last, over all of it. Nothing is ever substituted inside a
//! caller's text.
//!
//! Bounds: secrets are rendered into wiped buffers; the header values made of them are marked sensitive, so that
//! `Debug` and HTTP/2 header tables leave them out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{AuthMethod, NamedTemplate, Part, Rule, RuleSet, Template};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;
use zeroize::Zeroizing;

use super::caller_headers::{check_credential_slots, check_host_headers, folded};
use super::{Body, EgressError, Live, fields, reconnect, segments, sign};
use crate::time::Time;
use crate::vault::Secret;

/// RFC 3986 section 2.3: all but the unreserved characters.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sent where neither the caller nor the app names one; several services refuse requests without.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("deputy/", env!("CARGO_PKG_VERSION")));

/// A caller's request, within reach, before anything is added to it.
pub(super) struct Draft<'a> {
    pub method: &'a Method,
    pub url: Url,
    pub headers: &'a HeaderMap,
    pub body: Body,
}

/// What the rules made of it.
pub(super) struct Injected {
    pub url: Url,
    /// The caller's, the app's and the host's headers together.
    pub headers: HeaderMap,
    pub body: Body,
    /// Encoded forms of secrets as they were sent, for the scrubber.
    pub forms: Vec<Zeroizing<Vec<u8>>>,
    /// The path as it may be shown, where a rule put a secret into it.
    pub shown_path: Option<String>,
}

/// Checks the caller's headers, query, path and body, and adds the credentials of the account.
pub(super) fn inject(
    live: &Live,
    rule_set: Option<&str>,
    draft: Draft<'_>,
    header_limit: usize,
) -> Result<Injected, EgressError> {
    let Draft { method: verb, url, headers: caller, body } = draft;
    let method = live.declaration.methods.get(live.method).ok_or_else(|| {
        EgressError::Internal(format!("{} has no auth method {}", live.declaration.slug, live.method))
    })?;
    check_host_headers(caller, header_limit)?;
    check_credential_slots(caller, url.query(), method)?;
    segments::check_slots(live, method, &url)?;
    let mut headers = caller.clone();
    add_defaults(live, &mut headers)?;
    check_body_slots(method, &headers, &body)?;
    sign::check_slots(method, caller, &headers, url.query(), &body)?;
    let mut injected = Injected { url, headers, body, forms: Vec::new(), shown_path: None };
    let set = choose(live, method, rule_set)?;
    let rules = set.map(|set| set.rules.as_slice()).unwrap_or_default();
    for rule in rules {
        apply(live, rule, verb, &mut injected)?;
    }
    add_host_headers(&mut injected.headers);
    for rule in rules {
        if let Rule::Sign(signer) = rule {
            let Injected { url, headers, body, forms, .. } = &mut injected;
            sign::sign(live, signer, sign::Message { method: verb, url, headers, body }, Time::now(), forms)?;
        }
    }
    Ok(injected)
}

/// What the caller wrote into a field that carries the credential of any rule set.
fn check_body_slots(method: &AuthMethod, headers: &HeaderMap, body: &Body) -> Result<(), EgressError> {
    let (Some(kind), Body::Bytes(bytes)) = (fields::kind(headers), body) else { return Ok(()) };
    let rules = method.rule_sets.iter().flat_map(|set| &set.rules);
    for rule in rules {
        if let Rule::Body(rule) = rule
            && fields::holds(kind, bytes, &rule.name)
        {
            return Err(taken(&rule.name));
        }
    }
    Ok(())
}

fn taken(name: &str) -> EgressError {
    EgressError::denied(
        "body",
        format!("the body field `{name}` carries the account's credential and is set by the host"),
        "leave it out; to send another credential, use another account",
    )
}

/// What the host itself sends with every request.
pub(super) fn add_host_headers(headers: &mut HeaderMap) {
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.entry(header::USER_AGENT).or_insert(USER_AGENT);
}

fn add_defaults(live: &Live, headers: &mut HeaderMap) -> Result<(), EgressError> {
    for default in &live.declaration.headers {
        let slot = folded(&default.name);
        if let Some(name) = headers.keys().find(|name| folded(name.as_str()) == slot) {
            if default.locked {
                return Err(EgressError::denied(
                    "header",
                    format!("the header `{name}` is fixed by {}", live.declaration.slug),
                    format!("leave `{name}` out; its value is `{}`", default.value),
                ));
            }
            continue;
        }
        let name = header_name(live, &default.name)?;
        let value = HeaderValue::from_str(&default.value)
            .map_err(|_| EgressError::Internal(format!("the default header `{name}` of the app is malformed")))?;
        headers.insert(name, value);
    }
    Ok(())
}

fn header_name(live: &Live, name: &str) -> Result<HeaderName, EgressError> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| EgressError::Internal(format!("{} names a header that is none", live.declaration.slug)))
}

/// The rule set to use. None only where the method has none at all: a missing credential is never a request without.
fn choose<'a>(live: &Live, method: &'a AuthMethod, wanted: Option<&str>) -> Result<Option<&'a RuleSet>, EgressError> {
    let names = || method.rule_sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(wanted) = wanted {
        let Some(set) = method.rule_sets.iter().find(|set| set.name == wanted) else {
            let known = if method.rule_sets.is_empty() { "none".to_owned() } else { names() };
            return Err(EgressError::invalid(
                format!("{} has no rule set `{}`", live.declaration.slug, wanted.chars().take(40).collect::<String>()),
                format!("the rule sets of this account are: {known}"),
            ));
        };
        return match missing_token(live, set) {
            None => Ok(Some(set)),
            Some(token) => Err(EgressError::denied(
                "credential",
                format!("{} has no `{token}` token, which the rule set `{wanted}` needs", live.name),
                reconnect(&live.name),
            )),
        };
    }
    if method.rule_sets.is_empty() {
        return Ok(None);
    }
    match method.rule_sets.iter().find(|set| missing_token(live, set).is_none()) {
        Some(set) => Ok(Some(set)),
        None => Err(EgressError::denied(
            "credential",
            format!("{} lacks the tokens of every rule set ({})", live.name, names()),
            reconnect(&live.name),
        )),
    }
}

/// The token that a template names and the account does not have.
pub(super) fn missing<'a>(live: &Live, template: &'a Template) -> Option<&'a str> {
    template.iter().find_map(|part| match part {
        Part::Token(token) if !live.tokens.contains_key(&token.name) => Some(token.name.as_str()),
        _ => None,
    })
}

fn missing_token<'a>(live: &Live, set: &'a RuleSet) -> Option<&'a str> {
    set.rules.iter().find_map(|rule| match rule {
        Rule::Header(rule) | Rule::Query(rule) | Rule::Body(rule) => missing(live, &rule.value),
        Rule::Basic(rule) => missing(live, &rule.username).or_else(|| missing(live, &rule.password)),
        Rule::Path(rule) => missing(live, rule),
        Rule::Sign(signer) => sign::needs(signer).into_iter().find_map(|template| missing(live, template)),
    })
}

fn apply(live: &Live, rule: &Rule, verb: &Method, injected: &mut Injected) -> Result<(), EgressError> {
    match rule {
        Rule::Header(rule) => {
            let value = render(live, &rule.value, &mut injected.forms)?;
            insert(live, &mut injected.headers, header_name(live, &rule.name)?, &value)
        }
        Rule::Basic(rule) => {
            let mut pair = render(live, &rule.username, &mut injected.forms)?;
            if pair.contains(&b':') {
                return Err(EgressError::denied(
                    "credential",
                    format!("the user name of {} holds a colon, which Basic (RFC 7617) cannot carry", live.name),
                    reconnect(&live.name),
                ));
            }
            let password = render(live, &rule.password, &mut injected.forms)?;
            pair.reserve_exact(password.len() + 1);
            pair.push(b':');
            pair.extend_from_slice(&password);
            let encoded = Zeroizing::new(STANDARD.encode(&*pair));
            let value = Zeroizing::new([b"Basic ", encoded.as_bytes()].concat());
            injected.forms.push(Zeroizing::new(encoded.trim_end_matches('=').as_bytes().to_vec()));
            insert(live, &mut injected.headers, header::AUTHORIZATION, &value)
        }
        Rule::Body(rule) => {
            let value = render(live, &rule.value, &mut injected.forms)?;
            let body = std::mem::replace(&mut injected.body, Body::Empty);
            injected.body = with_field(live, rule, &value, verb, &mut injected.headers, body)?;
            Ok(())
        }
        Rule::Path(template) => {
            let shown = segments::insert(live, template, &mut injected.url, &mut injected.forms)?;
            injected.shown_path = Some(shown);
            Ok(())
        }
        // Last, over everything else.
        Rule::Sign(_) => Ok(()),
        Rule::Query(rule) => {
            let value = render(live, &rule.value, &mut injected.forms)?;
            let name = percent_encode(rule.name.as_bytes(), RESERVED);
            let value = percent_encode(&value, RESERVED);
            let query = Zeroizing::new(match injected.url.query() {
                Some(query) if !query.is_empty() => format!("{query}&{name}={value}"),
                _ => format!("{name}={value}"),
            });
            injected.url.set_query(Some(&query));
            Ok(())
        }
    }
}

/// The body with the credential in its field. A request without a body gets one, where its method takes one.
fn with_field(
    live: &Live,
    rule: &NamedTemplate,
    value: &[u8],
    verb: &Method,
    headers: &mut HeaderMap,
    body: Body,
) -> Result<Body, EgressError> {
    let refused = |message: String, fix: &str| EgressError::denied("body", message, fix);
    let carries = format!("the credential of {} goes into the body", live.name);
    let value = std::str::from_utf8(value).map_err(|_| {
        let message = format!("{carries}, and it is no text");
        EgressError::denied("credential", message, reconnect(&live.name))
    })?;
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(refused(format!("{carries}, and this body is encoded"), "send it without `content-encoding`"));
    }
    let typed = headers.contains_key(header::CONTENT_TYPE);
    let kind = match (fields::kind(headers), &body) {
        (Some(kind), _) => Some(kind),
        (None, Body::Empty) if !typed && rule.name.starts_with('/') => Some(fields::Kind::Json),
        (None, Body::Empty) if !typed => Some(fields::Kind::Form),
        (None, _) => None,
    };
    let Some(kind) = kind else {
        return Err(refused(
            format!("{carries}, and the content type names no JSON object or form"),
            "send `application/json` or `application/x-www-form-urlencoded`, with its content type",
        ));
    };
    let bytes = match body {
        Body::Bytes(bytes) => bytes,
        Body::Empty if matches!(*verb, Method::GET | Method::HEAD | Method::OPTIONS) => {
            return Err(refused(format!("{carries}, and a {verb} request has none"), "use POST"));
        }
        Body::Empty => Bytes::from_static(if kind == fields::Kind::Json { b"{}" } else { b"" }),
        Body::Stream { .. } => {
            return Err(refused(format!("{carries}, and a stream takes no field"), "send the body whole"));
        }
    };
    let body = fields::put(kind, &bytes, &rule.name, value).map_err(|fault| match fault {
        fields::Fault::Taken => taken(&rule.name),
        fields::Fault::Malformed if kind == fields::Kind::Json => {
            refused(format!("{carries}, and this body is no JSON object"), "send a JSON object")
        }
        fields::Fault::Malformed => refused(format!("{carries}, and this form is no text"), "percent-encode the form"),
        fields::Fault::PointerIntoForm => {
            refused(format!("{carries} at `{}`, and a form has no such place", rule.name), "send a JSON object")
        }
    })?;
    if !typed {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(match kind {
                fields::Kind::Json => "application/json",
                fields::Kind::Form => "application/x-www-form-urlencoded",
            }),
        );
    }
    // Wiped when the last owner lets go of it.
    Ok(Body::Bytes(Bytes::from_owner(body)))
}

fn insert(live: &Live, headers: &mut HeaderMap, name: HeaderName, value: &[u8]) -> Result<(), EgressError> {
    let mut value = HeaderValue::from_bytes(value).map_err(|_| {
        EgressError::denied(
            "credential",
            format!("the header `{name}` made from {} would hold a control byte", live.name),
            reconnect(&live.name),
        )
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Renders a template; every encoded secret is also noted in `forms`.
pub(super) fn render(
    live: &Live,
    template: &[Part],
    forms: &mut Vec<Zeroizing<Vec<u8>>>,
) -> Result<Zeroizing<Vec<u8>>, EgressError> {
    let lookup = |name: Name<'_>| match name {
        Name::Input(name) => live.inputs.get(name).map(String::as_bytes),
        Name::Token(name) => live.tokens.get(name).map(Secret::expose),
        Name::Host("client_id") => live.client_id.as_deref().map(str::as_bytes),
        Name::Host(_) => None,
    };
    let write = |parts: &[Part]| {
        let mut out = Zeroizing::new(Vec::new());
        template::render(parts, &mut out, lookup).map(|()| out).map_err(|error| {
            EgressError::denied(
                "credential",
                format!("the credential of {} cannot be made: {error}", live.name),
                reconnect(&live.name),
            )
        })
    };
    for part in template {
        if matches!(part, Part::Token(token) if !token.encodings.is_empty()) {
            forms.push(write(std::slice::from_ref(part))?);
        }
    }
    write(template)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use deputy_declaration::types::{BasicRule, DefaultHeader, Encoding};

    use super::super::tests::{live, text, token};
    use super::*;

    fn with_rules(sets: Vec<(&str, Vec<Rule>)>) -> Live {
        let mut live = live("https://api.example.test");
        Arc::make_mut(&mut live.declaration).methods[0].rule_sets =
            sets.into_iter().map(|(name, rules)| RuleSet { name: name.into(), rules }).collect();
        live
    }

    fn run(live: &Live, set: Option<&str>, url: &str, caller: &[(&str, &str)]) -> Result<(Url, Injected), EgressError> {
        let mut headers = HeaderMap::new();
        for (name, value) in caller {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let draft = Draft { method: &Method::GET, url: Url::parse(url).unwrap(), headers: &headers, body: Body::Empty };
        inject(live, set, draft, 1 << 16).map(|injected| (injected.url.clone(), injected))
    }

    #[test]
    fn the_default_rule_set_is_the_first_whose_tokens_are_there() {
        let header = |name: &str, part: Part| {
            Rule::Header(NamedTemplate { name: name.into(), value: vec![text("Bearer "), part] })
        };
        let mut live = with_rules(vec![
            ("user", vec![header("authorization", token("user", &[]))]),
            ("bot", vec![header("authorization", token("key", &[]))]),
        ]);
        let (_, injected) = run(&live, None, "https://api.example.test/", &[]).unwrap();
        assert_eq!(injected.headers["authorization"], "Bearer canary-secret-1234");
        assert!(injected.headers["authorization"].is_sensitive());

        let error = run(&live, Some("user"), "https://api.example.test/", &[]).err().unwrap();
        assert!(matches!(error, EgressError::Denied { rule: "credential", .. }), "{error}");
        let error = run(&live, Some("admin"), "https://api.example.test/", &[]).err().unwrap();
        assert!(error.fix().unwrap().contains("user, bot"), "{error}");

        live.tokens.clear();
        let error = run(&live, None, "https://api.example.test/", &[]).err().unwrap();
        assert!(matches!(error, EgressError::Denied { rule: "credential", .. }), "fails closed: {error}");
    }

    #[test]
    fn basic_and_query_and_encodings() {
        let live = with_rules(vec![(
            "all",
            vec![
                Rule::Basic(BasicRule { username: vec![token("key", &[])], password: vec![] }),
                Rule::Query(NamedTemplate { name: "key&".into(), value: vec![token("key", &[]), text(" &=#%")] }),
                Rule::Header(NamedTemplate { name: "x-b".into(), value: vec![token("key", &[Encoding::Base64url])] }),
            ],
        )]);
        let (url, injected) = run(&live, None, "https://api.example.test/x?a=%20b", &[]).unwrap();
        assert_eq!(url.as_str(), "https://api.example.test/x?a=%20b&key%26=canary-secret-1234%20%26%3D%23%25");
        assert_eq!(injected.headers["authorization"], "Basic Y2FuYXJ5LXNlY3JldC0xMjM0Og==");
        assert_eq!(injected.headers["x-b"], "Y2FuYXJ5LXNlY3JldC0xMjM0");
        assert_eq!(injected.forms.len(), 2, "the pair and the encoded token");
    }

    #[test]
    fn r12_templates_in_a_callers_text_stay_text() {
        let live = with_rules(vec![("none", Vec::new())]);
        let (url, injected) =
            run(&live, None, "https://api.example.test/?q={{key}}", &[("x-a", "{key} ${key} <%=key%> %s")]).unwrap();
        assert_eq!(injected.headers["x-a"], "{key} ${key} <%=key%> %s");
        assert!(!url.as_str().contains("canary"));
    }

    #[test]
    fn r5_a_stored_control_byte_never_becomes_a_header() {
        let mut live = with_rules(vec![(
            "k",
            vec![Rule::Header(NamedTemplate { name: "x-k".into(), value: vec![token("key", &[])] })],
        )]);
        live.tokens.insert("key".into(), Secret::new(b"canary\r\nx-evil: 1".to_vec()));
        let error = run(&live, None, "https://api.example.test/", &[]).err().unwrap();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }

    #[test]
    fn a_colon_in_a_basic_user_name_is_refused() {
        let mut live = with_rules(vec![(
            "k",
            vec![Rule::Basic(BasicRule { username: vec![token("key", &[])], password: vec![] })],
        )]);
        live.tokens.insert("key".into(), Secret::new(b"a:b".to_vec()));
        assert!(run(&live, None, "https://api.example.test/", &[]).is_err());
    }

    #[test]
    fn default_headers_yield_unless_locked() {
        let mut live = with_rules(vec![("none", Vec::new())]);
        Arc::make_mut(&mut live.declaration).headers = vec![
            DefaultHeader { name: "X-Version".into(), value: "1".into(), locked: true },
            DefaultHeader { name: "accept".into(), value: "application/json".into(), locked: false },
        ];
        let (_, injected) = run(&live, None, "https://api.example.test/", &[]).unwrap();
        assert_eq!(injected.headers["x-version"], "1");
        assert_eq!(injected.headers["accept"], "application/json");
        let (_, injected) = run(&live, None, "https://api.example.test/", &[("accept", "text/csv")]).unwrap();
        assert_eq!(injected.headers.get_all("accept").iter().collect::<Vec<_>>(), ["text/csv"]);
        let error = run(&live, None, "https://api.example.test/", &[("x_version", "2")]).err().unwrap();
        assert!(error.to_string().contains("x_version"), "{error}");
    }
}
