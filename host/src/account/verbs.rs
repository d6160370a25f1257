//! What an owner does with accounts that are there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::view::{AccountView, AccountsPage};
use super::{AccountError, Accounts, check, names};
use crate::auth::error::AuthError;
use crate::auth::record::{Head, Health, Identity, Record};
use crate::auth::rows::{
    At, app_count_key, client_count_key, count_key, head_key, name_key, plain, sealed_key, turn_key,
};
use crate::auth::{Auth, revoke};
use crate::caller::{Caller, Owner};
use crate::egress::{Grant, Live, Tokens, TokensError};
use crate::ids::AccountId;
use crate::store::{Expect, Op};

/// The most that one page holds.
const MAX_PAGE: usize = 1_000;
/// How long a deletion waits for the provider to revoke.
const REVOKE_LIMIT: Duration = Duration::from_secs(10);

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
    pub note: String,
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
        let At { value: record, .. } = names::resolve(&self.rows, &caller.owner, name).await?;
        let mut view = AccountView::from(&record);
        view.evidence = self.apps.pinned(&record.declaration)?.map(|pinned| pinned.app.evidence.clone());
        Ok(view)
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
        let pinned = self.apps.pinned(&record.declaration)?.ok_or_else(missing)?;
        let Some(test) = &pinned.app.test else { return Err(AccountError::NoTest { app: record.app }) };
        let grant = Grant::whole(caller.clone(), record.id.clone());
        let of = check::Of { app: &record.app, version: &record.declaration, inputs: &record.inputs };
        let found = check::check(&*self.road, &grant, &Anyway(self.auth.clone()), of, test, true).await;
        if let (Ok(Identity { id: Some(is), .. }), Some(was)) = (&found, &record.identity.id)
            && is != was
        {
            let (name, was, is) = (record.name(), was.clone(), is.clone());
            return Err(AccountError::IdentityChanged { name, was, is });
        }
        // The request may have refreshed the account: the record is read again.
        for _ in 0..5 {
            let Some(At { value: mut fresh, generation }) = self.rows.account(owner, &record.id).await? else { break };
            fresh.checked_at = Some(self.rows.now());
            if let Ok(identity) = &found {
                // A test that went through proves a mark wrong. It says nothing of the client.
                if matches!(fresh.health, Health::NeedsReconnect { .. }) {
                    fresh.health = Health::Ok;
                }
                fresh.identity.id = identity.id.clone().or(fresh.identity.id);
                fresh.identity.label = identity.label.clone().or(fresh.identity.label);
            }
            match self.rows.commit(self.rows.put_account(&fresh, generation)?).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => break,
            }
        }
        let shown = found?.shown().map(str::to_owned);
        Ok(Tested { id: record.id.clone(), name: record.name(), ok: true, identity: shown })
    }

    /// Forgets an account. Its tokens are revoked first, where the app says how; a provider that cannot be reached
    /// does not keep an account alive.
    pub async fn delete(&self, caller: &Caller, name: &str) -> Result<Deleted, AccountError> {
        let record = match names::resolve(&self.rows, &caller.owner, name).await {
            Ok(at) => at.value,
            Err(error @ AccountError::Auth(AuthError::Vault(_) | AuthError::Refused { .. })) => {
                return self.forget(caller, name, error).await;
            }
            Err(error) => return Err(error),
        };
        let revoked = self.revoke(caller, &record).await;
        for _ in 0..5 {
            let Some(At { value: fresh, generation }) = self.rows.account(&record.owner, &record.id).await? else {
                break;
            };
            match self.rows.commit(deletion(&fresh, generation)).await {
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(Deleted { id: record.id.clone(), name: record.name(), note: revoked }),
            }
        }
        Err(AccountError::Busy)
    }

    /// Deletes an account whose record does not open any more: by what its plain rows say.
    async fn forget(&self, caller: &Caller, name: &str, error: AccountError) -> Result<Deleted, AccountError> {
        let owner = &caller.owner;
        let Some(id) = names::id_of(&self.rows, owner, name).await? else { return Err(error) };
        let Some(head) = self.rows.head(owner, &id).await? else { return Err(error) };
        let mut operations = vec![
            Op::Delete { key: sealed_key(owner, &id), expect: Expect::Any },
            Op::Delete { key: head_key(owner, &id), expect: Expect::Any },
            Op::Delete { key: turn_key(owner, &id), expect: Expect::Any },
            Op::Add { key: count_key(owner), delta: -1 },
            Op::Add { key: app_count_key(owner, &head.app), delta: -1 },
        ];
        if self.rows.named(owner, &head.app, &head.nickname).await?.as_ref() == Some(&id) {
            operations.push(Op::Delete { key: name_key(owner, &head.app, &head.nickname), expect: Expect::Any });
        }
        self.rows.commit(operations).await?;
        let revoked = format!("not revoked at the provider ({error}): remove the access there");
        Ok(Deleted { id, name: format!("{}/{}", head.app, head.nickname), note: revoked })
    }

    /// Ends an account's tokens at the provider, and says in words what came of it. Bounded: a provider that hangs
    /// holds nothing up.
    pub(super) async fn revoke(&self, caller: &Caller, record: &Record) -> String {
        let revoking = revoke::revoke(&self.rows, &*self.apps, &*self.road, caller, record);
        match tokio::time::timeout(REVOKE_LIMIT, revoking).await {
            Ok(Ok(revoked)) => revoked,
            Ok(Err(error)) => format!("not revoked at the provider: {error}"),
            Err(_) => format!(
                "perhaps not revoked: the provider did not answer within {} s; remove the access there",
                REVOKE_LIMIT.as_secs()
            ),
        }
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
    let mut counts =
        vec![Op::Add { key: count_key(owner), delta }, Op::Add { key: app_count_key(owner, &record.app), delta }];
    counts
        .extend(record.client.as_ref().map(|client| Op::Add { key: client_count_key(owner, client.as_str()), delta }));
    counts
}
