//! The one error of the facade: a stable code, a sentence, and the next step.

use std::borrow::Cow;

use serde::Serialize;

/// Serialized as the `error` object that every door answers with. Never holds a secret.
#[derive(Debug, Clone, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// `snake_case`, stable.
    pub code: Cow<'static, str>,
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What the words could have meant, where they were ambiguous.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Each fault of a file, with its place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

/// One fault in a file.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    pub file: String,
    /// From 1; 0 where the fault has no place in a text.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Error {
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), fix: None, candidates: Vec::new(), problems: Vec::new() }
    }

    pub fn with_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// Rooms name their errors with `code()` and `fix()`; this carries both over.
macro_rules! from_room {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                let (code, fix) = (error.code(), error.fix());
                let mut carried = Error::new(code, error.to_string());
                carried.fix = fix;
                carried
            }
        }
    )*};
}

from_room!(
    crate::app::AppError,
    crate::auth::AuthError,
    crate::config::ConfigError,
    crate::egress::EgressError,
    crate::step::StepError,
    crate::store::StoreError,
    crate::vault::VaultError,
    crate::wasm::WasmError,
    crate::workflow::WorkflowError,
);
