//! Who asks. Every verb of the facade takes a caller, every record has an owner, and both stand in index keys and in
//! the data that seals a record.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::RunId;

/// Whose account, client or run it is: `user:local` today, `user:…` and `external:…` later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner(String);

impl Owner {
    /// The one person of a command line.
    pub fn local() -> Self {
        Self("user:local".to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Through which door the owner asks; stands in the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    Cli,
    Run(RunId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub owner: Owner,
    pub via: Via,
}

impl Caller {
    pub fn local() -> Self {
        Self { owner: Owner::local(), via: Via::Cli }
    }
}
