//! What a pack was made from, so that a build can tell whether it is fresh.
//!
//! Only `std`: the host's build script compiles this file too. The sidecar `apps.pack.sources` holds one line a source:
//! its FNV-1a hash and its path. That is a memory of content, not a seal.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// First line of the sidecar; changes when packs must be made anew.
pub const HEADER: &str = "pack 2";
/// The pack's file name.
pub const PACK: &str = "apps.pack";
/// The folder of facts that apps share.
pub const FAMILIES: &str = "_families";
/// The sidecar's file name.
pub const SIDECAR: &str = "apps.pack.sources";

/// Every `app.toml` below the folder, in order: `<first letter or digit>/<slug>/app.toml`, and also where one stands in a
/// wrong place, so that nothing is left out unseen. Folders that begin with `_` hold no apps.
pub fn app_files(apps: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for letter in folders(apps)? {
        files.extend(Some(letter.join("app.toml")).filter(|file| file.is_file()));
        for app in folders(&letter)? {
            files.extend(Some(app.join("app.toml")).filter(|file| file.is_file()));
        }
    }
    files.sort();
    Ok(files)
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(of)? {
        let entry = entry?;
        if entry.path().is_dir() && !entry.file_name().to_string_lossy().starts_with(['_', '.']) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// An `app.toml` with its logo and the scripts beside it, named by it or not.
fn with_files_beside(file: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = match file.parent() {
        Some(folder) => with_ending(folder, &["js", "mjs", "svg"])?,
        None => Vec::new(),
    };
    files.insert(0, file.to_owned());
    Ok(files)
}

fn with_ending(folder: &Path, endings: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().map(|ending| ending.to_string_lossy().into_owned());
        if ending.is_some_and(|ending| endings.contains(&ending.as_str())) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The text of the sidecar for these sources. `contract` is everything else that the pack's bytes follow from: the
/// contract and the layout of a component.
pub fn fingerprint(apps: &Path, contract: &[u8]) -> io::Result<String> {
    let mut text = format!("{HEADER}\n{:016x} contract\n", fnv1a(contract));
    let families = apps.join(FAMILIES);
    let mut files = if families.is_dir() { with_ending(&families, &["toml"])? } else { Vec::new() };
    for file in app_files(apps)? {
        files.extend(with_files_beside(&file)?);
    }
    for file in files {
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
    let old_lines: HashSet<&str> = old.lines().collect();
    let new_names: HashSet<String> = new.lines().map(name).collect();
    let changed = new.lines().find(|line| !old_lines.contains(line));
    changed.map(name).or_else(|| old.lines().map(name).find(|old| !new_names.contains(old)))
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
