//! An account as its owner may see it: everything but the secrets.

use std::collections::BTreeMap;

use deputy_declaration::types::Evidence;
use serde::Serialize;

use crate::auth::record::{Head, Health, Record};
use crate::ids::AccountId;
use crate::time::Time;

/// One line of a list. From the plain head, which decides nothing.
#[derive(Debug, Clone, Serialize)]
pub struct AccountSummary {
    pub id: AccountId,
    /// `app/nickname`
    pub name: String,
    pub app: String,
    pub nickname: String,
    pub identity: Option<String>,
    pub method: String,
    pub health: Health,
    pub created_at: Time,
    pub expires_at: Option<Time>,
    pub disabled: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct AccountsPage {
    pub accounts: Vec<AccountSummary>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Of this owner, and of this app where one was asked for.
    pub total: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct AccountView {
    pub id: AccountId,
    /// `app/nickname`
    pub name: String,
    pub app: String,
    /// The declaration it keeps to.
    pub app_hash: String,
    pub nickname: String,
    pub method: String,
    /// What the provider calls it.
    pub identity: Option<String>,
    /// The provider's identifier, which never changes.
    pub identity_id: Option<String>,
    pub scopes: Vec<String>,
    pub inputs: BTreeMap<String, String>,
    /// Where its credentials may go.
    pub origins: Vec<String>,
    pub tokens: Vec<TokenView>,
    pub health: Health,
    /// Its owner switched it off.
    pub disabled: bool,
    pub created_at: Time,
    pub checked_at: Option<Time>,
    /// How well the facts of its declaration are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// A token without its value.
#[derive(Debug, Clone, Serialize)]
pub struct TokenView {
    pub name: String,
    pub expires_at: Option<Time>,
    pub refreshable: bool,
}

impl From<Head> for AccountSummary {
    fn from(head: Head) -> Self {
        Self {
            name: format!("{}/{}", head.app, head.nickname),
            id: head.id,
            app: head.app,
            nickname: head.nickname,
            identity: head.identity,
            method: head.method,
            health: head.health,
            created_at: head.created_at,
            expires_at: head.expires_at,
            disabled: head.disabled,
        }
    }
}

impl From<&Record> for AccountView {
    fn from(record: &Record) -> Self {
        let tokens = record.tokens.iter().map(|(name, held)| TokenView {
            name: name.clone(),
            expires_at: held.expires_at,
            refreshable: held.is_renewable(),
        });
        Self {
            id: record.id.clone(),
            name: record.name(),
            app: record.app.clone(),
            app_hash: record.declaration.clone(),
            nickname: record.nickname.clone(),
            method: record.method.clone(),
            identity: record.identity.shown().map(str::to_owned),
            identity_id: record.identity.id.clone(),
            scopes: record.scopes(),
            inputs: record.inputs.clone(),
            origins: record.origins.clone(),
            tokens: tokens.collect(),
            health: record.health.clone(),
            disabled: record.disabled,
            created_at: record.created_at,
            checked_at: record.checked_at,
            evidence: None,
        }
    }
}
