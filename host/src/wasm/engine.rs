//! One engine with its clock, its queue and its cache.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Component;
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};

use super::cache::Cache;
use super::limits::{Limits, Metered};
use super::queue::{QUEUE_TIMEOUT, Queue};
use super::{WasmError, clock};

/// A module of its own and one that a composed component may bring.
pub(super) const MEMORIES_PER_COMPONENT: u32 = 2;
/// A module's own, its shims', and those of one composed part.
pub(super) const TABLES_PER_COMPONENT: u32 = 4;
/// A module, two shims, and a dozen composed parts.
const CORE_INSTANCES_PER_COMPONENT: u32 = 16;

/// Frames that a trap keeps: enough to see a recursion, few enough to cost nothing when a deep one ends.
pub const BACKTRACE_FRAMES: usize = 16;

/// For whom an engine works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Apps: small, pure, called synchronously.
    Apps,
    /// Steps: hostile, with I/O.
    Steps,
    /// Steps whose memory is searched afterwards. Slower, and never in the path of real accounts.
    #[cfg(any(test, feature = "demo"))]
    Inspecting,
}

impl Class {
    pub fn limits(self) -> Limits {
        match self {
            Self::Apps => Limits::apps(),
            Self::Steps => Limits::steps(),
            #[cfg(any(test, feature = "demo"))]
            Self::Inspecting => Limits::steps(),
        }
    }

    fn inspects(self) -> bool {
        match self {
            Self::Apps | Self::Steps => false,
            #[cfg(any(test, feature = "demo"))]
            Self::Inspecting => true,
        }
    }
}

/// One compilation at a time in this process: a large component takes hundreds of megabytes while it compiles.
static COMPILING: Mutex<()> = Mutex::new(());

/// An engine and what stands around it.
#[derive(Debug)]
pub struct Room {
    engine: Engine,
    limits: Limits,
    queue: Queue,
    cache: Option<Cache>,
    compiling: Arc<Semaphore>,
    pooled: bool,
}

impl Room {
    /// `slots` guests run at once, the others wait. Without a cache folder every component is compiled anew.
    pub fn new(class: Class, limits: Limits, slots: usize, cache: Option<&Path>) -> Result<Self, WasmError> {
        let slots = slots.clamp(1, 1_000);
        let (engine, pooled) = build(class, &limits, slots)?;
        clock::start(&engine).map_err(|error| WasmError::Engine(format!("no clock thread: {error}")))?;
        let cache = cache.map(|folder| Cache::open(folder, &engine)).transpose()?;
        let compiling = Arc::new(Semaphore::new(1));
        Ok(Self { engine, limits, queue: Queue::new(slots, QUEUE_TIMEOUT), cache, compiling, pooled })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Are slots mapped in advance? False where the address space is too small for the pool.
    pub fn pooled(&self) -> bool {
        self.pooled
    }

    pub async fn slot(&self) -> Result<OwnedSemaphorePermit, WasmError> {
        self.queue.slot().await
    }

    pub fn free_slots(&self) -> usize {
        self.queue.free()
    }

    /// A store with this room's limits. Its guest gives way at every tick of the clock: use it with async calls.
    pub fn store<T: Metered>(&self, data: T) -> Store<T> {
        let mut store = self.limited(data);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    /// A store for synchronous calls, whose guest traps after so many ticks of the clock.
    pub fn store_for_ticks<T: Metered>(&self, data: T, ticks: u64) -> Store<T> {
        let mut store = self.limited(data);
        // One more, for the tick already partly gone.
        store.set_epoch_deadline(ticks + 1);
        store.epoch_deadline_trap();
        store
    }

    fn limited<T: Metered>(&self, data: T) -> Store<T> {
        let mut store = Store::new(&self.engine, data);
        store.limiter(|data| data.meter());
        store.set_hostcall_fuel(self.limits.hostcall_bytes);
        store.set_max_component_handles(self.limits.handles);
        store
    }

    /// The component compiled: from the cache, or on a blocking thread, one at a time.
    pub async fn component(self: &Arc<Self>, bytes: Arc<[u8]>) -> Result<Component, WasmError> {
        let permit = self.compiling.clone().acquire_owned().await;
        let room = self.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            // Here, so that a caller who goes away does not start a second compilation beside the first.
            let _permit = permit;
            room.component_now(&bytes)
        });
        compiled.await.map_err(|error| WasmError::Engine(format!("the compiler stopped: {error}")))?
    }

    /// As [`Room::component`], on this thread.
    pub fn component_now(&self, bytes: &[u8]) -> Result<Component, WasmError> {
        let key = self.cache.as_ref().map(|cache| (cache, cache.key(bytes)));
        let kept = || key.as_ref().and_then(|(cache, key)| cache.load(&self.engine, key));
        if let Some(component) = kept() {
            return Ok(component);
        }
        // The lock guards no data, so a poisoned one is as good.
        let _one = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever held the lock may have compiled the same.
        if let Some(component) = kept() {
            return Ok(component);
        }
        let component =
            Component::new(&self.engine, bytes).map_err(|error| WasmError::Invalid(format!("{error:#}")))?;
        if let Some((cache, key)) = &key {
            let artifact = component.serialize().map_err(|error| WasmError::Engine(format!("{error:#}")))?;
            if let Err(error) = cache.save(key, &artifact) {
                // A full disk must not stop a run: the next one compiles again.
                tracing::warn!(%error, "the compiled component was not kept");
            }
        }
        Ok(component)
    }
}

/// The engine, with a pool if the address space has room for one.
///
/// Reserving the pool is the probe: some machines have 39 bits of addresses and some containers limit them, and then
/// memory is mapped for each guest as it comes.
fn build(class: Class, limits: &Limits, slots: usize) -> Result<(Engine, bool), WasmError> {
    // An engine for inspection runs a handful of guests: a pool would only cost it address space.
    if !class.inspects() {
        let mut pooling = config(class, limits);
        pooling.allocation_strategy(pool(limits, slots));
        match Engine::new(&pooling) {
            Ok(engine) => return Ok((engine, true)),
            Err(error) => tracing::info!(%error, ?class, slots, "no address space for a pool; mapping on demand"),
        }
    }
    match Engine::new(&config(class, limits)) {
        Ok(engine) => Ok((engine, false)),
        Err(error) => Err(WasmError::Engine(format!("{error:#}"))),
    }
}

fn config(class: Class, limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // A quarter of the cost of a call, for proposals that no guest here uses.
        .concurrency_support(false)
        .memory_init_cow(true)
        .max_wasm_stack(limits.wasm_stack_bytes)
        .async_stack_size(limits.fiber_stack_bytes)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
    #[cfg(any(test, feature = "demo"))]
    if class == Class::Inspecting {
        config.guest_debug(true);
    }
    #[cfg(not(any(test, feature = "demo")))]
    let _ = class;
    config
}

fn pool(limits: &Limits, slots: usize) -> PoolingAllocationConfig {
    let slots = u32::try_from(slots).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        // As many of each as `slots` components can use at their worst: the queue is then the only place to wait,
        // and the pool never refuses a guest that got a slot.
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .total_memories(slots.saturating_mul(MEMORIES_PER_COMPONENT))
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .total_tables(slots.saturating_mul(TABLES_PER_COMPONENT))
        .max_tables_per_component(TABLES_PER_COMPONENT)
        // One fibre a guest, and one that is still being wiped.
        .total_stacks(slots.saturating_mul(2))
        .max_memory_size(limits.memory_bytes)
        .table_elements(limits.table_elements)
        // Metadata of an instance: a few KB for ordinary guests, hundreds for script engines.
        .max_component_instance_size(2 << 20)
        .max_core_instance_size(2 << 20)
        .linear_memory_keep_resident(limits.keep_resident_bytes)
        .table_keep_resident(16 << 10)
        // Bounds what an idle host keeps: 64 MiB of steps.
        .max_unused_warm_slots(slots.div_ceil(4).min(32));
    // `pagemap_scan` stays off: it may miss swapped-out pages, and then one guest would see another's memory.
    pool
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::{Meter, fixtures};

    #[test]
    fn a_pool_that_does_not_fit_is_done_without() {
        let small = Room::new(Class::Steps, Limits::steps(), 4, None).unwrap();
        assert!(small.pooled());
        // 1,000 slots of 1 TiB each pass the 47 bits that a process has.
        let vast = Limits { memory_bytes: 1 << 40, ..Limits::steps() };
        let fallback = Room::new(Class::Steps, vast, 1_000, None).unwrap();
        assert!(!fallback.pooled());
    }

    #[test]
    fn the_clock_ends_with_its_engine() {
        let room = Room::new(Class::Apps, Limits::apps(), 1, None).unwrap();
        let weak = room.engine().weak();
        drop(room);
        // The clock may hold the engine for the length of one increment.
        while weak.upgrade().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_synchronous_guest_that_never_ends_traps() {
        let room = Room::new(Class::Apps, Limits::apps(), 1, None).unwrap();
        let component = room.component_now(&fixtures::app(fixtures::LOOP)).unwrap();
        let mut store = room.store_for_ticks(Meter::new(room.limits()), 2);
        let linker = wasmtime::component::Linker::<Meter>::new(room.engine());
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let interface = instance.get_export_index(&mut store, None, "deputy:app/declaration@0.1.0").unwrap();
        let declare = instance.get_export_index(&mut store, Some(&interface), "declare").unwrap();
        let declare = instance.get_func(&mut store, declare).unwrap();
        let mut results = [wasmtime::component::Val::Bool(false)];
        let error = declare.call(&mut store, &[], &mut results).unwrap_err();
        assert_eq!(error.downcast_ref::<wasmtime::Trap>(), Some(&wasmtime::Trap::Interrupt), "{error:#}");
    }
}
