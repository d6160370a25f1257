//! Why nothing was sent, or why an answer ended early.
//!
//! Promise: no variant holds a secret, a query or an upstream body, so every sentence here may stand in a log, in an
//! audit line and on a guest's screen.

/// Why there is no fresh credential. The sentences never hold a secret or an upstream body.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokensError {
    #[error("there is no such account")]
    NotFound,
    #[error("{name} must be reconnected: {reason}")]
    NeedsReconnect { name: String, reason: String },
    /// Its owner switched it off.
    #[error("{name} is disabled")]
    Disabled { name: String },
    /// The client registration is wrong: no account is dead.
    #[error("the OAuth client of {app} is refused: {reason}")]
    Client { app: String, reason: String },
    /// Nothing can be refreshed: the account has no refresh token.
    #[error("{name} has nothing to refresh")]
    NotRenewable { name: String },
    #[error("the refresh of {name} failed for now: {reason}")]
    Transient { name: String, reason: String },
    #[error("{0}")]
    Internal(String),
}

/// Why nothing was sent, or why the answer ended early. No variant holds a secret, a query or an upstream body.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// A malformed request.
    #[error("{message}")]
    Invalid { message: String, fix: Option<String> },
    /// A rule of the app or the operator forbids it.
    #[error("{message}")]
    Denied { rule: &'static str, message: String, fix: Option<String> },
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// Resolution, connection or TLS.
    #[error("cannot reach {host}: {reason}")]
    Unreachable { host: String, reason: String },
    /// The connection stood, then broke: the request may have arrived.
    #[error("{host} went away before it answered: {reason}")]
    Interrupted { host: String, reason: String },
    #[error("{host} {what} within {limit_ms} ms")]
    Timeout { host: String, what: &'static str, limit_ms: u64 },
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },
    #[error("{host} broke the protocol: {reason}")]
    Protocol { host: String, reason: String },
    #[error("{0}")]
    Internal(String),
}

impl TokensError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "account_not_found",
            Self::NeedsReconnect { .. } => "needs_reconnect",
            Self::Disabled { .. } => "account_disabled",
            Self::Client { .. } => "client_refused",
            Self::NotRenewable { .. } => "not_renewable",
            Self::Transient { .. } => "refresh_failed",
            Self::Internal(_) => "internal",
        }
    }

    /// What to do next.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::NotFound => Some("see `deputy account list`".to_owned()),
            Self::NeedsReconnect { name, .. } => Some(reconnect(name)),
            Self::Disabled { name } => Some(format!("run `deputy account enable {name}`")),
            Self::Client { app, .. } => Some(format!("check the registration, then run `deputy client set {app}`")),
            Self::NotRenewable { name } => Some(reconnect(name)),
            Self::Transient { .. } => Some("try again in a moment".to_owned()),
            Self::Internal(_) => None,
        }
    }
}

impl EgressError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid_request",
            Self::Denied { .. } => "denied",
            Self::Tokens(error) => error.code(),
            Self::Unreachable { .. } => "unreachable",
            Self::Interrupted { .. } => "interrupted",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::Protocol { .. } => "protocol_error",
            Self::Internal(_) => "internal",
        }
    }

    /// What to do next.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Invalid { fix, .. } | Self::Denied { fix, .. } => fix.clone(),
            Self::Tokens(error) => error.fix(),
            Self::Unreachable { host, .. } => Some(format!("check that {host} can be reached from this machine")),
            Self::Interrupted { .. } => {
                Some("look whether the request took effect before you send it again".to_owned())
            }
            Self::Timeout { .. } => Some("try again, or ask for less in one request".to_owned()),
            Self::TooLarge { .. } => Some("ask for less in one request".to_owned()),
            Self::Protocol { .. } | Self::Internal(_) => None,
        }
    }

    pub(super) fn invalid(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), fix: Some(fix.into()) }
    }

    pub(super) fn denied(rule: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Denied { rule, message: message.into(), fix: Some(fix.into()) }
    }
}

/// What the owner of an account does when its credentials are of no use any more. `name`: `app/nickname`.
pub(crate) fn reconnect(name: &str) -> String {
    format!("run `deputy account reconnect {name}`")
}
