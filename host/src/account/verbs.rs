//! What an owner does with accounts that are there.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::view::{AccountView, AccountsPage};
use super::{AccountError, Accounts, check, names};
use crate::auth::error::AuthError;
use crate::auth::record::{Head, Health, Record};
use crate::auth::{Auth, obtain};
use crate::auth::rows::{At, app_count_key, client_count_key, count_key, head_key, name_key, plain, sealed_key, turn_key};
use crate::caller::{Caller, Owner};
use crate::egress::{Grant, Live, Tokens, TokensError};
use crate::ids::AccountId;
use crate::store::{Expect, Op};

/// The most that one page holds.
const MAX_PAGE: usize = 1_000;

/// Which accounts to list.
#[derive(Debug, Default)]
pub struct AccountList {
    pub app: Option<String>,
    /// At most 1,000.
    pub limit: usize,
    /// The `next` of the page before.
    pub after: Option<String>,
}

/// What a test found.
#[derive(Debug, Serialize)]
pub struct Tested {
    pub id: AccountId,
    pub name: String,
    pub ok: bool,
    pub identity: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Deleted {
    pub id: AccountId,
    pub name: String,
    /// What became of the tokens at the provider, in words.
    pub revoked: String,
}

impl Accounts {
    /// One page; reads as many rows as it shows, and never all of them.
    pub async fn list(&self, caller: &Caller, list: AccountList) -> Result<AccountsPage, AccountError> {
        let owner = &caller.owner;
        let limit = list.limit.clamp(1, MAX_PAGE);
        let (heads, next, total) = match &list.app {
            Some(app) => {
                let after = list.after.as_deref();
                let known = self.rows.names(owner, app, after, limit + 1).await?;
                let mut heads = Vec::new();
                for (_, id) in known.iter().take(limit) {
                    heads.extend(self.rows.head(owner, id).await?);
                }
                let next = (known.len() > limit).then(|| known[limit - 1].0.clone());
                (heads, next, self.rows.count(&app_count_key(owner, app)).await?)
            }
            None => {
                let after = list.after.as_deref().map(|cursor| {
                    let refuse = |_| AccountError::Cursor { cursor: cursor.chars().take(64).collect() };
                    cursor.parse::<AccountId>().map_err(refuse)
                });
                let mut heads = self.rows.heads(owner, after.transpose()?.as_ref(), limit + 1).await?;
                let more = heads.len() > limit;
                heads.truncate(limit);
                let next = heads.last().filter(|_| more).map(|head: &Head| head.id.to_string());
                (heads, next, self.rows.count(&count_key(owner)).await?)
            }
        };
        Ok(AccountsPage { accounts: heads.into_iter().map(Into::into).collect(), next, total })
    }

    /// The account that a name means.
    pub async fn resolve(&self, caller: &Caller, name: &str) -> Result<AccountId, AccountError> {
        Ok(names::resolve(&self.rows, &caller.owner, name).await?.value.id)
    }

    pub async fn show(&self, caller: &Caller, name: &str) -> Result<AccountView, AccountError> {
        Ok((&names::resolve(&self.rows, &caller.owner, name).await?.value).into())
    }

    pub async fn rename(&self, caller: &Caller, name: &str, nickname: &str) -> Result<AccountView, AccountError> {
        names::check(nickname)?;
        let owner = &caller.owner;
        let At { value: mut record, generation } = names::resolve(&self.rows, owner, name).await?;
        if record.nickname == nickname {
            return Ok((&record).into());
        }
        if self.rows.named(owner, &record.app, nickname).await?.is_some() {
            return Err(AccountError::NameTaken { name: format!("{}/{nickname}", record.app) });
        }
        let old = name_key(owner, &record.app, &record.nickname);
        record.nickname = nickname.to_owned();
        let mut operations = self.rows.put_account(&record, generation)?;
        operations.push(Op::Delete { key: old, expect: Expect::Any });
        operations.push(plain(name_key(owner, &record.app, nickname), &record.id, Expect::Absent)?);
        self.rows.commit(operations).await?;
        Ok((&record).into())
    }

    /// Makes the app's test request now, and keeps what it found.
    pub async fn test(&self, caller: &Caller, name: &str) -> Result<Tested, AccountError> {
        let owner = &caller.owner;
        let record = names::resolve(&self.rows, owner, name).await?.value;
        let missing = || AuthError::DeclarationMissing { id: record.id.clone(), app: record.app.clone() };
        let pinned = self.apps.pinned(&record.declaration).ok_or_else(missing)?;
        let Some(test) = &pinned.app.test else { return Err(AccountError::NoTest { app: record.app }) };
        let grant = Grant { caller: caller.clone(), account: record.id.clone() };
        let identity = check::check(&*self.road, &grant, &Anyway(self.auth.clone()), &record.app, test, true).await?;
        // The request may have refreshed the account: the record is read again.
        for _ in 0..5 {
            let Some(At { value: mut fresh, generation }) = self.rows.account(owner, &record.id).await? else { break };
            fresh.checked_at = Some(self.rows.now());
            // A test that went through proves a mark wrong.
            fresh.health = Health::Ok;
            if identity.id.is_some() || identity.label.is_some() {
                fresh.identity = identity.clone();
            }
            let operations = self.rows.put_account(&fresh, generation)?;
            match self.rows.commit(operations).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => break,
            }
        }
        let shown = identity.shown().map(str::to_owned);
        Ok(Tested { id: record.id.clone(), name: record.name(), ok: true, identity: shown })
    }

    /// Forgets an account. Its tokens are revoked first, where the app says how; a provider that cannot be reached
    /// does not keep an account alive.
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<Deleted, AccountError> {
        let At { value: record, .. } = names::resolve(&self.rows, &caller.owner, name).await?;
        let revoked = self.revoke(caller, &record).await;
        for _ in 0..5 {
            let Some(At { value: fresh, generation }) = self.rows.account(&record.owner, &record.id).await? else {
                break;
            };
            match self.rows.commit(deletion(&fresh, generation)).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(Deleted { id: record.id.clone(), name: record.name(), revoked }),
            }
        }
        Err(AccountError::Busy)
    }

    /// Ends an account's tokens at the provider, and says in words what came of it.
    pub(super) async fn revoke(&self, caller: &Caller, record: &Record) -> String {
        let revoked = obtain::revoke(&self.rows, &*self.apps, &*self.road, caller, record).await;
        revoked.unwrap_or_else(|error| format!("not revoked at the provider: {error}"))
    }

    /// How many accounts an owner has at an app.
    pub async fn count_of(&self, owner: &Owner, app: &str) -> Result<i64, AccountError> {
        Ok(self.rows.count(&app_count_key(owner, app)).await?)
    }
}

/// Secrets also of an account that is marked as broken: its test may prove the mark wrong.
struct Anyway(Arc<Auth>);

impl Tokens for Anyway {
    fn live<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        Box::pin(self.0.live_anyway(grant))
    }

    fn renew<'a>(&'a self, grant: &'a Grant, generation: u64) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        self.0.renew(grant, generation)
    }

    fn revoked<'a>(&'a self, grant: &'a Grant, generation: u64) -> BoxFuture<'a, ()> {
        self.0.revoked(grant, generation)
    }
}

fn deletion(record: &Record, generation: u64) -> Vec<Op> {
    let (owner, id) = (&record.owner, &record.id);
    let mut operations = vec![
        Op::Delete { key: sealed_key(owner, id), expect: Expect::Generation(generation) },
        Op::Delete { key: head_key(owner, id), expect: Expect::Any },
        Op::Delete { key: name_key(owner, &record.app, &record.nickname), expect: Expect::Any },
        Op::Delete { key: turn_key(owner, id), expect: Expect::Any },
    ];
    operations.extend(counts(record, -1));
    operations
}

/// The counters that an account stands in.
pub(super) fn counts(record: &Record, delta: i64) -> Vec<Op> {
    let owner = &record.owner;
    let mut counts = vec![
        Op::Add { key: count_key(owner), delta },
        Op::Add { key: app_count_key(owner, &record.app), delta },
    ];
    counts.extend(record.client.as_ref().map(|client| Op::Add { key: client_count_key(owner, client.as_str()), delta }));
    counts
}
