//! The script runner: a guest with C in it, and a snapshot of its environment. Skipped as a whole while its sources
//! are as they were.
//!
//! C for wasm32 comes from the machine's clang where that has the target, else from Zig, which the Python registry
//! offers as one wheel; it goes into the target folder. Two small scripts there give either one the same name, so that
//! `cargo clippy` in `sdk/js/runner` works as well (`.cargo/config.toml` names them).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{Profile, WASM};
use crate::command::{Failure, Workspace, output, run};
use crate::setup;

#[path = "../../sdk/js/runner/sources.rs"]
mod sources;

const RUNNER: &str = "sdk/js/runner";
const ENVIRONMENT: &str = "sdk/js/runner/js";

const ZIG: &str = "0.17.1";
/// Of the wheels of that version, for the systems that Deputy is built on.
const ZIG_WHEELS: &[&str] = &["ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54"];

/// Builds `target/guests/runner.wasm`.
pub fn build(workspace: &Workspace, profile: Profile) -> Result<(), Failure> {
    let folder = workspace.own_target().join("guests");
    let (runner, sidecar) = (folder.join(sources::RUNNER), folder.join(sources::SIDECAR));
    let now = sources::fingerprint(&workspace.root)
        .map_err(|error| Failure::new(format!("the sources of the script runner cannot be read: {error}")))?;
    if runner.is_file() && fs::read_to_string(&sidecar).is_ok_and(|old| old == now) {
        eprintln!("      the script runner is fresh");
        return Ok(());
    }
    compiler(workspace)?;
    let environment = environment(workspace)?;
    let module = module(workspace)?;
    let tool = workspace.host_tool("deputy-snapshot", profile)?;
    fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
    run(Command::new(tool).current_dir(&workspace.root).arg(module).arg(environment).arg(&runner))?;
    // Last: a build that was interrupted is not fresh.
    fs::write(&sidecar, now).map_err(|error| cannot("write", &sidecar, &error))
}

/// The core module, from Rust and C.
fn module(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let target = workspace.own_target().join("runner");
    let mut cargo = workspace.guest_cargo(&workspace.root.join(RUNNER));
    run(cargo.args(["build", "--release", "--locked", "--target", WASM, "--target-dir"]).arg(&target))?;
    Ok(target.join(WASM).join("release/deputy_script_runner.wasm"))
}

/// The environment as one file: its package's `bundle` script says how, its lock file with what.
fn environment(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let folder = workspace.root.join(ENVIRONMENT);
    let bundle = workspace.own_target().join("runner/environment.js");
    setup::npm_packages(ENVIRONMENT, &folder)?;
    let outfile = format!("--outfile={}", bundle.display());
    run(Command::new("npm").current_dir(&folder).args(["run", "--silent", "bundle", "--", &outfile]))?;
    Ok(bundle)
}

/// Makes `target/tools/wasm-cc` and `wasm-ar`.
pub fn compiler(workspace: &Workspace) -> Result<(), Failure> {
    let tools = workspace.own_target().join("tools");
    fs::create_dir_all(&tools).map_err(|error| cannot("create", &tools, &error))?;
    let (cc, ar) = match clang() {
        Some((clang, ar)) => (format!("exec '{clang}' \"$@\"\n"), format!("exec '{ar}' \"$@\"\n")),
        None => {
            let zig = zig(&tools)?;
            let cache = tools.join("zig-cache");
            let (zig, cache) = (zig.display(), cache.display());
            let set = format!("export ZIG_GLOBAL_CACHE_DIR='{cache}' ZIG_LOCAL_CACHE_DIR='{cache}'\n");
            // Zig has names of its own for targets, and checks of its own that a release does without.
            let cc = format!(
                "for argument do\n  shift\n  case $argument in --target=*) ;; *) set -- \"$@\" \"$argument\" ;; esac\n\
                 done\n{set}exec '{zig}' cc -target wasm32-freestanding -fno-sanitize=undefined \"$@\"\n"
            );
            (cc, format!("{set}exec '{zig}' ar \"$@\"\n"))
        }
    };
    script(&tools.join("wasm-cc"), &cc)?;
    script(&tools.join("wasm-ar"), &ar)
}

/// A clang that knows wasm32, with the archiver of the same version.
fn clang() -> Option<(String, String)> {
    let newest_first = (14..=30).rev().map(|version| format!("-{version}"));
    std::iter::once(String::new()).chain(newest_first).find_map(|suffix| {
        let (clang, ar) = (format!("clang{suffix}"), format!("llvm-ar{suffix}"));
        let targets = output(Command::new(&clang).arg("--print-targets"))?;
        let knows = targets.lines().any(|line| line.split_whitespace().next() == Some("wasm32"));
        let archives = output(Command::new(&ar).arg("--version")).is_some();
        (knows && archives).then_some((clang, ar))
    })
}

/// Zig in the tools' folder, from the Python registry.
fn zig(tools: &Path) -> Result<PathBuf, Failure> {
    let folder = tools.join(format!("zig-{ZIG}"));
    let zig = folder.join("ziglang/zig");
    if zig.is_file() {
        return Ok(zig);
    }
    eprintln!("      no clang for wasm32 here; installing zig {ZIG} into {}", tools.display());
    let wanted = tools.join("zig.txt");
    let hashes: String = ZIG_WHEELS.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(&wanted, format!("ziglang=={ZIG}{hashes}\n")).map_err(|error| cannot("write", &wanted, &error))?;
    let python = "python3";
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    pip.args(["--disable-pip-version-check", "--upgrade", "--target"]).arg(&folder).arg("-r").arg(&wanted);
    run(&mut pip).map_err(|failure| {
        Failure::new(format!(
            "the script runner needs a C compiler for wasm32, and zig could not be installed ({}): run \
             `apt-get install clang llvm`, or `apt-get install python3-pip`, and build again",
            failure.message
        ))
    })?;
    if zig.is_file() { Ok(zig) } else { Err(Failure::new(format!("zig is not at {}", zig.display()))) }
}

/// Written only when it changed: cargo would build all C again.
fn script(path: &Path, body: &str) -> Result<(), Failure> {
    let text = format!("#!/bin/sh\n{body}");
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text).map_err(|error| cannot("write", path, &error))?;
    executable(path).map_err(|error| cannot("make executable", path, &error))
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::sources::first_difference;

    #[test]
    fn a_changed_a_new_and_a_lost_source_are_named() {
        let old = "runner 1\n01 a.rs\n02 b.rs\n";
        for (new, changed) in [
            (old, None),
            ("runner 1\n01 a.rs\n03 b.rs\n", Some("b.rs")),
            ("runner 1\n01 a.rs\n02 b.rs\n04 c.rs\n", Some("c.rs")),
            ("runner 1\n01 a.rs\n", Some("b.rs")),
        ] {
            assert_eq!(first_difference(old, new).as_deref(), changed, "{new}");
        }
    }
}
