//! Methods that cannot work, or that nobody can tell from another.

use super::{Warning, warning};
use crate::types::{App, AuthKind, AuthMethod, Part};

/// Token endpoints that refuse, or give a useless token, when no scope is asked for.
const DEMAND_SCOPES: [&str; 14] = [
    "oauth2.googleapis.com",
    "accounts.google.com",
    "www.googleapis.com",
    "login.microsoftonline.com",
    "login.live.com",
    "accounts.zoho.",
    "auth.atlassian.com",
    "slack.com",
    "discord.com",
    "www.linkedin.com",
    "api.hubapi.com",
    "open.tiktokapis.com",
    "api.x.com",
    "api.twitter.com",
];

pub(super) fn check(app: &App, warnings: &mut Vec<Warning>) {
    for (at, method) in app.methods.iter().enumerate() {
        if let Some(host) = scopeless(method) {
            let message = format!("{host} demands scopes, and method `{}` has none", method.id);
            let help = format!("[methods.{}.oauth2.scopes], at least one with default = true", method.id);
            warnings.push(warning("no-scopes", &["methods", &method.id], message, help));
        }
        if let Some(same) = app.methods[..at].iter().find(|earlier| same(earlier, method)) {
            let message = format!("method `{}` asks for and sends the same as `{}`", method.id, same.id);
            warnings.push(warning("unreachable-method", &["methods", &method.id], message, "remove one of the two"));
        }
    }
}

fn scopeless(method: &AuthMethod) -> Option<&'static str> {
    let AuthKind::OAuth2Code(oauth2) = &method.kind else { return None };
    if oauth2.scope_lists.iter().any(|list| !list.scopes.is_empty()) {
        return None;
    }
    let Some(Part::Text(text)) = oauth2.token_url.first() else { return None };
    let host = text.strip_prefix("https://")?;
    let is = |name: &str| host.starts_with(name) && (name.ends_with('.') || host[name.len()..].starts_with('/'));
    DEMAND_SCOPES.into_iter().find(|name| is(name))
}

fn same(one: &AuthMethod, other: &AuthMethod) -> bool {
    let asked = |method: &AuthMethod| -> Vec<_> {
        method.tokens.iter().map(|token| (token.name.clone(), token.optional, token.once)).collect()
    };
    one.kind == other.kind && asked(one) == asked(other) && one.rule_sets == other.rule_sets
}
