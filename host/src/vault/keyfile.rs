//! The key file: `<folder>/<store id>.key`, mode 0600 in a folder of mode 0700.
//!
//! ```text
//! # Deputy: key of one store. Keep a copy where the store's backups are not.
//! store sto_…
//! key <base64 of 32 bytes>
//! ```
//! It appears whole or not at all: written and synced under another name, then linked to its own, which fails when
//! there already is one. So no key file is ever overwritten.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::VaultError;
use super::cipher::{Key, random_key};
use super::source::decode;
use crate::ids::StoreId;
use crate::killpoint;

/// A key file has about 180 bytes; what is far larger is none.
const MAX_BYTES: u64 = 4096;

pub(super) fn path(folder: &Path, store: &StoreId) -> PathBuf {
    folder.join(format!("{store}.key"))
}

/// The key in the file, or none when there is no file.
pub(super) fn read(folder: &Path, store: &StoreId) -> Result<Option<Key>, VaultError> {
    let path = path(folder, store);
    let failed = |error: io::Error| io_error("read", &path, &error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::KeyFileOpen { path, mode });
    }
    check_folder(folder)?;
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    parse(&path, &text, store).map(Some)
}

/// The key in the file, which is made when it is missing; durable when it returns, also when a crash had cut an earlier
/// call short.
pub(super) fn obtain(folder: &Path, store: &StoreId) -> Result<Key, VaultError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| io_error("make", folder, &error))?;
    check_folder(folder)?;
    let path = path(folder, store);
    let unfinished = folder.join(format!("{store}.key.new"));
    // Left by a crash: half a key, or a second name of the whole one.
    remove(&unfinished)?;
    let key = match read(folder, store)? {
        Some(key) => key,
        None => make(&unfinished, &path, store)?,
    };
    sync(&path)?;
    let mut folders = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty());
    for folder in folders.by_ref().take(2) {
        sync(folder)?;
    }
    for folder in folders {
        // One that was made just now is ours and syncs; others may be closed to us, and need no sync.
        let _ = sync(folder);
    }
    Ok(key)
}

fn make(unfinished: &Path, path: &Path, store: &StoreId) -> Result<Key, VaultError> {
    let failed = |error: io::Error| io_error("write", unfinished, &error);
    let key = random_key()?;
    let text = render(store, &key);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    killpoint::reach("vault-key-unfinished");
    fs::hard_link(unfinished, path).map_err(|error| io_error("write", path, &error))?;
    killpoint::reach("vault-key-linked");
    remove(unfinished)?;
    Ok(key)
}

fn remove(path: &Path) -> Result<(), VaultError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path, &error)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), VaultError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| io_error("sync", path, &error))
}

fn render(store: &StoreId, key: &Key) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("# Deputy: key of one store. Keep a copy where the store's backups are not.\nstore ");
    text.push_str(store.as_str());
    text.push_str("\nkey ");
    STANDARD.encode_string(key.as_slice(), &mut text);
    text.push('\n');
    text
}

fn parse(path: &Path, text: &[u8], expected: &StoreId) -> Result<Key, VaultError> {
    let refuse = |line: usize, reason: String| VaultError::KeyFile { path: path.to_owned(), line, reason };
    if text.len() as u64 > MAX_BYTES {
        return Err(refuse(1, format!("this is no key file: it has more than {MAX_BYTES} bytes")));
    }
    let (mut store, mut key) = (None, None);
    let mut lines = 0;
    for (number, line) in text.split(|&byte| byte == b'\n').enumerate().map(|(index, line)| (index + 1, line)) {
        lines = number;
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (word, value) = match line.iter().position(|&byte| byte == b' ') {
            Some(at) => (&line[..at], line[at..].trim_ascii()),
            None => (line, &line[line.len()..]),
        };
        match word {
            b"store" if store.is_none() => {
                let id = std::str::from_utf8(value).ok().and_then(|text| text.parse::<StoreId>().ok());
                store = Some(id.ok_or_else(|| refuse(number, "`store` names no store id (sto_…)".to_owned()))?);
            }
            b"key" if key.is_none() => {
                key = Some(decode(value).map_err(|reason| refuse(number, format!("the key is malformed: {reason}")))?);
            }
            // The line is not quoted: it may be a key.
            _ => {
                return Err(refuse(
                    number,
                    "this line is neither `store <id>` nor `key <base64>`, once each".to_owned(),
                ));
            }
        }
    }
    let store = store.ok_or_else(|| refuse(lines, "the line `store <id>` is missing".to_owned()))?;
    if store != *expected {
        return Err(VaultError::KeyForeign { path: path.to_owned(), expected: expected.clone(), found: store });
    }
    key.ok_or_else(|| refuse(lines, "the line `key <base64>` is missing".to_owned()))
}

fn check_folder(folder: &Path) -> Result<(), VaultError> {
    let metadata = fs::metadata(folder).map_err(|error| io_error("read", folder, &error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::KeyFolderOpen { path: folder.to_owned(), mode });
    }
    Ok(())
}

fn io_error(what: &'static str, path: &Path, error: &io::Error) -> VaultError {
    VaultError::Io { what, path: path.to_owned(), reason: error.to_string() }
}
