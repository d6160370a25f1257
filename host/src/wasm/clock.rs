//! The engine's clock: a thread of its own, because a task on a busy runtime could not stop the guest that keeps it
//! busy.

use std::time::Duration;

use wasmtime::Engine;

/// A guest gives way to others this often. Shorter costs more switches; longer makes deadlines coarser.
pub const TICK: Duration = Duration::from_millis(10);

/// Starts the clock. It holds the engine weakly and ends within a tick of the engine's end.
pub fn start(engine: &Engine) -> std::io::Result<()> {
    let weak = engine.weak();
    std::thread::Builder::new().name("wasm-clock".to_owned()).stack_size(64 << 10).spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}
