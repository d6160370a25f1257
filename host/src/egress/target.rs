//! Which URL a request means: one parser, and the parsed value is what is sent (R2).
//!
//! Promise: the host that was judged is the host that is dialled. What parsers read in more than one way (spaces and
//! control bytes, backslashes, user names, escaped or non-ASCII hosts, other spellings of an address, dot segments) is
//! refused by name before parsing, and after it the host must be the one that was written.

use url::{Host, Origin, Url};

use super::EgressError;

/// Longer URLs are refused.
const MAX_URL_BYTES: usize = 32 * 1024;

/// A URL as a caller wrote it, after the checks that need no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// `/path?query`, below the account's base.
    Relative(&'a str),
    Absolute(&'a str),
}

fn invalid(message: impl Into<String>, fix: &str) -> EgressError {
    EgressError::invalid(message, fix)
}

/// The checks on raw text.
pub(super) fn check(text: &str) -> Result<Written<'_>, EgressError> {
    if text.len() > MAX_URL_BYTES {
        return Err(invalid(
            format!("the URL has {} bytes; the limit is {MAX_URL_BYTES}", text.len()),
            "send long values in the body",
        ));
    }
    if let Some(at) = text.bytes().position(|byte| byte < 0x21 || byte == 0x7f) {
        return Err(invalid(
            format!("the URL holds a space or control byte at byte {at}"),
            "percent-encode it, a space as %20",
        ));
    }
    if let Some(at) = text.find('\\') {
        return Err(invalid(format!("the URL holds a backslash at byte {at}"), "write / or percent-encode it as %5C"));
    }
    if text.contains('#') {
        return Err(invalid("the URL holds a #, and what follows is never sent", "percent-encode it as %23"));
    }
    if text.starts_with('/') {
        if text.starts_with("//") {
            return Err(invalid("the URL names a host without a scheme", "write https:// before the host"));
        }
        check_segments(text)?;
        return Ok(Written::Relative(text));
    }
    let Some(rest) = after_scheme(text) else {
        return Err(invalid(
            "the URL is neither a path that begins with / nor an http or https URL",
            "write /path, or https://host/path",
        ));
    };
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    check_authority(authority)?;
    check_segments(&rest[authority.len()..])?;
    Ok(Written::Absolute(text))
}

fn after_scheme(text: &str) -> Option<&str> {
    ["https://", "http://"].into_iter().find_map(|scheme| {
        let head = text.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
    })
}

/// Host and port as written: `[::1]:80` gives `[::1]` and `80`.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let from = authority.rfind(']').unwrap_or(0);
    match authority[from..].find(':') {
        Some(at) => (&authority[..from + at], Some(&authority[from + at + 1..])),
        None => (authority, None),
    }
}

fn check_authority(authority: &str) -> Result<(), EgressError> {
    if !authority.is_ascii() {
        return Err(invalid("the host is not ASCII", "write its A-label (xn--…)"));
    }
    if authority.contains('@') {
        return Err(invalid(
            "the URL holds a user name or an @ before the host",
            "name the account instead; its credentials are added on the way out",
        ));
    }
    if authority.contains('%') {
        return Err(invalid("the host is percent-encoded", "write the plain host"));
    }
    let (host, port) = host_and_port(authority);
    if host.is_empty() {
        return Err(invalid("the URL has no host", "write https://host/path, or /path"));
    }
    if host.ends_with('.') {
        return Err(invalid("the host ends with a dot", "write it without the last dot"));
    }
    let port_is_plain = port.is_none_or(|port| {
        (1..=5).contains(&port.len()) && !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !port_is_plain {
        return Err(invalid("the port is no number from 1 to 65535", "write https://host or https://host:8443"));
    }
    Ok(())
}

/// Dot segments are resolved by every parser, so a value glued into a path could leave the place it was meant for.
fn check_segments(path_and_query: &str) -> Result<(), EgressError> {
    let path = &path_and_query[..path_and_query.find('?').unwrap_or(path_and_query.len())];
    let is_dots = |segment: &str| {
        let segment = segment.to_ascii_lowercase().replace("%2e", ".");
        segment == "." || segment == ".."
    };
    // Most paths hold neither, and are not looked at again.
    let suspect = path.contains(['.', '%']);
    match path.split('/').find(|segment| suspect && is_dots(segment)) {
        Some(segment) => Err(invalid(
            format!("the path holds the segment `{segment}`"),
            "write the path that is meant; encode values that are put into a path",
        )),
        None => Ok(()),
    }
}

/// The URL to send. `pinned` are the account's origins: an address in place of a name is allowed only as one of them.
pub(super) fn resolve(written: Written<'_>, base: &Url, pinned: &[Origin]) -> Result<Url, EgressError> {
    let url = match written {
        Written::Relative(path) => {
            let text = format!("{}{path}", base.as_str().trim_end_matches('/'));
            let url = parse(&text)?;
            if url.origin() != base.origin() {
                return Err(invalid("the path leads to another host", "write a path below the base of the app"));
            }
            url
        }
        Written::Absolute(text) => absolute(text, pinned)?,
    };
    plain_parts(&url)?;
    Ok(url)
}

/// The same for an absolute URL that has no base.
pub(super) fn resolve_absolute(text: &str, pinned: &[Origin]) -> Result<Url, EgressError> {
    let url = absolute(text, pinned)?;
    plain_parts(&url)?;
    Ok(url)
}

fn absolute(text: &str, pinned: &[Origin]) -> Result<Url, EgressError> {
    let url = parse(text)?;
    let rest = after_scheme(text).unwrap_or_default();
    let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
    let (host, _) = host_and_port(authority);
    let same = url.host_str().is_some_and(|parsed| parsed == host.to_ascii_lowercase());
    let is_address = !matches!(url.host(), Some(Host::Domain(_)));
    if is_address && !(same && pinned.contains(&url.origin())) {
        return Err(EgressError::denied(
            "ip-literal",
            "the URL names an address instead of a host",
            "write the host name; an address is allowed only where the account was connected to it",
        ));
    }
    if !same {
        return Err(invalid("the host can be read in more than one way", "write it in plain lower case"));
    }
    Ok(url)
}

/// Host, path and query, and nothing else.
fn plain_parts(url: &Url) -> Result<(), EgressError> {
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(invalid("the URL holds more than host, path and query", "write https://host/path?query"));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Url, EgressError> {
    let url = Url::parse(text)
        .map_err(|error| invalid(format!("the URL is malformed: {error}"), "write /path, or https://host/path"))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(invalid("the URL is no http or https URL", "write https://host/path"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> Url {
        Url::parse("https://api.allowed.test/v1").unwrap()
    }

    fn target(text: &str) -> Result<Url, EgressError> {
        let pinned = [base().origin(), Url::parse("http://127.0.0.1:3910").unwrap().origin()];
        resolve(check(text)?, &base(), &pinned)
    }

    #[test]
    fn a_path_stands_below_the_base() {
        assert_eq!(target("/user?q=1").unwrap().as_str(), "https://api.allowed.test/v1/user?q=1");
        assert_eq!(target("/").unwrap().as_str(), "https://api.allowed.test/v1/");
        assert_eq!(target("/a%20b/%C3%BC").unwrap().as_str(), "https://api.allowed.test/v1/a%20b/%C3%BC");
    }

    #[test]
    fn an_absolute_url_is_parsed_once() {
        assert_eq!(target("https://API.allowed.test:443/x").unwrap().as_str(), "https://api.allowed.test/x");
        assert_eq!(target("https://api.allowed.test?x=1").unwrap().as_str(), "https://api.allowed.test/?x=1");
        assert_eq!(target("HTTPS://other.test:8443/").unwrap().as_str(), "https://other.test:8443/");
    }

    #[test]
    fn an_address_only_where_it_is_pinned_and_in_one_spelling() {
        assert!(target("http://127.0.0.1:3910/x").is_ok());
        for text in [
            "http://127.0.0.1/x",
            "http://127.0.0.1:3911/x",
            "https://127.0.0.1:3910/",
            "http://127.1:3910/",
            "http://0x7f000001:3910/",
            "http://0177.0.0.1:3910/",
            "http://2130706433:3910/",
            "http://00127.0.0.1/",
            "http://127.0.0.1.:3910/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]:3910/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest",
            "http://1.1.1.1/",
            "http://0/",
        ] {
            let error = target(text).expect_err(text);
            assert!(matches!(error.code(), "denied" | "invalid_request"), "{text}");
        }
    }

    #[test]
    fn what_parsers_read_in_two_ways_is_refused() {
        for text in [
            "",
            "user",
            "//evil.test/x",
            "///evil.test/x",
            "/\\evil.test",
            "\\\\evil.test",
            "https:/evil.test",
            "https:evil.test",
            "https:///evil.test/",
            "https:\\\\evil.test",
            "https://",
            "https:///",
            "https://:443/",
            "https://api.allowed.test@evil.test/",
            "https://api.allowed.test:x@evil.test/",
            "https://@evil.test/",
            "https://evil.test\\@api.allowed.test/",
            "https://evil.test#@api.allowed.test/",
            "https://api.allowed.test#.evil.test/",
            "https://api.allowed.test\t.evil.test/",
            "https://api.allowed.test\n/",
            "https://api.allowed.test /",
            " https://api.allowed.test/",
            "https://api.allowed.test\0/",
            "https://api.allowed.test\x7f/",
            "https://api.allowed.test./",
            "https://api.allowed.test.:443/",
            "https://api%2eallowed.test/",
            "https://api.allowed.test%00.evil.test/",
            "https://%61pi.allowed.test/",
            "https://api。allowed.test/",
            "https://ⓐpi.allowed.test/",
            "https://api.allowed.test:/",
            "https://api.allowed.test:0443/",
            "https://api.allowed.test:0/",
            "https://api.allowed.test:99999/",
            "https://api.allowed.test:443:80/",
            "https://[api.allowed.test]/",
            "ftp://api.allowed.test/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:,x",
            "ws://api.allowed.test/",
            "unix:/run/x",
            "/../admin",
            "/a/../../admin",
            "/a/%2e%2e/admin",
            "/a/.%2E/admin",
            "/./a",
            "https://api.allowed.test/a/../b",
            "/x#y",
        ] {
            assert!(target(text).is_err(), "{text:?} gave {}", target(text).unwrap());
        }
    }

    #[test]
    fn refusals_hold_no_query() {
        let error = target("https://evil.test\\?key=canary").unwrap_err();
        assert!(!error.to_string().contains("canary"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whatever is glued around a host: what comes out names exactly the host that stands in the text.
        #[test]
        fn the_parsed_host_is_the_written_one(
            before in "[a-z0-9@:/\\\\.%#? \t-]{0,6}", after in "[a-z0-9@:/\\\\.%#?;&\u{3002}\t\n-]{0,12}",
        ) {
            let text = format!("https://{before}api.allowed.test{after}");
            if let Ok(url) = target(&text) {
                let rest = &text["https://".len()..];
                let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
                let host = authority.split(':').next().unwrap_or_default();
                prop_assert_eq!(url.host_str(), Some(host));
                prop_assert_eq!(url.username(), "");
                let uri: http::Uri = url.as_str().parse().unwrap();
                prop_assert_eq!(uri.host(), url.host_str());
            }
        }

        #[test]
        fn a_path_never_leaves_the_base(path in "[ -~\t\u{fc}]{0,24}") {
            if let Ok(url) = target(&format!("/{path}")) {
                prop_assert_eq!(url.origin(), base().origin());
                prop_assert!(url.path().starts_with("/v1/"), "{}", url);
            }
        }
    }
}
