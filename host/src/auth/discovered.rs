//! What a provider says of an account, read from its replies and tokens, and an account of which not all is known yet.

use std::sync::Arc;

use deputy_declaration::template;
use deputy_declaration::types::{App, Origin, Part, TokenPart};
use url::Url;

use super::apps::PinnedApp;
use super::error::AuthError;
use super::record::Record;
use super::reply::Reply;
use crate::egress::Live;

/// The value at a pointer of the last reply that has one. Never a secret of the account.
pub fn in_reply(replies: &[Reply], pointer: &str) -> Option<String> {
    replies.iter().rev().find_map(|reply| reply.text(pointer))
}

/// A part of a token, which its provider makes public: a data centre, a region.
pub fn in_token(record: &Record, part: &TokenPart) -> Result<Option<String>, AuthError> {
    let Some(held) = record.tokens.get(&part.token) else { return Ok(None) };
    let Ok(text) = std::str::from_utf8(held.value.expose()) else { return Ok(None) };
    template::cut(&part.pattern, text).map_err(AuthError::Internal)
}

/// Whether a value holds one of the account's secrets: then it is no input, which everybody may read.
pub fn holds_secret(record: &Record, value: &str) -> bool {
    let secrets = record.tokens.values().flat_map(|held| [Some(&held.value), held.refresh.as_ref()]).flatten();
    secrets
        .map(|secret| secret.expose())
        .any(|secret| secret.len() >= 8 && value.as_bytes().windows(secret.len()).any(|part| part == secret))
}

/// The account as far as it is known: its reach is what can be said without the inputs that are still to be found.
/// `request`: the absolute URL that will be asked, or a path.
pub fn so_far(pinned: &PinnedApp, record: &Record, request: &str) -> Result<Live, AuthError> {
    let unknown = || AuthError::MethodUnknown {
        app: pinned.app.slug.clone(),
        method: record.method.clone(),
        known: String::new(),
    };
    let (index, method) = pinned.method(&record.method).ok_or_else(unknown)?;
    let mut app = App::clone(&pinned.app);
    let known = |name: &str| record.inputs.contains_key(name);
    app.reach.origins.retain(|origin| match origin {
        Origin::Exact(_) => true,
        Origin::Label(label) => known(&label.input),
        Origin::Pinned(input) => known(input),
        Origin::Choice(template) => template.iter().all(|part| match part {
            Part::Input(input) => known(&input.name),
            _ => true,
        }),
    });
    let base = match Url::parse(request) {
        Ok(mut url) => {
            url.set_path("");
            url.set_query(None);
            url
        }
        Err(_) => template::base(&app, &record.inputs)?,
    };
    Ok(Live {
        account: record.id.clone(),
        name: record.name(),
        method: index,
        inputs: template::checked_inputs(&app, &record.inputs)?,
        tokens: record.tokens.iter().map(|(name, held)| (name.clone(), held.value.duplicate())).collect(),
        client_id: record.client_id.clone(),
        origins: template::origins(&app, &record.inputs)?,
        base,
        token_endpoints: template::token_endpoints(&app, method, &record.inputs, record.client_id.as_deref())?,
        generation: record.secrets,
        declaration: Arc::new(app),
        version: pinned.hash.clone(),
    })
}
