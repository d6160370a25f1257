//! `request` of an action: strings with props become typed parts, tables become places in a body.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::reader::{Entry, Names, Reader, Table, a, entries, join};
use super::{json, pagination};
use crate::types::{ActionBody, ActionField, ActionPart, ActionRequest, ActionValue, Part};

const REQUEST: [&str; 9] = ["method", "path", "query", "headers", "json", "form", "identity", "output", "lists"];
const DECLARE_PROP: &str = "declare a prop, props.… of the action";

/// Where fields are collected, and the names that may stand in them.
struct Fields<'p> {
    path: String,
    props: &'p [String],
    fields: Vec<ActionField>,
}

pub(super) fn request(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    props: &[String],
) -> Option<ActionRequest> {
    reader.at(path, value.span());
    let table = reader.table(value, "a request", &REQUEST)?;
    let body = body(reader, &table, &join(path, "body"), props);
    let to = match table.get("path") {
        Some(value) => parts(reader, value, "path", &join(path, "path"), props),
        None => {
            reader.missing(&table, "the request", "path");
            None
        }
    };
    let lists = table.get("lists").and_then(|value| pagination::lists(reader, value, &join(path, "lists")));
    let mut pairs = |key: &'static str| {
        let Some(value) = table.get(key) else { return Vec::new() };
        flat(reader, value, key, &join(path, key), props)
    };
    let (query, headers) = (pairs("query"), pairs("headers"));
    Some(ActionRequest {
        method: reader
            .optional(&table, "method", path)
            .unwrap_or_else(|| if body == ActionBody::None { "GET".to_owned() } else { "POST".to_owned() }),
        path: to?,
        query,
        headers,
        body,
        identity: reader.optional(&table, "identity", path),
        output: reader.optional(&table, "output", path),
        lists,
    })
}

fn body(reader: &mut Reader<'_>, request: &Table<'_>, path: &str, props: &[String]) -> ActionBody {
    match (request.get("json"), request.get("form")) {
        (None, None) => ActionBody::None,
        (Some(_), Some(form)) => {
            reader.fault(form.span(), "a request has one body: `json` or `form`", None);
            ActionBody::None
        }
        (None, Some(value)) => ActionBody::Form(flat(reader, value, "form", &join(path, "form"), props)),
        (Some(value), None) => {
            let path = join(path, "json");
            reader.at(&*path, value.span());
            let mut fields = Fields { path, props, fields: Vec::new() };
            match value.get_ref() {
                // An empty object is what a body without fields is.
                DeValue::Table(table) if table.is_empty() => {}
                _ => fields.place(reader, String::new(), value.span(), value),
            }
            ActionBody::Json(fields.fields)
        }
    }
}

/// Fields of a query, a form, or headers; a list repeats its name.
fn flat(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    key: &str,
    path: &str,
    props: &[String],
) -> Vec<ActionField> {
    reader.at(path, value.span());
    let Some(table) = reader.names(value, key) else { return Vec::new() };
    let mut fields = Fields { path: path.to_owned(), props, fields: Vec::new() };
    for entry in &table.entries {
        unplaced(reader, entry);
        match entry.value.get_ref() {
            DeValue::Array(items) => {
                for item in items.iter() {
                    fields.scalar(reader, entry, item);
                }
            }
            _ => fields.scalar(reader, entry, entry.value),
        }
    }
    fields.fields
}

impl Fields<'_> {
    fn scalar(&mut self, reader: &mut Reader<'_>, entry: &Entry<'_>, value: &Spanned<DeValue<'_>>) {
        if value.get_ref().is_table() || value.get_ref().is_array() {
            let message = format!("`{}` is one value, not {}", entry.key, a(value.get_ref()));
            let help = format!("write nested fields as the service names them: \"{}[…]\" = …", entry.key);
            reader.fault(value.span(), message, Some(help));
            return;
        }
        self.put(reader, entry.key.to_owned(), entry.key_span.clone(), value);
    }

    /// A value at a JSON Pointer; tables and lists go on below it.
    fn place(
        &mut self,
        reader: &mut Reader<'_>,
        pointer: String,
        span: std::ops::Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        match value.get_ref() {
            DeValue::Table(table) if !table.is_empty() => {
                for entry in &entries(table, value.span()).entries {
                    unplaced(reader, entry);
                    if entry.key.bytes().all(|byte| byte.is_ascii_digit()) && !entry.key.is_empty() {
                        let message = format!("`{}` would be read as a place in a list", entry.key);
                        let help = "give the whole object as a prop of kind `object`";
                        reader.fault(entry.key_span.clone(), message, Some(help.into()));
                        continue;
                    }
                    let name = entry.key.replace('~', "~0").replace('/', "~1");
                    self.place(reader, format!("{pointer}/{name}"), entry.key_span.clone(), entry.value);
                }
            }
            DeValue::Array(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    self.place(reader, format!("{pointer}/{at}"), item.span(), item);
                }
            }
            _ => self.put(reader, pointer, span, value),
        }
    }

    fn put(
        &mut self,
        reader: &mut Reader<'_>,
        name: String,
        span: std::ops::Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let path = format!("{}[{}]", self.path, self.fields.len());
        reader.at(&*path, span.clone());
        reader.at(join(&path, "name"), span);
        if let Some(value) = self::value(reader, &name, value, &join(&path, "value"), self.props) {
            self.fields.push(ActionField { name, value });
        }
    }
}

/// A name stays as it is: a placeholder in it is a mistake.
fn unplaced(reader: &mut Reader<'_>, entry: &Entry<'_>) {
    if entry.key.contains('{') {
        let message = format!("`{}` is a name: props stand in values only", entry.key);
        reader.fault(entry.key_span.clone(), message, None);
    }
}

fn value(
    reader: &mut Reader<'_>,
    what: &str,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    props: &[String],
) -> Option<ActionValue> {
    reader.at(path, value.span());
    if !value.get_ref().is_str() {
        return json::text(reader, value).map(ActionValue::Constant);
    }
    let parts = parts(reader, value, what, path, props)?;
    Some(match parts.as_slice() {
        [ActionPart::Prop(name)] => ActionValue::Prop(name.clone()),
        _ => ActionValue::Text(parts),
    })
}

/// None when something in it is wrong, and told.
fn parts(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    what: &str,
    path: &str,
    props: &[String],
) -> Option<Vec<ActionPart>> {
    let faults = reader.faults.len();
    let names = Names { inputs: props, tokens: &[], host: &[], declare: DECLARE_PROP };
    let template = reader.template(value, what, path, names);
    let mut parts = Vec::new();
    for (at, part) in template.into_iter().enumerate() {
        match part {
            Part::Text(text) => parts.push(ActionPart::Text(text)),
            Part::Input(prop) | Part::Token(prop) | Part::Host(prop) => {
                if !prop.encodings.is_empty() {
                    let span = reader.span_of(&format!("{path}[{at}]"));
                    let message = format!("the prop `{}` is encoded by its place: it takes no `|`", prop.name);
                    reader.fault(span, message, Some(format!("write {{{}}}", prop.name)));
                }
                parts.push(ActionPart::Prop(prop.name));
            }
        }
    }
    (reader.faults.len() == faults).then_some(parts)
}
