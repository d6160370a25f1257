//! What a pack was made from, so that a build can tell whether it is fresh.
//!
//! Only `std`: the host's build script compiles this file too. The sidecar `apps.pack.sources` holds one line a source:
//! its FNV-1a hash and its path. That is a memory of content, not a seal.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// First line of the sidecar; changes when packs must be made anew.
pub const HEADER: &str = "pack 1";
/// The pack's file name.
pub const PACK: &str = "apps.pack";
/// The sidecar's file name.
pub const SIDECAR: &str = "apps.pack.sources";

/// Every `<app>/app.toml` of the folder, in order.
pub fn app_files(apps: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(apps)? {
        let file = entry?.path().join("app.toml");
        if file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// An `app.toml` and the scripts beside it, named by it or not.
fn with_scripts(file: &Path) -> io::Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    if let Some(folder) = file.parent() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "js" || extension == "mjs") && path.is_file() {
                scripts.push(path);
            }
        }
    }
    scripts.sort();
    scripts.insert(0, file.to_owned());
    Ok(scripts)
}

/// The text of the sidecar for these sources.
pub fn fingerprint(apps: &Path, wit: &[u8]) -> io::Result<String> {
    let mut text = format!("{HEADER}\n{:016x} app.wit\n", fnv1a(wit));
    for file in app_files(apps)?.into_iter().map(|file| with_scripts(&file)).collect::<io::Result<Vec<_>>>()?.concat() {
        let bytes = std::fs::read(&file)?;
        let name = file.strip_prefix(apps).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:016x} {name}", fnv1a(&bytes));
    }
    Ok(text)
}

/// The first source that differs between two sidecars.
#[allow(dead_code)] // The build script asks; the library only writes.
pub fn first_difference(old: &str, new: &str) -> Option<String> {
    let name = |line: &str| line.split_once(' ').map_or(line, |(_, name)| name).to_owned();
    let changed = new.lines().find(|line| !old.lines().any(|other| other == *line));
    let gone = || old.lines().find(|line| !new.lines().any(|other| name(other) == name(line)));
    changed.map(name).or_else(|| gone().map(name))
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
