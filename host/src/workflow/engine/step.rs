//! One step of a run: `when`, `for-each`, `retry`, time limit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::sync::mpsc::unbounded_channel;

use super::live::Happened;
use super::run::{Execution, Known, Left, MAX_RUN_BYTES, Outcome, Progress, outcome};
use crate::step::{Ran, StepError};
use crate::workflow::expression::{self, EvalError, Scope, StepError as Told, StepLeft};
use crate::workflow::records::part::MAX_OUTPUT_BYTES;
use crate::workflow::records::{Attempt, AttemptState, Failure};
use crate::workflow::{OnError, Step, StepWhat, Task, TaskKind};

/// No wait between two attempts is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Of what went wrong, in bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Where in the run an attempt stands.
#[derive(Clone, Copy)]
struct At<'s> {
    index: u32,
    step: &'s Step,
    item: Option<u32>,
}

/// Why an attempt cannot be made at all, or left nothing: not worth another one.
struct Never(Failure);

impl Execution<'_> {
    pub(super) async fn step(
        &self,
        index: u32,
        step: &Step,
        known: Known,
        progress: &Progress,
    ) -> Result<Outcome, Left> {
        let at = At { index, step, item: None };
        if let Some(whole) = known.whole {
            return match whole.items {
                Some(items) => Ok(gathered(whole, items, known.attempts, progress)),
                None => Ok(outcome(counted(whole, progress))),
            };
        }
        if self.stop.is_cancelled() {
            return Err(Left::Stopped);
        }
        let scope = self.scope(progress);
        match expression::when(step, &scope) {
            Ok(true) => {}
            Ok(false) => {
                let skipped = Attempt { attempt: 0, ..self.blank(at, AttemptState::Skipped) };
                return Ok(outcome(self.record(skipped).await?));
            }
            Err(error) => return self.refuse(at, 1, failure_of(&error)).await.map(outcome),
        }
        match expression::items(step, &scope) {
            Ok(None) => {
                let last = self.attempts(at, &scope, known.attempts.into_values().next(), progress).await?;
                Ok(outcome(last))
            }
            Ok(Some(items)) => self.for_each(at, &scope, items, known.attempts, progress).await,
            Err(error) => self.refuse(at, 1, failure_of(&error)).await.map(outcome),
        }
    }

    /// Every item, so many at a time; outputs in the order of the items.
    async fn for_each(
        &self,
        at: At<'_>,
        scope: &Scope,
        items: Vec<Value>,
        mut known: BTreeMap<Option<u32>, Attempt>,
        progress: &Progress,
    ) -> Result<Outcome, Left> {
        let started_at = self.journal.now();
        let parallel = at.step.for_each.as_ref().map_or(1, |each| each.parallel.max(1)) as usize;
        let count = items.len() as u32;
        let mut ended: BTreeMap<Option<u32>, Attempt> = BTreeMap::new();
        let mut waiting: VecDeque<(u32, Value)> = VecDeque::new();
        for (number, item) in items.into_iter().enumerate() {
            let number = number as u32;
            match known.get(&Some(number)) {
                Some(attempt) if attempt.is_last => {
                    let attempt = known.remove(&Some(number)).map(|attempt| counted(attempt, progress));
                    ended.extend(attempt.map(|attempt| (Some(number), attempt)));
                }
                _ => waiting.push_back((number, item)),
            }
        }
        let mut under_way = FuturesUnordered::new();
        let mut ends = ended.values().any(|attempt| ends_step(at.step, attempt));
        let mut stopped = false;
        loop {
            stopped |= self.stop.is_cancelled();
            while under_way.len() < parallel && !ends && !stopped {
                let Some((number, item)) = waiting.pop_front() else { break };
                let scope = scope.with_item(number as usize, &item);
                let before = known.remove(&Some(number));
                let at = At { item: Some(number), ..at };
                under_way.push(async move { self.attempts(at, &scope, before, progress).await });
            }
            match under_way.next().await {
                Some(Ok(attempt)) => {
                    ends |= ends_step(at.step, &attempt);
                    ended.insert(attempt.item, attempt);
                }
                // The others end and are recorded first, so that they need not be repeated.
                Some(Err(Left::Stopped)) => stopped = true,
                Some(Err(left)) => return Err(left),
                None => break,
            }
        }
        if stopped && !ends && ended.len() < count as usize {
            return Err(Left::Stopped);
        }
        let failed = ended.values().find(|attempt| attempt.error.is_some());
        let error = failed.map(|attempt| {
            let item = attempt.item.unwrap_or(0);
            let failure = attempt.error.clone().unwrap_or_else(|| failure("step_failed", "it failed", None));
            Failure { message: format!("item {item}: {}", failure.message), ..failure }
        });
        let state = if error.is_some() { AttemptState::Failed } else { AttemptState::Done };
        let exit = ended.values().find_map(|attempt| attempt.exit.clone());
        let end = Attempt { attempt: 0, items: Some(count), error, exit, started_at, ..self.blank(at, state) };
        let end = self.record(end).await?;
        Ok(listed(end, count, ended))
    }

    /// Attempts until one is good or the last one is not. `before`: the last one that was recorded.
    async fn attempts(
        &self,
        at: At<'_>,
        scope: &Scope,
        before: Option<Attempt>,
        progress: &Progress,
    ) -> Result<Attempt, Left> {
        let mut number = before.map_or(1, |before| before.attempt + 1);
        loop {
            if self.stop.is_cancelled() {
                return Err(Left::Stopped);
            }
            let task = match self.task(at, scope, progress) {
                Ok(task) => task,
                Err(Never(failure)) => return self.refuse(at, number, failure).await,
            };
            let most = at.step.retry.attempts.max(1);
            let attempt = self.attempt(at, number, number >= most, task, progress).await?;
            if attempt.is_last {
                return Ok(attempt);
            }
            let wait = at.step.retry.delay.saturating_mul(1 << (number - 1).min(20)).min(LONGEST_WAIT);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => return Err(Left::Stopped),
            }
            number += 1;
        }
    }

    /// One attempt, and its record.
    async fn attempt(
        &self,
        at: At<'_>,
        number: u32,
        no_more: bool,
        mut task: Task,
        progress: &Progress,
    ) -> Result<Attempt, Left> {
        let started_at = self.journal.now();
        let (name, item) = (at.step.name.clone(), at.item);
        self.live.tell(&self.id, || Happened::Begun { step: name.clone(), item, attempt: number });
        let (sender, mut lines) = unbounded_channel();
        task.log = self.live.is_heard().then_some(sender);
        let tell = async {
            // Ends with the sender, and the step goes on.
            while let Some(line) = lines.recv().await {
                self.live.tell(&self.id, || Happened::Log { step: name.clone(), item, line });
            }
            std::future::pending::<()>().await;
        };
        let limit = at.step.timeout.saturating_add(self.margin);
        let perform = tokio::time::timeout(limit, self.work.perform(&self.caller, task));
        let ran = tokio::select! {
            biased;
            () = tell => Ran::unstarted(StepError::Internal("the log ended the step".to_owned())),
            ran = perform => ran.unwrap_or_else(|_| {
                let limit_ms = u64::try_from(at.step.timeout.as_millis()).unwrap_or(u64::MAX);
                Ran::unstarted(StepError::Deadline { limit_ms })
            }),
        };
        // What was written between the last look and the end.
        while let Ok(line) = lines.try_recv() {
            self.live.tell(&self.id, || Happened::Log { step: name.clone(), item, line });
        }
        let mut attempt = Attempt { attempt: number, started_at, ..self.blank(at, AttemptState::Done) };
        (attempt.cpu_ms, attempt.memory_peak_bytes) = (ran.cpu_ms, ran.memory_peak_bytes);
        attempt.keep_logs(ran.logs, ran.requests);
        match ran.result {
            Ok(output) => {
                attempt.output = output.value;
                (attempt.exports, attempt.exit, attempt.respond) = (output.exports, output.exit, output.respond);
                if let Err(failure) = fits(&attempt, &at.step.name, progress) {
                    attempt.output = Value::Null;
                    (attempt.exports, attempt.exit, attempt.respond) = (Default::default(), None, None);
                    (attempt.state, attempt.error) = (AttemptState::Failed, Some(failure));
                }
            }
            Err(error) => {
                attempt.is_last = no_more;
                attempt.state = AttemptState::Failed;
                attempt.error = Some(failure(error.code(), &error.to_string(), error.fix()));
            }
        }
        self.record(attempt).await
    }

    /// The step with its texts filled in and its program at hand.
    fn task(&self, at: At<'_>, scope: &Scope, progress: &Progress) -> Result<Task, Never> {
        let evaluated = expression::evaluate_step(at.step, scope).map_err(|error| Never(failure_of(&error)))?;
        let what = match &at.step.what {
            StepWhat::Program { hash, path } => {
                let program = self.programs.get(hash).cloned();
                TaskKind::Program(program.ok_or_else(|| {
                    Never(failure("program_failed", &format!("the program {path} is not at hand"), None))
                })?)
            }
            StepWhat::Action { app, action } => TaskKind::Action { app: app.clone(), action: action.clone() },
            StepWhat::Http(call) => TaskKind::Call(Arc::new(evaluated.call.unwrap_or_else(|| (**call).clone()))),
        };
        Ok(Task {
            run: self.id.clone(),
            step: at.step.name.clone(),
            what,
            accounts: self.accounts.get(&at.step.name).cloned().unwrap_or_default(),
            input: evaluated.input,
            context: self.context(progress),
            timeout: at.step.timeout,
            log: None,
        })
    }

    /// Records that an attempt could not be made.
    async fn refuse(&self, at: At<'_>, number: u32, failure: Failure) -> Result<Attempt, Left> {
        let attempt = Attempt { attempt: number, error: Some(failure), ..self.blank(at, AttemptState::Failed) };
        self.record(attempt).await
    }

    fn blank(&self, at: At<'_>, state: AttemptState) -> Attempt {
        let now = self.journal.now();
        Attempt {
            index: at.index,
            step: at.step.name.clone(),
            item: at.item,
            attempt: 1,
            is_last: true,
            state,
            output: Value::Null,
            exports: Default::default(),
            exit: None,
            respond: None,
            error: None,
            items: None,
            logs: Vec::new(),
            logs_left_out: 0,
            requests: Vec::new(),
            requests_left_out: 0,
            started_at: now,
            ended_at: now,
            cpu_ms: 0,
            memory_peak_bytes: 0,
        }
    }
}

/// No further item is begun.
fn ends_step(step: &Step, attempt: &Attempt) -> bool {
    attempt.exit.is_some() || (attempt.error.is_some() && step.on_error == OnError::Fail)
}

/// A step that ran over its items earlier.
fn gathered(whole: Attempt, count: u32, attempts: BTreeMap<Option<u32>, Attempt>, progress: &Progress) -> Outcome {
    let attempts = attempts.into_iter().map(|(item, attempt)| (item, counted(attempt, progress)));
    listed(whole, count, attempts.collect())
}

/// The outputs of the items as a list; null for one that failed, or was not begun.
fn listed(end: Attempt, count: u32, mut items: BTreeMap<Option<u32>, Attempt>) -> Outcome {
    let outputs = (0..count).map(|number| items.remove(&Some(number)).map_or(Value::Null, |item| item.output));
    let output = Value::Array(outputs.collect());
    let error = end.error.as_ref().map(|error| Told { code: error.code.clone(), message: error.message.clone() });
    let left = StepLeft { output, exports: end.exports, error, skipped: false };
    Outcome { left, failure: end.error, exit: end.exit }
}

/// Adds what an attempt left to what the run holds.
fn counted(attempt: Attempt, progress: &Progress) -> Attempt {
    progress.bytes.fetch_add(size(&attempt), Relaxed);
    attempt
}

fn size(attempt: &Attempt) -> usize {
    let value = |value: &Value| serde_json::to_vec(value).map_or(usize::MAX / 4, |bytes| bytes.len());
    let exports = attempt.exports.values().map(value).sum::<usize>();
    let exit = attempt.exit.as_ref().map_or(0, String::len);
    value(&attempt.output) + exports + attempt.respond.as_ref().map_or(0, value) + exit
}

fn fits(attempt: &Attempt, step: &str, progress: &Progress) -> Result<(), Failure> {
    let size = size(attempt);
    if size > MAX_OUTPUT_BYTES {
        let message = format!("the step `{step}` gave {size} bytes of JSON; a run keeps {MAX_OUTPUT_BYTES}");
        let fix = "give back what later steps need, and no more".to_owned();
        return Err(failure("step_output_too_large", &message, Some(fix)));
    }
    let all = progress.bytes.fetch_add(size, Relaxed) + size;
    if all > MAX_RUN_BYTES {
        let message =
            format!("with the step `{step}` the outputs of this run have {all} bytes; the limit is {MAX_RUN_BYTES}");
        let fix = "give back less, or work on fewer items at once".to_owned();
        return Err(failure("run_too_large", &message, Some(fix)));
    }
    Ok(())
}

fn failure(code: &str, message: &str, fix: Option<String>) -> Failure {
    // What a step throws may be of any length.
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    Failure { code: code.to_owned(), message: message[..end].to_owned(), fix }
}

fn failure_of(error: &EvalError) -> Failure {
    failure(error.code(), &error.to_string(), error.fix())
}
