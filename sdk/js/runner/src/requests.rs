//! Accounts and requests, as the host offers them, for JavaScript.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rquickjs::{Array, Ctx, Exception, Object, Result, Value};

use crate::bindings::deputy::step::accounts::{self, Account};
use crate::bindings::deputy::step::http::{self, Header, Pending, Request};
use crate::bindings::deputy::step::types;
use crate::bytes;
use crate::events;

thread_local! {
    /// One handle a prop, however many requests go through it.
    static ACCOUNTS: RefCell<BTreeMap<String, Rc<Account>>> = const { RefCell::new(BTreeMap::new()) };
}

/// What a script gives to start a request.
pub struct Ask {
    pub prop: Option<String>,
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub timeout_ms: Option<u32>,
    pub identity: Option<String>,
}

fn account(ctx: &Ctx<'_>, prop: &str) -> Result<Rc<Account>> {
    if let Some(account) = ACCOUNTS.with_borrow(|accounts| accounts.get(prop).cloned()) {
        return Ok(account);
    }
    let account = Rc::new(accounts::get(prop).map_err(|error| refuse(ctx, &error))?);
    ACCOUNTS.with_borrow_mut(|accounts| accounts.insert(prop.to_owned(), account.clone()));
    Ok(account)
}

/// `{ app, name, identity, scopes, inputs, markers }` of the account bound to a prop.
pub fn facts<'js>(ctx: &Ctx<'js>, prop: &str) -> Result<Object<'js>> {
    let account = account(ctx, prop)?;
    let facts = account.facts();
    let object = Object::new(ctx.clone())?;
    object.set("app", facts.app)?;
    object.set("name", facts.name)?;
    object.set("identity", facts.identity)?;
    object.set("scopes", facts.scopes)?;
    object.set("inputs", fields(ctx, facts.inputs)?)?;
    object.set("markers", fields(ctx, account.markers())?)?;
    Ok(object)
}

/// Without a prototype: a field may be called `__proto__`.
fn fields<'js>(ctx: &Ctx<'js>, fields: Vec<accounts::Field>) -> Result<Object<'js>> {
    let object = Object::new_proto(ctx.clone(), None)?;
    for field in fields {
        object.set(field.name, field.value)?;
    }
    Ok(object)
}

/// Starts a request: `{ id, promise }`.
pub fn start<'js>(ctx: &Ctx<'js>, ask: Ask) -> Result<Object<'js>> {
    let account = ask.prop.as_deref().map(|prop| account(ctx, prop)).transpose()?;
    let mut headers = Vec::with_capacity(ask.headers.len());
    for (name, value) in ask.headers {
        let Some(value) = bytes::latin1(&value) else {
            let message = format!("the value of header `{name}` holds a character beyond U+00FF");
            return Err(Exception::throw_type(ctx, &message));
        };
        headers.push(Header { name, value });
    }
    let request = Request {
        method: ask.method,
        url: ask.url,
        headers,
        body: ask.body,
        timeout_ms: ask.timeout_ms,
        as_identity: ask.identity,
    };
    let pending = http::start(account.as_deref(), &request).map_err(|error| refuse(ctx, &error))?;
    events::wait_for_answer(ctx, pending)
}

/// The answer as `{ status, headers, body }`, or why there is none. The outer none: it is still on its way.
pub fn take<'js>(ctx: &Ctx<'js>, pending: &Pending) -> Option<Result<Value<'js>>> {
    let response = match pending.take()? {
        Ok(response) => response,
        Err(error) => return Some(Err(refuse(ctx, &error))),
    };
    let answer = || {
        let body = response.body().map_err(|error| refuse(ctx, &error))?;
        let object = Object::new(ctx.clone())?;
        object.set("status", response.status())?;
        let headers = Array::new(ctx.clone())?;
        for (at, header) in response.headers().into_iter().enumerate() {
            headers.set(at, vec![header.name, bytes::from_latin1(&header.value)])?;
        }
        object.set("headers", headers)?;
        object.set("body", events::keep_body(body))?;
        Ok(object.into_value())
    };
    Some(answer())
}

/// Throws the host's refusal, with its `code` and `fix`.
fn refuse(ctx: &Ctx<'_>, error: &types::Error) -> rquickjs::Error {
    let thrown = || {
        let exception = Exception::from_message(ctx.clone(), &error.message)?;
        exception.set("code", code(error.code))?;
        if let Some(fix) = &error.fix {
            exception.set("fix", fix.as_str())?;
        }
        Ok(exception)
    };
    match thrown() {
        Ok(exception) => exception.throw(),
        Err(error) => error,
    }
}

fn code(code: types::ErrorCode) -> &'static str {
    match code {
        types::ErrorCode::Invalid => "invalid",
        types::ErrorCode::Denied => "denied",
        types::ErrorCode::NotBound => "not-bound",
        types::ErrorCode::NeedsReconnect => "needs-reconnect",
        types::ErrorCode::Unreachable => "unreachable",
        types::ErrorCode::Timeout => "timeout",
        types::ErrorCode::Limit => "limit",
        types::ErrorCode::Protocol => "protocol",
        types::ErrorCode::Internal => "internal",
    }
}
