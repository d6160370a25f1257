//! Why a script ended badly, told with its place in the script's own source.

use std::cell::RefCell;

use rquickjs::{Ctx, Exception, Object, Persistent, String as JsString, Value};

use crate::bindings::{Failure, FailureKind, Script};
use crate::{bytes, engine, modules};

/// Of a message or a stack, in bytes; the host and its reader need no more.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// QuickJS's words.
const OUT_OF_MEMORY: &str = "out of memory";
const INTERRUPTED: &str = "interrupted";

type Kept = Persistent<Value<'static>>;

thread_local! {
    /// What was thrown where nobody can catch it: by a microtask or by a promise without a handler, which stands first.
    static UNHANDLED: RefCell<Vec<(Option<Kept>, Kept)>> = const { RefCell::new(Vec::new()) };
}

/// The exception behind an error of a native, or one made from it.
pub fn thrown<'js>(ctx: &Ctx<'js>, error: rquickjs::Error) -> Value<'js> {
    match error {
        rquickjs::Error::Exception => {}
        rquickjs::Error::Allocation => drop(Exception::throw_internal(ctx, OUT_OF_MEMORY)),
        other => drop(Exception::throw_type(ctx, &other.to_string())),
    }
    ctx.catch()
}

/// Time was up, and this is what came of it: its stack says exactly where. What the interrupt itself can see is the
/// last call of each function.
fn note_interrupted(value: &Value<'_>) {
    let Some(error) = value.as_exception().filter(|_| engine::cpu_spent()) else { return };
    if error.message().as_deref() == Some(INTERRUPTED)
        && let Some(stack) = error.stack()
    {
        engine::interrupted_at(stack);
    }
}

/// A microtask threw.
pub fn uncaught(value: Value<'_>) {
    note_interrupted(&value);
    let reason = Persistent::save(&value.ctx().clone(), value);
    UNHANDLED.with_borrow_mut(|unhandled| unhandled.push((None, reason)));
}

/// A promise was rejected without a handler, or got one later.
pub fn rejection<'js>(ctx: &Ctx<'js>, promise: Value<'js>, reason: Value<'js>, handled: bool) {
    if !handled {
        note_interrupted(&reason);
        let kept = (Some(Persistent::save(ctx, promise)), Persistent::save(ctx, reason));
        return UNHANDLED.with_borrow_mut(|unhandled| unhandled.push(kept));
    }
    let _dropped = UNHANDLED.with_borrow_mut(|unhandled| {
        let at = unhandled.iter().rposition(|(kept, _)| {
            kept.as_ref().is_some_and(|kept| kept.clone().restore(ctx).is_ok_and(|kept| kept == promise))
        });
        at.map(|at| unhandled.remove(at))
    });
}

/// The first of those that nobody has handled to the end.
pub fn unhandled(ctx: &Ctx<'_>, script: &Script) -> Option<Failure> {
    let (_, reason) = UNHANDLED.with_borrow(|unhandled| unhandled.first().cloned())?;
    let mut failure = describe(ctx, script, reason.restore(ctx).ok()?);
    if matches!(failure.kind, FailureKind::Thrown) {
        failure.message = format!("nobody handled this: {}", failure.message);
    }
    Some(failure)
}

/// Time was up.
pub fn cpu(script: &Script) -> Failure {
    let stack = engine::cpu_stack().map(|stack| frames(script, &stack)).unwrap_or_default();
    let message = format!("used more than {} ms of processor time", engine::cpu_limit_ms());
    placed(FailureKind::Cpu, message, stack)
}

pub fn stuck() -> Failure {
    let message = "its promise can never settle: nothing is on its way any more";
    placed(FailureKind::Stuck, message.to_owned(), Vec::new())
}

/// The source could not be compiled or an import is not there.
pub fn syntax<'js>(ctx: &Ctx<'js>, script: &Script, value: Value<'js>) -> Failure {
    let mut failure = describe(ctx, script, value);
    if matches!(failure.kind, FailureKind::Thrown) {
        failure.kind = FailureKind::Syntax;
    }
    failure
}

/// What was thrown, as a failure.
pub fn describe<'js>(ctx: &Ctx<'js>, script: &Script, value: Value<'js>) -> Failure {
    if engine::cpu_spent() {
        note_interrupted(&value);
        return cpu(script);
    }
    let text = |object: &Object<'js>, name: &str| -> Option<String> {
        let got = object.get::<_, Option<JsString>>(name);
        // A getter may throw; that exception is not the one to tell.
        if got.is_err() {
            ctx.catch();
        }
        got.ok().flatten().and_then(|string| bytes::text(&string).ok())
    };
    // There may be no memory left for the error that says so.
    if value.is_null() && engine::memory_is_used_up(ctx) {
        return placed(FailureKind::Memory, format!("InternalError: {OUT_OF_MEMORY}"), Vec::new());
    }
    let Some(error) = value.as_object().filter(|object| object.is_error()) else {
        return placed(FailureKind::Thrown, format!("threw {}", shown(ctx, &value)), Vec::new());
    };
    let name = text(error, "name").unwrap_or_else(|| "Error".to_owned());
    let message = text(error, "message").unwrap_or_default();
    let stack = text(error, "stack").map(|stack| frames(script, &stack)).unwrap_or_default();
    let cause = error.get::<_, Option<Object>>("cause").ok().flatten().filter(|cause| cause.is_error());
    let cause = cause.and_then(|cause| text(&cause, "message")).filter(|cause| !cause.is_empty());
    let kind = match (name.as_str(), message.as_str()) {
        // Something that was wrapped on its way, such as by the reader of a body.
        _ if cause.as_deref() == Some(OUT_OF_MEMORY) => FailureKind::Memory,
        // The second is of a regular expression.
        ("RangeError", "Maximum call stack size exceeded") | ("SyntaxError", "stack overflow") => FailureKind::Stack,
        // The longest string has 2^30 characters: more than all of the memory.
        ("InternalError", OUT_OF_MEMORY | "string too long")
        | ("RangeError", "invalid string length" | "invalid array buffer length") => FailureKind::Memory,
        _ => match text(error, "kind").as_deref() {
            Some("shape") => FailureKind::Shape,
            Some("output") => FailureKind::Output,
            _ => FailureKind::Thrown,
        },
    };
    let full = match (kind, name.is_empty(), message.is_empty()) {
        // The environment's own words.
        (FailureKind::Shape | FailureKind::Output, _, _) => message,
        (_, true, _) => message,
        (_, _, true) => name,
        _ => format!("{name}: {message}"),
    };
    let mut full = full;
    if let Some(fix) = text(error, "fix") {
        full = format!("{full}; {fix}");
    }
    if let Some(cause) = cause.filter(|cause| !full.contains(cause)) {
        full = format!("{full} (cause: {cause})");
    }
    if let Some(specifier) = text(error, "message").and_then(|message| modules::missing(&message)) {
        let place = import_of(&script.source, &specifier).map(|(line, column)| Frame {
            line,
            column,
            text: format!("at {}:{line}:{column}", script.name),
        });
        let stack = if stack.is_empty() { place.into_iter().collect() } else { stack };
        return placed(FailureKind::Syntax, full, stack);
    }
    placed(kind, full, stack)
}

/// A thrown value that is no Error.
fn shown<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> String {
    let json = ctx.json_stringify(value.clone());
    if json.is_err() {
        ctx.catch();
    }
    match json.ok().flatten().map(|json| bytes::text(&json)) {
        Some(Ok(json)) => json,
        _ => format!("a value of type {}", value.type_of()),
    }
}

struct Frame {
    line: u32,
    column: u32,
    text: String,
}

fn placed(kind: FailureKind, message: String, frames: Vec<Frame>) -> Failure {
    let first = frames.first();
    let (line, column) = (first.map(|frame| frame.line), first.map(|frame| frame.column));
    let stack: Vec<String> = frames.iter().map(|frame| format!("    {}", frame.text)).collect();
    let stack = (!stack.is_empty()).then(|| bounded(stack.join("\n")));
    Failure { kind, message: bounded(message), line, column, stack }
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}

/// The script's own frames: `    at send (post.js:3:14)`, `    at post.js:3:14`.
fn frames(script: &Script, stack: &str) -> Vec<Frame> {
    let frame = |line: &str| {
        let text = line.trim();
        let place = text.strip_suffix(')').and_then(|text| text.rsplit_once('(')).map(|(_, place)| place);
        let place = place.or_else(|| text.strip_prefix("at "))?;
        let (place, column) = place.rsplit_once(':')?;
        let (name, line) = place.rsplit_once(':')?;
        let (line, column) = (line.parse().ok()?, column.parse().ok()?);
        (name == script.name).then(|| Frame { line, column, text: text.to_owned() })
    };
    stack.lines().filter_map(frame).collect()
}

/// Where a specifier stands in quotes behind `from` or `import`, from 1.
fn import_of(source: &str, specifier: &str) -> Option<(u32, u32)> {
    for (line, text) in source.lines().enumerate() {
        for quote in ['"', '\'', '`'] {
            let quoted = format!("{quote}{specifier}{quote}");
            if let Some(at) = text.find(&quoted)
                && (text[..at].contains("from") || text[..at].contains("import"))
            {
                let column = text[..at].chars().count() + 1;
                return Some((u32::try_from(line + 1).ok()?, u32::try_from(column).ok()?));
            }
        }
    }
    None
}

/// The failure behind an error that a call gave.
pub fn exception<'js>(ctx: &Ctx<'js>, script: &Script, error: rquickjs::Error) -> Failure {
    let value = thrown(ctx, error);
    describe(ctx, script, value)
}
