//! Auth methods: tokens, rules, and what OAuth needs.

use std::collections::BTreeSet;

use super::text::{self, is_header_name, is_host_owned_header, is_id, is_name};
use super::{Check, place, token_names};
use crate::types::{AuthKind, AuthMethod, Expiry, OAuth2, Param, Part, Rotation, Rule, RuleSet};

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
        tokens(check, &path, method);
        rule_sets(check, &path, method);
        if let AuthKind::OAuth2Code(oauth2) = &method.kind {
            self::oauth2(check, &format!("{path}.kind.oauth2-code"), method, oauth2);
        }
    }
}

fn tokens(check: &mut Check<'_>, path: &str, method: &AuthMethod) {
    if method.tokens.is_empty() {
        check.fail(format!("{path}.tokens"), "the method has no token: nothing would be kept");
    } else if method.tokens.iter().all(|token| token.optional) {
        check.fail(format!("{path}.tokens"), "all tokens are optional: an account could hold nothing");
    }
    let inputs = check.app.inputs.iter().map(|input| ("the inputs".to_owned(), &input.name));
    let names = method.tokens.iter().enumerate().map(|(at, token)| (format!("{path}.tokens[{at}].name"), &token.name));
    let all: Vec<_> = inputs.chain(names).collect();
    // Inputs among themselves are compared elsewhere.
    let inputs = check.app.inputs.len();
    let distinct: BTreeSet<_> = all[..inputs].iter().map(|(_, name)| *name).collect();
    let distinct = distinct.into_iter().map(|name| ("the inputs".to_owned(), name));
    check.unique("token", distinct.chain(all[inputs..].iter().cloned()).collect::<Vec<_>>());

    let used: BTreeSet<&str> = method.rule_sets.iter().flat_map(|set| &set.rules).flat_map(rule_tokens).collect();
    let oauth = matches!(method.kind, AuthKind::OAuth2Code(_));
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
        match (&token.reply, oauth) {
            (Some(_), false) => {
                check.fail(format!("{path}.reply"), "a token that a person pastes stands in no OAuth reply");
            }
            (None, true) => {
                check.fail(format!("{path}.reply"), "where the token stands in the OAuth reply is not said");
            }
            (None, false) => {}
            (Some(reply), true) => {
                let reply_path = format!("{path}.reply");
                if reply.access.is_empty() {
                    check.fail(format!("{reply_path}.access"), "the pointer names the whole reply");
                }
                for (field, pointer) in [
                    ("access", Some(&reply.access)),
                    ("refresh", reply.refresh.as_ref()),
                    ("expiry", reply.expiry.as_ref().and_then(expiry_pointer)),
                    ("scope", reply.scope.as_ref()),
                ] {
                    if let Some(pointer) = pointer {
                        check.pointer(&format!("{reply_path}.{field}"), pointer);
                    }
                }
                if reply.lifetime_s == Some(0) {
                    check.fail(format!("{reply_path}.lifetime-s"), "a token that lives 0 seconds is of no use");
                }
                places.push((format!("{reply_path}.access"), reply.access.clone()));
            }
        }
    }
    check.unique("place of a token", places);
    markers(check, path, method);
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

fn rule_tokens(rule: &Rule) -> Vec<&str> {
    match rule {
        Rule::Header(named) | Rule::Query(named) | Rule::Body(named) => token_names(&named.value).collect(),
        Rule::Basic(basic) => token_names(&basic.username).chain(token_names(&basic.password)).collect(),
        Rule::Path(template) => token_names(template).collect(),
        Rule::Sign(signer) => {
            place::signer_templates(signer).into_iter().flat_map(|(_, template)| token_names(template)).collect()
        }
    }
}

fn rule_sets(check: &mut Check<'_>, path: &str, method: &AuthMethod) {
    let sets = &method.rule_sets;
    if sets.is_empty() {
        check.fail(format!("{path}.rule-sets"), "no rule says where the token goes");
    }
    let names = sets.iter().enumerate().map(|(at, set)| (format!("{path}.rule-sets[{at}].name"), &set.name));
    check.unique("rule set", names);
    let tokens: Vec<&str> = method.tokens.iter().map(|token| token.name.as_str()).collect();
    for (at, set) in sets.iter().enumerate() {
        rule_set(check, &format!("{path}.rule-sets[{at}]"), set, &tokens);
    }
}

fn rule_set(check: &mut Check<'_>, path: &str, set: &RuleSet, tokens: &[&str]) {
    if !is_id(&set.name) {
        check.fail(format!("{path}.name"), text::bad_id(&set.name));
    }
    if set.rules.iter().flat_map(rule_tokens).next().is_none() {
        check.fail(path, format!("no rule of `{}` holds a token: requests would go out without one", set.name));
    }
    let mut slots = Vec::new();
    for (at, rule) in set.rules.iter().enumerate() {
        let path = format!("{path}.rules[{at}]");
        match rule {
            Rule::Header(named) => {
                check.declared(&format!("{path}.header.value"), &named.value, tokens);
                header_name(check, &format!("{path}.header.name"), &named.name);
                literal(check, &format!("{path}.header.value"), &named.value, |text| {
                    (!text::is_header_text(text)).then(|| "a header value holds visible ASCII only".to_owned())
                });
                slots.push((path, format!("header {}", named.name.to_ascii_lowercase())));
            }
            Rule::Query(named) => {
                check.declared(&format!("{path}.query.value"), &named.value, tokens);
                if named.name.is_empty() || named.name.contains(['&', '=', '#', ' ']) {
                    check.fail(format!("{path}.query.name"), format!("`{}` is no query name", named.name));
                }
                slots.push((path, format!("query {}", named.name)));
            }
            Rule::Basic(basic) => {
                check.declared(&format!("{path}.basic.username"), &basic.username, tokens);
                check.declared(&format!("{path}.basic.password"), &basic.password, tokens);
                literal(check, &format!("{path}.basic.username"), &basic.username, |text| {
                    text.contains(':').then(|| "a Basic user name cannot hold a colon (RFC 7617)".to_owned())
                });
                slots.push((path, "header authorization".to_owned()));
            }
            Rule::Body(_) | Rule::Path(_) | Rule::Sign(_) => {
                let slot = place::rule(check, &path, rule, tokens);
                slots.extend(slot.map(|slot| (path, slot)));
            }
        }
    }
    check.unique("place of a rule:", slots);
}

/// A name that an app may write to.
pub(super) fn header_name(check: &mut Check<'_>, path: &str, name: &str) {
    if !is_header_name(name) {
        check.fail(path, format!("`{name}` is no header name"));
    } else if is_host_owned_header(name) {
        check.fail(path, format!("the header `{name}` belongs to the host"));
    }
}

fn literal(check: &mut Check<'_>, path: &str, template: &[Part], fault: impl Fn(&str) -> Option<String>) {
    for (at, part) in template.iter().enumerate() {
        if let Part::Text(text) = part
            && let Some(message) = fault(text)
        {
            check.fail(format!("{path}[{at}]"), message);
        }
    }
}

fn oauth2<'a>(check: &mut Check<'a>, path: &str, method: &AuthMethod, oauth2: &'a OAuth2) {
    check.url(&format!("{path}.token-url"), &oauth2.token_url);
    for (field, template) in [
        ("authorize-url", &oauth2.authorize_url),
        ("refresh-url", &oauth2.refresh_url),
        ("revoke-url", &oauth2.revoke_url),
    ] {
        if let Some(template) = template {
            check.url(&format!("{path}.{field}"), template);
        }
    }
    let lists: Vec<&str> = oauth2.scope_lists.iter().map(|list| list.param.as_str()).collect();
    let authorize = ["response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"];
    let authorize: Vec<&str> = authorize.iter().copied().chain(lists.iter().copied()).collect();
    params(check, &format!("{path}.authorize-params"), &oauth2.authorize_params, &authorize);
    let token = ["grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier"];
    params(check, &format!("{path}.token-params"), &oauth2.token_params, &token);
    let refresh = ["grant_type", "refresh_token", "client_id", "client_secret"];
    params(check, &format!("{path}.refresh-params"), &oauth2.refresh_params, &refresh);
    scopes(check, path, oauth2);
    if let Some(issuer) = &oauth2.issuer {
        let sound = url::Url::parse(issuer).is_ok_and(|url| {
            let authority = &url[..url::Position::BeforePath];
            url.query().is_none() && url.fragment().is_none() && crate::template::check_authority(authority).is_ok()
        });
        if !sound {
            check.fail(
                format!("{path}.issuer"),
                format!("`{issuer}` is no issuer: an https URL without query (RFC 8414)"),
            );
        }
    }
    check.pointer(&format!("{path}.error"), &oauth2.error);
    error_place(check, path, method, &oauth2.error);
    let codes = oauth2.errors.iter().enumerate().map(|(at, error)| (format!("{path}.errors[{at}].code"), &error.code));
    check.unique("error code", codes);
    if let Rotation::Grace(0) = oauth2.rotation {
        check.fail_with(format!("{path}.rotation"), "a grace of 0 seconds is none", "write \"strict\"");
    }
}

fn scopes(check: &mut Check<'_>, path: &str, oauth2: &OAuth2) {
    let lists = &oauth2.scope_lists;
    let params = lists.iter().enumerate().map(|(at, list)| (format!("{path}.scope-lists[{at}].param"), &list.param));
    check.unique("scope parameter", params);
    for (at, list) in lists.iter().enumerate() {
        let path = format!("{path}.scope-lists[{at}]");
        if list.param.is_empty() {
            check.fail(format!("{path}.param"), "the parameter has no name");
        }
        if list.separator.is_empty() {
            check.fail(format!("{path}.separator"), "the separator is empty: scopes would run together");
        }
        let names =
            list.scopes.iter().enumerate().map(|(at, scope)| (format!("{path}.scopes[{at}].name"), &scope.name));
        check.unique("scope", names);
        for (at, scope) in list.scopes.iter().enumerate() {
            if scope.name.is_empty() || (!list.separator.is_empty() && scope.name.contains(&list.separator)) {
                let message = format!("`{}` holds the separator, or nothing", scope.name);
                check.fail(format!("{path}.scopes[{at}].name"), message);
            }
        }
    }
}

fn params(check: &mut Check<'_>, path: &str, params: &[Param], owned: &[&str]) {
    let names = params.iter().enumerate().map(|(at, param)| (format!("{path}[{at}].name"), &param.name));
    check.unique("parameter", names);
    for (at, param) in params.iter().enumerate() {
        let path = format!("{path}[{at}].name");
        if param.name.is_empty() {
            check.fail(path, "the parameter has no name");
        } else if owned.contains(&param.name.as_str()) {
            check.fail(path, format!("the parameter `{}` belongs to the host", param.name));
        }
    }
}

/// What stands at the error's place is shown to people: it must not be a place of tokens, or lie around or in one.
fn error_place(check: &mut Check<'_>, path: &str, method: &AuthMethod, error: &str) {
    let replies = method.tokens.iter().filter_map(|token| token.reply.as_ref());
    let declared = replies.flat_map(|reply| [Some(reply.access.as_str()), reply.refresh.as_deref()]).flatten();
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
