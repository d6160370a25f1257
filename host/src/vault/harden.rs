//! Keeps the process's memory out of core files and away from other processes of the same user.

use std::io;

use super::VaultError;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps for good and, on Linux, makes the process non-dumpable, so that no other process of this user
/// may attach to it or read its memory. Called once, first thing in `main`. As a side effect `/proc/self/fd` and
/// `/dev/stdin` belong to root afterwards: files are opened by other ways.
///
/// # Errors
/// When the system refuses either: the process should not go on to hold secrets then.
pub fn harden() -> Result<(), VaultError> {
    let refused = |error: rustix::io::Errno| VaultError::Harden(io::Error::from(error).to_string());
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(refused)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(refused)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_hardened_process_leaves_no_core() {
        use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
        super::harden().expect("a process may always give this up");
        assert_eq!(dumpable_behavior().expect("prctl"), DumpableBehavior::NotDumpable);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    }
}
