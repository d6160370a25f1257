//! `http = { … }`: one request, and what to make of its answer.

use std::time::Duration;

use deputy_declaration::source::next_page;
use deputy_declaration::source::reader::{Reader, Table};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::short;
use super::step::count;
use super::value::{child, duration, json, pairs};
use crate::step::{AnswerRules, Call, CallBody, CallRetry, Pages, Parse};

const HTTP: [&str; 14] = [
    "method", "path", "query", "headers", "json", "form", "text", "identity", "expect", "parse", "output", "save",
    "retry", "paginate",
];
const BODIES: [&str; 3] = ["json", "form", "text"];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
const MAX_PAGES: u32 = 1_000;
const MAX_ITEMS: u32 = 100_000;

pub(super) fn call(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Call {
    reader.at(path, value.span());
    let mut call = Call {
        method: "GET".to_owned(),
        path: String::new(),
        query: Vec::new(),
        headers: Vec::new(),
        body: CallBody::None,
        identity: None,
        answer: AnswerRules::default(),
    };
    let Some(table) = reader.table(value, "an HTTP step", &HTTP) else { return call };
    if let Some(value) = table.get("method") {
        reader.at(child(path, "method"), value.span());
        let words = METHODS.map(|method| (method, method));
        call.method = reader.choice(value, "method", &words).unwrap_or("GET").to_owned();
    }
    call.path = reader.required(&table, "an HTTP step", "path", path);
    if let Some(value) = table.get("path").filter(|value| value.get_ref().is_str())
        && !["/", "https://", "http://", "{{"].iter().any(|start| call.path.starts_with(start))
    {
        let help = "below the app's base, such as \"/user\", or an absolute URL that the account reaches";
        reader.fault(value.span(), "the path does not begin with `/`", Some(help.to_owned()));
    }
    call.query = pairs(reader, &table, "query", &child(path, "query"));
    call.headers = headers(reader, &table, path);
    call.body = body(reader, &table, path);
    if let Some(value) = table.get("method")
        && ["GET", "HEAD"].contains(&&*call.method)
        && call.body != CallBody::None
    {
        reader.fault(value.span(), format!("a {} request has no body", call.method), None);
    }
    call.identity = reader.optional(&table, "identity", path);
    call.answer = answer(reader, &table, path);
    call
}

fn headers(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> Vec<(String, String)> {
    let path = child(path, "headers");
    let headers = pairs(reader, table, "headers", &path);
    for (at, (name, _)) in headers.iter().enumerate() {
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            let span = reader.span_of(&format!("{path}[{at}].name"));
            reader.fault(span, format!("`{}` is no header's name", short(name)), None);
        }
    }
    headers
}

fn body(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> CallBody {
    let given: Vec<_> = table.entries.iter().filter(|entry| BODIES.contains(&entry.key)).collect();
    let Some(first) = given.first() else { return CallBody::None };
    if let Some(second) = given.get(1) {
        let message = format!("a request has one body: `{}` or `{}`", first.key, second.key);
        reader.fault(second.key_span.clone(), message, None);
    }
    let place = child(path, first.key);
    match first.key {
        "json" => CallBody::Json(json(reader, first.value, &place)),
        "form" => CallBody::Form(pairs(reader, table, "form", &place)),
        _ => {
            reader.at(&*place, first.value.span());
            let content_type = "text/plain; charset=utf-8".to_owned();
            if let Some(text) = first.value.get_ref().as_str() {
                reader.at(child(&place, "text"), first.value.span());
                return CallBody::Text { content_type, text: text.to_owned() };
            }
            let Some(table) = reader.table(first.value, "`text`", &["content-type", "text"]) else {
                return CallBody::None;
            };
            let content_type = reader.optional(&table, "content-type", &place).unwrap_or(content_type);
            if http::HeaderValue::from_str(&content_type).is_err() {
                reader.fault(reader.span_of(&child(&place, "content-type")), "this is no content type", None);
            }
            CallBody::Text { content_type, text: reader.required(&table, "`text`", "text", &place) }
        }
    }
}

fn answer(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> AnswerRules {
    let mut answer = AnswerRules::default();
    let parsers = [("auto", Parse::Auto), ("json", Parse::Json), ("text", Parse::Text), ("base64", Parse::Base64)];
    answer.parse = reader.choice_or(table, "parse", &parsers, Parse::Auto);
    if let Some(value) = table.get("expect") {
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        for item in items {
            let Some(status) = reader.number::<u16>(item, "expect") else { continue };
            match (100..=599).contains(&status) {
                true => answer.expect.push(status),
                false => reader.fault(item.span(), format!("{status} is no status"), None),
            }
        }
    }
    answer.output = pointer(reader, table, "output", path);
    answer.save = save(reader, table, path);
    if let Some(value) = table.get("retry") {
        let path = child(path, "retry");
        if let Some(table) = reader.table(value, "`retry`", &["attempts", "longest-wait", "unsafe-too"]) {
            let default = CallRetry::default();
            let most = Duration::from_secs(600);
            answer.retry = CallRetry {
                attempts: count(reader, &table, "attempts", 10, default.attempts),
                longest_wait: duration(
                    reader,
                    &table,
                    "longest-wait",
                    &path,
                    (default.longest_wait, Duration::ZERO, most),
                ),
                unsafe_too: reader.flag(&table, "unsafe-too", default.unsafe_too),
            };
        }
    }
    answer.pages = table.get("paginate").and_then(|value| pages(reader, value, &child(path, "paginate")));
    if let (Some(value), Some(_), Some(_)) = (table.get("save"), &answer.save, &answer.pages) {
        reader.fault(value.span(), "pages are not saved to a file", Some("leave out `save` or `paginate`".to_owned()));
    }
    answer
}

/// A file's name without folders. Where it holds an expression, what that gives is checked in the run.
fn save(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> Option<String> {
    let value = table.get("save")?;
    let name = reader.optional(table, "save", path)?;
    if !name.contains("{{") && !crate::workflow::expression::is_file_name(&name) {
        let help = "a name without folders, such as \"invoice.pdf\"";
        reader.fault(value.span(), format!("`{}` is no file's name", short(&name)), Some(help.to_owned()));
        return None;
    }
    Some(name)
}

fn pages(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Pages> {
    reader.at(path, value.span());
    if let Some(flag) = value.get_ref().as_bool() {
        return flag.then(Pages::default);
    }
    let table = reader.table(value, "`paginate`", &["items", "next", "max-pages", "max-items"])?;
    let default = Pages::default();
    Some(Pages {
        items: pointer(reader, &table, "items", path),
        next: table.get("next").and_then(|value| next_page(reader, value, &child(path, "next"))),
        most_pages: count(reader, &table, "max-pages", MAX_PAGES, default.most_pages),
        most_items: count(reader, &table, "max-items", MAX_ITEMS, default.most_items),
    })
}

fn pointer(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, path: &str) -> Option<String> {
    let value = table.get(key)?;
    let text = reader.optional(table, key, path)?;
    if !text.is_empty() && !text.starts_with('/') {
        let help = format!("a JSON Pointer, such as \"/{}\"", short(&text));
        reader.fault(value.span(), format!("`{key}` does not begin with `/`"), Some(help));
    }
    Some(text)
}
