//! Why a vault does not open, or a record in it. No message holds a key or a secret.

use std::path::PathBuf;

use super::{KEY_VARIABLE, Place};
use crate::ids::StoreId;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store {store} was made with a key from {made_with}, and the key file {} is not there", path.display())]
    KeyMissing { store: StoreId, path: PathBuf, made_with: &'static str },
    #[error("the key file {} belongs to another store: it names {found}, and this store is {expected}", path.display())]
    KeyForeign { path: PathBuf, expected: StoreId, found: StoreId },
    /// The key is well formed and does not open the keyring.
    #[error("the key in {place} is not the key of the store {store}, which was made with a key from {made_with}")]
    KeyWrong { place: String, store: StoreId, made_with: &'static str },
    #[error("the key file {} is open to other users (mode {mode:04o})", path.display())]
    KeyFileOpen { path: PathBuf, mode: u32 },
    #[error("the key folder {} is open to other users (mode {mode:04o})", path.display())]
    KeyFolderOpen { path: PathBuf, mode: u32 },
    #[error("the key folder {} lies inside the data folder {}: whoever copies the data would have the key too", folder.display(), data.display())]
    KeyInsideData { folder: PathBuf, data: PathBuf },
    #[error("{}:{line}: {reason}", path.display())]
    KeyFile { path: PathBuf, line: usize, reason: String },
    #[error("{KEY_VARIABLE} is no key: {0}")]
    KeyVariable(String),
    #[error("the store holds records but no keyring: they were sealed with keys that are not here")]
    NoKeyring,
    #[error("the keyring of the store {store} is damaged: {reason}")]
    KeyringDamaged { store: String, reason: &'static str },
    #[error("cannot {what} {}: {reason}", path.display())]
    Io { what: &'static str, path: PathBuf, reason: String },
    #[error("the {kind} {id} is not sealed in a way that this version knows")]
    NotSealed { kind: String, id: String },
    #[error("the {kind} {id} is sealed with the key k{key}, which is not in the keyring")]
    UnknownKey { kind: String, id: String, key: u32 },
    /// Damaged, moved here from another place, or put back from an earlier time.
    #[error("the {kind} {id} was changed outside Deputy, or belongs to another place, and is not used")]
    Refused { kind: String, id: String },
    /// Opened, but not what was expected inside. Only the place is told: the text is secret.
    #[error("the {kind} {id} cannot be {what} (byte {at})")]
    Json { kind: String, id: String, what: &'static str, at: usize },
    #[error("the system does not let this process keep its memory to itself: {0}")]
    Harden(String),
    /// The cryptographic library failed.
    #[error("the vault cannot {0}")]
    Crypto(&'static str),
}

impl VaultError {
    /// Stable, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::KeyMissing { .. } => "key_missing",
            Self::KeyForeign { .. } => "key_foreign",
            Self::KeyWrong { .. } => "key_wrong",
            Self::KeyFileOpen { .. } | Self::KeyFolderOpen { .. } => "key_open_to_others",
            Self::KeyInsideData { .. } => "key_inside_data",
            Self::KeyFile { .. } | Self::KeyVariable(_) => "key_malformed",
            Self::NoKeyring => "keyring_missing",
            Self::KeyringDamaged { .. } => "keyring_damaged",
            Self::Io { .. } => "key_io",
            Self::NotSealed { .. } => "not_sealed",
            Self::UnknownKey { .. } => "unknown_key",
            Self::Refused { .. } => "record_refused",
            Self::Json { .. } => "record_malformed",
            Self::Harden(_) => "harden",
            Self::Crypto(_) => "crypto",
        }
    }

    /// What a person can do about it.
    pub fn fix(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.fix(),
            Self::KeyMissing { path, made_with, .. } => Some(format!(
                "{}; without its key nothing in the store can be opened, and the way on is a new data folder (--data)",
                match *made_with {
                    KEY_VARIABLE => format!("set {KEY_VARIABLE} as it was then"),
                    _ => format!("restore {} from where you keep your keys", path.display()),
                }
            )),
            Self::KeyForeign { path, expected, .. } => {
                Some(format!("put the key file of the store {expected} at {}", path.display()))
            }
            Self::KeyWrong { store, .. } => Some(format!("restore the key of the store {store}")),
            Self::KeyFileOpen { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::KeyFolderOpen { path, .. } => Some(format!("chmod 700 {}", path.display())),
            Self::KeyInsideData { .. } => {
                Some("use a config folder outside the data folder: --config, or DEPUTY_CONFIG".to_owned())
            }
            Self::KeyFile { path, .. } => Some(format!("restore {} from where you keep your keys", path.display())),
            Self::KeyVariable(_) => Some(format!(
                "set {KEY_VARIABLE} to 32 bytes in base64; for a new store: head -c 32 /dev/urandom | base64"
            )),
            Self::NoKeyring | Self::KeyringDamaged { .. } => {
                Some("restore the data folder from a backup, or start with a new one (--data)".to_owned())
            }
            Self::Io { .. } => None,
            Self::NotSealed { .. } | Self::UnknownKey { .. } | Self::Refused { .. } | Self::Json { .. } => {
                Some("connect it again, or restore the data folder from a backup".to_owned())
            }
            Self::Harden(_) | Self::Crypto(_) => None,
        }
    }

    pub(super) fn not_sealed(place: &Place<'_>) -> Self {
        Self::NotSealed { kind: place.kind.to_owned(), id: place.id.to_owned() }
    }

    pub(super) fn unknown_key(place: &Place<'_>, key: u32) -> Self {
        Self::UnknownKey { kind: place.kind.to_owned(), id: place.id.to_owned(), key }
    }

    pub(super) fn refused(place: &Place<'_>) -> Self {
        Self::Refused { kind: place.kind.to_owned(), id: place.id.to_owned() }
    }

    /// Without serde's sentence, which may quote the value.
    pub(super) fn json(place: &Place<'_>, error: &serde_json::Error) -> Self {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Io => "written as JSON",
            Category::Syntax | Category::Eof => "read as JSON",
            Category::Data => "read or written: a field is missing, unknown or of another type",
        };
        Self::Json { kind: place.kind.to_owned(), id: place.id.to_owned(), what, at: error.column() }
    }
}
