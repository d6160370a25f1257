//! Actions: names, props, scopes and scripts. Their requests are in `request`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{self, is_id, is_name};
use super::{Check, MAX_SCRIPT_BYTES, request};
use crate::suggest;
use crate::types::{Action, ActionProp, ActionPropKind, ActionWork, AuthKind};

/// More than any list on a screen wants to hold.
const MAX_ACTIONS: usize = 200;
/// As the props of any step: one is the account.
const MAX_PROPS: usize = 63;
/// The prop that every action has without declaring it.
const ACCOUNT: &str = "account";

pub(super) fn actions(check: &mut Check<'_>) {
    let app = check.app;
    if app.actions.len() > MAX_ACTIONS {
        check.fail("actions", format!("there are {} actions; the limit is {MAX_ACTIONS}", app.actions.len()));
    }
    let names = app.actions.iter().enumerate().map(|(at, action)| (format!("actions[{at}].name"), &action.name));
    check.unique("action", names);
    for (at, action) in app.actions.iter().enumerate() {
        let path = format!("actions[{at}]");
        if !is_id(&action.name) {
            check.fail(format!("{path}.name"), text::bad_id(&action.name));
        }
        check.words(&format!("{path}.label"), "label", &action.label, 80);
        check.words(&format!("{path}.summary"), "summary", &action.summary, 300);
        check.link(&format!("{path}.docs"), action.docs.as_deref());
        props(check, &path, action);
        scopes(check, &format!("{path}.scopes"), action);
        match &action.work {
            ActionWork::Request(request) => request::request(check, &path, action, request),
            ActionWork::Script(source) => script(check, &format!("{path}.work.script"), source),
        }
    }
}

fn props(check: &mut Check<'_>, path: &str, action: &Action) {
    let props = &action.props;
    if props.len() > MAX_PROPS {
        check.fail(format!("{path}.props"), format!("there are {} props; the limit is {MAX_PROPS}", props.len()));
    }
    let names = props.iter().enumerate().map(|(at, prop)| (format!("{path}.props[{at}].name"), &prop.name));
    check.unique("prop", names);
    for (at, prop) in props.iter().enumerate() {
        let path = format!("{path}.props[{at}]");
        if !is_name(&prop.name) {
            check.fail(format!("{path}.name"), text::bad_name(&prop.name));
        } else if prop.name == ACCOUNT {
            check.fail(format!("{path}.name"), "every action has the prop `account`: it is what it runs with");
        }
        check.words(&format!("{path}.label"), "label", &prop.label, 80);
        values(check, &path, prop);
    }
}

/// Default and choices: JSON that the prop would take.
fn values(check: &mut Check<'_>, path: &str, prop: &ActionProp) {
    let mut choices = Vec::new();
    for (at, choice) in prop.choices.iter().enumerate() {
        let path = format!("{path}.choices[{at}]");
        // The choices of a list are those of its items.
        let kind = if prop.kind == ActionPropKind::TextList { ActionPropKind::Text } else { prop.kind };
        let Some(value) = value(check, &path, choice, kind) else { continue };
        if choices.contains(&value) {
            check.fail(path, format!("the choice {value} stands there twice"));
        }
        choices.push(value);
    }
    let Some(default) = &prop.default else { return };
    let path = format!("{path}.default");
    let Some(default) = value(check, &path, default, prop.kind) else { return };
    let off = match &default {
        Value::Array(items) if prop.kind == ActionPropKind::TextList => {
            items.iter().find(|item| !choices.contains(item))
        }
        default => Some(default).filter(|default| !choices.contains(default)),
    };
    if let Some(off) = off
        && !choices.is_empty()
    {
        check.fail(path, format!("the default {off} is none of the choices"));
    }
}

fn value(check: &mut Check<'_>, path: &str, json: &str, kind: ActionPropKind) -> Option<Value> {
    let value: Value = match serde_json::from_str(json) {
        Ok(value) => value,
        Err(error) => {
            check.fail(path, format!("`{json}` is no JSON: {error}"));
            return None;
        }
    };
    let (fits, wanted) = match kind {
        ActionPropKind::Text => (value.is_string(), "a text"),
        ActionPropKind::Integer => (value.is_i64() || value.is_u64(), "a whole number"),
        ActionPropKind::Number => (value.is_number(), "a number"),
        ActionPropKind::Boolean => (value.is_boolean(), "true or false"),
        ActionPropKind::Object => (value.is_object(), "an object"),
        ActionPropKind::Json => (!value.is_null(), "a value"),
        ActionPropKind::TextList => {
            (value.as_array().is_some_and(|items| items.iter().all(Value::is_string)), "a list of texts")
        }
    };
    if !fits {
        check.fail(path, format!("{value} is not {wanted}, as the prop's kind says"));
        return None;
    }
    Some(value)
}

/// What an action needs can be asked for at connect.
fn scopes(check: &mut Check<'_>, path: &str, action: &Action) {
    let methods = check.app.methods.iter().filter_map(|method| match &method.kind {
        AuthKind::OAuth2Code(oauth2) => Some(oauth2),
        AuthKind::Keys | AuthKind::Exchange(_) => None,
    });
    let lists = methods.flat_map(|oauth2| &oauth2.scope_lists);
    let known: BTreeSet<&str> = lists.flat_map(|list| &list.scopes).map(|scope| scope.name.as_str()).collect();
    for (at, all) in action.scopes.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if all.is_empty() {
            check.fail(&path, "an empty list of scopes is always there: leave `scopes` out");
        }
        check.unique("scope", all.iter().enumerate().map(|(at, scope)| (format!("{path}[{at}]"), scope)));
        for (at, scope) in all.iter().enumerate() {
            let path = format!("{path}[{at}]");
            if scope.is_empty() {
                check.fail(path, "the scope has no name");
            } else if !known.is_empty() && !known.contains(scope.as_str()) {
                let help = match suggest::nearest(scope, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "declare it in the scopes of the OAuth method".to_owned(),
                };
                check.fail_with(path, format!("no method of the app offers the scope `{scope}`"), help);
            }
        }
    }
}

fn script(check: &mut Check<'_>, path: &str, source: &str) {
    if source.trim().is_empty() {
        check.fail(path, "the script is empty");
    } else if source.len() > MAX_SCRIPT_BYTES {
        check.fail(path, format!("the script has {} bytes, more than {MAX_SCRIPT_BYTES}", source.len()));
    } else if !source.contains("export default") {
        let help = "export default async function (input, { accounts }) { … }";
        check.fail_with(path, "the script exports no default", help);
    }
}
