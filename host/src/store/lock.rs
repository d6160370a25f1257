//! The lock that names its owner: one process at a time owns an embedded store.
//!
//! The operating system holds the lock and drops it when the process ends, however it ends; the file's text only tells
//! others who it is. So a file left behind by a dead process locks nobody out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::StoreError;

/// Held for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock `<data>/lock`, or says which process has it.
    pub(super) fn take(data: &Path) -> Result<Self, StoreError> {
        let path = data.join("lock");
        let failed = |error: std::io::Error| StoreError::Open { path: path.clone(), reason: error.to_string() };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { pid: owner(&mut file) }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The pid in the file; between lock and first write there is none.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match text.trim() {
        pid if read.is_ok() && !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()) => pid.to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_owner_learns_who_the_first_is() {
        let data = tempfile::tempdir().expect("temp dir");
        let first = Lock::take(data.path()).expect("free");
        match Lock::take(data.path()) {
            Err(StoreError::InUse { pid }) => assert_eq!(pid, std::process::id().to_string()),
            other => panic!("{other:?}"),
        }
        drop(first);
        Lock::take(data.path()).expect("free again");
    }

    #[test]
    fn a_file_left_behind_locks_nobody_out() {
        let data = tempfile::tempdir().expect("temp dir");
        std::fs::write(data.path().join("lock"), "999999999999\n").expect("write");
        Lock::take(data.path()).expect("free");
        let text = std::fs::read_to_string(data.path().join("lock")).expect("read");
        assert_eq!(text.trim(), std::process::id().to_string());
    }
}
