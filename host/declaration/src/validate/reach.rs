//! Base, reach, default headers, the test request and signals.

use std::collections::BTreeMap;

use url::Url;

use super::rules::header_name;
use super::text::{self, is_header_name};
use super::{Check, PUBLIC};
use crate::template::{Authority, check_authority, check_host_bound, check_label, fixed_path, render_public, shape};
use crate::types::{AnyOf, App, Condition, InputKind, Origin, Part, Rule, Signer};

pub(super) const BODY_METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

pub(super) fn base_and_reach(check: &mut Check<'_>) {
    let app = check.app;
    host_bounds(check);
    origins(check);
    for (at, method) in app.reach.methods.iter().enumerate() {
        method_name(check, &format!("reach.methods[{at}]"), method);
    }
    for (field, paths) in [("paths", &app.reach.paths), ("denied-paths", &app.reach.denied_paths)] {
        for (at, path) in paths.iter().enumerate() {
            if let Some(message) = text::path_fault(path) {
                check.fail(format!("reach.{field}[{at}]"), message);
            }
        }
    }
    let Some(authority) = check.url("base", &app.base) else { return };
    if let Some(Part::Text(text)) = app.base.last()
        && text.ends_with('/')
    {
        check.fail("base", "the base ends with `/`: request paths bring their own");
    }
    if app.base.iter().any(|part| matches!(part, Part::Text(text) if text.contains(['?', '#']))) {
        check.fail("base", "the base holds a query or a fragment");
    }
    let within = app.reach.origins.contains(&authority.declared());
    if !within {
        check.fail_with("base", "the base lies outside reach.origins", "add its origin to reach.origins");
    }
}

/// Where base URLs of an owner may lead.
fn host_bounds(check: &mut Check<'_>) {
    let app = check.app;
    for (at, input) in app.inputs.iter().enumerate() {
        if !input.hosts.is_empty() && input.kind != InputKind::BaseUrl {
            check.fail(format!("inputs[{at}].hosts"), "only an input of kind `base-url` has a host to bound");
        }
        for (host, bound) in input.hosts.iter().enumerate() {
            if let Err(message) = check_host_bound(bound) {
                check.fail(format!("inputs[{at}].hosts[{host}]"), message);
            }
        }
    }
}

fn origins(check: &mut Check<'_>) {
    let app = check.app;
    if app.reach.origins.is_empty() {
        check.fail("reach.origins", "the app reaches nothing");
    }
    let mut seen = Vec::new();
    for (at, origin) in app.reach.origins.iter().enumerate() {
        let path = format!("reach.origins[{at}]");
        let kind = |name: &str| app.inputs.iter().find(|input| input.name == name).map(|input| input.kind);
        let fault = match origin {
            Origin::Exact(text) => check_authority(text).err(),
            Origin::Label(label) if kind(&label.input) != Some(InputKind::HostLabel) => {
                Some(format!("`{}` is no input of kind `host-label`", label.input))
            }
            Origin::Label(label) => check_label(&label.prefix, &label.suffix).err(),
            Origin::Pinned(input) if kind(input) != Some(InputKind::BaseUrl) => {
                Some(format!("`{input}` is no input of kind `base-url`"))
            }
            Origin::Pinned(_) => None,
            Origin::Choice(parts) if !check.declared(&path, parts, PUBLIC) => continue,
            Origin::Choice(parts) => match shape(parts, &app.inputs) {
                Err(fault) => Some(fault.message),
                Ok(Authority::Choice(host)) if host == *parts => None,
                Ok(_) => Some("it is no origin with choices in its host".to_owned()),
            },
        };
        if let Some(fault) = fault {
            check.fail(&path, fault);
        }
        if seen.contains(&origin) {
            check.fail(&path, "this origin is declared twice");
        }
        seen.push(origin);
    }
}

pub(super) fn method_name(check: &mut Check<'_>, path: &str, method: &str) {
    if matches!(method, "CONNECT" | "TRACE") {
        check.fail(path, format!("{method} is never sent"));
    } else if !is_header_name(method) || method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let help = format!("write {}", method.to_ascii_uppercase());
        check.fail_with(path, format!("`{method}` is no HTTP method in upper case"), help);
    }
}

pub(super) fn request_method(check: &mut Check<'_>, path: &str, method: &str) {
    method_name(check, path, method);
    let reach = &check.app.reach;
    if !reach.methods.is_empty() && !reach.methods.iter().any(|allowed| allowed == method) {
        check.fail(path, format!("{method} lies outside reach.methods"));
    }
}

pub(super) fn headers(check: &mut Check<'_>) {
    let app = check.app;
    let names =
        app.headers.iter().enumerate().map(|(at, header)| (format!("headers[{at}].name"), header.name.to_lowercase()));
    check.unique("default header", names);
    for (at, header) in app.headers.iter().enumerate() {
        let path = format!("headers[{at}]");
        header_name(check, &format!("{path}.name"), &header.name);
        if injected(app, &header.name) {
            let message = format!("a credential rule writes `{}`: it cannot have a default too", header.name);
            check.fail(format!("{path}.name"), message);
        }
        if !text::is_header_text(&header.value) || header.value.trim() != header.value || header.value.is_empty() {
            check.fail(format!("{path}.value"), "a header value is visible ASCII, without space around it");
        }
    }
}

/// Some rule of some method writes this header.
pub(super) fn injected(app: &App, name: &str) -> bool {
    app.methods.iter().flat_map(|method| &method.rule_sets).flat_map(|set| &set.rules).any(|rule| match rule {
        Rule::Header(named) => named.name.eq_ignore_ascii_case(name),
        Rule::Basic(_) => name.eq_ignore_ascii_case("authorization"),
        Rule::Sign(Signer::AwsSigv4(_)) => {
            ["authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"]
                .iter()
                .any(|signed| name.eq_ignore_ascii_case(signed))
        }
        Rule::Sign(Signer::OAuth1(_)) => name.eq_ignore_ascii_case("authorization"),
        Rule::Sign(Signer::Hook(hook)) => hook.headers.iter().any(|header| name.eq_ignore_ascii_case(header)),
        Rule::Query(_) | Rule::Body(_) | Rule::Path(_) => false,
    })
}

pub(super) fn test(check: &mut Check<'_>) {
    let app = check.app;
    let Some(test) = &app.test else { return };
    request_method(check, "test.method", &test.method);
    if test.body.is_some() && !BODY_METHODS.contains(&test.method.as_str()) {
        check.fail("test.body", format!("a {} request has no body", test.method));
    }
    let names = test.headers.iter().enumerate();
    let names = names.map(|(at, header)| (format!("test.headers[{at}].name"), header.name.to_lowercase()));
    check.unique("header", names);
    for (at, header) in test.headers.iter().enumerate() {
        let path = format!("test.headers[{at}]");
        header_name(check, &format!("{path}.name"), &header.name);
        if injected(app, &header.name) {
            check.fail(format!("{path}.name"), format!("a credential rule writes `{}`", header.name));
        }
        if !text::is_header_text(&header.value) {
            check.fail(format!("{path}.value"), "a header value is visible ASCII");
        }
    }
    if test.identity_hook && (test.id.is_some() || test.label.is_some()) {
        check.fail_with("test.identity-hook", "the hook finds `id` and `label` both", "leave the two out");
    }
    for (field, pointer) in [("id", &test.id), ("label", &test.label)] {
        if let Some(pointer) = pointer {
            check.pointer(&format!("test.{field}"), pointer);
        }
    }
    let path = test.path.split('?').next().unwrap_or_default();
    if test.path.contains('#') {
        check.fail("test.path", "a request has no fragment");
    } else if path.starts_with("https://") {
        elsewhere(check, "test", path);
    } else if let Some(message) = text::path_fault(path) {
        check.fail("test.path", message);
    } else {
        within_reach(check, "test", path);
    }
}

/// A request that ships with the app is one that reach allows. `path` is relative to the base, without a query.
pub(super) fn within_reach(check: &mut Check<'_>, request: &str, path: &str) {
    if let Some(full) = full_path(check.app, path) {
        allowed(check, request, &full);
    }
}

/// The same for a request that goes to another origin of the reach.
fn elsewhere(check: &mut Check<'_>, request: &str, url: &str) {
    let within = |url: &Url| {
        let origin = url.origin().ascii_serialization();
        check.app.reach.origins.iter().any(|known| matches!(known, Origin::Exact(text) if *text == origin))
    };
    match Url::parse(url) {
        Ok(parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            check.fail(format!("{request}.path"), "a URL holds no user and no password");
        }
        // As it is written, so that what is checked is what is sent.
        Ok(parsed) if parsed.as_str() == url && within(&parsed) => allowed(check, request, parsed.path()),
        Ok(parsed) if parsed.as_str() == url => {
            let help = format!("add {} to reach.origins", parsed.origin().ascii_serialization());
            check.fail_with(format!("{request}.path"), format!("`{url}` lies outside reach.origins"), help);
        }
        Ok(parsed) => {
            check.fail_with(format!("{request}.path"), format!("`{url}` is sent in another form"), parsed.as_str());
        }
        Err(error) => check.fail(format!("{request}.path"), format!("`{url}` is no URL: {error}")),
    }
}

/// `full` is the path on the wire.
fn allowed(check: &mut Check<'_>, request: &str, full: &str) {
    let reach = &check.app.reach;
    let under = |prefixes: &[String]| prefixes.iter().any(|prefix| below(full, prefix));
    if !reach.paths.is_empty() && !under(&reach.paths) {
        check.fail(format!("{request}.path"), format!("`{full}` lies outside reach.paths"));
    } else if under(&reach.denied_paths) {
        check.fail(format!("{request}.path"), format!("`{full}` lies within reach.denied-paths"));
    }
}

/// The path on the wire, when the base's path is the same for every account.
fn full_path(app: &App, path: &str) -> Option<String> {
    match shape(&app.base, &app.inputs).ok()? {
        Authority::Pinned { .. } => None,
        Authority::Fixed(_) | Authority::Label { .. } | Authority::Choice(_) => {
            Some(format!("{}{path}", fixed_path(&app.base)?))
        }
    }
}

/// At segment borders: `/v1` covers `/v1` and `/v1/x`, not `/v10`.
fn below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(super) fn signals(check: &mut Check<'_>) {
    let signals = &check.app.signals;
    for (field, any) in [
        ("expired", &signals.expired),
        ("revoked", &signals.revoked),
        ("failed", &signals.failed),
        ("throttled", &signals.throttled),
    ] {
        any_of(check, &format!("signals.{field}"), any);
    }
    if let Some(retry_after) = &signals.retry_after
        && !is_header_name(&retry_after.header)
    {
        check.fail("signals.retry-after.header", format!("`{}` is no header name", retry_after.header));
    }
}

fn any_of(check: &mut Check<'_>, path: &str, any: &AnyOf) {
    for (at, all) in any.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if all.is_empty() {
            check.fail(&path, "an empty list of conditions holds for every answer");
        } else if all.iter().all(|condition| matches!(condition, Condition::Status(200..=299))) {
            check.fail_with(&path, "a good status alone holds for every good answer", "add a header or body condition");
        }
        for (at, condition) in all.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match condition {
                Condition::Status(100..=599) => {}
                Condition::Status(status) => check.fail(format!("{path}.status"), format!("{status} is no status")),
                Condition::Header(text) if !is_header_name(&text.name) => {
                    check.fail(format!("{path}.header.name"), format!("`{}` is no header name", text.name));
                }
                Condition::Header(_) => {}
                Condition::Body(text) => check.pointer(&format!("{path}.body.name"), &text.name),
            }
        }
    }
}

/// Renders with harmless values: a text that URL parsers would change is refused now, not at somebody's connect.
pub(super) fn form(app: &App, template: &[Part]) -> Option<(String, Option<String>)> {
    let sample = |input: &crate::types::Input| match input.kind {
        _ if !input.choices.is_empty() => input.choices[0].clone(),
        InputKind::Text | InputKind::HostLabel => "x".to_owned(),
        InputKind::BaseUrl => match input.hosts.first() {
            Some(host) if host.starts_with('.') => format!("https://x{host}"),
            Some(host) => format!("https://{host}"),
            None => "https://x.example".to_owned(),
        },
    };
    let inputs: BTreeMap<_, _> = app.inputs.iter().map(|input| (input.name.clone(), sample(input))).collect();
    let text = render_public(template, &inputs).ok()?;
    match Url::parse(&text) {
        Err(error) => Some((format!("this is no URL: {error}"), None)),
        Ok(url) if url.fragment().is_some() => Some(("the URL holds a fragment".to_owned(), None)),
        Ok(url) if url.as_str() == text || url.as_str().strip_suffix('/') == Some(&text) => None,
        Ok(url) => {
            let help = format!("write it so that it reads `{url}`");
            Some(("URL parsers would change this text".to_owned(), Some(help)))
        }
    }
}
