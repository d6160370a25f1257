//! From secrets in hand to a stored account: what the provider says of it, its test, its name.
//!
//! Promise: a grant that does not become an account is given back to the provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::template;
use deputy_declaration::types::AuthKind;
use futures_util::future::BoxFuture;

use super::connect::Connected;
use super::inputs::{Way, kept};
use super::verbs::counts;
use super::{AccountError, Accounts, check, names};
use crate::auth::apps::PinnedApp;
use crate::auth::error::AuthError;
use crate::auth::flow::Again;
use crate::auth::oauth2::Asked;
use crate::auth::obtain::Obtained;
use crate::auth::record::{Health, Identity, Record};
use crate::auth::refresh::live;
use crate::auth::reply::Reply;
use crate::auth::rows::{name_key, plain};
use crate::caller::{Caller, Owner};
use crate::egress::{Grant, Live, Tokens, TokensError};
use crate::ids::{AccountId, ClientId};
use crate::store::Expect;

/// How often a derived nickname is looked for again when somebody else took it at the same moment.
const NAME_ATTEMPTS: usize = 8;

/// Everything of an account but its name.
pub(super) struct Candidate {
    pub pinned: PinnedApp,
    pub method: String,
    pub way: Way,
    pub inputs: BTreeMap<String, String>,
    /// What the provider must say of the others.
    pub expected: BTreeMap<String, String>,
    pub client: Option<(ClientId, String)>,
    pub redirect_uri: Option<String>,
    pub obtained: Obtained,
    pub asked: Asked,
    pub nickname: Option<String>,
    pub skip_check: bool,
    pub again: Option<Again>,
}

impl Accounts {
    /// Completes a candidate, tests it, names it, stores it.
    pub(super) async fn admit(&self, caller: &Caller, candidate: Candidate) -> Result<Connected, AccountError> {
        let now = self.rows.now();
        let Candidate { pinned, method, way, inputs, expected, client, obtained, .. } = candidate;
        let (client, client_id) = client.unzip();
        let mut record = Record {
            id: AccountId::new(),
            owner: caller.owner.clone(),
            app: pinned.app.slug.clone(),
            nickname: String::new(),
            declaration: pinned.hash.clone(),
            method,
            inputs,
            origins: Vec::new(),
            client,
            client_id,
            redirect_uri: candidate.redirect_uri,
            identity: Identity::default(),
            tokens: obtained.tokens,
            secrets: 1,
            obtained_at: now,
            created_at: now,
            previous: Vec::new(),
            raw_reply: obtained.raw,
            health: Health::Ok,
            checked_at: None,
            asked: candidate.asked,
            disabled: false,
        };
        self.apps.keep(&pinned.hash).map_err(AuthError::Internal)?;
        let found = Found { pinned: &pinned, way, replies: &obtained.replies, expected: &expected };
        let proved = self.prove(caller, found, candidate.skip_check, &mut record).await;
        let (checked, note) = match proved {
            Ok(proved) => proved,
            Err(error) => return Err(self.not_admitted(caller, &pinned, &record, error).await),
        };
        if let Some(again) = &candidate.again {
            return match self.store_again(&mut record, again).await {
                Ok(()) => Ok(Connected { account: (&record).into(), checked, note }),
                // The other person's grant is not kept, so it must not stay behind either.
                Err(error @ AccountError::OtherIdentity { .. }) => {
                    Err(self.not_admitted(caller, &pinned, &record, error).await)
                }
                Err(error) => Err(error),
            };
        }
        let twin = self.store_new(&mut record, candidate.nickname).await?;
        let note = match (note, twin) {
            (Some(note), Some(twin)) => Some(format!("{note}; {twin}")),
            (note, twin) => note.or(twin),
        };
        Ok(Connected { account: (&record).into(), checked, note })
    }

    /// A grant that is not kept must not stay behind at the provider. A pasted key is its owner's.
    async fn not_admitted(
        &self,
        caller: &Caller,
        pinned: &PinnedApp,
        record: &Record,
        error: AccountError,
    ) -> AccountError {
        let pasted = pinned.method(&record.method).is_none_or(|(_, method)| matches!(method.kind, AuthKind::Keys));
        if pasted {
            return error;
        }
        let revoked = self.revoke(caller, record).await;
        AccountError::NotAdmitted { error: Box::new(error), revoked }
    }

    /// What the provider says of the account, where it leads, and whether it works.
    async fn prove(
        &self,
        caller: &Caller,
        found: Found<'_>,
        skip_check: bool,
        record: &mut Record,
    ) -> Result<(bool, Option<String>), AccountError> {
        let app = &found.pinned.app;
        self.discover(caller, found.pinned, record, found.way, found.replies, found.expected).await?;
        record.inputs = kept(app, std::mem::take(&mut record.inputs));
        let origins = template::origins(app, &record.inputs).map_err(AuthError::from)?;
        record.origins = origins.iter().map(url::Origin::ascii_serialization).collect();
        Ok(match (&app.test, skip_check) {
            (Some(test), false) => {
                let grant = Grant::whole(caller.clone(), record.id.clone());
                let tokens = Unstored(Arc::new(live(&*self.apps, record)?));
                let of = check::Of { app: &app.slug, version: &found.pinned.hash, inputs: &record.inputs };
                record.identity = check::check(&*self.road, &grant, &tokens, of, test, false).await?;
                record.checked_at = Some(self.rows.now());
                (true, None)
            }
            (Some(_), true) => (false, Some("not checked, as you asked".to_owned())),
            (None, _) => (false, Some(format!("not checked: {} declares no test request", app.slug))),
        })
    }

    /// Stores a new account; says so when the provider's same identity has an account already.
    async fn store_new(&self, record: &mut Record, nickname: Option<String>) -> Result<Option<String>, AccountError> {
        let owner = record.owner.clone();
        let base = nickname.clone().unwrap_or_else(|| names::derive(record.identity.shown()));
        let twin = match (&nickname, &record.identity.id) {
            (None, Some(identity)) => self.twin(&owner, &record.app, &base, identity).await?,
            _ => None,
        };
        for _ in 0..NAME_ATTEMPTS {
            record.nickname = match &nickname {
                Some(nickname) => nickname.clone(),
                None => names::free(&self.rows, &owner, &record.app, &base, &record.id).await?,
            };
            let mut operations = self.rows.put_account(record, 0)?;
            let name = name_key(&owner, &record.app, &record.nickname);
            operations.push(plain(name, &record.id, Expect::Absent)?);
            operations.extend(counts(record, 1));
            if let Some(client) = &record.client {
                operations.push(self.rows.client_unchanged(&owner, &record.app, client).await?);
            }
            match self.rows.commit(operations).await {
                Err(error) if error.is_conflict() && nickname.is_some() => {
                    return Err(AccountError::NameTaken { name: record.name() });
                }
                Err(error) if error.is_conflict() => continue,
                Err(error) => return Err(error.into()),
                Ok(()) => return Ok(twin),
            }
        }
        Err(AccountError::Busy)
    }

    /// Some providers end an older grant when the same person gives a second one: the owner should know.
    async fn twin(
        &self,
        owner: &Owner,
        app: &str,
        nickname: &str,
        identity: &str,
    ) -> Result<Option<String>, AccountError> {
        let Some(id) = self.rows.named(owner, app, nickname).await? else { return Ok(None) };
        // A damaged record beside it is told when somebody uses it.
        let other = self.rows.account(owner, &id).await.unwrap_or_default();
        let same = other.is_some_and(|other| other.value.identity.id.as_deref() == Some(identity));
        Ok(same.then(|| format!("{app}/{nickname} is the same identity; delete the one you do not need")))
    }
}

/// What was found so far, and how.
struct Found<'a> {
    pinned: &'a PinnedApp,
    way: Way,
    replies: &'a [Reply],
    expected: &'a BTreeMap<String, String>,
}

/// An account that is tested before it is stored: nothing of it can be refreshed.
pub(super) struct Unstored(pub Arc<Live>);

impl Tokens for Unstored {
    fn live<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        let found = if grant.account == self.0.account { Ok(self.0.clone()) } else { Err(TokensError::NotFound) };
        Box::pin(std::future::ready(found))
    }

    fn renew<'a>(&'a self, _: &'a Grant, _: u64) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        let name = self.0.name.clone();
        Box::pin(async { Err(TokensError::NotRenewable { name }) })
    }

    fn revoked<'a>(&'a self, _: &'a Grant, _: u64) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}
