//! The engine room: where guests are compiled, given their limits, and stopped.
//!
//! Two engines, so that apps and steps share neither slots nor code: apps are small and pure, steps are hostile and
//! do I/O. A third, which can search a guest's memory, exists only for the demo and for tests.
//!
//! Promises: every guest runs in a fresh instance; each ends by itself, at its CPU budget, at its deadline or when its
//! caller goes away, whatever it does; memory, tables, handles and bytes handed to the host are bounded
//! ([`Limits`]); compiled code is never taken from outside ([`cache`]); a guest waits in a queue for its slot
//! ([`queue`]) instead of failing on a full pool.

mod budget;
pub mod cache;
mod clock;
mod declare;
mod engine;
mod error;
mod limits;
pub mod load;
pub mod queue;

pub use budget::{CpuMeter, CpuSpent, within_cpu};
pub use declare::Apps;
pub use engine::{BACKTRACE_FRAMES, Class, Room};
pub use error::WasmError;
pub use limits::{Limits, Meter, Metered, Share};

#[cfg(test)]
pub(crate) mod fixtures;
