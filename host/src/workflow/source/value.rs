//! Values of the file: JSON for inputs and bodies, pairs for queries, headers and forms, durations, accounts.

use std::time::Duration;

use deputy_declaration::source::reader::{Reader, Table, a, entries};
use serde_json::{Map, Number, Value};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::short;

/// The path of a key below another: plain words are joined by a dot, all else stands in brackets.
pub fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if plain { format!("{path}.{key}") } else { format!("{path}[{key:?}]") }
}

/// Any value as JSON; the place of each part is kept.
pub(super) fn json(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Value {
    reader.at(path, value.span());
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Integer(digits) => {
            let text = digits.as_str().replace('_', "");
            let text = text.trim_start_matches('+');
            let number = i64::from_str_radix(text, digits.radix()).map(Number::from);
            match number.or_else(|_| u64::from_str_radix(text, digits.radix()).map(Number::from)) {
                Ok(number) => Value::Number(number),
                Err(_) => {
                    reader.fault(value.span(), "the number is too large", None);
                    Value::Null
                }
            }
        }
        DeValue::Float(digits) => {
            let number = digits.as_str().replace('_', "").parse::<f64>().ok().and_then(Number::from_f64);
            number.map(Value::Number).unwrap_or_else(|| {
                reader.fault(value.span(), "JSON has no such number", None);
                Value::Null
            })
        }
        DeValue::Datetime(_) => {
            reader.fault(value.span(), "JSON has no dates", Some("write it as a string, in quotes".to_owned()));
            Value::Null
        }
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            Value::Array(items.map(|(at, item)| json(reader, item, &format!("{path}[{at}]"))).collect())
        }
        DeValue::Table(table) => {
            let mut fields = Map::new();
            for entry in &entries(table, value.span()).entries {
                if entry.key.contains("{{") || entry.key.contains("{%") {
                    let help = "make the whole object with an expression, or write the name out";
                    reader.fault(entry.key_span.clone(), "a name cannot hold an expression", Some(help.to_owned()));
                }
                fields.insert(entry.key.to_owned(), json(reader, entry.value, &child(path, entry.key)));
            }
            Value::Object(fields)
        }
    }
}

/// Names and texts, in order; a list gives its name several times. The place of pair `n` is `path[n]`.
pub(super) fn pairs(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, path: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let Some(value) = table.get(key) else { return pairs };
    reader.at(path, value.span());
    let Some(table) = reader.names(value, &format!("`{key}`")) else { return pairs };
    for entry in &table.entries {
        if entry.key.contains("{{") {
            reader.fault(entry.key_span.clone(), "a name cannot hold an expression", None);
            continue;
        }
        let items = match entry.value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![entry.value],
        };
        for item in items {
            let text = match item.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Boolean(flag) => flag.to_string(),
                DeValue::Integer(_) | DeValue::Float(_) => json(reader, item, path).to_string(),
                other => {
                    let message =
                        format!("`{}` is a string, a number or a list of them, not {}", short(entry.key), a(other));
                    reader.fault(item.span(), message, None);
                    continue;
                }
            };
            reader.at(format!("{path}[{}]", pairs.len()), item.span());
            // Shown where the name itself is at fault.
            reader.at(format!("{path}[{}].name", pairs.len()), entry.key_span.clone());
            pairs.push((entry.key.to_owned(), text));
        }
    }
    reader.at(path, value.span());
    pairs
}

/// `app/nickname`, an account's id, a bare app, or a name of `[accounts]`.
pub(super) fn account(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<String> {
    let name = reader.text_of(value, "account", path)?;
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let mut parts = name.split('/');
    let sound = parts.clone().count() <= 2 && parts.all(|part| !part.is_empty() && part.bytes().all(letters));
    if !sound {
        let help = "an account is app/nickname, such as \"slack/work\"; its name is no expression";
        reader.fault(value.span(), format!("`{}` is no account's name", short(&name)), Some(help.to_owned()));
        return None;
    }
    Some(name)
}

/// `500ms`, `30s`, `2m`, `1h`, from 0 on or from 1 ms on, up to `most`.
pub(super) fn duration(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &str,
    path: &str,
    (default, least, most): (Duration, Duration, Duration),
) -> Duration {
    let Some(value) = table.get(key) else { return default };
    let given = match value.get_ref().as_str() {
        Some(text) => parse_duration(text),
        None => None,
    };
    reader.at(child(path, key), value.span());
    match given {
        Some(duration) if (least..=most).contains(&duration) => duration,
        Some(_) => {
            let message = format!("`{key}` is {} to {}", shown(least), shown(most));
            reader.fault(value.span(), message, None);
            default
        }
        None => {
            let message = format!(
                "`{key}` is a time, not {}",
                match value.get_ref().as_str() {
                    Some(text) => format!("`{}`", short(text)),
                    None => a(value.get_ref()),
                }
            );
            reader.fault(value.span(), message, Some("such as \"500ms\", \"30s\", \"2m\" or \"1h\"".to_owned()));
            default
        }
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text[..text.len() - unit.len()].parse::<u64>().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

fn shown(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
