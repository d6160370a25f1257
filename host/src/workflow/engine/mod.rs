//! Executes runs: takes them from the queues, resumes what others left, fires schedules, and ends without losing any.
//!
//! The truth lies in the records; what stands in memory here is who waits for what. One loop in a process decides
//! ([`Engine::serve`]), each run is a task of its own. A store that failed ends the loop: nothing is acknowledged from
//! then on, and [`Engine::health`] says why.

pub mod live;
pub mod run;
mod serve;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::live::{Event, Happened, Live};
use self::run::{Execution, Journal, Left};
use super::programs::Programs;
use super::records::{
    Attempt, Bindings, Claim, Deployed, Deployment, Failure, NodeId, Placed, Records, RunEnd, RunHead, RunState,
    Submission, Submitted, Version, WorkflowRef,
};
use super::schedule::Timetable;
use super::{StepWhat, Trigger, Work, WorkflowError};
use crate::caller::{Caller, Owner, Via};
use crate::ids::{AccountId, RunId};
use crate::step::Program;
use crate::time::Time;

#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Runs at a time in this process, of all workflows together.
    pub max_runs: usize,
    /// Beyond a step's own time limit, for the wait in front of the sandbox.
    pub margin: Duration,
    /// How often due times are looked for.
    pub tick: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { max_runs: 64, margin: Duration::from_secs(60), tick: Duration::from_secs(1) }
    }
}

#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    records: Records,
    programs: Programs,
    work: Arc<dyn Work>,
    config: EngineConfig,
    node: NodeId,
    live: Live,
    /// Runs under way here, with what ends each at once.
    running: Mutex<HashMap<RunId, Running>>,
    permits: Arc<Semaphore>,
    /// Queues that may have got something to take.
    wake: mpsc::UnboundedSender<WorkflowRef>,
    /// Taken by the loop.
    woken: Mutex<Option<mpsc::UnboundedReceiver<WorkflowRef>>>,
    tasks: TaskTracker,
    /// Nothing new begins.
    stop: CancellationToken,
    /// Why the store takes no more.
    failed: OnceLock<String>,
}

struct Running {
    claim: Claim,
    end: CancellationToken,
}

impl Engine {
    pub fn new(
        records: Records,
        programs: Programs,
        work: Arc<dyn Work>,
        config: EngineConfig,
    ) -> Result<Self, WorkflowError> {
        let (wake, woken) = mpsc::unbounded_channel();
        let inner = Inner {
            records,
            programs,
            work,
            config,
            node: NodeId::generate()?,
            live: Live::default(),
            running: Mutex::default(),
            permits: Arc::new(Semaphore::new(config.max_runs.max(1))),
            wake,
            woken: Mutex::new(Some(woken)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            failed: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn records(&self) -> &Records {
        &self.inner.records
    }

    pub fn listen(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.inner.live.listen()
    }

    /// None: well. Otherwise why nothing is taken any more.
    pub fn health(&self) -> Option<&str> {
        self.inner.failed.get().map(String::as_str)
    }

    /// Keeps the programs, then makes a version of a checked file.
    pub async fn deploy(
        &self,
        owner: &Owner,
        deployment: Deployment,
        programs: &BTreeMap<String, Program>,
    ) -> Result<Placed, WorkflowError> {
        for (hash, program) in programs {
            let kept = self.inner.programs.keep(super::programs::bytes(program))?;
            if kept != *hash {
                return Err(WorkflowError::Internal(format!("the program {hash} is not what was checked")));
            }
        }
        let due = due_times(&deployment.workflow.triggers, self.inner.records.now())?;
        self.inner.records.deploy(owner, &Deployment { due, ..deployment }).await
    }

    pub async fn set_enabled(&self, owner: &Owner, name: &str, enabled: bool) -> Result<Deployed, WorkflowError> {
        let records = &self.inner.records;
        let mut due = BTreeMap::new();
        if enabled {
            let deployed = records.must_be_deployed(owner, name).await?.value;
            let version = records.version(owner, name, deployed.version).await?;
            due = due_times(&version.workflow.triggers, records.now())?;
        }
        records.set_enabled(owner, name, enabled, &due).await
    }

    /// Stores a run; the loop takes it when its turn comes.
    pub async fn submit(&self, owner: &Owner, name: &str, submission: &Submission) -> Result<Submitted, WorkflowError> {
        let inner = &self.inner;
        if inner.stop.is_cancelled() {
            return Err(WorkflowError::Stopping);
        }
        let submitted = inner.noticed(inner.records.submit(owner, name, submission).await)?;
        inner.wake(&WorkflowRef { owner: owner.clone(), name: name.to_owned() });
        Ok(submitted)
    }

    /// Ends a run that waits or runs. What a step has sent by then is sent.
    pub async fn cancel(&self, owner: &Owner, run: &RunId) -> Result<RunHead, WorkflowError> {
        let inner = &self.inner;
        let head = inner.noticed(inner.records.cancel(owner, run).await)?;
        if let Some(running) = inner.running().get(run) {
            running.end.cancel();
        }
        inner.live.tell(run, || Happened::Ended { state: RunState::Cancelled });
        inner.wake(&WorkflowRef { owner: owner.clone(), name: head.workflow.clone() });
        Ok(head)
    }

    /// Waits until a run has ended, or the time is over.
    pub async fn ended(&self, owner: &Owner, run: &RunId, within: Duration) -> Result<Option<RunHead>, WorkflowError> {
        let mut events = self.listen();
        let deadline = tokio::time::Instant::now() + within;
        loop {
            let head = self.inner.records.must_be_run(owner, run).await?;
            if head.state.has_ended() {
                return Ok(Some(head));
            }
            // An event of this process, or a look at the records now and then: another process may work on it.
            let next = async {
                loop {
                    match events.recv().await {
                        Ok(event) if event.run == *run && matches!(event.what, Happened::Ended { .. }) => break,
                        Ok(_) => {}
                        Err(_) => tokio::time::sleep(self.inner.config.tick).await,
                    }
                }
            };
            tokio::select! {
                () = next => {}
                () = tokio::time::sleep(self.inner.config.tick) => {}
                () = tokio::time::sleep_until(deadline) => return Ok(None),
            }
        }
    }
}

/// When each schedule is due first.
fn due_times(triggers: &[Trigger], now: Time) -> Result<BTreeMap<usize, Time>, WorkflowError> {
    let mut due = BTreeMap::new();
    for (index, trigger) in triggers.iter().enumerate() {
        if let Trigger::Schedule(schedule) = trigger {
            let table = Timetable::new(schedule)
                .map_err(|reason| WorkflowError::Schedule { cron: schedule.cron.clone(), reason })?;
            due.extend(table.after(now).map(|at| (index, at)));
        }
    }
    Ok(due)
}

impl Inner {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, target: &WorkflowRef) {
        // Without a loop there is nobody to wake; the next one looks into every queue.
        let _ = self.wake.send(target.clone());
    }

    /// Remembers that the store failed.
    fn noticed<T>(&self, result: Result<T, WorkflowError>) -> Result<T, WorkflowError> {
        if let Err(WorkflowError::Store(error)) = &result
            && matches!(error.code(), "store_failed" | "store_corrupt")
        {
            // The first reason is the one that helps.
            let _ = self.failed.set(error.to_string());
            self.stop.cancel();
        }
        result
    }

    /// Works on one claimed run in a task of its own. The permit goes back with its end.
    fn carry(self: &Arc<Self>, claim: Claim, permit: OwnedSemaphorePermit) {
        let end = CancellationToken::new();
        let run = claim.run().clone();
        self.running().insert(run.clone(), Running { claim: claim.clone(), end: end.clone() });
        let inner = self.clone();
        self.tasks.spawn(async move {
            let work = AssertUnwindSafe(inner.execute(&claim)).catch_unwind();
            let left = tokio::select! {
                biased;
                () = end.cancelled() => Ok(Left::Lost),
                left = work => left,
            };
            // A panic is a fault of ours: the run must not stay with a node that does not work on it.
            let left =
                left.unwrap_or_else(|_| Left::Ended(RunState::Failed, broken("workflow_internal", "it panicked")));
            let ended = match left {
                Left::Ended(state, end) => match inner.noticed(inner.records.end(&claim, state, &end).await) {
                    Ok(true) => Some(state),
                    Ok(false) => None,
                    Err(error) => {
                        tracing::error!("the end of {run} cannot be stored: {error}");
                        None
                    }
                },
                Left::Lost | Left::Stopped => None,
                Left::Broken(error) => {
                    tracing::error!("what {run} left cannot be stored: {error}");
                    None
                }
            };
            inner.running().remove(&run);
            if let Some(state) = ended {
                inner.live.tell(&run, || Happened::Ended { state });
            }
            drop(permit);
            inner.wake(&WorkflowRef { owner: claim.owner, name: claim.head.workflow });
        });
    }

    async fn execute(&self, claim: &Claim) -> Left {
        match self.prepare(claim).await {
            Ok(prepared) => {
                let run = claim.run().clone();
                let journal = Stored { records: &self.records, claim, inner: self };
                let execution = Execution {
                    caller: Caller { owner: claim.owner.clone(), via: Via::Run(run.clone()) },
                    id: run,
                    workflow: &prepared.version.workflow,
                    accounts: accounts(&prepared.bindings),
                    programs: prepared.programs,
                    trigger: prepared.trigger,
                    started_at: claim.head.started_at.unwrap_or(claim.head.created_at),
                    work: &*self.work,
                    journal: &journal,
                    live: &self.live,
                    stop: &self.stop,
                    margin: self.config.margin,
                };
                execution.execute(prepared.attempts).await
            }
            Err(error) => match self.noticed(Err::<(), _>(error)) {
                Err(WorkflowError::Store(error)) => Left::Broken(error.into()),
                Err(error) => Left::Ended(RunState::Failed, broken(error.code(), &error.to_string())),
                Ok(()) => Left::Lost,
            },
        }
    }

    /// Everything that a run needs, opened and held against its place.
    async fn prepare(&self, claim: &Claim) -> Result<Prepared, WorkflowError> {
        let (owner, name, run) = (&claim.owner, &claim.head.workflow, claim.run());
        let parts = self.records.parts_of(owner, run).await?;
        let parts = parts.ok_or_else(|| WorkflowError::Damaged(format!("the record of {run} is incomplete")))?;
        // The sealed record has the last word about what runs.
        if parts.start.workflow != *name || parts.start.version != claim.head.version {
            return Err(WorkflowError::Damaged(format!(
                "the record of {run} is not used: it belongs to another workflow"
            )));
        }
        let version = self.records.version(owner, name, parts.start.version).await?;
        // Of the current version, as they are now: an account may have been replaced.
        let bindings = match self.records.deployed(owner, name).await? {
            Some(deployed) if deployed.value.version == version.number => deployed.value.bindings,
            _ => version.bindings.clone(),
        };
        let mut programs = BTreeMap::new();
        for step in &version.workflow.steps {
            if let StepWhat::Program { path, hash } = &step.what {
                programs.insert(hash.clone(), self.programs.load(hash, path)?);
            }
        }
        Ok(Prepared { version, bindings, programs, trigger: parts.start.trigger, attempts: parts.attempts })
    }
}

struct Prepared {
    version: Version,
    bindings: Bindings,
    programs: BTreeMap<String, Program>,
    trigger: super::expression::TriggerFacts,
    attempts: Vec<Attempt>,
}

fn broken(code: &str, message: &str) -> RunEnd {
    let error = Failure { code: code.to_owned(), message: message.to_owned(), fix: None };
    RunEnd { step: None, error: Some(error), exit: None }
}

pub fn accounts(bindings: &Bindings) -> BTreeMap<String, BTreeMap<String, AccountId>> {
    let of_step = |props: &BTreeMap<String, super::records::Binding>| {
        props.iter().map(|(prop, binding)| (prop.clone(), binding.account.clone())).collect()
    };
    bindings.iter().map(|(step, props)| (step.clone(), of_step(props))).collect()
}

/// Records under the fence of a claim.
struct Stored<'s> {
    records: &'s Records,
    claim: &'s Claim,
    inner: &'s Inner,
}

impl Journal for Stored<'_> {
    fn record<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<bool, WorkflowError>> {
        Box::pin(async move { self.inner.noticed(self.records.record(self.claim, attempt).await) })
    }

    fn now(&self) -> Time {
        self.records.now()
    }
}
