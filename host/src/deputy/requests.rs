//! HTTP requests through an account: one as it is, or a call with retries, pages and expectations.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::work::Job;
use super::{Answer, Caller, Deputy, Error, HttpRequest, StepRan, Worker};
use crate::account::Accounts;
use crate::egress::{Credential, Egress, Grant};
use crate::ids::RunId;
use crate::step::{Call, Files, LogLine, RunLimits};

/// A call, asked for.
#[derive(Debug)]
pub struct CallRun {
    /// By any of its names.
    pub account: String,
    pub call: Call,
    /// For all of it, waits and pages included; none: as long as a step.
    pub timeout: Option<Duration>,
    /// Where `save` writes.
    pub files: Option<Files>,
    /// Lines as they come.
    pub log: Option<UnboundedSender<LogLine>>,
}

impl Deputy {
    /// Through the account named, in whatever way names it. The answer streams.
    pub async fn request(&self, caller: &Caller, account: &str, request: HttpRequest) -> Result<Answer, Error> {
        let opened = self.opened().await?;
        let account = opened.accounts.resolve(caller, account).await?;
        let grant = Grant::whole(caller.clone(), account);
        let tokens = opened.accounts.tokens();
        Ok(opened.egress.send(Credential::Account { grant: &grant, tokens: &*tokens }, request).await?)
    }

    /// A request with retries, pages and expectations, as the HTTP step of a workflow makes it. An error where it could
    /// not begin; one that began says how it ended.
    pub async fn call(&self, caller: &Caller, run: CallRun) -> Result<StepRan, Error> {
        let CallRun { account, call, timeout, files, log } = run;
        let bound = self.bind(caller, &account).await?;
        let id = RunId::new();
        let job = Job { id: id.clone(), caller: caller.clone(), limits: self.limits(timeout), log };
        Ok(StepRan::new(id, self.worker().await?.call(bound, &call, files, job).await))
    }

    /// What executes the steps of workflows.
    pub async fn worker(&self) -> Result<Worker, Error> {
        let opened = self.opened().await?;
        Ok(self.worker_of(&opened.egress, &opened.accounts))
    }

    pub(super) fn worker_of(&self, egress: &Arc<Egress>, accounts: &Arc<Accounts>) -> Worker {
        Worker {
            egress: egress.clone(),
            accounts: accounts.clone(),
            catalog: self.catalog.clone(),
            steps: self.steps.clone(),
            files: self.config.data.join("files"),
        }
    }

    pub(super) fn limits(&self, timeout: Option<Duration>) -> RunLimits {
        let deadline = timeout.unwrap_or(Duration::from_millis(self.config.step.timeout_ms));
        RunLimits { deadline, ..RunLimits::default() }
    }
}
