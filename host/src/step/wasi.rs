//! The WASI door: components of any language that speak WASI 0.2.
//!
//! A component that imports WASI gets clocks, random bytes, standard streams and `wasi:http/outgoing-handler`, which
//! leads into the same requests as `deputy:step/http` ([`outgoing`]). Files, environment, arguments and sockets are linked,
//! because toolchains import them whether a program uses them or not, and are empty: there is no folder to open, no
//! variable, no argument, and every socket and name lookup is denied before the system is asked.
//!
//! A *command* (it exports `wasi:cli/run`) reads the run's input from standard input and writes its output to standard
//! output ([`stdio`]). Only steps that import WASI pay for any of this: they have a linker of their own.

mod outgoing;
mod stdio;

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::Store;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use self::outgoing::Hooks;
use self::stdio::{Lines, Whole, stream};
use super::host::{Host, Way};
use super::log::Log;
use super::{LogLevel, RunLimits, StepError};

/// Of one call: the host allocates them. The largest buffer that a library fills at once.
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// Names and values of one set of headers. The host holds every set that a guest makes, and a guest may make one for
/// each of its handles: 32 MiB together. Servers seldom take more than 16 KiB.
const MAX_FIELD_BYTES: usize = 32 << 10;

/// What the host keeps for a guest that imports WASI.
pub struct Door {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
    /// A command's standard output; none for a step, which returns its output.
    stdout: Option<Arc<Whole>>,
    /// What becomes log lines, by stream.
    lines: Vec<Arc<Lines>>,
}

impl Door {
    /// For a component that exports `run`: standard input is empty, and what it writes are log lines.
    pub fn step(way: &Way, limits: &RunLimits) -> Self {
        Self::with_lines(Some(way.clone()), way.log(), limits)
    }

    /// For the question which props there are.
    pub fn asking(log: &Log, limits: &RunLimits) -> Self {
        Self::with_lines(None, log, limits)
    }

    fn with_lines(way: Option<Way>, log: &Log, limits: &RunLimits) -> Self {
        let stderr = Arc::new(Lines::new(log.clone(), LogLevel::Warn, limits.log_bytes));
        let stdout = Arc::new(Lines::new(log.clone(), LogLevel::Info, limits.log_bytes));
        let mut ctx = WasiCtx::builder();
        ctx.stdout(stream(stdout.clone())).stderr(stream(stderr.clone()));
        Self::new(ctx, way, limits, None, vec![stderr, stdout])
    }

    /// For a component that exports `wasi:cli/run`.
    pub fn command(way: &Way, limits: &RunLimits, input: String) -> Self {
        let stderr = Arc::new(Lines::new(way.log().clone(), LogLevel::Warn, limits.log_bytes));
        let stdout = Arc::new(Whole::new(limits.output_bytes));
        let mut ctx = WasiCtx::builder();
        ctx.stdin(MemoryInputPipe::new(Bytes::from(input)));
        ctx.stdout(stream(stdout.clone())).stderr(stream(stderr.clone()));
        Self::new(ctx, Some(way.clone()), limits, Some(stdout), vec![stderr])
    }

    /// Without folders, variables, arguments and network: a builder has none of them until it is given some.
    fn new(
        mut ctx: wasmtime_wasi::WasiCtxBuilder,
        way: Option<Way>,
        limits: &RunLimits,
        stdout: Option<Arc<Whole>>,
        lines: Vec<Arc<Lines>>,
    ) -> Self {
        ctx.max_random_size(MAX_RANDOM_BYTES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELD_BYTES);
        Self { ctx: ctx.build(), http, hooks: Hooks::new(way, limits), stdout, lines }
    }

    /// What a guest wrote without ending the line.
    pub fn flush(&self) {
        for lines in &self.lines {
            lines.end();
        }
    }

    /// The sentence of a guest that ended itself or failed, with the last line that it wrote to standard error.
    fn failed(&self, what: &str) -> StepError {
        let last = self.lines.first().and_then(|stderr| stderr.last());
        let message = match last {
            Some(line) => format!("{what}: {line}"),
            None => format!("{what}, and it wrote nothing to standard error"),
        };
        StepError::Failed { message: super::run::one_line(&message) }
    }
}

/// All of WASI 0.2 that this host offers, besides what [`super::v0_1_0`] adds.
pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    // `wasi:io` is there already: the same implementation, from the same crate.
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// Runs a command. Its error is a trap, or one of a limit's.
pub(super) async fn call_command(pre: &CommandPre<Host>, store: &mut Store<Host>) -> wasmtime::Result<bool> {
    let command = pre.instantiate_async(&mut *store).await?;
    Ok(command.wasi_cli_run().call_run(&mut *store).await?.is_ok())
}

/// What a command said that has ended: the JSON text that it wrote, where nothing at all is `null`, or how it failed.
/// The outer error is a trap.
pub(super) fn command_output(
    ended: wasmtime::Result<bool>,
    host: &Host,
) -> wasmtime::Result<Result<String, StepError>> {
    let Some(door) = &host.door else { return Err(wasmtime::Error::msg(NO_DOOR)) };
    // So that the last line counts, whether it was ended or not.
    door.flush();
    let code = match ended {
        Ok(well) => i32::from(!well),
        Err(error) => error.downcast::<I32Exit>()?.0,
    };
    if code != 0 {
        return Ok(Err(door.failed(&format!("it ended with exit code {code}"))));
    }
    let bytes = door.stdout.as_ref().map(|stdout| stdout.take()).unwrap_or_default();
    Ok(match String::from_utf8(bytes) {
        Ok(text) if text.trim_ascii().is_empty() => Ok("null".to_owned()),
        Ok(text) => Ok(text),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            Err(StepError::OutputInvalid(format!("is not UTF-8 from byte {at} on")))
        }
    })
}

/// What WASI itself ended a guest for; none: something else did.
pub(super) fn named(error: &wasmtime::Error, host: &Host) -> Option<StepError> {
    if let Some(error) = error.downcast_ref::<stdio::TooMuch>() {
        let stdio::TooMuch { limit } = error;
        return Some(StepError::OutputInvalid(format!("has more than {limit} bytes, which is the limit")));
    }
    // A step that exits gives no output, whatever its code says.
    let I32Exit(code) = error.downcast_ref::<I32Exit>()?;
    let door = host.door.as_ref()?;
    door.flush();
    Some(door.failed(&format!("it ended itself with exit code {code} instead of returning")))
}

const NO_DOOR: &str = "a step that imports WASI is given a door before it is instantiated";

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let door = self.door.as_mut().expect(NO_DOOR);
        WasiCtxView { ctx: &mut door.ctx, table: &mut self.table }
    }
}

impl WasiHttpView for Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let door = self.door.as_mut().expect(NO_DOOR);
        WasiHttpCtxView { ctx: &mut door.http, table: &mut self.table, hooks: &mut door.hooks }
    }
}
