//! One run, from where it stands to its end.
//!
//! Steps run in order. What a step left is recorded before the next one begins, and an item of a `for-each` before its
//! step ends; so a run that is taken up again repeats at most what had begun and was not recorded: at least once. A
//! record that is refused means that the run belongs to somebody else, and ends the work here at once.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::live::Live;
use crate::caller::Caller;
use crate::ids::{AccountId, RunId};
use crate::step::Program;
use crate::time::Time;
use crate::workflow::expression::{Scope, StepError as Told, StepLeft, TriggerFacts};
use crate::workflow::records::{Attempt, AttemptState, Failure, RunEnd, RunState};
use crate::workflow::{OnError, Work, Workflow, WorkflowError};

/// What all steps of a run may leave together; it is held in memory while the run goes on.
pub(super) const MAX_RUN_BYTES: usize = 32 << 20;

/// Where what happened is kept.
pub trait Journal: Send + Sync {
    /// Durable when it returns. False: the run belongs to somebody else by now.
    fn record<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<bool, WorkflowError>>;
    fn now(&self) -> Time;
}

/// Keeps nothing beyond this process: for `deputy workflow run --local`.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Attempt>>);

impl Kept {
    pub fn attempts(self) -> Vec<Attempt> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Kept {
    fn record<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<bool, WorkflowError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(attempt.clone());
        Box::pin(async { Ok(true) })
    }

    fn now(&self) -> Time {
        Time::now()
    }
}

/// Everything that executing a run takes.
pub struct Execution<'e> {
    pub id: RunId,
    pub caller: Caller,
    pub workflow: &'e Workflow,
    /// Step → prop → account.
    pub accounts: BTreeMap<String, BTreeMap<String, AccountId>>,
    /// By hash.
    pub programs: BTreeMap<String, Program>,
    pub trigger: TriggerFacts,
    pub started_at: Time,
    pub work: &'e dyn Work,
    pub journal: &'e dyn Journal,
    pub live: &'e Live,
    /// Once it is cancelled, nothing new begins.
    pub stop: &'e CancellationToken,
    /// Beyond a step's own time limit, which the sandbox keeps without the wait for a slot.
    pub margin: Duration,
}

/// Why the work on a run is over.
#[derive(Debug)]
pub enum Left {
    Ended(RunState, RunEnd),
    /// It belongs to somebody else by now.
    Lost,
    /// This process ends: another one goes on.
    Stopped,
    Broken(WorkflowError),
}

/// How a step as a whole came out.
pub(super) struct Outcome {
    pub left: StepLeft,
    pub failure: Option<Failure>,
    pub exit: Option<String>,
}

/// What earlier work on the run recorded, by step.
#[derive(Default)]
pub(super) struct Known {
    /// The step as a whole.
    pub whole: Option<Attempt>,
    /// The last attempt of each item, and of a step without items at `None`.
    pub attempts: BTreeMap<Option<u32>, Attempt>,
}

/// While a run is under way.
pub(super) struct Progress {
    pub steps: BTreeMap<String, StepLeft>,
    /// Of all outputs together.
    pub bytes: AtomicUsize,
}

impl Execution<'_> {
    /// `attempts`: what was recorded before, in its order.
    pub async fn execute(&self, attempts: Vec<Attempt>) -> Left {
        let mut known = sort(attempts);
        let mut progress = Progress { steps: BTreeMap::new(), bytes: AtomicUsize::new(0) };
        for (index, step) in self.workflow.steps.iter().enumerate() {
            let before = known.remove(&(index as u32)).unwrap_or_default();
            let outcome = match self.step(index as u32, step, before, &progress).await {
                Ok(outcome) => outcome,
                Err(left) => return left,
            };
            match (outcome.failure, step.on_error) {
                (Some(failure), OnError::Fail) => {
                    let end = RunEnd { step: Some(step.name.clone()), error: Some(failure), exit: None };
                    return Left::Ended(RunState::Failed, end);
                }
                (_, OnError::Continue | OnError::Fail) => {}
            }
            progress.steps.insert(step.name.clone(), outcome.left);
            if let Some(reason) = outcome.exit {
                let end = RunEnd { step: Some(step.name.clone()), error: None, exit: Some(reason) };
                return Left::Ended(RunState::Done, end);
            }
        }
        Left::Ended(RunState::Done, RunEnd::default())
    }

    pub(super) fn scope(&self, progress: &Progress) -> Scope {
        let started_at = self.started_at.to_string();
        Scope::new(&self.workflow.name, self.id.as_str(), &started_at, &self.trigger, &progress.steps)
    }

    /// What a script sees of the run.
    pub(super) fn context(&self, progress: &Progress) -> Value {
        json!({ "steps": progress.steps, "trigger": self.trigger })
    }

    pub(super) async fn record(&self, attempt: Attempt) -> Result<Attempt, Left> {
        crate::killpoint::reach("step-before-record");
        match self.journal.record(&attempt).await {
            Ok(true) => {}
            Ok(false) => return Err(Left::Lost),
            Err(error) => return Err(Left::Broken(error)),
        }
        crate::killpoint::reach("step-recorded");
        self.live.tell(&self.id, || super::live::Happened::Left(Box::new(attempt.clone())));
        Ok(attempt)
    }
}

/// The records of a run by step.
fn sort(attempts: Vec<Attempt>) -> BTreeMap<u32, Known> {
    let mut known: BTreeMap<u32, Known> = BTreeMap::new();
    for attempt in attempts {
        let step = known.entry(attempt.index).or_default();
        if attempt.item.is_none() && attempt.is_last {
            step.whole = Some(attempt.clone());
        }
        // In the order of their numbers: the last one stays.
        step.attempts.insert(attempt.item, attempt);
    }
    known
}

/// How one attempt ends its step.
pub(super) fn outcome(attempt: Attempt) -> Outcome {
    let failure = attempt.error.clone();
    let error = failure.as_ref().map(|failure| Told { code: failure.code.clone(), message: failure.message.clone() });
    let left = StepLeft {
        output: attempt.output,
        exports: attempt.exports,
        error,
        skipped: attempt.state == AttemptState::Skipped,
    };
    Outcome { left, failure, exit: attempt.exit }
}

/// The output of a run: of the last step that ran and gave one. None: no step did.
pub fn output(attempts: &[Attempt]) -> Option<Value> {
    let last = attempts
        .iter()
        .filter(|attempt| attempt.item.is_none() && attempt.is_last)
        .rfind(|attempt| attempt.state == AttemptState::Done)?;
    if last.items.is_none() {
        return Some(last.output.clone());
    }
    let of_step = attempts.iter().filter(|attempt| attempt.index == last.index && attempt.is_last);
    let items = of_step.filter(|attempt| attempt.item.is_some()).map(|attempt| attempt.output.clone());
    Some(Value::Array(items.collect()))
}
