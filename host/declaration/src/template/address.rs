//! URLs made from templates: who may decide where a request goes.
//!
//! A value of an account reaches a URL's authority in three ways only: as a DNS label (or a part of one) before a
//! declared suffix, as one of the choices that the declaration lists, or as a whole base URL that the owner confirmed
//! or whose host the declaration bounds. [`shape`] says so about a template, at install, for every choice there is;
//! [`url`] holds the rendered text against the same rule, with the account's values, every time.

use std::collections::BTreeMap;

use url::{Origin, Url};

use super::{RenderError, checked_inputs, is_host_label, render_public};
use crate::types::{self, App, AuthKind, AuthMethod, Call, Encoding, Input, InputKind, LabelOrigin, Part};

/// More hosts than this come from no list that a person wrote.
const MOST_CHOICES: usize = 512;

/// Who decides the host of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authority<'t> {
    /// The declaration: scheme, host and port.
    Fixed(&'t str),
    /// A label of the account, or the middle of one, before a declared suffix.
    Label { prefix: &'t str, input: &'t str, suffix: &'t str },
    /// The declaration lists the choices; labels of the account may stand among them.
    Choice(Vec<Part>),
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
    for (index, part) in template.iter().enumerate() {
        if let Part::Token(secret) | Part::Host(secret) = part {
            let message = format!("`{{{}}}` is a secret, and a URL is no place for one", secret.name);
            return Err(Fault::new(index, message, Some("name a secret only in a method's rules")));
        }
    }
    let end = host_end(template);
    let authority = match template {
        [] => return Err(Fault { part: None, message: "the URL is empty".into(), help: None }),
        [Part::Input(base), rest @ ..] => {
            pinned(base, rest, inputs)?;
            Authority::Pinned { input: &base.name }
        }
        [Part::Text(first), ..] => match scheme(first) {
            None => {
                let help = "write https://…, or http:// for a loopback address";
                return Err(Fault::new(0, "the URL does not begin with https://", Some(help)));
            }
            Some((scheme, _)) => host(template, end, scheme, inputs)?,
        },
        [Part::Token(_) | Part::Host(_), ..] => {
            return Err(Fault { part: Some(0), message: "a secret in a URL".into(), help: None });
        }
    };
    for (index, part) in template.iter().enumerate().skip(end.part.max(1)) {
        if let Part::Input(input) = part
            && input.encodings.last() != Some(&Encoding::Percent)
            && !stays_in_place(inputs, &input.name)
        {
            let message = format!("`{{{}}}` could leave its place in the URL", input.name);
            let help = format!("write `{{{}|percent}}`", input.name);
            return Err(Fault::new(index, message, Some(&help)));
        }
    }
    Ok(authority)
}

/// The origin that a template names; none where it names more than an origin, or an unsound one.
pub(crate) fn declared_origin(template: &[Part], inputs: &[Input]) -> Option<types::Origin> {
    let authority = shape(template, inputs).ok()?;
    let whole = match authority {
        Authority::Pinned { .. } => template.len() == 1,
        _ => host_end(template).part == template.len(),
    };
    whole.then(|| authority.declared())
}

/// The path that a template gives every account, `/` included; none where inputs have a part in it.
pub(crate) fn fixed_path(template: &[Part]) -> Option<String> {
    let end = host_end(template);
    let mut path = String::new();
    for (index, part) in template.iter().enumerate().skip(end.part) {
        let Part::Text(text) = part else { return None };
        path.push_str(if index == end.part { &text[end.offset..] } else { text });
    }
    Some(path)
}

/// Where the authority of a template ends: the part, and the place in its text.
#[derive(Debug, Clone, Copy)]
struct HostEnd {
    part: usize,
    offset: usize,
}

fn host_end(template: &[Part]) -> HostEnd {
    for (part, one) in template.iter().enumerate() {
        let Part::Text(text) = one else { continue };
        let from = if part == 0 { scheme(text).map_or(0, |(scheme, _)| scheme.len()) } else { 0 };
        if let Some(at) = text[from..].find(['/', '?', '#', '\\']) {
            return HostEnd { part, offset: from + at };
        }
    }
    HostEnd { part: template.len(), offset: 0 }
}

fn declared_input<'i>(inputs: &'i [Input], name: &str) -> Option<&'i Input> {
    inputs.iter().find(|input| input.name == name)
}

/// No value of the input can end a path segment or a query field that it was not meant to end.
fn stays_in_place(inputs: &[Input], name: &str) -> bool {
    declared_input(inputs, name).is_some_and(|input| {
        input.kind == InputKind::HostLabel
            || (!input.choices.is_empty() && input.choices.iter().all(|one| is_plain(one)))
    })
}

/// Unreserved characters (RFC 3986 section 2.3), in segments that no parser resolves.
fn is_plain(choice: &str) -> bool {
    choice.split('/').all(|segment| {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !matches!(segment, "" | "." | "..") && segment.bytes().all(unreserved)
    })
}

fn pinned(base: &types::Placeholder, rest: &[Part], inputs: &[Input]) -> Result<(), Fault> {
    let kind = declared_input(inputs, &base.name).map(|input| input.kind);
    if kind != Some(InputKind::BaseUrl) || !base.encodings.is_empty() {
        let message = format!("`{{{}}}` may not begin a URL", base.name);
        return Err(Fault::new(0, message, Some("only an input of kind `base-url`, without encodings, may")));
    }
    match rest.first() {
        None => Ok(()),
        Some(Part::Text(path)) if path.starts_with('/') => Ok(()),
        Some(_) => {
            let message = format!("what follows `{{{}}}` would become part of its host", base.name);
            Err(Fault::new(1, message, Some("let a `/` follow it")))
        }
    }
}

/// The authority of a template that begins with a scheme.
fn host<'t>(template: &'t [Part], end: HostEnd, scheme: &str, inputs: &[Input]) -> Result<Authority<'t>, Fault> {
    let text = |index: usize| match template.get(index) {
        Some(Part::Text(text)) if index == end.part => &text[..end.offset],
        Some(Part::Text(text)) => text,
        _ => "",
    };
    let labelled = |name: &str| declared_input(inputs, name).is_some_and(|input| input.kind == InputKind::HostLabel);
    let chosen = |name: &str| {
        declared_input(inputs, name).is_some_and(|input| input.kind == InputKind::Text && !input.choices.is_empty())
    };
    let mut last_label = None;
    for (index, part) in template.iter().enumerate().take(end.part) {
        let Part::Input(input) = part else { continue };
        let fits = labelled(&input.name) || chosen(&input.name);
        if scheme != "https://" || !input.encodings.is_empty() || !fits {
            let message = format!("`{{{}}}` may not become part of a host", input.name);
            let help = "only an input of kind `host-label`, or one with choices, without encodings, after https://";
            return Err(Fault::new(index, message, Some(help)));
        }
        if labelled(&input.name) {
            last_label = Some((index, &input.name));
        }
    }
    if end.part == 0 || template.len() == 1 {
        let authority = text(0);
        check_authority(authority).map_err(|message| Fault::new(0, message, None))?;
        return Ok(Authority::Fixed(authority));
    }
    let parts: Vec<Part> = (0..template.len().min(end.part + 1))
        .filter_map(|index| match &template[index] {
            Part::Text(_) => Some(text(index)).filter(|text| !text.is_empty()).map(|text| Part::Text(text.to_owned())),
            other => (index < end.part).then(|| other.clone()),
        })
        .collect();
    if let Some((index, name)) = last_label
        && matches!(parts.last(), Some(Part::Input(last)) if last.name == *name)
    {
        let message = format!("`{{{name}}}` would decide the whole host");
        return Err(Fault::new(index, message, Some("let a fixed domain follow it: `{shop}.example.com`")));
    }
    if let ([Part::Text(_), Part::Input(_), Part::Text(_)], Some((1, name))) = (&parts[..], last_label) {
        let (prefix, suffix) = (&text(0)[scheme.len()..], text(2));
        check_label(prefix, suffix).map_err(|message| Fault::new(2, message, None))?;
        return Ok(Authority::Label { prefix, input: name, suffix });
    }
    check_choices(&parts, inputs).map_err(|message| Fault::new(last_label.map_or(1, |(at, _)| at), message, None))?;
    Ok(Authority::Choice(parts))
}

/// Every host that a list of choices can give is sound. Labels of the account stay open: a vendor's suffix follows.
fn check_choices(parts: &[Part], inputs: &[Input]) -> Result<(), String> {
    // Texts so far, and what follows the last label of the account, if there is one.
    let mut hosts = vec![(String::new(), None::<String>)];
    let mut picked: Vec<(&str, usize)> = Vec::new();
    let mut picks: Vec<Vec<usize>> = vec![Vec::new()];
    for part in parts {
        let Part::Input(input) = part else {
            let Part::Text(text) = part else { return Err("a secret in a host".into()) };
            for (host, tail) in &mut hosts {
                host.push_str(text);
                if let Some(tail) = tail {
                    tail.push_str(text);
                }
            }
            continue;
        };
        let declared = declared_input(inputs, &input.name).ok_or_else(|| format!("`{}` is no input", input.name))?;
        if declared.kind == InputKind::HostLabel {
            for (host, tail) in &mut hosts {
                host.push('x');
                *tail = Some(String::new());
            }
            continue;
        }
        let again = picked.iter().position(|(name, _)| *name == input.name);
        if again.is_none() {
            picked.push((&input.name, declared.choices.len()));
        }
        let mut next = Vec::new();
        let mut next_picks = Vec::new();
        for ((host, tail), picks) in hosts.iter().zip(&picks) {
            for (index, choice) in declared.choices.iter().enumerate() {
                // An input that stands twice has one value.
                if again.is_some_and(|at| picks[at] != index) {
                    continue;
                }
                let tail = tail.as_ref().map(|tail| format!("{tail}{choice}"));
                next.push((format!("{host}{choice}"), tail));
                let mut picks = picks.clone();
                if again.is_none() {
                    picks.push(index);
                }
                next_picks.push(picks);
            }
        }
        if next.len() > MOST_CHOICES {
            return Err(format!("the choices give more than {MOST_CHOICES} hosts"));
        }
        (hosts, picks) = (next, next_picks);
    }
    hosts.iter().try_for_each(|(host, tail)| {
        check_chosen(host)?;
        tail.as_ref().map_or(Ok(()), |tail| check_tail(tail))
    })
}

/// `https://` and a host that somebody registered.
fn check_chosen(authority: &str) -> Result<(), String> {
    check_authority(authority)?;
    let url = Url::parse(authority).map_err(|error| error.to_string())?;
    match url.host() {
        Some(url::Host::Domain(host)) if url.scheme() == "https" && host.contains('.') => {
            if is_public_suffix(host) {
                Err(format!("`{host}` is a public suffix"))
            } else {
                Ok(())
            }
        }
        _ => Err(format!("`{authority}` is no https:// and the name of a host")),
    }
}

fn scheme(text: &str) -> Option<(&'static str, &str)> {
    ["https://", "http://"].into_iter().find_map(|scheme| Some((scheme, text.strip_prefix(scheme)?)))
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
    if is_public_suffix(domain) {
        return Err(format!("`{suffix}` is a public suffix: everybody can register a name under it"));
    }
    Ok(())
}

fn is_public_suffix(domain: &str) -> bool {
    let public = psl::suffix(domain.as_bytes());
    public.is_some_and(|public| public.typ() == Some(psl::Type::Icann) && public.as_bytes() == domain.as_bytes())
}

/// What stands around a label of the account: `api-` and `.example.com`. Behind it the label may go on with a hyphen.
pub(crate) fn check_label(prefix: &str, suffix: &str) -> Result<(), String> {
    check_tail(suffix)?;
    check_authority(&format!("https://{prefix}x{suffix}"))
        .map_err(|_| format!("`{prefix}` is no beginning of a host name: lower-case letters, digits, hyphens and dots"))
}

fn check_tail(suffix: &str) -> Result<(), String> {
    let end = suffix.find('.').unwrap_or(suffix.len());
    let goes_on = suffix.starts_with('-') && is_host_label(suffix[..end].trim_start_matches('-'));
    check_suffix(if goes_on { &suffix[end..] } else { suffix })
}

/// What an input's `hosts` may list: a vendor's suffix, dot first, or one whole host.
pub(crate) fn check_host_bound(bound: &str) -> Result<(), String> {
    if bound.starts_with('.') {
        return check_suffix(bound);
    }
    check_chosen(&format!("https://{bound}")).and_then(|()| {
        let named = bound.split('.').all(is_dns_label);
        if named { Ok(()) } else { Err(format!("`{bound}` is no host name; a port stands in no list of hosts")) }
    })
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
    /// The origin as a declaration writes it.
    pub(crate) fn declared(&self) -> types::Origin {
        match self {
            Self::Fixed(text) => types::Origin::Exact((*text).to_owned()),
            Self::Label { prefix, input, suffix } => types::Origin::Label(LabelOrigin {
                prefix: (*prefix).to_owned(),
                input: (*input).to_owned(),
                suffix: (*suffix).to_owned(),
            }),
            Self::Choice(parts) => types::Origin::Choice(parts.clone()),
            Self::Pinned { input } => types::Origin::Pinned((*input).to_owned()),
        }
    }

    fn origin(&self, inputs: &BTreeMap<String, String>) -> Result<Origin, RenderError> {
        let value =
            |name: &str| inputs.get(name).ok_or_else(|| RenderError::Missing { kind: "input", name: name.to_owned() });
        let (text, place) = match self {
            Self::Fixed(text) => ((*text).to_owned(), (*text).to_owned()),
            Self::Label { prefix, input, suffix } => {
                let label = value(input)?;
                if !is_host_label(label) {
                    let reason = "it must be one part of a host name".to_owned();
                    return Err(RenderError::Input { name: (*input).to_owned(), reason });
                }
                let text = format!("https://{prefix}{label}{suffix}");
                check_authority(&text).map_err(|reason| RenderError::Url { place: text.clone(), reason })?;
                (text, format!("https://{prefix}{{{input}}}{suffix}"))
            }
            Self::Choice(parts) => {
                let text = render_public(parts, inputs)?;
                check_chosen(&text).map_err(|reason| RenderError::Url { place: text.clone(), reason })?;
                (text.clone(), text)
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
            types::Origin::Label(label) => {
                Authority::Label { prefix: &label.prefix, input: &label.input, suffix: &label.suffix }
            }
            types::Origin::Pinned(input) => Authority::Pinned { input },
            types::Origin::Choice(parts) => shape(parts, &app.inputs)
                .map_err(|fault| RenderError::Url { place: "reach.origins".into(), reason: fault.message })?,
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

    /// Inputs as an author may declare them: a free label, choices for a host and for a path.
    fn many(base: &str) -> App {
        let mut app = app("base = \"https://api.example.com\"\ninputs.shop = { kind = \"host-label\" }\n\
             inputs.region = { choices = [\"us-east-1\", \"eu-west-1\"] }\n\
             inputs.site = { choices = [\"example.com\", \"example.co.uk\"] }\n\
             inputs.wide = { choices = [\"example.com\", \"co.uk\"] }\n\
             inputs.odd = { choices = [\"a/../b\", \"a?b\"] }\ninputs.free = {}");
        app.base = parts(base);
        app.reach.origins =
            shape(&app.base, &app.inputs).map(|authority| vec![authority.declared()]).unwrap_or_default();
        app
    }

    fn parts(text: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        for piece in text.split_inclusive('}') {
            let (text, name) = piece.split_once('{').unwrap_or((piece, ""));
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            if let Some(name) = name.strip_suffix('}') {
                parts.push(Part::Input(types::Placeholder { name: name.into(), encodings: Vec::new() }));
            }
        }
        parts
    }

    #[test]
    fn hosts_of_choices_and_labels_with_a_beginning() {
        let given = inputs(&[("shop", "acme"), ("region", "eu-west-1"), ("site", "example.co.uk")]);
        for (template, expected) in [
            ("https://sqs.{region}.example.com", "https://sqs.eu-west-1.example.com/"),
            ("https://sqs.{region}.example.com/{region}/x", "https://sqs.eu-west-1.example.com/eu-west-1/x"),
            ("https://api.{site}", "https://api.example.co.uk/"),
            ("https://{site}/v1", "https://example.co.uk/v1"),
            ("https://{shop}.{site}/v1", "https://acme.example.co.uk/v1"),
            ("https://{shop}.{region}.example.com", "https://acme.eu-west-1.example.com/"),
            ("https://{region}-{region}.example.com", "https://eu-west-1-eu-west-1.example.com/"),
            ("https://api-{shop}.example.com", "https://api-acme.example.com/"),
            ("https://eu.api{shop}.example.com/v1", "https://eu.apiacme.example.com/v1"),
            ("https://{shop}-api.example.com/v1", "https://acme-api.example.com/v1"),
            ("https://api.example.com/{region}", "https://api.example.com/eu-west-1"),
        ] {
            let app = many(template);
            let got = base(&app, &given).unwrap_or_else(|error| panic!("{template}: {error}"));
            assert_eq!(got.as_str(), expected, "{template}");
            assert_eq!(origins(&app, &given).unwrap(), [got.origin()], "{template}");
        }
        let sqs = many("https://sqs.{region}.example.com");
        assert!(matches!(sqs.reach.origins[..], [types::Origin::Choice(_)]));
        assert_eq!(base(&sqs, &inputs(&[("region", "evil.test/")])).unwrap_err().code(), "input_invalid");
        let label = many("https://api-{shop}.example.com").reach.origins;
        let expected = LabelOrigin { prefix: "api-".into(), input: "shop".into(), suffix: ".example.com".into() };
        assert_eq!(label, [types::Origin::Label(expected)]);
    }

    #[test]
    fn no_other_value_reaches_a_host() {
        for template in [
            "https://sqs.{free}.example.com",
            "https://{wide}/v1",
            "https://{shop}.{wide}/v1",
            "https://api.{odd}",
            "https://api.example.com:{region}/",
            "https://u@{site}/",
            "https://{region}/",
            "https://x{shop}",
            "https://{site}{shop}/",
            "https://{shop}.com/",
            "https://{shop}x.example.com/",
            "https://-{shop}.example.com:0/",
            "https://A-{shop}.example.com/",
            "https://{shop}-.example.com/",
            "http://{site}/",
            "{site}/v1",
            "https://api.example.com/{odd}",
            "https://api.example.com/{free}",
            "https://{shop}.{region}/",
        ] {
            let app = many("https://api.example.com");
            assert!(shape(&parts(template), &app.inputs).is_err(), "{template}");
        }
        // As many hosts as a person would list, and no more.
        let mut app = many("https://api.example.com");
        app.inputs[1].choices = (0..30).map(|n| format!("r{n}")).collect();
        app.inputs[2].choices = (0..30).map(|n| format!("s{n}.example.com")).collect();
        assert!(shape(&parts("https://{region}.{site}"), &app.inputs).unwrap_err().message.contains("512"));
    }

    #[test]
    fn the_fixed_path_of_a_base() {
        for (template, path) in [
            ("https://api.example.com", Some("")),
            ("https://api.example.com/v1", Some("/v1")),
            ("https://{shop}.example.com/v1", Some("/v1")),
            ("https://a.{site}", Some("")),
            ("https://a.{site}/v1/x", Some("/v1/x")),
            ("https://a.example.com/{region}", None),
            ("https://a.example.com/{region}/x", None),
        ] {
            assert_eq!(fixed_path(&parts(template)).as_deref(), path, "{template}");
        }
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

        /// Whatever an author puts around placeholders of every kind: a shape that passes gives hosts of its own only.
        #[test]
        fn no_template_lets_a_value_out_of_its_place(
            template in "(https?://|)[a-z.{}:@/-]{0,6}\\{(shop|region|site|wide|free|odd)\\}[a-z.:@/?#-]{0,4}(\\{(shop|region|site)\\})?(\\.example\\.com|)[/a-z?#]{0,4}",
            shop in "\\PC{0,12}|[a-z0-9.:/@?#%-]{0,12}|[a-z]{1,5}",
            region in "us-east-1|eu-west-1|\\PC{0,8}",
        ) {
            let app = many("https://api.example.com");
            let template = parts(&template);
            let given = inputs(&[("shop", &shop), ("region", &region), ("site", "example.co.uk"), ("wide", "co.uk"),
                ("free", &shop), ("odd", "a?b")]);
            let known = super::super::names(&template).all(|name| matches!(name, super::super::Name::Input(name)
                if app.inputs.iter().any(|input| input.name == name)));
            if known && let Ok(got) = url(&app, &template, &given, "base") {
                let host = got.host_str().unwrap();
                let registered = psl::domain_str(host);
                prop_assert!(registered.is_some() && registered != Some("co.uk"), "{}", got);
                prop_assert_eq!(got.scheme(), "https");
                prop_assert!(got.username().is_empty() && got.port().is_none() && got.fragment().is_none(), "{}", got);
                // The registered domain is written in the template or in a declared choice, never by a free value.
                let written: String = template.iter().map(|part| match part {
                    Part::Text(text) => text.clone(),
                    Part::Input(input) if input.name == "site" => "example.co.uk".into(),
                    Part::Input(input) if input.name == "wide" => "co.uk".into(),
                    _ => "*".into(),
                }).collect();
                let authority = &written["https://".len()..];
                let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
                prop_assert!(authority.ends_with(registered.unwrap()), "{} from {}", got, written);
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
