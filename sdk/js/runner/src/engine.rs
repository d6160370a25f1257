//! The one QuickJS runtime of this instance, and the bounds of a run.

use std::cell::{Cell, RefCell};

use rquickjs::module::WriteOptions;
use rquickjs::{CatchResultExt, Context, Ctx, Exception, Function, Module, Object, Persistent, Runtime, qjs};

use crate::bindings::Limits;
use crate::bindings::deputy::step::{clock, log};
use crate::{failure, modules, natives};

/// Of the guest's own stack (320 KiB, see `build.rs`). The host's stack of a guest ends at 512 KiB and holds about as
/// much for each level of recursion: this one must end first, because only this end is an exception with a place.
const MAX_STACK_BYTES: usize = 192 << 10;

/// The heap may grow so much before the first collection of a run. A collection touches every object of the snapshot,
/// which costs more than most scripts do.
const GC_THRESHOLD_BYTES: usize = 16 << 20;

/// The environment's place in stacks; its frames are not shown.
const ENVIRONMENT: &str = "deputy:environment";

thread_local! {
    static CONTEXT: RefCell<Option<Context>> = const { RefCell::new(None) };
    static SOURCE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// What the environment left in `globalThis.__env`.
    static ENTRY: RefCell<Option<Entry>> = const { RefCell::new(None) };
    /// False while the snapshot is made: no host answers then.
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    /// When the run began.
    static ORIGIN_MS: Cell<f64> = const { Cell::new(0.0) };
    static CPU_LIMIT_MS: Cell<u64> = const { Cell::new(u64::MAX) };
    static CPU_SPENT: Cell<bool> = const { Cell::new(false) };
    /// Where the script was when its time was up.
    static CPU_STACK: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The environment's two functions.
#[derive(Clone)]
pub struct Entry {
    pub props: Persistent<Function<'static>>,
    pub run: Persistent<Function<'static>>,
}

pub fn environment_buffer(len: usize) -> *mut u8 {
    SOURCE.with_borrow_mut(|source| {
        source.resize(len, 0);
        source.as_mut_ptr()
    })
}

fn tell_panics() {
    std::panic::set_hook(Box::new(|info| log::write(log::Level::Error, &format!("the script runner failed: {info}"))));
}

/// The bytecode of the environment whose source stands in the buffer. Without its source: nobody reads it, and as text
/// of functions it would fill most of the snapshot.
pub fn compile_environment() -> Vec<u8> {
    tell_panics();
    let runtime = Runtime::new().expect("memory for a runtime");
    // Libraries nest deeper than scripts may, and this is no script.
    runtime.set_max_stack_size(0);
    let context = Context::full(&runtime).expect("memory for a context");
    context.with(|ctx| {
        let module = Module::declare(ctx.clone(), ENVIRONMENT, SOURCE.take()).catch(&ctx);
        let options = WriteOptions { strip_source: true, ..WriteOptions::default() };
        let written = module.and_then(|module| module.write(options).catch(&ctx));
        written.expect("the environment is compiled")
    })
}

/// Makes the engine and evaluates the environment, whose bytecode stands in the buffer. A failure is a bug of the
/// environment: it traps, and the snapshot tool says so.
pub fn initialize() {
    tell_panics();
    let runtime = Runtime::new().expect("memory for a runtime");
    runtime.set_max_stack_size(MAX_STACK_BYTES);
    runtime.set_loader(modules::Builtin, modules::Builtin);
    runtime.set_host_promise_rejection_tracker(Some(Box::new(|ctx, promise, reason, handled| {
        failure::rejection(&ctx, promise, reason, handled);
    })));
    let context = Context::full(&runtime).expect("memory for a context");
    context.with(|ctx| {
        natives::install(&ctx).catch(&ctx).expect("the natives are installed");
        // The functions' code stays where it is.
        let bytecode = SOURCE.take().leak();
        // SAFETY: `compile_environment` of the same build wrote it.
        let module = unsafe { Module::load(ctx.clone(), bytecode) }.catch(&ctx);
        let evaluated = module.and_then(|module| module.eval().catch(&ctx));
        let (_, promise) = evaluated.expect("the environment is evaluated");
        promise.finish::<()>().catch(&ctx).expect("the environment is evaluated");
        let entry = take_entry(&ctx).catch(&ctx).expect("the environment leaves __env");
        ENTRY.set(Some(entry));
    });
    runtime.run_gc();
    runtime.set_gc_threshold(GC_THRESHOLD_BYTES);
    CONTEXT.set(Some(context));
}

fn take_entry(ctx: &Ctx<'_>) -> rquickjs::Result<Entry> {
    let globals = ctx.globals();
    let env: Object = globals.get("__env")?;
    let entry = Entry {
        props: Persistent::save(ctx, env.get::<_, Function>("props")?),
        run: Persistent::save(ctx, env.get::<_, Function>("run")?),
    };
    modules::take_exports(ctx, &env)?;
    globals.remove("__env")?;
    globals.remove("__host")?;
    Ok(entry)
}

/// From here on the host answers.
pub fn begin() {
    RUNNING.set(true);
    ORIGIN_MS.set(now_ms());
}

pub fn is_running() -> bool {
    RUNNING.get()
}

pub fn now_ms() -> f64 {
    if RUNNING.get() { clock::now_ms() as f64 } else { 0.0 }
}

pub fn origin_ms() -> f64 {
    ORIGIN_MS.get()
}

pub fn elapsed_ms() -> f64 {
    now_ms() - ORIGIN_MS.get()
}

/// Runs `work` in the engine, within the limits.
pub fn within<T>(limits: &Limits, work: impl FnOnce(&Ctx<'_>, Entry) -> T) -> T {
    let context = CONTEXT.take().expect("the snapshot holds a context, and an instance runs once");
    let entry = ENTRY.take().expect("the snapshot holds the environment, and an instance runs once");
    let runtime = context.runtime();
    runtime.set_memory_limit(limits.memory_bytes as usize);
    CPU_LIMIT_MS.set(limits.cpu_ms.into());
    runtime.set_interrupt_handler(Some(Box::new({
        let context = context.as_raw();
        move || interrupt(context)
    })));
    let result = context.with(|ctx| work(&ctx, entry));
    // Freeing every object of a heap that is thrown away as a whole would only cost time.
    std::mem::forget(context);
    result
}

/// Is the script's time up? Asked every 10,000 jumps and calls.
fn interrupt(context: std::ptr::NonNull<qjs::JSContext>) -> bool {
    if CPU_SPENT.get() {
        return true;
    }
    if clock::cpu_ms() <= CPU_LIMIT_MS.get() {
        return false;
    }
    CPU_SPENT.set(true);
    // SAFETY: the context lives as long as the instance, and the interpreter that asks holds the runtime's lock.
    let ctx = unsafe { Ctx::from_raw(context) };
    let _thrown = Exception::throw_internal(&ctx, "time is up");
    let stack = ctx.catch().as_exception().and_then(Exception::stack);
    CPU_STACK.set(stack);
    true
}

/// Is there no room for as much as an error in the script's heap, or was there none before its end freed some? A
/// sandbox's memory never shrinks, so its size tells.
pub fn memory_is_used_up(ctx: &Ctx<'_>) -> bool {
    const LITTLE_BYTES: i64 = 64 << 10;
    let mut usage = std::mem::MaybeUninit::uninit();
    // SAFETY: the caller's `ctx` holds the runtime's lock.
    let usage = unsafe {
        qjs::JS_ComputeMemoryUsage(qjs::JS_GetRuntime(ctx.as_raw().as_ptr()), usage.as_mut_ptr());
        usage.assume_init()
    };
    let grown = i64::try_from(core::arch::wasm32::memory_size(0) * (64 << 10)).unwrap_or(i64::MAX);
    usage.malloc_limit - usage.malloc_size < LITTLE_BYTES || grown > usage.malloc_limit / 10 * 9
}

pub fn cpu_spent() -> bool {
    CPU_SPENT.get()
}

pub fn cpu_limit_ms() -> u64 {
    CPU_LIMIT_MS.get()
}

/// The stack when the time was up.
pub fn cpu_stack() -> Option<String> {
    CPU_STACK.take()
}

pub fn interrupted_at(stack: String) {
    CPU_STACK.set(Some(stack));
}
