//! Where secrets rest: the [`Secret`] type, the keys, and the envelope around every stored secret.
//!
//! Promises: nothing secret reaches the store but sealed; a sealed record opens only in the place it was sealed for
//! (store, owner, kind, id, generation), so a swapped, copied or rolled-forward row is refused, not used; a key is made
//! only for an empty store, so that a lost key file is told as such instead of being replaced.
//!
//! Layers: a key-encryption key from [`KeySource`], outside the data folder, wraps the keyring; the keyring's newest
//! key wraps one data key for every version of every record; the data key seals that record alone.
//! What this cannot notice is a row put back together with its generation as it was before: the audit shows that.

mod cipher;
mod envelope;
mod error;
mod harden;
mod keyfile;
mod keyring;
pub(crate) mod sealed;
pub mod secret;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use aws_lc_rs::hmac;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use self::cipher::Cipher;
use crate::ids::StoreId;
use crate::store::Store;

pub use error::VaultError;
pub use harden::harden;
pub use secret::Secret;
pub use source::{KEY_VARIABLE, KeySource};

/// Where a sealed record stands. Every field is bound into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub owner: &'a str,
    /// What it is: `account`, `client`, `flow`.
    pub kind: &'a str,
    pub id: &'a str,
    /// The generation of the row that the record goes into: one more than that of the row it replaces.
    pub generation: u64,
}

/// The open vault: holds the keyring in memory. Seals and opens without I/O.
pub struct Vault {
    store: StoreId,
    keys: BTreeMap<u32, Cipher>,
    /// Seals new records.
    primary: u32,
    blind: hmac::Key,
}

impl Vault {
    /// Opens the vault of a store; makes its keys when the store is empty.
    ///
    /// # Errors
    /// Each names what to do: a missing, foreign, unreadable or too widely readable key file, a key that does not fit,
    /// a store with rows but without keyring.
    pub async fn open(store: &dyn Store, source: &KeySource) -> Result<Vault, VaultError> {
        keyring::open(store, source).await
    }

    /// A vault whose keys end with the process: for tests, and for the demo beside a `MemoryStore`.
    ///
    /// # Panics
    /// When the operating system gives no random bytes.
    pub fn ephemeral() -> Vault {
        keyring::Keyring::generate(StoreId::new())
            .and_then(keyring::Keyring::into_vault)
            .expect("the operating system gives random bytes")
    }

    /// Seals `plain` for one place, under a data key of its own.
    pub fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.keys.get(&self.primary).ok_or(VaultError::Crypto("find its newest key"))?;
        envelope::seal(&self.store, self.primary, key, place, plain)
    }

    /// Opens what was sealed for this very place.
    pub fn open_sealed(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        envelope::open(&self.store, |id| self.keys.get(&id), place, sealed)
    }

    /// Seals a value as JSON. Its [`Secret`] fields need `#[serde(with = "crate::vault::sealed::secret")]` or a sibling,
    /// which work in here and nowhere else.
    pub fn seal_json<T: Serialize>(&self, place: &Place<'_>, value: &T) -> Result<Vec<u8>, VaultError> {
        let mut plain = Wiped(Zeroizing::new(Vec::with_capacity(1024)));
        sealed::inside(|| serde_json::to_writer(&mut plain, value)).map_err(|error| VaultError::json(place, &error))?;
        self.seal(place, &plain.0)
    }

    /// Opens what [`Vault::seal_json`] sealed.
    pub fn open_json<T: DeserializeOwned>(&self, place: &Place<'_>, sealed: &[u8]) -> Result<T, VaultError> {
        let plain = self.open_sealed(place, sealed)?;
        sealed::inside(|| serde_json::from_slice(&plain)).map_err(|error| VaultError::json(place, &error))
    }

    pub fn store_id(&self) -> &StoreId {
        &self.store
    }

    /// A keyed fingerprint (HMAC-SHA-256): equal for equal texts of this store, useless elsewhere. For indexes and the
    /// audit, where the text itself may not stand. Stays the same when keys rotate.
    pub fn blind(&self, text: &[u8]) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hmac::sign(&self.blind, text).as_ref());
        bytes
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vault({}, {} keys)", self.store, self.keys.len())
    }
}

/// A buffer that leaves no copy behind when it grows.
struct Wiped(Zeroizing<Vec<u8>>);

impl io::Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.0.len() + bytes.len();
        if length > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
