//! What the format can say and this host does not act on: refused by name, so that nothing in a declaration is inert.

use super::Check;
use crate::types::{AuthKind, Expiry, Rule, Signer};

pub(super) fn unsupported(check: &mut Check<'_>) {
    let app = check.app;
    let mut found: Vec<(String, &'static str)> = Vec::new();
    if app.logo.is_some() {
        found.push(("logo".into(), "logos"));
    }
    for (at, method) in app.methods.iter().enumerate() {
        let path = format!("methods[{at}]");
        if !method.revoke.is_empty() {
            found.push((format!("{path}.revoke"), "calls that revoke"));
        }
        match &method.kind {
            AuthKind::Keys => {}
            AuthKind::Exchange(_) => found.push((format!("{path}.kind"), "exchanges")),
            AuthKind::OAuth2Code(oauth2) => {
                let path = format!("{path}.kind.oauth2-code");
                for (key, calls) in [("then", &oauth2.then), ("refresh", &oauth2.refresh)] {
                    if !calls.is_empty() {
                        found.push((format!("{path}.{key}"), key));
                    }
                }
            }
        }
        for (at, token) in method.tokens.iter().enumerate() {
            let reply = token.reply.as_ref();
            let odd = token.once
                || reply.is_some_and(|reply| {
                    reply.call != 0
                        || reply.access_header.is_some()
                        || !matches!(reply.expiry, None | Some(Expiry::Seconds(_)))
                });
            if odd {
                found.push((format!("{path}.tokens[{at}]"), "such a token"));
            }
        }
        for (set, rules) in method.rule_sets.iter().enumerate() {
            for (at, rule) in rules.rules.iter().enumerate() {
                if matches!(rule, Rule::Sign(Signer::Hook)) {
                    found.push((format!("{path}.rule-sets[{set}].rules[{at}]"), "hooks that sign"));
                }
            }
        }
    }
    for (path, what) in found {
        check.fail(path, format!("this version does not act on {what} yet"));
    }
}
