//! The embedded store: sled 0.34 below, durable and fail-stop above.
//!
//! - `commit` returns when its rows are on the disk: applied as one batch, flushed, and synced once more, because
//!   sled's own flush is no fsync on Linux.
//! - A reader never sees a row that is not durable yet: from the moment a batch is applied until it is synced, reads
//!   get the rows as they were before it.
//! - After any error of the disk or of sled the store refuses everything. An fsync that failed must not be tried again:
//!   the kernel may have dropped the pages that it could not write.
//! - One process owns it, by `<data>/lock`; sled itself lies in `<data>/store`.
//!
//! Bounds: keys, values and commits as [`super::MAX_KEY_BYTES`] and its kin say. Good for about a million accounts on
//! one machine (2 GB on disk); memory is the page cache of 128 MiB and what sled keeps per page.

mod folder;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sled::Db;
use tokio::sync::oneshot;

use self::writer::Job;
use super::lock::Lock;
use super::{Op, Row, Store, StoreError, plan};
use crate::time::Time;

pub struct SledStore {
    shared: Arc<Shared>,
    /// Taken when the store is dropped, which ends the writer.
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// Fields drop in this order: the lock goes last, when sled has closed.
struct Shared {
    db: Db,
    /// The file that holds sled's rows, to sync it.
    file: File,
    /// Rows as they were before the batch that is applied but not synced yet. Readers hold it for the length of a read,
    /// so a scan sees one state.
    hidden: RwLock<BTreeMap<Vec<u8>, Option<Row>>>,
    ended: OnceLock<String>,
    #[cfg(test)]
    syncs: std::sync::atomic::AtomicU64,
    _lock: Lock,
}

impl SledStore {
    /// Opens the store of a data folder, making both when they are missing. Blocks for the time that sled needs to
    /// recover: about 1 s for 300,000 rows.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, [`StoreError::Open`] when it cannot be opened.
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        Self::open_as(data, None)
    }

    /// As [`SledStore::open`]; `role` is what others are told that this process does.
    pub fn open_as(data: &Path, role: Option<&str>) -> Result<Self, StoreError> {
        folder::make_data(data)?;
        let lock = Lock::take(data, role)?;
        let (db, file) = folder::open(data)?;
        Self::start(db, file, lock)
    }

    fn start(db: Db, file: File, lock: Lock) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            db,
            file,
            hidden: RwLock::default(),
            ended: OnceLock::new(),
            #[cfg(test)]
            syncs: std::sync::atomic::AtomicU64::new(0),
            _lock: lock,
        });
        let (jobs, queue) = channel();
        let writer = std::thread::Builder::new()
            .name("deputy-store".to_owned())
            .spawn({
                let shared = shared.clone();
                move || writer::run(&shared, &queue)
            })
            .map_err(|error| StoreError::Failed(format!("no thread for its writer: {error}")))?;
        Ok(Self { shared, jobs: Some(jobs), writer: Some(writer) })
    }

    /// A read, off the async threads: it may wait for the disk.
    async fn read<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    {
        self.shared.alive()?;
        let shared = self.shared.clone();
        let read = tokio::task::spawn_blocking(move || shared.ended_by(read(&shared)));
        match read.await {
            Ok(answer) => answer,
            Err(error) => self.shared.ended_by(Err(StoreError::Failed(format!("a read ended early: {error}")))),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            // A panic of the writer is already recorded in `ended`.
            let _ = writer.join();
        }
    }
}

impl Shared {
    /// Refuses once something has failed.
    fn alive(&self) -> Result<(), StoreError> {
        match self.ended.get() {
            Some(reason) => Err(StoreError::Failed(reason.clone())),
            None => Ok(()),
        }
    }

    fn end(&self, reason: String) {
        // The first reason is the one that helps.
        let _ = self.ended.set(reason);
    }

    /// Passes a result on; a failure of the disk ends the store.
    fn ended_by<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Failed(reason) | StoreError::Corrupt(reason)) = &result {
            self.end(reason.clone());
        }
        result
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let hidden = self.hidden.read().map_err(|_| StoreError::Failed("the writer panicked".to_owned()))?;
        match hidden.get(key) {
            Some(row) => Ok(row.clone()),
            None => rows::read(&self.db, key),
        }
    }

    /// Two sorted streams in one: sled's rows, and the hidden ones, which win.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Row)>, StoreError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let hidden = self.hidden.read().map_err(|_| StoreError::Failed("the writer panicked".to_owned()))?;
        let mut hidden = hidden
            .range::<[u8], _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .peekable();
        let stored_prefix = rows::item(prefix);
        let mut stored = self.db.range((start.map(rows::item), Bound::Unbounded)).peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let stored_key = match stored.peek() {
                Some(Ok((item, _))) => item.starts_with(&stored_prefix).then(|| Bytes::copy_from_slice(&item[1..])),
                Some(Err(error)) => return Err(rows::failed(error.clone())),
                None => None,
            };
            match (stored_key, hidden.peek()) {
                (None, None) => break,
                (Some(key), other) if other.is_none_or(|(hidden_key, _)| key < hidden_key.as_slice()) => {
                    if let Some(Ok((_, value))) = stored.next() {
                        let row = rows::decode(&self.db, &key, &value)?;
                        found.push((key, row));
                    }
                }
                (stored_key, _) => {
                    let Some((key, row)) = hidden.next() else { break };
                    if stored_key.is_some_and(|stored_key| stored_key == key.as_slice()) {
                        stored.next();
                    }
                    if let Some(row) = row {
                        found.push((Bytes::copy_from_slice(key), row.clone()));
                    }
                }
            }
        }
        Ok(found)
    }
}

impl Store for SledStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        let key = key.to_vec();
        self.read(move |shared| shared.get(&key)).boxed()
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Bytes, Row)>, StoreError>> {
        let (prefix, after) = (prefix.to_vec(), after.map(<[u8]>::to_vec));
        self.read(move |shared| shared.scan(&prefix, after.as_deref(), limit)).boxed()
    }

    fn commit(&self, operations: Vec<Op>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            plan::validate(&operations)?;
            self.shared.alive()?;
            let (done, answer) = oneshot::channel();
            let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { operations, done }).is_ok());
            match answer.await {
                Ok(answer) if sent => answer,
                _ => {
                    self.shared.alive()?;
                    Err(StoreError::Failed("the writer is gone".to_owned()))
                }
            }
        }
        .boxed()
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn now(&self) -> Time {
        Time::now()
    }
}
