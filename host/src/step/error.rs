//! Why a step was refused or a run ended without output: one name each, with a sentence for the author.

use std::io;
use std::path::PathBuf;

use super::call::CallError;
use super::script::{self, ScriptFailure};
use crate::wasm::WasmError;

#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// No component, or one that cannot be loaded.
    #[error(transparent)]
    Wasm(#[from] WasmError),
    /// A component of another world. Each problem is a sentence.
    #[error("this is no step that this host can run: {}", problems.join("; "))]
    WrongWorld { problems: Vec<String>, fix: String },
    /// Its props break the rules.
    #[error("the step's props are not valid: {0}")]
    Props(String),
    /// The run's input or bindings do not fit the props.
    #[error("{message}")]
    Input { message: String, fix: Option<String> },
    #[error("the run did not end within {limit_ms} ms")]
    Deadline { limit_ms: u64 },
    #[error("the run used more than {limit_ms} ms of processor time")]
    Cpu { limit_ms: u64 },
    #[error("the run needs more than {limit_bytes} bytes of memory")]
    OutOfMemory { limit_bytes: u64 },
    /// All runs together, not this one alone.
    #[error("the machine's memory for steps is used up by the runs under way")]
    MachineFull,
    #[error("the run holds more than {limit} handles")]
    Handles { limit: usize },
    #[error("the run recursed too deeply: its stack is used up")]
    StackOverflow,
    #[error("the run handed the host more than {limit_bytes} bytes in one call")]
    HostcallBytes { limit_bytes: usize },
    #[error("the run trapped: {message}")]
    Trap { message: String },
    #[error("the output {0}")]
    OutputInvalid(String),
    /// The step itself says that it failed.
    #[error("the step failed: {message}")]
    Failed { message: String },
    /// An HTTP call: the step's, or an action's.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An account or an app that the run needs cannot be used, as its room says.
    #[error("{message}")]
    Refused { code: &'static str, message: String, fix: Option<String> },
    /// A script failed, or is none. The place is where it stands in the script's own source.
    #[error("{}: {message}", script::place(file, *line, *column))]
    Script {
        kind: ScriptFailure,
        message: String,
        file: String,
        line: Option<u32>,
        column: Option<u32>,
        /// The script's own frames, one a line.
        stack: Option<String>,
    },
    /// Writing a template.
    #[error("{what} {}: {source}", path.display())]
    Template { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Internal(String),
}

impl StepError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Wasm(error) => match error {
                WasmError::NotWasm(_) => "step_not_wasm",
                WasmError::Precompiled => "step_precompiled",
                WasmError::CoreModule => "step_core_module",
                WasmError::TooLarge { .. } => "step_too_large",
                WasmError::Invalid(_) => "step_invalid_wasm",
                WasmError::Cache { .. } => "step_cache",
                WasmError::Busy { .. } => "step_busy",
                WasmError::Engine(_) => "step_internal",
            },
            Self::WrongWorld { .. } => "step_wrong_world",
            Self::Props(_) => "step_props",
            Self::Input { .. } => "step_input",
            Self::Deadline { .. } => "step_deadline",
            Self::Cpu { .. } => "step_cpu",
            Self::OutOfMemory { .. } => "step_out_of_memory",
            Self::MachineFull => "step_machine_full",
            Self::Handles { .. } => "step_handles",
            Self::StackOverflow => "step_stack_overflow",
            Self::HostcallBytes { .. } => "step_hostcall_bytes",
            Self::Trap { .. } => "step_trap",
            Self::OutputInvalid(_) => "step_output_invalid",
            Self::Failed { .. } => "step_failed",
            Self::Call(error) => error.code(),
            Self::Refused { code, .. } => code,
            Self::Script { kind, .. } => kind.code(),
            Self::Template { .. } => "step_template",
            Self::Internal(_) => "step_internal",
        }
    }

    /// The same error with its free texts changed.
    pub(super) fn map_text(self, change: impl Fn(String) -> String) -> Self {
        match self {
            Self::Props(text) => Self::Props(change(text)),
            Self::Input { message, fix } => Self::Input { message: change(message), fix: fix.map(change) },
            Self::Trap { message } => Self::Trap { message: change(message) },
            Self::OutputInvalid(text) => Self::OutputInvalid(change(text)),
            Self::Failed { message } => Self::Failed { message: change(message) },
            Self::Internal(text) => Self::Internal(change(text)),
            Self::Script { kind, message, file, line, column, stack } => {
                Self::Script { kind, message: change(message), file, line, column, stack: stack.map(change) }
            }
            // Named one by one, so that a new variant is thought about.
            same @ (Self::Wasm(_)
            | Self::MachineFull
            | Self::Call(_)
            | Self::Refused { .. }
            | Self::WrongWorld { .. }
            | Self::Deadline { .. }
            | Self::Cpu { .. }
            | Self::OutOfMemory { .. }
            | Self::Handles { .. }
            | Self::StackOverflow
            | Self::HostcallBytes { .. }
            | Self::Template { .. }) => same,
        }
    }

    pub fn fix(&self) -> Option<String> {
        Some(match self {
            Self::Wasm(error) => return error.fix(),
            Self::WrongWorld { fix, .. } => fix.clone(),
            Self::Input { fix, .. } | Self::Refused { fix, .. } => return fix.clone(),
            Self::Call(error) => return error.fix(),
            Self::Props(_) => "repair `props()` in the step and build it again".to_owned(),
            Self::Deadline { .. } => {
                "give it more time (`timeout` of a workflow's step, `--timeout` of `step run`, `--timeout-total` of \
                 `request`), or do less in one run"
                    .to_owned()
            }
            Self::Cpu { .. } => "look for a loop that does not end, or do less in one run".to_owned(),
            Self::OutOfMemory { .. } => "read answers in pieces instead of whole, and drop what is done".to_owned(),
            Self::MachineFull => "try again when fewer runs are under way".to_owned(),
            Self::Handles { .. } => "drop answers and pollables when they are done".to_owned(),
            Self::StackOverflow => "look for a recursion that does not end".to_owned(),
            Self::HostcallBytes { .. } => "hand over less at once".to_owned(),
            Self::Trap { .. } => "the log's last lines say more; a Rust panic is logged with its place".to_owned(),
            Self::OutputInvalid(_) => "return one JSON value of at most 8 MiB".to_owned(),
            Self::Script { kind: ScriptFailure::Thrown, stack: None, .. } => {
                "throw an Error: it knows where it comes from".to_owned()
            }
            Self::Script { kind, .. } => kind.fix().to_owned(),
            Self::Template { .. } => "name a new folder, or an empty one".to_owned(),
            Self::Failed { .. } | Self::Internal(_) => return None,
        })
    }
}
