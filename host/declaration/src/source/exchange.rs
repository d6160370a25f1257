//! `exchange`, and its short form `client-credentials`.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::calls::{calls, named};
use super::oauth2::{errors, rotation};
use super::reader::{Names, Reader, Table, join};
use crate::types::{
    BasicRule, Call, CallBody, ClientAuth, Encoding, Exchange, JsonField, NamedTemplate, Part, Placeholder, Rotation,
    Template, TokenBody,
};

const EXCHANGE: [&str; 5] = ["calls", "refresh", "error", "errors", "rotation"];
const CLIENT_CREDENTIALS: [&str; 8] =
    ["token-url", "scopes", "scope-separator", "params", "client-auth", "body", "error", "errors"];

pub(super) fn exchange(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    names: Names<'_>,
) -> Option<Exchange> {
    reader.at(path, value.span());
    let table = reader.table(value, "exchange", &EXCHANGE)?;
    if !table.has("calls") {
        reader.missing(&table, "exchange", "calls");
    }
    Some(Exchange {
        calls: calls(reader, &table, "calls", path, names),
        refresh: calls(reader, &table, "refresh", path, names.with_host(&["refresh_token"])),
        error: reader.optional(&table, "error", path).unwrap_or_else(|| "/error".into()),
        errors: errors(reader, &table, path),
        rotation: rotation(reader, &table, path),
    })
}

/// RFC 6749 section 4.4 as an exchange of one call.
pub(super) fn client_credentials(
    reader: &mut Reader<'_>,
    value: &Spanned<DeValue<'_>>,
    path: &str,
    inputs: &[String],
) -> Option<Exchange> {
    reader.at(path, value.span());
    let table = reader.table(value, "client-credentials", &CLIENT_CREDENTIALS)?;
    let names = Names { inputs, tokens: &[], host: &[], declare: super::reader::DECLARE_INPUT };
    let call = format!("{path}.calls[0]");
    let url = match table.get("token-url") {
        Some(value) => reader.template(value, "token-url", &join(&call, "url"), names),
        None => {
            reader.missing(&table, "client-credentials", "token-url");
            Vec::new()
        }
    };
    let mut fields = vec![field("grant_type", vec![Part::Text("client_credentials".into())])];
    fields.extend(scope(reader, &table));
    let auth = [("basic", ClientAuth::Basic), ("basic-raw", ClientAuth::BasicRaw), ("post", ClientAuth::Post)];
    let auth = reader.choice_or(&table, "client-auth", &auth, ClientAuth::Basic);
    let client = |name: &str, encodings: &[Encoding]| -> Template {
        vec![Part::Token(Placeholder { name: name.to_owned(), encodings: encodings.to_vec() })]
    };
    let basic = match auth {
        ClientAuth::Post => {
            fields.push(field("client_id", client("client_id", &[])));
            fields.push(field("client_secret", client("client_secret", &[])));
            None
        }
        auth => {
            // RFC 6749 section 2.3.1: both are form-encoded first.
            let encodings: &[Encoding] = if auth == ClientAuth::Basic { &[Encoding::Percent] } else { &[] };
            let (username, password) = (client("client_id", encodings), client("client_secret", encodings));
            Some(BasicRule { username, password })
        }
    };
    let bodies = [("form", TokenBody::Form), ("json", TokenBody::Json)];
    let json = reader.choice_or(&table, "body", &bodies, TokenBody::Form) == TokenBody::Json;
    let params = named(reader, &table, "params", &format!("{path}.params"), names);
    // The fields of the body stand behind those that are always there.
    for (at, _) in params.iter().enumerate() {
        let span = reader.span_of(&format!("{path}.params[{at}]"));
        let body = format!("{call}.body.{}[{}]", if json { "json" } else { "form" }, fields.len() + at);
        reader.at(body, span);
    }
    for param in &params {
        if fields.iter().any(|field| field.name == param.name) {
            let span = reader.span_of(&format!("{path}.params"));
            reader.fault(span, format!("the parameter `{}` is already there", param.name), None);
        }
    }
    fields.extend(params);
    let body = if json {
        CallBody::Json(
            fields
                .into_iter()
                .map(|field| JsonField { at: pointer(&field.name), value: field.value, raw: false })
                .collect(),
        )
    } else {
        CallBody::Form(fields)
    };
    let method = "POST".to_owned();
    Some(Exchange {
        calls: vec![Call { method, url, headers: Vec::new(), query: Vec::new(), basic, body }],
        refresh: Vec::new(),
        error: reader.optional(&table, "error", path).unwrap_or_else(|| "/error".into()),
        errors: errors(reader, &table, path),
        rotation: Rotation::None,
    })
}

fn scope(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<NamedTemplate> {
    let separator = table.get("scope-separator").and_then(|value| reader.text_of(value, "scope-separator", ""));
    let scopes = reader.strings(table, "scopes", "");
    if scopes.is_empty() {
        if let Some(value) = table.get("scope-separator") {
            reader.fault(value.span(), "a separator without `scopes` separates nothing", None);
        }
        return None;
    }
    let scopes = scopes.join(separator.as_deref().unwrap_or(" "));
    Some(field("scope", vec![Part::Text(scopes)]))
}

fn field(name: &str, value: Template) -> NamedTemplate {
    NamedTemplate { name: name.to_owned(), value }
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}
