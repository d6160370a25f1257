//! `globalThis.__host`: what the environment is built on. It takes the object and deletes the global before any script
//! runs.

use rquickjs::function::Rest;
use rquickjs::object::Accessor;
use rquickjs::{Ctx, Exception, Function, Object, Promise, Result, String as JsString, TypedArray, Value};

use crate::bindings::deputy::step::log;
use crate::requests::{self, Ask};
use crate::{bytes, digests, engine, events, random};

pub fn install(ctx: &Ctx<'_>) -> Result<()> {
    let host = Object::new(ctx.clone())?;
    host.set("start", Function::new(ctx.clone(), start)?)?;
    host.set("cancel", Function::new(ctx.clone(), |id: u32| events::cancel(id))?)?;
    host.set("read", Function::new(ctx.clone(), read)?)?;
    host.set("close", Function::new(ctx.clone(), close)?)?;
    host.set("timer", Function::new(ctx.clone(), timer)?)?;
    host.set("clearTimer", Function::new(ctx.clone(), |id: u32| events::clear_timer(id))?)?;
    host.set("log", Function::new(ctx.clone(), write_log)?)?;
    host.set("now", Function::new(ctx.clone(), engine::now_ms)?)?;
    host.set("random", Function::new(ctx.clone(), random_bytes)?)?;
    host.set("digest", Function::new(ctx.clone(), digest)?)?;
    host.set("hmac", Function::new(ctx.clone(), hmac)?)?;
    host.set("utf8Encode", Function::new(ctx.clone(), utf8_encode)?)?;
    host.set("utf8Decode", Function::new(ctx.clone(), utf8_decode)?)?;
    host.set("toBase64", Function::new(ctx.clone(), to_base64)?)?;
    host.set("fromBase64", Function::new(ctx.clone(), from_base64)?)?;
    host.set("account", Function::new(ctx.clone(), account)?)?;
    let globals = ctx.globals();
    globals.set("__host", host)?;

    let math: Object = globals.get("Math")?;
    math.set("random", Function::new(ctx.clone(), random::number)?.with_name("random")?)?;
    globals.set("performance", performance(ctx)?)?;
    // Frames of the environment stand above the script's own.
    globals.get::<_, Object>("Error")?.set("stackTraceLimit", 50)
}

/// QuickJS's own clock counts from the moment the snapshot was made.
fn performance<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let performance = Object::new(ctx.clone())?;
    performance.set("now", Function::new(ctx.clone(), engine::elapsed_ms)?.with_name("now")?)?;
    performance.prop("timeOrigin", Accessor::from(engine::origin_ms).enumerable().configurable())?;
    Ok(performance)
}

fn start<'js>(
    ctx: Ctx<'js>,
    prop: Option<String>,
    method: String,
    url: JsString<'js>,
    headers: Vec<Vec<JsString<'js>>>,
    body: Value<'js>,
    Rest(more): Rest<Value<'js>>,
) -> Result<Object<'js>> {
    let (timeout_ms, identity) = (more.first(), more.get(1));
    let timeout_ms = timeout_ms.map(|ms| ms.get::<Option<f64>>()).transpose()?.flatten();
    let identity = identity.map(|identity| identity.get::<Option<String>>()).transpose()?.flatten();
    let mut pairs = Vec::with_capacity(headers.len());
    for pair in &headers {
        let [name, value] = pair.as_slice() else {
            return Err(Exception::throw_type(&ctx, "a header is a pair of name and value"));
        };
        pairs.push((bytes::text(name)?, bytes::text(value)?));
    }
    let body = if body.is_null() || body.is_undefined() { Vec::new() } else { bytes::bytes_of(&ctx, &body)? };
    let url = bytes::text(&url)?;
    // A limit below zero or beyond all measure is no limit.
    let timeout_ms = timeout_ms.filter(|ms| *ms >= 0.0 && *ms < f64::from(u32::MAX)).map(|ms| ms as u32);
    let ask = Ask { prop, method, url, headers: pairs, body, timeout_ms, identity };
    requests::start(&ctx, ask)
}

fn read<'js>(ctx: Ctx<'js>, body: u32) -> Result<Promise<'js>> {
    events::read(&ctx, body)
}

fn close(ctx: Ctx<'_>, body: u32) -> Result<()> {
    events::close(&ctx, body)
}

fn timer<'js>(ctx: Ctx<'js>, ms: f64) -> Result<Object<'js>> {
    events::timer(&ctx, ms)
}

fn write_log<'js>(ctx: Ctx<'js>, level: String, text: JsString<'js>) -> Result<()> {
    let level = match level.as_str() {
        "debug" => log::Level::Debug,
        "info" => log::Level::Info,
        "warn" => log::Level::Warn,
        "error" => log::Level::Error,
        _ => return Err(Exception::throw_type(&ctx, "no such level")),
    };
    log::write(level, &bytes::text(&text)?);
    Ok(())
}

fn random_bytes<'js>(ctx: Ctx<'js>, len: u32) -> Result<TypedArray<'js, u8>> {
    if len as usize > random::MAX_BYTES {
        return Err(Exception::throw_range(&ctx, "at most 65536 random bytes at once"));
    }
    bytes::array(&ctx, &random::bytes(len as usize))
}

fn digest<'js>(ctx: Ctx<'js>, algorithm: String, value: Value<'js>) -> Result<TypedArray<'js, u8>> {
    match digests::digest(&algorithm, &bytes::bytes_of(&ctx, &value)?) {
        Some(digest) => bytes::array(&ctx, &digest),
        None => Err(Exception::throw_type(&ctx, "no such digest")),
    }
}

fn hmac<'js>(ctx: Ctx<'js>, algorithm: String, key: Value<'js>, value: Value<'js>) -> Result<TypedArray<'js, u8>> {
    match digests::hmac(&algorithm, &bytes::bytes_of(&ctx, &key)?, &bytes::bytes_of(&ctx, &value)?) {
        Some(tag) => bytes::array(&ctx, &tag),
        None => Err(Exception::throw_type(&ctx, "no such digest")),
    }
}

fn utf8_encode<'js>(ctx: Ctx<'js>, text: JsString<'js>) -> Result<TypedArray<'js, u8>> {
    bytes::array(&ctx, bytes::text(&text)?.as_bytes())
}

fn utf8_decode<'js>(ctx: Ctx<'js>, value: Value<'js>, fatal: bool) -> Result<JsString<'js>> {
    let bytes = bytes::bytes_of(&ctx, &value)?;
    if fatal && std::str::from_utf8(&bytes).is_err() {
        return Err(Exception::throw_type(&ctx, "the bytes are not UTF-8"));
    }
    JsString::from_str(ctx, &String::from_utf8_lossy(&bytes))
}

fn to_base64<'js>(ctx: Ctx<'js>, value: Value<'js>) -> Result<String> {
    Ok(bytes::to_base64(&bytes::bytes_of(&ctx, &value)?))
}

fn from_base64<'js>(ctx: Ctx<'js>, text: JsString<'js>) -> Result<TypedArray<'js, u8>> {
    match bytes::from_base64(&bytes::text(&text)?) {
        Some(bytes) => bytes::array(&ctx, &bytes),
        None => Err(Exception::throw_type(&ctx, "the text is not base64")),
    }
}

fn account<'js>(ctx: Ctx<'js>, prop: String) -> Result<Object<'js>> {
    requests::facts(&ctx, &prop)
}
