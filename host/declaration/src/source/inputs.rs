//! `[inputs.*]`: what an account needs besides its secrets, and who says it.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::app::label;
use super::reader::{DECLARE_INPUT, Entry, Names, Reader, Table, a, join};
use crate::types::{Discovery, DiscoveryRequest, Input, InputKind, InputSource, TokenPart};

const INPUT: [&str; 9] = ["label", "help", "example", "kind", "pattern", "choices", "default", "from", "hosts"];
const FROM: [&str; 9] = ["callback", "reply", "token", "pattern", "request", "items", "value", "label", "identity"];
/// One of them says where a discovered value stands.
const SOURCES: [&str; 4] = ["callback", "reply", "token", "request"];

pub(super) fn inputs(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Vec<Input> {
    let Some(table) = reader.names(value, "inputs") else { return Vec::new() };
    let kinds = [("text", InputKind::Text), ("host-label", InputKind::HostLabel), ("base-url", InputKind::BaseUrl)];
    let names: Vec<String> = table.entries.iter().map(|entry| entry.key.to_owned()).collect();
    let mut inputs = Vec::new();
    for entry in &table.entries {
        let path = format!("inputs[{}]", inputs.len());
        reader.at(&*path, entry.key_span.clone());
        reader.at(format!("{path}.name"), entry.key_span.clone());
        let Some(table) = reader.table(entry.value, "an input", &INPUT) else { continue };
        inputs.push(Input {
            name: entry.key.to_owned(),
            label: reader.optional(&table, "label", &path).unwrap_or_else(|| label(entry.key)),
            help: reader.optional(&table, "help", &path),
            example: reader.optional(&table, "example", &path),
            kind: reader.choice_or(&table, "kind", &kinds, InputKind::Text),
            pattern: reader.optional(&table, "pattern", &path),
            choices: reader.strings(&table, "choices", &path),
            default: reader.optional(&table, "default", &path),
            source: source(reader, &table, entry, &path, &names),
            hosts: reader.strings(&table, "hosts", &path),
        });
    }
    inputs
}

fn source(reader: &mut Reader<'_>, input: &Table<'_>, entry: &Entry<'_>, path: &str, names: &[String]) -> InputSource {
    let Some(value) = input.get("from") else { return InputSource::Account };
    let path = join(path, "source");
    reader.at(&*path, value.span());
    if value.get_ref().is_str() {
        let words = [("account", true), ("client", true), ("once", true)];
        let known = reader.choice(value, "from", &words).is_some();
        return match value.get_ref().as_str() {
            Some("client") if known => InputSource::Client,
            Some("once") if known => InputSource::Once,
            _ => InputSource::Account,
        };
    }
    if !value.get_ref().is_table() {
        let message = format!("`from` is \"client\", \"once\" or a table, not {}", a(value.get_ref()));
        reader.fault(value.span(), message, None);
        return InputSource::Account;
    }
    let Some(table) = reader.table(value, "`from`", &FROM) else { return InputSource::Account };
    discovery(reader, &table, &format!("{path}.discovered"), entry.key, names)
        .map_or(InputSource::Account, InputSource::Discovered)
}

/// None when something is wrong, and told.
fn discovery(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    path: &str,
    name: &str,
    names: &[String],
) -> Option<Discovery> {
    let given: Vec<&str> = SOURCES.iter().copied().filter(|key| table.has(key)).collect();
    let [source] = given[..] else {
        let message = format!("`from` has exactly one of {}", SOURCES.join(", "));
        reader.fault(table.span.clone(), message, None);
        return None;
    };
    let fitting: &[&str] = match source {
        "token" => &["token", "pattern"],
        "request" => &["request", "items", "value", "label", "identity"],
        _ => &[],
    };
    for entry in table.entries.iter().filter(|entry| entry.key != source && FROM.contains(&entry.key)) {
        if !fitting.contains(&entry.key) {
            let message = format!("`{}` says nothing beside `{source}`", entry.key);
            reader.fault(entry.key_span.clone(), message, None);
        }
    }
    let value = table.get(source)?;
    match source {
        "callback" => reader.text_of(value, source, &join(path, "callback")).map(Discovery::Callback),
        "reply" => reader.text_of(value, source, &join(path, "reply")).map(Discovery::Reply),
        "token" => {
            let path = join(path, "token");
            reader.at(&*path, value.span());
            let token = reader.text_of(value, source, &join(&path, "token"))?;
            let pattern = reader.required(table, "a value cut out of a token", "pattern", &path);
            Some(Discovery::Token(TokenPart { token, pattern }))
        }
        _ => {
            let path = join(path, "request");
            reader.at(&*path, value.span());
            // Its own value is not there yet.
            let others: Vec<String> = names.iter().filter(|other| *other != name).cloned().collect();
            let names = Names { inputs: &others, tokens: &[], host: &[], declare: DECLARE_INPUT };
            Some(Discovery::Request(DiscoveryRequest {
                url: reader.template(value, source, &join(&path, "url"), names),
                identity: reader.optional(table, "identity", &path),
                items: reader.optional(table, "items", &path),
                value: reader.required(table, "a value that is asked for", "value", &path),
                label: reader.optional(table, "label", &path),
            }))
        }
    }
}
