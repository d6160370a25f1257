//! Rule sets: where a method's tokens go, and that no two rules want the same place.

use super::method::literal;
use super::text::{self, is_header_name, is_host_owned_header, is_id};
use super::{Check, Known, place, token_names};
use crate::types::{AuthKind, AuthMethod, InputSource, Part, Rule, RuleSet, Signer, Template};

pub(super) fn rule_sets(check: &mut Check<'_>, path: &str, method: &AuthMethod) {
    let sets = &method.rule_sets;
    if sets.is_empty() {
        check.fail(format!("{path}.rule-sets"), "no rule says where the token goes");
    }
    let names = sets.iter().enumerate().map(|(at, set)| (format!("{path}.rule-sets[{at}].name"), &set.name));
    check.unique("rule set", names);
    // What is not kept is not there when a request is made.
    let tokens: Vec<&str> = method.tokens.iter().filter(|token| !token.once).map(|token| token.name.as_str()).collect();
    let host: &[&str] = if matches!(method.kind, AuthKind::OAuth2Code(_)) { &["client_id"] } else { &[] };
    for (at, set) in sets.iter().enumerate() {
        rule_set(check, &format!("{path}.rule-sets[{at}]"), set, Known { tokens: &tokens, host });
    }
}

/// The templates of a rule, each with its field.
pub(super) fn templates(rule: &Rule) -> Vec<(&'static str, &Template)> {
    match rule {
        Rule::Header(named) => vec![("header.value", &named.value)],
        Rule::Query(named) => vec![("query.value", &named.value)],
        Rule::Body(named) => vec![("body.value", &named.value)],
        Rule::Basic(basic) => vec![("basic.username", &basic.username), ("basic.password", &basic.password)],
        Rule::Path(template) => vec![("path", template)],
        Rule::Sign(signer) => place::signer_templates(signer).into_iter().collect(),
    }
}

/// The tokens that a rule writes. A hook is given all of them.
pub(super) fn rule_tokens<'r>(rule: &'r Rule, all: &[&'r str]) -> Vec<&'r str> {
    match rule {
        Rule::Sign(Signer::Hook) => all.to_vec(),
        rule => templates(rule).into_iter().flat_map(|(_, template)| token_names(template)).collect(),
    }
}

fn rule_set(check: &mut Check<'_>, path: &str, set: &RuleSet, known: Known<'_>) {
    if !is_id(&set.name) {
        check.fail(format!("{path}.name"), text::bad_id(&set.name));
    }
    if set.rules.iter().flat_map(|rule| rule_tokens(rule, known.tokens)).next().is_none() {
        check.fail(path, format!("no rule of `{}` holds a token: requests would go out without one", set.name));
    }
    let mut slots = Vec::new();
    for (at, rule) in set.rules.iter().enumerate() {
        let path = format!("{path}.rules[{at}]");
        for (field, template) in templates(rule) {
            let sign = if matches!(rule, Rule::Sign(_)) { "sign." } else { "" };
            let path = format!("{path}.{sign}{field}");
            if matches!(rule, Rule::Header(_) | Rule::Query(_) | Rule::Basic(_)) {
                check.declared(&path, template, known);
            }
            kept(check, &path, template);
        }
        let slot = match rule {
            Rule::Header(named) => {
                header_name(check, &format!("{path}.header.name"), &named.name);
                literal(check, &format!("{path}.header.value"), &named.value, |text| {
                    (!text::is_header_text(text)).then(|| "a header value holds visible ASCII only".to_owned())
                });
                format!("header {}", named.name.to_ascii_lowercase())
            }
            Rule::Query(named) => {
                if named.name.is_empty() || named.name.contains(['&', '=', '#', ' ']) {
                    check.fail(format!("{path}.query.name"), format!("`{}` is no query name", named.name));
                }
                format!("query {}", named.name)
            }
            Rule::Basic(basic) => {
                literal(check, &format!("{path}.basic.username"), &basic.username, |text| {
                    text.contains(':').then(|| "a Basic user name cannot hold a colon (RFC 7617)".to_owned())
                });
                "header authorization".to_owned()
            }
            Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => match place::rule(check, &path, rule, known) {
                Some(slot) => slot,
                None => continue,
            },
        };
        slots.push((path, slot));
    }
    check.unique("place of a rule:", slots);
    nested_bodies(check, path, set);
}

/// A rule cannot write within what another one writes.
fn nested_bodies(check: &mut Check<'_>, path: &str, set: &RuleSet) {
    let places = set.rules.iter().enumerate().filter_map(|(at, rule)| match rule {
        Rule::Body(named) if named.name.starts_with('/') => Some((at, named.name.as_str())),
        _ => None,
    });
    let places: Vec<_> = places.collect();
    for (at, place) in &places {
        let around = |other: &str| place.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        if let Some((_, other)) = places.iter().find(|(_, other)| around(other)) {
            let path = format!("{path}.rules[{at}].body.name");
            check.fail(path, format!("`{place}` lies within `{other}`, which another rule writes"));
        }
    }
}

/// What is used at connect and not kept cannot stand in a rule.
fn kept(check: &mut Check<'_>, path: &str, template: &[Part]) {
    for (at, part) in template.iter().enumerate() {
        let Part::Input(input) = part else { continue };
        let once = check.app.inputs.iter().any(|known| known.name == input.name && known.source == InputSource::Once);
        if once {
            check.fail(format!("{path}[{at}]"), format!("the input `{}` is not kept after connect", input.name));
        }
    }
}

/// A name that an app may write to.
pub(super) fn header_name(check: &mut Check<'_>, path: &str, name: &str) {
    if !is_header_name(name) {
        check.fail(path, format!("`{name}` is no header name"));
    } else if is_host_owned_header(name) {
        check.fail(path, format!("the header `{name}` belongs to the host"));
    }
}
