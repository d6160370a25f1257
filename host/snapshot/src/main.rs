//! `deputy-snapshot MODULE ENVIRONMENT OUT`: from the compiled script runner and its environment to one component.
//!
//! The runner's core module gets the source of its environment, evaluates it, and stops; its memory as it is then
//! becomes the data of the component. A run starts there instead of at the beginning. `cargo xtask build` calls this;
//! nothing else does.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use wasmtime::{Caller, Engine, Extern, Instance, Linker, Memory, Module, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, environment, out] = arguments.as_slice() else {
        eprintln!("deputy-snapshot MODULE ENVIRONMENT OUT");
        return ExitCode::from(2);
    };
    match make(module, environment, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn make(module: &str, environment: &str, out: &str) -> Result<(), String> {
    let read = |path: &str| std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"));
    let component = snapshot(&read(module)?, &read(environment)?).map_err(|error| format!("{error:#}"))?;
    std::fs::write(out, component).map_err(|error| format!("cannot write {out}: {error}"))
}

fn snapshot(module: &[u8], environment: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let wizer = Wizer::new();
    let (context, instrumented) = wizer.instrument(module)?;
    let engine = Engine::default();
    let module = Module::new(&engine, instrumented)?;
    let mut linker = Linker::new(&engine);
    // A panic says its words here. Every other import traps: what it would answer must not be in a snapshot.
    linker.func_wrap(
        "deputy:step/log@0.1.0",
        "write",
        |mut caller: Caller<'_, String>, _: i32, at: u32, len: u32| {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let mut bytes = vec![0; len as usize];
            if memory.is_some_and(|memory| memory.read(&caller, at as usize, &mut bytes).is_ok()) {
                // Writing to a String cannot fail.
                let _ = writeln!(caller.data_mut(), "{}", String::from_utf8_lossy(&bytes));
            }
        },
    )?;
    linker.define_unknown_imports_as_traps(&module)?;
    // One instance compiles, another evaluates: what a compiler leaves behind in memory is not for the snapshot.
    let mut store = Store::new(&engine, String::new());
    let compiler = linker.instantiate(&mut store, &module)?;
    let bytecode = compile(&mut store, compiler, environment);
    let bytecode = bytecode.map_err(|error| told(error, &store, "the environment does not compile"))?;
    let mut store = Store::new(&engine, String::new());
    let instance = linker.instantiate(&mut store, &module)?;
    evaluate(&mut store, instance, &bytecode)
        .map_err(|error| told(error, &store, "the environment does not evaluate"))?;
    let snapshot = at_once(wizer.snapshot(&context, &mut State { store, instance }))?;
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&snapshot)
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| wasmtime::Error::msg(format!("the runner is no component: {error:#}")))
}

fn told(error: wasmtime::Error, store: &Store<String>, what: &str) -> wasmtime::Error {
    error.context(format!("{what}: {}", store.data().trim_end()))
}

/// Writes bytes into the runner's buffer.
fn hand_over(store: &mut Store<String>, instance: Instance, bytes: &[u8]) -> wasmtime::Result<()> {
    let buffer = instance.get_typed_func::<u32, u32>(&mut *store, "environment-buffer")?;
    let at = buffer.call(&mut *store, u32::try_from(bytes.len())?)?;
    Ok(memory(store, instance)?.write(&mut *store, at as usize, bytes)?)
}

fn memory(store: &mut Store<String>, instance: Instance) -> wasmtime::Result<Memory> {
    instance.get_memory(store, "memory").ok_or_else(|| wasmtime::Error::msg("the runner exports no memory"))
}

/// The bytecode of the environment.
fn compile(store: &mut Store<String>, instance: Instance, environment: &[u8]) -> wasmtime::Result<Vec<u8>> {
    hand_over(store, instance, environment)?;
    let compile = instance.get_typed_func::<(), u32>(&mut *store, "environment-compile")?;
    let place = compile.call(&mut *store, ())?;
    let memory = memory(store, instance)?;
    let word = |at: u32| {
        let mut bytes = [0; 4];
        memory.read(&*store, at as usize, &mut bytes).map(|()| u32::from_le_bytes(bytes))
    };
    let (at, len) = (word(place)?, word(place + 4)?);
    let mut bytecode = vec![0; len as usize];
    memory.read(&*store, at as usize, &mut bytecode)?;
    Ok(bytecode)
}

/// Hands the bytecode over and lets the runner evaluate it.
fn evaluate(store: &mut Store<String>, instance: Instance, bytecode: &[u8]) -> wasmtime::Result<()> {
    hand_over(store, instance, bytecode)?;
    let initialize = instance.get_typed_func::<(), ()>(&mut *store, "wizer-initialize")?;
    initialize.call(&mut *store, ())
}

/// The instance as it stands when the environment has been evaluated.
struct State {
    store: Store<String>,
    instance: Instance,
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut self.store, name).expect("wizer exports every global");
        match global.get(&mut self.store) {
            Val::I32(value) => SnapshotVal::I32(value),
            Val::I64(value) => SnapshotVal::I64(value),
            Val::F32(bits) => SnapshotVal::F32(bits),
            Val::F64(bits) => SnapshotVal::F64(bits),
            Val::V128(value) => SnapshotVal::V128(value.as_u128()),
            _ => panic!("global {name} holds a reference, which no snapshot can hold"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.instance.get_memory(&mut self.store, name).expect("wizer exports every memory");
        contents(memory.data(&self.store));
    }
}

/// The result of a future that never waits: [`State`] has none that does.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("nothing waits here"),
    }
}
