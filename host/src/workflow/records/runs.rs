//! Heads of runs, and the lists that show them: read page by page, newest first, counted beforehand.

use serde::{Deserialize, Serialize};

use super::{Records, keys};
use crate::auth::rows::{plain, read_plain};
use crate::caller::Owner;
use crate::ids::RunId;
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::workflow::WorkflowError;

/// The most runs on one page.
pub const MAX_PAGE: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Stored; waits for its turn.
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl RunState {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn has_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    Hand,
    Http,
    Schedule,
}

impl TriggerKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Hand => "hand",
            Self::Http => "http",
            Self::Schedule => "schedule",
        }
    }
}

/// What lists show of a run: no payload, no output, no message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunHead {
    pub id: RunId,
    pub workflow: String,
    pub version: u64,
    pub state: RunState,
    pub trigger: TriggerKind,
    pub created_at: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The code of what made it fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The step that failed or ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunsPage {
    pub runs: Vec<RunHead>,
    /// How many there are of the state asked for, or in all.
    pub total: i64,
    /// Where the next page begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RunId>,
}

/// Runs that keep a workflow from being removed, and what holds if there are none.
pub(super) struct Left {
    pub count: i64,
    pub checks: Vec<Op>,
}

impl Records {
    pub async fn run(&self, owner: &Owner, run: &RunId) -> Result<Option<RunHead>, WorkflowError> {
        let row = self.rows.store.get(&keys::run(owner, run)).await?;
        Ok(row.as_ref().map(read_plain).transpose()?)
    }

    pub async fn must_be_run(&self, owner: &Owner, run: &RunId) -> Result<RunHead, WorkflowError> {
        self.run(owner, run).await?.ok_or_else(|| WorkflowError::NoRun { run: run.clone() })
    }

    /// One page of a workflow's runs, newest first; reads as many rows as it shows, and one for each.
    pub async fn runs(
        &self,
        owner: &Owner,
        workflow: &str,
        state: Option<RunState>,
        after: Option<&RunId>,
        limit: usize,
    ) -> Result<RunsPage, WorkflowError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let (prefix, after) = match state {
            Some(state) => {
                (keys::runs_in(owner, workflow, state), after.map(|run| keys::listed_in(owner, workflow, state, run)))
            }
            None => (keys::runs(owner, workflow), after.map(|run| keys::listed(owner, workflow, run))),
        };
        let rows = self.rows.store.scan(&prefix, after.as_deref(), limit + 1).await?;
        let mut runs = Vec::with_capacity(rows.len().min(limit));
        for (_, row) in rows.iter().take(limit) {
            let id: RunId = read_plain(row)?;
            // A run that changed its state between the two reads is shown in the new one, or not at all.
            if let Some(head) = self.run(owner, &id).await?
                && state.is_none_or(|state| state == head.state)
            {
                runs.push(head);
            }
        }
        let next = match rows.get(limit.saturating_sub(1)) {
            Some((_, row)) if rows.len() > limit => Some(read_plain(row)?),
            _ => None,
        };
        let total = match state {
            Some(state) => self.count(&keys::count(owner, workflow, state)).await?,
            None => {
                let mut total = 0;
                for state in RunState::ALL {
                    total += self.count(&keys::count(owner, workflow, state)).await?;
                }
                total
            }
        };
        Ok(RunsPage { runs, total, next })
    }

    /// How many runs of a workflow are in a state: a counter, not a count.
    pub async fn runs_in(&self, owner: &Owner, workflow: &str, state: RunState) -> Result<i64, WorkflowError> {
        self.count(&keys::count(owner, workflow, state)).await
    }

    /// Rows of a run that comes to be, or goes from one state to another.
    pub(super) fn move_run(
        &self,
        owner: &Owner,
        head: &RunHead,
        before: Option<RunState>,
    ) -> Result<Vec<Op>, WorkflowError> {
        let (name, run) = (&head.workflow, &head.id);
        let mut operations = Vec::with_capacity(6);
        match before {
            None => {
                operations.push(plain(keys::run(owner, run), head, Expect::Absent)?);
                operations.push(plain(keys::listed(owner, name, run), run, Expect::Any)?);
            }
            Some(before) => {
                operations.push(plain(keys::run(owner, run), head, Expect::Any)?);
                let key = keys::listed_in(owner, name, before, run);
                operations.push(Op::Delete { key, expect: Expect::Any });
                operations.push(Op::Add { key: keys::count(owner, name, before), delta: -1 });
            }
        }
        operations.push(plain(keys::listed_in(owner, name, head.state, run), run, Expect::Any)?);
        operations.push(Op::Add { key: keys::count(owner, name, head.state), delta: 1 });
        Ok(operations)
    }

    pub(super) async fn runs_left(&self, owner: &Owner, name: &str) -> Result<Left, WorkflowError> {
        let (mut count, mut checks) = (0, Vec::new());
        for state in [RunState::Queued, RunState::Running] {
            let key = keys::count(owner, name, state);
            let row = self.rows.store.get(&key).await?;
            count += self.count(&key).await?;
            let expect = row.map_or(Expect::Absent, |row| Expect::Generation(row.generation));
            checks.push(Op::Check { key, expect });
        }
        Ok(Left { count, checks })
    }
}
