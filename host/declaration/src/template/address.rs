//! URLs made from templates: who may decide where a request goes.
//!
//! A value of an account reaches a URL's authority in three ways only: as a DNS label (or a part of one) before a
//! declared suffix, as one of the choices that the declaration lists, or as a whole base URL that the owner confirmed
//! or whose host the declaration bounds. [`shape`] says so about a template, at install, for every choice there is;
//! [`url`] holds the rendered text against the same rule, with the account's values, every time.

use std::collections::BTreeMap;

use percent_encoding::percent_encode;
use url::{Origin, Url};

use super::{NOT_UNRESERVED, RenderError, checked_inputs, is_host_label, render_public};
use crate::types::{self, App, AuthKind, AuthMethod, Call, Encoding, Input, InputKind, LabelOrigin, Part, Template};

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

/// The template with the client's id in its place, which is no secret. Escaped as a whole, so it moves nothing.
pub fn with_client(template: &[Part], client_id: Option<&str>) -> Template {
    let fill = |part: &Part| match (part, client_id) {
        (Part::Host(host), Some(id)) if host.name == "client_id" => {
            Part::Text(percent_encode(id.as_bytes(), NOT_UNRESERVED).to_string())
        }
        _ => part.clone(),
    };
    template.iter().map(fill).collect()
}

/// The token, refresh and revoke URLs of a method, and those of its calls: no caller may reach them. What is not known
/// of an account, such as an input that was asked for once, leaves out the call that needs it.
pub fn token_endpoints(
    app: &App,
    method: &AuthMethod,
    inputs: &BTreeMap<String, String>,
    client_id: Option<&str>,
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
        let template = with_client(&call.url, client_id);
        if template.iter().any(|part| matches!(part, Part::Host(_))) {
            continue;
        }
        match url(app, &template, inputs, "a call's url") {
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
mod tests;
