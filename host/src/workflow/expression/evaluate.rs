//! A step's texts become values.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use deputy_declaration::nearest;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value as Json};

use super::scope::Scope;
use super::syntax::{self, Path, Shape};
use super::values::{Budget, invalid, to_json};
use super::{filters, is_file_name};
use crate::step::{Call, CallBody};
use crate::workflow::types::{Step, StepWhat};

/// For one text. An instruction costs 1, and so do 64 bytes that are made or read: at most 32 MB.
const FUEL: u64 = 500_000;
/// Of a `for-each`.
const MAX_ITEMS: usize = 10_000;

/// RFC 3986 section 2.3: all but these is encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text of a step that gives no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    pub step: Box<str>,
    /// The key in the step's table: `input.title`, `http.query[0]`.
    pub key: Box<str>,
    /// The text as the file has it, and the part at fault: for [`crate::workflow::source::Source::place`].
    pub text: Box<str>,
    pub at: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl EvalError {
    pub fn code(&self) -> &'static str {
        "workflow_expression"
    }

    pub fn fix(&self) -> Option<String> {
        self.help.clone()
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of step `{}`: {}", self.key, self.step, self.message)
    }
}

impl std::error::Error for EvalError {}

/// A step with its texts filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// Its props; an empty object for an HTTP step.
    pub input: Json,
    /// For an HTTP step.
    pub call: Option<Call>,
}

/// Does the step run? Evaluated once, before `for-each`.
pub fn when(step: &Step, scope: &Scope) -> Result<bool, EvalError> {
    let Some(text) = &step.when else { return Ok(true) };
    let mut worker = Worker::new(step, scope);
    match worker.expression("when", text)? {
        Json::Bool(flag) => Ok(flag),
        other => {
            let help = "compare it, such as `… == \"open\"`, or write `… | length > 0` or `… | bool`";
            Err(worker.error("when", text, format!("it gives {}, not true or false", kind(&other)), Some(help.into())))
        }
    }
}

/// The list that the step runs over; none where it runs once.
pub fn items(step: &Step, scope: &Scope) -> Result<Option<Vec<Json>>, EvalError> {
    let Some(each) = &step.for_each else { return Ok(None) };
    let mut worker = Worker::new(step, scope);
    let key = "for-each.items";
    match worker.expression(key, &each.items)? {
        Json::Array(items) if items.len() <= MAX_ITEMS => Ok(Some(items)),
        Json::Array(items) => {
            let message = format!("there are {} items; the limit is {MAX_ITEMS}", items.len());
            Err(worker.error(key, &each.items, message, None))
        }
        other => Err(worker.error(key, &each.items, format!("it gives {}, not a list", kind(&other)), None)),
    }
}

/// Fills in the step's texts. For one item of a `for-each`, with [`Scope::with_item`].
pub fn evaluate_step(step: &Step, scope: &Scope) -> Result<Evaluated, EvalError> {
    let mut worker = Worker::new(step, scope);
    match &step.what {
        StepWhat::Http(call) => Ok(Evaluated { input: Json::Object(Map::new()), call: Some(worker.call(call)?) }),
        StepWhat::Program { .. } | StepWhat::Action { .. } => {
            Ok(Evaluated { input: worker.json("input", &step.input)?, call: None })
        }
    }
}

struct Worker<'w> {
    step: &'w Step,
    scope: &'w Scope,
    context: Value,
    budget: Budget,
}

impl<'w> Worker<'w> {
    fn new(step: &'w Step, scope: &'w Scope) -> Self {
        Self { step, scope, context: scope.context(), budget: Budget::new() }
    }

    fn error(&self, key: &str, text: &str, message: String, help: Option<String>) -> EvalError {
        let step = self.step.name.as_str().into();
        EvalError { step, key: key.into(), text: text.into(), at: 0..text.len(), message, help }
    }

    fn fault(&self, key: &str, text: &str, fault: syntax::Fault) -> EvalError {
        EvalError { at: fault.at, ..self.error(key, text, fault.message, fault.help) }
    }

    /// The engine's error, in words about this run where it is about a name without a value.
    fn failed(&self, key: &str, text: &str, offset: usize, paths: &[Path], error: &Error) -> EvalError {
        let mut fault = syntax::fault(error, text, offset);
        match error.kind() {
            ErrorKind::UndefinedError => {
                let missing: Vec<_> = paths.iter().filter_map(|path| self.missing(path)).collect();
                let near = missing.iter().find(|other| other.at.start < fault.at.end && fault.at.start < other.at.end);
                if let Some(missing) = near.or(missing.first()) {
                    fault = missing.clone();
                }
            }
            ErrorKind::OutOfFuel => {
                fault.message = "it takes too much work".to_owned();
                fault.help = Some("do this in a script".to_owned());
            }
            _ => {}
        }
        self.fault(key, text, fault)
    }

    /// Where a path ends before its last word.
    fn missing(&self, path: &Path) -> Option<syntax::Fault> {
        let first = path.first()?;
        let mut value = self.scope.root.get(first.name.as_str()).cloned().unwrap_or(Value::UNDEFINED);
        let mut shown = first.name.clone();
        let at = |last: &syntax::Word| first.at.start..last.at.end;
        if value.is_undefined() {
            return Some(syntax::Fault {
                at: first.at.clone(),
                message: format!("`{shown}` has no value"),
                help: None,
            });
        }
        for word in &path[1..] {
            let next = match word.name.parse::<usize>() {
                Ok(index) if value.kind() == ValueKind::Seq => value.get_item_by_index(index),
                _ => value.get_attr(&word.name),
            };
            let next = next.unwrap_or(Value::UNDEFINED);
            if next.is_undefined() {
                let known: Vec<String> = match value.kind() {
                    ValueKind::Map => value.try_iter().into_iter().flatten().map(|key| key.to_string()).collect(),
                    _ => Vec::new(),
                };
                let help = match nearest(&word.name, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`? Where it may be missing, write `| default(…)`"),
                    None => "where it may be missing, write `| default(…)`, or skip the step with `when`".to_owned(),
                };
                let message = match value.kind() {
                    ValueKind::Map => format!("`{shown}.{}` has no value", word.name),
                    ValueKind::None => format!("`{shown}` is null: it has no `{}`", word.name),
                    ValueKind::Seq => format!("`{shown}` is a list: it has no `{}`", word.name),
                    other => format!("`{shown}` is a {other}: it has no `{}`", word.name),
                };
                return Some(syntax::Fault { at: at(word), message, help: Some(help) });
            }
            value = next;
            shown = format!("{shown}.{}", word.name);
        }
        None
    }

    fn expression(&mut self, key: &str, text: &str) -> Result<Json, EvalError> {
        let analysis = syntax::expression(text).map_err(|fault| self.fault(key, text, fault))?;
        match analysis.shape {
            Shape::Whole(inside) => self.whole(key, text, inside, &analysis.paths),
            Shape::Constant | Shape::Mixed => Err(self.error(key, text, "this is not one expression".to_owned(), None)),
        }
    }

    fn whole(&mut self, key: &str, text: &str, inside: Range<usize>, paths: &[Path]) -> Result<Json, EvalError> {
        let start = inside.start;
        let result = TEXT
            .compile_expression(&text[inside])
            .and_then(|expression| expression.eval(self.context.clone()))
            .and_then(|value| to_json(&value, &mut self.budget));
        result.map_err(|error| self.failed(key, text, start, paths, &error))
    }

    fn render(&mut self, key: &str, text: &str, paths: &[Path], engine: &Environment<'_>) -> Result<String, EvalError> {
        let rendered = engine.template_from_str(text).and_then(|template| template.render(self.context.clone()));
        let rendered = rendered.and_then(|text| self.budget.take(text.len()).map(|()| text));
        rendered.map_err(|error| self.failed(key, text, 0, paths, &error))
    }

    /// A text, or the value of its one expression.
    fn text(&mut self, key: &str, text: &str) -> Result<Json, EvalError> {
        let analysis = syntax::template(text).map_err(|fault| self.fault(key, text, fault))?;
        match analysis.shape {
            Shape::Constant => Ok(Json::String(text.to_owned())),
            Shape::Whole(inside) => self.whole(key, text, inside, &analysis.paths),
            Shape::Mixed => self.render(key, text, &analysis.paths, &TEXT).map(Json::String),
        }
    }

    fn json(&mut self, key: &str, value: &Json) -> Result<Json, EvalError> {
        Ok(match value {
            Json::String(text) => self.text(key, text)?,
            Json::Array(items) => {
                let items = items.iter().enumerate();
                Json::Array(items.map(|(at, item)| self.json(&format!("{key}[{at}]"), item)).collect::<Result<_, _>>()?)
            }
            Json::Object(fields) => {
                let mut filled = Map::new();
                for (name, value) in fields {
                    filled.insert(name.clone(), self.json(&crate::workflow::source::child(key, name), value)?);
                }
                Json::Object(filled)
            }
            constant => constant.clone(),
        })
    }

    /// A null leaves its name out; a list gives it several times.
    fn pairs(&mut self, key: &str, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, EvalError> {
        let mut filled = Vec::new();
        for (at, (name, text)) in pairs.iter().enumerate() {
            let key = format!("{key}[{at}]");
            let values = match self.text(&key, text)? {
                Json::Null => continue,
                Json::Array(items) => items,
                one => vec![one],
            };
            for value in values {
                let Some(value) = scalar(&value) else {
                    let message = format!("`{name}` is a text, a number, true or false, not {}", kind(&value));
                    return Err(self.error(&key, text, message, Some("write `| tojson` to send its JSON".to_owned())));
                };
                filled.push((name.clone(), value));
            }
        }
        Ok(filled)
    }

    fn call(&mut self, call: &Call) -> Result<Call, EvalError> {
        let mut filled = call.clone();
        filled.path = self.path(&call.path)?;
        filled.query = self.pairs("http.query", &call.query)?;
        filled.headers = self.pairs("http.headers", &call.headers)?;
        if let Some(at) = filled.headers.iter().position(|(_, value)| value.contains(['\r', '\n', '\0'])) {
            let (name, _) = &filled.headers[at];
            let message = format!("the value of `{name}` has a line break");
            return Err(self.error("http.headers", "", message, Some("write `| replace(\"\\n\", \" \")`".to_owned())));
        }
        filled.body = match &call.body {
            CallBody::None => CallBody::None,
            CallBody::Json(json) => CallBody::Json(self.json("http.json", json)?),
            CallBody::Form(fields) => CallBody::Form(self.pairs("http.form", fields)?),
            CallBody::Text { content_type, text } => {
                let value = self.text("http.text.text", text)?;
                let text = scalar(&value).unwrap_or_else(|| value.to_string());
                CallBody::Text { content_type: content_type.clone(), text }
            }
        };
        if let Some(text) = &call.answer.save {
            let value = self.text("http.save", text)?;
            match scalar(&value).filter(|name| is_file_name(name)) {
                Some(name) => filled.answer.save = Some(name),
                None => {
                    let help = "a name without folders, such as \"invoice.pdf\"";
                    let message = "what it gives is no file's name".to_owned();
                    return Err(self.error("http.save", text, message, Some(help.to_owned())));
                }
            }
        }
        Ok(filled)
    }

    /// Values are percent-encoded whole, so that each stays within its segment.
    fn path(&mut self, text: &str) -> Result<String, EvalError> {
        let key = "http.path";
        let analysis = syntax::template(text).map_err(|fault| self.fault(key, text, fault))?;
        if analysis.shape == Shape::Constant {
            return Ok(text.to_owned());
        }
        let path = self.render(key, text, &analysis.paths, &PATH)?;
        let segments = path.split(['?', '#']).next().unwrap_or_default();
        let dots = |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
        if segments.split(['/', '\\']).any(dots) {
            return Err(self.error(key, text, "a segment of the path is `.` or `..`".to_owned(), None));
        }
        Ok(path)
    }
}

/// As it stands in a query, a header or a form.
fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

static TEXT: LazyLock<Environment<'static>> = LazyLock::new(|| environment(write_text));
static PATH: LazyLock<Environment<'static>> = LazyLock::new(|| environment(write_segment));

fn environment(write: fn(&mut Output<'_>, &mut State<'_, '_>, &Value) -> Result<(), Error>) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_syntax(syntax::config());
    environment.set_formatter(write);
    filters::install(&mut environment);
    environment
}

/// In a text: null is nothing, and a list or an object is its JSON.
fn write_text(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let written = match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => return Ok(()),
        ValueKind::String => out.write_str(value.as_str().unwrap_or_default()),
        // The engine itself would write `True`.
        ValueKind::Bool => write!(out, "{}", value.is_true()),
        ValueKind::Number => write!(out, "{value}"),
        _ => {
            let json = to_json(value, &mut Budget::new())?;
            write!(out, "{json}")
        }
    };
    written.map_err(Error::from)
}

fn write_segment(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let written = match value.kind() {
        ValueKind::Undefined => return Err(Error::from(ErrorKind::UndefinedError)),
        ValueKind::String if value.is_safe() => out.write_str(value.as_str().unwrap_or_default()),
        ValueKind::String => match value.as_str().unwrap_or_default() {
            "" => return Err(invalid("the value is empty, and the path would be another one")),
            text => write!(out, "{}", utf8_percent_encode(text, SEGMENT)),
        },
        ValueKind::Bool => write!(out, "{}", value.is_true()),
        ValueKind::Number => write!(out, "{value}"),
        ValueKind::None => return Err(invalid("the value is null, and the path would be another one")),
        _ => return Err(invalid("a list or an object cannot stand in a path")),
    };
    written.map_err(Error::from)
}
