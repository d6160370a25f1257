//! Calls to a provider's login, and the exchanges that are made of them.

use super::method::{error_place, literal};
use super::reach::{BODY_METHODS, method_name};
use super::rules::header_name;
use super::text;
use super::{Check, Known};
use crate::types::{
    AuthMethod, Call, CallBody, Encoding, Exchange, InputSource, NamedTemplate, Part, Rotation, Template,
};

/// What is there when a call is made.
pub(super) struct There<'n> {
    pub tokens: Vec<&'n str>,
    pub host: &'static [&'static str],
    /// Inputs that are given at connect and not kept.
    pub once: bool,
}

/// More calls than any provider asks for.
const MOST_CALLS: usize = 8;

/// `there` says what is there at each call.
pub(super) fn calls<'n>(check: &mut Check<'_>, path: &str, calls: &[Call], there: impl Fn(usize) -> There<'n>) {
    if calls.len() > MOST_CALLS {
        check.fail(path, format!("{} calls are more than {MOST_CALLS}", calls.len()));
    }
    for (at, call) in calls.iter().enumerate() {
        self::call(check, &format!("{path}[{at}]"), call, &there(at));
    }
}

pub(super) fn exchange(check: &mut Check<'_>, path: &str, method: &AuthMethod, exchange: &Exchange) {
    if exchange.calls.is_empty() {
        check.fail(format!("{path}.calls"), "an exchange without a call brings nothing");
    }
    calls(check, &format!("{path}.calls"), &exchange.calls, |at| There {
        tokens: before(method, at, true),
        host: &[],
        once: true,
    });
    let held = || before(method, usize::MAX, false);
    calls(check, &format!("{path}.refresh"), &exchange.refresh, |_| There {
        tokens: held(),
        host: &["refresh_token"],
        once: false,
    });
    let keeps = method.tokens.iter().filter_map(|token| token.reply.as_ref()).any(|reply| reply.refresh.is_some());
    if !exchange.refresh.is_empty() && !keeps && mentions_refresh(&exchange.refresh) {
        check.fail(format!("{path}.refresh"), "no token of the method says where its refresh token stands");
    }
    if exchange.refresh.is_empty() && keeps {
        check.fail_with(path, "nothing uses the refresh token", "declare `refresh` calls, or leave `refresh` out");
    }
    check.pointer(&format!("{path}.error"), &exchange.error);
    error_place(check, path, method, &exchange.error);
    let codes = exchange.errors.iter().enumerate();
    let codes = codes.map(|(at, error)| (format!("{path}.errors[{at}].code"), &error.code));
    check.unique("error code", codes);
    if let Rotation::Grace(0) = exchange.rotation {
        check.fail_with(format!("{path}.rotation"), "a grace of 0 seconds is none", "write \"strict\"");
    }
}

/// The tokens that are there before call `at`. `connecting`: those that are not kept too.
pub(super) fn before(method: &AuthMethod, at: usize, connecting: bool) -> Vec<&str> {
    let there = method.tokens.iter().filter(|token| match &token.reply {
        None => connecting || !token.once,
        Some(reply) => (reply.call as usize) < at,
    });
    there.map(|token| token.name.as_str()).collect()
}

fn mentions_refresh(calls: &[Call]) -> bool {
    let named = |part: &Part| matches!(part, Part::Host(host) if host.name == "refresh_token");
    calls.iter().flat_map(templates).flatten().any(named)
}

/// All templates of a call.
pub(super) fn templates(call: &Call) -> Vec<&Template> {
    let mut all = vec![&call.url];
    all.extend(call.headers.iter().chain(&call.query).map(|named| &named.value));
    all.extend(call.basic.iter().flat_map(|basic| [&basic.username, &basic.password]));
    match &call.body {
        CallBody::None => {}
        CallBody::Form(fields) => all.extend(fields.iter().map(|field| &field.value)),
        CallBody::Json(fields) => all.extend(fields.iter().map(|field| &field.value)),
        CallBody::Text(text) => all.push(&text.value),
    }
    all
}

fn call(check: &mut Check<'_>, path: &str, call: &Call, there: &There<'_>) {
    method_name(check, &format!("{path}.method"), &call.method);
    if call.body != CallBody::None && !BODY_METHODS.contains(&call.method.as_str()) {
        check.fail(format!("{path}.body"), format!("a {} request has no body", call.method));
    }
    url(check, &format!("{path}.url"), &call.url, there);
    let known = Known { tokens: &there.tokens, host: there.host };
    named(check, &format!("{path}.headers"), "header", &call.headers, known, true);
    for (at, header) in call.headers.iter().enumerate() {
        let path = format!("{path}.headers[{at}]");
        header_name(check, &format!("{path}.name"), &header.name);
        if call.basic.is_some() && header.name.eq_ignore_ascii_case("authorization") {
            check.fail(&path, "`basic` writes the header Authorization already");
        }
        literal(check, &format!("{path}.value"), &header.value, |text| {
            (!text::is_header_text(text)).then(|| "a header value holds visible ASCII only".to_owned())
        });
    }
    named(check, &format!("{path}.query"), "query field", &call.query, known, false);
    if let Some(basic) = &call.basic {
        check.declared(&format!("{path}.basic.username"), &basic.username, known);
        check.declared(&format!("{path}.basic.password"), &basic.password, known);
    }
    match &call.body {
        CallBody::None => {}
        CallBody::Form(fields) => named(check, &format!("{path}.body.form"), "form field", fields, known, false),
        CallBody::Json(fields) => {
            let path = format!("{path}.body.json");
            let places = fields.iter().enumerate().map(|(at, field)| (format!("{path}[{at}].at"), &field.at));
            check.unique("place in the body", places);
            for (at, field) in fields.iter().enumerate() {
                let path = format!("{path}[{at}]");
                if field.at.is_empty() {
                    check.fail(format!("{path}.at"), "the pointer names the whole body");
                } else {
                    check.pointer(&format!("{path}.at"), &field.at);
                }
                // One would have to be an object and a value.
                let around = |other: &str| field.at.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
                if fields.iter().any(|other| !other.at.is_empty() && around(&other.at)) {
                    check.fail(format!("{path}.at"), format!("`{}` lies within another field", field.at));
                }
                check.declared(&format!("{path}.value"), &field.value, known);
                let raw = match &field.value[..] {
                    [Part::Text(text)] => serde_json::from_str::<serde_json::Value>(text).is_ok(),
                    _ => false,
                };
                if field.raw && !raw {
                    check.fail(format!("{path}.value"), "a raw value is JSON, without placeholders");
                }
            }
        }
        CallBody::Text(body) => {
            let path = format!("{path}.body.text");
            check.declared(&format!("{path}.value"), &body.value, known);
            let sound = body.content_type.split_once('/').is_some_and(|(kind, rest)| {
                text::is_header_name(kind) && !rest.is_empty() && text::is_header_text(rest)
            });
            if !sound {
                let message = format!("`{}` is no content type", body.content_type);
                check.fail_with(format!("{path}.content-type"), message, "such as `application/xml`");
            }
        }
    }
    if !there.once {
        kept(check, path, call);
    }
}

/// A call after connect cannot name what was not kept.
fn kept(check: &mut Check<'_>, path: &str, call: &Call) {
    let once = |part: &Part| match part {
        Part::Input(input) => {
            check.app.inputs.iter().any(|known| known.name == input.name && known.source == InputSource::Once)
        }
        _ => false,
    };
    if let Some(Part::Input(input)) = templates(call).into_iter().flatten().find(|part| once(part)) {
        check.fail(path, format!("the input `{}` is not kept after connect", input.name));
    }
}

/// Names and templates, each name once.
fn named(check: &mut Check<'_>, path: &str, what: &str, fields: &[NamedTemplate], known: Known<'_>, folded: bool) {
    let name = |name: &str| if folded { name.to_ascii_lowercase() } else { name.to_owned() };
    let names = fields.iter().enumerate().map(|(at, field)| (format!("{path}[{at}].name"), name(&field.name)));
    check.unique(what, names);
    for (at, field) in fields.iter().enumerate() {
        if field.name.is_empty() {
            check.fail(format!("{path}[{at}].name"), format!("the {what} has no name"));
        }
        check.declared(&format!("{path}[{at}].value"), &field.value, known);
    }
}

/// A URL is no place for a secret; the client's id is none.
fn url(check: &mut Check<'_>, path: &str, template: &[Part], there: &There<'_>) {
    let mut public = template.to_vec();
    for (at, part) in public.iter_mut().enumerate() {
        let Part::Host(host) = part else { continue };
        if host.name != "client_id" || !there.host.contains(&"client_id") {
            check.fail(format!("{path}[{at}]"), format!("`{{{}}}` cannot stand in a URL", host.name));
            return;
        }
        if host.encodings.last() != Some(&Encoding::Percent) {
            let message = "`{client_id}` could leave its place in the URL";
            check.fail_with(format!("{path}[{at}]"), message, "write `{client_id|percent}`");
            return;
        }
        if at == 0 || !matches!(&template[0], Part::Text(text) if text.splitn(4, '/').count() == 4) {
            check.fail(format!("{path}[{at}]"), "`{client_id}` would decide the host");
            return;
        }
        *part = Part::Text("x".into());
    }
    check.url(path, &public);
}
