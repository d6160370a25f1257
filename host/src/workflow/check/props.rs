//! A step's input against the props of what it runs.

use deputy_declaration::nearest;
use serde_json::{Map, Value};

use super::texts::word;
use crate::step::{ItemKind, Prop, PropKind};
use crate::workflow::expression::syntax::{self, Gives, Shape};
use crate::workflow::source::{Source, child};

/// `what` names the program or action in messages; `path` is the step's.
pub(super) fn check(source: &mut Source<'_>, path: &str, what: &str, props: &[Prop], input: &Map<String, Value>) {
    let place = child(path, "input");
    for (name, value) in input {
        let place = child(&place, name);
        match props.iter().find(|prop| prop.name == *name) {
            Some(Prop { kind: PropKind::App(need), .. }) => {
                let help = format!("accounts = {{ {name} = \"{}/NICKNAME\" }}", need.app);
                source.fault(source.span(&place), format!("`{name}` is an account, not an input"), Some(help));
            }
            Some(prop) => prop_value(source, &place, prop, value),
            None => {
                let known = props.iter().filter(|prop| !is_account(prop)).map(|prop| prop.name.as_str());
                let known: Vec<&str> = known.collect();
                let help = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => "it takes no input".to_owned(),
                    None => format!("it has {}", known.join(", ")),
                };
                source.fault(source.span(&place), format!("{what} has no prop `{name}`"), Some(help));
            }
        }
    }
    for prop in props.iter().filter(|prop| !is_account(prop) && !prop.optional && prop.default.is_none()) {
        if !input.contains_key(&prop.name) {
            let help = format!("input = {{ {} = … }}, {}", prop.name, wants(&prop.kind));
            let message = format!("{what} needs the prop `{}`", prop.name);
            source.fault(source.span(&place), message, Some(help));
        }
    }
}

pub(super) fn is_account(prop: &Prop) -> bool {
    matches!(prop.kind, PropKind::App(_))
}

fn prop_value(source: &mut Source<'_>, place: &str, prop: &Prop, value: &Value) {
    let name = &prop.name;
    if prop.secret && is_constant(value) {
        let help = format!(
            "whoever reads the file would have it: keep it in an account, or give it when the run starts, such as \
             \"{{{{ trigger.body.{name} }}}}\""
        );
        source.fault(source.span(place), format!("the secret `{name}` stands in the file"), Some(help));
        return;
    }
    if value.is_null() && prop.optional {
        return;
    }
    if let Some((part, got)) = mismatch(&prop.kind, value) {
        let message = format!("`{name}` is {}, not {got}", wants(&prop.kind));
        source.fault(source.span(&format!("{place}{part}")), message, None);
        return;
    }
    let constant = !prop.options.is_empty() && is_constant(value);
    if constant && !prop.options.iter().any(|choice| choice.value == *value) {
        let texts: Vec<&str> = prop.options.iter().filter_map(|choice| choice.value.as_str()).collect();
        let help = match value.as_str().and_then(|given| nearest(given, texts)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                let all: Vec<_> = prop.options.iter().map(|choice| choice.value.to_string()).collect();
                format!("one of {}", all.join(", "))
            }
        };
        source.fault(source.span(place), format!("`{name}` cannot be {value}"), Some(help));
    }
}

fn is_constant(value: &Value) -> bool {
    match value {
        Value::String(text) => !syntax::is_template(text),
        Value::Array(items) => items.iter().all(is_constant),
        Value::Object(fields) => fields.values().all(is_constant),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// The part that cannot be of this kind, below the value, and what it is instead.
fn mismatch(kind: &PropKind, value: &Value) -> Option<(String, &'static str)> {
    let gives = gives(value);
    let whole = |fits: bool| (!fits && gives != Gives::Any).then(|| (String::new(), shown(kind, gives)));
    match kind {
        PropKind::App(_) | PropKind::Json => None,
        PropKind::Text => whole(gives == Gives::Text),
        PropKind::Integer => whole(gives == Gives::Integer || gives == Gives::Number && value.is_string()),
        PropKind::Number => whole(matches!(gives, Gives::Integer | Gives::Number)),
        PropKind::Boolean => whole(gives == Gives::Boolean),
        PropKind::Object => whole(gives == Gives::Object),
        PropKind::List { of } => match value {
            Value::Array(items) => items.iter().enumerate().find_map(|(at, item)| {
                let (part, got) = mismatch(&single(*of), item)?;
                Some((format!("[{at}]{part}"), list_of(got)))
            }),
            _ => whole(gives == Gives::List),
        },
    }
}

/// `1.5` for a whole number is more than "a number".
fn shown(kind: &PropKind, gives: Gives) -> &'static str {
    match (kind, gives) {
        (PropKind::Integer, Gives::Number) => "a fraction",
        _ => word(gives),
    }
}

fn list_of(got: &'static str) -> &'static str {
    match got {
        "a text" => "a list with a text in it",
        "a number" | "a fraction" => "a list with a number in it",
        "true or false" => "a list with true or false in it",
        "null" => "a list with null in it",
        "an object" => "a list with an object in it",
        _ => "a list with a list in it",
    }
}

fn single(of: ItemKind) -> PropKind {
    match of {
        ItemKind::Text => PropKind::Text,
        ItemKind::Integer => PropKind::Integer,
        ItemKind::Number => PropKind::Number,
        ItemKind::Boolean => PropKind::Boolean,
        ItemKind::Object => PropKind::Object,
        ItemKind::Json => PropKind::Json,
    }
}

fn gives(value: &Value) -> Gives {
    match value {
        Value::Null => Gives::Null,
        Value::Bool(_) => Gives::Boolean,
        Value::Number(number) if number.is_f64() => Gives::Number,
        Value::Number(_) => Gives::Integer,
        // A fault in the text itself is told elsewhere.
        Value::String(text) => match syntax::template(text) {
            Ok(analysis) if matches!(analysis.shape, Shape::Constant | Shape::Mixed) => Gives::Text,
            Ok(analysis) => analysis.gives,
            Err(_) => Gives::Any,
        },
        Value::Array(_) => Gives::List,
        Value::Object(_) => Gives::Object,
    }
}

fn wants(kind: &PropKind) -> &'static str {
    match kind {
        PropKind::App(_) => "an account",
        PropKind::Text => "a text",
        PropKind::Integer => "a whole number",
        PropKind::Number => "a number",
        PropKind::Boolean => "true or false",
        PropKind::Object => "an object",
        PropKind::Json => "JSON",
        PropKind::List { of: ItemKind::Text } => "a list of texts",
        PropKind::List { of: ItemKind::Integer } => "a list of whole numbers",
        PropKind::List { of: ItemKind::Number } => "a list of numbers",
        PropKind::List { of: ItemKind::Boolean } => "a list of true or false",
        PropKind::List { of: ItemKind::Object } => "a list of objects",
        PropKind::List { of: ItemKind::Json } => "a list",
    }
}
