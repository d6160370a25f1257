//! `[actions.*]`: steps as data, or as a script beside the `app.toml`.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::app::label;
use super::beside::Beside;
use super::reader::{Entry, Reader, Table, a, join};
use super::{json, request};
use crate::types::{Action, ActionProp, ActionPropKind, ActionWork};

const ACTION: [&str; 8] = ["label", "summary", "docs", "props", "scopes", "request", "script", "script-file"];
const PROP: [&str; 7] = ["label", "help", "example", "kind", "optional", "default", "choices"];
const KINDS: [(&str, ActionPropKind); 7] = [
    ("text", ActionPropKind::Text),
    ("integer", ActionPropKind::Integer),
    ("number", ActionPropKind::Number),
    ("boolean", ActionPropKind::Boolean),
    ("object", ActionPropKind::Object),
    ("json", ActionPropKind::Json),
    ("text-list", ActionPropKind::TextList),
];

pub(super) fn actions(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, beside: &Beside) -> Vec<Action> {
    reader.at("actions", value.span());
    let Some(table) = reader.names(value, "actions") else { return Vec::new() };
    let mut actions = Vec::new();
    for entry in &table.entries {
        let path = format!("actions[{}]", actions.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(join(&path, "name"), entry.key_span.clone());
        actions.extend(action(reader, entry, &path, beside));
    }
    actions
}

fn action(reader: &mut Reader<'_>, entry: &Entry<'_>, path: &str, beside: &Beside) -> Option<Action> {
    let table = reader.table(entry.value, "an action", &ACTION)?;
    let props = table.get("props").map_or_else(Vec::new, |value| props(reader, value, &join(path, "props")));
    let names: Vec<String> = props.iter().map(|prop| prop.name.clone()).collect();
    let work = work(reader, entry, &table, &join(path, "work"), &names, beside);
    Some(Action {
        name: entry.key.to_owned(),
        label: reader.optional(&table, "label", path).unwrap_or_else(|| label(entry.key)),
        summary: reader.required(&table, "the action", "summary", path),
        docs: reader.optional(&table, "docs", path),
        scopes: table.get("scopes").map_or_else(Vec::new, |value| scopes(reader, value, &join(path, "scopes"))),
        props,
        work: work?,
    })
}

fn props(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Vec<ActionProp> {
    let Some(table) = reader.names(value, "props") else { return Vec::new() };
    let mut props = Vec::new();
    for entry in &table.entries {
        let path = format!("{path}[{}]", props.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(join(&path, "name"), entry.key_span.clone());
        let Some(table) = reader.table(entry.value, "a prop", &PROP) else { continue };
        let default = table.get("default").and_then(|value| {
            reader.at(join(&path, "default"), value.span());
            json::text(reader, value)
        });
        let mut choices = Vec::new();
        if let Some(value) = table.get("choices") {
            reader.at(join(&path, "choices"), value.span());
            for item in reader.list(value, "choices") {
                reader.at(format!("{path}.choices[{}]", choices.len()), item.span());
                choices.extend(json::text(reader, item));
            }
        }
        props.push(ActionProp {
            name: entry.key.to_owned(),
            label: reader.optional(&table, "label", &path).unwrap_or_else(|| label(entry.key)),
            help: reader.optional(&table, "help", &path),
            example: reader.optional(&table, "example", &path),
            kind: reader.choice_or(&table, "kind", &KINDS, ActionPropKind::Text),
            optional: reader.flag(&table, "optional", false),
            default,
            choices,
        });
    }
    props
}

/// `["a", "b"]`: both; `[["a"], ["b"]]`: one of them.
fn scopes(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Vec<Vec<String>> {
    reader.at(path, value.span());
    let items = reader.list(value, "scopes");
    if items.is_empty() {
        return Vec::new();
    }
    let texts = |reader: &mut Reader<'_>, items: &[Spanned<DeValue<'_>>], path: &str| -> Vec<String> {
        let items = items.iter().enumerate();
        items.filter_map(|(at, item)| reader.text_of(item, "scopes", &format!("{path}[{at}]"))).collect()
    };
    if !items.iter().any(|item| item.get_ref().is_array()) {
        return vec![texts(reader, items, &format!("{path}[0]"))];
    }
    let mut any = Vec::new();
    for item in items {
        let path = format!("{path}[{}]", any.len());
        reader.at(&*path, item.span());
        match item.get_ref().as_array() {
            Some(all) => any.push(texts(reader, all, &path)),
            None => {
                let message = format!("beside a list of scopes stands another list, not {}", a(item.get_ref()));
                reader.fault(item.span(), message, Some("[[\"a\", \"b\"], [\"c\"]]: a and b, or c".into()));
            }
        }
    }
    any
}

/// Exactly one of the three.
fn work(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    action: &Table<'_>,
    path: &str,
    props: &[String],
    beside: &Beside,
) -> Option<ActionWork> {
    let mut given = action.entries.iter().filter(|entry| matches!(entry.key, "request" | "script" | "script-file"));
    let Some(Entry { key, value, .. }) = given.next() else {
        let help = "request = { method = \"GET\", path = \"/…\" }, script = '''…''' or script-file = \"name.js\"";
        let message = format!("the action `{}` does nothing", entry.key);
        reader.fault(entry.key_span.clone(), message, Some(help.into()));
        return None;
    };
    if let Some(second) = given.next() {
        let message = format!("an action has `{key}` or `{}`, not both", second.key);
        reader.fault(second.key_span.clone(), message, None);
        return None;
    }
    match *key {
        "request" => request::request(reader, value, &join(path, "request"), props).map(ActionWork::Request),
        "script" => reader.text_of(value, "script", &join(path, "script")).map(ActionWork::Script),
        _ => {
            let name = reader.text_of(value, "script-file", &join(path, "script"))?;
            match beside.script(&name) {
                Ok(text) => Some(ActionWork::Script(text.to_owned())),
                Err(reason) => {
                    reader.fault(value.span(), reason, None);
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
