//! Scripts: JavaScript modules, run by one component that all of them share.
//!
//! The runner is compiled once for each engine and starts from a snapshot, so that a fresh sandbox costs little; the
//! script is an argument. What a script may use of processor time and memory is bounded inside the runner, where the
//! end of a budget has a line; the host's own bounds stand behind them, a little wider.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use wasmtime::Store;
use wasmtime::component::Linker;

use super::host::Host;
use super::v0_1_0::runner::{self, ScriptRunnerPre};
use super::{Output, Prop, RunLimits, Script, StepError};
use crate::wasm::{Limits, Room};

/// As `cargo xtask build` made it.
pub(super) const RUNNER: &[u8] = include_bytes!(env!("DEPUTY_RUNNER"));

/// Of the sandbox's memory, not for the script's heap: the engine, its stack and snapshot, and what the host hands over.
const MEMORY_ASIDE_BYTES: usize = 12 << 20;

/// The host's own CPU limit is so much wider: the runner looks at its budget every 10,000 jumps, and one call of a
/// built-in function, such as a sort, may last.
const CPU_GRACE: Duration = Duration::from_millis(500);

/// Why a script ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScriptFailure {
    /// The source is no module, or imports something that is not there.
    Syntax,
    /// It exports no step, or props that are none.
    Shape,
    /// It threw, or a promise was rejected.
    Thrown,
    /// What it returned is no JSON.
    Output,
    /// Its promise can never settle.
    Stuck,
    Cpu,
    Memory,
    Stack,
}

impl ScriptFailure {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Syntax => "script_syntax",
            Self::Shape => "script_shape",
            Self::Thrown => "script_thrown",
            Self::Output => "script_output",
            Self::Stuck => "script_stuck",
            Self::Cpu => "step_cpu",
            Self::Memory => "step_out_of_memory",
            Self::Stack => "step_stack_overflow",
        }
    }

    pub(super) fn fix(self) -> &'static str {
        match self {
            Self::Syntax => {
                "repair the script there; a script is one ES module, and packages are bundled into it: \
                 `deputy step new --js` makes a folder where `npm run build` does"
            }
            Self::Shape => {
                "repair that; a step is `export default defineComponent({ props, async run({ $ }) { … } })` or \
                 `export default async function (input, { accounts }) { … }`"
            }
            Self::Thrown => "the log holds the stack, and the lines before it",
            Self::Output => "return plain data: objects, lists, texts, numbers, true, false, null",
            Self::Stuck => "look for a promise that nothing resolves: a callback that is never called, or a lock",
            Self::Cpu => "look for a loop that does not end, or do less in one run",
            Self::Memory => "read answers in pieces instead of whole, and drop what is done",
            Self::Stack => "look for a recursion that does not end",
        }
    }
}

/// The shared runner of one engine, compiled at its first use.
#[derive(Default)]
pub(super) struct Runner(OnceCell<ScriptRunnerPre<Host>>);

impl Runner {
    pub(super) async fn pre(
        &self,
        room: &std::sync::Arc<Room>,
        linker: &Linker<Host>,
    ) -> Result<ScriptRunnerPre<Host>, StepError> {
        let compiled = async || {
            let component = room.component(RUNNER.into()).await?;
            let pre = linker.instantiate_pre(&component).and_then(ScriptRunnerPre::new);
            pre.map_err(|error| StepError::Internal(format!("the script runner does not fit this host: {error:#}")))
        };
        self.0.get_or_try_init(compiled).await.cloned()
    }
}

/// The bounds inside the runner.
fn bounds(limits: &Limits, cpu: Duration) -> runner::Limits {
    let memory_bytes = limits.memory_bytes.saturating_sub(MEMORY_ASIDE_BYTES);
    runner::Limits {
        cpu_ms: u32::try_from(cpu.as_millis()).unwrap_or(u32::MAX),
        memory_bytes: u32::try_from(memory_bytes).unwrap_or(u32::MAX),
    }
}

/// The host's own limit for a script with this budget.
pub(super) fn outer_cpu(cpu: Duration) -> Duration {
    cpu.saturating_add(CPU_GRACE)
}

/// What the guest said: its props, or why there are none.
pub(super) async fn call_props(
    pre: &ScriptRunnerPre<Host>,
    store: &mut Store<Host>,
    script: &Script,
    limits: &Limits,
    cpu: Duration,
) -> wasmtime::Result<Result<Vec<Prop>, StepError>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let argument = runner::Script { name: script.name.clone(), source: script.source.to_string() };
    let said = instance.call_script_props(&mut *store, &argument, bounds(limits, cpu)).await?;
    Ok(match said {
        Ok(props) => Ok(props.into_iter().map(Prop::from).collect()),
        Err(failure) => Err(failed(script, failure)),
    })
}

pub(super) async fn call_run(
    pre: &ScriptRunnerPre<Host>,
    store: &mut Store<Host>,
    script: &Script,
    input: &str,
    limits: &Limits,
    cpu: Duration,
) -> wasmtime::Result<Result<runner::Output, StepError>> {
    let instance = pre.instantiate_async(&mut *store).await?;
    let argument = runner::Script { name: script.name.clone(), source: script.source.to_string() };
    let said = instance.call_run_script(&mut *store, &argument, input, bounds(limits, cpu)).await?;
    Ok(said.map_err(|failure| failed(script, failure)))
}

/// A script's input: the fields of its props, and what earlier steps of the workflow and its trigger left.
pub(super) fn input(props: &Value, context: &Value) -> Value {
    let context = |name: &str, default: Value| context.get(name).cloned().unwrap_or(default);
    json!({ "props": props, "steps": context("steps", json!({})), "trigger": context("trigger", Value::Null) })
}

/// What a script gave back, within the bounds of an output.
pub(super) fn output(said: runner::Output, limits: &RunLimits) -> Result<Output, StepError> {
    let texts = said.exports.iter().map(|(name, value)| name.len() + value.len());
    let respond_bytes = said.respond.as_ref().map_or(0, String::len);
    let bytes = texts.sum::<usize>() + said.value.len() + respond_bytes + said.exit.as_ref().map_or(0, String::len);
    if bytes > limits.output_bytes {
        let message = format!("and exports have {bytes} bytes; the limit is {}", limits.output_bytes);
        return Err(StepError::OutputInvalid(message));
    }
    let parse = |what: &str, text: &str| {
        serde_json::from_str(text)
            .or_else(|error| serde_json::from_str(&without_lone_surrogates(text)).map_err(|_| error))
            .map_err(|error| StepError::OutputInvalid(format!("is not JSON{what}: {error}")))
    };
    let mut exports = Map::new();
    for (name, value) in &said.exports {
        exports.insert(name.clone(), parse(&format!(" in the export `{}`", super::props::short(name)), value)?);
    }
    let respond = said.respond.as_deref().map(|text| parse(" in the answer to the trigger", text)).transpose()?;
    Ok(Output { value: parse("", &said.value)?, exports, exit: said.exit, respond })
}

/// JavaScript's texts may hold half of a surrogate pair, and its JSON writes that as an escape; ours may not. It
/// becomes U+FFFD, as wherever text leaves JavaScript.
fn without_lone_surrogates(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        // Pairs stand there unescaped: what is escaped is alone.
        let alone = escape.get(..6).is_some_and(|escape| {
            let escape = escape.to_ascii_lowercase();
            escape.starts_with("\\ud") && matches!(escape.as_bytes()[3], b'8' | b'9' | b'a'..=b'f')
        });
        let kept = if alone { 6 } else { 2 };
        text.push_str(if alone { "\\ufffd" } else { escape.get(..kept).unwrap_or(escape) });
        rest = escape.get(kept..).unwrap_or("");
    }
    text.push_str(rest);
    text
}

fn failed(script: &Script, failure: runner::Failure) -> StepError {
    let kind = match failure.kind {
        runner::FailureKind::Syntax => ScriptFailure::Syntax,
        runner::FailureKind::Shape => ScriptFailure::Shape,
        runner::FailureKind::Thrown => ScriptFailure::Thrown,
        runner::FailureKind::Output => ScriptFailure::Output,
        runner::FailureKind::Stuck => ScriptFailure::Stuck,
        runner::FailureKind::Cpu => ScriptFailure::Cpu,
        runner::FailureKind::Memory => ScriptFailure::Memory,
        runner::FailureKind::Stack => ScriptFailure::Stack,
    };
    StepError::Script {
        kind,
        message: super::run::one_line(&failure.message),
        file: script.name.clone(),
        line: failure.line,
        column: failure.column,
        stack: failure.stack.map(|stack| printable(&stack)),
    }
}

/// The host's own bounds say less; here they at least name the script.
pub(super) fn named(script: &Script, error: StepError, cpu: Duration) -> StepError {
    let (kind, message) = match error {
        StepError::Cpu { .. } => {
            (ScriptFailure::Cpu, format!("used more than {} ms of processor time", cpu.as_millis()))
        }
        StepError::OutOfMemory { limit_bytes } => {
            (ScriptFailure::Memory, format!("needs more than {limit_bytes} bytes of memory"))
        }
        StepError::StackOverflow => (ScriptFailure::Stack, "recursed too deeply: its stack is used up".to_owned()),
        StepError::Props(message) => (ScriptFailure::Shape, format!("its props are not valid: {message}")),
        other => return other,
    };
    let file = script.name.clone();
    StepError::Script { kind, message, file, line: None, column: None, stack: None }
}

/// `post.js:3:14`, or as much as is known.
pub(super) fn place(file: &str, line: Option<u32>, column: Option<u32>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("{file}:{line}:{column}"),
        (Some(line), None) => format!("{file}:{line}"),
        _ => file.to_owned(),
    }
}

/// Lines of guest text, without control characters that could paint a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|character| *character == '\n' || !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_as_much_as_is_known() {
        assert_eq!(place("post.js", Some(3), Some(14)), "post.js:3:14");
        assert_eq!(place("post.js", Some(3), None), "post.js:3");
        assert_eq!(place("post.js", None, None), "post.js");
    }

    #[test]
    fn half_a_pair_is_replaced_and_nothing_else() {
        for (json, mended) in [
            (r#""\ud800""#, r#""\ufffd""#),
            (r#"["\\ud800","\n\udfff ä\u0007"]"#, r#"["\\ud800","\n\ufffd ä\u0007"]"#),
            (r#""\u0d80 \"""#, r#""\u0d80 \"""#),
        ] {
            assert_eq!(without_lone_surrogates(json), mended);
        }
    }

    #[test]
    fn exports_count_as_output() {
        let said = |value: &str, export: &str| runner::Output {
            value: value.to_owned(),
            exports: vec![("note".to_owned(), export.to_owned())],
            exit: None,
            respond: None,
        };
        let limits = RunLimits { output_bytes: 20, ..RunLimits::default() };
        assert_eq!(output(said("1", "[2]"), &limits).unwrap().exports["note"], json!([2]));
        let large = output(said("1", "\"abcdefghijklmnopq\""), &limits).unwrap_err();
        assert_eq!(large.code(), "step_output_invalid");
        assert!(output(said("1", "{"), &limits).unwrap_err().to_string().contains("export `note`"));
    }
}
