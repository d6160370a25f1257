//! A workflow as values: what its file says, checked as far as the file alone allows.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::step::Call;

/// A whole workflow. Immutable once deployed; serialized into its version's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// `[a-z0-9-]`, 1 to 60 characters, unique per owner.
    pub name: String,
    pub summary: Option<String>,
    pub triggers: Vec<Trigger>,
    pub steps: Vec<Step>,
    /// Runs at a time; more wait in order. None: the host's limit.
    pub concurrency: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    Http(HttpTrigger),
    Schedule(Schedule),
}

/// A run for every request to the workflow's address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrigger {
    pub verify: Verify,
    pub answer: TriggerAnswer,
    /// The request header whose value makes a second delivery the same run.
    pub idempotency: Option<String>,
}

/// What proves that a request comes from where it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// The address holds a secret, made at the first deployment.
    SecretPath,
    /// The body is signed: an HMAC over it stands in a header.
    Signature(Signature),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// `X-Hub-Signature-256`
    pub header: String,
    /// What stands before the digest, such as `sha256=`.
    pub prefix: String,
    pub algorithm: SignatureAlgorithm,
    pub encoding: SignatureEncoding,
    /// The environment variable of the server that holds the key.
    pub key_env: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureAlgorithm {
    HmacSha1,
    HmacSha256,
    HmacSha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureEncoding {
    Hex,
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerAnswer {
    /// 202 as soon as the run is stored.
    Accepted,
    /// What the run gives to `$.respond`, or its last output; 202 where it takes too long.
    Result,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Five fields (minute, hour, day, month, weekday), or six with seconds first.
    pub cron: String,
    /// An IANA time zone; `UTC` where the file names none.
    pub zone: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `[a-z][a-z0-9_]*`, unique in the workflow: `steps.NAME.output` in expressions.
    pub name: String,
    pub what: StepWhat,
    /// Prop → account as the file names it. An action and an HTTP step have the one prop `account`.
    pub accounts: BTreeMap<String, String>,
    /// The step's props; texts in it are templates.
    pub input: serde_json::Value,
    /// An expression that gives true or false; the step is skipped where it is false. Evaluated once, before `for_each`.
    pub when: Option<String>,
    pub for_each: Option<ForEach>,
    pub retry: Retry,
    pub timeout: Duration,
    pub on_error: OnError,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWhat {
    /// The path as the file has it, and the SHA-256 of the program in hex: programs are kept by their hash. The check
    /// fills the hash in; a file just read has none.
    Program {
        path: String,
        hash: String,
    },
    Action {
        app: String,
        action: String,
    },
    /// Its texts are templates.
    Http(Box<Call>),
}

/// The step runs once for each item of a list; its output is the list of their outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForEach {
    /// An expression that gives a list; `item` and `index` (from 0) stand in the step's texts.
    pub items: String,
    /// At a time.
    pub parallel: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// In all; 1 is no retry.
    pub attempts: u32,
    /// Before the second attempt; each later one waits twice as long as the one before it.
    pub delay: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    Fail,
    /// The run goes on; `steps.NAME.error` holds what went wrong.
    Continue,
}
