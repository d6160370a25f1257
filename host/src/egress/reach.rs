//! Whether an account's credentials may go to a URL (R1, R3): deny by default, and every refusal names the rule, what
//! was asked, and how to allow it.

use http::Method;
use percent_encoding::percent_decode_str;
use url::Url;

use super::{EgressError, Live, Narrow};

/// Escapes that servers read as a separator, a dot or an end, each in its own way; and what a second decoding gives.
const AMBIGUOUS: [&str; 10] = ["%2f", "%5c", "%2e", "%00", ";", "//", "%252f", "%255c", "%252e", "%2500"];

/// The app's own rules, and then what a step said that it needs.
pub(super) fn check(live: &Live, narrow: Option<&Narrow>, method: &Method, url: &Url) -> Result<(), EgressError> {
    check_method(live, method)?;
    check_origin(live, url)?;
    let reach = &live.declaration.reach;
    if !reach.paths.is_empty() || !reach.denied_paths.is_empty() {
        check_paths(live, url)?;
    }
    check_token_endpoints(live, url)?;
    narrow.map_or(Ok(()), |narrow| check_narrow(live, narrow, method, url))
}

fn check_method(live: &Live, method: &Method) -> Result<(), EgressError> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(EgressError::denied(
            "method",
            format!("{method} is never sent through an account"),
            "use GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS",
        ));
    }
    let methods = &live.declaration.reach.methods;
    if methods.is_empty() || methods.iter().any(|allowed| allowed == method.as_str()) {
        return Ok(());
    }
    let app = &live.declaration.slug;
    Err(EgressError::denied(
        "method",
        format!("{} may not use {method}: {app} allows {}", live.name, methods.join(", ")),
        format!("add it to `[reach] methods` in the app.toml of {app}"),
    ))
}

fn check_origin(live: &Live, url: &Url) -> Result<(), EgressError> {
    let origin = url.origin();
    if live.origins.contains(&origin) {
        return Ok(());
    }
    let allowed: Vec<String> = live.origins.iter().map(url::Origin::ascii_serialization).collect();
    let allowed = if allowed.is_empty() { "nowhere".to_owned() } else { format!("to {}", allowed.join(", ")) };
    Err(EgressError::denied(
        "origin",
        format!("{} may not send to {}: its credentials go {allowed}", live.name, origin.ascii_serialization()),
        format!(
            "use an account of that service; if the host belongs to {app}, add it to `[reach] origins` in its app.toml",
            app = live.declaration.slug
        ),
    ))
}

fn check_paths(live: &Live, url: &Url) -> Result<(), EgressError> {
    let reach = &live.declaration.reach;
    let app = &live.declaration.slug;
    check_encoding(url, app)?;
    if !reach.paths.is_empty() && !is_below_any(url, &reach.paths) {
        return Err(EgressError::denied(
            "path",
            format!("{} may not reach {}: {app} allows {}", live.name, shown(url), reach.paths.join(", ")),
            format!("add it to `[reach] paths` in the app.toml of {app}"),
        ));
    }
    // Some servers ignore case, so a denial does too.
    let folded = segments(url.path(), true);
    if let Some(prefix) = reach.denied_paths.iter().find(|prefix| is_below(&folded, &segments(prefix, true))) {
        return Err(EgressError::denied(
            "denied-path",
            format!("{} may not reach {}: {app} denies {prefix}", live.name, shown(url)),
            format!("remove it from `[reach] denied-paths` in the app.toml of {app}"),
        ));
    }
    Ok(())
}

/// Does the path hold an escape or a separator that servers read in different ways? No rule about paths fits one.
pub fn is_ambiguous_path(path: &str) -> bool {
    ambiguous(path).is_some()
}

fn ambiguous(path: &str) -> Option<&'static str> {
    let raw = path.to_ascii_lowercase();
    AMBIGUOUS.into_iter().find(|escape| raw.contains(escape))
}

/// A path that servers read in different ways fits no rule. `whose`: who has path rules.
fn check_encoding(url: &Url, whose: &str) -> Result<(), EgressError> {
    match ambiguous(url.path()) {
        Some(found) => Err(EgressError::denied(
            "encoded-path",
            format!("the path holds `{found}`, which servers read in different ways, and {whose} has path rules"),
            "write the path without it",
        )),
        None => Ok(()),
    }
}

fn is_below_any(url: &Url, prefixes: &[String]) -> bool {
    let path = segments(url.path(), false);
    prefixes.iter().any(|prefix| is_below(&path, &segments(prefix, false)))
}

/// What the step declares for the prop: within the app's reach, never beyond it.
fn check_narrow(live: &Live, narrow: &Narrow, method: &Method, url: &Url) -> Result<(), EgressError> {
    let prop = &narrow.prop;
    if !narrow.methods.is_empty() && !narrow.methods.iter().any(|allowed| allowed == method.as_str()) {
        return Err(EgressError::denied(
            "grant-method",
            format!(
                "prop `{prop}` declares {} only, and the step asked {} for {method}",
                narrow.methods.join(", "),
                live.name
            ),
            format!("add \"{method}\" to the `methods` of prop `{prop}` in the step"),
        ));
    }
    if narrow.paths.is_empty() {
        return Ok(());
    }
    check_encoding(url, &format!("prop `{prop}`"))?;
    if is_below_any(url, &narrow.paths) {
        return Ok(());
    }
    Err(EgressError::denied(
        "grant-path",
        format!(
            "prop `{prop}` declares paths below {} only, and the step asked {} for {}",
            narrow.paths.join(", "),
            live.name,
            shown(url)
        ),
        format!("add \"{}\" to the `paths` of prop `{prop}` in the step: they are paths on the wire", shown(url)),
    ))
}

/// An echo of the token endpoint would hand out what no scrubbing knows yet: new tokens.
fn check_token_endpoints(live: &Live, url: &Url) -> Result<(), EgressError> {
    let mut path = None;
    for endpoint in &live.token_endpoints {
        if endpoint.host() != url.host() || endpoint.port_or_known_default() != url.port_or_known_default() {
            continue;
        }
        let path = path.get_or_insert_with(|| normal(url.path()));
        if *path == normal(endpoint.path()) {
            return Err(EgressError::denied(
                "token-endpoint",
                format!("{} is a token endpoint of {}: no caller may use it", shown(url), live.declaration.slug),
                "tokens are made and refreshed by the host; see `deputy account test`",
            ));
        }
    }
    Ok(())
}

/// A prefix ends at a segment border: `/api` holds `/api` and `/api/x`, but not `/apix`.
fn is_below(path: &[String], prefix: &[String]) -> bool {
    path.len() >= prefix.len() && path.iter().zip(prefix).all(|(segment, wanted)| segment == wanted)
}

/// Segments, decoded once. A last empty segment of a prefix (`/api/`) is no segment.
fn segments(path: &str, fold: bool) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| {
            let text = percent_decode_str(segment).decode_utf8_lossy();
            if fold { text.to_ascii_lowercase() } else { text.into_owned() }
        })
        .collect()
}

/// The path that the most lenient server could understand.
fn normal(path: &str) -> Vec<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy().to_ascii_lowercase().replace('\\', "/");
    let decoded = decoded.split('\0').next().unwrap_or_default();
    let mut normal: Vec<String> = Vec::new();
    for segment in decoded.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                normal.pop();
            }
            segment => normal.push(segment.trim().to_owned()),
        }
    }
    normal
}

/// A path for an error: no query, not endless.
fn shown(url: &Url) -> String {
    let path = url.path();
    if path.len() <= 120 { path.to_owned() } else { format!("{}…", path.chars().take(120).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::live;
    use super::*;

    fn rule(live: &Live, method: &str, url: &str) -> Option<&'static str> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match check(live, None, &method, &Url::parse(url).unwrap()) {
            Ok(()) => None,
            Err(EgressError::Denied { rule, fix, .. }) => {
                assert!(fix.is_some());
                Some(rule)
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn r1_only_the_exact_origins() {
        let live = live("https://api.example.test");
        assert_eq!(rule(&live, "GET", "https://api.example.test/x"), None);
        for url in [
            "http://api.example.test/x",
            "https://api.example.test:8443/x",
            "https://example.test/x",
            "https://a.api.example.test/x",
            "https://api.example.test.evil.test/x",
            "https://evil.test/api.example.test",
        ] {
            assert_eq!(rule(&live, "GET", url), Some("origin"), "{url}");
        }
    }

    #[test]
    fn r1_methods() {
        let mut live = live("https://api.example.test");
        assert_eq!(rule(&live, "TRACE", "https://api.example.test/x"), Some("method"));
        assert_eq!(rule(&live, "CONNECT", "https://api.example.test/x"), Some("method"));
        std::sync::Arc::make_mut(&mut live.declaration).reach.methods = vec!["GET".into()];
        assert_eq!(rule(&live, "GET", "https://api.example.test/x"), None);
        assert_eq!(rule(&live, "POST", "https://api.example.test/x"), Some("method"));
        assert_eq!(rule(&live, "get", "https://api.example.test/x"), Some("method"));
    }

    #[test]
    fn r3_path_prefixes_end_at_segments() {
        let mut live = live("https://api.example.test");
        let app = std::sync::Arc::make_mut(&mut live.declaration);
        app.reach.paths = vec!["/v1".into(), "/open/".into()];
        app.reach.denied_paths = vec!["/v1/keys".into()];
        for (path, expected) in [
            ("/v1", None),
            ("/v1/", None),
            ("/v1/users", None),
            ("/%761/users", None),
            ("/open/x", None),
            ("/v1x", Some("path")),
            ("/V1/users", Some("path")),
            ("/", Some("path")),
            ("/v1/keys", Some("denied-path")),
            ("/v1/keys/1", Some("denied-path")),
            ("/v1/KEYS", Some("denied-path")),
            ("/v1/%6beys", Some("denied-path")),
            ("/v1/keysx", None),
            ("/v1//keys", Some("encoded-path")),
            ("/v1/x%2fy", Some("encoded-path")),
            ("/v1/x%5Cy", Some("encoded-path")),
            ("/v1/x%2Ey", Some("encoded-path")),
            ("/v1/x%00", Some("encoded-path")),
            ("/v1/x;y", Some("encoded-path")),
            ("/v1/..%2fkeys", Some("encoded-path")),
            ("/v1/%252fkeys", Some("encoded-path")),
        ] {
            assert_eq!(rule(&live, "GET", &format!("https://api.example.test{path}")), expected, "{path}");
        }
    }

    #[test]
    fn r3_token_endpoints_are_denied_in_every_spelling() {
        let mut live = live("https://api.example.test");
        live.token_endpoints = vec![Url::parse("https://api.example.test/oauth/token").unwrap()];
        for path in [
            "/oauth/token",
            "/oauth/token?x=1",
            "/oauth/token/",
            "/oauth//token",
            "/OAuth/Token",
            "/%6fauth/token",
            "/oauth%2ftoken",
            "/oauth%5ctoken",
            "/oauth/token;a=b",
            "/oauth/token%00.json",
            "/x%2f..%2foauth/token",
        ] {
            assert_eq!(
                rule(&live, "POST", &format!("https://api.example.test{path}")),
                Some("token-endpoint"),
                "{path}"
            );
        }
        assert_eq!(rule(&live, "POST", "https://api.example.test/oauth/tokens"), None);
    }

    #[test]
    fn a_narrowed_grant_stays_within_methods_and_paths() {
        let mut live = live("https://api.example.test");
        let app = std::sync::Arc::make_mut(&mut live.declaration);
        app.reach.methods = vec!["GET".into(), "POST".into()];
        app.reach.denied_paths = vec!["/v1/keys".into()];
        let narrow = |methods: &[&str], paths: &[&str]| Narrow {
            prop: "slack".into(),
            methods: methods.iter().map(|method| (*method).to_owned()).collect(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let asked = |narrow: &Narrow, method: &str, path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let url = Url::parse(&format!("https://api.example.test{path}")).unwrap();
            check(&live, Some(narrow), &method, &url)
        };
        let rule = |narrow: &Narrow, method: &str, path: &str| match asked(narrow, method, path) {
            Ok(()) => None,
            Err(EgressError::Denied { rule, .. }) => Some(rule),
            Err(other) => panic!("{other}"),
        };
        let posts = narrow(&["POST", "DELETE"], &[]);
        assert_eq!(rule(&posts, "POST", "/other"), None);
        assert_eq!(rule(&posts, "GET", "/v1"), Some("grant-method"));
        assert_eq!(rule(&posts, "post", "/v1"), Some("method"));
        assert_eq!(rule(&posts, "DELETE", "/v1"), Some("method"), "a step cannot widen the app");
        let users = narrow(&[], &["/v1", "/open/"]);
        for (path, expected) in [
            ("/v1", None),
            ("/v1/users?q=/secret", None),
            ("/%761/users", None),
            ("/open/x", None),
            ("/v1x", Some("grant-path")),
            ("/V1/users", Some("grant-path")),
            ("/", Some("grant-path")),
            ("/other?x=/v1", Some("grant-path")),
            ("/v1//keys", Some("encoded-path")),
            ("/v1/..%2fother", Some("encoded-path")),
            ("/v1/x%5Cy", Some("encoded-path")),
            ("/v1/x%2Ey", Some("encoded-path")),
            ("/v1/x%00", Some("encoded-path")),
            ("/v1/x;y", Some("encoded-path")),
            ("/v1/%252fkeys", Some("encoded-path")),
            ("/v1/keys", Some("denied-path")),
        ] {
            assert_eq!(rule(&users, "GET", path), expected, "{path}");
        }
        let error = asked(&posts, "GET", "/v1").unwrap_err();
        assert_eq!(error.to_string(), "prop `slack` declares POST, DELETE only, and the step asked test/work for GET");
        assert!(error.fix().unwrap().contains("`methods` of prop `slack`"));
        let error = asked(&users, "GET", "/other?canary").unwrap_err();
        assert!(error.to_string().contains("/v1, /open/") && error.to_string().contains("for /other"), "{error}");
        assert!(error.fix().unwrap().contains("\"/other\"") && !format!("{error:?}").contains("canary"));
    }

    #[test]
    fn refusals_hold_no_query() {
        let mut live = live("https://api.example.test");
        std::sync::Arc::make_mut(&mut live.declaration).reach.paths = vec!["/v1".into()];
        for url in ["https://evil.test/?canary", "https://api.example.test/?canary"] {
            let error = check(&live, None, &Method::GET, &Url::parse(url).unwrap()).unwrap_err();
            assert!(!format!("{error:?}").contains("canary"));
        }
    }
}
