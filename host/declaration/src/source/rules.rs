//! Rules: where a method's tokens go.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::reader::{Entry, Names, Reader, Table, join};
use crate::types::{
    AwsSigv4, BasicRule, NamedTemplate, OAuth1, OAuth1Signature, Part, Placeholder, Rule, RuleSet, Signer, Template,
};

pub(super) const RULES: [&str; 6] = ["header", "query", "basic", "body", "path", "sign"];
const SIGNERS: [&str; 3] = ["aws-sigv4", "oauth1", "hook"];
const AWS_SIGV4: [&str; 5] = ["access-key", "secret-key", "session-token", "region", "service"];
const OAUTH1: [&str; 6] = ["consumer-key", "consumer-secret", "token", "token-secret", "signature", "realm"];

/// `bearer` is the token of the rule that stands where the author wrote none.
pub(super) fn rule_sets(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    method: &Table<'_>,
    path: &str,
    names: Names<'_>,
    bearer: Option<&str>,
) -> Vec<RuleSet> {
    let path = format!("{path}.rule-sets");
    let own = method.entries.iter().any(|entry| RULES.contains(&entry.key));
    match method.get("rule-sets") {
        Some(value) if own => {
            let message = "a method has rules of its own or `rule-sets`, not both";
            let help = format!("move {} into [….rule-sets.default]", RULES.join(", "));
            reader.fault(value.span(), message, Some(help));
            Vec::new()
        }
        Some(value) => {
            reader.at(&*path, value.span());
            let Some(table) = reader.names(value, "rule-sets") else { return Vec::new() };
            let mut sets = Vec::new();
            for entry in &table.entries {
                let path = format!("{path}[{}]", sets.len());
                reader.at(&*path, entry.key_span.clone());
                reader.at(format!("{path}.name"), entry.key_span.clone());
                let Some(table) = reader.table(entry.value, "a rule set", &RULES) else { continue };
                sets.push(RuleSet { name: entry.key.to_owned(), rules: rules(reader, &table, &path, names) });
            }
            sets
        }
        None if own => {
            let path = format!("{path}[0]");
            reader.at(&*path, entry.key_span.clone());
            vec![RuleSet { name: "default".into(), rules: rules(reader, method, &path, names) }]
        }
        None => match bearer {
            // RFC 6750 section 2.1.
            Some(token) => {
                let placeholder = Placeholder { name: token.to_owned(), encodings: Vec::new() };
                let value = vec![Part::Text("Bearer ".into()), Part::Token(placeholder)];
                let rule = Rule::Header(NamedTemplate { name: "Authorization".into(), value });
                vec![RuleSet { name: "default".into(), rules: vec![rule] }]
            }
            None => {
                let token = names.tokens.first().map_or("token", String::as_str);
                let help = format!("header.Authorization = \"Bearer {{{token}}}\"");
                let message = format!("the method `{}` does not say where its token goes", entry.key);
                reader.fault(entry.key_span.clone(), message, Some(help));
                Vec::new()
            }
        },
    }
}

fn rules(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, names: Names<'_>) -> Vec<Rule> {
    let mut rules = Vec::new();
    for entry in &table.entries {
        match entry.key {
            "header" | "query" | "body" => {
                let Some(named) = reader.names(entry.value, entry.key) else { continue };
                for slot in &named.entries {
                    let path = format!("{path}.rules[{}]", rules.len());
                    reader.at(&*path, slot.key_span.clone());
                    let path = format!("{path}.{}", entry.key);
                    reader.at(format!("{path}.name"), slot.key_span.clone());
                    let value = reader.template(slot.value, slot.key, &format!("{path}.value"), names);
                    let named = NamedTemplate { name: slot.key.to_owned(), value };
                    rules.push(match entry.key {
                        "header" => Rule::Header(named),
                        "query" => Rule::Query(named),
                        _ => Rule::Body(named),
                    });
                }
            }
            "basic" => {
                let path = format!("{path}.rules[{}]", rules.len());
                reader.at(&*path, entry.key_span.clone());
                if let Some(rule) = basic(reader, entry.value, &format!("{path}.basic"), names) {
                    rules.push(Rule::Basic(rule));
                }
            }
            "path" => {
                let path = format!("{path}.rules[{}]", rules.len());
                reader.at(&*path, entry.key_span.clone());
                rules.push(Rule::Path(reader.template(entry.value, "path", &format!("{path}.path"), names)));
            }
            "sign" => {
                let path = format!("{path}.rules[{}]", rules.len());
                reader.at(&*path, entry.key_span.clone());
                if let Some(signer) = signer(reader, entry, &format!("{path}.sign"), names) {
                    rules.push(Rule::Sign(signer));
                }
            }
            // The other keys of a method.
            _ => {}
        }
    }
    rules
}

/// What is left out is empty.
pub(super) fn basic(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    names: Names<'_>,
) -> Option<BasicRule> {
    reader.at(path, value.span());
    let table = reader.table(value, "basic", &["username", "password"])?;
    let mut field = |key: &str| table.get(key).map(|value| reader.template(value, key, &join(path, key), names));
    let (username, password) = (field("username"), field("password"));
    Some(BasicRule { username: username.unwrap_or_default(), password: password.unwrap_or_default() })
}

fn signer(reader: &mut Reader<'_>, entry: &Entry<'_>, path: &str, names: Names<'_>) -> Option<Signer> {
    reader.at(path, entry.key_span.clone());
    let table = reader.table(entry.value, "sign", &SIGNERS)?;
    let [one] = &table.entries[..] else {
        let message = format!("a rule set has one signature: {}", SIGNERS.join(", "));
        reader.fault(entry.key_span.clone(), message, None);
        return None;
    };
    let path = join(path, one.key);
    reader.at(&*path, one.key_span.clone());
    match one.key {
        "aws-sigv4" => {
            let table = reader.table(one.value, "aws-sigv4", &AWS_SIGV4)?;
            let mut field = |key| template(reader, &table, "aws-sigv4", key, &path, names);
            Some(Signer::AwsSigv4(AwsSigv4 {
                access_key: field("access-key"),
                secret_key: field("secret-key"),
                region: field("region"),
                service: field("service"),
                session_token: optional(reader, &table, "session-token", &path, names),
            }))
        }
        "oauth1" => {
            let table = reader.table(one.value, "oauth1", &OAUTH1)?;
            let mut field = |key| template(reader, &table, "oauth1", key, &path, names);
            let (consumer_key, consumer_secret) = (field("consumer-key"), field("consumer-secret"));
            let (token, token_secret) = (field("token"), field("token-secret"));
            let signatures = [
                ("hmac-sha1", OAuth1Signature::HmacSha1),
                ("hmac-sha256", OAuth1Signature::HmacSha256),
                ("plaintext", OAuth1Signature::Plaintext),
            ];
            Some(Signer::OAuth1(OAuth1 {
                consumer_key,
                consumer_secret,
                token,
                token_secret,
                signature: reader.choice_or(&table, "signature", &signatures, OAuth1Signature::HmacSha1),
                realm: optional(reader, &table, "realm", &path, names),
            }))
        }
        "hook" => reader.table(one.value, "hook", &[]).map(|_| Signer::Hook),
        // Told by `table`.
        _ => None,
    }
}

fn template(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    what: &str,
    key: &'static str,
    path: &str,
    names: Names<'_>,
) -> Template {
    optional(reader, table, key, path, names).unwrap_or_else(|| {
        reader.missing(table, what, key);
        Vec::new()
    })
}

fn optional(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    path: &str,
    names: Names<'_>,
) -> Option<Template> {
    table.get(key).map(|value| reader.template(value, key, &join(path, key), names))
}
