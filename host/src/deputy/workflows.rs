//! The verbs about workflows and their runs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::control::{self, Question, RunParts};
use super::workflow_check::Ready;
use super::{Caller, Deputy, Error, Program, WorkflowFile};
use crate::account::AccountError;
use crate::caller::Via;
use crate::ids::{AccountId, RunId};
use crate::step::PropKind;
use crate::time::Time;
use crate::workflow::check::{AccountFacts, Checked};
use crate::workflow::engine::Engine;
use crate::workflow::engine::live::Live;
use crate::workflow::engine::run::{Execution, Kept, Left, output};
use crate::workflow::expression::TriggerFacts;
use crate::workflow::records::{Binding, Bindings, Deployed, Deployment, Submission, TriggerKind, WorkflowHead};
use crate::workflow::schedule::Timetable;
use crate::workflow::{Step, StepWhat, Trigger, Verify};

pub use crate::workflow::engine::live::{Event, Happened};
pub use crate::workflow::records::{
    Attempt, AttemptState, Failure, RunEnd, RunHead, RunState, RunsPage, Use, UsedProp,
};

/// How long a step may still take when a command that drives a run is stopped.
const GRACE: Duration = Duration::from_secs(30);
/// Workflows on one page.
const MAX_PAGE: usize = 200;

#[derive(Debug, Serialize)]
pub struct WorkflowDeployed {
    pub name: String,
    pub version: u64,
    /// False: the same content was deployed already, with the same accounts.
    pub deployed: bool,
    pub enabled: bool,
    pub hooks: Vec<Hook>,
    pub schedules: Vec<ScheduleView>,
    /// Props whose account is another than that of the version before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rebound: Vec<Rebound>,
    /// Commands that come next.
    pub next: Vec<String>,
}

/// A prop that gets another account.
#[derive(Debug, Serialize)]
pub struct Rebound {
    pub step: String,
    pub prop: String,
    pub from: String,
    pub to: String,
}

/// The address of an HTTP trigger.
#[derive(Debug, Clone, Serialize)]
pub struct Hook {
    pub url: String,
    /// `secret_path` (whoever knows the address can start runs) or `signature`.
    pub verify: &'static str,
    /// The environment variable of `deputy serve` that holds the key of the signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ScheduleView {
    pub cron: String,
    pub zone: String,
    /// From now on.
    pub next_at: Option<Time>,
}

#[derive(Debug, Serialize)]
pub struct WorkflowsPage {
    pub workflows: Vec<WorkflowHead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct WorkflowView {
    #[serde(flatten)]
    pub head: WorkflowHead,
    pub hooks: Vec<Hook>,
    pub schedules: Vec<ScheduleView>,
    /// Step → prop → account, by name; by id where the account is gone.
    pub accounts: BTreeMap<String, BTreeMap<String, String>>,
    /// How many runs are in which state.
    pub runs: BTreeMap<&'static str, i64>,
    pub latest: Vec<RunHead>,
}

/// A run, asked for by hand.
#[derive(Debug)]
pub struct WorkflowRun {
    pub name: String,
    /// Any JSON: `trigger.body` in expressions.
    pub input: Value,
    /// A second run with the same key within a week is the first one.
    pub idempotency_key: Option<String>,
}

/// A run with all that it left.
#[derive(Debug, Serialize)]
pub struct RunView {
    #[serde(flatten)]
    pub run: RunHead,
    pub input: TriggerFacts,
    /// Each attempt of each step, in order.
    pub attempts: Vec<Attempt>,
    /// Of the last step that gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The answer to an HTTP trigger, where a step gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Value>,
    pub end: Option<RunEnd>,
}

/// What became of a file that was run without being deployed.
#[derive(Debug, Serialize)]
pub struct LocalRun {
    pub run: RunId,
    pub state: RunState,
    pub attempts: Vec<Attempt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    pub end: RunEnd,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowRuns {
    pub name: String,
    pub state: Option<RunState>,
    /// The `next` of the page before.
    pub after: Option<String>,
    pub limit: usize,
}

#[derive(Debug, Serialize)]
pub struct WorkflowRemoved {
    pub name: String,
    pub removed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Cancelled {
    pub runs: Vec<RunHead>,
}

impl Deputy {
    pub(super) async fn engine(&self) -> Result<&Engine, Error> {
        Ok(&self.opened().await?.engine)
    }

    /// Checks a file, keeps its programs, and makes it what runs under its name from now on.
    pub async fn workflow_deploy(&self, caller: &Caller, file: &WorkflowFile) -> Result<WorkflowDeployed, Error> {
        let ready = self.workflow_ready(caller, file).await?;
        let bindings = self.bindings(&ready).await?;
        let Ready { checked: Checked { workflow, .. }, programs } = ready;
        let rebound = self.rebound(caller, &workflow.name, &bindings).await?;
        let deployment = Deployment { workflow, source: file.text.clone(), bindings, due: BTreeMap::new() };
        let placed = self.engine().await?.deploy(&caller.owner, deployment.clone(), &programs).await?;
        let name = placed.deployed.name.clone();
        let mut next = vec![format!("deputy workflow run {name}")];
        if !deployment.workflow.triggers.is_empty() {
            next.push("deputy serve".to_owned());
        }
        Ok(WorkflowDeployed {
            hooks: self.hooks_of(&placed.deployed, &deployment.workflow.triggers),
            schedules: schedules(&deployment.workflow.triggers),
            version: placed.deployed.version,
            deployed: placed.is_new,
            enabled: placed.deployed.enabled,
            rebound,
            name,
            next,
        })
    }

    /// What a deployment changes in accounts: a file does not know of `account replace`.
    async fn rebound(&self, caller: &Caller, name: &str, new: &Bindings) -> Result<Vec<Rebound>, Error> {
        let opened = self.opened().await?;
        let Some(old) = opened.engine.records().deployed(&caller.owner, name).await? else { return Ok(Vec::new()) };
        let mut rebound = Vec::new();
        for (step, props) in &old.value.bindings {
            for (prop, binding) in props {
                let now = new.get(step).and_then(|props| props.get(prop));
                if let Some(now) = now.filter(|now| now.account != binding.account) {
                    let from = self.account_name(caller, &binding.account).await?;
                    let to = self.account_name(caller, &now.account).await?;
                    rebound.push(Rebound { step: step.clone(), prop: prop.clone(), from, to });
                }
            }
        }
        Ok(rebound)
    }

    /// `app/nickname`; of an account that is gone its id, and that it is gone.
    async fn account_name(&self, caller: &Caller, id: &AccountId) -> Result<String, Error> {
        match self.opened().await?.accounts.show(caller, id.as_str()).await {
            Ok(account) => Ok(account.name),
            Err(AccountError::NotFound { .. }) => Ok(format!("{id} (deleted)")),
            // Damaged, or sealed with another key: shown by what is known of it.
            Err(_) => Ok(id.to_string()),
        }
    }

    /// Each account of a checked file with the scopes that its step needs.
    async fn bindings(&self, ready: &Ready) -> Result<Bindings, Error> {
        let mut bindings = Bindings::new();
        for (step, bound) in ready.checked.workflow.steps.iter().zip(&ready.checked.bindings) {
            let mut props = BTreeMap::new();
            for (prop, facts) in bound {
                let scopes = self.needed(step, prop, facts, &ready.programs).await?;
                props.insert(prop.clone(), Binding { account: facts.id.clone(), scopes });
            }
            if !props.is_empty() {
                bindings.insert(step.name.clone(), props);
            }
        }
        Ok(bindings)
    }

    async fn needed(
        &self,
        step: &Step,
        prop: &str,
        facts: &AccountFacts,
        programs: &BTreeMap<String, Program>,
    ) -> Result<Vec<String>, Error> {
        match &step.what {
            StepWhat::Http(_) => Ok(Vec::new()),
            StepWhat::Action { action, .. } => {
                let action = facts.declaration.actions.iter().find(|known| known.name == *action);
                let granted = facts.scopes.clone().unwrap_or_default();
                // All of one of the lists: the one that the account has, else the first.
                let lists = action.map(|action| action.scopes.as_slice()).unwrap_or_default();
                let has = |list: &&Vec<String>| list.iter().all(|scope| granted.contains(scope));
                Ok(lists.iter().find(has).or(lists.first()).cloned().unwrap_or_default())
            }
            StepWhat::Program { hash, .. } => {
                let Some(program) = programs.get(hash) else { return Ok(Vec::new()) };
                let props = self.steps()?.check(program).await?;
                let need = props.into_iter().find_map(|known| match known.kind {
                    PropKind::App(need) if known.name == prop => Some(need.scopes),
                    _ => None,
                });
                Ok(need.unwrap_or_default())
            }
        }
    }

    fn hooks_of(&self, deployed: &Deployed, triggers: &[Trigger]) -> Vec<Hook> {
        let base = self.config.serve.base(self.listening.get().copied());
        let hooks = triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Http(http) => Some(match (&http.verify, &deployed.hook) {
                (Verify::Signature(signature), _) => Hook {
                    url: format!("{base}/hooks/{}", deployed.id),
                    verify: "signature",
                    key_env: Some(signature.key_env.clone()),
                },
                (Verify::SecretPath, Some(token)) => {
                    Hook { url: format!("{base}/hooks/{}", token.reveal()), verify: "secret_path", key_env: None }
                }
                (Verify::SecretPath, None) => return None,
            }),
            Trigger::Schedule(_) => None,
        });
        hooks.collect()
    }

    /// By name.
    pub async fn workflow_list(
        &self,
        caller: &Caller,
        after: Option<&str>,
        limit: usize,
    ) -> Result<WorkflowsPage, Error> {
        let limit = limit.clamp(1, MAX_PAGE);
        let mut workflows = self.engine().await?.records().workflows(&caller.owner, after, limit + 1).await?;
        let more = workflows.len() > limit;
        workflows.truncate(limit);
        let next = workflows.last().filter(|_| more).map(|last| last.name.clone());
        Ok(WorkflowsPage { workflows, next })
    }

    pub async fn workflow_show(&self, caller: &Caller, name: &str) -> Result<WorkflowView, Error> {
        let opened = self.opened().await?;
        let records = opened.engine.records();
        let owner = &caller.owner;
        let deployed = records.must_be_deployed(owner, name).await?.value;
        let version = records.version(owner, name, deployed.version).await?;
        let head = records.workflow_head(owner, name).await?;
        let head = head.ok_or_else(|| Error::new("record_refused", format!("the head of {name} is missing")))?;
        let mut names: BTreeMap<AccountId, String> = BTreeMap::new();
        let mut accounts: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (step, props) in &deployed.bindings {
            for (prop, binding) in props {
                let id = &binding.account;
                if !names.contains_key(id) {
                    names.insert(id.clone(), self.account_name(caller, id).await?);
                }
                let name = names.get(id).cloned().unwrap_or_default();
                accounts.entry(step.clone()).or_default().insert(prop.clone(), name);
            }
        }
        let mut runs = BTreeMap::new();
        for state in RunState::ALL {
            runs.insert(state.word(), records.runs_in(owner, name, state).await?);
        }
        let latest = records.runs(owner, name, None, None, 5).await?.runs;
        let schedules = if deployed.enabled { schedules(&version.workflow.triggers) } else { Vec::new() };
        Ok(WorkflowView {
            hooks: self.hooks_of(&deployed, &version.workflow.triggers),
            head,
            schedules,
            accounts,
            runs,
            latest,
        })
    }

    /// What happens to runs in this process, as it happens.
    pub async fn workflow_events(&self) -> Result<broadcast::Receiver<Event>, Error> {
        Ok(self.engine().await?.listen())
    }

    /// Stores a run and works on it until it has ended. Runs of the workflow that wait in front of it, or that another
    /// process left under way, come first. After [`Deputy::workflow_stop`] it gives the run as it is then.
    pub async fn workflow_run(&self, caller: &Caller, run: WorkflowRun) -> Result<RunView, Error> {
        let engine = self.engine().await?;
        let submission = Submission {
            kind: TriggerKind::Hand,
            trigger: by_hand(run.input, engine.records().now()),
            idempotency: run.idempotency_key,
        };
        let submitted = engine.submit(&caller.owner, &run.name, &submission).await?;
        let driven = engine.drive(&caller.owner, &run.name, &submitted.run).await;
        engine.stop(GRACE).await;
        driven?;
        self.run_show(caller, submitted.run.as_str()).await
    }

    /// Ends the work on runs in this process: no step begins, those under way may end.
    pub async fn workflow_stop(&self) {
        if let Some(opened) = self.opened.get() {
            opened.engine.stop(GRACE).await;
        }
    }

    /// Runs a file without deploying it. Nothing is stored but what its steps store elsewhere; `live` gets what happens.
    pub async fn workflow_local(
        &self,
        caller: &Caller,
        file: &WorkflowFile,
        input: Value,
        live: &WorkflowLive,
    ) -> Result<LocalRun, Error> {
        let Ready { checked, programs } = self.workflow_ready(caller, file).await?;
        let of_step = |bound: &BTreeMap<String, AccountFacts>| {
            bound.iter().map(|(prop, facts)| (prop.clone(), facts.id.clone())).collect()
        };
        let steps = checked.workflow.steps.iter().zip(&checked.bindings);
        let now = Time::now();
        let run = RunId::new();
        let worker = self.worker().await?;
        let journal = Kept::default();
        let execution = Execution {
            caller: Caller { owner: caller.owner.clone(), via: Via::Run(run.clone()) },
            id: run.clone(),
            workflow: &checked.workflow,
            accounts: steps.map(|(step, bound)| (step.name.clone(), of_step(bound))).collect(),
            programs,
            trigger: by_hand(input, now),
            started_at: now,
            work: &worker,
            journal: &journal,
            live: &live.0,
            stop: &CancellationToken::new(),
            margin: Duration::from_secs(60),
        };
        let (state, end) = match execution.execute(Vec::new()).await {
            Left::Ended(state, end) => (state, end),
            Left::Broken(error) => return Err(error.into()),
            Left::Lost | Left::Stopped => return Err(Error::new("workflow_internal", "the run was lost")),
        };
        live.0.tell(&run, || Happened::Ended { state });
        let attempts = journal.attempts();
        Ok(LocalRun { run, state, output: output(&attempts), attempts, end })
    }

    /// Here, or of the process that has the store.
    pub async fn workflow_runs(&self, caller: &Caller, list: WorkflowRuns) -> Result<RunsPage, Error> {
        match self.runs_here(caller, list.clone()).await {
            Err(error) if control::is_elsewhere(&error) => {
                control::ask(&self.config.data, &Question::Runs { list }, error).await
            }
            page => page,
        }
    }

    pub(super) async fn runs_here(&self, caller: &Caller, list: WorkflowRuns) -> Result<RunsPage, Error> {
        let records = self.engine().await?.records();
        let after = match &list.after {
            None => None,
            Some(cursor) => Some(cursor.parse::<RunId>().map_err(|error| {
                Error::new("cursor_invalid", error.to_string()).with_fix("take the `next` of the page before")
            })?),
        };
        let page = records.runs(&caller.owner, &list.name, list.state, after.as_ref(), list.limit).await?;
        if page.runs.is_empty() && page.total == 0 {
            // A name that never was is told as such; one that was removed still has its runs.
            records.must_be_deployed(&caller.owner, &list.name).await?;
        }
        Ok(page)
    }

    /// A run with its steps: state, times, output, error, logs, requests. Here, or of the process that has the store.
    pub async fn run_show(&self, caller: &Caller, run: &str) -> Result<RunView, Error> {
        match self.run_here(caller, run).await {
            Err(error) if control::is_elsewhere(&error) => {
                let question = Question::Run { run: run.to_owned() };
                Ok(control::ask::<RunParts>(&self.config.data, &question, error).await?.into())
            }
            view => view,
        }
    }

    pub(super) async fn run_here(&self, caller: &Caller, run: &str) -> Result<RunView, Error> {
        let id = run_id(run)?;
        let records = self.engine().await?.records();
        let head = records.must_be_run(&caller.owner, &id).await?;
        let parts = records.parts_of(&caller.owner, &id).await?;
        let parts = parts.ok_or_else(|| Error::new("record_refused", format!("the record of {id} is incomplete")))?;
        Ok(RunView {
            input: parts.start.trigger,
            output: head.state.has_ended().then(|| output(&parts.attempts)).flatten(),
            respond: parts.attempts.iter().find_map(|attempt| attempt.respond.clone()),
            attempts: parts.attempts,
            end: parts.end,
            run: head,
        })
    }

    /// Whether some other process may be at work on runs of this store while this one looks on.
    pub async fn runs_elsewhere(&self) -> Result<bool, Error> {
        match self.engine().await {
            Err(error) if control::is_elsewhere(&error) => Ok(true),
            engine => Ok(!engine?.records().is_exclusive()),
        }
    }

    /// Ends one run, or all of a workflow that have not ended; here, or in the process that has the store.
    pub async fn workflow_cancel(&self, caller: &Caller, what: &str) -> Result<Cancelled, Error> {
        match self.cancel_here(caller, what).await {
            Err(error) if control::is_elsewhere(&error) => {
                control::ask(&self.config.data, &Question::Cancel { what: what.to_owned() }, error).await
            }
            cancelled => cancelled,
        }
    }

    pub(super) async fn cancel_here(&self, caller: &Caller, what: &str) -> Result<Cancelled, Error> {
        let engine = self.engine().await?;
        if let Ok(run) = what.parse::<RunId>() {
            return Ok(Cancelled { runs: vec![engine.cancel(&caller.owner, &run).await?] });
        }
        let records = engine.records();
        records.must_be_deployed(&caller.owner, what).await?;
        let mut runs = Vec::new();
        for state in [RunState::Queued, RunState::Running] {
            loop {
                let page = records.runs(&caller.owner, what, Some(state), None, 100).await?;
                if page.runs.is_empty() {
                    break;
                }
                for head in page.runs {
                    match engine.cancel(&caller.owner, &head.id).await {
                        Ok(head) => runs.push(head),
                        Err(error) if error.code() == "run_ended" => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(Cancelled { runs })
    }

    pub async fn workflow_enable(&self, caller: &Caller, name: &str, enabled: bool) -> Result<WorkflowView, Error> {
        self.engine().await?.set_enabled(&caller.owner, name, enabled).await?;
        self.workflow_show(caller, name).await
    }

    /// Forgets a workflow. Its runs stay to be looked at.
    pub async fn workflow_remove(&self, caller: &Caller, name: &str) -> Result<WorkflowRemoved, Error> {
        let removed = self.engine().await?.records().remove(&caller.owner, name).await?;
        Ok(WorkflowRemoved { name: removed.name, removed: true })
    }

    /// Where an account is used: in workflows, and by hand.
    pub async fn account_uses(&self, caller: &Caller, account: &AccountId) -> Result<Vec<Use>, Error> {
        Ok(self.engine().await?.records().uses_of(&caller.owner, account).await?)
    }
}

/// Who watches a run that is not deployed.
#[derive(Clone, Default)]
pub struct WorkflowLive(Live);

impl WorkflowLive {
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.0.listen()
    }
}

pub(super) fn run_id(text: &str) -> Result<RunId, Error> {
    text.parse().map_err(|error: crate::ids::InvalidId| {
        Error::new("run_not_found", error.to_string()).with_fix("see `deputy workflow runs NAME`")
    })
}

fn by_hand(body: Value, now: Time) -> TriggerFacts {
    TriggerFacts {
        kind: TriggerKind::Hand.word().to_owned(),
        body,
        headers: BTreeMap::new(),
        query: BTreeMap::new(),
        method: None,
        time: now.to_string(),
    }
}

fn schedules(triggers: &[Trigger]) -> Vec<ScheduleView> {
    let views = triggers.iter().filter_map(|trigger| match trigger {
        Trigger::Schedule(schedule) => Some(ScheduleView {
            cron: schedule.cron.clone(),
            zone: schedule.zone.clone(),
            next_at: Timetable::new(schedule).ok().and_then(|table| table.after(Time::now())),
        }),
        Trigger::Http(_) => None,
    });
    views.collect()
}
