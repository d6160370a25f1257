//! What executes steps for the facade and for workflows: programs, actions and calls, each with the accounts it names
//! by id and no others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::steps::Granted;
use crate::account::{AccountView, Accounts};
use crate::app::Catalog;
use crate::caller::{Caller, Via};
use crate::egress::{Egress, Grant};
use crate::ids::{AccountId, RunId};
use crate::step::action::{self, ACCOUNT};
use crate::step::{
    Bound, Call, CallPlace, Files, LogLine, Program, Ran, Run, RunLimits, StepError, Steps, StepsConfig, Taken, perform,
};
use crate::workflow::{Task, TaskKind, Work};

/// The engine for steps, made at its first use: a call needs none.
pub(super) struct Engine {
    cache: PathBuf,
    steps: OnceLock<Steps>,
}

impl Engine {
    /// `cache`: where compiled steps are kept.
    pub(super) fn new(cache: PathBuf) -> Self {
        Self { cache, steps: OnceLock::new() }
    }

    pub(super) fn get(&self) -> Result<&Steps, StepError> {
        if let Some(steps) = self.steps.get() {
            return Ok(steps);
        }
        let steps = Steps::new(StepsConfig { cache: Some(self.cache.clone()), ..StepsConfig::default() })?;
        Ok(self.steps.get_or_init(|| steps))
    }
}

/// Executes single steps. Cheap to make and to clone.
#[derive(Clone)]
pub struct Worker {
    pub(super) egress: Arc<Egress>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) steps: Arc<Engine>,
    /// Holds a folder for each run whose calls save answers.
    pub(super) files: PathBuf,
}

/// What every kind of step is executed with.
pub(super) struct Job {
    pub id: RunId,
    pub caller: Caller,
    pub limits: RunLimits,
    pub log: Option<UnboundedSender<LogLine>>,
}

/// An account as a run holds it: with the declaration that it keeps to.
pub(super) fn bound(catalog: &Catalog, account: AccountView) -> Result<Bound, StepError> {
    let declaration = catalog
        .pinned(&account.app_hash)
        .map_err(|error| StepError::Refused { code: error.code(), message: error.to_string(), fix: error.fix() })?
        .app;
    let method = declaration.methods.iter().position(|method| method.id == account.method);
    let method = method.ok_or_else(|| StepError::Refused {
        code: "method_unknown",
        message: format!("{} has no method `{}`", declaration.slug, account.method),
        fix: None,
    })?;
    Ok(Bound {
        account: account.id,
        app: account.app,
        name: account.name,
        identity: account.identity,
        scopes: account.scopes,
        inputs: account.inputs,
        origins: account.origins,
        declaration,
        method,
    })
}

impl Worker {
    /// A program with accounts bound to its props.
    async fn program(
        &self,
        program: &Program,
        input: Value,
        context: Value,
        bindings: BTreeMap<String, Bound>,
        job: Job,
    ) -> Ran {
        let loaded = match self.steps.get() {
            Ok(steps) => steps.load(program).await.map(|step| (steps, step)),
            Err(error) => Err(error),
        };
        let (steps, step) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => return Ran::unstarted(error),
        };
        let Job { id, caller, limits, log } = job;
        let road = Arc::new(self.road());
        let run = Run { id, caller, input, context, bindings, ambient: Vec::new(), road, limits, log };
        steps.run(&step, run).await
    }

    /// An action of the app that the account belongs to, as its own declaration has it. `most_items`: of a list.
    pub(super) async fn action(
        &self,
        bound: Bound,
        name: &str,
        input: &Value,
        context: Value,
        most_items: Option<u32>,
        job: Job,
    ) -> Ran {
        let app = bound.declaration.clone();
        let prepared = action::find(&app, name).and_then(|found| {
            action::check_scopes(&app, found, &bound.name, &bound.scopes)?;
            action::work(&app, found, input)
        });
        match prepared {
            Ok(action::Work::Call(mut call)) => {
                if let Some(most_items) = most_items {
                    let Some(pages) = &mut call.answer.pages else {
                        return Ran::unstarted(StepError::Input {
                            message: format!(
                                "{}/{name} gives no list, so there is no number of items to bound",
                                app.slug
                            ),
                            fix: None,
                        });
                    };
                    pages.most_items = most_items;
                    // The requests of a run are bounded anyway.
                    pages.most_pages = u32::MAX;
                }
                self.call(bound, &call, None, job).await
            }
            Ok(action::Work::Script { script, input }) => {
                let bindings = BTreeMap::from([(ACCOUNT.to_owned(), bound)]);
                self.program(&Program::Script(script), Value::Object(input), context, bindings, job).await
            }
            Err(error) => Ran::unstarted(error),
        }
    }

    /// One HTTP request as data, with its retries and pages.
    pub(super) async fn call(&self, bound: Bound, call: &Call, files: Option<Files>, job: Job) -> Ran {
        let grant = Grant::whole(job.caller, bound.account.clone());
        let place = CallPlace { log: job.log, files, ..CallPlace::new(bound, job.limits) };
        perform(&self.road(), &grant, call, &place).await
    }

    fn road(&self) -> Granted {
        Granted { egress: self.egress.clone(), tokens: self.accounts.tokens() }
    }

    async fn open(&self, caller: &Caller, account: &AccountId) -> Result<Bound, StepError> {
        let account = self.accounts.show(caller, account.as_str()).await.map_err(|error| StepError::Refused {
            code: error.code(),
            message: error.to_string(),
            fix: error.fix(),
        })?;
        bound(&self.catalog, account)
    }

    async fn open_all(
        &self,
        caller: &Caller,
        accounts: &BTreeMap<String, AccountId>,
    ) -> Result<BTreeMap<String, Bound>, StepError> {
        let mut bindings = BTreeMap::new();
        for (prop, account) in accounts {
            bindings.insert(prop.clone(), self.open(caller, account).await?);
        }
        Ok(bindings)
    }

    async fn execute(&self, caller: &Caller, task: Task) -> Result<Ran, StepError> {
        let Task { run, step, what, accounts, input, context, timeout, log } = task;
        let caller = Caller { owner: caller.owner.clone(), via: Via::Run(run.clone()) };
        let mut bindings = self.open_all(&caller, &accounts).await?;
        let folder = self.files.join(run.as_str()).join(&step);
        let job = Job { id: run, caller, limits: RunLimits { deadline: timeout, ..RunLimits::default() }, log };
        let mut only = || match (bindings.remove(ACCOUNT), bindings.is_empty()) {
            (Some(bound), true) => Ok(bound),
            _ => Err(StepError::Input {
                message: format!("step `{step}` needs exactly one account, bound to `{ACCOUNT}`"),
                fix: Some(format!("give it `accounts.{ACCOUNT}`")),
            }),
        };
        Ok(match what {
            TaskKind::Program(program) => self.program(&program, input, context, bindings, job).await,
            TaskKind::Action { app, action } => {
                let bound = only()?;
                of_app(&bound, &app, &action)?;
                self.action(bound, &action, &input, context, None, job).await
            }
            TaskKind::Call(call) => {
                // A step may run again after a crash, and many times in a loop: no file of an earlier one is lost.
                let files = Files { folder, taken: Taken::Number };
                self.call(only()?, &call, Some(files), job).await
            }
        })
    }
}

/// An action runs through an account of its own app.
pub(super) fn of_app(bound: &Bound, app: &str, action: &str) -> Result<(), StepError> {
    if bound.app == app {
        return Ok(());
    }
    Err(StepError::Input {
        message: format!("{app}/{action} wants an account of {app}, but {} is one of {}", bound.name, bound.app),
        fix: Some(format!("name one of {app}; `deputy account list --app {app}` shows them")),
    })
}

impl Work for Worker {
    fn perform<'a>(&'a self, caller: &'a Caller, task: Task) -> BoxFuture<'a, Ran> {
        Box::pin(async move { self.execute(caller, task).await.unwrap_or_else(Ran::unstarted) })
    }
}
