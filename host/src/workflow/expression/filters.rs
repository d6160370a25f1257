//! What expressions can use: the engine's filters, tests and functions that make sense here, and a few of our own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use super::syntax::Gives;
use super::values::{self, Budget};

/// Of the engine, with what they give; none: it depends.
const ENGINE: &[(&str, Option<Gives>)] = &[
    ("abs", None),
    ("batch", Some(Gives::List)),
    ("bool", Some(Gives::Boolean)),
    ("capitalize", Some(Gives::Text)),
    ("chain", None),
    ("count", Some(Gives::Integer)),
    ("default", None),
    ("d", None),
    ("dictsort", Some(Gives::List)),
    ("first", None),
    ("float", Some(Gives::Number)),
    ("format", Some(Gives::Text)),
    ("groupby", Some(Gives::List)),
    ("indent", Some(Gives::Text)),
    ("int", Some(Gives::Integer)),
    ("items", Some(Gives::List)),
    ("join", Some(Gives::Text)),
    ("last", None),
    ("length", Some(Gives::Integer)),
    ("lines", Some(Gives::List)),
    ("list", Some(Gives::List)),
    ("lower", Some(Gives::Text)),
    ("map", Some(Gives::List)),
    ("max", None),
    ("min", None),
    ("reject", Some(Gives::List)),
    ("rejectattr", Some(Gives::List)),
    ("replace", Some(Gives::Text)),
    ("reverse", None),
    ("round", Some(Gives::Number)),
    ("safe", Some(Gives::Text)),
    ("select", Some(Gives::List)),
    ("selectattr", Some(Gives::List)),
    ("slice", Some(Gives::List)),
    ("sort", Some(Gives::List)),
    ("split", Some(Gives::List)),
    ("string", Some(Gives::Text)),
    ("sum", None),
    ("title", Some(Gives::Text)),
    ("trim", Some(Gives::Text)),
    ("unique", Some(Gives::List)),
    ("upper", Some(Gives::Text)),
    ("urlencode", Some(Gives::Text)),
    ("zip", Some(Gives::List)),
];

const OWN: &[(&str, Option<Gives>)] = &[
    ("b64", Some(Gives::Text)),
    ("b64decode", Some(Gives::Text)),
    ("date", Some(Gives::Text)),
    ("fromjson", None),
    ("tojson", Some(Gives::Text)),
];

/// Of the engine, and no part of a workflow: they escape for pages, or show the engine's inside.
const REMOVED: [&str; 4] = ["e", "escape", "pprint", "attr"];

pub const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "divisibleby",
    "endingwith",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "int",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "startingwith",
    "string",
    "true",
    "undefined",
    "upper",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
];

pub const FUNCTIONS: &[&str] = &["range", "dict"];

/// All there are.
pub fn names() -> Vec<&'static str> {
    ENGINE.iter().chain(OWN).map(|(name, _)| *name).collect()
}

pub fn gives(name: &str, given: Gives) -> Gives {
    match name {
        "abs" | "reverse" => given,
        // Its value, or another one.
        _ => ENGINE.iter().chain(OWN).find(|known| known.0 == name).and_then(|known| known.1).unwrap_or(Gives::Any),
    }
}

pub fn install(environment: &mut Environment<'static>) {
    for name in REMOVED {
        environment.remove_filter(name);
    }
    for name in ["debug", "namespace"] {
        environment.remove_global(name);
    }
    environment.add_filter("b64", |text: &str| STANDARD.encode(text));
    environment.add_filter("b64decode", b64decode);
    environment.add_filter("date", date);
    environment.add_filter("tojson", tojson);
    environment.add_filter("fromjson", |text: &str| match serde_json::from_str(text) {
        Ok(json) => Ok(values::from_json(&json)),
        Err(error) => Err(invalid(format!("this is no JSON: {error}"))),
    });
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn b64decode(text: &str) -> Result<String, Error> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| invalid("this is no base64"))?;
    String::from_utf8(bytes).map_err(|_| invalid("this is base64 of something that is no text"))
}

/// As it is, where the engine's own escapes for pages. `| tojson(indent=true)` for people.
fn tojson(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<bool> = options.get("indent")?;
    options.assert_all_used()?;
    let json = values::to_json(&value, &mut Budget::new())?;
    Ok(if indent == Some(true) { format!("{json:#}") } else { json.to_string() })
}

/// `| date("%d.%m.%Y", zone="Europe/Berlin")`: of an RFC 3339 time, or of seconds since 1970.
fn date(value: Value, format: Option<&str>, options: Kwargs) -> Result<String, Error> {
    let zone: Option<&str> = options.get("zone")?;
    options.assert_all_used()?;
    let time = match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            text.parse::<Timestamp>().map_err(|_| invalid("this is no time such as 2026-11-23T09:00:00Z"))?
        }
        ValueKind::Number => {
            let seconds = f64::try_from(value).map_err(|_| invalid("this is no number of seconds"))?;
            // Beyond the years of a calendar the cast saturates, and the next line refuses.
            Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
                .map_err(|_| invalid("this time is beyond the calendar"))?
        }
        _ => return Err(invalid("a date is made of an RFC 3339 time, or of seconds since 1970")),
    };
    let zone = match zone {
        Some(name) => TimeZone::get(name).map_err(|_| invalid("there is no such time zone"))?,
        None => TimeZone::UTC,
    };
    let format = format.unwrap_or("%Y-%m-%dT%H:%M:%S%:z");
    if format.len() > 200 {
        return Err(invalid("the format is too long"));
    }
    jiff::fmt::strtime::format(format, &time.to_zoned(zone))
        .map_err(|error| invalid(format!("no such format: {error}")))
}
