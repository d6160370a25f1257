//! Which version of its app an account keeps to, and the way to another one.
//!
//! Promise: an account moves only to a version that it can live with: its method is there, its tokens are what the
//! method wants, and everything the road needs can be derived from it.

use super::{AccountError, Accounts};
use crate::auth::apps::PinnedApp;
use crate::auth::refresh::at_the_ready;
use crate::auth::rows::At;
use crate::caller::Caller;
use crate::ids::AccountId;

/// How often a write is tried again when the account changed at the same moment.
const ATTEMPTS: usize = 5;
const PAGE: usize = 256;

/// An account that keeps to another version than the current one.
#[derive(Debug, Clone)]
pub struct Behind {
    pub id: AccountId,
    /// `app/nickname`
    pub name: String,
    pub hash: String,
}

impl Accounts {
    /// One page in the order of nicknames, and where the next one begins.
    pub async fn behind(
        &self,
        caller: &Caller,
        app: &str,
        current: &str,
        after: Option<&str>,
    ) -> Result<(Vec<Behind>, Option<String>), AccountError> {
        let names = self.rows.names(&caller.owner, app, after, PAGE).await?;
        let mut behind = Vec::new();
        for (_, id) in &names {
            let Some(At { value: record, .. }) = self.rows.account(&caller.owner, id).await? else { continue };
            if record.declaration != current {
                behind.push(Behind { id: id.clone(), name: record.name(), hash: record.declaration });
            }
        }
        let next = names.last().filter(|_| names.len() == PAGE).map(|(nickname, _)| nickname.clone());
        Ok((behind, next))
    }

    /// The apps that there are accounts of.
    pub async fn apps(&self, caller: &Caller) -> Result<std::collections::BTreeSet<String>, AccountError> {
        let mut apps = std::collections::BTreeSet::new();
        let mut after = None;
        loop {
            let heads = self.rows.heads(&caller.owner, after.as_ref(), PAGE).await?;
            let Some(last) = heads.last() else { return Ok(apps) };
            after = Some(last.id.clone());
            apps.extend(heads.into_iter().map(|head| head.app));
        }
    }

    /// Moves an account that still keeps to `from`. The inner error: why it cannot live with the new version.
    pub async fn move_to(
        &self,
        caller: &Caller,
        account: &Behind,
        to: &PinnedApp,
    ) -> Result<Result<(), String>, AccountError> {
        self.apps.keep(&to.hash).map_err(crate::auth::error::AuthError::Internal)?;
        for _ in 0..ATTEMPTS {
            let Some(At { value: mut record, generation }) = self.rows.account(&caller.owner, &account.id).await?
            else {
                return Ok(Err("it is gone".to_owned()));
            };
            if record.declaration != account.hash {
                return Ok(Err("it was connected anew meanwhile".to_owned()));
            }
            let Some((_, method)) = to.method(&record.method) else {
                return Ok(Err(format!("the new version has no method `{}`: reconnect it", record.method)));
            };
            let kept = method.tokens.iter().filter(|token| !token.optional && !token.once);
            if let Some(token) = kept.into_iter().find(|token| !record.tokens.contains_key(&token.name)) {
                return Ok(Err(format!("the new version needs a token `{}`: reconnect it", token.name)));
            }
            record.declaration.clone_from(&to.hash);
            if let Err(error) = at_the_ready(&*self.apps, &mut record) {
                return Ok(Err(format!("{error}: reconnect it")));
            }
            match self.rows.commit(self.rows.put_account(&record, generation)?).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(Ok(())),
            }
        }
        Err(AccountError::Busy)
    }
}
