//! What the format can say and this host does not act on: refused by name, so that nothing in a declaration is inert.

use super::Check;
use crate::types::{Rule, Signer};

pub(super) fn unsupported(check: &mut Check<'_>) {
    let app = check.app;
    let mut found: Vec<(String, &'static str)> = Vec::new();
    if app.logo.is_some() {
        found.push(("logo".into(), "logos"));
    }
    for (at, method) in app.methods.iter().enumerate() {
        let path = format!("methods[{at}]");
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
