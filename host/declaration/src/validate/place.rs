//! Rules that put a credential into a body, into the path, or under a signature.

use super::rules::header_name;
use super::{Check, Known, text, token_names};
use crate::types::{HookSigner, NamedTemplate, Part, Rule, RuleSet, Signer, Template};

/// The templates of a signer, each with its field.
pub(super) fn signer_templates(signer: &Signer) -> Vec<(&'static str, &Template)> {
    match signer {
        Signer::AwsSigv4(sign) => {
            let mut all = vec![
                ("aws-sigv4.access-key", &sign.access_key),
                ("aws-sigv4.secret-key", &sign.secret_key),
                ("aws-sigv4.region", &sign.region),
                ("aws-sigv4.service", &sign.service),
            ];
            all.extend(sign.session_token.as_ref().map(|template| ("aws-sigv4.session-token", template)));
            all
        }
        Signer::OAuth1(sign) => {
            let mut all = vec![
                ("oauth1.consumer-key", &sign.consumer_key),
                ("oauth1.consumer-secret", &sign.consumer_secret),
                ("oauth1.token", &sign.token),
                ("oauth1.token-secret", &sign.token_secret),
            ];
            all.extend(sign.realm.as_ref().map(|template| ("oauth1.realm", template)));
            all
        }
        Signer::Hook(_) => Vec::new(),
    }
}

/// The most places that one signature fills.
const MOST_SLOTS: usize = 16;

/// Checks one rule, and gives the slots that it fills: no other rule of its set may fill them too.
pub(super) fn rule(check: &mut Check<'_>, path: &str, rule: &Rule, known: Known<'_>) -> Vec<String> {
    match rule {
        Rule::Body(named) => {
            body(check, &format!("{path}.body"), named, known);
            // A form's field `a` is the JSON body's `/a`.
            vec![format!("body {}", named.name.strip_prefix('/').unwrap_or(&named.name))]
        }
        Rule::Path(template) => {
            segments(check, &format!("{path}.path"), template, known);
            vec!["path".to_owned()]
        }
        Rule::Sign(Signer::Hook(hook)) => hook_slots(check, &format!("{path}.sign.hook"), hook),
        Rule::Sign(signer) => {
            sign(check, &format!("{path}.sign"), signer, known);
            vec!["header authorization".to_owned()]
        }
        Rule::Header(_) | Rule::Query(_) | Rule::Basic(_) => Vec::new(),
    }
}

fn hook_slots(check: &mut Check<'_>, path: &str, hook: &HookSigner) -> Vec<String> {
    let count = hook.headers.len() + hook.query.len();
    if count == 0 {
        let help = "name them: sign.hook = { headers = [\"X-Signature\"] }";
        check.fail_with(path, "the hook has no place to write its signature to", help);
    } else if count > MOST_SLOTS {
        check.fail(path, format!("a signature fills at most {MOST_SLOTS} places"));
    }
    for (at, name) in hook.headers.iter().enumerate() {
        header_name(check, &format!("{path}.headers[{at}]"), name);
    }
    for (at, name) in hook.query.iter().enumerate() {
        if !text::is_query_name(name) {
            check.fail(format!("{path}.query[{at}]"), format!("`{name}` is no query name"));
        }
    }
    let headers = hook.headers.iter().map(|name| format!("header {}", name.to_ascii_lowercase()));
    headers.chain(hook.query.iter().map(|name| format!("query {name}"))).collect()
}

/// A hook sees the request that it signs, so nothing in it may hold a secret but headers, which it is not shown.
pub(super) fn beside_hook(check: &mut Check<'_>, path: &str, set: &RuleSet) {
    if !set.rules.iter().any(|rule| matches!(rule, Rule::Sign(Signer::Hook(_)))) {
        return;
    }
    for (at, rule) in set.rules.iter().enumerate() {
        let what = match rule {
            Rule::Query(_) => "a query field",
            Rule::Body(_) => "a body field",
            Rule::Path(_) => "the path",
            Rule::Sign(Signer::AwsSigv4(_) | Signer::OAuth1(_)) => {
                check.fail(format!("{path}.rules[{at}]"), "a request is signed once, and a hook signs this one");
                continue;
            }
            Rule::Sign(Signer::Hook(_)) | Rule::Header(_) | Rule::Basic(_) => continue,
        };
        let help = "let the hook place it, or take a header";
        check.fail_with(format!("{path}.rules[{at}]"), format!("the hook would see the secret in {what}"), help);
    }
}

fn body(check: &mut Check<'_>, path: &str, named: &NamedTemplate, known: Known<'_>) {
    check.declared(&format!("{path}.value"), &named.value, known);
    let path = format!("{path}.name");
    if named.name.starts_with('/') {
        check.pointer(&path, &named.name);
    } else if named.name.is_empty() || named.name.contains(['&', '=', ' ', '[', ';']) {
        check.fail(path, format!("`{}` is no name of a body field", named.name));
    }
}

fn segments(check: &mut Check<'_>, path: &str, template: &Template, known: Known<'_>) {
    check.declared(path, template, known);
    let sample: String = template
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Input(_) | Part::Token(_) | Part::Host(_) => "x",
        })
        .collect();
    let begins = matches!(template.first(), Some(Part::Text(text)) if text.starts_with('/'));
    if !begins || sample.ends_with('/') || sample.contains("//") || sample.contains(['?', '#', ';', '%']) {
        let help = "write it like `/bot{token}`";
        check.fail_with(path, format!("`{sample}` is no row of path segments"), help);
    } else if let Some(message) = text::path_fault(&sample) {
        check.fail(path, message);
    }
}

fn sign(check: &mut Check<'_>, path: &str, signer: &Signer, known: Known<'_>) {
    for (field, template) in signer_templates(signer) {
        let path = format!("{path}.{field}");
        check.declared(&path, template, known);
        let key = field.ends_with("-secret") || field.ends_with("-key");
        let scope = matches!(field, "aws-sigv4.region" | "aws-sigv4.service");
        let secret = token_names(template).next().is_some();
        if scope && (secret || template.is_empty()) {
            check.fail(path, "it stands in the clear in every signature: a text or an input");
        } else if key && template.is_empty() {
            check.fail(path, "a signature needs it");
        } else if matches!(field, "aws-sigv4.secret-key" | "oauth1.consumer-secret") && !secret {
            check.fail(path, "the key that signs is a secret: name a token");
        }
    }
}
