//! From an action's request and its checked props to a [`Call`].

use deputy_declaration::types::{ActionBody, ActionField, ActionPart, ActionRequest, ActionValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{constant, malformed, wrong};
use crate::step::call::set_pointer;
use crate::step::{AnswerRules, Call, CallBody, CallRetry, Pages, Parse, StepError};

/// All but the unreserved characters of RFC 3986 section 2.3: a value can never be more than a part of one segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) fn call(request: &ActionRequest, props: &Map<String, Value>) -> Result<Call, StepError> {
    let pages = request.lists.as_ref().map(|lists| Pages {
        items: lists.items.clone(),
        next: lists.next.clone(),
        ..Pages::default()
    });
    let mut query = Vec::new();
    pairs(&request.query, props, &mut query)?;
    let mut headers = Vec::new();
    for field in &request.headers {
        if let Some(value) = value(&field.value, props, &field.name)? {
            headers.push((field.name.clone(), plain(&value)));
        }
    }
    let body = match &request.body {
        ActionBody::None => CallBody::None,
        ActionBody::Json(fields) => CallBody::Json(json_body(fields, props)?),
        ActionBody::Form(fields) => {
            let mut form = Vec::new();
            pairs(fields, props, &mut form)?;
            CallBody::Form(form)
        }
    };
    Ok(Call {
        method: request.method.clone(),
        path: path(&request.path, props)?,
        query,
        headers,
        body,
        identity: request.identity.clone(),
        answer: AnswerRules {
            parse: Parse::Auto,
            expect: Vec::new(),
            output: request.output.clone().filter(|_| pages.is_none()),
            save: None,
            retry: CallRetry::default(),
            pages,
        },
    })
}

/// The path, with every prop percent-encoded whole.
fn path(parts: &[ActionPart], props: &Map<String, Value>) -> Result<String, StepError> {
    let mut path = String::new();
    for part in parts {
        match part {
            ActionPart::Text(text) => path.push_str(text),
            ActionPart::Prop(name) => {
                let value = props.get(name).map(plain).unwrap_or_default();
                if value.is_empty() {
                    let message = format!("prop `{name}` is empty, and the path needs it");
                    return Err(wrong(message, Some("give it a value".to_owned())));
                }
                path.extend(utf8_percent_encode(&value, SEGMENT));
            }
        }
    }
    // Dots are not encoded, and every parser would resolve them.
    if path.split('?').next().unwrap_or_default().split('/').any(|segment| segment == "." || segment == "..") {
        let names: Vec<_> = parts
            .iter()
            .filter_map(|part| match part {
                ActionPart::Prop(name) => Some(format!("`{name}`")),
                ActionPart::Text(_) => None,
            })
            .collect();
        let message = format!("the path would hold a segment of dots alone; it is made of {}", names.join(", "));
        return Err(wrong(message, Some("give the names that are meant".to_owned())));
    }
    Ok(path)
}

/// A field's value; none: it is left out.
fn value(value: &ActionValue, props: &Map<String, Value>, place: &str) -> Result<Option<Value>, StepError> {
    Ok(match value {
        ActionValue::Prop(name) => props.get(name).cloned(),
        ActionValue::Constant(json) => Some(constant(json, place)?),
        ActionValue::Text(parts) => {
            let mut text = String::new();
            for part in parts {
                match part {
                    ActionPart::Text(fixed) => text.push_str(fixed),
                    ActionPart::Prop(name) => match props.get(name) {
                        Some(value) => text.push_str(&plain(value)),
                        None => return Ok(None),
                    },
                }
            }
            Some(text.into())
        }
    })
}

/// A value as text: a list is joined with commas, an object is JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Query or form fields. A list repeats the name; the fields of an object stand in brackets: `metadata[order]`.
fn pairs(
    fields: &[ActionField],
    props: &Map<String, Value>,
    pairs: &mut Vec<(String, String)>,
) -> Result<(), StepError> {
    for field in fields {
        match value(&field.value, props, &field.name)? {
            None => {}
            Some(Value::Array(items)) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
                pairs.extend(items.iter().map(|item| (field.name.clone(), plain(item))));
            }
            Some(value) => bracketed(&field.name, &value, pairs),
        }
    }
    Ok(())
}

fn bracketed(name: &str, value: &Value, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                bracketed(&format!("{name}[{key}]"), value, pairs);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                bracketed(&format!("{name}[{index}]"), item, pairs);
            }
        }
        scalar => pairs.push((name.to_owned(), plain(scalar))),
    }
}

/// The JSON body: each value at its pointer. An object even where nothing is given.
fn json_body(fields: &[ActionField], props: &Map<String, Value>) -> Result<Value, StepError> {
    let mut body = Value::Null;
    for field in fields {
        if let Some(value) = value(&field.value, props, &field.name)?
            && !set_pointer(&mut body, &field.name, value)
        {
            return Err(malformed(format!("`{}` is no place in the body", field.name)));
        }
    }
    Ok(if body.is_null() { Value::Object(Map::new()) } else { body })
}
