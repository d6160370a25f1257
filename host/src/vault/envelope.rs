//! The envelope around one version of one record.
//!
//! ```text
//! "DV1" | algorithm u8 | key id u32 LE | wrapped data key (nonce 12, key 32, tag 16) | nonce 12 | ciphertext | tag 16
//! ```
//! Algorithm 1 is AES-256-GCM for both layers. A data key seals one version of one record, so no nonce can meet
//! another under it. Both layers bind format, algorithm, store, owner, kind, id and generation; the wrapped key also
//! binds the key id. So each field is bound, and rotation can wrap the 32 bytes anew without touching the record.

use super::cipher::{Cipher, NONCE_BYTES, TAG_BYTES, WRAPPED_BYTES, bind, random_key};
use super::{Place, VaultError};
use crate::ids::StoreId;

const FORMAT: &[u8; 3] = b"DV1";
const AES_256_GCM: u8 = 1;
const HEAD_BYTES: usize = FORMAT.len() + 1 + 4;

pub(super) fn seal(
    store: &StoreId,
    key_id: u32,
    key: &Cipher,
    place: &Place<'_>,
    plain: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let mut sealed = Vec::with_capacity(HEAD_BYTES + WRAPPED_BYTES + NONCE_BYTES + plain.len() + TAG_BYTES);
    sealed.extend_from_slice(FORMAT);
    sealed.push(AES_256_GCM);
    sealed.extend_from_slice(&key_id.to_le_bytes());
    let data_key = random_key()?;
    key.seal(&bound_key(store, place, key_id), data_key.as_slice(), &mut sealed)?;
    Cipher::new(&data_key)?.seal(&bound_record(store, place), plain, &mut sealed)?;
    Ok(sealed)
}

pub(super) fn open<'k>(
    store: &StoreId,
    key: impl FnOnce(u32) -> Option<&'k Cipher>,
    place: &Place<'_>,
    sealed: &[u8],
) -> Result<zeroize::Zeroizing<Vec<u8>>, VaultError> {
    let (head, rest) = sealed.split_at_checked(HEAD_BYTES).ok_or_else(|| VaultError::not_sealed(place))?;
    let (wrapped, record) = rest.split_at_checked(WRAPPED_BYTES).ok_or_else(|| VaultError::not_sealed(place))?;
    let (&[d, v, one, algorithm], key_id) = head.split_first_chunk().ok_or_else(|| VaultError::not_sealed(place))?;
    if [d, v, one] != *FORMAT || algorithm != AES_256_GCM {
        return Err(VaultError::not_sealed(place));
    }
    let key_id = u32::from_le_bytes(key_id.try_into().map_err(|_| VaultError::not_sealed(place))?);
    let key = key(key_id).ok_or_else(|| VaultError::unknown_key(place, key_id))?;
    let data_key = key.unwrap(&bound_key(store, place, key_id), wrapped).ok_or_else(|| VaultError::refused(place))?;
    Cipher::new(&data_key)?.open(&bound_record(store, place), record).ok_or_else(|| VaultError::refused(place))
}

fn bound_record(store: &StoreId, place: &Place<'_>) -> Vec<u8> {
    bind(&[
        b"record",
        FORMAT,
        &[AES_256_GCM],
        store.as_str().as_bytes(),
        place.owner.as_bytes(),
        place.kind.as_bytes(),
        place.id.as_bytes(),
        &place.generation.to_le_bytes(),
    ])
}

fn bound_key(store: &StoreId, place: &Place<'_>, key_id: u32) -> Vec<u8> {
    bind(&[
        b"data key",
        FORMAT,
        &[AES_256_GCM],
        store.as_str().as_bytes(),
        place.owner.as_bytes(),
        place.kind.as_bytes(),
        place.id.as_bytes(),
        &place.generation.to_le_bytes(),
        &key_id.to_le_bytes(),
    ])
}
