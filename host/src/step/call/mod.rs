//! One HTTP request as data: what the no-code step, an action and `deputy request` are made of.
//!
//! [`perform`] sends it through the [`Road`](super::Road) like any request of a step, so it can do no more than one.
//! The rules are pure: `retry` says whether and when to try again, `pages` what the next page is, `answer` what an
//! answer gives; `run` alone waits and sends.

mod answer;
mod error;
mod link;
mod pages;
mod pointer;
mod request;
mod retry;
mod run;
mod save;
#[cfg(test)]
mod tests;

pub use error::CallError;
pub(super) use pointer::set as set_pointer;
pub use run::{CallPlace, perform};
pub use save::{Files, Taken};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use deputy_declaration::types::NextPage;

/// A request, and what to make of its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub method: String,
    /// Below the app's base, or an absolute URL within the account's reach.
    pub path: String,
    /// In order; added to what the path holds.
    #[serde(default)]
    pub query: Vec<(String, String)>,
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: CallBody,
    /// The rule set; none: the app's default.
    #[serde(default)]
    pub identity: Option<String>,
    #[serde(default)]
    pub answer: AnswerRules,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallBody {
    #[default]
    None,
    Json(Value),
    /// `application/x-www-form-urlencoded`
    Form(Vec<(String, String)>),
    Text {
        /// Empty: none is sent.
        content_type: String,
        text: String,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerRules {
    pub parse: Parse,
    /// Statuses that are a success; empty: 200 to 299, unless the app's signals say otherwise.
    pub expect: Vec<u16>,
    /// A JSON Pointer to what the call gives back; none: `{"status", "headers", "body"}`.
    pub output: Option<String>,
    /// The body goes into a file of this name in the run's folder, and the call gives
    /// `{"path", "bytes", "sha256", "content_type"}`.
    pub save: Option<String>,
    pub retry: CallRetry,
    /// Reads page after page and gives the list of items. Excludes `output` and `save`.
    pub pages: Option<Pages>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parse {
    /// By the answer's content type: JSON, text, or base64 for anything else.
    #[default]
    Auto,
    Json,
    Text,
    Base64,
}

/// Tries again when the app says that it is throttled or down (429, 502, 503, 504 and its own signals). A request that
/// is not idempotent (RFC 9110 section 9.2.2) is tried again only where it was certainly not carried out (throttled, or
/// failed before anything was sent), or where `unsafe_too` allows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallRetry {
    /// In all; 1 is no retry.
    pub attempts: u32,
    /// The most that one wait may take; what the provider asks for beyond it is an error that says when.
    pub longest_wait: Duration,
    pub unsafe_too: bool,
}

impl Default for CallRetry {
    fn default() -> Self {
        Self { attempts: 3, longest_wait: Duration::from_secs(30), unsafe_too: false }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pages {
    /// A JSON Pointer to the list, empty for the answer itself; none: as the app declares.
    pub items: Option<String>,
    /// None: as the app declares.
    pub next: Option<NextPage>,
    pub most_pages: u32,
    pub most_items: u32,
}

impl Default for Pages {
    fn default() -> Self {
        Self { items: None, next: None, most_pages: 20, most_items: 1_000 }
    }
}
