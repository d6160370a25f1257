//! The rows of this room: which keys, what is sealed, and what a record must say to be believed.
//!
//! Rows: `account` (head), `sealed` (record), `name` (nickname → id), `count`, `turn` (lease and intent of a refresh),
//! `client`, `client-of`, `flow`. A record is used only when it opens in its own place and names that place.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::record::{Head, Record};
use crate::caller::Owner;
use crate::ids::AccountId;
use crate::store::key;
use crate::store::{Expect, Op, Row, Store, StoreError};
use crate::time::Time;
use crate::vault::{Place, Vault, VaultError};

#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the record of {id} is not used: {reason}")]
    Refused { id: String, reason: &'static str },
    #[error("{0}")]
    Malformed(String),
}

impl RowsError {
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict { .. }))
    }
}

/// A value and the generation of the row it came from.
#[derive(Debug)]
pub struct At<T> {
    pub value: T,
    pub generation: u64,
}

#[derive(Clone)]
pub struct Rows {
    pub store: Arc<dyn Store>,
    pub vault: Arc<Vault>,
}

impl Rows {
    pub fn now(&self) -> Time {
        self.store.now()
    }

    /// The record, opened and held against the place it stands in.
    pub async fn account(&self, owner: &Owner, id: &AccountId) -> Result<Option<At<Record>>, RowsError> {
        let key = sealed_key(owner, id);
        let Some(At { value, generation }) = self.open::<Record>(owner, "account", id.as_str(), &key).await? else {
            return Ok(None);
        };
        if value.id != *id || value.owner != *owner {
            return Err(RowsError::Refused { id: id.to_string(), reason: "it belongs to another account" });
        }
        Ok(Some(At { value, generation }))
    }

    /// A new generation of a record with its head. `from`: the generation it was read at; 0 for a new one.
    pub fn put_account(&self, record: &Record, from: u64) -> Result<Vec<Op>, RowsError> {
        let (owner, id) = (&record.owner, &record.id);
        let sealed = self.seal(owner, "account", id.as_str(), sealed_key(owner, id), record, from)?;
        let head = plain(head_key(owner, id), &record.head(), Expect::Any)?;
        Ok(vec![sealed, head])
    }

    /// One page of heads, in the order of their making.
    pub async fn heads(&self, owner: &Owner, after: Option<&AccountId>, limit: usize) -> Result<Vec<Head>, RowsError> {
        let after = after.map(|id| head_key(owner, id));
        let rows = self.store.scan(&key(&["account", owner.as_str()]), after.as_deref(), limit).await?;
        rows.iter().map(|(_, row)| read_plain(row)).collect()
    }

    pub async fn head(&self, owner: &Owner, id: &AccountId) -> Result<Option<Head>, RowsError> {
        let row = self.store.get(&head_key(owner, id)).await?;
        row.as_ref().map(read_plain).transpose()
    }

    /// Nicknames of one app with their ids, in order.
    pub async fn names(
        &self,
        owner: &Owner,
        app: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, AccountId)>, RowsError> {
        let after = after.map(|nickname| name_key(owner, app, nickname));
        let rows = self.store.scan(&key(&["name", owner.as_str(), app]), after.as_deref(), limit).await?;
        rows.iter().map(|(key, row)| Ok((last_part(key)?, read_plain(row)?))).collect()
    }

    pub async fn named(&self, owner: &Owner, app: &str, nickname: &str) -> Result<Option<AccountId>, RowsError> {
        let row = self.store.get(&name_key(owner, app, nickname)).await?;
        row.as_ref().map(read_plain).transpose()
    }

    pub async fn count(&self, key: &[u8]) -> Result<i64, RowsError> {
        let Some(row) = self.store.get(key).await? else { return Ok(0) };
        let bytes = <[u8; 8]>::try_from(&row.value[..])
            .map_err(|_| RowsError::Malformed("a counter has another length than eight bytes".to_owned()))?;
        Ok(i64::from_le_bytes(bytes))
    }

    /// Opens a sealed row of any kind.
    pub async fn open<T: DeserializeOwned>(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        key: &[u8],
    ) -> Result<Option<At<T>>, RowsError> {
        let Some(row) = self.store.get(key).await? else { return Ok(None) };
        Ok(Some(self.open_row(owner, kind, id, &row)?))
    }

    pub fn open_row<T: DeserializeOwned>(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        row: &Row,
    ) -> Result<At<T>, RowsError> {
        let place = Place { owner: owner.as_str(), kind, id, generation: row.generation };
        Ok(At { value: self.vault.open_json(&place, &row.value)?, generation: row.generation })
    }

    pub fn seal<T: Serialize>(
        &self,
        owner: &Owner,
        kind: &str,
        id: &str,
        key: Vec<u8>,
        value: &T,
        from: u64,
    ) -> Result<Op, RowsError> {
        let place = Place { owner: owner.as_str(), kind, id, generation: from + 1 };
        let value = self.vault.seal_json(&place, value)?;
        let expect = if from == 0 { Expect::Absent } else { Expect::Generation(from) };
        Ok(Op::Put { key, value, expect })
    }

    pub async fn commit(&self, operations: Vec<Op>) -> Result<(), RowsError> {
        Ok(self.store.commit(operations).await?)
    }
}

pub fn plain<T: Serialize>(key: Vec<u8>, value: &T, expect: Expect) -> Result<Op, RowsError> {
    let value = serde_json::to_vec(value).map_err(|error| RowsError::Malformed(error.to_string()))?;
    Ok(Op::Put { key, value, expect })
}

pub fn read_plain<T: DeserializeOwned>(row: &Row) -> Result<T, RowsError> {
    serde_json::from_slice(&row.value).map_err(|error| {
        RowsError::Malformed(format!("a row of the store cannot be read (byte {}): was it changed?", error.column()))
    })
}

fn last_part(key: &Bytes) -> Result<String, RowsError> {
    let parts = crate::store::parts(key);
    parts.and_then(|mut parts| parts.pop()).ok_or_else(|| RowsError::Malformed("a key of the store is damaged".into()))
}

pub fn head_key(owner: &Owner, id: &AccountId) -> Vec<u8> {
    key(&["account", owner.as_str(), id.as_str()])
}

pub fn sealed_key(owner: &Owner, id: &AccountId) -> Vec<u8> {
    key(&["sealed", owner.as_str(), id.as_str()])
}

pub fn turn_key(owner: &Owner, id: &AccountId) -> Vec<u8> {
    key(&["turn", owner.as_str(), id.as_str()])
}

pub fn name_key(owner: &Owner, app: &str, nickname: &str) -> Vec<u8> {
    key(&["name", owner.as_str(), app, nickname])
}

/// How many accounts an owner has.
pub fn count_key(owner: &Owner) -> Vec<u8> {
    key(&["count", "account", owner.as_str()])
}

/// How many accounts an owner has at one app.
pub fn app_count_key(owner: &Owner, app: &str) -> Vec<u8> {
    key(&["count", "account-of", owner.as_str(), app])
}

/// How many accounts use a client.
pub fn client_count_key(owner: &Owner, client: &str) -> Vec<u8> {
    key(&["count", "client", owner.as_str(), client])
}
