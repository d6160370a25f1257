//! What is wrong with the configuration, and where.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// Line and column from 1, the column in characters.
    #[error("{}:{line}:{column}: {message}", path.display())]
    File { path: PathBuf, line: usize, column: usize, message: String, fix: Option<String> },
    #[error("{name}: {message}")]
    Variable { name: &'static str, message: String, fix: Option<String> },
    #[error("cannot read {}: {reason}", path.display())]
    Read { path: PathBuf, reason: String },
    #[error("there is no folder to use: neither {variable} nor HOME is set to one")]
    NoHome { variable: &'static str },
}

impl ConfigError {
    /// Stable, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File { .. } | Self::Variable { .. } => "config_invalid",
            Self::Read { .. } => "config_unreadable",
            Self::NoHome { .. } => "config_no_home",
        }
    }

    /// What a person can do about it.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::File { fix, .. } | Self::Variable { fix, .. } => fix.clone(),
            Self::Read { path, .. } => Some(format!("make {} readable for this user, or move it away", path.display())),
            Self::NoHome { variable } => Some(format!("set {variable} to a folder")),
        }
    }
}
