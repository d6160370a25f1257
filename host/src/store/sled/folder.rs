//! The folder in which sled's files lie: made whole or not at all, and tidied before each opening.
//!
//! A crash while sled creates its files, or writes a snapshot at opening, leaves pieces that 0.34 then trips over. So a
//! new store is made under the name `store.new`, closed, synced and renamed; and snapshots that were never finished
//! are removed, for sled would take them for finished ones.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sled::{Config, Db};

use super::rows::SEGMENT_BYTES;
use crate::killpoint;
use crate::store::StoreError;

/// sled's page cache, in bytes. Its default of 1 GiB is more than a small machine has to spare.
const CACHE_BYTES: u64 = 128 << 20;

/// Together half a minute, as on a machine that is very busy.
const CLOSING_TRIES: u32 = 3_000;
const CLOSING_PAUSE: Duration = Duration::from_millis(10);

/// Makes the data folder, for this user alone, with the folders above it.
pub(super) fn make_data(data: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::Open { path: data.to_owned(), reason: error.to_string() };
    let mut missing = Vec::new();
    let mut at = Some(data);
    while let Some(folder) = at.filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        missing.push(folder);
        at = folder.parent();
    }
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    for folder in missing {
        sync(folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
            .map_err(failed)?;
    }
    Ok(())
}

/// Opens the store in `data`, whose lock is held; makes it when there is none. Gives also a second descriptor of the
/// file that the rows lie in, to sync it by.
pub(super) fn open(data: &Path) -> Result<(Db, File), StoreError> {
    let folder = data.join("store");
    let failed = |reason: String| StoreError::Open { path: folder.clone(), reason };
    let new = data.join("store.new");
    if new.exists() {
        fs::remove_dir_all(&new).map_err(|error| failed(error.to_string()))?;
    }
    if !folder.exists() {
        create(&new, &folder).map_err(|error| failed(error.to_string()))?;
        killpoint::reach("store-created");
    }
    remove_unfinished(&folder).map_err(|error| failed(error.to_string()))?;
    wait_until_closed(&folder).map_err(|error| failed(error.to_string()))?;
    let db = config(&folder).open().map_err(|error| failed(error.to_string()))?;
    let file = File::open(folder.join("db")).map_err(|error| failed(error.to_string()))?;
    // sled may have replaced its snapshot.
    sync(&folder).map_err(|error| failed(error.to_string()))?;
    Ok((db, file))
}

fn config(folder: &Path) -> Config {
    // The background flusher stays on: in 0.34 nothing else cleans segments. What it syncs is never acknowledged on its
    // word.
    Config::new().path(folder).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES)
}

fn create(new: &Path, folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(new)?;
    let db = config(new).open()?;
    db.flush()?;
    drop(db);
    killpoint::reach("store-before-create");
    sync_all(new)?;
    fs::rename(new, folder)?;
    match folder.parent() {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// A store that was dropped a moment ago may still have its file open: sled's threads end when they come to it. Nobody
/// else can have it, for the data folder's own lock is held.
fn wait_until_closed(folder: &Path) -> io::Result<()> {
    let file = match File::open(folder.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    for _ in 0..CLOSING_TRIES {
        match file.try_lock() {
            Ok(()) => return file.unlock(),
            Err(TryLockError::WouldBlock) => std::thread::sleep(CLOSING_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    // sled says that it is taken.
    Ok(())
}

fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Syncs everything below a folder, then the folder.
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_all(&path)? } else { File::open(&path)?.sync_all()? }
    }
    sync(folder)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
