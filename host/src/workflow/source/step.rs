//! `[[steps]]`.

use std::collections::BTreeMap;
use std::time::Duration;

use deputy_declaration::source::reader::{Reader, Table};
use serde_json::{Map, Value};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::value::{account, child, duration, json};
use super::{Aliases, call, short};
use crate::workflow::types::{ForEach, OnError, Retry, Step, StepWhat};

const STEP: [&str; 13] = [
    "name",
    "action",
    "script",
    "component",
    "http",
    "account",
    "accounts",
    "input",
    "when",
    "for-each",
    "retry",
    "timeout",
    "on-error",
];
const KINDS: [&str; 4] = ["action", "script", "component", "http"];

const MAX_NAME: usize = 40;
const MAX_ATTEMPTS: u32 = 20;
const MAX_PARALLEL: u32 = 64;
const HOUR: Duration = Duration::from_secs(3600);

/// As long as a run has when nobody says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Always a step: what could not be read is told, and left at its default.
pub(super) fn step(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    aliases: &Aliases,
    earlier: &[Step],
) -> Step {
    let mut step = Step {
        name: String::new(),
        what: StepWhat::Program { path: String::new(), hash: String::new() },
        accounts: BTreeMap::new(),
        input: Value::Object(Map::new()),
        when: None,
        for_each: None,
        retry: Retry { attempts: 1, delay: Duration::from_secs(1) },
        timeout: DEFAULT_TIMEOUT,
        on_error: OnError::Fail,
    };
    let Some(table) = reader.table(value, "a step", &STEP) else { return step };
    step.name = name(reader, &table, path, earlier);
    what(reader, &table, path, &mut step);
    accounts(reader, &table, path, aliases, &mut step);
    if let Some(value) = table.get("input") {
        let path = child(path, "input");
        match (&step.what, value.get_ref()) {
            (StepWhat::Http(_), _) => {
                let help = "what it sends stands in its `http`";
                reader.fault(value.span(), "an HTTP step has no input", Some(help.to_owned()));
            }
            (_, DeValue::Table(_)) => step.input = json(reader, value, &path),
            _ => {
                reader.names(value, "`input`");
            }
        }
    }
    step.when = reader.optional(&table, "when", path);
    step.for_each = for_each(reader, &table, path);
    if let Some(value) = table.get("retry") {
        let path = child(path, "retry");
        if let Some(table) = reader.table(value, "`retry`", &["attempts", "delay"]) {
            step.retry.attempts = count(reader, &table, "attempts", MAX_ATTEMPTS, 1);
            step.retry.delay = duration(reader, &table, "delay", &path, (step.retry.delay, Duration::ZERO, HOUR));
        }
    }
    let millisecond = Duration::from_millis(1);
    step.timeout = duration(reader, &table, "timeout", path, (DEFAULT_TIMEOUT, millisecond, HOUR));
    let errors = [("fail", OnError::Fail), ("continue", OnError::Continue)];
    step.on_error = reader.choice_or(&table, "on-error", &errors, OnError::Fail);
    step
}

fn name(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, earlier: &[Step]) -> String {
    let name = reader.required(table, "a step", "name", path);
    let Some(value) = table.get("name").filter(|value| value.get_ref().is_str()) else { return String::new() };
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !first || !name.bytes().all(letters) || name.len() > MAX_NAME {
        let help = format!("use a-z, 0-9 and _, a letter first, at most {MAX_NAME}: expressions say steps.NAME.output");
        reader.fault(value.span(), format!("`{}` cannot name a step", short(&name)), Some(help));
        return String::new();
    }
    if earlier.iter().any(|step| step.name == name) {
        reader.fault(value.span(), format!("there is a step `{name}` already"), None);
    }
    name
}

fn what(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, step: &mut Step) {
    let given: Vec<_> = table.entries.iter().filter(|entry| KINDS.contains(&entry.key)).collect();
    let Some(first) = given.first() else {
        let help = "give it an `action`, a `script`, a `component` or an `http` request";
        reader.fault(table.span.clone(), "the step does nothing", Some(help.to_owned()));
        return;
    };
    if let Some(second) = given.get(1) {
        let message = format!("a step has one of `{}` and `{}`, not both", first.key, second.key);
        reader.fault(second.key_span.clone(), message, Some("make two steps of it".to_owned()));
    }
    let place = child(path, first.key);
    match first.key {
        "http" => step.what = StepWhat::Http(Box::new(call::call(reader, first.value, &place))),
        "action" => {
            let Some(text) = reader.text_of(first.value, "action", &place) else { return };
            match text.split_once('/') {
                Some((app, action)) if is_word(app) && is_word(action) => {
                    step.what = StepWhat::Action { app: app.to_owned(), action: action.to_owned() };
                }
                _ => {
                    let help = "an action is app/action, such as \"github/create-issue\"; see `deputy action list`";
                    reader.fault(first.value.span(), format!("`{}` is no action", short(&text)), Some(help.to_owned()));
                }
            }
        }
        key => {
            let Some(text) = reader.text_of(first.value, key, &place) else { return };
            let sound = !text.is_empty() && text.len() <= 400 && !text.chars().any(char::is_control);
            let script = [".js", ".mjs"].iter().any(|end| text.ends_with(end));
            if !sound {
                reader.fault(first.value.span(), format!("`{}` is no file", short(&text)), None);
            } else if text.starts_with(['/', '\\']) {
                let help = "a path from the workflow's own folder";
                reader.fault(first.value.span(), "the path is absolute", Some(help.to_owned()));
            } else if (key == "script") != script {
                let (ends, other) = if key == "script" { (".js or .mjs", "component") } else { (".wasm", "script") };
                let help = format!("for the other kind write `{other} = …`");
                reader.fault(first.value.span(), format!("a {key} is a file that ends in {ends}"), Some(help));
            }
            step.what = StepWhat::Program { path: text, hash: String::new() };
        }
    }
}

fn is_word(text: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 60 && text.bytes().all(letters)
}

fn accounts(reader: &mut Reader<'_>, table: &Table<'_>, path: &str, aliases: &Aliases, step: &mut Step) {
    // By its key: what could not be read of it is told already.
    let Some(kind) = table.entries.iter().find(|entry| KINDS.contains(&entry.key)) else { return };
    let program = ["script", "component"].contains(&kind.key);
    let mut bind = |reader: &mut Reader<'_>, prop: &str, value: &Spanned<DeValue<'_>>| {
        let place = child(&child(path, "accounts"), prop);
        let Some(name) = account(reader, value, &place) else { return };
        let name = match aliases.get(&name) {
            Some((account, span)) => {
                reader.at(&*place, span.clone());
                account.clone()
            }
            None => name,
        };
        step.accounts.insert(prop.to_owned(), name);
    };
    match (table.get("account"), table.get("accounts")) {
        (Some(value), None) if !program => bind(reader, "account", value),
        (Some(value), _) if program => {
            let help = "accounts = { PROP = \"app/nickname\" }";
            reader.fault(value.span(), "a program's accounts are bound to its props", Some(help.to_owned()));
        }
        (None, Some(value)) if program => {
            let Some(bound) = reader.names(value, "`accounts`") else { return };
            for entry in &bound.entries {
                bind(reader, entry.key, entry.value);
            }
        }
        (_, Some(value)) => {
            let help = "account = \"app/nickname\"";
            reader.fault(value.span(), "this step has one account", Some(help.to_owned()));
        }
        (None, None) if !program => {
            let help = "account = \"app/nickname\"; `deputy account list` shows them";
            reader.fault(table.span.clone(), "the step lacks `account`", Some(help.to_owned()));
        }
        _ => {}
    }
}

fn for_each(reader: &mut Reader<'_>, table: &Table<'_>, path: &str) -> Option<ForEach> {
    let value = table.get("for-each")?;
    let path = child(path, "for-each");
    reader.at(&*path, value.span());
    if let Some(items) = value.get_ref().as_str() {
        reader.at(child(&path, "items"), value.span());
        return Some(ForEach { items: items.to_owned(), parallel: 1 });
    }
    let table = reader.table(value, "`for-each`", &["items", "parallel"])?;
    let items = reader.required(&table, "`for-each`", "items", &path);
    let parallel = count(reader, &table, "parallel", MAX_PARALLEL, 1);
    Some(ForEach { items, parallel })
}

/// A whole number from 1.
pub(super) fn count(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, most: u32, default: u32) -> u32 {
    let Some(value) = table.get(key) else { return default };
    let Some(number) = reader.number::<u32>(value, key) else { return default };
    if !(1..=most).contains(&number) {
        reader.fault(value.span(), format!("`{key}` is 1 to {most}"), None);
        return default;
    }
    number
}
