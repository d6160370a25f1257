//! The verbs about steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Answer, Caller, Deputy, Error, HttpRequest, work};
use crate::caller::Via;
use crate::egress::{Credential, Egress, EgressError, Grant, Tokens, plain_refusal};
use crate::ids::RunId;
use crate::step::{
    self, Bound, Language, LogLine, Output, Program, Prop, PropKind, Ran, RequestSummary, Road, Run, RunLimits, Script,
};
use crate::time::Time;

#[derive(Debug, Serialize)]
pub struct StepNew {
    pub files: Vec<PathBuf>,
    /// Commands that build and run it.
    pub next: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct StepChecked {
    pub props: Vec<Prop>,
    /// A program whose input and output are its standard streams: it declares no props and takes any binding.
    pub command: bool,
    /// Interfaces of WASI that it imports.
    pub wasi: Vec<String>,
}

/// One run, asked for.
#[derive(Debug)]
pub struct StepRun {
    pub program: Program,
    /// A JSON object.
    pub input: serde_json::Value,
    /// Prop → account, by any of an account's names.
    pub bindings: BTreeMap<String, String>,
    /// Props to mark ambient, besides those that the step marks itself.
    pub ambient: Vec<String>,
    pub timeout: Option<Duration>,
    /// Lines as they come.
    pub log: Option<tokio::sync::mpsc::UnboundedSender<LogLine>>,
}

/// A run that has ended, well or not.
#[derive(Debug, Serialize)]
pub struct StepRan {
    pub run: RunId,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    pub logs: Vec<LogLine>,
    /// In the order in which the step started them.
    pub requests: Vec<RequestSummary>,
    /// Without the wait for a slot.
    pub duration_ms: u64,
    pub cpu_ms: u64,
    /// The most that the guest's memories held together.
    pub memory_peak_bytes: u64,
}

impl StepRan {
    pub(super) fn new(run: RunId, ran: Ran) -> Self {
        let (output, error) = match ran.result {
            Ok(output) => (Some(output), None),
            Err(error) => (None, Some(error.into())),
        };
        Self {
            run,
            output,
            error,
            logs: ran.logs,
            requests: ran.requests,
            duration_ms: ran.duration_ms,
            cpu_ms: ran.cpu_ms,
            memory_peak_bytes: ran.memory_peak_bytes,
        }
    }

    /// What it returned, or why it failed.
    pub fn result(self) -> Result<Output, Error> {
        match (self.output, self.error) {
            (Some(output), None) => Ok(output),
            (_, Some(error)) => Err(error),
            (None, None) => Err(Error::new("step_internal", "the run left neither output nor error")),
        }
    }
}

/// The largest program taken for a step.
const MAX_PROGRAM_BYTES: u64 = 64 << 20;

/// A component, or a script: by what is in the file.
pub fn read_program(path: &Path) -> Result<Program, Error> {
    let failed = |error: std::io::Error| {
        let fix = "name a script (.js, .mjs) or a component (.wasm), such as \
                   target/wasm32-unknown-unknown/release/<name>.wasm";
        Error::new("step_unreadable", format!("cannot read {}: {error}", path.display())).with_fix(fix)
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_PROGRAM_BYTES {
        let message = format!("{} has {size} bytes; a step may have {MAX_PROGRAM_BYTES}", path.display());
        return Err(Error::new("step_too_large", message));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let is_script = path.extension().is_some_and(|extension| extension == "js" || extension == "mjs");
    let source = path.extension().and_then(|extension| extension.to_str());
    if source.is_some_and(|extension| matches!(extension, "ts" | "tsx" | "jsx" | "cjs" | "mts")) {
        let message = format!("{} is not what runs: a step is one ES module (.js, .mjs)", path.display());
        let fix = "bundle it: `npm run build` in a folder of `deputy step new --js` writes dist/<name>.js";
        return Err(Error::new("step_unreadable", message).with_fix(fix));
    }
    if bytes.starts_with(b"\0asm") || !is_script {
        return Ok(Program::Component(bytes.into()));
    }
    let source = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::new("step_unreadable", format!("{} is not UTF-8 from byte {at} on", path.display()))
    })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Program::Script(Script { name, source: source.into() }))
}

/// The road as a run sees it: accounts of its grant, and nothing that opens a token.
pub(super) struct Granted {
    pub egress: Arc<Egress>,
    pub tokens: Arc<dyn Tokens>,
}

impl Road for Granted {
    fn send<'a>(&'a self, grant: &'a Grant, request: HttpRequest) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(self.egress.send(Credential::Account { grant, tokens: &*self.tokens }, request))
    }

    fn send_plain<'a>(
        &'a self,
        caller: &'a Caller,
        request: HttpRequest,
    ) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(self.egress.send(Credential::Plain(caller), request))
    }
}

impl Deputy {
    pub async fn step_new(&self, _caller: &Caller, path: &Path, language: Language) -> Result<StepNew, Error> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let files = step::write_template(path, name, language)?;
        if language == Language::JavaScript {
            let next = vec![
                format!("cd {}", path.display()),
                "npm install".to_owned(),
                "npm test".to_owned(),
                "npm run build".to_owned(),
                format!("deputy step run dist/{name}.js --bind github=github"),
            ];
            return Ok(StepNew { files, next });
        }
        let wasm = format!("target/wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_"));
        let next = vec![
            format!("cd {}", path.display()),
            "cargo build --release --target wasm32-unknown-unknown".to_owned(),
            format!("deputy step run {wasm} --bind github=github --input '{{\"path\":\"/user\"}}'"),
        ];
        Ok(StepNew { files, next })
    }

    pub async fn step_check(&self, _caller: &Caller, program: Program) -> Result<StepChecked, Error> {
        let step = self.steps()?.load(&program).await?;
        Ok(StepChecked { props: step.props().to_vec(), command: step.is_command(), wasi: step.wasi().to_vec() })
    }

    /// An error where the run could not begin; one that began says how it ended.
    pub async fn step_run(&self, caller: &Caller, run: StepRun) -> Result<StepRan, Error> {
        let steps = self.steps()?;
        let step = steps.load(&run.program).await?;
        let (program, run) = self.prepare(caller, run, step.props()).await?;
        self.note_uses(caller, &program, &run).await;
        let id = run.id.clone();
        Ok(StepRan::new(id, steps.run(&step, run).await))
    }

    /// So that an account's owner sees which steps use it. A run does not fail for it.
    async fn note_uses(&self, caller: &Caller, program: &Program, run: &Run) {
        let name = match program {
            Program::Script(script) => script.name.clone(),
            Program::Component(bytes) => {
                let hash = digest(&SHA256, bytes);
                format!("component {}", data_encoding::HEXLOWER.encode(&hash.as_ref()[..6]))
            }
        };
        for bound in run.bindings.values() {
            let noted = async {
                let records = self.engine().await?.records();
                Ok::<_, Error>(records.note_step_use(&caller.owner, &bound.account, &name, Time::now()).await?)
            };
            if let Err(error) = noted.await {
                tracing::warn!(account = %bound.name, %error, "cannot note which step used the account");
            }
        }
    }

    /// A run in an engine whose guest memory is searched afterwards, with the output and the logs. For `deputy demo`
    /// and tests: it is slow.
    #[cfg(feature = "demo")]
    pub async fn step_run_inspected(
        &self,
        caller: &Caller,
        run: StepRun,
        found: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<(StepRan, bool), Error> {
        let props = self.steps()?.check(&run.program).await?;
        let (program, run) = self.prepare(caller, run, &props).await?;
        let id = run.id.clone();
        let (ran, seen) = self.steps()?.run_inspected(&program, run, found).await;
        Ok((StepRan::new(id, ran), seen))
    }

    /// Binds accounts to props: by name here, and by nothing else later.
    async fn prepare(&self, caller: &Caller, run: StepRun, props: &[Prop]) -> Result<(Program, Run), Error> {
        let id = RunId::new();
        let mut bindings = BTreeMap::new();
        let needs_accounts = props.iter().any(|prop| matches!(prop.kind, PropKind::App(_)));
        // Without accounts and without plain hosts nothing can go out, and no store is opened.
        let plain = !self.config.egress.plain.is_empty();
        let road: Arc<dyn Road> = if needs_accounts || plain || !run.bindings.is_empty() {
            let opened = self.opened().await?;
            for (prop, name) in &run.bindings {
                bindings.insert(prop.clone(), self.bind(caller, name).await?);
            }
            Arc::new(Granted { egress: opened.egress.clone(), tokens: opened.accounts.tokens() })
        } else {
            Arc::new(NoAccounts)
        };
        let default = Duration::from_millis(self.config.step.timeout_ms);
        let limits = RunLimits { deadline: run.timeout.unwrap_or(default), ..RunLimits::default() };
        let caller = Caller { owner: caller.owner.clone(), via: Via::Run(id.clone()) };
        let prepared = Run {
            id,
            caller,
            input: run.input,
            context: serde_json::Value::Null,
            bindings,
            ambient: run.ambient,
            road,
            limits,
            log: run.log,
        };
        Ok((run.program, prepared))
    }

    /// An account as a run holds it.
    pub(super) async fn bind(&self, caller: &Caller, name: &str) -> Result<Bound, Error> {
        let account = self.opened().await?.accounts.show(caller, name).await?;
        Ok(work::bound(&self.catalog, account)?)
    }
}

/// The road of a run without accounts, where the operator allows no plain host: it leads nowhere, and no store is
/// opened for it.
struct NoAccounts;

impl Road for NoAccounts {
    fn send<'a>(&'a self, _grant: &'a Grant, _request: HttpRequest) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(async { Err(EgressError::Internal("a run without accounts made a request".to_owned())) })
    }

    fn send_plain<'a>(
        &'a self,
        _caller: &'a Caller,
        request: HttpRequest,
    ) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(async move { Err(plain_refusal(&[], &request.url)) })
    }
}
