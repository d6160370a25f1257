//! The one thread that writes.
//!
//! Why one: it checks expectations against rows that nobody else can change, so a commit is one sled batch, atomic over
//! crashes, without sled's optimistic transactions and their retries. And while it waits for the disk, commits queue
//! up behind it; it then takes them together, so many writers share one sync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use sled::Batch;
use tokio::sync::oneshot;

use super::{Shared, rows};
use crate::killpoint;
use crate::store::plan::{Changes, plan};
use crate::store::{Op, StoreError};

/// The most commits that share one sync.
const GROUP_COMMITS: usize = 256;
/// A group takes no further commit beyond this many bytes of operations.
const GROUP_BYTES: usize = 4 << 20;

pub(super) struct Job {
    pub(super) operations: Vec<Op>,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// Writes until every sender is gone.
pub(super) fn run(shared: &Arc<Shared>, jobs: &Receiver<Job>) {
    // A panic, which sled is capable of, leaves the rows in an unknown state.
    let guard = EndOnPanic(shared);
    while let Ok(first) = jobs.recv() {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < GROUP_COMMITS && bytes < GROUP_BYTES {
            let Ok(job) = jobs.try_recv() else { break };
            bytes += job.bytes();
            group.push(job);
        }
        write(shared, group);
    }
    std::mem::forget(guard);
}

impl Job {
    fn bytes(&self) -> usize {
        let bytes = |operation: &Op| match operation {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key, .. } | Op::Check { key, .. } | Op::Add { key, .. } => key.len(),
        };
        self.operations.iter().map(bytes).sum()
    }
}

/// Makes a group durable, then answers it. A conflict too is told only then: its cause must not vanish in a crash.
fn write(shared: &Shared, group: Vec<Job>) {
    let mut answers = Vec::with_capacity(group.len());
    let mut after = Changes::new();
    for job in group {
        let outcome = match shared.alive() {
            Ok(()) => plan(job.operations, |key| match after.get(key) {
                Some(changed) => Ok(changed.clone()),
                None => shared.ended_by(rows::read(&shared.db, key)),
            }),
            Err(error) => Err(error),
        };
        answers.push((job.done, outcome.map(|changes| after.extend(changes))));
    }
    if !after.is_empty() {
        // A failure ends the store, and every answer below says so.
        let _ = shared.ended_by(make_durable(shared, &after));
    }
    for (done, outcome) in answers {
        // Nobody waits any more when the future was dropped; the commit stands all the same.
        let _ = done.send(shared.alive().and(outcome));
    }
}

fn make_durable(shared: &Shared, after: &Changes) -> Result<(), StoreError> {
    shared.alive()?;
    let mut before = BTreeMap::new();
    let mut batch = Batch::default();
    for (key, row) in after {
        let old = rows::read(&shared.db, key)?;
        rows::replace(&mut batch, key, old.as_ref(), row.as_ref());
        before.insert(key.clone(), old);
    }
    killpoint::reach("store-before-apply");
    {
        let mut hidden = shared.hidden.write().map_err(|_| StoreError::Failed("a reader panicked".to_owned()))?;
        *hidden = before;
        shared.db.apply_batch(batch).map_err(rows::failed)?;
    }
    killpoint::reach("store-before-flush");
    shared.db.flush().map_err(rows::failed)?;
    // On Linux sled's flush ends in sync_file_range(2), which neither writes metadata nor empties the disk's cache.
    shared.file.sync_all().map_err(|error| StoreError::Failed(format!("sync: {error}")))?;
    #[cfg(test)]
    shared.syncs.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    killpoint::reach("store-after-flush");
    let mut hidden = shared.hidden.write().map_err(|_| StoreError::Failed("a reader panicked".to_owned()))?;
    hidden.clear();
    Ok(())
}

struct EndOnPanic<'a>(&'a Shared);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        self.0.end("the writer panicked".to_owned());
    }
}
