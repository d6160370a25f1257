//! The loop that decides what runs next.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Engine, Inner};
use crate::caller::Owner;
use crate::ids::RunId;
use crate::workflow::records::nodes::HEARTBEAT;
use crate::workflow::records::{Claim, Due, RunHead, WorkflowRef};
use crate::workflow::schedule::Timetable;
use crate::workflow::{Trigger, WorkflowError};

/// Queues looked into at once.
const MOST_QUEUES: usize = 10_000;
/// Due times fired in one go.
const DUE: usize = 64;
/// Active runs looked at in one read.
const PAGE: usize = 64;

/// Which runs the loop takes.
#[derive(Clone)]
enum Scope {
    /// All there are, and schedules.
    All,
    /// Those of one workflow, up to this run: what `deputy workflow run` needs.
    UpTo(WorkflowRef, RunId),
}

struct Loop {
    inner: Arc<Inner>,
    scope: Scope,
    /// Queues that may have something to take, each once. Whoever got a turn stands at the end again.
    ready: VecDeque<WorkflowRef>,
    /// There may be runs that a dead node left.
    orphans: bool,
    /// Of the runs asked for, all are taken.
    full: bool,
}

impl Engine {
    /// Works until [`Engine::stop`], or until the store fails.
    pub async fn serve(&self) {
        self.work(Scope::All).await;
    }

    /// Works on one workflow until this run has ended, and gives it. Runs that wait in front of it come first.
    pub async fn drive(&self, owner: &Owner, workflow: &str, run: &RunId) -> Result<RunHead, WorkflowError> {
        let target = WorkflowRef { owner: owner.clone(), name: workflow.to_owned() };
        let work = self.work(Scope::UpTo(target, run.clone()));
        let ended = async {
            loop {
                if let Some(head) = self.ended(owner, run, Duration::from_secs(60)).await? {
                    return Ok(head);
                }
            }
        };
        tokio::select! {
            () = work => {}
            ended = ended => return ended,
        }
        match self.health() {
            Some(reason) => Err(crate::store::StoreError::Failed(reason.to_owned()).into()),
            // Stopped from outside: the run goes on when somebody takes it up again.
            None => self.inner.records.must_be_run(owner, run).await,
        }
    }

    /// Lets no new step begin, gives those under way `grace` to end, and cuts off the rest: the next process goes on
    /// behind the last step that was recorded.
    pub async fn stop(&self, grace: Duration) {
        let inner = &self.inner;
        inner.stop.cancel();
        inner.tasks.close();
        if tokio::time::timeout(grace, inner.tasks.wait()).await.is_err() {
            for running in inner.running().values() {
                running.end.cancel();
            }
            inner.tasks.wait().await;
        }
        if let Err(error) = inner.records.retire(&inner.node).await {
            tracing::warn!("this node cannot sign off, and counts as alive for a minute: {error}");
        }
    }

    async fn work(&self, scope: Scope) {
        let woken = self.inner.woken.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(woken) = woken else {
            tracing::error!("the engine works already");
            return;
        };
        let work = Loop { inner: self.inner.clone(), scope, ready: VecDeque::new(), orphans: true, full: false };
        if let Err(error) = work.run(woken).await {
            tracing::error!("the engine stopped: {error}");
            let _ = self.inner.failed.set(error.to_string());
        }
    }
}

impl Loop {
    async fn run(mut self, mut woken: UnboundedReceiver<WorkflowRef>) -> Result<(), WorkflowError> {
        let inner = self.inner.clone();
        inner.noticed(inner.records.beat(&inner.node).await)?;
        match &self.scope {
            Scope::All => self.ready.extend(inner.noticed(inner.records.waiting(MOST_QUEUES).await)?),
            Scope::UpTo(target, _) => self.ready.push_back(target.clone()),
        }
        let mut tick = interval(inner.config.tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beaten = Instant::now();
        while !inner.stop.is_cancelled() {
            self.take().await?;
            tokio::select! {
                () = inner.stop.cancelled() => break,
                Some(target) = woken.recv() => {
                    self.push(target);
                    while let Ok(target) = woken.try_recv() {
                        self.push(target);
                    }
                }
                _ = tick.tick() => {
                    self.look().await?;
                    if beaten.elapsed() >= HEARTBEAT {
                        beaten = Instant::now();
                        self.beat().await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, target: WorkflowRef) {
        let wanted = match &self.scope {
            Scope::All => true,
            Scope::UpTo(only, _) => *only == target,
        };
        if wanted && !self.ready.contains(&target) {
            self.ready.push_back(target);
        }
    }

    /// Takes what there is room for: first what others left, then the queues in turn.
    async fn take(&mut self) -> Result<(), WorkflowError> {
        if self.orphans {
            self.adopt().await?;
        }
        while !self.full {
            let Some(target) = self.ready.pop_front() else { break };
            let Ok(permit) = self.inner.permits.clone().try_acquire_owned() else {
                self.ready.push_front(target);
                break;
            };
            let Some(claim) = self.claim(&target).await? else { continue };
            self.carry(claim, permit);
            self.ready.push_back(target);
        }
        Ok(())
    }

    fn carry(&mut self, claim: Claim, permit: OwnedSemaphorePermit) {
        self.full |= matches!(&self.scope, Scope::UpTo(_, run) if run == claim.run());
        self.inner.carry(claim, permit);
    }

    /// The next run of a workflow. A queue that cannot be read is left alone, and told: it must not hold up the others.
    async fn claim(&self, target: &WorkflowRef) -> Result<Option<Claim>, WorkflowError> {
        let inner = &self.inner;
        let claimed = async {
            let deployed = inner.records.deployed(&target.owner, &target.name).await?;
            let limit = deployed.and_then(|deployed| deployed.value.concurrency).unwrap_or(u32::MAX);
            inner.records.claim_next(&inner.node, target, limit).await
        };
        match inner.noticed(claimed.await) {
            Err(error) if inner.failed.get().is_none() => {
                tracing::error!("no run of {} can be taken: {error}", target.name);
                Ok(None)
            }
            other => other,
        }
    }

    /// Runs whose node is gone.
    async fn adopt(&mut self) -> Result<(), WorkflowError> {
        let inner = self.inner.clone();
        let of = match &self.scope {
            Scope::All => None,
            Scope::UpTo(target, _) => Some(target.clone()),
        };
        let mut after = None;
        loop {
            let room = inner.permits.available_permits().min(PAGE);
            if room == 0 {
                // Again when a run has ended.
                return Ok(());
            }
            let (claims, next) = inner.noticed(inner.records.take_over(&inner.node, of.as_ref(), after, room).await)?;
            for claim in claims {
                let Ok(permit) = inner.permits.clone().try_acquire_owned() else { break };
                tracing::info!("{} is taken up again", claim.run());
                self.carry(claim, permit);
            }
            let Some(next) = next else { break };
            after = Some(next);
        }
        self.orphans = false;
        Ok(())
    }

    /// Once in a tick: schedules, and queues that other processes filled.
    async fn look(&mut self) -> Result<(), WorkflowError> {
        if let Scope::UpTo(target, _) = &self.scope {
            self.push(target.clone());
            return Ok(());
        }
        let inner = self.inner.clone();
        loop {
            let due = inner.noticed(inner.records.due(DUE).await)?;
            let count = due.len();
            for due in due {
                match self.fire(&due).await {
                    Err(error) if inner.failed.get().is_none() => {
                        tracing::error!("a schedule of {} cannot be fired: {error}", due.target.name);
                        inner.noticed(inner.records.forget_due(&due).await)?;
                    }
                    other => other?,
                }
            }
            if count < DUE {
                break;
            }
        }
        if !inner.records.is_exclusive() {
            for target in inner.noticed(inner.records.waiting(MOST_QUEUES).await)? {
                self.push(target);
            }
        }
        Ok(())
    }

    /// One run, however often the time came while nobody looked, and the next time from now on.
    async fn fire(&mut self, due: &Due) -> Result<(), WorkflowError> {
        let inner = self.inner.clone();
        let (owner, name) = (&due.target.owner, &due.target.name);
        let Some(deployed) = inner.noticed(inner.records.deployed(owner, name).await)? else {
            return inner.noticed(inner.records.forget_due(due).await);
        };
        let number = deployed.value.version;
        let version = inner.noticed(inner.records.version(owner, name, number).await)?;
        let Some(Trigger::Schedule(schedule)) = version.workflow.triggers.get(due.trigger) else {
            return inner.noticed(inner.records.forget_due(due).await);
        };
        let table = Timetable::new(schedule)
            .map_err(|reason| WorkflowError::Schedule { cron: schedule.cron.clone(), reason })?;
        let next = table.after(inner.records.now());
        if inner.noticed(inner.records.fire(due, next, number).await)?.is_some() {
            self.push(due.target.clone());
        }
        Ok(())
    }

    /// A sign of life, runs of others that show none, runs of ours that others took or cancelled, and old keys.
    async fn beat(&mut self) -> Result<(), WorkflowError> {
        let inner = self.inner.clone();
        inner.noticed(inner.records.beat(&inner.node).await)?;
        if !inner.records.is_exclusive() {
            self.orphans = true;
            let ours: Vec<Claim> = inner.running().values().map(|running| running.claim.clone()).collect();
            for claim in ours {
                if !inner.noticed(inner.records.holds(&claim).await)?
                    && let Some(running) = inner.running().get(claim.run())
                {
                    running.end.cancel();
                }
            }
        }
        inner.noticed(inner.records.sweep_idempotency().await)?;
        Ok(())
    }
}
