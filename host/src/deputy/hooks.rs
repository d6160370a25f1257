//! What a server asks of the facade: work on runs, take hooks, say whether all is well.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Deputy, Error, Hook};
use crate::caller::{Caller, Via};
use crate::ids::{RunId, WorkflowId};
use crate::workflow::engine::run::output;
use crate::workflow::hook;
use crate::workflow::records::{Deployed, RunState, Submission, TriggerKind};
use crate::workflow::{HttpTrigger, Trigger, TriggerAnswer, Verify};

/// How long a trigger waits for its run's result.
const PATIENCE: Duration = Duration::from_secs(25);
/// Hooks that are told at the start.
const MOST_SHOWN: usize = 50;

/// One request to a workflow's address.
#[derive(Debug)]
pub struct HookRequest {
    /// What stands behind `/hooks/`: the secret, or the workflow's id.
    pub address: String,
    pub method: String,
    /// Without the question mark.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What the caller of a hook gets.
#[derive(Debug)]
pub enum HookAnswer {
    /// The run is stored.
    Accepted { run: RunId },
    /// What a step gave to `$.respond`, or the run's output.
    Result { run: RunId, status: StatusCode, headers: Vec<(String, String)>, body: Value },
    /// The run failed.
    Failed { run: RunId, code: String },
}

/// What a server tells at its start.
#[derive(Debug)]
pub struct Serving {
    pub workflows: usize,
    /// Name and address; of the first fifty workflows.
    pub hooks: Vec<(String, Hook)>,
    /// Variables with keys of signatures that this process lacks, with the workflow.
    pub missing_keys: Vec<(String, String)>,
}

impl Deputy {
    /// Opens the store for a process that keeps it: others are told that it serves.
    pub async fn serve_open(&self, caller: &Caller, listening: SocketAddr) -> Result<Serving, Error> {
        // Set once: a second call finds the store open.
        let _ = (self.role.set("serve"), self.listening.set(listening));
        self.opened().await?;
        let page = self.workflow_list(caller, None, MOST_SHOWN).await?;
        let mut hooks = Vec::new();
        for head in page.workflows.iter().filter(|head| head.enabled) {
            let view = self.workflow_show(caller, &head.name).await?;
            hooks.extend(view.hooks.into_iter().map(|hook| (head.name.clone(), hook)));
        }
        let lacks = |variable: &String| std::env::var_os(variable).is_none_or(|key| key.is_empty());
        let missing_keys =
            hooks.iter().filter_map(|(name, hook)| Some((name.clone(), hook.key_env.clone().filter(lacks)?)));
        Ok(Serving { workflows: page.workflows.len(), missing_keys: missing_keys.collect(), hooks })
    }

    /// Works on runs and schedules until [`Deputy::workflow_stop`], or until the store fails.
    pub async fn serve_work(&self) -> Result<(), Error> {
        self.engine().await?.serve().await;
        match self.engine().await?.health() {
            Some(reason) => Err(Error::new("store_failed", reason)),
            None => Ok(()),
        }
    }

    /// Whether runs are taken and stored.
    pub async fn health(&self) -> Result<(), Error> {
        let engine = self.engine().await?;
        if let Some(reason) = engine.health() {
            return Err(Error::new("store_failed", reason));
        }
        Ok(engine.records().answers().await?)
    }

    /// A run for a genuine request. When this returns well, the run is stored.
    pub async fn hook(&self, request: HookRequest) -> Result<HookAnswer, Error> {
        let engine = self.engine().await?;
        let records = engine.records();
        let deployed = match request.address.parse::<WorkflowId>() {
            Ok(id) => records.by_id(&id).await?,
            Err(_) => records.by_hook(&request.address).await?,
        };
        let Some(deployed) = deployed else { return Err(unknown()) };
        let version = records.version(&deployed.owner, &deployed.name, deployed.version).await?;
        let trigger = version.workflow.triggers.iter().find_map(|trigger| match trigger {
            Trigger::Http(http) => Some(http),
            Trigger::Schedule(_) => None,
        });
        let Some(trigger) = trigger else { return Err(unknown()) };
        genuine(trigger, &deployed, &request)?;
        let HookRequest { method, query, headers, body, .. } = &request;
        let facts = hook::facts(method, query, headers, body, records.now())
            .map_err(|reason| Error::new("body_invalid", reason))?;
        let idempotency = trigger.idempotency.as_ref().and_then(|name| headers.get(name.as_str()));
        let submission = Submission {
            kind: TriggerKind::Http,
            trigger: facts,
            idempotency: idempotency.map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned()),
        };
        let submitted = engine.submit(&deployed.owner, &deployed.name, &submission).await?;
        match trigger.answer {
            TriggerAnswer::Accepted => Ok(HookAnswer::Accepted { run: submitted.run }),
            TriggerAnswer::Result => self.result(&deployed, submitted.run).await,
        }
    }

    /// Waits for a run's end, or until a step answers; not for ever.
    async fn result(&self, deployed: &Deployed, run: RunId) -> Result<HookAnswer, Error> {
        let engine = self.engine().await?;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut events = engine.listen();
        let answered = async {
            loop {
                match events.recv().await {
                    Ok(event) if event.run == run => {
                        if let super::Happened::Left(attempt) = event.what
                            && let Some(respond) = attempt.respond
                        {
                            return respond;
                        }
                    }
                    Ok(_) => {}
                    // The end of the run tells it anyway.
                    Err(_) => std::future::pending::<()>().await,
                }
            }
        };
        let ended = tokio::select! {
            respond = answered => return Ok(answer(run, respond)),
            ended = engine.ended(&deployed.owner, &run, PATIENCE) => ended?,
            () = tokio::time::sleep_until(deadline) => None,
        };
        let Some(head) = ended else { return Ok(HookAnswer::Accepted { run }) };
        let caller = Caller { owner: deployed.owner.clone(), via: Via::Run(run.clone()) };
        let view = self.run_show(&caller, run.as_str()).await?;
        if let Some(respond) = view.respond {
            return Ok(answer(run, respond));
        }
        match head.state {
            RunState::Done => {
                let body = output(&view.attempts).unwrap_or_default();
                Ok(HookAnswer::Result { run, status: StatusCode::OK, headers: Vec::new(), body })
            }
            _ => {
                let code = head.error.unwrap_or_else(|| head.state.word().to_owned());
                Ok(HookAnswer::Failed { run, code })
            }
        }
    }
}

/// One sentence for every address that leads nowhere: which ones exist is nobody's business.
fn unknown() -> Error {
    Error::new("hook_unknown", "there is no hook at this address")
}

fn genuine(trigger: &HttpTrigger, deployed: &Deployed, request: &HookRequest) -> Result<(), Error> {
    let by_id = request.address == deployed.id.as_str();
    match &trigger.verify {
        // Found by its secret; an id is none.
        Verify::SecretPath if !by_id => Ok(()),
        Verify::Signature(signature) if by_id => {
            let key = std::env::var_os(&signature.key_env).filter(|key| !key.is_empty());
            let Some(key) = key.map(|key| Zeroizing::new(key.into_encoded_bytes())) else {
                tracing::error!(
                    "a hook of {} cannot be checked: the variable {} is not set for this server",
                    deployed.name,
                    signature.key_env
                );
                return Err(Error::new(
                    "hook_key_missing",
                    "this server lacks the key that the signature is checked with",
                ));
            };
            match hook::is_signed(signature, &key, &request.headers, &request.body) {
                true => Ok(()),
                false => Err(Error::new("signature_wrong", "the body is not signed with this hook's key")),
            }
        }
        Verify::SecretPath | Verify::Signature(_) => Err(unknown()),
    }
}

/// `{"status", "headers", "body"}`, as a step gave it; what is missing or malformed has its default.
fn answer(run: RunId, respond: Value) -> HookAnswer {
    let status = respond.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    // Nothing below 200 is an answer.
    let status = status.filter(|status| *status >= 200).and_then(|status| StatusCode::from_u16(status).ok());
    let headers = respond.get("headers").and_then(Value::as_object).into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    HookAnswer::Result {
        run,
        status: status.unwrap_or(StatusCode::OK),
        headers: headers.collect(),
        body: respond.get("body").cloned().unwrap_or_default(),
    }
}
