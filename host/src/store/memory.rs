//! A store in memory, for tests and `deputy demo`: the same contract, except that it ends with the process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Op, Row, Store, StoreError, plan};
use crate::time::Time;

#[derive(Default)]
pub struct MemoryStore {
    rows: Mutex<BTreeMap<Vec<u8>, Row>>,
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    fn rows(&self) -> Result<MutexGuard<'_, BTreeMap<Vec<u8>, Row>>, StoreError> {
        self.rows.lock().map_err(|_| StoreError::Failed("a writer panicked".to_owned()))
    }

    fn scan_now(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Row)>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let rows = self.rows()?;
        let found = rows
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .take(limit)
            .map(|(key, row)| (Bytes::copy_from_slice(key), row.clone()));
        Ok(found.collect())
    }

    fn commit_now(&self, operations: Vec<Op>) -> Result<(), StoreError> {
        plan::validate(&operations)?;
        let mut rows = self.rows()?;
        let changes = plan::plan(operations, |key| Ok(rows.get(key).cloned()))?;
        for (key, row) in changes {
            match row {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        async move { Ok(self.rows()?.get(key).cloned()) }.boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Row)>, StoreError>> {
        async move { self.scan_now(prefix, after, limit) }.boxed()
    }

    fn commit(&self, operations: Vec<Op>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move { self.commit_now(operations) }.boxed()
    }

    fn now(&self) -> Time {
        Time::now()
    }
}
