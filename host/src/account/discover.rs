//! Inputs that the provider says: in the callback, in a reply, in a token, or when asked with the new credentials.
//!
//! Promises: a value found is held to the same kind, pattern and hosts as one that a person types; a base URL without
//! declared hosts is never taken from a provider; what the owner gave, or the account had, must be what the provider
//! says; of several things a person chooses. Anything else ends the connect before it is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::template::{self, check_input};
use deputy_declaration::types::{App, AuthMethod, Discovery, DiscoveryRequest, Input, InputKind, Part};
use http::Method;
use serde_json::Value;

use super::admit::Unstored;
use super::check::text;
use super::inputs::{Way, discovered};
use super::{AccountError, Accounts};
use crate::auth::apps::PinnedApp;
use crate::auth::discovered::{holds_secret, in_reply, in_token, so_far};
use crate::auth::error::AuthError;
use crate::auth::record::Record;
use crate::auth::reply::Reply;
use crate::caller::Caller;
use crate::egress::{Credential, Grant, Request};

/// At most so many things are offered to choose from.
const MAX_OFFERED: usize = 50;

/// One thing of several, as it is offered.
struct Offer {
    value: String,
    label: Option<String>,
}

/// What the callback says, before the code is redeemed: the token endpoint may hang on it.
pub(super) fn from_callback(
    app: &App,
    method: &AuthMethod,
    fields: &BTreeMap<String, String>,
    expected: &BTreeMap<String, String>,
    values: &mut BTreeMap<String, String>,
) -> Result<(), AccountError> {
    for (input, discovery) in discovered(app, method, Way::Browser) {
        if let Discovery::Callback(field) = discovery {
            let found = fields.get(field).cloned();
            values.insert(input.name.clone(), accepted(app, input, found, expected.get(&input.name))?);
        }
    }
    Ok(())
}

impl Accounts {
    /// All that the provider says, once the secrets are there. Nothing of the record is stored yet.
    pub(super) async fn discover(
        &self,
        caller: &Caller,
        pinned: &PinnedApp,
        record: &mut Record,
        way: Way,
        replies: &[Reply],
        expected: &BTreeMap<String, String>,
    ) -> Result<(), AccountError> {
        let app = &pinned.app;
        let unknown = || AuthError::Internal(format!("{} has no method `{}`", app.slug, record.method));
        let (_, method) = pinned.method(&record.method).ok_or_else(unknown)?;
        for (input, discovery) in discovered(app, method, way) {
            let expected = expected.get(&input.name);
            let value = match discovery {
                Discovery::Callback(_) => continue,
                Discovery::Reply(pointer) => accepted(app, input, in_reply(replies, pointer), expected)?,
                Discovery::Token(part) => accepted(app, input, in_token(record, part)?, expected)?,
                Discovery::Request(request) => {
                    let answer = self.ask(caller, pinned, record, input, request).await?;
                    chosen(app, input, request, &answer, expected)?
                }
            };
            if !matches!(discovery, Discovery::Token(_)) && holds_secret(record, &value) {
                let reason = "it holds one of the account's secrets".to_owned();
                return Err(refused(app, input, reason));
            }
            record.inputs.insert(input.name.clone(), value);
        }
        Ok(())
    }

    /// Through the road as any request: only to where the app reaches with what is known so far.
    async fn ask(
        &self,
        caller: &Caller,
        pinned: &PinnedApp,
        record: &Record,
        input: &Input,
        request: &DiscoveryRequest,
    ) -> Result<Value, AccountError> {
        let app = &pinned.app;
        let url = match request.url.first() {
            Some(Part::Text(first)) if first.starts_with('/') => {
                template::render_public(&request.url, &record.inputs).map_err(AuthError::from)?
            }
            _ => {
                let url = template::url(app, &request.url, &record.inputs, "a discovery").map_err(AuthError::from)?;
                url.to_string()
            }
        };
        let live = so_far(pinned, record, &url)?;
        let grant = Grant::whole(caller.clone(), record.id.clone());
        let tokens = Unstored(Arc::new(live));
        let mut asked = Request::new(Method::GET, url);
        asked.rule_set = request.identity.clone();
        asked.headers.insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
        let answer = self.road.probe(Credential::Account { grant: &grant, tokens: &tokens }, asked).await?;
        if !(200..=299).contains(&answer.status) || answer.failed {
            return Err(refused(app, input, format!("{} answered {} when asked for it", app.name, answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|_| refused(app, input, "the answer is no JSON".to_owned()))
    }
}

/// The value in an answer: of the one item, or of the one that the owner named.
fn chosen(
    app: &App,
    input: &Input,
    request: &DiscoveryRequest,
    answer: &Value,
    expected: Option<&String>,
) -> Result<String, AccountError> {
    let value_of = |item: &Value| item.pointer(&request.value).and_then(plain);
    let Some(items) = &request.items else { return accepted(app, input, value_of(answer), expected) };
    let items = answer.pointer(items).and_then(Value::as_array);
    let items = items.ok_or_else(|| refused(app, input, "the answer holds no list".to_owned()))?;
    let mut offers: Vec<Offer> = Vec::new();
    let mut unusable = None;
    for item in items {
        match accepted(app, input, value_of(item), None) {
            Ok(value) => {
                let label = request.label.as_ref().and_then(|label| text(item.pointer(label)?));
                if !offers.iter().any(|offer| offer.value == value) {
                    offers.push(Offer { value, label });
                }
            }
            Err(error) => unusable = unusable.or(Some(error)),
        }
    }
    let shown = |offers: &[Offer]| -> Vec<String> {
        let line = |offer: &Offer| match &offer.label {
            Some(label) => format!("{} ({label})", offer.value),
            None => offer.value.clone(),
        };
        offers.iter().take(MAX_OFFERED).map(line).collect()
    };
    let name = || (app.slug.clone(), input.name.clone(), input.label.clone());
    match (expected, &mut offers[..]) {
        (Some(expected), offers) => match offers.iter().find(|offer| offer.value == *expected) {
            Some(offer) => Ok(offer.value.clone()),
            None => {
                let (app, name, _) = name();
                Err(AccountError::InputNotOffered { app, name, value: expected.clone(), offered: shown(offers) })
            }
        },
        (None, []) => Err(unusable.unwrap_or_else(|| refused(app, input, "the list is empty".to_owned()))),
        (None, [only]) => Ok(std::mem::take(&mut only.value)),
        (None, several) => {
            let (app, name, label) = name();
            Err(AccountError::InputSeveral { app, name, label, offered: shown(several) })
        }
    }
}

/// A value found, held against the declaration and against what it should be.
fn accepted(
    app: &App,
    input: &Input,
    found: Option<String>,
    expected: Option<&String>,
) -> Result<String, AccountError> {
    let found = found.or_else(|| input.default.clone());
    let found = found.ok_or_else(|| refused(app, input, format!("{} does not say it", app.name)))?;
    if input.kind == InputKind::BaseUrl && input.hosts.is_empty() {
        return Err(refused(app, input, "the app declares no hosts for it".to_owned()));
    }
    let value = check_input(input, &found).map_err(|reason| refused(app, input, reason))?;
    match expected {
        Some(expected) if *expected != value => Err(AccountError::InputDiffers {
            app: app.slug.clone(),
            name: input.name.clone(),
            expected: expected.clone(),
            found: value,
        }),
        _ => Ok(value),
    }
}

fn refused(app: &App, input: &Input, reason: String) -> AccountError {
    AccountError::InputUndiscovered { app: app.slug.clone(), name: input.name.clone(), reason }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
