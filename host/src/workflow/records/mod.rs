//! What is kept of workflows and runs, through the [`Store`](crate::store::Store) alone.
//!
//! Two kinds of rows. Sealed ones decide: which version is deployed with which accounts ([`Deployed`], [`Version`]),
//! what a run was started with and what each attempt of a step left ([`RunStart`], [`Attempt`], [`RunEnd`]). Plain ones
//! serve lists, queues and indexes: names, states, times, counts. Payloads and outputs are people's data and stand in
//! no plain row. Whoever can write the database can break a workflow or set a run back; not make one do something
//! else.
//!
//! Everything that several nodes must agree on is a row, changed under an expected generation: a run belongs to whoever
//! holds its claim, the claim's generation is the fence of all that its holder writes, and a node's claims are over
//! when its own row is ([`nodes`]). Nothing is known in memory only.

pub mod definition;
mod keys;
pub mod nodes;
pub mod part;
pub mod queue;
pub mod runs;
pub mod uses;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use definition::{Binding, Bindings, Deployed, Deployment, HookToken, Placed, Version, WorkflowHead};
pub use nodes::NodeId;
pub use part::{Attempt, AttemptState, Failure, RunEnd, RunStart};
pub use queue::{Claim, Due, Submission, Submitted};
pub use runs::{RunHead, RunState, RunsPage, TriggerKind};
pub use uses::{Use, UsedProp};

use super::WorkflowError;
use crate::auth::rows::Rows;
use crate::caller::Owner;
use crate::store::{Op, Store};
use crate::time::Time;
use crate::vault::Vault;

/// How often a change is tried again that another commit came before.
const MOST_TRIES: usize = 32;

#[derive(Clone)]
pub struct Records {
    rows: Rows,
}

/// Which workflow; the value of index rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowRef {
    pub owner: Owner,
    pub name: String,
}

impl Records {
    pub fn new(store: Arc<dyn Store>, vault: Arc<Vault>) -> Self {
        Self { rows: Rows { store, vault } }
    }

    pub fn now(&self) -> Time {
        self.rows.now()
    }

    /// Whether no other process can have this store open: then what another left under way is over.
    pub fn is_exclusive(&self) -> bool {
        self.rows.store.is_exclusive()
    }

    pub async fn commit(&self, operations: Vec<Op>) -> Result<(), WorkflowError> {
        Ok(self.rows.commit(operations).await?)
    }

    async fn count(&self, key: &[u8]) -> Result<i64, WorkflowError> {
        Ok(self.rows.count(key).await?)
    }

    /// A keyed fingerprint as text, for keys of index rows.
    fn blind(&self, parts: &[&str]) -> String {
        data_encoding::HEXLOWER.encode(&self.rows.vault.blind(&crate::store::key(parts)))
    }
}

/// The last segment of a key of ours.
fn last_part(key: &Bytes) -> Result<String, WorkflowError> {
    let parts = crate::store::parts(key);
    parts
        .and_then(|mut parts| parts.pop())
        .ok_or_else(|| WorkflowError::Damaged("a key of the store is damaged".to_owned()))
}

/// Says so when a change was overtaken too often.
fn busy<T>(name: &str) -> Result<T, WorkflowError> {
    Err(WorkflowError::Busy { name: name.to_owned() })
}

#[cfg(test)]
mod tests;
