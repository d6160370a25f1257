//! Why a call failed. Sentences name the account, the method and the path; never a query, a header or a body, but for
//! a bounded line of the provider's own words.

use std::time::Duration;

use crate::egress::EgressError;
use crate::time::Time;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call itself is malformed: nothing was sent.
    #[error("{message}")]
    Invalid { message: String, fix: Option<String> },
    /// The road refused it, or no answer came.
    #[error(transparent)]
    Road(#[from] EgressError),
    /// Another status than expected. `what`: `GET /user through github/work`.
    #[error("{what} was answered with {status}{}", told(said))]
    Status { what: String, status: u16, said: String },
    /// The app's `failed` signal.
    #[error("{what} failed behind status {status}{}", told(said))]
    Failed { what: String, status: u16, said: String },
    /// Nothing was carried out.
    #[error("{what} is throttled{}", waiting(*after))]
    Throttled { what: String, after: Option<Duration>, longest: Duration },
    /// The page after this one has been there before.
    #[error("{what}: the pages go round in a circle: page {page} names a next page that was read already")]
    Loop { what: String, page: u32 },
    #[error("{message}")]
    Pages { message: String, fix: String },
    /// It was carried out, and the answer is not what the call counts on.
    #[error("{what} was carried out (status {status}), but {problem}")]
    Answer { what: String, status: u16, problem: String },
    #[error("{message}")]
    Save { message: String, fix: String },
    #[error("a run may send {limit} requests, and this call has")]
    Requests { limit: usize },
}

fn told(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

fn waiting(after: Option<Duration>) -> String {
    after.map(|after| format!(", and asks to wait {} s", after.as_millis().div_ceil(1000))).unwrap_or_default()
}

impl CallError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "call_invalid",
            Self::Road(error) => error.code(),
            Self::Status { .. } => "call_status",
            Self::Failed { .. } => "call_failed",
            Self::Throttled { .. } => "call_throttled",
            Self::Loop { .. } => "call_loop",
            Self::Pages { .. } => "call_pages",
            Self::Answer { .. } => "call_answer",
            Self::Save { .. } => "call_save",
            Self::Requests { .. } => "call_requests",
        }
    }

    pub fn fix(&self) -> Option<String> {
        Some(match self {
            Self::Invalid { fix, .. } => return fix.clone(),
            Self::Road(error) => return error.fix(),
            Self::Pages { fix, .. } | Self::Save { fix, .. } => fix.clone(),
            Self::Status { status, .. } => match status {
                401 | 403 => "look at the scopes and the health of the account with `deputy account show`".to_owned(),
                404 => "check the path and the names in it; some apps also answer 404 where a permission is missing"
                    .to_owned(),
                500.. => "the app has a fault of its own: try again later".to_owned(),
                _ => return None,
            },
            Self::Throttled { after: Some(after), longest, .. } => format!(
                "try again at {}; this call waits at most {} s at a time",
                Time::now().plus(*after),
                longest.as_secs()
            ),
            Self::Throttled { .. } => "try again later, or with more attempts".to_owned(),
            Self::Loop { .. } => "check `next` against the app's documentation".to_owned(),
            Self::Answer { .. } => "check `parse` and `output` against the app's documentation".to_owned(),
            Self::Requests { .. } => "ask for fewer pages, or split the work over several runs".to_owned(),
            Self::Failed { .. } => return None,
        })
    }

    pub(super) fn invalid(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), fix: Some(fix.into()) }
    }
}
