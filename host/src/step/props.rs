//! What a step declares that it needs, and whether a run gives it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Bound, StepError};

/// More than any form can show.
const MAX_PROPS: usize = 64;
/// Of methods, paths, scopes and options each.
const MAX_ENTRIES: usize = 256;
/// What a step may declare that it uses.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A declared input of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prop {
    /// `[a-z][a-z0-9_]*`, unique in the step.
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
        let letters = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        if !name.first().is_some_and(u8::is_ascii_lowercase) || !name.iter().all(letters) || name.len() > 40 {
            return fail(format!("`{}` is no name: [a-z][a-z0-9_]*, at most 40", short(&prop.name)));
        }
        if props[..at].iter().any(|earlier| earlier.name == prop.name) {
            return fail(format!("`{}` stands there twice", prop.name));
        }
        if let PropKind::App(need) = &prop.kind {
            need.validate().map_err(|problem| StepError::Props(format!("`{}` {problem}", prop.name)))?;
        }
        prop.validate_values().map_err(|problem| StepError::Props(format!("`{}` {problem}", prop.name)))?;
        for text in [&prop.label, &prop.help].into_iter().flatten() {
            if text.chars().any(char::is_control) {
                return fail(format!("label or help of `{}` holds a control character", prop.name));
            }
        }
    }
    Ok(())
}

impl AppNeed {
    /// A sentence about the prop, without its name.
    fn validate(&self) -> Result<(), String> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let slug = &self.app;
        if slug.is_empty() || slug.len() > 40 || !slug.bytes().all(letters) {
            return Err(format!("wants an account of `{}`, which is no app's slug", short(slug)));
        }
        if [&self.methods, &self.paths, &self.scopes].into_iter().any(|list| list.len() > MAX_ENTRIES) {
            return Err(format!("declares more than {MAX_ENTRIES} methods, paths or scopes"));
        }
        if let Some(method) = self.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(format!("declares the method `{}`, which is none of {}", short(method), METHODS.join(", ")));
        }
        for path in &self.paths {
            let problem = if !path.starts_with('/') {
                "begins with no slash"
            } else if path.len() > 1024 {
                "is longer than 1024 bytes"
            } else if path.contains(['?', '#', '\\']) || path.chars().any(|c| c.is_control() || c.is_whitespace()) {
                "holds more than a path"
            } else if path.split('/').any(|segment| matches!(segment, "." | "..")) {
                "holds a dot segment"
            } else if crate::egress::is_ambiguous_path(path) {
                "holds what servers read in different ways, so no request could fit it"
            } else {
                continue;
            };
            return Err(format!("declares the path `{}`, which {problem}", short(path)));
        }
        let is_scope = |scope: &String| {
            !scope.is_empty() && scope.len() <= 256 && !scope.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        if let Some(scope) = self.scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(format!("declares the scope `{}`, which is none", short(scope)));
        }
        if self.requests == Some(0) {
            return Err("declares no requests at all: leave `requests` out, or the prop".to_owned());
        }
        Ok(())
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

    /// Default, options and secrecy: a sentence about the prop, without its name.
    fn validate_values(&self) -> Result<(), String> {
        if self.secret && self.kind != PropKind::Text {
            return Err(format!("is secret, but {}: only a text can be secret", self.kind.wants()));
        }
        if self.secret && (self.default.is_some() || !self.options.is_empty()) {
            return Err("is secret, but everybody who has the step could read its default or options".to_owned());
        }
        if matches!(self.kind, PropKind::App(_)) && (self.default.is_some() || !self.options.is_empty()) {
            return Err("is an account, which has neither default nor options".to_owned());
        }
        if self.options.len() > MAX_ENTRIES {
            return Err(format!("has more than {MAX_ENTRIES} options"));
        }
        for choice in &self.options {
            if choice.label.chars().any(char::is_control) {
                return Err("has an option whose label holds a control character".to_owned());
            }
            let fits = match &self.kind {
                PropKind::List { of } => of.takes(&choice.value),
                kind => kind.takes(&choice.value),
            };
            if !fits {
                return Err(format!("wants {}, but has the option {}", self.kind.wants(), shown(&choice.value)));
            }
        }
        match &self.default {
            Some(value) if !self.kind.takes(value) => {
                Err(format!("wants {}, but its default is {}", self.kind.wants(), what(value)))
            }
            Some(value) => match self.beyond_options(value) {
                Some(other) => Err(format!("has the default {}, which is none of its options", shown(other))),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// The value, or the item of a list, that is none of the options.
    fn beyond_options<'v>(&self, value: &'v Value) -> Option<&'v Value> {
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

/// A value for a message, as JSON.
fn shown(value: &Value) -> String {
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
        match fit(&props(), input, &bindings) {
            Err(error) => {
                assert_eq!(error.code(), "step_input");
                (error.to_string(), error.fix())
            }
            Ok(_) => panic!("it fits"),
        }
    }

    #[test]
    fn a_run_that_fits_is_let_through() {
        let bindings = BTreeMap::from([("slack".to_owned(), bound("slack"))]);
        let input = json!({ "channel": "general" });
        assert_eq!(fit(&props(), input.clone(), &bindings).unwrap(), input);
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

    fn text_with(change: impl FnOnce(&mut Prop)) -> Prop {
        let mut prop = prop("a", PropKind::Text);
        change(&mut prop);
        prop
    }

    fn choice(value: Value) -> Choice {
        Choice { label: "One".to_owned(), value }
    }

    #[test]
    fn defaults_stand_where_the_input_says_nothing() {
        let props = [
            text_with(|prop| prop.default = Some(json!("general"))),
            Prop { optional: true, default: Some(json!([1])), ..prop("b", PropKind::List { of: ItemKind::Integer }) },
            Prop { optional: true, ..prop("c", PropKind::Json) },
        ];
        let filled = |input| fit(&props, input, &BTreeMap::new()).unwrap();
        assert_eq!(filled(Value::Null), json!({ "a": "general", "b": [1] }));
        assert_eq!(filled(json!({ "a": "x", "b": null, "c": null })), json!({ "a": "x", "b": null, "c": null }));
        let error = fit(&props, json!({ "a": null }), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("`a` wants a text, but the input gives null"), "{error}");
    }

    #[test]
    fn options_are_the_only_values() {
        let one = Prop { options: vec![choice(json!("red")), choice(json!("blue"))], ..prop("a", PropKind::Text) };
        let list = PropKind::List { of: ItemKind::Number };
        let many = Prop { options: vec![choice(json!(1)), choice(json!(2))], optional: true, ..prop("b", list) };
        let props = [one, many];
        let fits = |input| fit(&props, input, &BTreeMap::new());
        assert!(fits(json!({ "a": "red", "b": [2.0, 1] })).is_ok());
        assert!(fits(json!({ "a": "red", "b": null })).is_ok());
        let error = fits(json!({ "a": "green" })).unwrap_err();
        assert_eq!(error.to_string(), "prop `a` has no option \"green\"");
        assert_eq!(error.fix().as_deref(), Some("its options are \"red\", \"blue\""));
        let error = fits(json!({ "a": "red", "b": [1, 3] })).unwrap_err();
        assert_eq!(error.to_string(), "prop `b` has no option 3");
    }

    #[test]
    fn defaults_options_and_secrecy_fit_the_kind() {
        let app_with = |change: fn(&mut Prop)| {
            let mut prop = prop("a", app("slack"));
            change(&mut prop);
            prop
        };
        for (bad, said) in [
            (text_with(|prop| prop.default = Some(json!(5))), "wants a text, but its default is a number"),
            (text_with(|prop| prop.options = vec![choice(json!(true))]), "has the option true"),
            (
                text_with(|prop| (prop.options, prop.default) = (vec![choice(json!("x"))], Some(json!("y")))),
                "has the default \"y\", which is none of its options",
            ),
            (Prop { secret: true, ..prop("a", PropKind::Json) }, "only a text can be secret"),
            (text_with(|prop| (prop.secret, prop.default) = (true, Some(json!("hunter22")))), "could read its default"),
            (text_with(|prop| (prop.secret, prop.options) = (true, vec![choice(json!("x"))])), "default or options"),
            (app_with(|prop| prop.default = Some(json!("slack/work"))), "neither default nor options"),
            (app_with(|prop| prop.secret = true), "only a text can be secret"),
            (Prop { default: Some(json!(1.5)), ..prop("a", PropKind::Integer) }, "wants a whole number"),
        ] {
            let error = validate(std::slice::from_ref(&bad)).unwrap_err();
            assert!(error.to_string().contains("`a`") && error.to_string().contains(said), "{error}");
            assert!(!error.to_string().contains("hunter22"));
        }
    }

    #[test]
    fn what_a_step_needs_of_an_account_is_well_formed() {
        let need = |change: fn(&mut AppNeed)| {
            let mut need = AppNeed { app: "slack".to_owned(), ..AppNeed::default() };
            change(&mut need);
            validate(&[prop("a", PropKind::App(need))])
        };
        assert!(need(|need| need.methods = METHODS.map(str::to_owned).to_vec()).is_ok());
        assert!(need(|need| need.paths = vec!["/".into(), "/api/chat.postMessage".into(), "/ü/%61".into()]).is_ok());
        assert!(need(|need| need.scopes = vec!["chat:write".into(), "https://x.example/auth".into()]).is_ok());
        assert!(need(|need| (need.requests, need.bytes) = (Some(1), Some(0))).is_ok());
        for method in ["get", "TRACE", "CONNECT", "", "G ET", "*"] {
            let methods = vec![method.to_owned()];
            let bad = AppNeed { app: "slack".to_owned(), methods, ..AppNeed::default() };
            let error = validate(&[prop("a", PropKind::App(bad))]).unwrap_err();
            assert!(error.to_string().contains("declares the method"), "{error}");
        }
        for path in
            ["", "api", "/a?b", "/a#b", "/a b", "/a\\b", "/../a", "/a/./b", "//a", "/a%2fb", "/a%2E", "/a;b", "/a\u{7}"]
        {
            let bad = AppNeed { app: "slack".to_owned(), paths: vec![path.to_owned()], ..AppNeed::default() };
            let error = validate(&[prop("a", PropKind::App(bad))]).unwrap_err();
            assert!(error.to_string().contains("declares the path"), "{path}: {error}");
        }
        assert!(need(|need| need.scopes = vec!["a b".into()]).is_err());
        assert!(need(|need| need.scopes = vec![String::new()]).is_err());
        assert!(need(|need| need.requests = Some(0)).is_err());
        assert!(need(|need| need.paths = vec!["/a".into(); 257]).is_err());
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
