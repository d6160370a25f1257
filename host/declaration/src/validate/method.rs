//! Auth methods: their tokens, and what belongs to every kind of method.

use std::collections::BTreeSet;
use std::fmt;

use super::calls::{self, There};
use super::rules::{rule_sets, rule_tokens};
use super::text::{self, is_header_name, is_id, is_name};
use super::{Check, token_names};
use crate::types::{AuthKind, AuthMethod, Call, ClientAuth, Expiry, Part, ReplyToken, Setup};

pub(super) fn methods(check: &mut Check<'_>) {
    let app = check.app;
    if app.methods.is_empty() {
        check.fail_with("methods", "the app has no auth method", "declare one: [methods.token]");
    }
    let ids = app.methods.iter().enumerate().map(|(index, method)| (format!("methods[{index}].id"), &method.id));
    check.unique("method", ids);
    for (index, method) in app.methods.iter().enumerate() {
        let path = format!("methods[{index}]");
        if !is_id(&method.id) {
            check.fail(format!("{path}.id"), text::bad_id(&method.id));
        }
        if method.label.trim().is_empty() {
            check.fail(format!("{path}.label"), "the label is empty");
        }
        check.link(&format!("{path}.docs"), method.docs.as_deref());
        if let Some(setup) = &method.setup {
            self::setup(check, &format!("{path}.setup"), setup);
        }
        tokens(check, &path, method);
        rule_sets(check, &path, method);
        revoke(check, &format!("{path}.revoke"), method);
        match &method.kind {
            AuthKind::Keys if method.reply_hook => {
                let path = format!("{path}.reply-hook");
                check.fail_with(path, "pasted keys bring no reply that a hook could read", "leave it out");
            }
            AuthKind::Keys => {}
            AuthKind::OAuth2Code(oauth2) => {
                super::oauth2::oauth2(check, &format!("{path}.kind.oauth2-code"), method, oauth2);
            }
            AuthKind::Exchange(exchange) => {
                calls::exchange(check, &format!("{path}.kind.exchange"), method, exchange);
            }
        }
    }
}

fn setup(check: &mut Check<'_>, path: &str, setup: &Setup) {
    check.link(&format!("{path}.url"), setup.url.as_deref());
    if setup.url.is_none() && setup.steps.is_empty() {
        check.fail(path, "the setup says nothing");
    }
    for (at, step) in setup.steps.iter().enumerate() {
        check.words(&format!("{path}.steps[{at}]"), "step", step, 500);
    }
}

fn revoke(check: &mut Check<'_>, path: &str, method: &AuthMethod) {
    let host: &[&str] = match &method.kind {
        AuthKind::Keys => &[],
        AuthKind::OAuth2Code(oauth2) if oauth2.client_auth == ClientAuth::None => &["client_id", "refresh_token"],
        AuthKind::OAuth2Code(_) => &["client_id", "client_secret", "refresh_token"],
        AuthKind::Exchange(exchange) if exchange.refresh.is_empty() => &[],
        AuthKind::Exchange(_) => &["refresh_token"],
    };
    let there = |_| There { tokens: calls::before(method, usize::MAX, false), host, once: false };
    calls::calls(check, path, &method.revoke, there);
}

fn tokens(check: &mut Check<'_>, path: &str, method: &AuthMethod) {
    if method.tokens.is_empty() {
        check.fail(format!("{path}.tokens"), "the method has no token: nothing would be kept");
    } else if method.tokens.iter().all(|token| token.optional) {
        check.fail(format!("{path}.tokens"), "all tokens are optional: an account could hold nothing");
    } else if method.tokens.iter().all(|token| token.once) {
        check.fail(format!("{path}.tokens"), "all tokens are for connect alone: nothing would be kept");
    } else if matches!(method.kind, AuthKind::Exchange(_)) && method.tokens.iter().all(|token| token.reply.is_none()) {
        let help = "say where one stands in the reply: tokens.session = { access = \"/token\" }";
        check.fail_with(format!("{path}.tokens"), "the exchange brings no token", help);
    }
    let inputs = check.app.inputs.iter().map(|input| ("the inputs".to_owned(), &input.name));
    let names = method.tokens.iter().enumerate().map(|(at, token)| (format!("{path}.tokens[{at}].name"), &token.name));
    let all: Vec<_> = inputs.chain(names).collect();
    // Inputs among themselves are compared elsewhere.
    let inputs = check.app.inputs.len();
    let distinct: BTreeSet<_> = all[..inputs].iter().map(|(_, name)| *name).collect();
    let distinct = distinct.into_iter().map(|name| ("the inputs".to_owned(), name));
    check.unique("token", distinct.chain(all[inputs..].iter().cloned()).collect::<Vec<_>>());

    let names: Vec<&str> = method.tokens.iter().map(|token| token.name.as_str()).collect();
    let rules = method.rule_sets.iter().flat_map(|set| &set.rules);
    let mut used: BTreeSet<&str> = rules.flat_map(|rule| rule_tokens(rule, &names)).collect();
    for call in method_calls(method) {
        used.extend(calls::templates(call).into_iter().flat_map(|template| token_names(template)));
    }
    let mut places = Vec::new();
    for (at, token) in method.tokens.iter().enumerate() {
        let path = format!("{path}.tokens[{at}]");
        if !is_name(&token.name) {
            check.fail(format!("{path}.name"), text::bad_name(&token.name));
        }
        if token.label.trim().is_empty() {
            check.fail(format!("{path}.label"), "the label is empty");
        }
        if let Some(pattern) = &token.pattern {
            check.pattern(&format!("{path}.pattern"), pattern);
        }
        if !used.contains(token.name.as_str()) {
            let help = format!("use `{{{}}}` in a rule, or leave the token out", token.name);
            check.fail_with(&path, format!("no rule uses the token `{}`", token.name), help);
        }
        match (&token.reply, &method.kind) {
            (Some(_), AuthKind::Keys) => {
                check.fail(format!("{path}.reply"), "a token that a person pastes stands in no OAuth reply");
            }
            (None, AuthKind::OAuth2Code(_)) => {
                check.fail(format!("{path}.reply"), "where the token stands in the OAuth reply is not said");
            }
            (None, AuthKind::Keys) if token.once => {
                check.fail(
                    format!("{path}.once"),
                    "nothing is done with a token that is not kept: it needs an exchange",
                );
            }
            (None, _) => {}
            (Some(reply), kind) => {
                if token.once {
                    check.fail(format!("{path}.once"), "only a pasted token is for connect alone");
                }
                if token.pattern.is_some() {
                    check
                        .fail(format!("{path}.pattern"), "a pattern is for a pasted token, and nobody pastes this one");
                }
                let calls = match kind {
                    AuthKind::Keys => 0,
                    AuthKind::OAuth2Code(oauth2) => oauth2.then.len() + 1,
                    AuthKind::Exchange(exchange) => exchange.calls.len(),
                };
                let path = format!("{path}.reply");
                self::reply(check, &path, reply, calls);
                let place = reply.access_header.as_ref().map(|header| header.to_ascii_lowercase());
                let place = place.map_or_else(|| reply.access.clone(), |header| format!("header {header}"));
                places.push((format!("{path}.access"), Place { call: reply.call, place }));
            }
        }
    }
    check.unique("place of a token", places);
    markers(check, path, method);
}

/// Where a token stands among all replies.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    call: u32,
    place: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.place.is_empty() { "the whole body" } else { &self.place })
    }
}

/// All calls that a method declares.
fn method_calls(method: &AuthMethod) -> impl Iterator<Item = &Call> {
    let (calls, refresh): (&[Call], &[Call]) = match &method.kind {
        AuthKind::Keys => (&[], &[]),
        AuthKind::OAuth2Code(oauth2) => (&oauth2.then, &oauth2.refresh),
        AuthKind::Exchange(exchange) => (&exchange.calls, &exchange.refresh),
    };
    calls.iter().chain(refresh)
}

fn reply(check: &mut Check<'_>, path: &str, reply: &ReplyToken, calls: usize) {
    if reply.call as usize >= calls {
        let message = format!("there is no call {}: they are counted from 0, and there are {calls}", reply.call);
        check.fail(format!("{path}.call"), message);
    }
    match &reply.access_header {
        Some(header) if !is_header_name(header) => {
            check.fail(format!("{path}.access-header"), format!("`{header}` is no header name"));
        }
        Some(_) if !reply.access.is_empty() => {
            check.fail(format!("{path}.access"), "a token stands in the body or in a header, not in both");
        }
        Some(_) => {}
        // The body is the token, so nothing else stands in it.
        None if reply.access.is_empty() => {
            let in_body = reply.expiry.as_ref().and_then(expiry_pointer).is_some();
            if in_body || reply.refresh.is_some() || reply.scope.is_some() {
                check.fail(format!("{path}.access"), "the whole body is the token: no other field stands in it");
            }
        }
        None => {}
    }
    for (field, pointer) in [
        ("access", Some(&reply.access)),
        ("refresh", reply.refresh.as_ref()),
        ("expiry", reply.expiry.as_ref().and_then(expiry_pointer)),
        ("scope", reply.scope.as_ref()),
    ] {
        if let Some(pointer) = pointer {
            check.pointer(&format!("{path}.{field}"), pointer);
        }
    }
    if reply.lifetime_s == Some(0) {
        check.fail(format!("{path}.lifetime-s"), "a token that lives 0 seconds is of no use");
    }
}

/// The shortest random part: 22 letters and digits are 131 bits, 22 hex digits 88.
const MARKER_RANDOM: usize = 22;
const MARKER_MAX: u32 = 512;

fn markers(check: &mut Check<'_>, path: &str, method: &AuthMethod) {
    let mut names = Vec::new();
    for (at, token) in method.tokens.iter().enumerate() {
        let path = format!("{path}.tokens[{at}].marker");
        let marker = &token.marker;
        if let Some(bad) = marker.prefix.chars().find(|c| !c.is_ascii_graphic()) {
            let message = format!("a prefix is visible ASCII without spaces: it holds {bad:?}");
            check.fail(format!("{path}.prefix"), message);
        }
        let least = marker.prefix.len() + MARKER_RANDOM;
        if marker.length > MARKER_MAX || (marker.length as usize) < least {
            let message = format!(
                "a marker has {least} to {MARKER_MAX} characters here: the prefix and {MARKER_RANDOM} random ones"
            );
            check.fail(format!("{path}.length"), message);
        }
        if marker.names.is_empty() {
            let help = format!("names = [\"{}\"]", token.name);
            check.fail_with(format!("{path}.names"), "code knows the token by no name", help);
        }
        for (at, name) in marker.names.iter().enumerate() {
            let path = format!("{path}.names[{at}]");
            if !is_name(name) {
                check.fail(&path, text::bad_name(name));
            }
            names.push((path, name));
        }
    }
    check.unique("name of a marker", names);
}

fn expiry_pointer(expiry: &Expiry) -> Option<&String> {
    match expiry {
        Expiry::Seconds(pointer) | Expiry::Milliseconds(pointer) | Expiry::At(pointer) => Some(pointer),
        Expiry::Jwt => None,
    }
}

pub(super) fn literal(check: &mut Check<'_>, path: &str, template: &[Part], fault: impl Fn(&str) -> Option<String>) {
    for (at, part) in template.iter().enumerate() {
        if let Part::Text(text) = part
            && let Some(message) = fault(text)
        {
            check.fail(format!("{path}[{at}]"), message);
        }
    }
}

/// What stands at the error's place is shown to people: it must not be a place of tokens, or lie around or in one.
pub(super) fn error_place(check: &mut Check<'_>, path: &str, method: &AuthMethod, error: &str) {
    let replies = method.tokens.iter().filter_map(|token| token.reply.as_ref());
    let declared = replies.flat_map(|reply| {
        // A body that is the token is no object: an object has no token, and may hold an error.
        let access = Some(reply.access.as_str()).filter(|at| reply.access_header.is_none() && !at.is_empty());
        [access, reply.refresh.as_deref()].into_iter().flatten()
    });
    let within =
        |one: &str, other: &str| one == other || one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    let mut secret = declared.chain(["/access_token", "/refresh_token", "/id_token"]);
    if let Some(token) = secret.find(|token| within(error, token) || within(token, error)) {
        check.fail(
            format!("{path}.error"),
            format!("`{error}` is where a token stands (`{token}`), and errors are shown"),
        );
    }
}
