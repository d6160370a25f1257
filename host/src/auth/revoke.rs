//! The end of an account's tokens at the provider, and in words what came of it.
//!
//! Best effort: nothing waits for a provider that is away, and an account is deleted whatever it says.

use deputy_declaration::template;
use deputy_declaration::types::{AuthKind, AuthMethod, OAuth2};

use super::apps::{Apps, PinnedApp, oauth2_of};
use super::call::{Party, Values, build};
use super::error::AuthError;
use super::oauth2::{self, ClientCredentials};
use super::obtain::client;
use super::record::Record;
use super::road::TokenRoad;
use super::rows::Rows;
use crate::caller::Caller;
use crate::egress::{Request, TokenCall};
use crate::vault::Secret;

/// What was tried, and what of it did not go well.
#[derive(Default)]
struct Outcome {
    tried: bool,
    refused: Vec<String>,
}

/// Where the app says how: first its refresh and access tokens (RFC 7009), then the calls it declares.
pub async fn revoke(
    rows: &Rows,
    apps: &dyn Apps,
    road: &dyn TokenRoad,
    caller: &Caller,
    record: &Record,
) -> Result<String, AuthError> {
    let missing = || AuthError::DeclarationMissing { id: record.id.clone(), app: record.app.clone() };
    let pinned = apps.pinned(&record.declaration)?.ok_or_else(missing)?;
    let (_, method) = pinned.method(&record.method).ok_or_else(missing)?;
    let mut outcome = Outcome::default();
    let mut values = Values { inputs: record.inputs.clone(), client_id: record.client_id.clone(), ..Values::default() };
    if let Some((declared, id)) = oauth2_of(method).zip(record.client.as_ref()) {
        let client = client(rows, caller, &pinned.app.slug, id).await?;
        let credentials = client.for_endpoints(&pinned.app, method, &record.inputs)?;
        standard(road, caller, record, &pinned, declared, credentials, &mut outcome).await?;
        values.client_id = Some(credentials.id.to_owned());
        values.client_secret = credentials.secret.map(Secret::duplicate);
    }
    for (name, held) in &record.tokens {
        values.tokens.insert(name.clone(), held.value.duplicate());
        values.refresh_token = values.refresh_token.or(held.refresh.as_ref().map(Secret::duplicate));
    }
    declared(road, caller, record, &pinned, method, &values, &mut outcome).await;
    Ok(told(&pinned, method, &outcome))
}

/// RFC 7009, refresh tokens first.
async fn standard(
    road: &dyn TokenRoad,
    caller: &Caller,
    record: &Record,
    pinned: &PinnedApp,
    declared: &OAuth2,
    credentials: ClientCredentials<'_>,
    outcome: &mut Outcome,
) -> Result<(), AuthError> {
    let app = &pinned.app;
    let Some(revoke_url) = &declared.revoke_url else { return Ok(()) };
    let endpoint = template::url(app, revoke_url, &record.inputs, "revoke-url")?;
    let held = record.tokens.values();
    let refresh = held.clone().filter_map(|held| held.refresh.as_ref().map(|token| (token, "refresh_token")));
    for (token, hint) in refresh.chain(held.map(|held| (&held.value, "access_token"))) {
        let request = oauth2::revoke(app, declared, &endpoint, credentials, token, hint)?;
        let call = TokenCall {
            caller: caller.clone(),
            app: app.slug.clone(),
            account: Some(record.id.clone()),
            purpose: "revoke",
            endpoint: endpoint.clone(),
            reply_hook: None,
        };
        if !outcome.send(road, &call, request).await {
            break;
        }
    }
    Ok(())
}

async fn declared(
    road: &dyn TokenRoad,
    caller: &Caller,
    record: &Record,
    pinned: &PinnedApp,
    method: &AuthMethod,
    values: &Values,
    outcome: &mut Outcome,
) {
    let party =
        Party { caller, app: &pinned.app, method, account: Some(&record.id), purpose: "revoke", version: &pinned.hash };
    for (at, call) in method.revoke.iter().enumerate() {
        match build(&party, call, values, &format!("revoke[{at}]")) {
            Ok(built) => {
                if !outcome.send(road, &built.call, built.request).await {
                    break;
                }
            }
            Err(error) => {
                outcome.tried = true;
                outcome.refused.push(error.to_string());
            }
        }
    }
}

impl Outcome {
    /// False: the provider is away, and what else there is will not arrive either.
    async fn send(&mut self, road: &dyn TokenRoad, call: &TokenCall, request: Request) -> bool {
        self.tried = true;
        match road.call(call, request).await {
            Ok(answer) if (200..300).contains(&answer.status) => true,
            Ok(answer) => {
                self.refused.push(format!("status {}", answer.status));
                true
            }
            Err(error) => {
                self.refused.push(error.to_string());
                false
            }
        }
    }
}

fn told(pinned: &PinnedApp, method: &AuthMethod, outcome: &Outcome) -> String {
    let name = &pinned.app.name;
    if let Some(reason) = outcome.refused.first() {
        return format!("not all tokens could be revoked at {name} ({reason}): remove the access there");
    }
    match (&method.kind, outcome.tried) {
        (AuthKind::Keys, false) => format!("a pasted key stays valid at {name}: delete it there"),
        (AuthKind::Keys, true) => format!("its key was revoked at {name}"),
        (AuthKind::OAuth2Code(_), false) => {
            format!("{name} declares no way to revoke: remove the access in its own settings")
        }
        (AuthKind::OAuth2Code(_), true) => format!("its tokens were revoked at {name}"),
        (AuthKind::Exchange(_), false) => {
            format!(
                "{name} declares no way to revoke: what was pasted stays valid there, and its tokens until they end"
            )
        }
        (AuthKind::Exchange(_), true) => {
            format!("its tokens were revoked at {name}; what was pasted stays valid there")
        }
    }
}
