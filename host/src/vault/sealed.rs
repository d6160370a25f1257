//! How [`Secret`] fields of a record are written inside an envelope, and refused anywhere else.
//!
//! ```ignore
//! #[derive(Serialize, Deserialize)]
//! struct Sealed {
//!     #[serde(with = "crate::vault::sealed::secret")]
//!     access: Secret,
//!     #[serde(with = "crate::vault::sealed::option", default)]
//!     refresh: Option<Secret>,
//! }
//! ```
//! They work only under `Vault::seal_json` and `Vault::open_json`; any other serializer gets an error, so that a record
//! which ends up in a log or an answer by mistake tells nothing. Base64 keeps secrets free of JSON escapes, which
//! serde_json would undo in a buffer that nobody wipes; for the same reason such fields may not stand under
//! `#[serde(flatten)]` or in an untagged enum, which buffer.

use std::cell::Cell;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Secret;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` inside the vault: secrets may be written and read in it.
pub(super) fn inside<T>(work: impl FnOnce() -> T) -> T {
    struct Leave(bool);
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(self.0);
        }
    }
    let _leave = Leave(INSIDE.replace(true));
    work()
}

struct Out<'a>(&'a Secret);

impl Serialize for Out<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !INSIDE.get() {
            return Err(S::Error::custom("a secret is written by the vault alone"));
        }
        let bytes = self.0.expose();
        // Room for all of it: growing would leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(bytes.len().div_ceil(3) * 4));
        STANDARD.encode_string(bytes, &mut text);
        serializer.serialize_str(&text)
    }
}

struct In(Secret);

impl<'de> Deserialize<'de> for In {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base64;
        impl Visitor<'_> for Base64 {
            type Value = In;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret in base64")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<In, E> {
                let mut bytes = Zeroizing::new(Vec::with_capacity(text.len().div_ceil(4) * 3));
                STANDARD.decode_vec(text, &mut bytes).map_err(|_| E::custom("a secret is not in base64"))?;
                Ok(In(Secret::new(std::mem::take(&mut *bytes))))
            }
        }
        if !INSIDE.get() {
            return Err(D::Error::custom("a secret is read by the vault alone"));
        }
        deserializer.deserialize_str(Base64)
    }
}

/// For a field of type `Secret`.
pub(crate) mod secret {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        Out(secret).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        In::deserialize(deserializer).map(|secret| secret.0)
    }
}

/// For a field of type `Option<Secret>`.
pub(crate) mod option {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Out).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<In>::deserialize(deserializer)?.map(|secret| secret.0))
    }
}
