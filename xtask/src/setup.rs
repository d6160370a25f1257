//! What a machine needs beyond the pinned toolchain, added when it is missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, Workspace, output, run};

const WASM: &str = "wasm32-unknown-unknown";
const OLDEST_NODE: u32 = 20;
const PEERS: &[&str] = &["tests/peers/oidc", "tests/packages", "sdk/js", "sdk/js/runner/js"];
/// In `node_modules`: the manifests that were installed.
const STAMP: &str = ".deputy-installed";

/// For building and the demo: the guests' target.
pub fn for_build(workspace: &Workspace) -> Result<(), Failure> {
    wasm_target(workspace)
}

/// For the tests as well: the npm packages of the peers.
pub fn all(workspace: &Workspace) -> Result<(), Failure> {
    wasm_target(workspace)?;
    for peer in PEERS {
        let folder = workspace.root.join(peer);
        if folder.join("package.json").is_file() {
            npm_packages(peer, &folder)?;
        }
    }
    Ok(())
}

fn wasm_target(workspace: &Workspace) -> Result<(), Failure> {
    let rustc =
        output(Command::new("rustc").current_dir(&workspace.root).args(["--print", "sysroot"])).ok_or_else(|| {
            Failure::new("rustc does not run: install the pinned toolchain with `rustup toolchain install`")
        })?;
    if Path::new(&rustc).join("lib/rustlib").join(WASM).join("lib").is_dir() {
        eprintln!("setup: the target {WASM} is there");
        return Ok(());
    }
    eprintln!("setup: adding the target {WASM}: rustup target add {WASM}");
    run(Command::new("rustup").current_dir(&workspace.root).args(["target", "add", WASM])).map_err(|failure| {
        Failure::new(format!(
            "the Rust target {WASM} is missing and could not be added ({}): run `rustup target add {WASM}` in {}",
            failure.message,
            workspace.root.display()
        ))
    })
}

pub fn npm_packages(name: &str, folder: &Path) -> Result<(), Failure> {
    let version = output(Command::new("node").arg("--version"));
    match version.as_deref().and_then(major) {
        None => {
            return Err(Failure::new("Node is missing: run `apt-get install nodejs npm`, or install Node 20 or newer"));
        }
        Some(found) if found < OLDEST_NODE => {
            return Err(Failure::new(format!(
                "Node {found} is too old for {name}: install Node {OLDEST_NODE} or newer"
            )));
        }
        Some(_) => {}
    }
    let stamp = folder.join("node_modules").join(STAMP);
    let wanted = wanted(folder)?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        eprintln!("setup: the npm packages of {name} are there");
        return Ok(());
    }
    eprintln!("setup: installing the npm packages of {name}: npm ci");
    run(Command::new("npm").current_dir(folder).args(["ci", "--no-audit", "--no-fund"])).map_err(|failure| {
        Failure::new(format!(
            "the npm packages of {name} are missing and could not be installed ({}): run `npm ci` in {name}",
            failure.message
        ))
    })?;
    fs::write(&stamp, wanted).map_err(|error| Failure::new(format!("cannot write {}: {error}", stamp.display())))
}

/// What stands in the manifests: the packages are stale when it changed.
fn wanted(folder: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    for file in ["package.json", "package-lock.json"] {
        let path = folder.join(file);
        text.push_str(
            &fs::read_to_string(&path)
                .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?,
        );
    }
    Ok(text)
}

/// `v20.20.2` → 20
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_versions_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("20.20.2"), None);
        assert_eq!(major("v"), None);
    }
}
