//! Processes that execute runs. Each keeps one row alive; the claims of a node whose row is over are free to take.
//!
//! One row a node, and not one lease a run: a thousand runs that wait for slow servers cost one write in ten seconds.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::{Records, keys};
use crate::auth::rows::{plain, read_plain};
use crate::store::{Expect, Op};
use crate::time::Time;
use crate::workflow::WorkflowError;

/// How long a node counts as alive without a sign.
pub const NODE_LEASE: Duration = Duration::from_secs(60);
/// How often it gives one.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Rows of dead nodes that are swept at once.
const SWEEP: usize = 100;

/// One process, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeId(String);

impl NodeId {
    pub fn generate() -> Result<Self, WorkflowError> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_| WorkflowError::Internal("there are no random bytes".to_owned()))?;
        Ok(Self(HEXLOWER.encode(&bytes)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Records {
    /// This node lives for another lease. Also forgets nodes that are long over.
    pub async fn beat(&self, node: &NodeId) -> Result<(), WorkflowError> {
        let now = self.now();
        let mut operations = vec![plain(keys::node(node.as_str()), &now.plus(NODE_LEASE), Expect::Any)?];
        for (key, row) in self.rows.store.scan(&crate::store::key(&["node"]), None, SWEEP).await? {
            let until: Time = read_plain(&row)?;
            if now.since(until) > 10 * NODE_LEASE {
                operations.push(Op::Delete { key: key.to_vec(), expect: Expect::Generation(row.generation) });
            }
        }
        match self.commit(operations).await {
            // Another node swept the same row.
            Err(error) if error.is_conflict() => {
                self.commit(vec![plain(keys::node(node.as_str()), &now.plus(NODE_LEASE), Expect::Any)?]).await
            }
            other => other,
        }
    }

    /// This node ends: whoever comes next need not wait for its lease.
    pub async fn retire(&self, node: &NodeId) -> Result<(), WorkflowError> {
        self.commit(vec![Op::Delete { key: keys::node(node.as_str()), expect: Expect::Any }]).await
    }

    /// Whether the store answers at all.
    pub async fn answers(&self) -> Result<(), WorkflowError> {
        self.rows.store.get(&keys::node("")).await?;
        Ok(())
    }

    /// Whether another node may still be at work. Of a store that only one process can open, none is.
    pub(super) async fn lives(&self, node: &NodeId) -> Result<bool, WorkflowError> {
        if self.is_exclusive() {
            return Ok(false);
        }
        let Some(row) = self.rows.store.get(&keys::node(node.as_str())).await? else { return Ok(false) };
        let until: Time = read_plain(&row)?;
        Ok(self.now() < until)
    }
}
