//! Inputs: their values, who says them, and that they are there wherever they are named.

use super::Check;
use super::text::{self, is_name};
use crate::template;
use crate::types::{
    AuthKind, AuthMethod, Discovery, DiscoveryRequest, Input, InputKind, InputSource, Origin, Part, TokenPart,
};

pub(super) fn inputs(check: &mut Check<'_>) {
    let app = check.app;
    let names = app.inputs.iter().enumerate().map(|(index, input)| (format!("inputs[{index}].name"), &input.name));
    check.unique("input", names);
    for (index, input) in app.inputs.iter().enumerate() {
        let path = format!("inputs[{index}]");
        if !is_name(&input.name) {
            check.fail(format!("{path}.name"), text::bad_name(&input.name));
        }
        if input.label.trim().is_empty() {
            check.fail(format!("{path}.label"), "the label is empty");
        }
        source(check, &path, input);
        if let Some(pattern) = &input.pattern {
            check.pattern(&format!("{path}.pattern"), pattern);
            if template::whole(pattern).is_err() {
                continue;
            }
        }
        let given = input.choices.iter().enumerate().map(|(at, choice)| (format!("{path}.choices[{at}]"), choice));
        let given: Vec<_> =
            given.chain(input.default.iter().map(|default| (format!("{path}.default"), default))).collect();
        for (path, value) in given {
            match template::check_input(input, value) {
                Err(reason) => check.fail(path, format!("`{value}` would be refused at connect: {reason}")),
                Ok(form) if form != *value => {
                    check.fail(path, format!("`{value}` would be stored as `{form}`: write that"));
                }
                Ok(_) => {}
            }
        }
        if input.kind == InputKind::BaseUrl && input.default.is_some() {
            check.fail(format!("{path}.default"), "a base URL is the owner's choice and has no default");
        }
    }
}

fn source(check: &mut Check<'_>, path: &str, input: &Input) {
    let app = check.app;
    let path = format!("{path}.source");
    let some = |fits: &dyn Fn(&AuthMethod) -> bool| app.methods.iter().any(fits);
    let name = &input.name;
    match &input.source {
        InputSource::Account => {}
        InputSource::Client => {
            if !some(&|method| matches!(method.kind, AuthKind::OAuth2Code(_))) {
                check.fail(&path, format!("no method has an OAuth client, which `{name}` would come with"));
            }
        }
        InputSource::Once => once(check, &path, name),
        InputSource::Discovered(discovery) => {
            if input.kind == InputKind::BaseUrl && input.hosts.is_empty() {
                let help = "hosts = [\".example.com\"]";
                check.fail_with(&path, "a base URL that nobody confirms needs `hosts`", help);
            }
            discovered(check, &path, name, discovery);
        }
    }
}

/// Gone after connect: it cannot decide where requests go.
fn once(check: &mut Check<'_>, path: &str, name: &str) {
    let app = check.app;
    let named = |part: &Part| matches!(part, Part::Input(input) if input.name == name);
    let origins = app.reach.origins.iter().any(|origin| match origin {
        Origin::Exact(_) => false,
        Origin::Label(label) => label.input == name,
        Origin::Pinned(input) => input == name,
        Origin::Choice(template) => template.iter().any(named),
    });
    if origins || app.base.iter().any(named) {
        check.fail(path, format!("`{name}` is not kept after connect, and the base or the reach needs it"));
    }
}

fn discovered(check: &mut Check<'_>, path: &str, name: &str, discovery: &Discovery) {
    let app = check.app;
    let some = |fits: &dyn Fn(&AuthMethod) -> bool| app.methods.iter().any(fits);
    let path = format!("{path}.discovered");
    match discovery {
        Discovery::Callback(field) => {
            let path = format!("{path}.callback");
            let owned = ["code", "state", "error", "error_description", "iss"];
            if field.is_empty() || owned.contains(&field.as_str()) {
                check.fail(&path, format!("`{field}` is no field of the callback that says something of an account"));
            }
            let browser = |method: &AuthMethod| matches!(&method.kind, AuthKind::OAuth2Code(oauth2) if oauth2.authorize_url.is_some());
            if !some(&browser) {
                check.fail(&path, format!("no method has a callback that could bring `{name}`"));
            }
        }
        Discovery::Reply(pointer) => {
            let path = format!("{path}.reply");
            check.pointer(&path, pointer);
            if !some(&|method| !matches!(method.kind, AuthKind::Keys)) {
                check.fail(&path, format!("no method has a reply that could bring `{name}`"));
            }
            secret_place(check, &path, pointer);
        }
        Discovery::Token(part) => token(check, &format!("{path}.token"), part),
        Discovery::Request(request) => self::request(check, &format!("{path}.request"), name, request),
    }
}

/// What is discovered is read by everybody: no place of a token.
fn secret_place(check: &mut Check<'_>, path: &str, pointer: &str) {
    let app = check.app;
    let replies = app.methods.iter().flat_map(|method| &method.tokens).filter_map(|token| token.reply.as_ref());
    let secrets = replies.flat_map(|reply| [Some(&reply.access), reply.refresh.as_ref()]).flatten();
    if let Some(secret) = secrets.into_iter().find(|secret| !secret.is_empty() && *secret == pointer) {
        check.fail(path, format!("`{secret}` is where a token stands, and inputs are no secrets"));
    }
}

fn token(check: &mut Check<'_>, path: &str, part: &TokenPart) {
    let tokens: Vec<&str> =
        check.app.methods.iter().flat_map(|method| &method.tokens).map(|token| token.name.as_str()).collect();
    if !tokens.contains(&part.token.as_str()) {
        let help = crate::suggest::nearest(&part.token, tokens.iter().copied());
        let help =
            help.map_or_else(|| format!("tokens: {}", tokens.join(", ")), |near| format!("did you mean `{near}`?"));
        check.fail_with(format!("{path}.token"), format!("no method has a token `{}`", part.token), help);
    }
    let path = format!("{path}.pattern");
    match template::whole(&part.pattern) {
        Err(reason) => check.fail(path, format!("the pattern does not compile: {reason}")),
        // The whole match is a group of its own.
        Ok(pattern) if pattern.captures_len() != 2 => {
            check.fail_with(path, "the pattern has exactly one group, which is the value", "such as `-([a-z0-9]+)$`");
        }
        Ok(_) => {}
    }
}

fn request(check: &mut Check<'_>, path: &str, name: &str, request: &DiscoveryRequest) {
    let app = check.app;
    let pointers =
        [("value", Some(&request.value)), ("items", request.items.as_ref()), ("label", request.label.as_ref())];
    for (field, pointer) in pointers {
        if let Some(pointer) = pointer {
            check.pointer(&format!("{path}.{field}"), pointer);
        }
    }
    if let Some(identity) = &request.identity {
        let sets: Vec<&str> =
            app.methods.iter().flat_map(|method| &method.rule_sets).map(|set| set.name.as_str()).collect();
        if !sets.contains(&identity.as_str()) {
            let help = crate::suggest::nearest(identity, sets.iter().copied());
            let help = help.map_or_else(|| sets.join(", "), str::to_owned);
            check.fail_with(format!("{path}.identity"), format!("no rule set is called `{identity}`"), help);
        }
    }
    let path = format!("{path}.url");
    let named =
        |template: &[Part]| template.iter().any(|part| matches!(part, Part::Input(input) if input.name == name));
    if named(&request.url) {
        check.fail(&path, format!("the URL needs `{name}`, which it is to bring"));
        return;
    }
    match request.url.first() {
        Some(Part::Text(text)) if text.starts_with('/') => {
            if named(&app.base) {
                let message = format!("the base needs `{name}`, which this request is to bring");
                check.fail_with(path, message, "write an absolute URL within reach");
                return;
            }
            // Below the base it is a path like another: held against it whole.
            let whole: Vec<Part> = app.base.iter().chain(&request.url).cloned().collect();
            check.url(&path, &whole);
        }
        _ => {
            check.url(&path, &request.url);
        }
    }
}
