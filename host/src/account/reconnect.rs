//! The same account with new secrets: its id, nickname and everything that is bound to it stay.
//!
//! Promises: the provider must say that it is the same person, or the owner must; a refresh of the old secrets that is
//! still under way can no longer store anything; hosts of the owner's choice are confirmed again when they change.

use std::collections::BTreeMap;

use super::verbs::counts;
use super::view::AccountView;
use super::{AccountError, Accounts, names};
use crate::auth::flow::Again;
use crate::auth::oauth2::Asked;
use crate::auth::record::{Identity, Record};
use crate::auth::rows::At;
use crate::caller::{Caller, Owner};
use crate::ids::AccountId;

/// How often a write is tried again when the account changed at the same moment.
const ATTEMPTS: usize = 5;

/// What connecting an account anew begins with.
#[derive(Debug)]
pub struct Reconnecting {
    pub account: AccountId,
    pub app: String,
    pub method: String,
    pub inputs: BTreeMap<String, String>,
}

impl Accounts {
    pub async fn reconnecting(&self, caller: &Caller, name: &str) -> Result<Reconnecting, AccountError> {
        let record = names::resolve(&self.rows, &caller.owner, name).await?.value;
        Ok(Reconnecting { account: record.id, app: record.app, method: record.method, inputs: record.inputs })
    }

    /// Switches an account off or on: a request through one that is off is refused, and nothing else changes.
    pub async fn set_disabled(&self, caller: &Caller, name: &str, disabled: bool) -> Result<AccountView, AccountError> {
        let owner = &caller.owner;
        let id = names::resolve(&self.rows, owner, name).await?.value.id;
        for _ in 0..ATTEMPTS {
            let At { value: mut record, generation } = self.known(owner, &id).await?;
            if record.disabled == disabled {
                return Ok((&record).into());
            }
            record.disabled = disabled;
            match self.rows.commit(self.rows.put_account(&record, generation)?).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok((&record).into()),
            }
        }
        Err(AccountError::Busy)
    }

    /// The record that is connected anew, if it is one of this app.
    pub(super) async fn again(&self, owner: &Owner, again: &Again, app: &str) -> Result<Record, AccountError> {
        let record = self.known(owner, &again.account).await?.value;
        if record.app != app {
            return Err(AccountError::NotFound { name: format!("{app}/{}", record.nickname), nearest: None });
        }
        Ok(record)
    }

    async fn known(&self, owner: &Owner, id: &AccountId) -> Result<At<Record>, AccountError> {
        let found = self.rows.account(owner, id).await?;
        found.ok_or_else(|| AccountError::NotFound { name: id.to_string(), nearest: None })
    }

    /// Puts new secrets into an account that is there.
    pub(super) async fn store_again(&self, new: &mut Record, again: &Again) -> Result<(), AccountError> {
        let owner = new.owner.clone();
        for _ in 0..ATTEMPTS {
            let At { value: old, generation } = self.known(&owner, &again.account).await?;
            if !again.other_identity {
                same_identity(&old, &new.identity)?;
            }
            keep(&old, new);
            let mut operations = self.rows.put_account(new, generation)?;
            operations.push(self.rows.renounce_turn(&owner, &old.id).await?);
            if old.client != new.client {
                operations.extend(counts(&old, -1));
                operations.extend(counts(new, 1));
            }
            if let Some(client) = &new.client {
                operations.push(self.rows.client_unchanged(&owner, &new.app, client).await?);
            }
            match self.rows.commit(operations).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(()),
            }
        }
        Err(AccountError::Busy)
    }
}

/// What an account keeps when its secrets are replaced.
fn keep(old: &Record, new: &mut Record) {
    new.id = old.id.clone();
    new.nickname = old.nickname.clone();
    new.created_at = old.created_at;
    new.secrets = old.secrets + 1;
    new.disabled = old.disabled;
    if new.identity == Identity::default() {
        new.identity = old.identity.clone();
    }
}

fn same_identity(old: &Record, new: &Identity) -> Result<(), AccountError> {
    match (&old.identity.id, &new.id) {
        (Some(was), Some(is)) if was != is => Err(AccountError::OtherIdentity {
            name: old.name(),
            was: old.identity.shown().unwrap_or(was).to_owned(),
            is: new.shown().unwrap_or(is).to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The scopes of a new consent: those of the last one, and what is added. An account that was connected before they
/// were kept begins with the app's defaults.
pub(super) fn asked_again(record: &Record, defaults: Asked, add: Asked) -> Asked {
    let before = if record.asked.is_empty() { defaults } else { record.asked.clone() };
    crate::auth::oauth2::with_more(before, add)
}
