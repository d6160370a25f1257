//! An exchange: secrets that a person pasted, traded for tokens; at connect, and again when the tokens are over.
//!
//! Promises: a secret that is declared for once leaves memory with the connect; what a provider answers to a refused
//! login is told without any of the secrets that were sent.

use std::collections::BTreeMap;

use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{App, AuthKind, AuthMethod, Exchange, InputSource};

use super::apps::PinnedApp;
use super::call::{Party, Values, templates};
use super::error::AuthError;
use super::errors::Class;
use super::exchange::held;
use super::obtain::Obtained;
use super::record::{Held, MAX_RAW_BYTES};
use super::refusal::Refusal;
use super::road::TokenRoad;
use super::rows::Rows;
use super::sequence::{Order, Step, Stopped, Why, complete, found, run};
use crate::caller::Caller;
use crate::killpoint::reach;
use crate::vault::Secret;

pub(super) fn calls(exchange: &Exchange) -> Order<'_> {
    Order { calls: &exchange.calls, name: "calls", error: &exchange.error, declared: exchange.calls.len() }
}

/// Whether what is kept of an account is enough for another login.
fn is_repeatable(app: &App, method: &AuthMethod, exchange: &Exchange) -> bool {
    let named = |name: Name<'_>| match name {
        Name::Token(name) => !method.tokens.iter().any(|token| token.name == name && token.once),
        Name::Input(name) => !app.inputs.iter().any(|input| input.name == name && input.source == InputSource::Once),
        Name::Host(_) => true,
    };
    exchange.calls.iter().flat_map(templates).flat_map(template::names).all(named)
}

/// The tokens that the replies to a login brought. `old`: those of the account, where there are some.
pub(super) fn won(
    app: &App,
    method: &AuthMethod,
    exchange: &Exchange,
    steps: &[Step],
    old: &BTreeMap<String, Held>,
) -> BTreeMap<String, Held> {
    let repeatable = is_repeatable(app, method, exchange);
    let mut tokens = BTreeMap::new();
    for token in &method.tokens {
        let Some(place) = &token.reply else { continue };
        if let Some((read, received)) = found(place, steps, exchange.calls.len(), false) {
            let mut held = held(read, received, old.get(&token.name));
            held.again = repeatable;
            if exchange.refresh.is_empty() {
                held.refresh = None;
            }
            tokens.insert(token.name.clone(), held);
        }
    }
    tokens
}

/// The first login of an account. `pasted` was checked.
pub async fn login(
    rows: &Rows,
    road: &dyn TokenRoad,
    caller: &Caller,
    pinned: &PinnedApp,
    method: &AuthMethod,
    inputs: &BTreeMap<String, String>,
    pasted: BTreeMap<String, Secret>,
) -> Result<Obtained, AuthError> {
    let app = &*pinned.app;
    let AuthKind::Exchange(exchange) = &method.kind else {
        return Err(AuthError::Internal(format!("`{}` of {} has no login", method.id, app.slug)));
    };
    let tokens = pasted.iter().map(|(name, secret)| (name.clone(), secret.duplicate())).collect();
    let mut values = Values { inputs: inputs.clone(), tokens, ..Values::default() };
    let party = Party { caller, app, method, account: None, purpose: "token", version: &pinned.hash };
    let made = run(road, &|| rows.now(), &party, calls(exchange), &mut values, Vec::new()).await;
    reach("connect-after-reply");
    let told = |refusal: Refusal| refused(app, exchange, &refusal, &values);
    let steps = match made {
        Ok(steps) => steps,
        Err(Stopped { why: Why::Unbuilt(error), .. }) => return Err(error),
        Err(Stopped { why: Why::Road(error), .. }) => {
            return Err(AuthError::ExchangeFailed { app: app.slug.clone(), reason: error.to_string() });
        }
        Err(Stopped { why: Why::Refused(refusal), .. }) => return Err(told(refusal)),
    };
    let required = |name: &str| method.tokens.iter().any(|token| token.name == name && !token.optional);
    complete(method, &steps, exchange.calls.len(), false, required).map_err(told)?;
    let mut tokens = won(app, method, exchange, &steps, &BTreeMap::new());
    for (name, secret) in pasted {
        if !method.tokens.iter().any(|token| token.name == name && token.once) {
            tokens.insert(name, Held::pasted(secret));
        }
    }
    let last = steps.last().map(|step| &step.answer.body).filter(|body| body.len() <= MAX_RAW_BYTES);
    let raw = last.map(|body| Secret::new(body.to_vec()));
    Ok(Obtained { tokens, raw, replies: steps.into_iter().filter_map(Step::into_reply).collect() })
}

fn refused(app: &App, exchange: &Exchange, refusal: &Refusal, values: &Values) -> AuthError {
    let (app, reason) = (app.slug.clone(), refusal.reason(&values.secrets()));
    match refusal.class_of_login(&exchange.errors) {
        Class::Permanent | Class::LostRotation | Class::Raced => AuthError::SecretsRefused { app, reason },
        Class::Throttle(wait) => {
            let reason = format!("it asks to wait {} s ({reason})", wait.as_secs());
            AuthError::ExchangeFailed { app, reason }
        }
        Class::Configuration | Class::Transient | Class::Ambiguous => AuthError::ExchangeFailed { app, reason },
    }
}
