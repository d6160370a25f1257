//! Running code that nobody trusts.
//!
//! A step names accounts by the props they are bound to and sends requests through the [`Road`]; it never sees a
//! credential, and this room does not either. Every run has a fresh instance, a deadline, a CPU budget, and bounds on
//! memory, handles, requests, log and output; each way to end badly has its own name ([`StepError`]).
//!
//! `v0_1_0` speaks `deputy:step@0.1.0`: one module a version of the contract.

pub mod action;
mod call;
mod check;
mod declared;
mod error;
mod grants;
mod host;
mod log;
mod markers;
mod outcome;
mod props;
mod requests;
mod run;
mod script;
mod secrets;
mod template;
mod v0_1_0;
mod wasi;

pub use call::{AnswerRules, Call, CallBody, CallError, CallPlace, CallRetry, Files, Pages, Parse, Taken, perform};
pub use error::StepError;
pub use log::{LogLevel, LogLine};
pub use outcome::{Output, Ran, RequestSummary};
pub use props::{AppNeed, Choice, ItemKind, Prop, PropKind};
pub use run::{Step, Steps, StepsConfig};
pub use script::ScriptFailure;
pub use template::{Language, write as write_template};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deputy_declaration::types::App;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::caller::Caller;
use crate::egress::{Answer, EgressError, Grant, Request};
use crate::ids::{AccountId, RunId};

/// The way out. The facade builds it from the egress and the tokens, so that a run holds neither.
pub trait Road: Send + Sync + 'static {
    /// Sends one request through the account of the grant.
    fn send<'a>(&'a self, grant: &'a Grant, request: Request) -> BoxFuture<'a, Result<Answer, EgressError>>;

    /// Sends one request without any credential, to a host that the operator allows.
    fn send_plain<'a>(&'a self, caller: &'a Caller, request: Request) -> BoxFuture<'a, Result<Answer, EgressError>>;
}

/// What a run executes.
#[derive(Debug, Clone)]
pub enum Program {
    /// A component, or a core module built with an SDK.
    Component(Arc<[u8]>),
    /// An ES module, for the shared runner.
    Script(Script),
}

#[derive(Debug, Clone)]
pub struct Script {
    /// Stands in errors and stacks: `post.js`.
    pub name: String,
    pub source: Arc<str>,
}

/// One execution of a step.
pub struct Run {
    pub id: RunId,
    /// Who runs it. Its requests carry the same owner, and `Via::Run` with this run's id.
    pub caller: Caller,
    /// A JSON object: the fields of the step's props.
    pub input: Value,
    /// What earlier steps of a workflow and its trigger left: `{"steps": {…}, "trigger": …}`. For scripts.
    pub context: Value,
    /// The account bound to each prop of kind `app`.
    pub bindings: BTreeMap<String, Bound>,
    /// Props that the runner of the step marks ambient, besides those that the step itself does: requests that name no
    /// account, made by code that knows nothing of accounts, go through the one of them that reaches the URL.
    pub ambient: Vec<String>,
    pub road: Arc<dyn Road>,
    pub limits: RunLimits,
    /// Log lines as they come; they stand in the outcome as well.
    pub log: Option<UnboundedSender<LogLine>>,
}

/// An account bound to a prop, and what the step may know about it.
#[derive(Debug, Clone)]
pub struct Bound {
    pub account: AccountId,
    /// The app's slug.
    pub app: String,
    /// `app/nickname`
    pub name: String,
    pub identity: Option<String>,
    /// Granted, where they are known.
    pub scopes: Vec<String>,
    /// What its owner gave at connect; no secrets.
    pub inputs: BTreeMap<String, String>,
    /// Where its credentials may go: `https://host`.
    pub origins: Vec<String>,
    /// The declaration that the account keeps to.
    pub declaration: Arc<App>,
    /// Index into the declaration's methods.
    pub method: usize,
}

/// Bounds of one run; those of its memory and handles are the engine's ([`crate::wasm::Limits`]).
#[derive(Debug, Clone)]
pub struct RunLimits {
    /// From the start of the guest to its end, waiting included. The queue in front does not count.
    pub deadline: Duration,
    /// Time on a processor, to within 10 ms.
    pub cpu: Duration,
    /// Requests in all. A loop that runs away is stopped before the provider stops the account.
    pub requests: usize,
    /// Requests on their way or with a body still unread: connections that the host keeps open for the guest.
    pub in_flight: usize,
    /// Bodies of requests on their way together: the host holds them until the answer's headers are there.
    pub body_bytes_in_flight: usize,
    /// Until an answer's headers are there; a guest may ask for less. As the egress's own limit.
    pub request_timeout: Duration,
    /// Between two pieces of a body.
    pub idle_timeout: Duration,
    pub log_lines: usize,
    pub log_line_bytes: usize,
    /// All lines together; the host holds them until the end of the run.
    pub log_bytes: usize,
    pub input_bytes: usize,
    pub output_bytes: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            cpu: Duration::from_secs(10),
            requests: 1_000,
            in_flight: 32,
            body_bytes_in_flight: 16 << 20,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            log_lines: 10_000,
            log_line_bytes: 8 << 10,
            log_bytes: 4 << 20,
            input_bytes: 8 << 20,
            output_bytes: 8 << 20,
        }
    }
}

#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod tests;
