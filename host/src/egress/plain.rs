//! Where requests without an account may go: to the hosts that the operator lists, and nowhere else.
//!
//! | entry | means |
//! |---|---|
//! | `api.example.com`, `127.0.0.1`, `[::1]` | exactly this host |
//! | `*.example.org` | any name below it, not itself |
//! | `*` | any name whose addresses are all public, also where `[egress] allow` lists private ones |
//!
//! Behind any of them a port; without one the scheme's own. An address is reached only where an entry spells it out.
//! https only, but for addresses in `[egress] allow`. **An empty list allows nothing.**

use std::fmt;

use http::Method;
use url::{Host, Origin, Url};

use super::{EgressError, target};

/// One entry of `[egress] plain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainHost {
    name: Name,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Public,
    Exact(Host<String>),
    /// With the dot before it: `.example.org`.
    Below(String),
}

/// Whose addresses a request may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addresses {
    /// Public ones, and those in `[egress] allow`.
    Allowed,
    /// Public ones alone: the operator named no host, so whoever owns a name chooses its addresses.
    Public,
}

impl PlainHost {
    /// None: it is no such entry.
    pub fn parse(text: &str) -> Option<Self> {
        let from = text.rfind(']').unwrap_or(0);
        let (name, port) = match text[from..].find(':') {
            Some(at) => (&text[..from + at], Some(text[from + at + 1..].parse().ok().filter(|port| *port > 0)?)),
            None => (text, None),
        };
        let domain = |text: &str| match Host::parse(text) {
            Ok(Host::Domain(name)) if !text.contains(['*', '%']) && !name.ends_with('.') => Some(name),
            _ => None,
        };
        let name = match name.strip_prefix('*') {
            Some("") => Name::Public,
            Some(rest) => Name::Below(format!(".{}", domain(rest.strip_prefix('.')?)?)),
            None => match Host::parse(name).ok()? {
                Host::Domain(_) => Name::Exact(Host::Domain(domain(name)?)),
                // In the one spelling that requests may use.
                address if address.to_string() == name => Name::Exact(address),
                _ => return None,
            },
        };
        Some(Self { name, port })
    }

    fn allows(&self, url: &Url) -> Option<Addresses> {
        let port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        let host = url.host()?;
        match &self.name {
            _ if !port => None,
            Name::Exact(exact) => (host == *exact).then_some(Addresses::Allowed),
            Name::Below(suffix) => match host {
                Host::Domain(name) if name.len() > suffix.len() && name.ends_with(suffix) => Some(Addresses::Allowed),
                _ => None,
            },
            Name::Public => matches!(host, Host::Domain(_)).then_some(Addresses::Public),
        }
    }
}

impl fmt::Display for PlainHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Public => f.write_str("*")?,
            Name::Exact(host) => write!(f, "{host}")?,
            Name::Below(suffix) => write!(f, "*{suffix}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The URL to send, and which addresses it may be connected to.
pub(super) fn check(hosts: &[PlainHost], method: &Method, text: &str) -> Result<(Url, Addresses), EgressError> {
    let target::Written::Absolute(text) = target::check(text)? else {
        return Err(EgressError::invalid(
            "a path alone needs an account, and this request names none",
            "write https://host/path, or send it through an account",
        ));
    };
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(EgressError::denied(
            "method",
            format!("{method} is never sent for a guest"),
            "use GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS",
        ));
    }
    let url = match target::resolve_absolute(text, &addresses(hosts)) {
        Ok(url) => url,
        Err(EgressError::Denied { rule: "ip-literal", .. }) => return Err(refusal(hosts, text)),
        Err(other) => return Err(other),
    };
    // The entry that trusts the host more decides.
    let allowed: Vec<Addresses> = hosts.iter().filter_map(|host| host.allows(&url)).collect();
    match allowed.iter().find(|addresses| **addresses == Addresses::Allowed).or(allowed.first()) {
        Some(addresses) => Ok((url, *addresses)),
        None => Err(refusal(hosts, text)),
    }
}

/// The addresses that entries spell out, as origins.
fn addresses(hosts: &[PlainHost]) -> Vec<Origin> {
    let address = |host: &PlainHost| match &host.name {
        Name::Exact(address @ (Host::Ipv4(_) | Host::Ipv6(_))) => Some((address.clone(), host.port)),
        _ => None,
    };
    let origins = |(address, port): (Host<String>, Option<u16>)| {
        [("https", 443), ("http", 80)]
            .map(|(scheme, own)| Origin::Tuple(scheme.to_owned(), address.clone(), port.unwrap_or(own)))
    };
    hosts.iter().filter_map(address).flat_map(origins).collect()
}

/// Why a request without an account does not go to the host of `text`, and who may change that.
pub fn refusal(hosts: &[PlainHost], text: &str) -> EgressError {
    let url = Url::parse(text).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or("that host");
    let entry = match url.as_ref().and_then(Url::port) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let allowed = if hosts.is_empty() {
        "the operator allows no host to requests without an account".to_owned()
    } else {
        let listed: Vec<String> = hosts.iter().take(20).map(PlainHost::to_string).collect();
        format!("requests without an account may go to {}", listed.join(", "))
    };
    EgressError::denied(
        "plain-host",
        format!("nothing may be sent to {entry} without an account: {allowed}"),
        format!("send it through an account, or let the operator add \"{entry}\" to `[egress] plain` in deputy.toml"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[&str]) -> Vec<PlainHost> {
        entries.iter().map(|entry| PlainHost::parse(entry).expect(entry)).collect()
    }

    /// None: refused by the list.
    fn allowed(entries: &[&str], url: &str) -> Option<Addresses> {
        match check(&hosts(entries), &Method::GET, url) {
            Ok((_, addresses)) => Some(addresses),
            Err(EgressError::Denied { rule: "plain-host", fix, .. }) => {
                assert!(fix.unwrap().contains("[egress] plain"));
                None
            }
            Err(other) => panic!("{url}: {other}"),
        }
    }

    #[test]
    fn entries_read_and_written() {
        for entry in ["api.example.com", "*.example.org", "*", "*:8443", "127.0.0.1:8080", "[::1]:80", "[2001::1]"] {
            assert_eq!(PlainHost::parse(entry).expect(entry).to_string(), entry);
        }
        assert_eq!(PlainHost::parse("Bücher.example").unwrap().to_string(), "xn--bcher-kva.example");
        for wrong in [
            "",
            ":80",
            "a:0",
            "a:x",
            "a:70000",
            "**",
            "*.",
            "*a.example",
            "a.*.example",
            "*.*.example",
            "https://a",
            "a/b",
            "a b",
            "a.",
            "*.a.",
            "127.1",
            "0x7f.0.0.1",
            "::1",
            "*.127.0.0.1",
            "user@a",
            "a%2eb",
        ] {
            assert_eq!(PlainHost::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_entry_allows_its_host_and_no_other() {
        let list = ["api.example.com", "*.example.org", "other.example:8443", "127.0.0.1:8080"];
        for url in [
            "https://api.example.com/x?y=1",
            "https://API.example.com:443/",
            "https://a.example.org/",
            "https://a.b.example.org/",
            "https://other.example:8443/",
            "http://127.0.0.1:8080/",
        ] {
            assert_eq!(allowed(&list, url), Some(Addresses::Allowed), "{url}");
        }
        for url in [
            "https://example.com/",
            "https://x.api.example.com/",
            "https://api.example.com.evil.test/",
            "https://evil.test/api.example.com",
            "https://api.example.com:8443/",
            "https://example.org/",
            "https://badexample.org/",
            "https://other.example/",
            "http://127.0.0.1/",
            "http://127.0.0.1:8081/",
            "http://[::1]:8080/",
            "http://127.1:8080/",
            "http://2130706433:8080/",
            "http://169.254.169.254/latest",
        ] {
            assert_eq!(allowed(&list, url), None, "{url}");
        }
        assert_eq!(allowed(&[], "https://api.example.com/"), None);
    }

    #[test]
    fn a_star_means_public_names_at_the_schemes_own_port() {
        assert_eq!(allowed(&["*"], "https://anything.test/"), Some(Addresses::Public));
        assert_eq!(allowed(&["*", "anything.test"], "https://anything.test/"), Some(Addresses::Allowed));
        for url in ["https://anything.test:8443/", "https://1.1.1.1/", "https://[2606:4700::1111]/"] {
            assert_eq!(allowed(&["*"], url), None, "{url}");
        }
    }

    #[test]
    fn what_is_no_request_for_a_host_is_refused_as_such() {
        let list = hosts(&["*"]);
        for url in
            ["/path", "//a.test/", "https://a.test@b.test/", "https://a.test#b", "ftp://a.test/", "https://a.test\\b"]
        {
            let error = check(&list, &Method::GET, url).unwrap_err();
            assert_eq!(error.code(), "invalid_request", "{url}: {error}");
        }
        let error = check(&list, &Method::TRACE, "https://a.test/").unwrap_err();
        assert!(matches!(error, EgressError::Denied { rule: "method", .. }), "{error}");
        let error = check(&[], &Method::GET, "https://a.test:1/?canary").unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        assert!(error.fix().unwrap().contains("\"a.test:1\""), "{error:?}");
    }
}
