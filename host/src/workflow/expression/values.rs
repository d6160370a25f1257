//! JSON to the engine's values and back. Back is bounded: a value of the engine may be lazy, and far larger than the
//! work that made it.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};
use serde_json::{Map, Number, Value as Json};

/// Of all the values of one step together.
const MAX_BYTES: usize = 8 << 20;
const MAX_DEPTH: usize = 100;
/// What one value costs besides its text.
const NODE_BYTES: usize = 8;

/// What the texts of one step may still grow to.
pub struct Budget(usize);

impl Budget {
    pub fn new() -> Self {
        Self(MAX_BYTES)
    }

    pub fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.0 = self.0.checked_sub(bytes).ok_or_else(|| invalid(format!("it grows beyond {MAX_BYTES} bytes")))?;
        Ok(())
    }
}

pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Value::from(number),
            (_, Some(number), _) => Value::from(number),
            (_, _, Some(number)) => Value::from(number),
            _ => Value::from(()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(from_json).collect::<Vec<_>>()),
        Json::Object(fields) => Value::from_pairs(fields.iter().map(|(name, value)| (name.as_str(), from_json(value)))),
    }
}

pub fn to_json(value: &Value, budget: &mut Budget) -> Result<Json, Error> {
    convert(value, budget, 0)
}

fn convert(value: &Value, budget: &mut Budget, depth: usize) -> Result<Json, Error> {
    if depth > MAX_DEPTH {
        return Err(invalid("it is nested too deeply"));
    }
    budget.take(NODE_BYTES)?;
    Ok(match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => Json::Number(number(value)?),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            budget.take(text.len())?;
            Json::String(text.to_owned())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let mut items = Vec::new();
            for item in value.try_iter()? {
                items.push(convert(&item, budget, depth + 1)?);
            }
            Json::Array(items)
        }
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter()? {
                let name = match key.kind() {
                    ValueKind::String | ValueKind::Number => key.to_string(),
                    _ => return Err(invalid("a name of an object is a text")),
                };
                budget.take(name.len())?;
                fields.insert(name, convert(&value.get_item(&key)?, budget, depth + 1)?);
            }
            Json::Object(fields)
        }
        other => return Err(invalid(format!("JSON has no {other}"))),
    })
}

fn number(value: &Value) -> Result<Number, Error> {
    if value.is_integer() {
        if let Some(number) = value.as_i64() {
            return Ok(number.into());
        }
        return u64::try_from(value.clone()).map(Number::from).map_err(|_| invalid("the number is too large"));
    }
    let number = f64::try_from(value.clone())?;
    Number::from_f64(number).ok_or_else(|| invalid("JSON has no such number"))
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}
