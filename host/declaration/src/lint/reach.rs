//! Where credentials go: hosts that can exist, belong to one party, and are asked something harmless.

use url::{Host, Url};

use super::{Warning, warning};
use crate::types::{App, EvidenceLevel, InputKind, InputSource, Origin, Part, Template};

/// Names that stand in examples, and those that only one machine or network knows.
const NOT_PUBLIC: [&str; 8] =
    [".example", ".test", ".invalid", ".localhost", ".local", ".internal", ".example.com", ".example.org"];

pub(super) fn check(app: &App, warnings: &mut Vec<Warning>) {
    if let Some(Part::Text(text)) = app.base.first() {
        plausible(text, app.base.len() == 1, &["base"], warnings);
    }
    for origin in &app.reach.origins {
        let keys = ["reach", "origins"];
        match origin {
            Origin::Exact(text) => {
                plausible(text, true, &keys, warnings);
                if let Ok(Some(Host::Domain(host))) = Url::parse(text).map(|url| url.host().map(|h| h.to_owned()))
                    && is_public_suffix(&host)
                {
                    warnings.push(public(&keys, &host));
                }
            }
            Origin::Label(label) => {
                let suffix = without_path(&label.suffix);
                if ends_publicly(suffix) {
                    warnings.push(public(&keys, suffix));
                }
            }
            Origin::Choice(template) => {
                if let Some(Part::Text(text)) = template.first() {
                    plausible(text, template.len() == 1, &keys, warnings);
                }
            }
            Origin::Pinned(_) => {}
        }
    }
    inputs(app, warnings);
    test(app, warnings);
}

fn inputs(app: &App, warnings: &mut Vec<Warning>) {
    for input in &app.inputs {
        let keys = ["inputs", input.name.as_str()];
        // A discovered address was said by the provider, and is held against the same list.
        let discovered = matches!(input.source, InputSource::Discovered(_));
        if input.kind == InputKind::BaseUrl && input.hosts.is_empty() {
            let message = match discovered {
                true => format!("`{}` is discovered and may name any host", input.name),
                false => format!("`{}` may name any host: each owner must confirm it", input.name),
            };
            let help = "list what its host ends with: hosts = [\".example.com\"]";
            warnings.push(warning("host-suffixes", &keys, message, help));
        }
        for suffix in &input.hosts {
            if suffix.starts_with('.') && ends_publicly(suffix) {
                warnings.push(public(&[keys[0], keys[1], "hosts"], suffix));
            }
        }
    }
}

fn test(app: &App, warnings: &mut Vec<Warning>) {
    let Some(test) = &app.test else {
        // Lists of facts often know none; the level that every listing shows says so.
        if app.evidence.level == EvidenceLevel::Facts {
            return;
        }
        let help = "test = { path = \"/me\" }: a request that any account may make and that changes nothing";
        warnings.push(warning("no-test", &[], "no test request: a wrong key is not noticed at connect", help));
        return;
    };
    if !matches!(test.method.as_str(), "GET" | "HEAD") {
        let message = format!("the test request is a {}, which looks like a write", test.method);
        warnings.push(warning("test-writes", &["test"], message, "choose a GET, or waive it for a query by POST"));
    }
    if !app.reach.methods.is_empty() && !app.reach.methods.contains(&test.method) {
        let message = format!("the reach has no method {}: the test request never leaves", test.method);
        warnings.push(warning("test-reach", &["test"], message, ""));
    }
    let Some(path) = tested_path(&app.base, &test.path) else { return };
    let below = |prefix: &String| {
        let rest = path.strip_prefix(prefix.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    };
    if !app.reach.paths.is_empty() && !app.reach.paths.iter().any(below) || app.reach.denied_paths.iter().any(below) {
        let message = format!("the test request to {path} is outside the reach: it never leaves");
        warnings.push(warning("test-reach", &["test"], message, "add its path to reach.paths"));
    }
}

/// The path of the test request from the root, where the base's path is fixed.
fn tested_path(base: &Template, path: &str) -> Option<String> {
    // Whether one to another origin is let through is checked before.
    if path.contains('{') || !path.starts_with('/') {
        return None;
    }
    let text = match base.last()? {
        Part::Text(text) => text,
        _ => return None,
    };
    let fixed = match base.len() {
        1 => Url::parse(text).ok()?.path().to_owned(),
        // After the input that stands in the host.
        2 | 3 => text.split_once('/').map_or(String::new(), |(_, path)| format!("/{path}")),
        _ => return None,
    };
    Some(format!("{}{path}", fixed.trim_end_matches('/')))
}

fn plausible(text: &str, whole: bool, keys: &[&str], warnings: &mut Vec<Warning>) {
    let mut wrong = |message: String, help: &str| warnings.push(warning("origin", keys, message, help));
    if !text.starts_with("https://") {
        wrong(format!("`{text}` is not https"), "credentials travel by https alone");
        return;
    }
    if !whole {
        return;
    }
    match Url::parse(text).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
        Some(Host::Domain(host)) => {
            let dotted = format!(".{host}");
            if !host.contains('.') || NOT_PUBLIC.iter().any(|name| dotted.ends_with(name)) {
                wrong(format!("`{host}` is no public name"), "name the provider's own host");
            } else if !psl::suffix(host.as_bytes()).is_some_and(|suffix| suffix.is_known()) {
                wrong(
                    format!("`{host}` ends with no top level domain that there is"),
                    "look for a slip of the keyboard",
                );
            }
        }
        Some(_) => wrong(format!("`{text}` is an address, not a name"), "name the provider's own host"),
        None => wrong(format!("`{text}` has no host"), "https://api.provider.com"),
    }
}

fn public(keys: &[&str], name: &str) -> Warning {
    let message = format!("`{name}` is a public suffix: anybody can register a name under it");
    warning(
        "public-suffix",
        keys,
        message,
        "name the provider's own domain; where the platform itself is the provider, say so in a waiver",
    )
}

/// Registries and platforms alike: a host that is such a suffix itself is never one provider's API.
fn is_public_suffix(host: &str) -> bool {
    psl::suffix(host.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == host.as_bytes())
}

/// Under a registry's suffix everybody gets names, and under a platform's too (`.github.io`). Where the platform is the
/// provider itself (`.myshopify.com`), a waiver says so.
fn ends_publicly(suffix: &str) -> bool {
    let name = suffix.trim_start_matches('.');
    psl::suffix(name.as_bytes()).is_none_or(|found| found.as_bytes() == name.as_bytes())
}

fn without_path(suffix: &str) -> &str {
    suffix.split(['/', ':']).next().unwrap_or(suffix)
}
