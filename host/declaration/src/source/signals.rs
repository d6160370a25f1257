//! `[signals]`: what answers mean.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::reader::{Entry, Reader, Table, a};
use crate::types::{AnyOf, Condition, RetryAfter, Signals, TextMatch, TimeUnit};

const SIGNALS: [&str; 5] = ["expired", "revoked", "failed", "throttled", "retry-after"];

pub(super) fn signals(reader: &mut Reader<'_>, root: &Table<'_>) -> Signals {
    let unauthorized = vec![vec![Condition::Status(401)]];
    let mut signals = Signals {
        expired: unauthorized,
        revoked: Vec::new(),
        failed: Vec::new(),
        throttled: vec![vec![Condition::Status(429)]],
        retry_after: None,
    };
    let Some(value) = root.get("signals") else { return signals };
    reader.at("signals", value.span());
    let Some(table) = reader.table(value, "signals", &SIGNALS) else { return signals };
    if table.has("expired") {
        signals.expired = any_of(reader, &table, "expired");
    }
    signals.revoked = any_of(reader, &table, "revoked");
    signals.failed = any_of(reader, &table, "failed");
    if table.has("throttled") {
        signals.throttled = any_of(reader, &table, "throttled");
    }
    signals.retry_after = table.get("retry-after").and_then(|value| retry_after(reader, value));
    signals
}

fn retry_after(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<RetryAfter> {
    let path = "signals.retry-after";
    reader.at(path, value.span());
    let table = reader.table(value, "retry-after", &["header", "unit"])?;
    let units = [
        ("seconds", TimeUnit::Seconds),
        ("milliseconds", TimeUnit::Milliseconds),
        ("epoch-seconds", TimeUnit::EpochSeconds),
    ];
    Some(RetryAfter {
        header: reader.required(&table, "retry-after", "header", path),
        unit: reader.choice_or(&table, "unit", &units, TimeUnit::Seconds),
    })
}

fn any_of(reader: &mut Reader<'_>, table: &Table<'_>, key: &str) -> AnyOf {
    let Some(value) = table.get(key) else { return Vec::new() };
    reader.at(format!("signals.{key}"), value.span());
    let mut any = Vec::new();
    for item in reader.list(value, key) {
        let path = format!("signals.{key}[{}]", any.len());
        reader.at(&*path, item.span());
        let Some(table) = reader.table(item, "a condition", &["status", "header", "body"]) else { continue };
        let mut all = Vec::new();
        for entry in &table.entries {
            match entry.key {
                "status" => all.extend(reader.number(entry.value, "status").map(Condition::Status)),
                "header" | "body" => {
                    let Some(names) = reader.names(entry.value, entry.key) else { continue };
                    for named in &names.entries {
                        let path = format!("{path}[{}].{}", all.len(), entry.key);
                        reader.at(format!("{path}.name"), named.key_span.clone());
                        let text = TextMatch { name: named.key.to_owned(), value: literal(reader, named) };
                        all.push(if entry.key == "body" { Condition::Body(text) } else { Condition::Header(text) });
                    }
                }
                // Told as an unknown key.
                _ => {}
            }
        }
        any.push(all);
    }
    any
}

/// A value to compare with: a string as it is, numbers and booleans as JSON writes them.
fn literal(reader: &mut Reader<'_>, entry: &Entry<'_>) -> String {
    match entry.value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        other => {
            let message = format!("`{}` is compared with a string, number or boolean, not {}", entry.key, a(other));
            reader.fault(entry.value.span(), message, None);
            String::new()
        }
    }
}
