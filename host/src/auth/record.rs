//! What is known of an account. The sealed [`Record`] decides; the plain [`Head`] beside it only serves lists.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expiry;
use super::oauth2::Asked;
use crate::caller::Owner;
use crate::ids::{AccountId, ClientId};
use crate::time::Time;
use crate::vault::{Secret, sealed};

/// How long a replaced refresh token is kept, for a rotation that the provider takes back.
pub const KEEP_PREVIOUS: Duration = Duration::from_secs(24 * 3600);
/// At most this many of them.
const MAX_PREVIOUS: usize = 4;
/// The largest raw reply that is kept, in bytes.
pub const MAX_RAW_BYTES: usize = 8 << 10;

/// The sealed record. A new generation of the row at every change; the generation is bound into the seal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub id: AccountId,
    pub owner: Owner,
    pub app: String,
    pub nickname: String,
    /// The hash of the declaration it was made with.
    pub declaration: String,
    pub method: String,
    pub inputs: BTreeMap<String, String>,
    /// Where its credentials may go, pinned at connect.
    pub origins: Vec<String>,
    pub client: Option<ClientId>,
    /// How the provider calls that client: some want it beside the token.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Where its consent came back to: some providers want to hear it at a refresh too.
    #[serde(default)]
    pub redirect_uri: Option<String>,
    pub identity: Identity,
    pub tokens: BTreeMap<String, Held>,
    /// Rises with every new set of secrets, and with nothing else.
    pub secrets: u64,
    pub obtained_at: Time,
    pub created_at: Time,
    pub previous: Vec<Previous>,
    /// The last token reply as it came, up to 8 KiB.
    #[serde(with = "sealed::option", default)]
    pub raw_reply: Option<Secret>,
    pub health: Health,
    pub checked_at: Option<Time>,
    /// The scopes that its owner was asked for, by parameter: what a later consent builds on.
    #[serde(default)]
    pub asked: Asked,
    /// Its owner switched it off: nothing is sent through it.
    #[serde(default)]
    pub disabled: bool,
}

/// Who the account is at the provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Never changes.
    pub id: Option<String>,
    /// What a person recognises.
    pub label: Option<String>,
}

impl Identity {
    pub fn shown(&self) -> Option<&str> {
        self.label.as_deref().or(self.id.as_deref())
    }
}

/// One token in hand.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    #[serde(with = "sealed::secret")]
    pub value: Secret,
    #[serde(with = "sealed::option", default)]
    pub refresh: Option<Secret>,
    pub expires_at: Option<Time>,
    pub lifetime_s: Option<u64>,
    pub scopes: Vec<String>,
    /// Declared calls bring a new one without a refresh token: a login, from what was pasted for it and is kept.
    #[serde(default)]
    pub again: bool,
}

impl Held {
    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.lifetime_s.unwrap_or(0))
    }

    /// A key that a person pasted: nothing renews it.
    pub fn pasted(value: Secret) -> Self {
        Self { value, refresh: None, expires_at: None, lifetime_s: None, scopes: Vec::new(), again: false }
    }

    /// Something brings a new one.
    pub fn is_renewable(&self) -> bool {
        self.refresh.is_some() || self.again
    }

    /// It can be renewed, and it is time.
    pub fn is_due(&self, now: Time) -> bool {
        self.is_renewable() && self.expires_at.is_some_and(|end| expiry::due(now, end, self.lifetime()))
    }

    pub fn is_nearly_over(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| expiry::nearly_over(now, end, self.lifetime()))
    }

    pub fn is_over(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|end| now >= end)
    }
}

/// A refresh token that was replaced, kept for a day.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    pub token: String,
    #[serde(with = "sealed::secret")]
    pub refresh: Secret,
    pub until: Time,
}

/// The state an account is in, as far as traffic and tests have shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    Ok,
    /// `refused`: the provider took the grant back. `lost_rotation`: a refreshed token was lost between provider and
    /// store. `revoked`: an answer said so. `expired`: the token is over, and nothing can refresh it.
    NeedsReconnect {
        reason: String,
        since: Time,
    },
    /// The OAuth client is refused; the account itself may be fine.
    ClientRefused {
        reason: String,
        since: Time,
    },
}

impl Health {
    /// Nothing but a person helps: requests are refused before they are sent. An expired key is still tried, since
    /// one answer may be wrong about it.
    pub fn blocks(&self) -> bool {
        matches!(self, Self::NeedsReconnect { reason, .. } if reason != "expired")
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::NeedsReconnect { reason, .. } => write!(f, "needs reconnect ({reason})"),
            Self::ClientRefused { reason, .. } => write!(f, "client refused ({reason})"),
        }
    }
}

/// What lists show. Written beside every record, never believed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    pub id: AccountId,
    pub owner: Owner,
    pub app: String,
    pub nickname: String,
    pub identity: Option<String>,
    pub method: String,
    pub health: Health,
    pub created_at: Time,
    /// The first end among its tokens.
    pub expires_at: Option<Time>,
    #[serde(default)]
    pub disabled: bool,
}

impl Record {
    /// `app/nickname`
    pub fn name(&self) -> String {
        format!("{}/{}", self.app, self.nickname)
    }

    pub fn head(&self) -> Head {
        Head {
            id: self.id.clone(),
            owner: self.owner.clone(),
            app: self.app.clone(),
            nickname: self.nickname.clone(),
            identity: self.identity.shown().map(str::to_owned),
            method: self.method.clone(),
            health: self.health.clone(),
            created_at: self.created_at,
            expires_at: self.tokens.values().filter_map(|held| held.expires_at).min(),
            disabled: self.disabled,
        }
    }

    /// Granted scopes of all tokens, in order, each once.
    pub fn scopes(&self) -> Vec<String> {
        let mut scopes: Vec<String> = Vec::new();
        for scope in self.tokens.values().flat_map(|held| &held.scopes) {
            if !scopes.contains(scope) {
                scopes.push(scope.clone());
            }
        }
        scopes
    }

    /// Keeps a replaced refresh token for a day, and forgets older ones.
    pub fn remember(&mut self, token: &str, refresh: Secret, now: Time) {
        self.previous.retain(|previous| previous.until > now);
        self.previous.push(Previous { token: token.to_owned(), refresh, until: now.plus(KEEP_PREVIOUS) });
        let extra = self.previous.len().saturating_sub(MAX_PREVIOUS);
        self.previous.drain(..extra);
    }
}
