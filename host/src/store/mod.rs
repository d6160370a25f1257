//! Durable rows by key, behind one contract that every backend passes (`contract.rs`).
//!
//! Promises: `commit` returns only when its rows are durable, and applies all operations or none; a row's generation
//! rises by one with every put; scans are in key order. After an I/O error a store refuses everything that follows:
//! an fsync that failed once must not be retried.

#[cfg(test)]
mod contract;
mod keys;
mod lock;
pub mod memory;
mod plan;
pub mod sled;

pub use self::sled::SledStore;
pub use keys::{key, ordered, parts, starting, unordered};
pub use memory::MemoryStore;

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::time::Time;

/// The longest key, in bytes. With it an index page of the embedded store stays below the size that would spill it
/// into a file of its own.
pub const MAX_KEY_BYTES: usize = 512;

/// The largest value, in bytes. Larger things are files named by their hash, not rows.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// The most operations in one commit.
pub const MAX_OPERATIONS: usize = 1024;

/// The most bytes of keys and values in one commit.
pub const MAX_COMMIT_BYTES: usize = 8 << 20;

pub trait Store: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Row>, StoreError>>;

    /// Rows whose key starts with `prefix`, in key order, beginning behind `after`, at most `limit`. One scan sees one
    /// state of the store; what a reader sees is durable.
    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Row)>, StoreError>>;

    /// All operations or none; durable when it returns. Operations apply in order, each seeing those before it.
    /// Dropping the future does not undo the commit: it happens whole, or not at all.
    fn commit(&self, operations: Vec<Op>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The clock that leases go by.
    fn now(&self) -> Time;

    /// Whether one process at a time can have this store open: then a lease of another holder is over.
    fn is_exclusive(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub value: Bytes,
    /// 1 after the first put; starts anew after a delete.
    pub generation: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Generation(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        expect: Expect,
    },
    Delete {
        key: Vec<u8>,
        expect: Expect,
    },
    /// Changes nothing, but fails the commit.
    Check {
        key: Vec<u8>,
        expect: Expect,
    },
    /// A counter: the row holds an `i64` in little-endian; absent counts as zero.
    Add {
        key: Vec<u8>,
        delta: i64,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another commit came first.
    #[error("the row changed meanwhile")]
    Conflict { key: Vec<u8> },
    #[error("the store is in use by process {pid}; stop it, or use another data folder with --data")]
    InUse {
        pid: String,
        /// What that process does for as long as it runs: `serve`.
        role: Option<String>,
    },
    #[error("the store failed and takes no more writes until restart: {0}")]
    Failed(String),
    #[error("{0}")]
    Corrupt(String),
    /// Nothing was written.
    #[error("a {what} of {size} is more than the store takes; the limit is {limit}")]
    TooLarge { what: &'static str, size: usize, limit: usize },
    /// The store could not be opened or created; nothing in it was changed.
    #[error("cannot open the store at {}: {reason}", path.display())]
    Open { path: PathBuf, reason: String },
}

impl StoreError {
    /// Stable, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "store_conflict",
            Self::InUse { .. } => "store_in_use",
            Self::Failed(_) => "store_failed",
            Self::Corrupt(_) => "store_corrupt",
            Self::TooLarge { .. } => "store_too_large",
            Self::Open { .. } => "store_open",
        }
    }

    /// What a person can do about it.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Conflict { .. } => Some("try again".to_owned()),
            Self::InUse { pid, role: Some(role) } => Some(format!(
                "`deputy {role}` (process {pid}) holds this data folder for as long as it runs: stop it first, or use \
                 another data folder with --data"
            )),
            Self::InUse { pid, role: None } => {
                Some(format!("wait for process {pid} to end or stop it, or use another data folder with --data"))
            }
            Self::Failed(_) => Some(
                "check the disk (space, permissions, its log), then start again; acknowledged writes are kept"
                    .to_owned(),
            ),
            Self::Corrupt(_) => Some("restore the data folder from a backup".to_owned()),
            Self::TooLarge { .. } => None,
            Self::Open { path, .. } => Some(format!(
                "make sure that this user may write to {}, or use another data folder with --data",
                path.display()
            )),
        }
    }
}
