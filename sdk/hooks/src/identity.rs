//! The hook that says whose an account is.

use crate::Error;
use crate::identity_bindings::exports::deputy::app::identity as wit;

/// Reads the answer to the test request of an app that says `test.identity-hook = true`.
pub trait Identify {
    /// # Errors
    /// Nothing is stored, and whoever connects is told the sentence.
    fn identify(answer: Answer) -> Result<Who, Error>;
}

/// The answer to the test request, without secrets of the account.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// What came; what is no UTF-8 is replaced.
    pub body: String,
    inputs: Vec<(String, String)>,
}

impl Answer {
    /// An input of the account.
    pub fn input(&self, name: &str) -> Option<&str> {
        self.inputs.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn from_wit(answer: wit::Answer) -> Self {
        let inputs = answer.inputs.into_iter().map(|field| (field.name, field.value)).collect();
        Self { status: answer.status, body: answer.body, inputs }
    }
}

/// Whose account it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Never changes.
    pub id: Option<String>,
    /// What a person recognises.
    pub label: Option<String>,
}

impl Who {
    pub(crate) fn into_wit(self) -> wit::Who {
        wit::Who { id: self.id, label: self.label }
    }
}
