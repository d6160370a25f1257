//! What a run leaves behind.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{LogLine, StepError};

/// A run that has ended, well or not.
#[derive(Debug)]
pub struct Ran {
    pub result: Result<Output, StepError>,
    pub logs: Vec<LogLine>,
    /// In the order in which the step started them.
    pub requests: Vec<RequestSummary>,
    /// Without the wait for a slot.
    pub duration_ms: u64,
    /// On a processor, to within 10 ms.
    pub cpu_ms: u64,
    /// The most that the guest's memories held together.
    pub memory_peak_bytes: u64,
}

impl Ran {
    /// It never began.
    pub fn unstarted(error: StepError) -> Self {
        Self {
            result: Err(error),
            logs: Vec::new(),
            requests: Vec::new(),
            duration_ms: 0,
            cpu_ms: 0,
            memory_peak_bytes: 0,
        }
    }
}

/// What a step gives back.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Output {
    /// What it returned.
    #[serde(rename = "output")]
    pub value: Value,
    /// By name, as the step exported them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub exports: Map<String, Value>,
    /// The step ends its workflow here, well; the reason it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<String>,
    /// The answer to the workflow's HTTP trigger: `{"status", "headers", "body"}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<Value>,
}

impl Output {
    pub fn of(value: Value) -> Self {
        Self { value, ..Self::default() }
    }
}

/// One request of a run: no query, header or body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestSummary {
    /// `app/nickname`; empty for a request without an account.
    pub account: String,
    pub method: String,
    /// `https://host`
    pub origin: String,
    pub path: String,
    /// None: no answer came.
    pub status: Option<u16>,
    /// Why no answer came: a code of `deputy:step/types.error-code`, or `abandoned`.
    pub error: Option<String>,
    /// Until the answer's headers were there.
    pub duration_ms: u64,
    /// The account's token was refreshed for it.
    pub renewed: bool,
}
