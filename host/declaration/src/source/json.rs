//! TOML values as JSON.

use serde_json::{Map, Number, Value};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::reader::{Reader, entries};

/// The same value in JSON; what JSON cannot say is a fault at its place.
pub(super) fn value(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    match value.get_ref() {
        DeValue::String(text) => Some(Value::String(text.to_string())),
        DeValue::Boolean(value) => Some(Value::Bool(*value)),
        DeValue::Integer(digits) => {
            let text = digits.as_str().replace('_', "");
            let number = i64::from_str_radix(text.trim_start_matches('+'), digits.radix()).ok();
            if number.is_none() {
                reader.fault(value.span(), "the number does not fit 64 bits", Some("write it as a string".into()));
            }
            number.map(Value::from)
        }
        DeValue::Float(digits) => {
            let number = digits.as_str().replace('_', "").parse().ok().and_then(Number::from_f64);
            if number.is_none() {
                reader.fault(value.span(), "JSON has no such number", None);
            }
            number.map(Value::Number)
        }
        DeValue::Datetime(_) => {
            reader.fault(value.span(), "JSON has no dates", Some("write it as a string".into()));
            None
        }
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| self::value(reader, item)).collect();
            items.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
        }
        DeValue::Table(table) => {
            let mut fields = Map::new();
            for entry in &entries(table, value.span()).entries {
                fields.insert(entry.key.to_owned(), self::value(reader, entry.value)?);
            }
            Some(Value::Object(fields))
        }
    }
}

/// As a declaration holds it.
pub(super) fn text(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<String> {
    self::value(reader, value).map(|value| value.to_string())
}
