//! The event loop: what the script waits for, and one `poll` for all of it.
//!
//! Requests and reads of bodies are pollables of the host. Timers are kept here, and only the earliest becomes a
//! pollable: a script may have thousands, and the host counts handles.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rquickjs::{Ctx, Function, IntoJs, Object, Persistent, Promise, Result, Value, qjs};

use crate::bindings::deputy::step::clock;
use crate::bindings::deputy::step::http::Pending;
use crate::bindings::wasi::io::poll::{Pollable, poll};
use crate::bindings::wasi::io::streams::{InputStream, StreamError};
use crate::{bytes, engine, failure, requests};

/// What one read of a body gives at most: as much as the host gives at once.
const READ_BYTES: u64 = 64 << 10;

#[derive(Default)]
struct Events {
    last_id: u32,
    waiting: Vec<Waiting>,
    /// By the time they are due, then in the order in which they were set.
    timers: BTreeMap<(i64, u32), Settle>,
    bodies: BTreeMap<u32, InputStream>,
}

struct Waiting {
    id: u32,
    // Before what it waits for: the host drops children first.
    pollable: Pollable,
    settle: Settle,
    what: What,
}

enum What {
    Answer(Pending),
    /// Of the body with this number.
    Read(u32),
}

struct Settle {
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
}

thread_local! {
    static EVENTS: RefCell<Events> = RefCell::default();
}

impl Events {
    fn id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }
}

impl Settle {
    fn new<'js>(ctx: &Ctx<'js>) -> Result<(Promise<'js>, Self)> {
        let (promise, resolve, reject) = ctx.promise()?;
        let settle = Self { resolve: Persistent::save(ctx, resolve), reject: Persistent::save(ctx, reject) };
        Ok((promise, settle))
    }

    /// An exception that waits in the context becomes the promise's reason.
    fn settle<'js>(self, ctx: &Ctx<'js>, result: Result<Value<'js>>) -> Result<()> {
        match result {
            Ok(value) => self.resolve.restore(ctx)?.call((value,)),
            Err(error) => {
                let reason = failure::thrown(ctx, error);
                self.reject.restore(ctx)?.call((reason,))
            }
        }
    }
}

/// `{ id, promise }`
fn handle<'js>(ctx: &Ctx<'js>, id: u32, promise: Promise<'js>) -> Result<Object<'js>> {
    let object = Object::new(ctx.clone())?;
    object.set("id", id)?;
    object.set("promise", promise)?;
    Ok(object)
}

pub fn wait_for_answer<'js>(ctx: &Ctx<'js>, pending: Pending) -> Result<Object<'js>> {
    let (promise, settle) = Settle::new(ctx)?;
    let id = EVENTS.with_borrow_mut(|events| {
        let id = events.id();
        events.waiting.push(Waiting { id, pollable: pending.subscribe(), settle, what: What::Answer(pending) });
        id
    });
    handle(ctx, id, promise)
}

/// Gives a request up. Its promise is never settled: whoever cancels knows.
pub fn cancel(id: u32) {
    let _dropped = EVENTS.with_borrow_mut(|events| {
        let at = events.waiting.iter().position(|waiting| waiting.id == id && matches!(waiting.what, What::Answer(_)));
        at.map(|at| events.waiting.remove(at))
    });
}

pub fn keep_body(body: InputStream) -> u32 {
    EVENTS.with_borrow_mut(|events| {
        let id = events.id();
        events.bodies.insert(id, body);
        id
    })
}

/// A promise of the next piece of a body, or of `null` at its end.
pub fn read<'js>(ctx: &Ctx<'js>, body: u32) -> Result<Promise<'js>> {
    let (promise, settle) = Settle::new(ctx)?;
    if EVENTS.with_borrow(|events| events.waiting.iter().any(|waiting| waiting.reads(body))) {
        let busy = Err(rquickjs::Exception::throw_type(ctx, "the body is being read already"));
        settle.settle(ctx, busy)?;
        return Ok(promise);
    }
    match piece(ctx, body) {
        Some(piece) => settle.settle(ctx, piece)?,
        None => EVENTS.with_borrow_mut(|events| {
            let pollable = events.bodies.get(&body).map(InputStream::subscribe);
            let id = events.id();
            if let Some(pollable) = pollable {
                events.waiting.push(Waiting { id, pollable, settle, what: What::Read(body) });
            }
        }),
    }
    Ok(promise)
}

/// What can be read now. None: nothing yet.
fn piece<'js>(ctx: &Ctx<'js>, body: u32) -> Option<Result<Value<'js>>> {
    let read = EVENTS.with_borrow(|events| events.bodies.get(&body).map(|stream| stream.read(READ_BYTES)));
    let ended = |result| {
        EVENTS.with_borrow_mut(|events| events.bodies.remove(&body));
        Some(result)
    };
    match read {
        Some(Ok(bytes)) if bytes.is_empty() => None,
        Some(Ok(bytes)) => Some(bytes::array(ctx, &bytes).map(|array| array.into_value())),
        None | Some(Err(StreamError::Closed)) => ended(Ok(Value::new_null(ctx.clone()))),
        Some(Err(StreamError::LastOperationFailed(error))) => {
            let message = error.to_debug_string();
            drop(error);
            ended(Err(rquickjs::Exception::throw_message(ctx, &message)))
        }
    }
}

/// Drops a body. A read that waits for it gets `null`.
pub fn close<'js>(ctx: &Ctx<'js>, body: u32) -> Result<()> {
    let waiting = EVENTS.with_borrow_mut(|events| {
        let at = events.waiting.iter().position(|waiting| waiting.reads(body));
        at.map(|at| events.waiting.remove(at))
    });
    if let Some(Waiting { pollable, settle, .. }) = waiting {
        drop(pollable);
        settle.settle(ctx, Ok(Value::new_null(ctx.clone())))?;
    }
    EVENTS.with_borrow_mut(|events| events.bodies.remove(&body));
    Ok(())
}

pub fn timer<'js>(ctx: &Ctx<'js>, ms: f64) -> Result<Object<'js>> {
    /// As in browsers, whose timers have 31 bits.
    const MAX_MS: f64 = 2_147_483_647.0;
    let ms = if ms.is_nan() { 0.0 } else { ms.clamp(0.0, MAX_MS) };
    let (promise, settle) = Settle::new(ctx)?;
    let due = clock::now_ms().saturating_add(ms.ceil() as i64);
    let id = EVENTS.with_borrow_mut(|events| {
        let id = events.id();
        events.timers.insert((due, id), settle);
        id
    });
    handle(ctx, id, promise)
}

pub fn clear_timer(id: u32) {
    let _dropped = EVENTS.with_borrow_mut(|events| {
        let key = events.timers.keys().find(|(_, timer)| *timer == id).copied();
        key.and_then(|key| events.timers.remove(&key))
    });
}

impl Waiting {
    fn reads(&self, body: u32) -> bool {
        matches!(self.what, What::Read(of) if of == body)
    }
}

/// Runs everything that is ready to run. What is thrown where nobody can catch it is kept, as a rejection is.
///
/// When time is up, a few more may run: they bring the interruption to whoever waits for it, and with it its place.
pub fn run_jobs(ctx: &Ctx<'_>) {
    const LAST_JOBS: u32 = 64;
    let mut last_jobs = 0;
    // SAFETY: the caller's `ctx` holds the runtime's lock; the context that QuickJS names is alive.
    unsafe {
        let runtime = qjs::JS_GetRuntime(ctx.as_raw().as_ptr());
        loop {
            let mut job = std::mem::MaybeUninit::uninit();
            match qjs::JS_ExecutePendingJob(runtime, job.as_mut_ptr()) {
                0 => return,
                ran if ran < 0 => failure::uncaught(ctx.catch()),
                _ => {}
            }
            if engine::cpu_spent() {
                last_jobs += 1;
                if last_jobs > LAST_JOBS {
                    return;
                }
            }
        }
    }
}

/// Requests and reads on their way.
pub fn on_their_way() -> usize {
    EVENTS.with_borrow(|events| events.waiting.len())
}

/// Waits until something has happened and hands it to the script. False: nothing is on its way.
pub fn wait(ctx: &Ctx<'_>) -> Result<bool> {
    let (ready, due) = EVENTS.with_borrow(|events| {
        let mut pollables: Vec<&Pollable> = events.waiting.iter().map(|waiting| &waiting.pollable).collect();
        let earliest = events.timers.keys().next().map(|(due, _)| *due);
        let now = clock::now_ms();
        let alarm = earliest.map(|due| clock::after_ms(u32::try_from((due - now).max(0)).unwrap_or(u32::MAX)));
        pollables.extend(&alarm);
        if pollables.is_empty() {
            return (None, None);
        }
        let ready = poll(&pollables);
        let rang = ready.iter().any(|at| *at as usize == events.waiting.len());
        let ids: Vec<u32> = ready.iter().filter_map(|at| events.waiting.get(*at as usize)).map(|w| w.id).collect();
        // What the alarm was set for is due, whatever has become of the wall clock.
        (Some(ids), earliest.filter(|_| rang))
    });
    let Some(ready) = ready else { return Ok(false) };
    for id in ready {
        settle(ctx, id)?;
        run_jobs(ctx);
        if engine::cpu_spent() {
            return Ok(true);
        }
    }
    if let Some(due) = due {
        ring(ctx, due)?;
    }
    Ok(true)
}

/// Hands over what a pollable was for, if it is still wanted and really there.
fn settle(ctx: &Ctx<'_>, id: u32) -> Result<()> {
    let taken = EVENTS.with_borrow_mut(|events| {
        let at = events.waiting.iter().position(|waiting| waiting.id == id);
        at.map(|at| events.waiting.remove(at))
    });
    let Some(Waiting { id, pollable, settle, what }) = taken else { return Ok(()) };
    // A pollable is a child of what it waits for, which may end here.
    drop(pollable);
    let (result, again) = match what {
        What::Answer(pending) => {
            let result = requests::take(ctx, &pending);
            (result, What::Answer(pending))
        }
        What::Read(body) => (piece(ctx, body), What::Read(body)),
    };
    if let Some(result) = result {
        return settle.settle(ctx, result);
    }
    EVENTS.with_borrow_mut(|events| {
        let pollable = match &again {
            What::Answer(pending) => Some(pending.subscribe()),
            What::Read(body) => events.bodies.get(body).map(InputStream::subscribe),
        };
        if let Some(pollable) = pollable {
            events.waiting.push(Waiting { id, pollable, settle, what: again });
        }
    });
    Ok(())
}

/// Timers that are due, one after the other, each with all that follows from it.
fn ring(ctx: &Ctx<'_>, due: i64) -> Result<()> {
    let now = clock::now_ms().max(due);
    // Timers set from here on wait for the next turn, even those of no time at all.
    let newest = EVENTS.with_borrow(|events| events.last_id);
    loop {
        let next = EVENTS.with_borrow_mut(|events| {
            let key = events.timers.keys().find(|(due, id)| *due <= now && *id <= newest).copied();
            key.and_then(|key| events.timers.remove(&key))
        });
        let Some(settle) = next else { return Ok(()) };
        settle.settle(ctx, ().into_js(ctx))?;
        run_jobs(ctx);
        if engine::cpu_spent() {
            return Ok(());
        }
    }
}
