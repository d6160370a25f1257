//! What can go wrong in a step.

use std::fmt;

use crate::bindings::deputy::step::types;

/// What kind of failure it is; decides whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A malformed argument: no retry can help.
    Invalid,
    /// A rule of the app, the grant or the operator forbids it.
    Denied,
    /// No account is bound to that prop.
    NotBound,
    /// The account needs its owner: reconnect it.
    NeedsReconnect,
    /// Name resolution, connection or TLS failed.
    Unreachable,
    /// A time limit of the host or of the request.
    Timeout,
    /// Too many requests, bytes or handles.
    Limit,
    /// The provider answered with something that is no HTTP, or stopped in the middle.
    Protocol,
    /// A fault of the host.
    Internal,
    /// The provider answered with a status of 400 or more; see [`crate::Response::error_for_status`].
    Status(u16),
    /// Raised by the step itself.
    Step,
}

/// One failure: a code, a sentence and, where there is one, the fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub code: Code,
    pub message: String,
    pub fix: Option<String>,
}

impl Error {
    /// A failure of the step's own.
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(Code::Step, message)
    }

    pub(crate) fn with_code(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fix: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.fix {
            Some(fix) => write!(f, " ({fix})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::new(format!("JSON: {error}"))
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        let code = match error.code {
            types::ErrorCode::Invalid => Code::Invalid,
            types::ErrorCode::Denied => Code::Denied,
            types::ErrorCode::NotBound => Code::NotBound,
            types::ErrorCode::NeedsReconnect => Code::NeedsReconnect,
            types::ErrorCode::Unreachable => Code::Unreachable,
            types::ErrorCode::Timeout => Code::Timeout,
            types::ErrorCode::Limit => Code::Limit,
            types::ErrorCode::Protocol => Code::Protocol,
            types::ErrorCode::Internal => Code::Internal,
        };
        Self { code, message: error.message, fix: error.fix }
    }
}
