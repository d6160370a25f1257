//! Why a workflow was not deployed, a run not taken, or a record not found.

use std::path::PathBuf;

use crate::auth::rows::RowsError;
use crate::ids::{AccountId, RunId};
use crate::store::StoreError;
use crate::vault::VaultError;

#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A row that says something else than its place.
    #[error("{0}")]
    Damaged(String),
    #[error("there is no workflow `{name}`")]
    NotFound { name: String, nearest: Option<String> },
    #[error("there is no version {number} of the workflow `{name}`")]
    NoVersion { name: String, number: u64 },
    #[error("there is no run {run}")]
    NoRun { run: RunId },
    #[error("the workflow `{name}` is disabled")]
    Disabled { name: String },
    #[error("the run {run} has ended already: it is {state}")]
    RunEnded { run: RunId, state: &'static str },
    #[error("`{name}` has {count} runs that have not ended")]
    RunsLeft { name: String, count: i64 },
    #[error("{what} has {size} bytes; the limit is {limit}")]
    TooLarge { what: String, size: usize, limit: usize },
    #[error("the account {account} is used by {count} workflows; at most {limit} can be moved at once")]
    TooManyUses { account: AccountId, count: usize, limit: usize },
    /// Others changed the same rows, again and again.
    #[error("the workflow `{name}` changed at the same moment")]
    Busy { name: String },
    #[error("cannot {what} {}: {reason}", path.display())]
    Program { what: &'static str, path: PathBuf, reason: String },
    #[error("the program {} was changed outside Deputy, and is not run", path.display())]
    ProgramChanged { path: PathBuf },
    #[error("the list cannot go on behind `{cursor}`")]
    Cursor { cursor: String },
    #[error("the schedule `{cron}` is not understood: {reason}")]
    Schedule { cron: String, reason: String },
    /// This process is about to end.
    #[error("deputy is stopping and takes no more runs")]
    Stopping,
    #[error("{0}")]
    Internal(String),
}

impl From<RowsError> for WorkflowError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Store(error) => Self::Store(error),
            RowsError::Vault(error) => Self::Vault(error),
            RowsError::Refused { id, reason } => Self::Damaged(format!("the record of {id} is not used: {reason}")),
            RowsError::Malformed(what) => Self::Damaged(what),
        }
    }
}

impl WorkflowError {
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict { .. }))
    }

    /// Stable, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Damaged(_) => "record_refused",
            Self::NotFound { .. } => "workflow_not_found",
            Self::NoVersion { .. } => "workflow_version_unknown",
            Self::NoRun { .. } => "run_not_found",
            Self::Disabled { .. } => "workflow_disabled",
            Self::RunEnded { .. } => "run_ended",
            Self::RunsLeft { .. } => "workflow_busy",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyUses { .. } => "account_uses",
            Self::Busy { .. } => "workflow_changed",
            Self::Program { .. } => "program_failed",
            Self::ProgramChanged { .. } => "program_changed",
            Self::Cursor { .. } => "cursor_invalid",
            Self::Schedule { .. } => "schedule_invalid",
            Self::Stopping => "stopping",
            Self::Internal(_) => "workflow_internal",
        }
    }

    /// What a person can do about it.
    pub fn fix(&self) -> Option<String> {
        Some(match self {
            Self::Store(error) => return error.fix(),
            Self::Vault(error) => return error.fix(),
            Self::Damaged(_) => "the store was changed from outside: restore it from a backup".to_owned(),
            Self::NotFound { nearest: Some(nearest), .. } => format!("did you mean {nearest}?"),
            Self::NotFound { .. } => {
                "see `deputy workflow list`, or deploy one with `deputy workflow deploy`".to_owned()
            }
            Self::NoVersion { name, .. } => format!("deploy `{name}` again"),
            Self::NoRun { .. } => "see `deputy workflow runs NAME`".to_owned(),
            Self::Disabled { name } => format!("run `deputy workflow enable {name}`"),
            Self::RunsLeft { name, .. } => format!("wait for them, or stop them with `deputy workflow cancel {name}`"),
            Self::TooLarge { .. } => "hand on less: a part, a reference, or a file elsewhere".to_owned(),
            Self::TooManyUses { .. } => "deploy some of these workflows again with the other account first".to_owned(),
            Self::Busy { .. } => "try again".to_owned(),
            Self::Program { .. } => "deploy the workflow again".to_owned(),
            Self::ProgramChanged { .. } => "deploy the workflow again, and find out who changed the file".to_owned(),
            Self::Cursor { .. } => "take the `next` of the page before".to_owned(),
            Self::RunEnded { .. } | Self::Schedule { .. } | Self::Stopping | Self::Internal(_) => return None,
        })
    }
}
