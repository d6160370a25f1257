//! Durable rows by key, behind one contract that every backend passes (`contract.rs`).
//!
//! Promises: `commit` returns only when its rows are durable, and applies all operations or none; a row's generation
//! rises by one with every put; scans are in key order. After an I/O error a store refuses everything that follows:
//! an fsync that failed once must not be retried.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::time::Time;

pub trait Store: Send + Sync + 'static {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Row>, StoreError>>;

    /// Rows whose key starts with `prefix`, in key order, beginning behind `after`, at most `limit`.
    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Row)>, StoreError>>;

    /// All operations or none; durable when it returns.
    fn commit(&self, operations: Vec<Op>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The clock that leases go by.
    fn now(&self) -> Time;
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
    InUse { pid: String },
    #[error("the store failed and takes no more writes until restart: {0}")]
    Failed(String),
    #[error("{0}")]
    Corrupt(String),
}
