//! What the built script runner was made from, so that a build can tell whether it is fresh.
//!
//! Only `std`: `xtask` writes the sidecar `runner.wasm.sources`, the host's build script compares it. One line a
//! source: its FNV-1a hash and its path. That is a memory of content, not a seal.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// Below `target/guests`.
pub const RUNNER: &str = "runner.wasm";
/// Beside it.
pub const SIDECAR: &str = "runner.wasm.sources";

/// Below the checkout's root.
const SOURCES: &[&str] = &["sdk/js/runner", "host/snapshot/src", "wit/step/0.1.0"];
/// Folders in them that do not count.
const ASIDE: &[&str] = &["node_modules", "target", "test", "tests"];

/// Every file that counts, in order.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|source| root.join(source)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let aside = path.file_name().is_some_and(|name| ASIDE.iter().any(|aside| name == *aside));
            match path.is_dir() {
                true if aside => {}
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The folders to watch.
#[allow(dead_code)] // The build script asks.
pub fn folders() -> impl Iterator<Item = &'static str> {
    SOURCES.iter().copied()
}

/// The text of the sidecar as the sources are now.
pub fn fingerprint(root: &Path) -> io::Result<String> {
    let mut text = "runner 1\n".to_owned();
    for file in files(root)? {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:016x} {name}", fnv1a(&std::fs::read(&file)?));
    }
    Ok(text)
}

/// The first source that differs between two sidecars.
#[allow(dead_code)] // The build script asks.
pub fn first_difference(old: &str, new: &str) -> Option<String> {
    let differs = |from: &str, to: &str| from.lines().find(|line| !to.lines().any(|other| other == *line)).map(name);
    differs(new, old).or_else(|| differs(old, new))
}

fn name(line: &str) -> String {
    line.split_once(' ').map_or(line, |(_, name)| name).to_owned()
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
