//! The verbs about steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::{Answer, Caller, Deputy, Error, HttpRequest};
use crate::caller::Via;
use crate::egress::{Credential, Egress, EgressError, Grant, Tokens};
use crate::ids::RunId;
use crate::step::{self, Bound, LogLine, Outcome, Prop, PropKind, Road, Run, RunLimits};

#[derive(Debug, Serialize)]
pub struct StepNew {
    pub files: Vec<PathBuf>,
    /// Commands that build and run it.
    pub next: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct StepChecked {
    pub props: Vec<Prop>,
}

/// One run, asked for.
#[derive(Debug)]
pub struct StepRun {
    pub component: Vec<u8>,
    /// A JSON object.
    pub input: serde_json::Value,
    /// Prop → account, by any of an account's names.
    pub bindings: BTreeMap<String, String>,
    pub timeout: Option<Duration>,
    /// Lines as they come.
    pub log: Option<tokio::sync::mpsc::UnboundedSender<LogLine>>,
}

/// The road as a run sees it: accounts of its grant, and nothing that opens a token.
struct Granted {
    egress: Arc<Egress>,
    tokens: Arc<dyn Tokens>,
}

impl Road for Granted {
    fn send<'a>(&'a self, grant: &'a Grant, request: HttpRequest) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(self.egress.send(Credential::Account { grant, tokens: &*self.tokens }, request))
    }
}

impl Deputy {
    pub async fn step_new(&self, _caller: &Caller, path: &Path) -> Result<StepNew, Error> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let files = step::write_template(path, name)?;
        let wasm = format!("target/wasm32-unknown-unknown/release/{}.wasm", name.replace('-', "_"));
        let next = vec![
            format!("cd {}", path.display()),
            "cargo build --release --target wasm32-unknown-unknown".to_owned(),
            format!("deputy step run {wasm} --bind github=github --input '{{\"path\":\"/user\"}}'"),
        ];
        Ok(StepNew { files, next })
    }

    pub async fn step_check(&self, _caller: &Caller, component: Vec<u8>) -> Result<StepChecked, Error> {
        Ok(StepChecked { props: self.steps()?.check(&component).await? })
    }

    pub async fn step_run(&self, caller: &Caller, run: StepRun) -> Result<Outcome, Error> {
        let steps = self.steps()?;
        let step = steps.load(&run.component).await?;
        let (_, run) = self.prepare(caller, run, step.props()).await?;
        Ok(steps.run_step(&step, run).await?)
    }

    /// A run in an engine whose guest memory is searched afterwards, with the output and the logs. For `deputy demo`
    /// and tests: it is slow.
    #[cfg(feature = "demo")]
    pub async fn step_run_inspected(
        &self,
        caller: &Caller,
        run: StepRun,
        found: &(dyn Fn(&[u8]) -> bool + Sync),
    ) -> Result<(Outcome, bool), Error> {
        let props = self.steps()?.check(&run.component).await?;
        let (component, run) = self.prepare(caller, run, &props).await?;
        let (outcome, seen) = self.steps()?.run_inspected(&component, run, found).await;
        Ok((outcome?, seen))
    }

    /// Binds accounts to props: by name here, and by nothing else later.
    async fn prepare(&self, caller: &Caller, run: StepRun, props: &[Prop]) -> Result<(Vec<u8>, Run), Error> {
        let id = RunId::new();
        let mut bindings = BTreeMap::new();
        let needs_accounts = props.iter().any(|prop| matches!(prop.kind, PropKind::App(_)));
        let road: Arc<dyn Road> = if needs_accounts || !run.bindings.is_empty() {
            let opened = self.opened().await?;
            for (prop, name) in &run.bindings {
                let account = opened.accounts.show(caller, name).await?;
                let bound = Bound {
                    account: account.id,
                    app: account.app,
                    name: account.name,
                    identity: account.identity,
                    scopes: account.scopes,
                };
                bindings.insert(prop.clone(), bound);
            }
            Arc::new(Granted { egress: opened.egress.clone(), tokens: opened.accounts.tokens() })
        } else {
            Arc::new(NoAccounts)
        };
        let default = Duration::from_millis(self.config.step.timeout_ms);
        let limits = RunLimits { deadline: run.timeout.unwrap_or(default), ..RunLimits::default() };
        let caller = Caller { owner: caller.owner.clone(), via: Via::Run(id.clone()) };
        let prepared = Run { id, caller, input: run.input, bindings, road, limits, log: run.log };
        Ok((run.component, prepared))
    }
}

/// The road of a run without accounts: nothing can be asked of it, and no store is opened for it.
struct NoAccounts;

impl Road for NoAccounts {
    fn send<'a>(&'a self, _grant: &'a Grant, _request: HttpRequest) -> BoxFuture<'a, Result<Answer, EgressError>> {
        Box::pin(async { Err(EgressError::Internal("a run without accounts made a request".to_owned())) })
    }
}
