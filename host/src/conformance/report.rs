//! What the kit found.

use serde::Serialize;

/// All checks of one app.
#[derive(Debug, Serialize)]
pub struct Report {
    pub app: String,
    /// Nothing failed, and something passed.
    pub ok: bool,
    pub checks: Vec<Check>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub method: String,
    /// What must be true, as a sentence.
    pub name: String,
    /// The part of the declaration that it is about: `methods[0].revoke`.
    pub about: String,
    /// Where that part was written, of an app that is read from a file: `app.toml:12:1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The requests that the provider saw meanwhile, without the values of credentials.
    pub sent: Vec<String>,
    pub duration_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed { reason: String },
    NotTestable { reason: String },
}

impl Report {
    pub fn new(app: String, checks: Vec<Check>) -> Self {
        let failed = checks.iter().any(|check| matches!(check.outcome, Outcome::Failed { .. }));
        let passed = checks.iter().any(|check| check.outcome == Outcome::Passed);
        Self { app, ok: passed && !failed, checks }
    }
}
