//! Actions: steps that ship inside an app as data.
//!
//! From an action and its props to a [`Call`], or to the script that the app brings. Pure: nothing here sends, so that
//! what an action is refused for (an unknown prop, a missing scope) is known before anything goes out.

mod fill;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use deputy_declaration::nearest;
use deputy_declaration::types::{Action, ActionPropKind, ActionWork, App};
use serde_json::{Map, Value, json};

use super::props::short;
use super::{Call, Choice, ItemKind, Prop, PropKind, Script, StepError, props};
use fill::{call, plain};

/// The one app prop of every action.
pub const ACCOUNT: &str = "account";

/// What an action does, with its props filled in.
#[derive(Debug)]
pub enum Work {
    Call(Box<Call>),
    /// A native step: its account is bound to [`ACCOUNT`], and its input is the props.
    Script {
        script: Script,
        input: Map<String, Value>,
    },
}

/// The action of that name.
pub fn find<'a>(app: &'a App, name: &str) -> Result<&'a Action, StepError> {
    app.actions.iter().find(|action| action.name == name).ok_or_else(|| {
        let names = || app.actions.iter().map(|action| action.name.as_str());
        let fix = match nearest(name, names()) {
            Some(near) => format!("did you mean `{}/{near}`?", app.slug),
            None if app.actions.is_empty() => format!("{} has none; call it with `deputy request`", app.slug),
            None => format!("see `deputy action list {}`", app.slug),
        };
        let message = format!("{} has no action `{}`", app.slug, short(name));
        StepError::Refused { code: "action_unknown", message, fix: Some(fix) }
    })
}

/// What the action lacks of the scopes that an account was granted; none: nothing, or nothing that is known. Of several
/// ways to be allowed, the one that lacks least.
pub fn missing_scopes(action: &Action, granted: &[String]) -> Option<Vec<String>> {
    if granted.is_empty() {
        return None;
    }
    let missing = |needed: &Vec<String>| -> Vec<String> {
        needed.iter().filter(|scope| !granted.contains(scope)).cloned().collect()
    };
    action.scopes.iter().map(missing).min_by_key(Vec::len).filter(|missing| !missing.is_empty())
}

/// Refuses an account without the scopes, before anything is sent. `account`: `app/nickname`.
pub fn check_scopes(app: &App, action: &Action, account: &str, granted: &[String]) -> Result<(), StepError> {
    let Some(missing) = missing_scopes(action, granted) else { return Ok(()) };
    let plural = if missing.len() == 1 { "the scope" } else { "the scopes" };
    let flags: Vec<_> = missing.iter().map(|scope| format!("--add-scope {scope}")).collect();
    Err(StepError::Refused {
        code: "scope_missing",
        message: format!("{}/{} needs {plural} {}, which {account} lacks", app.slug, action.name, missing.join(", ")),
        fix: Some(format!("run `deputy account reconnect {account} {}`", flags.join(" "))),
    })
}

/// The action's props as those of a step, without the account.
pub fn declared(action: &Action) -> Result<Vec<Prop>, StepError> {
    action
        .props
        .iter()
        .map(|prop| {
            let options = prop.choices.iter().map(|choice| {
                let value = constant(choice, &prop.name)?;
                Ok(Choice { label: plain(&value), value })
            });
            let default = prop.default.as_deref().map(|default| constant(default, &prop.name)).transpose()?;
            Ok(Prop {
                name: prop.name.clone(),
                kind: match prop.kind {
                    ActionPropKind::Text => PropKind::Text,
                    ActionPropKind::Integer => PropKind::Integer,
                    ActionPropKind::Number => PropKind::Number,
                    ActionPropKind::Boolean => PropKind::Boolean,
                    ActionPropKind::Object => PropKind::Object,
                    ActionPropKind::Json => PropKind::Json,
                    ActionPropKind::TextList => PropKind::List { of: ItemKind::Text },
                },
                label: Some(prop.label.clone()),
                help: prop.help.clone(),
                optional: prop.optional || default.is_some(),
                default,
                options: options.collect::<Result<_, StepError>>()?,
                secret: false,
            })
        })
        .collect()
}

/// The action with these props. Each is checked against its kind and choices; defaults stand for what is not given, and
/// `null` is not given.
pub fn work(app: &App, action: &Action, given: &Value) -> Result<Work, StepError> {
    let declared = declared(action)?;
    let mut input = match given {
        Value::Object(fields) => fields.clone(),
        Value::Null => Map::new(),
        _ => return Err(wrong("the props are not a JSON object", Some("give them as {\"name\": value}".to_owned()))),
    };
    // What is optional and null is not given: its default stands for it.
    input.retain(|name, value| !value.is_null() || !declared.iter().any(|prop| prop.optional && prop.name == *name));
    let input = match props::fit(&declared, Value::Object(input), &BTreeMap::new())? {
        Value::Object(fields) => fields,
        other => return Err(StepError::Internal(format!("checked props are no object but {other}"))),
    };
    Ok(match &action.work {
        ActionWork::Request(request) => Work::Call(Box::new(call(request, &input)?)),
        ActionWork::Script(source) => {
            let name = format!("{}/{}.js", app.slug, action.name);
            // At the end, so that every line keeps its number; exports are known before a module runs.
            let source = format!("{source}\nexport const props = {};\n", script_props(app, &declared));
            Work::Script { script: Script { name, source: source.into() }, input }
        }
    })
}

/// What a text means as a value of the prop: the command line and forms have only texts.
pub fn typed(prop: &Prop, texts: &[&str]) -> Result<Value, StepError> {
    let fail = |what: &str| Err(wrong(format!("prop `{}` wants {what}", prop.name), None));
    let [text] = texts else {
        return match &prop.kind {
            PropKind::List { of: ItemKind::Text } => Ok(texts.iter().map(|text| Value::from(*text)).collect()),
            _ => fail("one value, and several are given"),
        };
    };
    match &prop.kind {
        PropKind::Text => Ok((*text).into()),
        PropKind::Boolean => match *text {
            "true" => Ok(true.into()),
            "false" => Ok(false.into()),
            _ => fail("true or false"),
        },
        PropKind::Integer => match serde_json::from_str::<Value>(text) {
            Ok(number) if number.is_i64() || number.is_u64() => Ok(number),
            _ => fail("a whole number"),
        },
        PropKind::Number => match serde_json::from_str::<Value>(text) {
            Ok(number) if number.is_number() => Ok(number),
            _ => fail("a number"),
        },
        PropKind::List { of: ItemKind::Text } if !text.trim_start().starts_with('[') => Ok(Value::from(vec![*text])),
        PropKind::Object | PropKind::Json | PropKind::List { .. } => serde_json::from_str(text).map_err(|error| {
            let message = format!("prop `{}` wants JSON: {error}", prop.name);
            wrong(message, Some(format!("quote it for the shell: --prop '{}={{\"name\":\"value\"}}'", prop.name)))
        }),
        PropKind::App(_) => fail("an account, by `--account`"),
    }
}

/// The props as a script declares them. Defaults and choices were seen to.
fn script_props(app: &App, declared: &[Prop]) -> Value {
    let kind = |kind: &PropKind| match kind {
        PropKind::Text => "string",
        PropKind::Integer => "integer",
        PropKind::Number => "number",
        PropKind::Boolean => "boolean",
        PropKind::Object => "object",
        PropKind::List { of: ItemKind::Text } => "string[]",
        PropKind::Json | PropKind::List { .. } | PropKind::App(_) => "any",
    };
    let mut props = Map::new();
    props.insert(ACCOUNT.to_owned(), json!({ "type": "app", "app": app.slug }));
    for prop in declared {
        props.insert(prop.name.clone(), json!({ "type": kind(&prop.kind), "optional": prop.optional }));
    }
    Value::Object(props)
}

fn constant(text: &str, place: &str) -> Result<Value, StepError> {
    serde_json::from_str(text).map_err(|error| malformed(format!("the constant of `{place}` is no JSON: {error}")))
}

/// The app's author made a mistake that its checks did not find.
fn malformed(problem: String) -> StepError {
    StepError::Refused {
        code: "action_malformed",
        message: format!("the action itself is malformed: {problem}"),
        fix: Some("check the app with `deputy app check`".to_owned()),
    }
}

fn wrong(message: impl Into<String>, fix: Option<String>) -> StepError {
    StepError::Input { message: message.into(), fix }
}
