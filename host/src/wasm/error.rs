//! Why a component cannot be loaded.

use std::io;
use std::path::PathBuf;

/// The sentences quote names and offsets of the component, nothing else of it.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    #[error("this is no WebAssembly: {0}")]
    NotWasm(String),
    /// Machine code in wasm's clothes: loading it would run whatever it says, outside the sandbox.
    #[error("this is compiled machine code, not WebAssembly; it is never accepted from outside")]
    Precompiled,
    #[error("this is a core module that does not say which world it is for")]
    CoreModule,
    #[error("it has {bytes} bytes; the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// Parsing, validation or compilation failed.
    #[error("this WebAssembly is not valid: {0}")]
    Invalid(String),
    #[error("{what} {}: {source}", path.display())]
    Cache { what: &'static str, path: PathBuf, source: io::Error },
    #[error("all {slots} slots were busy for {waited_ms} ms")]
    Busy { slots: usize, waited_ms: u64 },
    #[error("the engine failed: {0}")]
    Engine(String),
}

impl WasmError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotWasm(_) => "wasm_not_wasm",
            Self::Precompiled => "wasm_precompiled",
            Self::CoreModule => "wasm_core_module",
            Self::TooLarge { .. } => "wasm_too_large",
            Self::Invalid(_) => "wasm_invalid",
            Self::Cache { .. } => "wasm_cache",
            Self::Busy { .. } => "wasm_busy",
            Self::Engine(_) => "wasm_engine",
        }
    }

    pub fn fix(&self) -> Option<String> {
        Some(match self {
            Self::NotWasm(_) => "build it with `cargo build --release --target wasm32-unknown-unknown` and give the \
                                 .wasm file below `target/wasm32-unknown-unknown/release`"
                .to_owned(),
            Self::Precompiled => "give the .wasm file it was compiled from".to_owned(),
            Self::CoreModule => "build it with the Deputy SDK, which embeds the world, or encode it with \
                                 `wasm-tools component new`"
                .to_owned(),
            Self::TooLarge { .. } => "build with `--release`, `lto = true` and `strip = true`".to_owned(),
            Self::Invalid(_) => "build it again with the pinned toolchain".to_owned(),
            Self::Cache { path, .. } => {
                format!("make {} a folder that only you can read and write (mode 0700)", path.display())
            }
            Self::Busy { .. } => "try again, or raise the number of slots".to_owned(),
            Self::Engine(_) => return None,
        })
    }
}
