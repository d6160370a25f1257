//! Who says what an input is: a person at connect, the operator with the client, or the provider itself.
//!
//! Promises: nothing unknown is taken; what the operator gave for all accounts of a client cannot be replaced at
//! connect; a value given for something that the provider says is no value but a claim, which must prove true.

use std::collections::BTreeMap;

use deputy_declaration::nearest;
use deputy_declaration::template::check_input;
use deputy_declaration::types::{App, AuthKind, AuthMethod, Discovery, Input, InputKind, InputSource};
use url::Url;

use super::AccountError;
use crate::auth::client::{Client, mentions};
use crate::auth::error::AuthError;
use crate::auth::record::Record;

/// How an account is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Paste,
    Browser,
    Device,
}

/// Who says it.
enum Says<'a> {
    Person,
    Client,
    Provider(&'a Discovery),
    /// This method has no use for it.
    Nobody,
}

fn says<'a>(app: &App, method: &AuthMethod, input: &'a Input, way: Way) -> Says<'a> {
    match &input.source {
        InputSource::Account => Says::Person,
        _ if !mentions(app, method, &input.name) => Says::Nobody,
        InputSource::Client if way != Way::Paste => Says::Client,
        InputSource::Client | InputSource::Once => Says::Person,
        InputSource::Discovered(discovery) => {
            let possible = match discovery {
                Discovery::Callback(_) => way == Way::Browser,
                Discovery::Reply(_) => !matches!(method.kind, AuthKind::Keys),
                Discovery::Token(part) => method.tokens.iter().any(|token| token.name == part.token),
                Discovery::Request(_) => true,
            };
            // What the provider does not say on this way, a person must.
            if possible { Says::Provider(discovery) } else { Says::Person }
        }
    }
}

/// What a person is asked at connect.
pub(super) fn asked<'a>(app: &'a App, method: &'a AuthMethod, way: Way) -> impl Iterator<Item = &'a Input> {
    app.inputs.iter().filter(move |input| matches!(says(app, method, input, way), Says::Person))
}

/// What the provider says, in the order of the declaration.
pub(super) fn discovered<'a>(
    app: &'a App,
    method: &'a AuthMethod,
    way: Way,
) -> impl Iterator<Item = (&'a Input, &'a Discovery)> {
    app.inputs.iter().filter_map(move |input| match says(app, method, input, way) {
        Says::Provider(discovery) => Some((input, discovery)),
        _ => None,
    })
}

/// What is known before anything is sent.
#[derive(Debug)]
pub(super) struct Known {
    pub values: BTreeMap<String, String>,
    /// What the provider must say.
    pub expected: BTreeMap<String, String>,
}

/// `old`: the account that is connected anew. It keeps what it has; `moves`: unless it becomes somebody else's.
pub(super) fn known(
    app: &App,
    method: &AuthMethod,
    way: Way,
    given: &BTreeMap<String, String>,
    old: Option<(&Record, bool)>,
    client: Option<&Client>,
) -> Result<Known, AuthError> {
    for name in given.keys() {
        if !app.inputs.iter().any(|input| input.name == *name) {
            let nearest = nearest(name, app.inputs.iter().map(|input| input.name.as_str())).map(str::to_owned);
            return Err(AuthError::InputUnknown { app: app.slug.clone(), name: name.clone(), nearest });
        }
    }
    let mut known = Known { values: BTreeMap::new(), expected: BTreeMap::new() };
    for input in &app.inputs {
        let name = &input.name;
        let check = |value: &String| {
            check_input(input, value).map_err(|reason| AuthError::Input { name: name.clone(), reason })
        };
        let refuse = |reason: &str| AuthError::InputElsewhere { name: name.clone(), reason: reason.to_owned() };
        let before = old.and_then(|(record, moves)| Some((record.inputs.get(name)?, moves)));
        match says(app, method, input, way) {
            Says::Person => {
                let before = before.map(|(value, _)| value);
                let value = given.get(name).or(before).or(input.default.as_ref());
                let missing = || AuthError::InputMissing { name: name.clone(), label: input.label.clone() };
                known.values.insert(name.clone(), check(value.ok_or_else(missing)?)?);
            }
            Says::Client => {
                if given.contains_key(name) {
                    let fix = format!("it belongs to the OAuth client: give it to `deputy client set {}`", app.slug);
                    return Err(refuse(&fix));
                }
                let value = client.and_then(|client| client.inputs.get(name)).or(input.default.as_ref());
                let missing = || AuthError::ClientInputMissing { app: app.slug.clone(), name: name.clone() };
                known.values.insert(name.clone(), check(value.ok_or_else(missing)?)?);
            }
            Says::Provider(_) => {
                let before = before.and_then(|(value, moves)| (!moves).then_some(value));
                if let Some(value) = given.get(name).or(before) {
                    known.expected.insert(name.clone(), check(value)?);
                }
            }
            Says::Nobody if given.contains_key(name) => {
                return Err(refuse(&format!("the method `{}` has no use for it", method.id)));
            }
            Says::Nobody => {}
        }
    }
    Ok(known)
}

/// What an account keeps: not what was for the connect alone.
pub(super) fn kept(app: &App, values: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let once = |name: &str| app.inputs.iter().any(|input| input.name == name && input.source == InputSource::Once);
    values.into_iter().filter(|(name, _)| !once(name)).collect()
}

/// A host of the owner's choice gets credentials only after the owner said so. One within declared hosts is the app's.
pub(super) fn confirm(
    app: &App,
    values: &BTreeMap<String, String>,
    confirmed: bool,
    old: Option<&Record>,
) -> Result<(), AccountError> {
    for input in app.inputs.iter().filter(|input| input.kind == InputKind::BaseUrl && input.hosts.is_empty()) {
        let Some(value) = values.get(&input.name) else { continue };
        let as_before = old.is_some_and(|old| old.inputs.get(&input.name) == Some(value));
        if confirmed || as_before {
            continue;
        }
        let host = Url::parse(value).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        return Err(AccountError::HostUnconfirmed { host });
    }
    Ok(())
}
