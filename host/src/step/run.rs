//! Loading steps and running them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{self, SHA256_OUTPUT_LEN};
use serde_json::Value;
use wasmtime::component::{Linker, ResourceTableError};
use wasmtime::{Store, Trap};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::check::{Shape, Surface};
use super::grants::Grants;
use super::host::{Host, Way};
use super::log::Log;
use super::requests::Requests;
use super::script::Runner;
use super::secrets::Secrets;
use super::v0_1_0::runner::ScriptRunnerPre;
use super::v0_1_0::{self, StepPre};
use super::wasi::{self, Door};
use super::{LogLevel, Output, Program, Prop, Ran, Run, RunLimits, Script, StepError, declared, props, script};
use crate::caller::{Caller, Via};
use crate::time::Time;
use crate::wasm::{BACKTRACE_FRAMES, Class, CpuMeter, CpuSpent, Limits, Room, load, within_cpu};

/// Steps that stay compiled in memory; a few hundred KB each.
const MAX_LOADED: usize = 64;

/// `props` is a constant; a component that computes for a second there will not get better.
const PROPS_CPU: Duration = Duration::from_secs(1);
/// For `props`, waiting included.
const PROPS_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct StepsConfig {
    /// Where compiled steps are kept between processes; none: they are compiled anew in each.
    pub cache: Option<PathBuf>,
    /// Runs at a time; the others wait. Most of them wait for a provider; what all of them may take together is bounded
    /// by [`Limits::share`].
    pub slots: usize,
    pub limits: Limits,
}

impl Default for StepsConfig {
    fn default() -> Self {
        Self { cache: None, slots: 1_000, limits: Limits::steps() }
    }
}

/// Everything that runs steps.
pub struct Steps {
    seat: Seat,
    /// Made at the first use: a process that inspects nothing pays nothing.
    #[cfg(any(test, feature = "demo"))]
    inspecting: (StepsConfig, tokio::sync::OnceCell<Seat>),
}

/// A step ready to run.
pub struct Step {
    code: Code,
    props: Vec<Prop>,
    /// What of WASI it imports, beyond the streams that every step has.
    wasi: Vec<String>,
}

enum Code {
    Component(StepPre<Host>),
    /// A program of WASI that knows nothing of steps.
    Command(CommandPre<Host>),
    /// The shared runner, and its argument.
    Script(ScriptRunnerPre<Host>, Script),
}

impl Step {
    pub fn props(&self) -> &[Prop] {
        &self.props
    }

    /// Is it a command: a program whose input and output are its standard streams? It takes any binding.
    pub fn is_command(&self) -> bool {
        matches!(self.code, Code::Command(_))
    }

    /// Interfaces of WASI that it imports, by name.
    pub fn wasi(&self) -> &[String] {
        &self.wasi
    }

    /// What a guest that imports WASI finds behind its imports.
    fn door(&self, way: &Way, limits: &RunLimits, input: &str) -> Option<Box<Door>> {
        match &self.code {
            Code::Command(_) => Some(Box::new(Door::command(way, limits, input.to_owned()))),
            Code::Component(_) | Code::Script(..) if self.wasi.is_empty() => None,
            Code::Component(_) | Code::Script(..) => Some(Box::new(Door::step(way, limits))),
        }
    }
}

impl Steps {
    pub fn new(config: StepsConfig) -> Result<Self, StepError> {
        let seat = Seat::new(Class::Steps, &config)?;
        #[cfg(any(test, feature = "demo"))]
        let inspecting = (config, tokio::sync::OnceCell::new());
        Ok(Self {
            seat,
            #[cfg(any(test, feature = "demo"))]
            inspecting,
        })
    }

    /// The step's props, or what is wrong with it.
    pub async fn check(&self, program: &Program) -> Result<Vec<Prop>, StepError> {
        Ok(self.load(program).await?.props.clone())
    }

    /// A step ready to run; kept in memory, so that loading it again costs a hash.
    pub async fn load(&self, program: &Program) -> Result<Arc<Step>, StepError> {
        self.seat.load(program).await
    }

    /// Runs a loaded step once, in a fresh instance. Dropping the future stops the guest and frees its slot.
    pub async fn run(&self, step: &Step, run: Run) -> Ran {
        self.seat.run(step, run, |_| ()).await.0
    }

    /// Slots that nobody uses now.
    pub fn free_slots(&self) -> usize {
        self.seat.room.free_slots()
    }

    /// Runs a component in the engine whose guest memory can be searched, and says whether `found` holds for any of
    /// the guest's memories after the run, for its output, its error or any of its log lines. Also when it failed.
    #[cfg(any(test, feature = "demo"))]
    pub async fn run_inspected(
        &self,
        program: &Program,
        run: Run,
        found: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> (Ran, bool) {
        let (config, cell) = &self.inspecting;
        let prepared = async {
            let seat = cell.get_or_try_init(async || Seat::new(Class::Inspecting, config)).await?;
            Ok::<_, StepError>((seat, seat.load(program).await?))
        };
        let (seat, step) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return (Ran::unstarted(error), false),
        };
        let (ran, seen) = seat.run(&step, run, |store| memory_holds(store, found)).await;
        let told = match &ran.result {
            Ok(output) => found(serde_json::json!(output).to_string().as_bytes()),
            Err(error) => found(error.to_string().as_bytes()),
        };
        (ran, seen.unwrap_or(false) || told)
    }
}

/// Searches what a guest leaves: all memories of all its instances, and its log.
#[cfg(any(test, feature = "demo"))]
fn memory_holds(store: &mut Store<Host>, found: &(dyn Fn(&[u8]) -> bool + Sync)) -> bool {
    for instance in store.debug_all_instances() {
        // The index space ends at the first number without a memory; shared memories do not exist in this engine.
        let mut index = 0;
        while let Some(memory) = instance.debug_memory(&mut *store, index) {
            if found(memory.data(&*store)) {
                return true;
            }
            index += 1;
        }
    }
    store.data().log.any(|line| found(line.message.as_bytes()))
}

/// An engine for steps, its linkers, and the steps that are loaded.
struct Seat {
    room: Arc<Room>,
    linker: Linker<Host>,
    /// For those that import WASI; the others can reach nothing of it.
    wasi: Linker<Host>,
    runner: Runner,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    steps: HashMap<[u8; SHA256_OUTPUT_LEN], (u64, Arc<Step>)>,
    /// Counts uses; the step with the lowest goes first.
    uses: u64,
}

impl Seat {
    fn new(class: Class, config: &StepsConfig) -> Result<Self, StepError> {
        let room = Room::new(class, config.limits.clone(), config.slots, config.cache.as_deref())?;
        let mut linker = Linker::new(room.engine());
        v0_1_0::add_to_linker(&mut linker).map_err(internal)?;
        let mut wasi = linker.clone();
        wasi::add_to_linker(&mut wasi).map_err(internal)?;
        Ok(Self { room: Arc::new(room), linker, wasi, runner: Runner::default(), loaded: Mutex::default() })
    }

    async fn load(&self, program: &Program) -> Result<Arc<Step>, StepError> {
        match program {
            Program::Component(component) => self.load_component(component).await,
            Program::Script(script) => self.load_script(script).await,
        }
    }

    async fn load_component(&self, component: &[u8]) -> Result<Arc<Step>, StepError> {
        let key = key(&[component]);
        if let Some(step) = self.loaded().get(&key) {
            return Ok(step);
        }
        let bytes = load::to_component(component)?;
        let surface = Surface::of(&bytes)?;
        let shape = surface.check()?;
        let wasi = surface.wasi();
        let compiled = self.room.component(Arc::from(bytes.as_ref())).await?;
        let linker = if wasi.is_empty() && shape == Shape::Step { &self.linker } else { &self.wasi };
        // The names fit by now; what can still differ is a type.
        let other_type = |error: wasmtime::Error| StepError::WrongWorld {
            problems: vec![format!("{error:#}")],
            fix: "build it with the SDK of this release".to_owned(),
        };
        let pre = linker.instantiate_pre(&compiled).map_err(other_type)?;
        let step = match shape {
            Shape::Step => {
                let pre = StepPre::new(pre).map_err(other_type)?;
                let props = self.props(&pre, !wasi.is_empty()).await?;
                Step { code: Code::Component(pre), props, wasi }
            }
            Shape::Command => {
                let pre = CommandPre::new(pre).map_err(other_type)?;
                Step { code: Code::Command(pre), props: Vec::new(), wasi }
            }
        };
        let step = Arc::new(step);
        self.loaded().insert(key, step.clone());
        Ok(step)
    }

    async fn load_script(&self, script: &Script) -> Result<Arc<Step>, StepError> {
        // The name stands in errors, so it belongs to what is kept.
        let key = key(&[b"script", script.name.as_bytes(), script.source.as_bytes()]);
        if let Some(step) = self.loaded().get(&key) {
            return Ok(step);
        }
        let pre = self.runner.pre(&self.room, &self.linker).await?;
        let props = self.script_props(&pre, script).await.map_err(|error| script::named(script, error, PROPS_CPU))?;
        let step = Arc::new(Step { code: Code::Script(pre, script.clone()), props, wasi: Vec::new() });
        self.loaded().insert(key, step.clone());
        Ok(step)
    }

    /// Asks the runner for a script's props, without accounts.
    async fn script_props(&self, pre: &ScriptRunnerPre<Host>, script: &Script) -> Result<Vec<Prop>, StepError> {
        let _slot = self.room.slot().await?;
        let cpu = Arc::new(CpuMeter::default());
        let mut store = self.room.store(Host::asking(self.room.limits(), cpu.clone(), false));
        let guest = script::call_props(pre, &mut store, script, self.room.limits(), PROPS_CPU);
        let props = match bounded(PROPS_DEADLINE, script::outer_cpu(PROPS_CPU), &cpu, guest).await? {
            Ok(props) => props?,
            Err(error) => return Err(named(&error, &store, self.room.limits())),
        };
        declared::validate(&props)?;
        Ok(props)
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Loaded> {
        // Nothing is done under the lock that could leave it half done.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the component for its props, without accounts.
    async fn props(&self, pre: &StepPre<Host>, wasi: bool) -> Result<Vec<Prop>, StepError> {
        let _slot = self.room.slot().await?;
        let cpu = Arc::new(CpuMeter::default());
        let mut store = self.room.store(Host::asking(self.room.limits(), cpu.clone(), wasi));
        let guest = async {
            let instance = pre.instantiate_async(&mut store).await?;
            instance.call_props(&mut store).await
        };
        let ended = bounded(PROPS_DEADLINE, PROPS_CPU, &cpu, guest).await?;
        let props: Vec<Prop> = match ended {
            Ok(props) => props.into_iter().map(Prop::from).collect(),
            Err(error) => return Err(named(&error, &store, self.room.limits())),
        };
        declared::validate(&props)?;
        Ok(props)
    }

    /// One run. `look` sees the store after the guest has ended, however it ended.
    async fn run<T>(&self, step: &Step, mut run: Run, look: impl FnOnce(&mut Store<Host>) -> T) -> (Ran, Option<T>) {
        let Prepared { input, grants, secrets, warnings } = match prepare(step, &mut run) {
            Ok(prepared) => prepared,
            Err(error) => return (Ran::unstarted(error), None),
        };
        // Before the store, so that the slot is given back after the instance has left it.
        let _slot = match self.room.slot().await {
            Ok(slot) => slot,
            Err(error) => return (Ran::unstarted(error.into()), None),
        };
        let cpu = Arc::new(CpuMeter::default());
        let start = Instant::now();
        let limits = run.limits;
        let caller = Caller { owner: run.caller.owner, via: Via::Run(run.id) };
        let requests = Requests::new(run.road, caller, limits.clone(), grants, secrets.clone());
        let log = Log::new(&limits, run.log, secrets.clone());
        for warning in warnings {
            log.write(Time::now(), LogLevel::Warn, warning);
        }
        let way = Way::new(requests, log);
        let door = step.door(&way, &limits, &input);
        let mut store = self.room.store(Host::new(self.room.limits(), way, cpu.clone(), door));
        let result = match &step.code {
            Code::Component(pre) => {
                let guest = async {
                    let instance = pre.instantiate_async(&mut store).await?;
                    instance.call_run(&mut store, &input).await
                };
                bounded(limits.deadline, limits.cpu, &cpu, guest)
                    .await
                    .and_then(|ended| ended.map_err(|error| named(&error, &store, self.room.limits())))
                    .and_then(|said| said.map_err(|message| StepError::Failed { message: one_line(&message) }))
                    .and_then(|output| parse(&output, &limits))
                    .map(Output::of)
            }
            Code::Command(pre) => {
                let guest = wasi::call_command(pre, &mut store);
                bounded(limits.deadline, limits.cpu, &cpu, guest)
                    .await
                    .and_then(|ended| {
                        let said = wasi::command_output(ended, store.data());
                        said.unwrap_or_else(|error| Err(named(&error, &store, self.room.limits())))
                    })
                    .and_then(|output| parse(&output, &limits))
                    .map(Output::of)
            }
            Code::Script(pre, script) => {
                let guest = script::call_run(pre, &mut store, script, &input, self.room.limits(), limits.cpu);
                bounded(limits.deadline, script::outer_cpu(limits.cpu), &cpu, guest)
                    .await
                    .and_then(|ended| ended.map_err(|error| named(&error, &store, self.room.limits())))
                    .and_then(|said| said.and_then(|output| script::output(output, &limits)))
                    .map_err(|error| script::named(script, error, limits.cpu))
            }
        };
        if let Some(door) = &store.data().door {
            door.flush();
        }
        let looked = look(&mut store);
        let result = result.map(|output| secrets.output(output)).map_err(|error| secrets.error(error));
        if let Err(StepError::Script { stack: Some(stack), message, .. }) = &result {
            store.data_mut().log.write(Time::now(), LogLevel::Error, format!("{message}\n{stack}"));
        }
        let host = store.data_mut();
        let ran = Ran {
            result,
            logs: host.take_log(),
            requests: host.requests(),
            duration_ms: ms(start.elapsed()),
            cpu_ms: ms(cpu.spent()),
            memory_peak_bytes: host.meter.memory_peak_bytes(),
        };
        (ran, Some(looked))
    }
}

/// A name for these parts, which no other parts have.
fn key(parts: &[&[u8]]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut key = [0; SHA256_OUTPUT_LEN];
    key.copy_from_slice(context.finish().as_ref());
    key
}

impl Loaded {
    fn get(&mut self, key: &[u8; SHA256_OUTPUT_LEN]) -> Option<Arc<Step>> {
        self.uses += 1;
        let (used, step) = self.steps.get_mut(key)?;
        *used = self.uses;
        Some(step.clone())
    }

    fn insert(&mut self, key: [u8; SHA256_OUTPUT_LEN], step: Arc<Step>) {
        if self.steps.len() >= MAX_LOADED
            && let Some(oldest) = self.steps.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key)
        {
            self.steps.remove(&oldest);
        }
        self.steps.insert(key, (self.uses, step));
    }
}

/// What a run starts with.
struct Prepared {
    /// JSON: what was given, and defaults where nothing was.
    input: String,
    grants: Grants,
    secrets: Secrets,
    /// For the log, before anything runs.
    warnings: Vec<String>,
}

/// Takes input and bindings out of the run, if they fit the props.
fn prepare(step: &Step, run: &mut Run) -> Result<Prepared, StepError> {
    let input = std::mem::take(&mut run.input);
    let of_command;
    let (props, fields) = match &step.code {
        Code::Component(_) | Code::Script(..) => (&step.props, props::fit(&step.props, input, &run.bindings)?),
        // It declares nothing: what it reads is its own affair, and it is given what the person who runs it binds.
        Code::Command(_) => {
            of_command = run.bindings.iter().map(|(name, bound)| Prop::account(name, &bound.app)).collect();
            (&of_command, if input.is_null() { Value::Object(serde_json::Map::new()) } else { input })
        }
    };
    let secrets = Secrets::of(props, &fields);
    let warnings = Grants::lacking(props, &run.bindings);
    let grants = Grants::new(props, std::mem::take(&mut run.bindings), &run.ambient)?;
    let input = match &step.code {
        Code::Script(..) => script::input(&fields, &run.context).to_string(),
        Code::Component(_) | Code::Command(_) => fields.to_string(),
    };
    if input.len() > run.limits.input_bytes {
        return Err(StepError::Input {
            message: format!("the input has {} bytes; the limit is {}", input.len(), run.limits.input_bytes),
            fix: Some("let the step fetch large data itself".to_owned()),
        });
    }
    Ok(Prepared { input, grants, secrets, warnings })
}

/// Runs a guest until it ends, uses up its CPU budget, or is late.
async fn bounded<F: Future>(
    deadline: Duration,
    cpu: Duration,
    meter: &CpuMeter,
    guest: F,
) -> Result<F::Output, StepError> {
    match tokio::time::timeout(deadline, within_cpu(cpu, meter, guest)).await {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(CpuSpent)) => Err(StepError::Cpu { limit_ms: ms(cpu) }),
        Err(_) => Err(StepError::Deadline { limit_ms: ms(deadline) }),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The limit behind a trap, or the trap itself.
fn named(error: &wasmtime::Error, store: &Store<Host>, limits: &Limits) -> StepError {
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => return StepError::StackOverflow,
        // Rust and C keep a stack of their own at the low end of memory: a recursion may run off that one first.
        Some(Trap::MemoryOutOfBounds) if recursed(error) => return StepError::StackOverflow,
        _ => {}
    }
    if let Some(known) = wasi::named(error, store.data()) {
        return known;
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return StepError::Handles { limit: limits.handles };
    }
    // These two have no type of their own; a test holds the words.
    let text = format!("{error:#}");
    if text.contains("store handle limit exceeded") {
        return StepError::Handles { limit: limits.handles };
    }
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        return StepError::HostcallBytes { limit_bytes: limits.hostcall_bytes };
    }
    if store.data().meter.refused_by_share() {
        return StepError::MachineFull;
    }
    // A guest that is refused memory usually ends in `unreachable`.
    if store.data().meter.refused() {
        return StepError::OutOfMemory { limit_bytes: limits.memory_bytes as u64 };
    }
    StepError::Trap { message: one_line(&error.root_cause().to_string()) }
}

/// Is the backtrace full, of a few functions over and over?
fn recursed(error: &wasmtime::Error) -> bool {
    /// A cycle of more functions than these is not seen as one.
    const MAX_CYCLE: usize = 4;
    let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() else { return false };
    let mut functions: Vec<u32> = backtrace.frames().iter().map(wasmtime::FrameInfo::func_index).collect();
    let full = functions.len() >= BACKTRACE_FRAMES;
    functions.sort_unstable();
    functions.dedup();
    full && functions.len() <= MAX_CYCLE
}

fn parse(output: &str, limits: &RunLimits) -> Result<Value, StepError> {
    if output.len() > limits.output_bytes {
        let message = format!("has {} bytes; the limit is {}", output.len(), limits.output_bytes);
        return Err(StepError::OutputInvalid(message));
    }
    serde_json::from_str(output).map_err(|error| StepError::OutputInvalid(format!("is not JSON: {error}")))
}

fn internal(error: wasmtime::Error) -> StepError {
    StepError::Internal(format!("{error:#}"))
}

/// Guest text for a message: bounded, without control characters that could paint a terminal.
pub(super) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 2_000;
    text.chars()
        .take(MAX_CHARS)
        .map(|character| if character == '\n' { ' ' } else { character })
        .filter(|character| !character.is_control())
        .collect()
}
