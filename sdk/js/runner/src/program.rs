//! One script, from its source to its end.

use rquickjs::{Array, Ctx, Error, Module, Object, Result as JsResult, String as JsString, Value};

use crate::bindings::deputy::step::log;
use crate::bindings::{Failure, Limits, Output, Prop, Script};
use crate::{bytes, engine, events, failure, props as wit_props};

pub fn props(script: &Script, limits: &Limits) -> Result<Vec<Prop>, Failure> {
    engine::within(limits, |ctx, entry| {
        let namespace = load(ctx, script)?;
        let json = (|| -> JsResult<String> {
            let json: JsString = entry.props.restore(ctx)?.call((namespace,))?;
            bytes::text(&json)
        })();
        let json = json.map_err(|error| failure::exception(ctx, script, error))?;
        wit_props::parse(ctx, &json).map_err(|error| failure::exception(ctx, script, error))
    })
}

pub fn run(script: &Script, input: &str, limits: &Limits) -> Result<Output, Failure> {
    engine::within(limits, |ctx, entry| {
        let failed = |error: Error| failure::exception(ctx, script, error);
        let namespace = load(ctx, script)?;
        let run = entry.run.restore(ctx).map_err(failed)?;
        let begun: Value = run.call((namespace, input)).map_err(failed)?;
        let value = drive(ctx, script, begun)?;
        finish(ctx, script)?;
        output(ctx, value).map_err(failed)
    })
}

/// Compiles and evaluates the module; its namespace.
fn load<'js>(ctx: &Ctx<'js>, script: &Script) -> Result<Object<'js>, Failure> {
    let failed = |error: Error| failure::exception(ctx, script, error);
    // Up to here nothing of the script has run: its imports are linked at the start of `eval`, and what the script
    // itself throws rejects the promise.
    let declared = Module::declare(ctx.clone(), script.name.as_str(), script.source.as_str());
    let (module, promise) =
        declared.and_then(Module::eval).map_err(|error| failure::syntax(ctx, script, failure::thrown(ctx, error)))?;
    drive(ctx, script, promise.into_value())?;
    module.namespace().map_err(failed)
}

/// Runs the event loop until the promise is settled.
fn drive<'js>(ctx: &Ctx<'js>, script: &Script, value: Value<'js>) -> Result<Value<'js>, Failure> {
    let failed = |error: Error| failure::exception(ctx, script, error);
    let Some(promise) = value.as_promise().cloned() else { return Ok(value) };
    loop {
        events::run_jobs(ctx);
        match promise.result() {
            Some(Err(error)) => return Err(failed(error)),
            _ if engine::cpu_spent() => return Err(failure::cpu(script)),
            Some(Ok(value)) => return Ok(value),
            None => {}
        }
        if !events::wait(ctx).map_err(failed)? {
            return Err(failure::stuck());
        }
    }
}

/// What the script began and did not wait for is driven to its end as well, and its errors are not lost. Timers alone
/// do not keep a run alive: many libraries leave one behind.
fn finish(ctx: &Ctx<'_>, script: &Script) -> Result<(), Failure> {
    let left = events::on_their_way();
    if left > 0 {
        let what =
            if left == 1 { "a request or read was".to_owned() } else { format!("{left} requests or reads were") };
        log::write(
            log::Level::Warn,
            &format!("{}: the step returned while {what} on the way: await them", script.name),
        );
    }
    while events::on_their_way() > 0 {
        match events::wait(ctx) {
            Ok(_) => events::run_jobs(ctx),
            Err(error) => return Err(failure::exception(ctx, script, error)),
        }
        if engine::cpu_spent() {
            return Err(failure::cpu(script));
        }
    }
    match failure::unhandled(ctx, script) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn output<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> JsResult<Output> {
    let object: Object = match value.as_string() {
        Some(json) => ctx.json_parse(bytes::text(json)?)?.get()?,
        None => value.get()?,
    };
    let json = |name: &str| -> JsResult<Option<String>> {
        let value: Value = object.get(name)?;
        match value.as_string() {
            Some(text) => bytes::text(text).map(Some),
            None => Ok(None),
        }
    };
    let mut exports = Vec::new();
    for pair in object.get::<_, Array>("exports")?.iter::<Array>() {
        let pair = pair?;
        exports.push((bytes::text(&pair.get::<JsString>(0)?)?, bytes::text(&pair.get::<JsString>(1)?)?));
    }
    let value = json("value")?.unwrap_or_else(|| "null".to_owned());
    Ok(Output { value, exports, exit: json("exit")?, respond: json("respond")? })
}
