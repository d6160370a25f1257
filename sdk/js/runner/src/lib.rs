//! The shared runner of scripts: QuickJS with an environment, and one event loop over the host's pollables.
//!
//! It is built once and snapshotted after its environment has been evaluated (`wizer-initialize`), so that a run starts
//! from a warm engine. Every run is a fresh copy of that snapshot: nothing is ever freed at its end, and two scripts
//! can share nothing. What a snapshot must not hold is made in each run: random numbers, the clock, handles of the host.

mod bytes;
mod digests;
mod engine;
mod events;
mod failure;
mod modules;
mod natives;
mod program;
mod props;
mod random;
mod requests;

#[allow(clippy::too_many_arguments)] // What bindgen writes; the functions are as wide as their records.
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit/step/0.1.0",
        world: "script-runner",
        generate_all,
    });
}

use bindings::{Failure, Guest, Limits, Output, Prop, Script};

struct Runner;

impl Guest for Runner {
    fn script_props(script: Script, limits: Limits) -> Result<Vec<Prop>, Failure> {
        engine::begin();
        program::props(&script, &limits)
    }

    fn run_script(script: Script, input: String, limits: Limits) -> Result<Output, Failure> {
        engine::begin();
        program::run(&script, &input, &limits)
    }
}

bindings::export!(Runner with_types_in bindings);

/// Room for the environment: the snapshot tool writes its source there for [`environment_compile`], and what that gave
/// for [`initialize`].
#[unsafe(export_name = "environment-buffer")]
pub extern "C" fn environment_buffer(len: u32) -> *mut u8 {
    engine::environment_buffer(len as usize)
}

/// Turns the source of the environment into bytecode; the address of its address and its length.
///
/// In an instance of its own, so that what the compiler leaves in memory does not stand in the snapshot.
#[unsafe(export_name = "environment-compile")]
pub extern "C" fn environment_compile() -> *const [usize; 2] {
    wit_bindgen::rt::run_ctors_once();
    let bytecode = engine::compile_environment().leak();
    Box::leak(Box::new([bytecode.as_ptr() as usize, bytecode.len()]))
}

/// Runs once, when the snapshot is made. No import may be called.
#[unsafe(export_name = "wizer-initialize")]
pub extern "C" fn initialize() {
    wit_bindgen::rt::run_ctors_once();
    engine::initialize();
}

/// The one import of QuickJS's C code: microseconds since 1970.
#[unsafe(no_mangle)]
pub extern "C" fn __rquickjs_host_now_us() -> f64 {
    engine::now_ms() * 1000.0
}
