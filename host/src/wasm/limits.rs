//! What a guest may take. Every number stands beside its reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::ResourceLimiter;

/// Bounds of one guest. A run that would pass one is stopped and told which.
#[derive(Debug, Clone)]
pub struct Limits {
    /// All linear memories of the guest together.
    pub memory_bytes: usize,
    /// Elements of all tables together: function pointers of the guest's own code.
    pub table_elements: usize,
    /// Bytes that one host call may take out of the guest; the host allocates them.
    pub hostcall_bytes: usize,
    /// Handles that the guest holds, and host objects behind them.
    pub handles: usize,
    /// Stack of the guest's own code; what is left of [`Limits::fiber_stack_bytes`] is for host functions.
    pub wasm_stack_bytes: usize,
    pub fiber_stack_bytes: usize,
    /// Memory of a slot that stays resident for the next guest instead of going back to the system.
    pub keep_resident_bytes: usize,
    /// All guests of an engine together.
    pub share: Share,
}

/// Memory that all guests of an engine take from. Many may wait for slow servers at once because a waiting guest is
/// small; a few that grow must not take the machine.
#[derive(Debug, Clone)]
pub struct Share(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: AtomicUsize,
    limit: usize,
}

impl Share {
    pub fn new(limit_bytes: usize) -> Self {
        Self(Arc::new(Shared { taken: AtomicUsize::new(0), limit: limit_bytes }))
    }

    /// Half of the machine's memory, or 4 GiB where the system does not tell.
    fn of_machine() -> Self {
        Self::new(machine_bytes().map_or(4 << 30, |total| total / 2))
    }

    fn take(&self, bytes: usize) -> bool {
        let Shared { taken, limit } = &*self.0;
        let with = |now: usize| now.checked_add(bytes).filter(|after| after <= limit);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Limits {
    /// Steps: 64 MiB holds a 50 MiB answer read whole, and the largest script engines' heaps.
    pub fn steps() -> Self {
        Self {
            memory_bytes: 64 << 20,
            // The QuickJS and Python runners have 3,000 to 15,000 functions.
            table_elements: 50_000,
            // The largest request body (10 MiB) and the largest output (8 MiB) fit, each with room for its frame.
            hostcall_bytes: 12 << 20,
            // 1,000 requests a run, of which 32 at a time, need three handles each at most; a bomb needs more.
            handles: 1_000,
            // wasmtime's default: 10,000 frames of ordinary code.
            wasm_stack_bytes: 512 << 10,
            fiber_stack_bytes: 2 << 20,
            // At least what a run dirties: 256 KiB more than halves the throughput of script steps, because every
            // run then pays for page faults and the call to drop them.
            keep_resident_bytes: 2 << 20,
            share: Share::of_machine(),
        }
    }

    /// Apps: a declaration is a few KB, a hook works on one request.
    pub fn apps() -> Self {
        Self {
            memory_bytes: 16 << 20,
            table_elements: 10_000,
            // The largest declaration seen is under 100 KB.
            hostcall_bytes: 1 << 20,
            handles: 100,
            wasm_stack_bytes: 512 << 10,
            fiber_stack_bytes: 2 << 20,
            keep_resident_bytes: 256 << 10,
            share: Share::of_machine(),
        }
    }
}

#[cfg(target_os = "linux")]
fn machine_bytes() -> Option<usize> {
    let info = rustix::system::sysinfo();
    let total = usize::try_from(info.totalram).ok()?.checked_mul(usize::try_from(info.mem_unit).ok()?)?;
    (total > 0).then_some(total)
}

#[cfg(not(target_os = "linux"))]
fn machine_bytes() -> Option<usize> {
    None
}

/// Store data that carries a [`Meter`].
pub trait Metered: Send + 'static {
    fn meter(&mut self) -> &mut Meter;
}

/// Counts what a guest takes, refuses what is too much, and remembers that it did: the trap that follows can then be
/// named.
#[derive(Debug)]
pub struct Meter {
    memory_limit_bytes: usize,
    memory_bytes: usize,
    memory_peak_bytes: usize,
    memory_refused: bool,
    share: Share,
    /// The engine's guests together have no more.
    share_refused: bool,
    table_limit: usize,
    table_elements: usize,
    table_refused: bool,
}

impl Meter {
    pub fn new(limits: &Limits) -> Self {
        Self {
            memory_limit_bytes: limits.memory_bytes,
            memory_bytes: 0,
            memory_peak_bytes: 0,
            memory_refused: false,
            share: limits.share.clone(),
            share_refused: false,
            table_limit: limits.table_elements,
            table_elements: 0,
            table_refused: false,
        }
    }

    /// The most that all memories held together.
    pub fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes as u64
    }

    pub fn memory_limit_bytes(&self) -> u64 {
        self.memory_limit_bytes as u64
    }

    /// The guest asked for more memory or table than it may have.
    pub fn refused(&self) -> bool {
        self.memory_refused || self.table_refused
    }

    /// The guest asked for no more than it may have, but all guests together did.
    pub fn refused_by_share(&self) -> bool {
        self.share_refused
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.share.give_back(self.memory_bytes);
    }
}

impl Metered for Meter {
    fn meter(&mut self) -> &mut Meter {
        self
    }
}

/// A refused growth gives the guest -1, as the specification says: a guest that copes goes on.
impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let total = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if total > self.memory_limit_bytes || maximum.is_some_and(|maximum| desired > maximum) {
            self.memory_refused = true;
            return Ok(false);
        }
        if !self.share.take(total.saturating_sub(self.memory_bytes)) {
            self.share_refused = true;
            return Ok(false);
        }
        self.memory_bytes = total;
        self.memory_peak_bytes = self.memory_peak_bytes.max(total);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> Result<(), wasmtime::Error> {
        self.memory_refused = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let total = self.table_elements.saturating_sub(current).saturating_add(desired);
        if total > self.table_limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.table_refused = true;
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    /// Core instances of one component: 16 are a module, its shims, and a dozen composed parts.
    fn instances(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        super::engine::MEMORIES_PER_COMPONENT as usize
    }

    fn tables(&self) -> usize {
        super::engine::TABLES_PER_COMPONENT as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(memory_bytes: usize) -> Meter {
        Meter::new(&Limits { memory_bytes, table_elements: 10, ..Limits::apps() })
    }

    #[test]
    fn two_memories_share_one_limit() {
        let mut meter = meter(100);
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(!meter.memory_growing(0, 60, None).unwrap(), "the second memory does not fit beside the first");
        assert!(meter.refused());
        assert!(meter.memory_growing(60, 100, None).unwrap(), "the first may still grow");
        assert_eq!(meter.memory_peak_bytes(), 100);
    }

    #[test]
    fn guests_share_what_the_machine_has_and_give_it_back() {
        let limits = Limits { share: Share::new(100), ..Limits::apps() };
        let (mut first, mut second) = (Meter::new(&limits), Meter::new(&limits));
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(!second.memory_growing(0, 60, None).unwrap());
        assert!(second.refused_by_share() && !second.refused());
        drop(first);
        assert!(second.memory_growing(0, 60, None).unwrap(), "what the first had is free again");
    }

    #[test]
    fn tables_are_counted_together_too() {
        let mut meter = meter(100);
        assert!(meter.table_growing(0, 10, None).unwrap());
        assert!(!meter.table_growing(10, 11, None).unwrap());
        assert!(meter.refused());
    }
}
