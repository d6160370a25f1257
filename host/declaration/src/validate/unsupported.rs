//! What the format can say and this host does not act on: refused by name, so that nothing in a declaration is inert.

use super::Check;
use crate::types::{Origin, Rule};

pub(super) fn unsupported(check: &mut Check<'_>) {
    let app = check.app;
    let mut found: Vec<(String, &'static str)> = Vec::new();
    if app.logo.is_some() {
        found.push(("logo".into(), "logos"));
    }
    for (at, origin) in app.reach.origins.iter().enumerate() {
        let odd = match origin {
            Origin::Choice(_) => true,
            Origin::Label(label) => !label.prefix.is_empty(),
            Origin::Exact(_) | Origin::Pinned(_) => false,
        };
        if odd {
            found.push((format!("reach.origins[{at}]"), "hosts made of choices"));
        }
    }
    for (at, method) in app.methods.iter().enumerate() {
        let path = format!("methods[{at}]");
        for (set, rules) in method.rule_sets.iter().enumerate() {
            for (at, rule) in rules.rules.iter().enumerate() {
                if matches!(rule, Rule::Body(_) | Rule::Path(_) | Rule::Sign(_)) {
                    found.push((format!("{path}.rule-sets[{set}].rules[{at}]"), "rules of this kind"));
                }
            }
        }
    }
    for (path, what) in found {
        check.fail(path, format!("this version does not act on {what} yet"));
    }
}
