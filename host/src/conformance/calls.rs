//! The made provider's own logins: calls that the declaration spells out, one after the other.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use deputy_declaration::types::{
    AuthKind, AuthMethod, Call, CallBody, Discovery, Expiry, InputSource, JsonField, NamedTemplate, Template, Token,
};
use serde_json::{Value, json};

use super::fake::{self, Answering, Candidates, Fake, Reply, State, Then};
use super::values::{shaped, token_value};
use super::wanted::{Content, Pairs, Wanted, put};

/// Which calls of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chain {
    /// An exchange.
    Login,
    /// What follows OAuth's own token call.
    Then,
    Refresh,
    Revoke,
}

impl Chain {
    pub fn calls(self, method: &AuthMethod) -> &[Call] {
        match (self, &method.kind) {
            (Self::Revoke, _) => &method.revoke,
            (Self::Login, AuthKind::Exchange(exchange)) => &exchange.calls,
            (Self::Refresh, AuthKind::Exchange(exchange)) => &exchange.refresh,
            (Self::Then, AuthKind::OAuth2Code(oauth2)) => &oauth2.then,
            (Self::Refresh, AuthKind::OAuth2Code(oauth2)) => &oauth2.refresh,
            (Self::Login | Self::Then | Self::Refresh, _) => &[],
        }
    }
}

impl Chain {
    /// Where the declaration has the call at this place.
    fn about(self, index: usize, method: &AuthMethod, at: usize) -> String {
        let kind = match &method.kind {
            AuthKind::OAuth2Code(_) => "oauth2-code",
            AuthKind::Exchange(_) => "exchange",
            AuthKind::Keys => "keys",
        };
        match self {
            Self::Login => format!("methods[{index}].kind.{kind}.calls[{at}]"),
            Self::Then => format!("methods[{index}].kind.{kind}.then[{at}]"),
            Self::Refresh => format!("methods[{index}].kind.{kind}.refresh[{at}]"),
            Self::Revoke => format!("methods[{index}].revoke[{at}]"),
        }
    }
}

/// How many replies the declaration counts when an account is made.
fn declared(method: &AuthMethod) -> usize {
    match &method.kind {
        AuthKind::Keys => 0,
        AuthKind::OAuth2Code(oauth2) => 1 + oauth2.then.len(),
        AuthKind::Exchange(exchange) => exchange.calls.len(),
    }
}

pub(super) fn candidates(
    fake: &Fake,
    state: &State,
    method: &AuthMethod,
    candidates: &mut Candidates,
) -> Result<(), String> {
    for chain in [Chain::Login, Chain::Then, Chain::Refresh, Chain::Revoke] {
        for (at, call) in chain.calls(method).iter().enumerate() {
            let begins = at == 0 && chain != Chain::Then;
            if !begins && chain != Chain::Revoke && state.chain != Some((chain, at)) {
                continue;
            }
            // One that needs what an earlier reply brings cannot come before it.
            if let Ok(wanted) = request(fake, state, chain.about(state.method, method, at), call) {
                candidates.push((wanted, Then::Call(chain, at)));
            }
        }
    }
    Ok(())
}

fn request(fake: &Fake, state: &State, about: String, call: &Call) -> Result<Wanted, String> {
    let mut wanted = Wanted::new(about, &call.method, fake.url(state, &call.url)?);
    for (name, value) in fields(state, &call.query)? {
        wanted.url.query_pairs_mut().append_pair(&name, &value);
    }
    match &call.body {
        CallBody::None => {}
        CallBody::Form(pairs) => wanted.form(fields(state, pairs)?),
        CallBody::Json(places) => wanted.json(json_body(state, places)?),
        CallBody::Text(text) => {
            wanted.header("content-type", &text.content_type);
            wanted.content = Content::Bytes(state.render(&text.value)?.unwrap_or_default().into_bytes());
        }
    }
    for (name, value) in fields(state, &call.headers)? {
        wanted.header(&name, value);
    }
    if let Some(basic) = &call.basic {
        let part = |template| Ok::<_, String>(state.render(template)?.unwrap_or_default());
        let pair = format!("{}:{}", part(&basic.username)?, part(&basic.password)?);
        wanted.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
    }
    for default in &fake.app.headers {
        if !wanted.has_header(&default.name) {
            wanted.header(&default.name, &default.value);
        }
    }
    Ok(wanted)
}

/// Those whose tokens are there.
fn fields(state: &State, fields: &[NamedTemplate]) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    for field in fields {
        if let Some(value) = state.render(&field.value)? {
            pairs.push((field.name.clone(), value));
        }
    }
    Ok(pairs)
}

fn json_body(state: &State, places: &[JsonField]) -> Result<Value, String> {
    let mut body = json!({});
    for place in places {
        let Some(text) = state.render(&place.value)? else { continue };
        let value = match place.raw {
            true => serde_json::from_str(&text).map_err(|error| format!("`{}` is no JSON: {error}", place.at))?,
            false => Value::String(text),
        };
        put(&mut body, &place.at, value);
    }
    Ok(body)
}

pub(super) fn answer(
    fake: &Fake,
    state: &mut State,
    method: &AuthMethod,
    chain: Chain,
    at: usize,
) -> Result<Reply, String> {
    let calls = chain.calls(method).len();
    if chain == Chain::Revoke {
        state.revoked.push(format!("call {at}"));
        return Ok(fake::json_reply(200, &json!({})));
    }
    if let Some(error) = state.login_error.clone() {
        state.chain = None;
        return Ok(refusal(method, &error));
    }
    let before = if chain == Chain::Then { 1 } else { 0 };
    let reply = tokens(fake, state, method, before + at, before + calls)?;
    state.chain = Some((chain, at + 1)).filter(|_| at + 1 < calls);
    if state.chain.is_none() && matches!(chain, Chain::Login | Chain::Refresh) {
        state.renewals += 1;
    }
    Ok(reply)
}

/// An error where the declaration looks for it.
pub(super) fn refusal(method: &AuthMethod, code: &str) -> Reply {
    let at = match &method.kind {
        AuthKind::OAuth2Code(oauth2) => oauth2.error.as_str(),
        AuthKind::Exchange(exchange) => exchange.error.as_str(),
        AuthKind::Keys => "/error",
    };
    let mut body = json!({});
    put(&mut body, at, Value::from(code));
    fake::json_reply(400, &body)
}

/// The reply at this place among `total`: new tokens for all that stand in it, or in one after it.
pub(super) fn tokens(
    fake: &Fake,
    state: &mut State,
    method: &AuthMethod,
    index: usize,
    total: usize,
) -> Result<Reply, String> {
    let declared = declared(method);
    // A shorter order, such as a refresh, ends with the reply that the whole one ends with.
    let own = |token: &Token| {
        let call = usize::try_from(token.reply.as_ref()?.call).ok()?;
        Some(if call + 1 >= declared { total.saturating_sub(1) } else { call.min(total.saturating_sub(1)) })
    };
    let here = |token: &&Token| own(token).is_some_and(|own| own >= index);
    let final_here = |token: &Token| own(token) == Some(index);
    let (mut headers, mut body, mut whole) = (Vec::new(), json!({}), None);
    for token in method.tokens.iter().filter(here) {
        issue(fake, state, token)?;
        match place(state, token, &mut body, final_here(token)) {
            Placed::Body => {}
            Placed::Header(name, value) => headers.push((name, value)),
            Placed::Whole(value) => whole = Some(value),
        }
    }
    Ok(finish(fake, state, headers, body, whole))
}

/// The reply to the refresh of one token.
pub(super) fn one_token(fake: &Fake, state: &mut State, token: &Token) -> Result<Reply, String> {
    issue(fake, state, token)?;
    let (mut headers, mut body, mut whole) = (Vec::new(), json!({}), None);
    match place(state, token, &mut body, true) {
        Placed::Body => {}
        Placed::Header(name, value) => headers.push((name, value)),
        Placed::Whole(value) => whole = Some(value),
    }
    Ok(finish(fake, state, headers, body, whole))
}

fn finish(fake: &Fake, state: &State, headers: Pairs, mut body: Value, whole: Option<String>) -> Reply {
    if let Some(value) = whole {
        return (200, vec![("content-type".to_owned(), "text/plain".to_owned())], value.into_bytes());
    }
    for input in &fake.app.inputs {
        if let (InputSource::Discovered(Discovery::Reply(at)), Some(value)) =
            (&input.source, state.inputs.get(&input.name))
        {
            put(&mut body, at, Value::from(value.as_str()));
        }
    }
    let (status, mut all, body) = fake::json_reply(200, &body);
    all.extend(headers);
    (status, all, body)
}

/// A new value of a token, and a new refresh token where it has one that is used up.
fn issue(fake: &Fake, state: &mut State, token: &Token) -> Result<(), String> {
    state.issued += 1;
    if matches!(state.answering, Answering::UntilRenewed(_) | Answering::Recorded(_)) {
        state.answering = Answering::Well;
    }
    let seed = 9_000 + state.issued;
    let value = match token.reply.as_ref().and_then(|reply| reply.expiry.as_ref()) {
        Some(Expiry::Jwt) => {
            let claims = json!({ "sub": "conformance-1", "exp": ends_at(state), "jti": seed });
            format!("e30.{}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()), plain(seed))
        }
        _ => token_value(&fake.app, token, seed).map_err(|error| error.to_string())?,
    };
    state.tokens.insert(token.name.clone(), value);
    let spent = !state.refresh.contains_key(&token.name) || fake.rotates(state);
    if spent && token.reply.as_ref().is_some_and(|reply| reply.refresh.is_some()) {
        state.refresh.insert(token.name.clone(), format!("rt-{}", plain(seed)));
    }
    Ok(())
}

fn plain(seed: u64) -> String {
    shaped("", 48, deputy_declaration::types::Alphabet::Alphanumeric, seed)
}

/// Seconds since 1970.
fn ends_at(state: &State) -> i64 {
    jiff::Timestamp::now().as_second().saturating_add(i64::try_from(state.lifetime_s).unwrap_or(i64::MAX))
}

enum Placed {
    Body,
    Header(String, String),
    Whole(String),
}

/// Puts a token into a reply, with what is said beside it.
fn place(state: &State, token: &Token, body: &mut Value, is_final: bool) -> Placed {
    let (Some(reply), Some(value)) = (&token.reply, state.tokens.get(&token.name)) else { return Placed::Body };
    if let (Some(at), Some(refresh)) = (&reply.refresh, state.refresh.get(&token.name)) {
        put(body, at, Value::from(refresh.as_str()));
    }
    match &reply.expiry {
        Some(Expiry::Seconds(at)) => put(body, at, Value::from(state.lifetime_s)),
        Some(Expiry::Milliseconds(at)) => put(body, at, Value::from(state.lifetime_s * 1000)),
        Some(Expiry::At(at)) => {
            let moment = jiff::Timestamp::from_second(ends_at(state)).map(|at| at.to_string()).unwrap_or_default();
            put(body, at, Value::from(moment));
        }
        Some(Expiry::Jwt) | None => {}
    }
    match &reply.access_header {
        Some(name) if is_final => Placed::Header(name.clone(), value.clone()),
        None if reply.access.is_empty() && is_final => Placed::Whole(value.clone()),
        None if !reply.access.is_empty() => {
            put(body, &reply.access, Value::from(value.as_str()));
            Placed::Body
        }
        _ => Placed::Body,
    }
}

/// Where the calls of a method go.
pub(super) fn urls(method: &AuthMethod) -> impl Iterator<Item = &Template> {
    let chains = [Chain::Login, Chain::Then, Chain::Refresh, Chain::Revoke];
    chains.into_iter().flat_map(|chain| chain.calls(method)).map(|call| &call.url)
}
