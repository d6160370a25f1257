//! Workflows: a file lists steps in order and binds accounts; a run is one execution of it.
//!
//! The way of a workflow: its file is read and checked into a [`Workflow`], deployed as a version that never changes,
//! started by a trigger, and executed step by step. A run is durable: it is stored before its trigger is answered, and
//! what a step left is stored before the next one begins, so a crash goes on after the last finished step.

pub mod check;
pub mod engine;
pub mod error;
pub mod expression;
pub mod hook;
pub mod programs;
pub mod records;
pub mod schedule;
pub mod source;
#[cfg(test)]
mod testing;
pub mod types;

pub use error::WorkflowError;
pub use types::*;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::caller::Caller;
use crate::ids::{AccountId, RunId};
use crate::step::{Call, LogLine, Program, Ran};

/// What does the work of a step. The facade builds it, so that this room knows neither accounts nor engines.
pub trait Work: Send + Sync + 'static {
    /// Executes one step once. Dropping the future stops it.
    fn perform<'a>(&'a self, caller: &'a Caller, task: Task) -> BoxFuture<'a, Ran>;
}

/// One step, ready to execute: every expression is evaluated.
pub struct Task {
    pub run: RunId,
    /// The step's name, for logs and the audit.
    pub step: String,
    pub what: TaskKind,
    /// Prop → account, fixed when the version was deployed.
    pub accounts: BTreeMap<String, AccountId>,
    /// The step's props; for a [`TaskKind::Call`], nothing.
    pub input: Value,
    /// `{"steps": {…}, "trigger": …}`: what a script sees of the run.
    pub context: Value,
    pub timeout: Duration,
    /// Log lines as they come; they stand in what it returns as well.
    pub log: Option<UnboundedSender<LogLine>>,
}

pub enum TaskKind {
    Program(Program),
    /// By the app's slug and the action's name, of the declaration that the bound account keeps to.
    Action {
        app: String,
        action: String,
    },
    /// One HTTP request, through the account bound to `account`.
    Call(Arc<Call>),
}
