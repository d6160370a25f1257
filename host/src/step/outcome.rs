//! What a run leaves behind.

use serde::Serialize;
use serde_json::Value;

use super::LogLine;

#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub output: Value,
    pub logs: Vec<LogLine>,
    /// In the order in which the step started them.
    pub requests: Vec<RequestSummary>,
    /// Without the wait for a slot.
    pub duration_ms: u64,
    /// The most that the guest's memories held together.
    pub memory_peak_bytes: u64,
}

/// One request of a run: no query, header or body.
#[derive(Debug, Clone, Serialize)]
pub struct RequestSummary {
    /// `app/nickname`
    pub account: String,
    pub method: String,
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
