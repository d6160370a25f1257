//! `[methods.*]`: one way to connect an account, put together from its tokens, its rules and what brings the tokens.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::app::label;
use super::calls::calls;
use super::exchange::{client_credentials, exchange};
use super::oauth2::oauth2;
use super::reader::{DECLARE_INPUT, Entry, Names, Reader, Table, join};
use super::rules::{RULES, rule_sets};
use super::tokens::{Grant, Way, tokens};
use crate::types::{AuthKind, AuthMethod, ClientAuth, Setup, Token};

const METHOD: [&str; 8] = ["label", "help", "docs", "setup", "tokens", "revoke", "rule-sets", "reply-hook"];
const KINDS: [&str; 3] = ["oauth2", "exchange", "client-credentials"];

pub(super) fn methods(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, inputs: &[String]) -> Vec<AuthMethod> {
    reader.at("methods", value.span());
    let Some(table) = reader.names(value, "methods") else { return Vec::new() };
    let any_oauth = table.entries.iter().any(|entry| {
        let method = entry.value.get_ref();
        method.get("oauth2").is_some() || method.get("client-credentials").is_some()
    });
    let mut methods = Vec::new();
    for entry in &table.entries {
        let path = format!("methods[{}]", methods.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(format!("{path}.id"), entry.key_span.clone());
        if let Some(method) = method(reader, entry, &path, inputs, any_oauth) {
            methods.push(method);
        }
    }
    methods
}

fn method(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    path: &str,
    inputs: &[String],
    any_oauth: bool,
) -> Option<AuthMethod> {
    let allowed: Vec<&'static str> = METHOD.iter().chain(&KINDS).chain(&RULES).copied().collect();
    let table = reader.table(entry.value, "a method", &allowed)?;
    let way = way(reader, &table);
    let tokens = tokens(reader, &table, path, grant(&table, way, any_oauth));
    let token_names: Vec<String> = tokens.iter().map(|token| token.name.clone()).collect();
    let names = Names { inputs, tokens: &token_names, host: &[], declare: DECLARE_INPUT };
    let kind = kind(reader, &table, way, path, names)?;
    let (rule_host, revoke_host): (&[&str], &[&str]) = match &kind {
        AuthKind::Keys => (&[], &[]),
        AuthKind::OAuth2Code(oauth2) => {
            (&["client_id"], client_values(oauth2.client_auth != ClientAuth::None, false, true))
        }
        AuthKind::Exchange(exchange) if exchange.refresh.is_empty() => (&[], &[]),
        AuthKind::Exchange(_) => (&[], &["refresh_token"]),
    };
    let bearer = bearer(way, &tokens).map(|token| token.name.as_str());
    Some(AuthMethod {
        id: entry.key.to_owned(),
        label: reader.optional(&table, "label", path).unwrap_or_else(|| match way {
            Way::OAuth => "OAuth".to_owned(),
            _ => label(entry.key),
        }),
        help: reader.optional(&table, "help", path),
        docs: reader.optional(&table, "docs", path),
        setup: table.get("setup").and_then(|value| setup(reader, value, &join(path, "setup"))),
        kind,
        rule_sets: rule_sets(reader, entry, &table, path, names.with_host(rule_host), bearer),
        revoke: calls(reader, &table, "revoke", path, names.with_host(revoke_host)),
        reply_hook: reader.flag(&table, "reply-hook", false),
        tokens,
    })
}

/// The values of an OAuth client and its flow that a template may name.
pub(super) fn client_values(secret: bool, redirect: bool, refresh: bool) -> &'static [&'static str] {
    match (secret, redirect, refresh) {
        (true, true, true) => &["client_id", "client_secret", "redirect_uri", "refresh_token"],
        (true, true, false) => &["client_id", "client_secret", "redirect_uri"],
        (true, false, true) => &["client_id", "client_secret", "refresh_token"],
        (true, false, false) => &["client_id", "client_secret"],
        (false, true, true) => &["client_id", "redirect_uri", "refresh_token"],
        (false, true, false) => &["client_id", "redirect_uri"],
        (false, false, true) => &["client_id", "refresh_token"],
        (false, false, false) => &["client_id"],
    }
}

fn way(reader: &mut Reader<'_>, method: &Table<'_>) -> Way {
    let mut kinds = method.entries.iter().filter(|entry| KINDS.contains(&entry.key));
    let way = match kinds.next().map(|entry| entry.key) {
        None => Way::Keys,
        Some("oauth2") => Way::OAuth,
        Some("exchange") => Way::Exchange,
        Some(_) => Way::ClientCredentials,
    };
    if let Some(second) = kinds.next() {
        let message = format!("a method is one of {}", KINDS.join(", "));
        reader.fault(second.key_span.clone(), message, Some("make it two methods".into()));
    }
    way
}

fn grant(method: &Table<'_>, way: Way, any_oauth: bool) -> Grant {
    let length = |kind: &str, key: &str| {
        let calls = method.get(kind).and_then(|kind| kind.get_ref().get(key)?.get_ref().as_array());
        calls.map_or(0, |calls| u32::try_from(calls.len()).unwrap_or(u32::MAX))
    };
    let (last_call, refresh) = match way {
        Way::Keys | Way::ClientCredentials => (0, false),
        Way::OAuth => (length("oauth2", "then"), true),
        Way::Exchange => (length("exchange", "calls").saturating_sub(1), length("exchange", "refresh") > 0),
    };
    Grant { way, last_call, refresh, any_oauth }
}

fn kind(reader: &mut Reader<'_>, table: &Table<'_>, way: Way, path: &str, names: Names<'_>) -> Option<AuthKind> {
    let exchange_path = format!("{path}.kind.exchange");
    Some(match way {
        Way::Keys => AuthKind::Keys,
        Way::OAuth => {
            let value = table.get("oauth2")?;
            AuthKind::OAuth2Code(oauth2(reader, value, &format!("{path}.kind.oauth2-code"), names)?)
        }
        Way::Exchange => AuthKind::Exchange(exchange(reader, table.get("exchange")?, &exchange_path, names)?),
        Way::ClientCredentials => {
            let value = table.get("client-credentials")?;
            AuthKind::Exchange(client_credentials(reader, value, &exchange_path, names.inputs)?)
        }
    })
}

/// The token of the rule that most methods of these kinds have.
fn bearer(way: Way, tokens: &[Token]) -> Option<&Token> {
    if !matches!(way, Way::OAuth | Way::ClientCredentials) {
        return None;
    }
    let mut obtained = tokens.iter().filter(|token| token.reply.is_some());
    obtained.next().filter(|_| obtained.next().is_none())
}

fn setup(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Setup> {
    reader.at(path, value.span());
    let table = reader.table(value, "setup", &["url", "steps"])?;
    Some(Setup { url: reader.optional(&table, "url", path), steps: reader.strings(&table, "steps", path) })
}
