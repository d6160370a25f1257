//! Fresh secrets for the road: [`Auth`] is what `egress` asks.
//!
//! Each account has at most one refresh under way: in this process by [`flight`], across processes by [`turn`]. The
//! protocol itself stands in [`run`].

mod flight;
mod live;
mod plan;
mod run;
mod store;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use self::live::{at_the_ready, live};

use self::flight::{Flights, Landing};
use super::apps::Apps;
use super::record::{Health, Record};
use super::road::TokenRoad;
use super::rows::{At, Rows, RowsError};
use crate::caller::Caller;
use crate::egress::{Grant, Live, Tokens, TokensError};
use crate::ids::{AccountId, ClientId};
use crate::time::Time;

/// Why a refresh brought nothing. No variant holds a secret or an upstream body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Failure {
    NotFound,
    NeedsReconnect { reason: String },
    Client { reason: String },
    NotRenewable,
    Transient { reason: String },
    Internal { reason: String },
}

impl From<RowsError> for Failure {
    fn from(error: RowsError) -> Self {
        Self::Internal { reason: error.to_string() }
    }
}

impl Failure {
    fn told(self, record: &Record) -> TokensError {
        let name = record.name();
        match self {
            Self::NotFound => TokensError::NotFound,
            Self::NeedsReconnect { reason } => {
                TokensError::NeedsReconnect { name, reason: explain(&reason).to_owned() }
            }
            Self::Client { reason } => TokensError::Client { app: record.app.clone(), reason },
            Self::NotRenewable => TokensError::NotRenewable { name },
            Self::Transient { reason } => TokensError::Transient { name, reason },
            Self::Internal { reason } => TokensError::Internal(reason),
        }
    }
}

/// The reasons of [`Health::NeedsReconnect`] in words.
pub fn explain(reason: &str) -> &str {
    match reason {
        "refused" => "the provider does not accept its grant any more",
        "lost_rotation" => {
            "the provider gave new tokens that never arrived here, and does not accept the old ones (lost_rotation)"
        }
        "login_refused" => "the provider does not accept any more what was pasted",
        "revoked" => "the provider says that access was revoked",
        "expired" => "its token is over, and there is nothing to refresh it with",
        other => other,
    }
}

/// Why a refresh is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Due,
    /// The app refused the secrets of this generation.
    Signalled(u64),
}

pub struct Auth(Arc<Core>);

struct Core {
    rows: Rows,
    apps: Arc<dyn Apps>,
    road: Arc<dyn TokenRoad>,
    /// Names this process in leases.
    holder: String,
    flights: Arc<Flights>,
    /// Clients that were refused: left alone for a minute, whatever accounts ask.
    refused: Mutex<HashMap<ClientId, (Time, String)>>,
}

impl Auth {
    pub fn new(rows: Rows, apps: Arc<dyn Apps>, road: Arc<dyn TokenRoad>) -> Self {
        Self(Arc::new(Core {
            rows,
            apps,
            road,
            holder: uuid::Uuid::new_v4().to_string(),
            flights: Arc::default(),
            refused: Mutex::default(),
        }))
    }

    /// The account's secrets although it is marked as broken: for its test, which may prove the mark wrong.
    pub async fn live_anyway(&self, grant: &Grant) -> Result<Arc<Live>, TokensError> {
        self.0.fresh(grant, true).await
    }

    /// The client was registered anew: what it was refused for may be over.
    pub fn forgive(&self, client: &ClientId) {
        self.0.refused().remove(client);
    }

    /// Waits for the refreshes under way: call it before the process ends.
    pub async fn drain(&self) {
        self.0.flights.drain().await;
    }
}

impl Tokens for Auth {
    fn live<'a>(&'a self, grant: &'a Grant) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        Box::pin(self.0.fresh(grant, false))
    }

    fn renew<'a>(&'a self, grant: &'a Grant, generation: u64) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        Box::pin(self.0.renew(grant, generation))
    }

    fn revoked<'a>(&'a self, grant: &'a Grant, generation: u64) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let outcome = self.0.mark(grant, generation, "revoked").await;
            if let Err(error) = outcome {
                tracing::warn!(account = %grant.account, %error, "cannot record that the account was revoked");
            }
        })
    }
}

impl Core {
    fn refused(&self) -> std::sync::MutexGuard<'_, HashMap<ClientId, (Time, String)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn record(&self, grant: &Grant) -> Result<At<Record>, TokensError> {
        let record = self.rows.account(&grant.caller.owner, &grant.account).await;
        record.map_err(|error| TokensError::Internal(error.to_string()))?.ok_or(TokensError::NotFound)
    }

    async fn fly(self: &Arc<Self>, caller: &Caller, account: &AccountId, why: Why) -> Landing {
        let start = || -> BoxFuture<'static, Landing> {
            let (core, caller, account) = (self.clone(), caller.clone(), account.clone());
            Box::pin(async move { core.refresh(&caller, &account, why).await })
        };
        self.flights.join(account, start).await
    }

    async fn fresh(self: &Arc<Self>, grant: &Grant, anyway: bool) -> Result<Arc<Live>, TokensError> {
        let At { value: record, .. } = self.record(grant).await?;
        if record.disabled && !anyway {
            return Err(TokensError::Disabled { name: record.name() });
        }
        if let Health::NeedsReconnect { reason, .. } = &record.health
            && record.health.blocks()
            && !anyway
        {
            return Err(Failure::NeedsReconnect { reason: reason.clone() }.told(&record));
        }
        let now = self.rows.now();
        if !record.tokens.values().any(|held| held.is_due(now)) {
            return self.live(&record);
        }
        let landing = self.fly(&grant.caller, &grant.account, Why::Due).await;
        let At { value: record, .. } = self.record(grant).await?;
        let now = self.rows.now();
        match landing {
            Ok(()) => self.live(&record),
            Err(failure @ (Failure::NeedsReconnect { .. } | Failure::NotFound)) => Err(failure.told(&record)),
            // A refresh that failed for now harms nobody while the old token still works.
            Err(failure) => match record.tokens.values().any(|held| held.is_renewable() && held.is_over(now)) {
                true => Err(failure.told(&record)),
                false => self.live(&record),
            },
        }
    }

    async fn renew(self: &Arc<Self>, grant: &Grant, generation: u64) -> Result<Arc<Live>, TokensError> {
        // A flight that was under way for another reason may land without having refreshed: then one of our own.
        for last in [false, true] {
            let At { value: record, .. } = self.record(grant).await?;
            if record.disabled {
                return Err(TokensError::Disabled { name: record.name() });
            }
            if record.secrets != generation {
                return self.live(&record);
            }
            match self.fly(&grant.caller, &grant.account, Why::Signalled(generation)).await {
                Ok(()) => {}
                Err(failure) => {
                    let At { value: record, .. } = self.record(grant).await?;
                    if record.secrets != generation && !record.health.blocks() {
                        return self.live(&record);
                    }
                    if failure == Failure::NotRenewable {
                        let marked = self.mark(grant, generation, "expired").await;
                        marked.map_err(|error| TokensError::Internal(error.to_string()))?;
                    }
                    return Err(failure.told(&record));
                }
            }
            if last {
                let At { value: record, .. } = self.record(grant).await?;
                if record.secrets == generation {
                    return Err(Failure::Transient { reason: "another refresh came between".into() }.told(&record));
                }
                return self.live(&record);
            }
        }
        Err(TokensError::NotFound)
    }

    /// Marks the account as in need of a person, unless its secrets are newer than those that were judged.
    async fn mark(&self, grant: &Grant, generation: u64, reason: &str) -> Result<(), RowsError> {
        for _ in 0..5 {
            let Some(At { value: mut record, generation: from }) =
                self.rows.account(&grant.caller.owner, &grant.account).await?
            else {
                return Ok(());
            };
            let marked = matches!(&record.health, Health::NeedsReconnect { .. });
            if record.secrets != generation || marked {
                return Ok(());
            }
            record.health = Health::NeedsReconnect { reason: reason.to_owned(), since: self.rows.now() };
            match self.rows.commit(self.rows.put_account(&record, from)?).await {
                Err(error) if error.is_conflict() => {}
                other => return other,
            }
        }
        Ok(())
    }
}
