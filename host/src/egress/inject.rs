//! Puts an account's secrets where the app's rules say (R5, R12): whole headers, whole query fields, a Basic pair.
//! Nothing is ever substituted inside a caller's text.
//!
//! Bounds: secrets are rendered into wiped buffers; the header values made of them are marked sensitive, so that
//! `Debug` and HTTP/2 header tables leave them out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{AuthMethod, Part, Rule, RuleSet, Template};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use url::Url;
use zeroize::Zeroizing;

use super::caller_headers::{check_credential_slots, check_host_headers, folded};
use super::{EgressError, Live, reconnect};
use crate::vault::Secret;

/// RFC 3986 section 2.3: all but the unreserved characters.
pub(super) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sent where neither the caller nor the app names one; several services refuse requests without.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("deputy/", env!("CARGO_PKG_VERSION")));

/// What the rules made of the secrets.
pub(super) struct Injected {
    /// The caller's, the app's and the host's headers together.
    pub headers: HeaderMap,
    /// Encoded forms of secrets as they were sent, for the scrubber.
    pub forms: Vec<Zeroizing<Vec<u8>>>,
}

/// Checks the caller's headers and query, and adds the credentials of the account to `url` and to the headers.
pub(super) fn inject(
    live: &Live,
    rule_set: Option<&str>,
    caller: &HeaderMap,
    header_limit: usize,
    url: &mut Url,
) -> Result<Injected, EgressError> {
    let method = live.declaration.methods.get(live.method).ok_or_else(|| {
        EgressError::Internal(format!("{} has no auth method {}", live.declaration.slug, live.method))
    })?;
    check_host_headers(caller, header_limit)?;
    check_credential_slots(caller, url.query(), method)?;
    let mut headers = caller.clone();
    add_defaults(live, &mut headers)?;
    let mut injected = Injected { headers, forms: Vec::new() };
    if let Some(set) = choose(live, method, rule_set)? {
        for rule in &set.rules {
            apply(live, rule, url, &mut injected)?;
        }
    }
    add_host_headers(&mut injected.headers);
    Ok(injected)
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

fn missing_token<'a>(live: &Live, set: &'a RuleSet) -> Option<&'a str> {
    let missing = |template: &'a Template| {
        template.iter().find_map(|part| match part {
            Part::Token(token) if !live.tokens.contains_key(&token.name) => Some(token.name.as_str()),
            _ => None,
        })
    };
    set.rules.iter().find_map(|rule| match rule {
        Rule::Header(rule) | Rule::Query(rule) => missing(&rule.value),
        Rule::Basic(rule) => missing(&rule.username).or_else(|| missing(&rule.password)),
        Rule::Body(rule) => missing(&rule.value),
        Rule::Path(rule) => missing(rule),
        Rule::Sign(_) => None,
    })
}

fn apply(live: &Live, rule: &Rule, url: &mut Url, injected: &mut Injected) -> Result<(), EgressError> {
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
        // Validation lets no such declaration in.
        Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => Err(EgressError::Internal(format!(
            "{} declares a rule that this version does not apply",
            live.declaration.slug
        ))),
        Rule::Query(rule) => {
            let value = render(live, &rule.value, &mut injected.forms)?;
            let name = percent_encode(rule.name.as_bytes(), RESERVED);
            let value = percent_encode(&value, RESERVED);
            let query = Zeroizing::new(match url.query() {
                Some(query) if !query.is_empty() => format!("{query}&{name}={value}"),
                _ => format!("{name}={value}"),
            });
            url.set_query(Some(&query));
            Ok(())
        }
    }
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
fn render(
    live: &Live,
    template: &Template,
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

    use deputy_declaration::types::{BasicRule, DefaultHeader, Encoding, NamedTemplate};

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
        let mut url = Url::parse(url).unwrap();
        inject(live, set, &headers, 1 << 16, &mut url).map(|injected| (url, injected))
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
