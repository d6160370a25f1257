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
    /// Takes the lock `<data>/lock`, or says which process has it. `role`: what the process does with it for as long as
    /// it runs, for others to read; one word.
    pub(super) fn take(data: &Path, role: Option<&str>) -> Result<Self, StoreError> {
        let path = data.join("lock");
        let failed = |error: std::io::Error| StoreError::Open { path: path.clone(), reason: error.to_string() };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(owner(&mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{} {}", std::process::id(), role.unwrap_or_default()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The pid in the file, and the role; between lock and first write there is none.
fn owner(file: &mut File) -> StoreError {
    let mut text = String::new();
    let read = file.take(64).read_to_string(&mut text);
    let mut words = text.split_whitespace();
    let pid = words.next().filter(|pid| read.is_ok() && pid.bytes().all(|byte| byte.is_ascii_digit()));
    let role = words.next().filter(|role| read.is_ok() && role.bytes().all(|byte| byte.is_ascii_lowercase()));
    StoreError::InUse { pid: pid.unwrap_or("unknown").to_owned(), role: role.map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_owner_learns_who_the_first_is() {
        let data = tempfile::tempdir().expect("temp dir");
        for role in [None, Some("serve")] {
            let first = Lock::take(data.path(), role).expect("free");
            let error = Lock::take(data.path(), None).expect_err("it is taken");
            let fix = error.fix().expect("there is a way out");
            match error {
                StoreError::InUse { pid, role: told } => {
                    assert_eq!((pid, told.as_deref()), (std::process::id().to_string(), role));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(fix.contains("deputy serve"), role.is_some(), "{fix}");
            drop(first);
        }
        Lock::take(data.path(), None).expect("free again");
    }

    #[test]
    fn a_file_left_behind_locks_nobody_out() {
        let data = tempfile::tempdir().expect("temp dir");
        std::fs::write(data.path().join("lock"), "999999999999\n").expect("write");
        Lock::take(data.path(), None).expect("free");
        let text = std::fs::read_to_string(data.path().join("lock")).expect("read");
        assert_eq!(text.trim(), std::process::id().to_string());
    }
}
