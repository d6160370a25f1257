//! URLs made from templates: who may decide where a request goes.
//!
//! A value of an account reaches a URL's authority in two ways only: as one whole DNS label before a declared suffix,
//! or as a whole base URL that the owner confirmed. [`shape`] says so about a template, at install; [`url`] holds the
//! rendered text against the same rule, with the account's values, every time.

use std::collections::BTreeMap;

use url::{Origin, Url};

use super::{RenderError, checked_inputs, is_host_label, render_public};
use crate::types::{self, App, AuthKind, AuthMethod, Call, Encoding, Input, InputKind, Part};

/// Who decides the host of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authority<'t> {
    /// The declaration: scheme, host and port.
    Fixed(&'t str),
    /// One label of the account before a declared suffix.
    Label { input: &'t str, suffix: &'t str },
    /// The owner, at connect.
    Pinned { input: &'t str },
}

/// What is wrong with a URL template, and with which part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub part: Option<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    fn new(part: usize, message: impl Into<String>, help: Option<&str>) -> Self {
        Self { part: Some(part), message: message.into(), help: help.map(str::to_owned) }
    }
}

/// Reads who decides the host. Every name must be declared in `inputs`.
pub(crate) fn shape<'t>(template: &'t [Part], inputs: &[Input]) -> Result<Authority<'t>, Fault> {
    let kind = |name: &str| inputs.iter().find(|input| input.name == name).map(|input| input.kind);
    for (index, part) in template.iter().enumerate() {
        if let Part::Token(token) = part {
            let message = format!("`{{{}}}` is a secret, and a URL is no place for one", token.name);
            return Err(Fault::new(index, message, Some("name a secret only in a method's rules")));
        }
    }
    let (authority, rest) = match template {
        [] => return Err(Fault { part: None, message: "the URL is empty".into(), help: None }),
        [Part::Text(first), rest @ ..] => match (scheme(first), rest) {
            (None, _) => {
                let help = "write https://…, or http:// for a loopback address";
                return Err(Fault::new(0, "the URL does not begin with https://", Some(help)));
            }
            (Some((scheme, "")), [Part::Input(label), tail @ ..]) => {
                if scheme != "https://"
                    || !label.encodings.is_empty()
                    || kind(&label.name) != Some(InputKind::HostLabel)
                {
                    let message = format!("`{{{}}}` may not become part of a host", label.name);
                    let help =
                        "only an input of kind `host-label`, as a whole label, without encodings, after https://";
                    return Err(Fault::new(1, message, Some(help)));
                }
                let Some(Part::Text(suffix)) = tail.first() else {
                    let message = format!("`{{{}}}` would decide the whole host", label.name);
                    return Err(Fault::new(1, message, Some("let a fixed domain follow it: `{shop}.example.com`")));
                };
                let suffix = &suffix[..end_of_authority(suffix, tail.len() > 1, 3)?];
                check_suffix(suffix).map_err(|message| Fault::new(2, message, None))?;
                (Authority::Label { input: &label.name, suffix }, &template[2..])
            }
            (Some((scheme, host)), _) => {
                let host = &host[..end_of_authority(host, !rest.is_empty(), 1)?];
                let authority = &first[..scheme.len() + host.len()];
                check_authority(authority).map_err(|message| Fault::new(0, message, None))?;
                (Authority::Fixed(authority), rest)
            }
        },
        [Part::Input(base), rest @ ..] => {
            if kind(&base.name) != Some(InputKind::BaseUrl) || !base.encodings.is_empty() {
                let message = format!("`{{{}}}` may not begin a URL", base.name);
                let help = "only an input of kind `base-url`, without encodings, may";
                return Err(Fault::new(0, message, Some(help)));
            }
            match rest.first() {
                None => {}
                Some(Part::Text(path)) if path.starts_with('/') => {}
                Some(_) => {
                    let message = format!("what follows `{{{}}}` would become part of its host", base.name);
                    return Err(Fault::new(1, message, Some("let a `/` follow it")));
                }
            }
            (Authority::Pinned { input: &base.name }, rest)
        }
        [Part::Token(_) | Part::Host(_), ..] => {
            return Err(Fault { part: Some(0), message: "a secret in a URL".into(), help: None });
        }
    };
    let first = template.len() - rest.len();
    for (index, part) in rest.iter().enumerate() {
        if let Part::Input(input) = part
            && kind(&input.name) != Some(InputKind::HostLabel)
            && input.encodings.last() != Some(&Encoding::Percent)
        {
            let message = format!("`{{{}}}` could leave its place in the URL", input.name);
            let help = format!("write `{{{}|percent}}`", input.name);
            return Err(Fault::new(first + index, message, Some(&help)));
        }
    }
    Ok(authority)
}

fn scheme(text: &str) -> Option<(&'static str, &str)> {
    ["https://", "http://"].into_iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)))
}

/// Where the authority ends in `text`; a fault when it does not before the next part begins.
fn end_of_authority(text: &str, more: bool, next: usize) -> Result<usize, Fault> {
    match text.find(['/', '?', '#', '\\']) {
        Some(end) => Ok(end),
        None if !more => Ok(text.len()),
        None => {
            let help = "only one whole label may: `https://{shop}.example.com`, with an input of kind `host-label`";
            Err(Fault::new(next, "a placeholder would become part of the host", Some(help)))
        }
    }
}

/// `https://host` or `https://host:port`, in the one form that URL parsers give it; plain http on loopback only.
pub(crate) fn check_authority(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("`{text}` is no origin: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        return Err("a URL may not hold a user name or password".into());
    }
    let form = url.origin().ascii_serialization();
    if form != text {
        return Err(format!("`{text}` is written `{form}`"));
    }
    match (url.scheme(), url.host()) {
        ("https", Some(url::Host::Domain(host))) if host.ends_with('.') || !host.split('.').all(is_dns_label) => {
            Err(format!("`{host}` is no host name"))
        }
        ("https", Some(_)) => Ok(()),
        ("http", Some(url::Host::Ipv4(address))) if address.is_loopback() => Ok(()),
        ("http", Some(url::Host::Ipv6(address))) if address.is_loopback() => Ok(()),
        ("http", Some(url::Host::Domain("localhost"))) => Ok(()),
        _ => Err("only https:// goes out, or http:// to a loopback address".into()),
    }
}

/// Real host names also hold underscores here and there.
fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
}

/// A suffix that belongs to one vendor: at least two labels, and nothing under which strangers register domains.
/// Suffixes of the private section of the public suffix list (`myshopify.com`) belong to one vendor and are fine.
pub(crate) fn check_suffix(suffix: &str) -> Result<(), String> {
    let Some(domain) = suffix.strip_prefix('.') else {
        return Err(format!("`{suffix}` must begin with a dot, so that the input stays one whole label"));
    };
    if !domain.split('.').all(is_host_label) {
        return Err(format!("`{suffix}` is no domain suffix: lower-case labels with dots between"));
    }
    if domain.split('.').count() < 2 {
        return Err(format!("`{suffix}` is open to everybody: name a domain of the vendor, such as `.example.com`"));
    }
    if !matches!(url::Host::parse(&format!("a{suffix}")), Ok(url::Host::Domain(_))) {
        return Err(format!("`{suffix}` is part of an address"));
    }
    let public = psl::suffix(domain.as_bytes());
    if public.is_some_and(|public| public.typ() == Some(psl::Type::Icann) && public.as_bytes() == domain.as_bytes()) {
        return Err(format!("`{suffix}` is a public suffix: everybody can register a name under it"));
    }
    Ok(())
}

/// The URL of a template for one account: rendered, parsed, and held against the template again.
/// `place` names the template in errors.
pub fn url(app: &App, template: &[Part], inputs: &BTreeMap<String, String>, place: &str) -> Result<Url, RenderError> {
    let fail = |reason: String| RenderError::Url { place: place.to_owned(), reason };
    let inputs = checked_inputs(app, inputs)?;
    let authority = shape(template, &app.inputs).map_err(|fault| fail(fault.message))?;
    let text = render_public(template, &inputs)?;
    let url = Url::parse(&text).map_err(|error| fail(error.to_string()))?;
    if url.origin() != authority.origin(&inputs)? {
        return Err(fail(format!("it leads to {}", url.origin().ascii_serialization())));
    }
    if url.fragment().is_some() {
        return Err(fail("it holds a fragment".into()));
    }
    // A parser that had to change the text read `..`, a backslash or a stray byte: then the text means something else
    // than it says.
    let path_only = url.path() == "/" && url.query().is_none();
    if url.as_str() != text && !(path_only && url.as_str().strip_suffix('/') == Some(&text)) {
        return Err(fail(format!("it would be read as {url}")));
    }
    Ok(url)
}

impl Authority<'_> {
    fn origin(&self, inputs: &BTreeMap<String, String>) -> Result<Origin, RenderError> {
        let value =
            |name: &str| inputs.get(name).ok_or_else(|| RenderError::Missing { kind: "input", name: name.to_owned() });
        let (text, place) = match self {
            Self::Fixed(text) => ((*text).to_owned(), (*text).to_owned()),
            Self::Label { input, suffix } => {
                let label = value(input)?;
                if !is_host_label(label) {
                    let reason = "it must be one part of a host name".to_owned();
                    return Err(RenderError::Input { name: (*input).to_owned(), reason });
                }
                let text = format!("https://{label}{suffix}");
                check_authority(&text).map_err(|reason| RenderError::Url { place: text.clone(), reason })?;
                (text, format!("https://{{{input}}}{suffix}"))
            }
            Self::Pinned { input } => (value(input)?.clone(), format!("{{{input}}}")),
        };
        match Url::parse(&text).map(|url| url.origin()) {
            Ok(origin @ Origin::Tuple(..)) => Ok(origin),
            Ok(Origin::Opaque(_)) => Err(RenderError::Url { place, reason: "it has no host".into() }),
            Err(error) => Err(RenderError::Url { place, reason: error.to_string() }),
        }
    }
}

/// Where this account's credentials may go. Pinned in the sealed record at connect.
pub fn origins(app: &App, inputs: &BTreeMap<String, String>) -> Result<Vec<Origin>, RenderError> {
    let inputs = checked_inputs(app, inputs)?;
    let mut origins = Vec::with_capacity(app.reach.origins.len());
    for origin in &app.reach.origins {
        let origin = match origin {
            types::Origin::Exact(text) => Authority::Fixed(text),
            types::Origin::Label(label) => Authority::Label { input: &label.input, suffix: &label.suffix },
            types::Origin::Pinned(input) => Authority::Pinned { input },
            types::Origin::Choice(_) => continue,
        }
        .origin(&inputs)?;
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

/// Where a relative path of this account goes. It lies within [`origins`]; the path has no trailing slash, unless it
/// is the root.
pub fn base(app: &App, inputs: &BTreeMap<String, String>) -> Result<Url, RenderError> {
    let base = url(app, &app.base, inputs, "base")?;
    if !origins(app, inputs)?.contains(&base.origin()) {
        return Err(RenderError::Url { place: "base".into(), reason: "it lies outside the app's reach".into() });
    }
    Ok(base)
}

/// The token, refresh and revoke URLs of a method, and those of its calls: no caller may reach them. What is not known
/// of an account, such as an input that was asked for once, leaves out the call that needs it.
pub fn token_endpoints(
    app: &App,
    method: &AuthMethod,
    inputs: &BTreeMap<String, String>,
) -> Result<Vec<Url>, RenderError> {
    let mut endpoints = Vec::new();
    let mut calls: Vec<&Call> = method.revoke.iter().collect();
    match &method.kind {
        AuthKind::Keys => {}
        AuthKind::OAuth2Code(oauth2) => {
            let declared = [
                ("token-url", Some(&oauth2.token_url)),
                ("refresh-url", oauth2.refresh_url.as_ref()),
                ("revoke-url", oauth2.revoke_url.as_ref()),
            ];
            for (place, template) in declared {
                if let Some(template) = template {
                    endpoints.push(url(app, template, inputs, place)?);
                }
            }
            calls.extend(oauth2.then.iter().chain(&oauth2.refresh));
        }
        AuthKind::Exchange(exchange) => calls.extend(exchange.calls.iter().chain(&exchange.refresh)),
    }
    for call in calls {
        match url(app, &call.url, inputs, "a call's url") {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(RenderError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let mut seen = Vec::with_capacity(endpoints.len());
    endpoints.retain(|endpoint| {
        let new = !seen.contains(endpoint);
        if new {
            seen.push(endpoint.clone());
        }
        new
    });
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::tests::app;

    fn inputs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn shop() -> App {
        app("base = \"https://{shop}.myshopify.com/admin\"\ninputs.shop = { kind = \"host-label\" }")
    }

    fn own() -> App {
        app("base = \"{url}\"\ninputs.url = { kind = \"base-url\" }")
    }

    #[test]
    fn the_base_follows_the_account() {
        assert_eq!(base(&shop(), &inputs(&[("shop", "Acme")])).unwrap().as_str(), "https://acme.myshopify.com/admin");
        assert_eq!(
            base(&own(), &inputs(&[("url", "https://a.example/v1/")])).unwrap().as_str(),
            "https://a.example/v1"
        );
        assert_eq!(base(&shop(), &inputs(&[])).unwrap_err().to_string(), "the account has no input `shop`");
    }

    #[test]
    fn a_stored_value_is_checked_again() {
        for value in ["evil.com/", "evil.com#", "a@b", "a.b", ""] {
            let error = base(&shop(), &inputs(&[("shop", value)])).unwrap_err();
            assert_eq!(error.code(), "input_invalid", "{value}");
        }
        for value in ["https://u@a.example", "https://a.example?b", "file:///etc"] {
            let error = base(&own(), &inputs(&[("url", value)])).unwrap_err();
            assert_eq!(error.code(), "input_invalid", "{value}");
        }
    }

    #[test]
    fn a_value_cannot_climb_out_of_its_segment() {
        let app = app("base = \"https://api.example.com/sites/{site|percent}\"\ninputs.site = {}");
        assert_eq!(
            base(&app, &inputs(&[("site", "a/b?c#d")])).unwrap().as_str(),
            "https://api.example.com/sites/a%2Fb%3Fc%23d"
        );
        let error = base(&app, &inputs(&[("site", "..")])).unwrap_err();
        assert_eq!(error.code(), "template_url_invalid", "{error}");
    }

    #[test]
    fn suffixes_belong_to_one_vendor() {
        for suffix in [".myshopify.com", ".atlassian.net", ".api.example.co.uk", ".github.io"] {
            assert_eq!(check_suffix(suffix), Ok(()), "{suffix}");
        }
        for suffix in [".com", ".co.uk", ".uk", "example.com", ".Example.com", ".", "", "..com", ".a_b.com", ".0.0.1"] {
            assert!(check_suffix(suffix).is_err(), "{suffix}");
        }
    }

    #[test]
    fn authorities_have_one_form() {
        for text in ["https://a.example", "https://a.example:8443", "http://127.0.0.1:80801", "http://localhost:1"] {
            assert_eq!(check_authority(text).is_ok(), !text.ends_with("80801"), "{text}");
        }
        for text in [
            "https://A.example",
            "https://a.example:443",
            "http://a.example",
            "http://10.0.0.1",
            "http://localhost.example",
            "https://u@a.example",
            "https://*.a.example",
            "https://a..example",
            "https://a.example.",
            "https://ä.example",
            "https://0x7f.1",
        ] {
            assert!(check_authority(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_value_moves_the_host_off_its_suffix(value in "\\PC{0,30}|[a-zA-Z0-9.:/@?#%\\\\-]{0,30}") {
            if let Ok(url) = base(&shop(), &inputs(&[("shop", &value)])) {
                let host = url.host_str().unwrap();
                let label = host.strip_suffix(".myshopify.com").unwrap();
                prop_assert!(is_host_label(label));
                prop_assert_eq!(url.path(), "/admin");
                prop_assert_eq!(origins(&shop(), &inputs(&[("shop", &value)])).unwrap(), vec![url.origin()]);
            }
        }

        #[test]
        fn no_value_leaves_its_path_segment(value in "\\PC{0,30}|[a-zA-Z0-9.:/@?#%\\\\-]{0,30}") {
            let app = app("base = \"https://api.example.com/a/{site|percent}/b\"\ninputs.site = {}");
            if let Ok(url) = base(&app, &inputs(&[("site", &value)])) {
                prop_assert_eq!(url.host_str(), Some("api.example.com"));
                prop_assert_eq!(url.path().split('/').count(), 4);
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
        }
    }
}
