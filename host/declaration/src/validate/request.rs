//! The request of an action: it stays within reach, leaves the credentials' places alone, and its props add up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::reach::{BODY_METHODS, injected, request_method, within_reach};
use super::rules::header_name;
use super::{Check, Finding, pagination, text};
use crate::suggest;
use crate::types::{
    Action, ActionBody, ActionField, ActionPart, ActionPropKind, ActionRequest, ActionValue, App, Rule,
};

/// What stands for a prop when a path is looked at: no segment that reach could name.
const SAMPLE: &str = "0";

/// `action_path`: `actions[0]`.
pub(super) fn request(check: &mut Check<'_>, action_path: &str, action: &Action, request: &ActionRequest) {
    let path = &format!("{action_path}.work.request");
    request_method(check, &format!("{path}.method"), &request.method);
    self::path(check, path, action, request);
    names(check, &format!("{path}.query"), &request.query, "query");
    for (at, field) in request.query.iter().enumerate() {
        if injected_query(check.app, &field.name) {
            let message = format!("a credential rule writes the query field `{}`", field.name);
            check.fail(format!("{path}.query[{at}].name"), message);
        }
    }
    headers(check, path, request);
    if request.body != ActionBody::None && !BODY_METHODS.contains(&request.method.as_str()) {
        check.fail(format!("{path}.body"), format!("a {} request has no body", request.method));
    }
    match &request.body {
        ActionBody::None => {}
        ActionBody::Json(fields) => places(check, &format!("{path}.body.json"), fields),
        ActionBody::Form(fields) => names(check, &format!("{path}.body.form"), fields, "form"),
    }
    identity(check, path, request);
    if let Some(output) = &request.output {
        check.pointer(&format!("{path}.output"), output);
        if request.lists.is_some() {
            check.fail(format!("{path}.output"), "an action that lists gives the items: `lists.items` says where");
        }
    }
    if let Some(lists) = &request.lists {
        pagination::lists(check, &format!("{path}.lists"), lists);
    }
    props(check, action_path, action, request);
}

fn path(check: &mut Check<'_>, request_path: &str, action: &Action, request: &ActionRequest) {
    let path = format!("{request_path}.path");
    let mut sample = String::new();
    for (at, part) in request.path.iter().enumerate() {
        match part {
            ActionPart::Text(text) if text.contains(['?', '#']) => {
                let help = "fields of the query stand in `query`";
                check.fail_with(format!("{path}[{at}]"), "a path holds no query and no fragment", help);
                return;
            }
            ActionPart::Text(text) => sample.push_str(text),
            ActionPart::Prop(name) => {
                sample.push_str(SAMPLE);
                let prop = action.props.iter().find(|prop| prop.name == *name);
                if prop.is_some_and(|prop| prop.optional && prop.default.is_none()) {
                    let message = format!("`{{{name}}}` is optional: without it the path would be another");
                    check.fail_with(format!("{path}[{at}]"), message, "give it a default, or do not make it optional");
                }
            }
        }
    }
    match text::path_fault(&sample) {
        Some(message) => check.fail(path, message),
        None => within_reach(check, request_path, &sample),
    }
}

fn headers(check: &mut Check<'_>, path: &str, request: &ActionRequest) {
    let app = check.app;
    let names = request.headers.iter().enumerate();
    let names = names.map(|(at, field)| (format!("{path}.headers[{at}].name"), field.name.to_lowercase()));
    check.unique("header", names);
    for (at, field) in request.headers.iter().enumerate() {
        let path = format!("{path}.headers[{at}]");
        let name = format!("{path}.name");
        header_name(check, &name, &field.name);
        let same = |header: &str| field.name.eq_ignore_ascii_case(header);
        if injected(app, &field.name) {
            check.fail(&name, format!("a credential rule writes `{}`", field.name));
        } else if app.headers.iter().any(|header| header.locked && same(&header.name)) {
            check.fail(&name, format!("the app's header `{}` is locked", field.name));
        } else if same("content-type") && request.body != ActionBody::None {
            check.fail(&name, "the body says its content type: `json` or `form`");
        }
        let fixed: Vec<&str> = match &field.value {
            ActionValue::Text(parts) => parts.iter().filter_map(text_of).collect(),
            ActionValue::Constant(json) => vec![json],
            ActionValue::Prop(_) => Vec::new(),
        };
        if !fixed.iter().all(|text| text::is_header_text(text)) {
            check.fail(format!("{path}.value"), "a header value is visible ASCII");
        }
        constant(check, &path, &field.value, false);
    }
}

fn text_of(part: &ActionPart) -> Option<&str> {
    match part {
        ActionPart::Text(text) => Some(text),
        ActionPart::Prop(_) => None,
    }
}

fn injected_query(app: &App, name: &str) -> bool {
    let sets = app.methods.iter().flat_map(|method| &method.rule_sets);
    sets.flat_map(|set| &set.rules).any(|rule| matches!(rule, Rule::Query(named) if named.name == name))
}

/// Fields of a query or a form; the same name may stand there again.
fn names(check: &mut Check<'_>, path: &str, fields: &[ActionField], what: &str) {
    for (at, field) in fields.iter().enumerate() {
        let path = format!("{path}[{at}]");
        if field.name.is_empty() {
            check.fail(format!("{path}.name"), format!("a field of the {what} has no name"));
        }
        constant(check, &path, &field.value, false);
    }
}

/// Places of a JSON body: each a pointer of its own, none below a value, lists counted from 0.
fn places(check: &mut Check<'_>, path: &str, fields: &[ActionField]) {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let at = |at: usize| format!("{path}[{at}].name");
    let pointers = fields.iter().enumerate().map(|(index, field)| (at(index), &field.name));
    check.unique("place in the body", pointers);
    for (index, field) in fields.iter().enumerate() {
        constant(check, &format!("{path}[{index}]"), &field.value, true);
        if !text::is_pointer(&field.name) {
            check.pointer(&at(index), &field.name);
            continue;
        }
        let around = fields
            .iter()
            .find(|other| field.name.strip_prefix(other.name.as_str()).is_some_and(|rest| rest.starts_with('/')));
        if let Some(around) = around {
            let message = format!("`{}` lies within the value at `{}`", field.name, around.name);
            check.fail(at(index), message);
        }
        let mut pointer = field.name.as_str();
        while let Some((parent, name)) = pointer.rsplit_once('/') {
            below.entry(parent.to_owned()).or_default().insert(name.to_owned());
            pointer = parent;
        }
    }
    for (parent, names) in below {
        let index = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let counted = (0..names.len()).all(|at| names.contains(&at.to_string()));
        if names.iter().any(index) && !counted {
            let message = format!("`{parent}` is a list whose items are not counted from 0, or mixes them with names");
            check.fail(path, message);
        }
    }
}

fn constant(check: &mut Check<'_>, path: &str, value: &ActionValue, in_json: bool) {
    let ActionValue::Constant(json) = value else { return };
    let path = format!("{path}.value");
    match serde_json::from_str::<Value>(json) {
        Err(error) => check.fail(path, format!("`{json}` is no JSON: {error}")),
        Ok(value) if !in_json && (value.is_object() || value.is_array() || value.is_null()) => {
            check.fail(path, "this place takes one text, number or boolean");
        }
        Ok(_) => {}
    }
}

fn identity(check: &mut Check<'_>, path: &str, request: &ActionRequest) {
    let Some(identity) = &request.identity else { return };
    let sets = check.app.methods.iter().flat_map(|method| &method.rule_sets);
    let sets: BTreeSet<&str> = sets.map(|set| set.name.as_str()).collect();
    if !sets.contains(identity.as_str()) {
        let help = match suggest::nearest(identity, sets.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of {}", sets.into_iter().collect::<Vec<_>>().join(", ")),
        };
        check.fail_with(format!("{path}.identity"), format!("no method has the rule set `{identity}`"), help);
    }
}

/// Every prop that is named is declared, fits its place, and every declared one is used.
fn props(check: &mut Check<'_>, action_path: &str, action: &Action, request: &ActionRequest) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for Mention { path, name, within_text } in mentions(request) {
        let path = format!("{action_path}.work.request.{path}");
        let Some(prop) = action.props.iter().find(|prop| prop.name == name) else {
            let known = action.props.iter().map(|prop| prop.name.as_str());
            let help = suggest::nearest(name, known).map(|near| format!("did you mean `{{{near}}}`?"));
            check.findings.push(Finding { path, message: format!("`{{{name}}}` names no prop of the action"), help });
            continue;
        };
        used.insert(name);
        if within_text && matches!(prop.kind, ActionPropKind::Object | ActionPropKind::Json) {
            check.fail(path, format!("`{{{name}}}` may be an object, which has no place within a text"));
        }
    }
    for (at, prop) in action.props.iter().enumerate() {
        if !used.contains(prop.name.as_str()) {
            let message = format!("the request does not use the prop `{}`", prop.name);
            let help = format!("write `{{{}}}` somewhere in it, or leave the prop out", prop.name);
            check.fail_with(format!("{action_path}.props[{at}]"), message, help);
        }
    }
}

/// A prop in its place.
struct Mention<'r> {
    /// Within the request.
    path: String,
    name: &'r str,
    /// It becomes part of a text.
    within_text: bool,
}

fn mentions(request: &ActionRequest) -> Vec<Mention<'_>> {
    fn parts<'r>(found: &mut Vec<Mention<'r>>, path: &str, parts: &'r [ActionPart]) {
        for (at, part) in parts.iter().enumerate() {
            if let ActionPart::Prop(name) = part {
                found.push(Mention { path: format!("{path}[{at}]"), name, within_text: true });
            }
        }
    }
    let mut found = Vec::new();
    parts(&mut found, "path", &request.path);
    let (body, fields) = match &request.body {
        ActionBody::None => ("body", &[][..]),
        ActionBody::Json(fields) => ("body.json", &fields[..]),
        ActionBody::Form(fields) => ("body.form", &fields[..]),
    };
    for (place, fields) in [("query", &request.query[..]), ("headers", &request.headers[..]), (body, fields)] {
        for (at, field) in fields.iter().enumerate() {
            let path = format!("{place}[{at}].value");
            match &field.value {
                ActionValue::Text(text) => parts(&mut found, &path, text),
                // A header is a text in any case.
                ActionValue::Prop(name) => found.push(Mention { path, name, within_text: place == "headers" }),
                ActionValue::Constant(_) => {}
            }
        }
    }
    found
}
