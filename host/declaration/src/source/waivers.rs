//! `lint.allow`: what an author knows and means, with the reason. It has no place in the component.

use std::ops::Range;

use toml::de::DeTable;

use super::reader::{Reader, Table, entries};
use crate::lint::RULES;

/// One line of `lint.allow`.
pub(crate) struct Waiver {
    pub rule: String,
    pub span: Range<usize>,
}

/// Faults of what is written wrongly.
pub(super) fn check(reader: &mut Reader<'_>, root: &Table<'_>) {
    read(reader, root);
}

/// The waivers of a text that was read without faults before.
pub(crate) fn of(text: &str) -> Vec<Waiver> {
    let (root, _) = DeTable::parse_recoverable(text);
    read(&mut Reader::new(text), &entries(root.get_ref(), 0..0))
}

fn read(reader: &mut Reader<'_>, root: &Table<'_>) -> Vec<Waiver> {
    let table = root.get("lint").and_then(|value| reader.table(value, "lint", &["allow"]));
    let Some(allow) = table.as_ref().and_then(|table| table.get("allow")) else { return Vec::new() };
    let mut waivers = Vec::new();
    for item in reader.list(allow, "allow") {
        let Some(table) = reader.table(item, "a waiver", &["rule", "reason"]) else { continue };
        let rules: Vec<_> = RULES.iter().map(|rule| (*rule, *rule)).collect();
        match table.get("rule") {
            Some(value) => {
                let rule = reader.choice(value, "rule", &rules);
                waivers.extend(rule.map(|rule| Waiver { rule: rule.to_owned(), span: item.span() }));
            }
            None => reader.missing(&table, "a waiver", "rule"),
        }
        let reason = reader.required(&table, "a waiver", "reason", "");
        if table.has("reason") && reason.trim().is_empty() {
            reader.fault(item.span(), "a waiver says why", None);
        }
    }
    waivers
}
