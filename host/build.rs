//! Finds the pack of built-in apps and checks that it is fresh. Never runs cargo: `cargo xtask build` does.

use std::path::Path;

#[path = "declaration/src/pack/sources.rs"]
mod sources;

fn main() {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(std::path::PathBuf::from);
    let root = root.as_deref().and_then(Path::parent).unwrap_or(Path::new(".."));
    let (apps, wit) = (root.join("app-plugins"), root.join("wit/app/0.1.0/app.wit"));
    let folder = root.join("target/pack");
    let (pack, sidecar) = (folder.join(sources::PACK), folder.join(sources::SIDECAR));
    for path in [&apps, &wit, &pack, &sidecar] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=declaration/src/pack/sources.rs");
    match stale(&apps, &wit, &pack, &sidecar) {
        None => println!("cargo::rustc-env=DEPUTY_PACK={}", pack.display()),
        Some(reason) => println!("cargo::error={reason}; run: cargo xtask build"),
    }
}

/// Why the pack cannot be used as it is.
fn stale(apps: &Path, wit: &Path, pack: &Path, sidecar: &Path) -> Option<String> {
    if !pack.is_file() {
        return Some(format!("the built-in apps are not packed yet ({} is missing)", pack.display()));
    }
    let Ok(old) = std::fs::read_to_string(sidecar) else {
        return Some(format!("{} is missing", sidecar.display()));
    };
    let new = match std::fs::read(wit).and_then(|wit| sources::fingerprint(apps, &wit)) {
        Ok(new) => new,
        Err(error) => return Some(format!("the sources of the built-in apps cannot be read: {error}")),
    };
    let source = sources::first_difference(&old, &new)?;
    Some(format!("the packed apps are stale: {source} changed"))
}
