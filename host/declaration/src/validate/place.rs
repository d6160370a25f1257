//! Rules that put a credential into a body, into the path, or under a signature.

use super::{Check, Known, text, token_names};
use crate::types::{NamedTemplate, Part, Rule, Signer, Template};

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
        Signer::Hook => Vec::new(),
    }
}

/// Checks one rule, and gives the slot that it fills: no other rule of its set may fill it too.
pub(super) fn rule(check: &mut Check<'_>, path: &str, rule: &Rule, known: Known<'_>) -> Option<String> {
    match rule {
        Rule::Body(named) => {
            body(check, &format!("{path}.body"), named, known);
            // A form's field `a` is the JSON body's `/a`.
            Some(format!("body {}", named.name.strip_prefix('/').unwrap_or(&named.name)))
        }
        Rule::Path(template) => {
            segments(check, &format!("{path}.path"), template, known);
            Some("path".to_owned())
        }
        Rule::Sign(signer) => {
            sign(check, &format!("{path}.sign"), signer, known);
            Some("header authorization".to_owned())
        }
        Rule::Header(_) | Rule::Query(_) | Rule::Basic(_) => None,
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
