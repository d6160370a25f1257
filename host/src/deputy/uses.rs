//! Where an account is used, what that needs of it, and how everything moves to another account.

use serde::Serialize;

use super::{AccountView, Caller, Deleted, Deputy, Error};
use crate::ids::AccountId;
use crate::store::StoreError;
use crate::workflow::WorkflowError;
use crate::workflow::records::Use;

/// How often a move is tried again when something was deployed at the same moment.
const ATTEMPTS: usize = 5;

/// An account, where it is used, and what it lacks there.
#[derive(Debug, Serialize)]
pub struct AccountDetail {
    #[serde(flatten)]
    pub account: AccountView,
    pub uses: Vec<Use>,
    /// Scopes that a bound step needs and the account was not granted, as far as both are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingScopes>,
}

#[derive(Debug, Serialize)]
pub struct MissingScopes {
    pub workflow: String,
    pub step: String,
    pub scopes: Vec<String>,
    /// The command that asks for just these.
    pub fix: String,
}

/// One account in the place of another.
#[derive(Debug, Serialize)]
pub struct AccountReplaced {
    pub from: String,
    pub to: String,
    /// The workflows that use the new one now.
    pub workflows: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingScopes>,
}

impl Deputy {
    pub async fn account_show(&self, caller: &Caller, name: &str) -> Result<AccountDetail, Error> {
        let account = self.account_view(caller, name).await?;
        self.detailed(caller, account).await
    }

    /// Nothing is sent through a disabled account; everything else of it stays. Says what stands still with it.
    pub async fn account_set_disabled(
        &self,
        caller: &Caller,
        name: &str,
        disabled: bool,
    ) -> Result<AccountDetail, Error> {
        let account = self.opened().await?.accounts.set_disabled(caller, name, disabled).await?;
        self.detailed(caller, account).await
    }

    /// Refused while a workflow is bound to it, unless its owner means to break that.
    pub async fn account_delete(&self, caller: &Caller, name: &str, breaks: bool) -> Result<Deleted, Error> {
        if !breaks {
            // An account whose record is damaged can still be deleted.
            if let Ok(account) = self.account_view(caller, name).await {
                let uses = self.uses(caller, &account.id).await?;
                refuse_while_bound(&account.name, &uses)?;
            }
        }
        Ok(self.opened().await?.accounts.delete(caller, name).await?)
    }

    /// Binds `to` wherever `from` is bound, in one transaction.
    pub async fn account_replace(&self, caller: &Caller, from: &str, to: &str) -> Result<AccountReplaced, Error> {
        let (old, new) = (self.account_view(caller, from).await?, self.account_view(caller, to).await?);
        if old.id == new.id {
            let message = format!("{} and {} are the same account", old.name, new.name);
            return Err(Error::new("account_same", message).with_fix("name another account of the app"));
        }
        if old.app != new.app {
            let message = format!("{} is an account of {}, and {} one of {}", old.name, old.app, new.name, new.app);
            return Err(Error::new("account_other_app", message).with_fix("name two accounts of one app"));
        }
        let records = self.engine().await?.records();
        for _ in 0..ATTEMPTS {
            let workflows = bound_to(&self.uses(caller, &old.id).await?);
            let operations = records.rebind_ops(&caller.owner, &old.id, &new.id).await?;
            match records.commit(operations).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => {
                    let missing = missing(&new, &self.uses(caller, &new.id).await?);
                    return Ok(AccountReplaced { from: old.name, to: new.name, workflows, missing });
                }
            }
        }
        Err(WorkflowError::from(StoreError::Conflict { key: Vec::new() }).into())
    }

    async fn account_view(&self, caller: &Caller, name: &str) -> Result<AccountView, Error> {
        Ok(self.opened().await?.accounts.show(caller, name).await?)
    }

    async fn detailed(&self, caller: &Caller, account: AccountView) -> Result<AccountDetail, Error> {
        let uses = self.uses(caller, &account.id).await?;
        let missing = missing(&account, &uses);
        Ok(AccountDetail { account, uses, missing })
    }

    async fn uses(&self, caller: &Caller, account: &AccountId) -> Result<Vec<Use>, Error> {
        Ok(self.engine().await?.records().uses_of(&caller.owner, account).await?)
    }
}

fn bound_to(uses: &[Use]) -> Vec<String> {
    let workflow = |used: &Use| match used {
        Use::Workflow { name, .. } => Some(name.clone()),
        Use::Step { .. } => None,
    };
    uses.iter().filter_map(workflow).collect()
}

fn refuse_while_bound(account: &str, uses: &[Use]) -> Result<(), Error> {
    let workflows = bound_to(uses);
    if workflows.is_empty() {
        return Ok(());
    }
    let plural = if workflows.len() == 1 { "workflow" } else { "workflows" };
    let mut error = Error::new("account_in_use", format!("{account} is bound in {} {plural}", workflows.len()))
        .with_fix(format!(
            "move them with `deputy account replace {account} OTHER`, or delete it all the same with --break"
        ));
    error.candidates = workflows;
    Err(error)
}

/// An account whose scopes nobody told lacks nothing that is known.
fn missing(account: &AccountView, uses: &[Use]) -> Vec<MissingScopes> {
    if account.scopes.is_empty() {
        return Vec::new();
    }
    let mut missing = Vec::new();
    for used in uses {
        let Use::Workflow { name, props } = used else { continue };
        for prop in props {
            let lacks: Vec<String> =
                prop.scopes.iter().filter(|scope| !account.scopes.contains(scope)).cloned().collect();
            if !lacks.is_empty() {
                let asked: Vec<String> = lacks.iter().map(|scope| format!("--add-scope {scope}")).collect();
                let fix = format!("deputy account reconnect {} {}", account.name, asked.join(" "));
                missing.push(MissingScopes { workflow: name.clone(), step: prop.step.clone(), scopes: lacks, fix });
            }
        }
    }
    missing
}
