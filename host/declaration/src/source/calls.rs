//! Calls: requests to a provider's login, as data.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::json;
use super::reader::{Names, Reader, Table, a, join};
use super::rules::basic;
use crate::types::{Call, CallBody, JsonField, NamedTemplate, Part, TextBody};

const CALL: [&str; 8] = ["method", "url", "headers", "query", "basic", "form", "json", "text"];
const BODIES: [&str; 3] = ["form", "json", "text"];

/// A list of calls below `key`; empty where it is absent.
pub(super) fn calls(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    prefix: &str,
    names: Names<'_>,
) -> Vec<Call> {
    let Some(value) = table.get(key) else { return Vec::new() };
    let path = join(prefix, key);
    reader.at(&*path, value.span());
    let items = reader.list(value, key);
    if items.is_empty() && value.get_ref().is_array() {
        reader.fault(value.span(), format!("`{key}` holds no call"), Some("leave it out".into()));
    }
    let items = items.iter().enumerate();
    items.filter_map(|(at, item)| call(reader, item, &format!("{path}[{at}]"), names)).collect()
}

fn call(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str, names: Names<'_>) -> Option<Call> {
    reader.at(path, value.span());
    let table = reader.table(value, "a call", &CALL)?;
    let body = body(reader, &table, &join(path, "body"), names);
    let url = match table.get("url") {
        Some(value) => reader.template(value, "url", &join(path, "url"), names),
        None => {
            reader.missing(&table, "the call", "url");
            Vec::new()
        }
    };
    let method = reader.optional(&table, "method", path);
    let method = method.unwrap_or_else(|| if body == CallBody::None { "GET" } else { "POST" }.to_owned());
    Some(Call {
        method,
        url,
        headers: named(reader, &table, "headers", &join(path, "headers"), names),
        query: named(reader, &table, "query", &join(path, "query"), names),
        basic: table.get("basic").and_then(|value| basic(reader, value, &join(path, "basic"), names)),
        body,
    })
}

/// A table of names and templates.
pub(super) fn named(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    path: &str,
    names: Names<'_>,
) -> Vec<NamedTemplate> {
    let Some(value) = table.get(key) else { return Vec::new() };
    reader.at(path, value.span());
    let Some(table) = reader.names(value, key) else { return Vec::new() };
    let mut fields = Vec::new();
    for entry in &table.entries {
        let path = format!("{path}[{}]", fields.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(join(&path, "name"), entry.key_span.clone());
        let value = reader.template(entry.value, entry.key, &join(&path, "value"), names);
        fields.push(NamedTemplate { name: entry.key.to_owned(), value });
    }
    fields
}

fn body(reader: &mut Reader<'_>, call: &Table<'_>, path: &str, names: Names<'_>) -> CallBody {
    let mut given = call.entries.iter().filter(|entry| BODIES.contains(&entry.key));
    let Some(first) = given.next() else { return CallBody::None };
    if let Some(second) = given.next() {
        reader.fault(second.key_span.clone(), "a call has one body: `form`, `json` or `text`", None);
    }
    reader.at(path, first.value.span());
    let path = join(path, first.key);
    match first.key {
        "form" => CallBody::Form(named(reader, call, "form", &path, names)),
        "json" => CallBody::Json(json_fields(reader, first.value, &path, names)),
        _ => {
            reader.at(&*path, first.value.span());
            let Some(table) = reader.table(first.value, "a text body", &["content-type", "value"]) else {
                return CallBody::None;
            };
            let value = match table.get("value") {
                Some(value) => reader.template(value, "value", &join(&path, "value"), names),
                None => {
                    reader.missing(&table, "the text body", "value");
                    Vec::new()
                }
            };
            let content_type = reader.required(&table, "the text body", "content-type", &path);
            CallBody::Text(TextBody { content_type, value })
        }
    }
}

fn json_fields(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str, names: Names<'_>) -> Vec<JsonField> {
    reader.at(path, value.span());
    let Some(table) = reader.names(value, "json") else { return Vec::new() };
    let mut fields = Vec::new();
    for entry in &table.entries {
        let path = format!("{path}[{}]", fields.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(join(&path, "at"), entry.key_span.clone());
        let at = entry.key.to_owned();
        let value_path = join(&path, "value");
        match entry.value.get_ref() {
            DeValue::String(_) => {
                let value = reader.template(entry.value, entry.key, &value_path, names);
                fields.push(JsonField { at, value, raw: false });
            }
            DeValue::Boolean(_) | DeValue::Integer(_) | DeValue::Float(_) => {
                reader.at(value_path, entry.value.span());
                if let Some(text) = json::text(reader, entry.value) {
                    fields.push(JsonField { at, value: vec![Part::Text(text)], raw: true });
                }
            }
            other => {
                let message = format!("`{}` is a text, a number, true or false, not {}", entry.key, a(other));
                let help = "write each field at its JSON Pointer: json.\"/a/b\" = …";
                reader.fault(entry.value.span(), message, Some(help.into()));
            }
        }
    }
    fields
}
