//! The top of an `app.toml`: identity, inputs, base, reach, headers, test.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::beside::Beside;
use super::family::Texts;
use super::inputs::inputs;
use super::reader::{DECLARE_INPUT, Entry, Names, Reader, Table, entries, join};
use super::{actions, method, pagination, signals, waivers};
use crate::template::{declared_origin, shape};
use crate::types::{
    App, DefaultHeader, Evidence, EvidenceLevel, Input, LabelOrigin, Origin, Param, Part, Reach, Template, TestRequest,
};

const APP: [&str; 18] = [
    "slug",
    "extends",
    "name",
    "summary",
    "categories",
    "homepage",
    "docs",
    "evidence",
    "lint",
    "inputs",
    "methods",
    "base",
    "reach",
    "headers",
    "test",
    "signals",
    "pagination",
    "actions",
];

/// None when the text is no TOML, or too broken to go on.
pub(super) fn read(reader: &mut Reader<'_>, texts: &Texts, beside: &Beside) -> Option<App> {
    let root = texts.tables(reader)?;
    let root = entries(&root, 0..0);
    if let Some(value) = root.get("extends")
        && let Some(name) = reader.text_of(value, "extends", "extends")
        && let Err(message) = beside.family(&name)
    {
        reader.fault(value.span(), message, None);
    }
    reader.known(&root, "an app", &APP);
    // Only the lints want them; here they must be well written.
    waivers::check(reader, &root);
    let inputs = root.get("inputs").map_or_else(Vec::new, |value| inputs(reader, value));
    let input_names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
    let names = Names { inputs: &input_names, tokens: &[], host: &[], declare: DECLARE_INPUT };
    let base = match root.get("base") {
        Some(value) => reader.template(value, "base", "base", names),
        None => {
            reader.missing(&root, "the app", "base");
            Vec::new()
        }
    };
    let methods = match root.get("methods") {
        Some(value) => method::methods(reader, value, &input_names),
        None => {
            let help = "[methods.key]\nheader.Authorization = \"Bearer {key}\"\ntokens.key = {}";
            reader.fault(0..0, "the app lacks `methods`", Some(help.replace('\n', "; ")));
            Vec::new()
        }
    };
    Some(App {
        slug: reader.required(&root, "the app", "slug", ""),
        name: reader.required(&root, "the app", "name", ""),
        summary: reader.required(&root, "the app", "summary", ""),
        categories: reader.strings(&root, "categories", ""),
        homepage: reader.optional(&root, "homepage", ""),
        docs: reader.optional(&root, "docs", ""),
        logo: logo(reader, beside),
        evidence: evidence(reader, &root),
        reach: reach(reader, &root, &base, &inputs, names),
        headers: root.get("headers").map_or_else(Vec::new, |value| headers(reader, value)),
        test: root.get("test").and_then(|value| test(reader, value)),
        signals: signals::signals(reader, &root),
        pagination: root.get("pagination").and_then(|value| pagination::pagination(reader, value)),
        actions: root.get("actions").map_or_else(Vec::new, |value| actions::actions(reader, value, beside)),
        inputs,
        methods,
        base,
    })
}

/// The `logo.svg` beside the `app.toml`.
fn logo(reader: &mut Reader<'_>, beside: &Beside) -> Option<String> {
    match beside.logo.as_ref()? {
        Ok(text) => Some(text.clone()),
        Err(message) => {
            reader.fault(0..0, message, None);
            None
        }
    }
}

/// `api_key` → `Api key`: what a person reads where the author gave no label.
pub(super) fn label(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn evidence(reader: &mut Reader<'_>, root: &Table<'_>) -> Evidence {
    let mut evidence = Evidence { level: EvidenceLevel::Facts, date: String::new(), source: String::new() };
    let Some(value) = root.get("evidence") else {
        let help = "evidence = { level = \"facts\", date = \"2026-11-23\", source = \"https://…\" }";
        reader.fault(root.span.clone(), "the app lacks `evidence`", Some(help.into()));
        return evidence;
    };
    reader.at("evidence", value.span());
    let Some(table) = reader.table(value, "evidence", &["level", "date", "source"]) else { return evidence };
    let levels =
        [("facts", EvidenceLevel::Facts), ("checked", EvidenceLevel::Checked), ("verified", EvidenceLevel::Verified)];
    match table.get("level") {
        Some(value) => evidence.level = reader.choice(value, "level", &levels).unwrap_or(evidence.level),
        None => reader.missing(&table, "evidence", "level"),
    }
    evidence.date = reader.required(&table, "evidence", "date", "evidence");
    evidence.source = reader.required(&table, "evidence", "source", "evidence");
    evidence
}

fn reach(reader: &mut Reader<'_>, root: &Table<'_>, base: &Template, inputs: &[Input], names: Names<'_>) -> Reach {
    let mut reach = Reach { origins: Vec::new(), methods: Vec::new(), paths: Vec::new(), denied_paths: Vec::new() };
    let table = root.get("reach").and_then(|value| {
        reader.at("reach", value.span());
        reader.table(value, "reach", &["origins", "methods", "paths", "denied-paths"])
    });
    if let Some(table) = &table {
        reach.methods = reader.strings(table, "methods", "reach");
        reach.paths = reader.strings(table, "paths", "reach");
        reach.denied_paths = reader.strings(table, "denied-paths", "reach");
    }
    match table.as_ref().and_then(|table| table.get("origins")) {
        Some(value) => {
            reader.at("reach.origins", value.span());
            for (at, item) in reader.list(value, "origins").iter().enumerate() {
                let path = format!("reach.origins[{at}]");
                let template = reader.template(item, "origins", &path, names);
                match origin(&template, inputs) {
                    Some(origin) => reach.origins.push(origin),
                    None if template.is_empty() => {}
                    None => {
                        let help = "\"https://api.example.com\", \"https://{shop}.example.com\" or \"{url}\"";
                        reader.fault(item.span(), "this is no origin", Some(help.into()));
                    }
                }
            }
        }
        None => {
            // The origin of the base; a broken base is told where it stands.
            let origin = shape(base, inputs).ok().map(|authority| authority.declared());
            match origin {
                Some(origin) => reach.origins.push(origin),
                None => {
                    if let Err(fault) = shape(base, inputs)
                        && !base.is_empty()
                    {
                        let path = fault.part.map_or("base".to_owned(), |part| format!("base[{part}]"));
                        let span = reader.span_of(&path);
                        reader.fault(span, fault.message, fault.help);
                    }
                }
            }
        }
    }
    reach
}

/// An unsound one too: validation says what is wrong with it.
fn origin(template: &Template, inputs: &[Input]) -> Option<Origin> {
    if let Some(origin) = declared_origin(template, inputs) {
        return Some(origin);
    }
    match &template[..] {
        [Part::Text(text)] => Some(Origin::Exact(text.clone())),
        [Part::Input(input)] if input.encodings.is_empty() => Some(Origin::Pinned(input.name.clone())),
        [Part::Text(scheme), Part::Input(input), Part::Text(suffix)]
            if scheme == "https://" && input.encodings.is_empty() =>
        {
            Some(Origin::Label(LabelOrigin {
                prefix: String::new(),
                input: input.name.clone(),
                suffix: suffix.clone(),
            }))
        }
        _ => None,
    }
}

fn headers(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Vec<DefaultHeader> {
    let Some(table) = reader.names(value, "headers") else { return Vec::new() };
    let mut headers = Vec::new();
    for entry in &table.entries {
        let path = format!("headers[{}]", headers.len());
        reader.at(&*path, entry.key_span.clone());
        let (value, locked) = match entry.value.get_ref() {
            DeValue::Table(_) => {
                let Some(table) = reader.table(entry.value, "a default header", &["value", "locked"]) else { continue };
                let value = reader.required(&table, "the header", "value", &path);
                (value, reader.flag(&table, "locked", false))
            }
            _ => {
                let path = join(&path, "value");
                (reader.text_of(entry.value, entry.key, &path).unwrap_or_default(), false)
            }
        };
        headers.push(DefaultHeader { name: entry.key.to_owned(), value, locked });
    }
    headers
}

/// A table of name and text.
pub(super) fn params(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, prefix: &str) -> Vec<Param> {
    let Some(value) = table.get(key) else { return Vec::new() };
    let Some(table) = reader.names(value, key) else { return Vec::new() };
    let path = join(prefix, key);
    let mut params = Vec::new();
    for Entry { key, key_span, value } in &table.entries {
        let path = format!("{path}[{}]", params.len());
        reader.at(format!("{path}.name"), key_span.clone());
        let value = reader.text_of(value, key, &format!("{path}.value")).unwrap_or_default();
        params.push(Param { name: (*key).to_owned(), value });
    }
    params
}

fn test(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<TestRequest> {
    reader.at("test", value.span());
    let table = reader.table(value, "test", &["method", "path", "headers", "body", "id", "label", "identity-hook"])?;
    Some(TestRequest {
        method: reader.optional(&table, "method", "test").unwrap_or_else(|| "GET".into()),
        path: reader.required(&table, "test", "path", "test"),
        headers: params(reader, &table, "headers", "test"),
        body: reader.optional(&table, "body", "test"),
        id: reader.optional(&table, "id", "test"),
        label: reader.optional(&table, "label", "test"),
        identity_hook: reader.flag(&table, "identity-hook", false),
    })
}
