//! What a step declares that it needs, and whether a run gives it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Bound, StepError};

/// A declared input of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prop {
    /// `[a-zA-Z][a-zA-Z0-9_]*`, unique in the step.
    pub name: String,
    #[serde(flatten)]
    pub kind: PropKind,
    pub label: Option<String>,
    pub help: Option<String>,
    /// The run may go without it.
    pub optional: bool,
    /// Used where the input says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// When not empty, the only values allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Choice>,
    /// The value is kept out of logs, outputs and run records.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    pub label: String,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PropKind {
    /// An account.
    App(AppNeed),
    Text,
    Integer,
    Number,
    Boolean,
    /// A JSON object.
    Object,
    /// Any JSON.
    Json,
    List {
        of: ItemKind,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    Text,
    Integer,
    Number,
    Boolean,
    Object,
    Json,
}

/// What a step needs of an account. It can do no more, whatever the app allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AppNeed {
    /// The app's slug.
    pub app: String,
    /// Scopes that the account must have, where they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Empty: all that the app allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Path prefixes at segment borders. Empty: all that the app allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Requests of a run through this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Bytes of request bodies of a run through this account, together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Requests that name no account go through this one where it reaches the URL.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ambient: bool,
}

impl PropKind {
    /// The kind as a word: `app`, `text`, `list of integer`.
    pub fn word(&self) -> String {
        match self {
            Self::App(need) => format!("account of {}", need.app),
            Self::List { of } => format!("list of {}", format!("{of:?}").to_lowercase()),
            other => format!("{other:?}").to_lowercase(),
        }
    }
}

impl PropKind {
    pub(super) fn wants(&self) -> &'static str {
        match self {
            Self::App(_) => "an account",
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Object => "an object",
            Self::Json => "JSON",
            Self::List { of } => of.wants(),
        }
    }

    pub(super) fn takes(&self, value: &Value) -> bool {
        match self {
            Self::App(_) => false,
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Json => true,
            Self::List { of } => value.as_array().is_some_and(|items| items.iter().all(|item| of.takes(item))),
        }
    }
}

impl ItemKind {
    fn wants(self) -> &'static str {
        match self {
            Self::Text => "a list of texts",
            Self::Integer => "a list of whole numbers",
            Self::Number => "a list of numbers",
            Self::Boolean => "a list of true or false",
            Self::Object => "a list of objects",
            Self::Json => "a list",
        }
    }

    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::Json => true,
        }
    }
}

impl Prop {
    /// A prop that is any account of an app.
    pub(super) fn account(name: &str, app: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: PropKind::App(AppNeed { app: app.to_owned(), ..AppNeed::default() }),
            label: None,
            help: None,
            optional: false,
            default: None,
            options: Vec::new(),
            secret: false,
        }
    }

    /// The value, or the item of a list, that is none of the options.
    pub(super) fn beyond_options<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let is_option = |value: &Value| self.options.iter().any(|choice| same(&choice.value, value));
        if self.options.is_empty() {
            return None;
        }
        match (&self.kind, value) {
            (PropKind::List { .. }, Value::Array(items)) => items.iter().find(|item| !is_option(item)),
            _ => (!is_option(value)).then_some(value),
        }
    }
}

/// `1` and `1.0` are one number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

/// The input of the run, with defaults where it says nothing; or what it or the bindings lack or have too much.
pub(super) fn fit(props: &[Prop], input: Value, bindings: &BTreeMap<String, Bound>) -> Result<Value, StepError> {
    let mut input = match input {
        Value::Object(fields) => fields,
        // No input at all: every prop may be optional.
        Value::Null => Map::new(),
        _ => return Err(wrong("the input is not a JSON object".to_owned(), Some("give `--input '{…}'`".to_owned()))),
    };
    for name in input.keys() {
        match props.iter().find(|prop| prop.name == *name) {
            Some(Prop { kind: PropKind::App(_), .. }) => {
                return Err(wrong(
                    format!("`{name}` is an account, not an input field"),
                    Some(format!("bind it with `--bind {name}=ACCOUNT`")),
                ));
            }
            Some(_) => {}
            None => return Err(unknown(name, props, false)),
        }
    }
    for (name, bound) in bindings {
        match props.iter().find(|prop| prop.name == *name) {
            Some(Prop { kind: PropKind::App(need), .. }) if need.app == bound.app => {}
            Some(Prop { kind: PropKind::App(AppNeed { app: slug, .. }), .. }) => {
                return Err(wrong(
                    format!("prop `{name}` wants an account of {slug}, but {} is one of {}", bound.name, bound.app),
                    Some(format!("bind it with `--bind {name}={slug}/NICKNAME`")),
                ));
            }
            Some(prop) => {
                return Err(wrong(
                    format!("prop `{name}` is {}, not an account", prop.kind.wants()),
                    Some(format!("give it in `--input` as {{\"{name}\": …}}")),
                ));
            }
            None => return Err(unknown(name, props, true)),
        }
    }
    for prop in props {
        match &prop.kind {
            PropKind::App(_) if bindings.contains_key(&prop.name) || prop.optional => {}
            PropKind::App(AppNeed { app: slug, .. }) => {
                return Err(wrong(
                    format!("no account is bound to prop `{}`, which wants one of {slug}", prop.name),
                    Some(format!("add `--bind {}={slug}/NICKNAME`; `deputy account list` shows them", prop.name)),
                ));
            }
            kind => match input.get(&prop.name) {
                Some(Value::Null) if prop.optional => {}
                Some(value) if kind.takes(value) => {
                    if let Some(other) = prop.beyond_options(value) {
                        let options: Vec<String> =
                            prop.options.iter().take(20).map(|choice| shown(&choice.value)).collect();
                        return Err(wrong(
                            format!("prop `{}` has no option {}", prop.name, shown(other)),
                            Some(format!("its options are {}", options.join(", "))),
                        ));
                    }
                }
                Some(value) => {
                    return Err(wrong(
                        format!("prop `{}` wants {}, but the input gives {}", prop.name, kind.wants(), what(value)),
                        None,
                    ));
                }
                None => {
                    if let Some(default) = &prop.default {
                        input.insert(prop.name.clone(), default.clone());
                        continue;
                    }
                    if prop.optional {
                        continue;
                    }
                    return Err(wrong(
                        format!("the input lacks prop `{}`, {}", prop.name, kind.wants()),
                        Some(format!("give `--input '{{\"{}\": …}}'`", prop.name)),
                    ));
                }
            },
        }
    }
    Ok(Value::Object(input))
}

fn wrong(message: String, fix: Option<String>) -> StepError {
    StepError::Input { message, fix }
}

fn unknown(name: &str, props: &[Prop], account: bool) -> StepError {
    let names: Vec<&str> = props
        .iter()
        .filter(|prop| matches!(prop.kind, PropKind::App(_)) == account)
        .map(|prop| prop.name.as_str())
        .collect();
    let near = names.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let fix = match near {
        Some(near) if strsim::jaro(near, name) > 0.7 => format!("did you mean `{near}`?"),
        Some(_) => format!("the step knows {}", names.join(", ")),
        None => format!("the step takes no {}", if account { "accounts" } else { "input" }),
    };
    wrong(format!("the step has no prop `{}`", short(name)), Some(fix))
}

pub(super) fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A value for a message, as JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", short(text)),
        other => short(&other.to_string()),
    }
}

/// Guest text for a message: short, without control characters.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
pub(super) mod tests;
