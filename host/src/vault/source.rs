//! Where the key-encryption key comes from: a file outside the data folder, or the environment.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, DecodeSliceError};
use zeroize::Zeroizing;

use super::cipher::{KEY_BYTES, Key};
use super::{Secret, VaultError, keyfile};
use crate::ids::StoreId;

/// The environment variable that holds a key, instead of a key file.
pub const KEY_VARIABLE: &str = "DEPUTY_KEY";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Debug)]
pub enum KeySource {
    /// The file `<folder>/<store id>.key`, made when the store is empty. The folder must not lie inside `data`.
    File { folder: PathBuf, data: PathBuf },
    /// 32 bytes in base64, from [`KEY_VARIABLE`].
    Variable(Secret),
}

impl KeySource {
    /// Refuses a source that cannot be right, before anything is read or made.
    pub(super) fn check(&self) -> Result<(), VaultError> {
        let Self::File { folder, data } = self else { return Ok(()) };
        let real = |path: &Path| {
            real_path(path).map_err(|error| VaultError::Io {
                what: "find",
                path: path.to_owned(),
                reason: error.to_string(),
            })
        };
        if real(folder)?.starts_with(real(data)?) {
            return Err(VaultError::KeyInsideData { folder: folder.clone(), data: data.clone() });
        }
        Ok(())
    }

    /// The key of an existing store, or none where there is no key file.
    pub(super) fn load(&self, store: &StoreId) -> Result<Option<Key>, VaultError> {
        match self {
            Self::File { folder, .. } => keyfile::read(folder, store),
            Self::Variable(secret) => variable(secret).map(Some),
        }
    }

    /// The key for a store that has none yet: durable before it is given. A key file that an interrupted creation left
    /// behind is used again.
    pub(super) fn load_or_make(&self, store: &StoreId) -> Result<Key, VaultError> {
        match self {
            Self::File { folder, .. } => keyfile::obtain(folder, store),
            Self::Variable(secret) => variable(secret),
        }
    }

    /// As it stands in messages.
    pub(super) fn place(&self, store: &StoreId) -> String {
        match self {
            Self::File { folder, .. } => keyfile::path(folder, store).display().to_string(),
            Self::Variable(_) => KEY_VARIABLE.to_owned(),
        }
    }
}

fn variable(secret: &Secret) -> Result<Key, VaultError> {
    decode(secret.expose().trim_ascii()).map_err(VaultError::KeyVariable)
}

/// A key from base64, or why it is none.
pub(super) fn decode(text: &[u8]) -> Result<Key, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut bytes = Zeroizing::new([0; 2 * KEY_BYTES]);
    let length = match BASE64.decode_slice(text, bytes.as_mut_slice()) {
        Ok(length) => length,
        Err(DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, _))) => {
            return Err(format!("character {} is not base64", at + 1));
        }
        Err(DecodeSliceError::DecodeError(_)) => return Err("it is cut off, or not base64".to_owned()),
        Err(DecodeSliceError::OutputSliceTooSmall) => {
            return Err(format!("it is too long: a key has {KEY_BYTES} bytes, which is 44 characters of base64"));
        }
    };
    if length != KEY_BYTES {
        return Err(format!("it has {length} bytes; a key has {KEY_BYTES}, which is 44 characters of base64"));
    }
    let mut key = Key::default();
    key.copy_from_slice(&bytes[..KEY_BYTES]);
    Ok(key)
}

/// The path without links, for a path of which only the upper part may exist.
fn real_path(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut at = path.as_path();
    loop {
        match at.canonicalize() {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match (at.parent(), at.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name);
                    at = parent;
                }
                _ => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}
