//! The keyring: the store's own keys, wrapped, in one row of the store; and how store, key and keyring come to be.
//!
//! Creation has three steps, each durable before the next, so that a crash between any two opens at the next start:
//! 1. the row `vault/creating` with a new store id, in an empty store;
//! 2. the key, for a file under the name of that id;
//! 3. the keyring row, which in the same commit takes the place of `vault/creating`.
//!
//! A store that holds `vault/creating` alone has sealed nothing yet, so step 2 may use the file it finds, or make it.
//! Any other row without a keyring means that the keyring is lost: then no key is made.

use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::cipher::{Cipher, Key, WRAPPED_BYTES, bind, random_key};
use super::{KeySource, Vault, VaultError};
use crate::ids::StoreId;
use crate::killpoint;
use crate::store::{Expect, Op, Store, StoreError, key};
use crate::time::Time;

const FORMAT: u32 = 1;

/// The row, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    store: StoreId,
    made_with: MadeWith,
    /// Tells a wrong key from a damaged keyring.
    check: String,
    /// Binds all keys to each other, so that none can be taken away unseen.
    mac: String,
    blind: String,
    /// Oldest first; the last one seals new records.
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredKey {
    id: u32,
    made: Time,
    wrapped: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum MadeWith {
    File,
    Variable,
}

impl MadeWith {
    fn as_str(self) -> &'static str {
        match self {
            Self::File => "a key file",
            Self::Variable => super::KEY_VARIABLE,
        }
    }
}

/// The keyring in memory.
pub(super) struct Keyring {
    store: StoreId,
    blind: Key,
    keys: Vec<(u32, Time, Key)>,
}

/// What is derived from the key-encryption key, one key a purpose.
struct Kek {
    wrap: Cipher,
    check: hmac::Key,
    mac: hmac::Key,
}

pub(super) async fn open(store: &dyn Store, source: &KeySource) -> Result<Vault, VaultError> {
    source.check()?;
    let place = key(&["vault", "keyring"]);
    loop {
        if let Some(row) = store.get(&place).await? {
            return unlock(source, &row.value);
        }
        match create(store, source, &place).await {
            // Somebody else was faster: open theirs.
            Err(VaultError::Store(StoreError::Conflict { .. })) => {}
            created => return created,
        }
    }
}

async fn create(store: &dyn Store, source: &KeySource, place: &[u8]) -> Result<Vault, VaultError> {
    let creating = key(&["vault", "creating"]);
    let (id, generation) = match store.scan(&[], None, 2).await?.as_slice() {
        [] => {
            let id = StoreId::new();
            let value = id.as_str().as_bytes().to_vec();
            store.commit(vec![Op::Put { key: creating.clone(), value, expect: Expect::Absent }]).await?;
            killpoint::reach("vault-id-written");
            (id, 1)
        }
        [(found, row)] if *found == creating => {
            let id = std::str::from_utf8(&row.value).ok().and_then(|text| text.parse().ok());
            let id =
                id.ok_or(VaultError::KeyringDamaged { store: "in creation".to_owned(), reason: "its id is none" })?;
            (id, row.generation)
        }
        rows => {
            // Between the look for a keyring and the scan, another process may have made it.
            if rows.iter().any(|(found, _)| found == place) {
                return Err(StoreError::Conflict { key: place.to_vec() }.into());
            }
            // The keyring sorts behind most rows, so look for it by name.
            if store.get(place).await?.is_some() {
                return Err(StoreError::Conflict { key: place.to_vec() }.into());
            }
            return Err(VaultError::NoKeyring);
        }
    };
    let kek = Kek::derive(&id, &source.load_or_make(&id)?)?;
    killpoint::reach("vault-key-written");
    let keyring = Keyring::generate(id)?;
    let stored = keyring.wrap(&kek, source)?;
    store
        .commit(vec![
            Op::Delete { key: creating, expect: Expect::Generation(generation) },
            Op::Put { key: place.to_vec(), value: stored, expect: Expect::Absent },
        ])
        .await?;
    killpoint::reach("vault-keyring-written");
    keyring.into_vault()
}

fn unlock(source: &KeySource, row: &[u8]) -> Result<Vault, VaultError> {
    let damaged = |reason| VaultError::KeyringDamaged { store: "at hand".to_owned(), reason };
    let stored: Stored = serde_json::from_slice(row).map_err(|_| damaged("its row cannot be read"))?;
    if stored.format != FORMAT {
        return Err(damaged("it was made by a newer version"));
    }
    let store = stored.store.clone();
    let damaged = |reason| VaultError::KeyringDamaged { store: store.to_string(), reason };
    let key = source.load(&store)?.ok_or_else(|| VaultError::KeyMissing {
        store: store.clone(),
        path: source.place(&store).into(),
        made_with: stored.made_with.as_str(),
    })?;
    let kek = Kek::derive(&store, &key)?;
    let check = STANDARD.decode(&stored.check).map_err(|_| damaged("its check value is malformed"))?;
    if hmac::verify(&kek.check, b"check", &check).is_err() {
        return Err(VaultError::KeyWrong {
            place: source.place(&store),
            store: store.clone(),
            made_with: stored.made_with.as_str(),
        });
    }
    let mac = STANDARD.decode(&stored.mac).map_err(|_| damaged("its seal is malformed"))?;
    if hmac::verify(&kek.mac, &stored.content(), &mac).is_err() {
        return Err(damaged("it was changed outside Deputy"));
    }
    let open = |id: &[u8], wrapped: &str| {
        let wrapped = STANDARD.decode(wrapped).ok()?;
        kek.wrap.unwrap(&bound(&store, id), &wrapped)
    };
    let blind = open(b"blind", &stored.blind).ok_or_else(|| damaged("its index key does not open"))?;
    let keys = stored.keys.iter().map(|stored| {
        let key = open(&stored.id.to_le_bytes(), &stored.wrapped).ok_or_else(|| damaged("a key does not open"))?;
        Ok((stored.id, stored.made, key))
    });
    let keys = keys.collect::<Result<Vec<_>, VaultError>>()?;
    Keyring { store: store.clone(), blind, keys }.into_vault()
}

impl Stored {
    /// Everything but the check and the seal itself.
    fn content(&self) -> Vec<u8> {
        let ids: Vec<[u8; 4]> = self.keys.iter().map(|key| key.id.to_le_bytes()).collect();
        let mut fields: Vec<&[u8]> = vec![self.store.as_str().as_bytes(), self.blind.as_bytes()];
        for (id, key) in ids.iter().zip(&self.keys) {
            fields.push(id);
            fields.push(key.wrapped.as_bytes());
        }
        bind(&fields)
    }
}

impl Keyring {
    /// A new keyring with one key, k1.
    pub(super) fn generate(store: StoreId) -> Result<Self, VaultError> {
        Ok(Self { store, blind: random_key()?, keys: vec![(1, Time::now(), random_key()?)] })
    }

    fn wrap(&self, kek: &Kek, source: &KeySource) -> Result<Vec<u8>, VaultError> {
        let wrap = |id: &[u8], key: &Key| {
            let mut wrapped = Vec::with_capacity(WRAPPED_BYTES);
            kek.wrap.seal(&bound(&self.store, id), key.as_slice(), &mut wrapped)?;
            Ok::<_, VaultError>(STANDARD.encode(wrapped))
        };
        let keys = self
            .keys
            .iter()
            .map(|(id, made, key)| Ok(StoredKey { id: *id, made: *made, wrapped: wrap(&id.to_le_bytes(), key)? }));
        let mut stored = Stored {
            format: FORMAT,
            store: self.store.clone(),
            made_with: match source {
                KeySource::File { .. } => MadeWith::File,
                KeySource::Variable(_) => MadeWith::Variable,
            },
            check: STANDARD.encode(hmac::sign(&kek.check, b"check")),
            mac: String::new(),
            blind: wrap(b"blind", &self.blind)?,
            keys: keys.collect::<Result<_, VaultError>>()?,
        };
        stored.mac = STANDARD.encode(hmac::sign(&kek.mac, &stored.content()));
        serde_json::to_vec(&stored).map_err(|_| VaultError::Crypto("write its keyring"))
    }

    pub(super) fn into_vault(self) -> Result<Vault, VaultError> {
        let damaged = |reason| VaultError::KeyringDamaged { store: self.store.to_string(), reason };
        let primary = self.keys.last().ok_or_else(|| damaged("it has no key"))?.0;
        let keys = self.keys.iter().map(|(id, _, key)| Ok((*id, Cipher::new(key)?)));
        Ok(Vault {
            keys: keys.collect::<Result<_, VaultError>>()?,
            primary,
            blind: hmac::Key::new(hmac::HMAC_SHA256, self.blind.as_slice()),
            store: self.store,
        })
    }
}

impl Kek {
    fn derive(store: &StoreId, key: &Key) -> Result<Self, VaultError> {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, b"deputy key 1").extract(key.as_slice());
        let derive = |purpose: &[u8]| {
            let info = [purpose, b" ", store.as_str().as_bytes()];
            let mut derived = Key::default();
            secret
                .expand(&info, hkdf::HKDF_SHA256)
                .and_then(|material| material.fill(derived.as_mut_slice()))
                .map_err(|_| VaultError::Crypto("derive a key"))?;
            Ok::<_, VaultError>(derived)
        };
        Ok(Self {
            wrap: Cipher::new(&derive(b"wrap")?)?,
            check: hmac::Key::new(hmac::HMAC_SHA256, derive(b"check")?.as_slice()),
            mac: hmac::Key::new(hmac::HMAC_SHA256, derive(b"mac")?.as_slice()),
        })
    }
}

/// What a wrapped key of the keyring is bound to.
fn bound(store: &StoreId, id: &[u8]) -> Vec<u8> {
    bind(&[b"keyring", &FORMAT.to_le_bytes(), store.as_str().as_bytes(), id])
}
