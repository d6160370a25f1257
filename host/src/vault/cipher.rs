//! AES-256-GCM with random nonces, and what is bound to it: the primitives under the envelope and the keyring.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::VaultError;

pub(super) const KEY_BYTES: usize = 32;
pub(super) const NONCE_BYTES: usize = 12;
pub(super) const TAG_BYTES: usize = 16;
/// A wrapped key: nonce, key, tag.
pub(super) const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// One key in use. Random nonces bound it to 2^32 messages; a keyring key wraps one per write of a record.
pub(super) struct Cipher(RandomizedNonceKey);

impl Cipher {
    pub(super) fn new(key: &Key) -> Result<Self, VaultError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_slice());
        key.map(Self).map_err(|_| VaultError::Crypto("take a key"))
    }

    /// Appends nonce, ciphertext and tag of `plain` to `out`.
    pub(super) fn seal(&self, bound: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), VaultError> {
        // Room for the tag from the start: growing would leave a copy of the plain bytes behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(plain.len() + TAG_BYTES));
        buffer.extend_from_slice(plain);
        let sealed = self.0.seal_in_place_append_tag(Aad::from(bound), &mut *buffer);
        let nonce = sealed.map_err(|_| VaultError::Crypto("seal"))?;
        out.extend_from_slice(nonce.as_ref());
        out.extend_from_slice(&buffer);
        Ok(())
    }

    /// Opens what `seal` appended; none when a byte of it, or of `bound`, is another.
    pub(super) fn open(&self, bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut buffer = Zeroizing::new(rest.to_vec());
        let length = self.0.open_in_place(nonce, Aad::from(bound), &mut buffer).ok()?.len();
        buffer.truncate(length);
        Some(buffer)
    }

    /// Opens a wrapped key.
    pub(super) fn unwrap(&self, bound: &[u8], wrapped: &[u8]) -> Option<Key> {
        let plain = self.open(bound, wrapped)?;
        let mut key = Key::default();
        (plain.len() == KEY_BYTES).then(|| key.copy_from_slice(&plain))?;
        Some(key)
    }
}

pub(super) fn random_key() -> Result<Key, VaultError> {
    let mut key = Key::default();
    rand::fill(key.as_mut_slice()).map_err(|_| VaultError::Crypto("get random bytes"))?;
    Ok(key)
}

/// Fields as one byte string, each behind its length (u32 LE): no two lists of fields give the same bytes.
pub(super) fn bind(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(fields.iter().map(|field| field.len() + 4).sum());
    for field in fields {
        bytes.extend_from_slice(&(field.len() as u32).to_le_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}
