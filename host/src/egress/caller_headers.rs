//! Which headers and query fields a caller may send (R4): what frames the message, routes it, changes its method, or
//! stands where a credential goes is refused by name, never dropped in silence.

use std::borrow::Cow;

use deputy_declaration::types::{AuthMethod, Rule};
use http::HeaderMap;

use super::EgressError;

/// `_` for `-`: many servers fold the two, so a rule for one is a rule for both. Header names are lower case already.
pub(super) fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte == b'_' || byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase().replace('_', "-"))
    } else {
        Cow::Borrowed(name)
    }
}

/// Headers that belong to the host, for every request.
fn belongs_to_host(name: &str) -> bool {
    matches!(
        name,
        "host"
            | "content-length"
            | "transfer-encoding"
            | "te"
            | "trailer"
            | "connection"
            | "keep-alive"
            | "upgrade"
            | "http2-settings"
            | "forwarded"
            | "x-real-ip"
            | "x-original-url"
            | "x-original-host"
            | "x-rewrite-url"
            | "x-host"
            | "x-http-host-override"
            | "x-http-method"
            | "x-http-method-override"
            | "x-method-override"
            | "cookie"
            | "cookie2"
            | "expect"
            | "alt-used"
            | "accept-encoding"
    ) || name.starts_with("proxy-")
        || name.starts_with("x-forwarded")
        || name.starts_with(':')
}

/// What no caller of any kind may set, not even a token call.
pub(super) fn check_host_headers(headers: &HeaderMap, limit: usize) -> Result<(), EgressError> {
    let mut size = 0;
    for (name, value) in headers {
        size += name.as_str().len() + value.len() + 4;
        let folded = folded(name.as_str());
        if matches!(&*folded, "range" | "if-range") {
            return Err(EgressError::denied(
                "header",
                format!("the header `{name}` is refused: in slices an echo of the credential could not be recognised"),
                format!("leave `{name}` out and read the whole answer"),
            ));
        }
        if belongs_to_host(&folded) {
            return Err(EgressError::denied(
                "header",
                format!("the header `{name}` is set by the host"),
                format!("leave `{name}` out"),
            ));
        }
    }
    if size > limit {
        return Err(EgressError::TooLarge { what: "request's headers", limit: limit as u64 });
    }
    Ok(())
}

/// What stands in the place of a credential of any rule set of the method.
pub(super) fn check_credential_slots(
    headers: &HeaderMap,
    query: Option<&str>,
    method: &AuthMethod,
) -> Result<(), EgressError> {
    for rule in method.rule_sets.iter().flat_map(|set| &set.rules) {
        match rule {
            Rule::Header(rule) => check_header_slot(headers, &rule.name)?,
            Rule::Basic(_) => check_header_slot(headers, "authorization")?,
            Rule::Query(rule) => check_query_slot(query, &rule.name)?,
            // Looked at where they are applied: `fields`, `segments`, `sign`.
            Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => {}
        }
    }
    Ok(())
}

pub(super) fn check_header_slot(headers: &HeaderMap, slot: &str) -> Result<(), EgressError> {
    let slot = folded(slot);
    match headers.keys().find(|name| folded(name.as_str()) == slot) {
        Some(name) => Err(EgressError::denied(
            "header",
            format!("the header `{name}` carries the account's credential and is set by the host"),
            format!("leave `{name}` out; to send another credential, use another account"),
        )),
        None => Ok(()),
    }
}

pub(super) fn check_query_slot(query: Option<&str>, slot: &str) -> Result<(), EgressError> {
    if query.is_some_and(|query| has_field(query, slot)) {
        return Err(EgressError::denied(
            "query",
            format!("the query field `{}` carries the account's credential and is set by the host", folded(slot)),
            "leave it out; to send another credential, use another account",
        ));
    }
    Ok(())
}

/// Could a server find this field in a query or a form? Some also split at `;`, and read `name[]` and `name[0]` as
/// `name`.
pub(super) fn has_field(text: &str, name: &str) -> bool {
    let slot = folded(name);
    text.split(['&', ';']).any(|pair| {
        let name = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(name, _)| name.into_owned());
        let name = name.unwrap_or_default();
        folded(name.split(['[', '\0']).next().unwrap_or_default().trim()) == slot
    })
}

#[cfg(test)]
mod tests {
    use deputy_declaration::types::{AuthKind, BasicRule, NamedTemplate, RuleSet};
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(names: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for name in names {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("x"));
        }
        map
    }

    fn method(rules: Vec<Rule>) -> AuthMethod {
        AuthMethod {
            id: "key".into(),
            label: "Key".into(),
            help: None,
            docs: None,
            setup: None,
            kind: AuthKind::Keys,
            tokens: Vec::new(),
            revoke: Vec::new(),
            reply_hook: false,
            rule_sets: vec![
                RuleSet { name: "none".into(), rules: Vec::new() },
                RuleSet { name: "other".into(), rules },
            ],
        }
    }

    #[test]
    fn r4_what_belongs_to_the_host_is_refused_by_name() {
        for name in [
            "Host",
            "Content-Length",
            "content_length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Connection",
            "Keep-Alive",
            "Upgrade",
            "HTTP2-Settings",
            "Proxy-Authorization",
            "Proxy-Connection",
            "proxy_connection",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "x_forwarded_host",
            "X-Real-IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-Method-Override",
            "Cookie",
            "Expect",
            "Alt-Used",
            "Accept-Encoding",
        ] {
            let error = check_host_headers(&headers(&[name]), 1000).expect_err(name);
            assert!(error.to_string().contains(&name.to_ascii_lowercase()), "{error}");
        }
        assert!(check_host_headers(&headers(&["accept", "content-type", "x-trace", "origin"]), 1000).is_ok());
    }

    #[test]
    fn r9_too_many_header_bytes() {
        let error = check_host_headers(&headers(&["x-long-name"]), 8).unwrap_err();
        assert_eq!(error.code(), "too_large");
    }

    #[test]
    fn r4_every_credential_slot_of_any_rule_set_is_refused() {
        let method = method(vec![
            Rule::Header(NamedTemplate { name: "X-Api_Key".into(), value: Vec::new() }),
            Rule::Query(NamedTemplate { name: "access_token".into(), value: Vec::new() }),
            Rule::Basic(BasicRule { username: Vec::new(), password: Vec::new() }),
        ]);
        for name in ["x-api-key", "X_API_KEY", "x-api_key", "Authorization", "authorization"] {
            let error = check_credential_slots(&headers(&[name]), None, &method).expect_err(name);
            assert!(matches!(error, EgressError::Denied { rule: "header", .. }));
        }
        for query in [
            "access_token=1",
            "a=1&access_token",
            "a=1;access_token=2",
            "%61ccess_token=1",
            "ACCESS_TOKEN=1",
            "access-token=1",
            "access_token[]=1",
            "access%5Ftoken%5B0%5D=1",
            "access_token%00x=1",
            "+access_token=1",
        ] {
            let error = check_credential_slots(&HeaderMap::new(), Some(query), &method).expect_err(query);
            assert!(matches!(error, EgressError::Denied { rule: "query", .. }));
        }
        let fine = check_credential_slots(&headers(&["x-api-keys"]), Some("token=1&q=access_token"), &method);
        assert!(fine.is_ok());
    }
}
