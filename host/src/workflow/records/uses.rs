//! Where an account is used: rows beside the bindings, written in the same commit.

use serde::{Deserialize, Serialize};

use super::{Bindings, Records, definition, keys};
use crate::auth::rows::{At, plain, read_plain};
use crate::caller::Owner;
use crate::ids::AccountId;
use crate::store::{Expect, MAX_OPERATIONS, Op, parts};
use crate::time::Time;
use crate::workflow::WorkflowError;

/// Uses of one account that are read: more than a page of them helps nobody.
const MOST_USES: usize = 1_000;
/// Ad hoc steps that are remembered for one account; older ones give way.
const MOST_STEPS: usize = 100;

/// One place where an account is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Use {
    /// Bound in the version that is deployed.
    Workflow { name: String, props: Vec<UsedProp> },
    /// Given to a step by hand: `deputy step run`.
    Step { name: String, last_at: Time },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsedProp {
    pub step: String,
    pub prop: String,
    /// What the step needs of the account.
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl Records {
    /// Where an account is used: ad hoc steps, then workflows, each by name.
    pub async fn uses_of(&self, owner: &Owner, account: &AccountId) -> Result<Vec<Use>, WorkflowError> {
        let rows = self.rows.store.scan(&keys::uses(owner, account), None, MOST_USES).await?;
        let mut uses = Vec::new();
        for (key, row) in &rows {
            let segments = parts(key).unwrap_or_default();
            match segments.as_slice() {
                [_, _, _, kind, name] if kind == "workflow" => {
                    uses.push(Use::Workflow { name: name.clone(), props: read_plain(row)? });
                }
                [_, _, _, kind, name] if kind == "step" => {
                    uses.push(Use::Step { name: name.clone(), last_at: read_plain(row)? });
                }
                _ => return Err(WorkflowError::Damaged("a key of the store is damaged".to_owned())),
            }
        }
        Ok(uses)
    }

    /// A step was run by hand with this account. The oldest of many are forgotten.
    pub async fn note_step_use(
        &self,
        owner: &Owner,
        account: &AccountId,
        step: &str,
        at: Time,
    ) -> Result<(), WorkflowError> {
        let name: String = step.chars().filter(|c| !c.is_control()).take(100).collect();
        let key = keys::used(owner, account, "step", &name);
        let mut operations = Vec::new();
        let known: Vec<_> = self
            .uses_of(owner, account)
            .await?
            .into_iter()
            .filter_map(|used| match used {
                Use::Step { name, last_at } => Some((last_at, name)),
                Use::Workflow { .. } => None,
            })
            .collect();
        if known.len() >= MOST_STEPS
            && known.iter().all(|(_, other)| *other != name)
            && let Some((_, oldest)) = known.iter().min()
        {
            operations.push(Op::Delete { key: keys::used(owner, account, "step", oldest), expect: Expect::Any });
        }
        operations.push(plain(key, &at, Expect::Any)?);
        self.commit(operations).await
    }

    /// Everything that must change for `to` to stand wherever `from` is bound: one commit's operations, each against
    /// the generation that was read, so that a deployment at the same moment makes it fail as a conflict. Runs that
    /// are under way keep the account they began with until they are taken up again.
    pub async fn rebind_ops(&self, owner: &Owner, from: &AccountId, to: &AccountId) -> Result<Vec<Op>, WorkflowError> {
        if from == to {
            return Ok(Vec::new());
        }
        // The sealed record, and three index rows at the most.
        let limit = MAX_OPERATIONS / 4 - 8;
        let prefix = crate::store::key(&["use", owner.as_str(), from.as_str(), "workflow"]);
        let rows = self.rows.store.scan(&prefix, None, limit + 1).await?;
        if rows.len() > limit {
            return Err(WorkflowError::TooManyUses { account: from.clone(), count: rows.len(), limit });
        }
        let mut operations = Vec::new();
        for (key, row) in rows {
            let name = super::last_part(&key)?;
            // A deployment that moves away from the account meanwhile changes this row.
            operations.push(Op::Check { key: key.to_vec(), expect: Expect::Generation(row.generation) });
            let Some(At { value: mut deployed, generation }) = self.deployed(owner, &name).await? else {
                operations.push(Op::Delete { key: key.to_vec(), expect: Expect::Any });
                continue;
            };
            let before = deployed.bindings.clone();
            rebind(&mut deployed.bindings, from, to);
            deployed.updated_at = self.now();
            operations.extend(self.put_deployed(&deployed, generation)?);
            operations.extend(definition::use_operations(owner, &name, &before, &deployed.bindings)?);
        }
        Ok(operations)
    }
}

fn rebind(bindings: &mut Bindings, from: &AccountId, to: &AccountId) {
    for binding in bindings.values_mut().flat_map(|props| props.values_mut()) {
        if binding.account == *from {
            binding.account = to.clone();
        }
    }
}
