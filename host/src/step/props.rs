//! What a step declares that it needs, and whether a run gives it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Bound, StepError};

/// More than any form can show.
const MAX_PROPS: usize = 64;

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
    fn wants(&self) -> &'static str {
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

    fn takes(&self, value: &Value) -> bool {
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

    fn takes(self, value: &Value) -> bool {
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

/// Are these props well-formed?
pub(super) fn validate(props: &[Prop]) -> Result<(), StepError> {
    let fail = |message: String| Err(StepError::Props(message));
    if props.len() > MAX_PROPS {
        return fail(format!("there are {}; the limit is {MAX_PROPS}", props.len()));
    }
    for (at, prop) in props.iter().enumerate() {
        let name = prop.name.as_bytes();
        let letters = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        if !name.first().is_some_and(u8::is_ascii_alphabetic) || !name.iter().all(letters) || name.len() > 40 {
            return fail(format!("`{}` is no name: [a-zA-Z][a-zA-Z0-9_]*, at most 40", short(&prop.name)));
        }
        if props[..at].iter().any(|earlier| earlier.name == prop.name) {
            return fail(format!("`{}` stands there twice", prop.name));
        }
        if let PropKind::App(AppNeed { app: slug, .. }) = &prop.kind {
            let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if slug.is_empty() || slug.len() > 40 || !slug.bytes().all(letters) {
                return fail(format!("`{}` wants an account of `{}`, which is no app's slug", prop.name, short(slug)));
            }
        }
        for text in [&prop.label, &prop.help].into_iter().flatten() {
            if text.chars().any(char::is_control) {
                return fail(format!("label or help of `{}` holds a control character", prop.name));
            }
        }
    }
    Ok(())
}

/// Does the run give what the props ask for, and nothing else?
pub(super) fn fit(props: &[Prop], input: &Value, bindings: &BTreeMap<String, Bound>) -> Result<(), StepError> {
    let empty = Map::new();
    let input = match input {
        Value::Object(fields) => fields,
        // No input at all: every prop may be optional.
        Value::Null => &empty,
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
                Some(Value::Null) | None if prop.optional => {}
                Some(value) if kind.takes(value) => {}
                Some(value) => {
                    return Err(wrong(
                        format!("prop `{}` wants {}, but the input gives {}", prop.name, kind.wants(), what(value)),
                        None,
                    ));
                }
                None => {
                    return Err(wrong(
                        format!("the input lacks prop `{}`, {}", prop.name, kind.wants()),
                        Some(format!("give `--input '{{\"{}\": …}}'`", prop.name)),
                    ));
                }
            },
        }
    }
    Ok(())
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

fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Guest text for a message: short, without control characters.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::AccountId;

    fn prop(name: &str, kind: PropKind) -> Prop {
        Prop {
            name: name.to_owned(),
            kind,
            label: None,
            help: None,
            optional: false,
            default: None,
            options: Vec::new(),
            secret: false,
        }
    }

    fn app(slug: &str) -> PropKind {
        PropKind::App(AppNeed { app: slug.to_owned(), ..AppNeed::default() })
    }

    fn bound(app: &str) -> Bound {
        let name = format!("{app}/work");
        Bound {
            account: AccountId::new(),
            app: app.to_owned(),
            name,
            identity: None,
            scopes: Vec::new(),
            inputs: BTreeMap::new(),
            origins: Vec::new(),
            declaration: crate::wasm::fixtures::declaration(),
            method: 0,
        }
    }

    fn props() -> Vec<Prop> {
        vec![prop("slack", app("slack")), prop("channel", PropKind::Text)]
    }

    fn refusal(input: Value, bindings: &[(&str, &str)]) -> (String, Option<String>) {
        let bindings = bindings.iter().map(|(name, app)| ((*name).to_owned(), bound(app))).collect();
        match fit(&props(), &input, &bindings) {
            Err(error) => {
                assert_eq!(error.code(), "step_input");
                (error.to_string(), error.fix())
            }
            Ok(()) => panic!("it fits"),
        }
    }

    #[test]
    fn a_run_that_fits_is_let_through() {
        let bindings = BTreeMap::from([("slack".to_owned(), bound("slack"))]);
        assert!(fit(&props(), &json!({ "channel": "general" }), &bindings).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_named_with_the_fix() {
        let slack = [("slack", "slack")];
        let (message, fix) = refusal(json!({ "channel": "x" }), &[]);
        assert!(message.contains("`slack`") && fix.unwrap().contains("--bind slack=slack/"), "{message}");
        let (message, fix) = refusal(json!({ "channel": "x" }), &[("slack", "github")]);
        assert!(message.contains("github/work") && fix.unwrap().contains("--bind slack=slack/"), "{message}");
        let (message, fix) = refusal(json!({ "chanel": "x" }), &slack);
        assert!(message.contains("`chanel`") && fix.unwrap().contains("`channel`"), "{message}");
        let (message, _) = refusal(json!({ "channel": 5 }), &slack);
        assert!(message.contains("`channel` wants a text"), "{message}");
        let (message, _) = refusal(json!({}), &slack);
        assert!(message.contains("lacks prop `channel`"), "{message}");
        let (message, _) = refusal(json!({ "channel": null }), &slack);
        assert!(message.contains("gives null"), "{message}");
        let (message, fix) = refusal(json!({ "channel": "x", "slack": "xoxb" }), &slack);
        assert!(message.contains("is an account") && fix.unwrap().contains("--bind"), "{message}");
        let (message, _) = refusal(json!(["channel"]), &slack);
        assert!(message.contains("not a JSON object"), "{message}");
        let (message, _) = refusal(json!({ "channel": "x" }), &[("slack", "slack"), ("channel", "slack")]);
        assert!(message.contains("not an account"), "{message}");
    }

    #[test]
    fn malformed_props_are_refused() {
        for bad in [
            vec![prop("Slack", PropKind::Text)],
            vec![prop("", PropKind::Text)],
            vec![prop("a", PropKind::Text), prop("a", PropKind::Json)],
            vec![prop("a", app("Slack!"))],
            vec![Prop { help: Some("\u{1b}[2J".to_owned()), ..prop("a", PropKind::Text) }],
            (0..65).map(|n| prop(&format!("p{n}"), PropKind::Text)).collect(),
        ] {
            assert_eq!(validate(&bad).unwrap_err().code(), "step_props");
        }
        assert!(validate(&props()).is_ok());
    }
}
