//! Every text of a step: its syntax, its names, its type.

use serde_json::Value;

use super::names;
use crate::step::CallBody;
use crate::workflow::expression::syntax::{self, Fault, Gives};
use crate::workflow::source::{Source, child};
use crate::workflow::types::{Step, StepWhat, Workflow};

/// Where a text stands, which decides what it may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// One expression that gives true or false, before `for-each`.
    When,
    /// One expression that gives a list.
    Items,
    /// A text that may hold expressions.
    Text,
    /// A text that may not.
    Plain,
}

pub(super) fn check(source: &mut Source<'_>, workflow: &Workflow, index: usize) {
    let step = &workflow.steps[index];
    for (path, text, role) in texts(step, &format!("steps[{index}]")) {
        for fault in faults(workflow, index, text, role) {
            let span = source.inside(&path, text, fault.at);
            source.fault(span, fault.message, fault.help);
        }
    }
}

fn faults(workflow: &Workflow, index: usize, text: &str, role: Role) -> Vec<Fault> {
    let whole = |message: &str, help: &str| {
        vec![Fault { at: 0..text.len(), message: message.to_owned(), help: Some(help.to_owned()) }]
    };
    if role == Role::Plain {
        return match syntax::is_template(text) {
            true => whole("an expression cannot stand here", "write the value out"),
            false => Vec::new(),
        };
    }
    let analysis = match role {
        Role::When | Role::Items => syntax::expression(text),
        Role::Text | Role::Plain => syntax::template(text),
    };
    let analysis = match analysis {
        Ok(analysis) => analysis,
        Err(fault) => return vec![fault],
    };
    let mut faults = analysis.faults;
    let items = role == Role::Text && workflow.steps[index].for_each.is_some();
    faults.extend(analysis.paths.iter().filter_map(|path| names::fault(workflow, index, path, items)));
    match (role, analysis.gives) {
        (_, Gives::Any) | (Role::Text | Role::Plain, _) | (Role::When, Gives::Boolean) | (Role::Items, Gives::List) => {
        }
        (Role::When, gives) => {
            let help = "compare it, such as `… == \"open\"`, or write `… | length > 0` or `… | bool`";
            faults.extend(whole(&format!("`when` is true or false, not {}", word(gives)), help));
        }
        (Role::Items, gives) => {
            let help = "the items of a list, such as `trigger.body.items`";
            faults.extend(whole(&format!("`for-each` runs over a list, not {}", word(gives)), help));
        }
    }
    faults
}

pub(super) fn word(gives: Gives) -> &'static str {
    match gives {
        Gives::Any => "JSON",
        Gives::Null => "null",
        Gives::Boolean => "true or false",
        Gives::Integer | Gives::Number => "a number",
        Gives::Text => "a text",
        Gives::List => "a list",
        Gives::Object => "an object",
    }
}

/// Each text with its path in the file.
fn texts<'s>(step: &'s Step, path: &str) -> Vec<(String, &'s str, Role)> {
    let mut all = Vec::new();
    all.extend(step.when.as_deref().map(|text| (child(path, "when"), text, Role::When)));
    let items = step.for_each.as_ref().map(|each| each.items.as_str());
    all.extend(items.map(|text| (format!("{path}.for-each.items"), text, Role::Items)));
    json(&step.input, &child(path, "input"), &mut all);
    let StepWhat::Http(call) = &step.what else { return all };
    let path = child(path, "http");
    all.push((child(&path, "path"), &call.path, Role::Text));
    let mut fields = |key: &str, pairs: &'s [(String, String)]| {
        let pairs = pairs.iter().enumerate();
        all.extend(pairs.map(|(at, (_, text))| (format!("{path}.{key}[{at}]"), text.as_str(), Role::Text)));
    };
    fields("query", &call.query);
    fields("headers", &call.headers);
    match &call.body {
        CallBody::None => {}
        CallBody::Form(pairs) => fields("form", pairs),
        CallBody::Json(value) => json(value, &child(&path, "json"), &mut all),
        CallBody::Text { content_type, text } => {
            all.push((format!("{path}.text.text"), text, Role::Text));
            all.push((format!("{path}.text.content-type"), content_type, Role::Plain));
        }
    }
    let answer = &call.answer;
    let items = answer.pages.as_ref().and_then(|pages| pages.items.as_ref());
    let plain = [("identity", &call.identity), ("output", &answer.output)];
    let plain = plain.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
    for (key, text) in plain.chain(items.map(|items| ("paginate.items", items))) {
        all.push((format!("{path}.{key}"), text, Role::Plain));
    }
    all.extend(answer.save.as_deref().map(|text| (child(&path, "save"), text, Role::Text)));
    all
}

fn json<'s>(value: &'s Value, path: &str, all: &mut Vec<(String, &'s str, Role)>) {
    match value {
        Value::String(text) => all.push((path.to_owned(), text, Role::Text)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| json(item, &format!("{path}[{at}]"), all));
        }
        Value::Object(fields) => fields.iter().for_each(|(name, value)| json(value, &child(path, name), all)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
