//! Finds the pack of built-in apps and checks that it is fresh. Never runs cargo: `cargo xtask build` does.
//!
//! Paths are relative to this package (cargo runs build scripts there): checkouts that share a target folder share the
//! output of this script too, and each must see its own files.

use std::path::Path;

#[path = "../sdk/js/runner/sources.rs"]
mod runner;
#[path = "declaration/src/pack/sources.rs"]
mod sources;

const APPS: &str = "../app-plugins";
const WIT: &str = "../wit/app/0.1.0/app.wit";
/// How a declaration becomes a component: the pack holds the hashes of components, not their bytes.
const IMAGE: &str = "declaration/src/image.rs";
/// The step of `deputy demo`.
const DEMO_STEP: &str = "../target/guests/components/demo_step.wasm";
const GUESTS: &str = "../target/guests";
/// Always the workspace's own target folder, whatever `CARGO_TARGET_DIR` says.
const PACKS: &str = "../target/pack";
/// From `src/app/catalog.rs`, where it is included.
const FROM_SOURCE: &str = "../../../target/pack";

fn main() {
    let (pack, sidecar) = (format!("{PACKS}/{}", sources::PACK), format!("{PACKS}/{}", sources::SIDECAR));
    for path in [APPS, WIT, IMAGE, &pack, &sidecar, "build.rs", "declaration/src/pack/sources.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
    match stale(Path::new(APPS), &[Path::new(WIT), Path::new(IMAGE)], Path::new(&pack), Path::new(&sidecar)) {
        None => println!("cargo::rustc-env=DEPUTY_PACK={FROM_SOURCE}/{}", sources::PACK),
        Some(reason) => println!("cargo::error={reason}; run: cargo xtask build"),
    }
    let (built, sidecar) = (format!("{GUESTS}/{}", runner::RUNNER), format!("{GUESTS}/{}", runner::SIDECAR));
    for path in runner::folders().map(|folder| format!("../{folder}")).chain([built.clone(), sidecar.clone()]) {
        println!("cargo::rerun-if-changed={path}");
    }
    match stale_runner(Path::new(&built), Path::new(&sidecar)) {
        // From `src/step/script.rs`, where it is included.
        None => println!("cargo::rustc-env=DEPUTY_RUNNER=../../{built}"),
        Some(reason) => println!("cargo::error={reason}; run: cargo xtask build"),
    }
    if std::env::var_os("CARGO_FEATURE_DEMO").is_some() {
        println!("cargo::rerun-if-changed={DEMO_STEP}");
        match Path::new(DEMO_STEP).is_file() {
            // From `src/cli/demo.rs`, where it is included.
            true => println!("cargo::rustc-env=DEPUTY_DEMO_STEP=../../{DEMO_STEP}"),
            false => println!("cargo::error=the demo's step is not built yet; run: cargo xtask build"),
        }
    }
}

/// Why the script runner cannot be used as it is.
fn stale_runner(built: &Path, sidecar: &Path) -> Option<String> {
    if !built.is_file() {
        return Some("the script runner is not built yet (target/guests/runner.wasm is missing)".to_owned());
    }
    let Ok(old) = std::fs::read_to_string(sidecar) else {
        return Some("target/guests/runner.wasm.sources is missing".to_owned());
    };
    let new = match runner::fingerprint(Path::new("..")) {
        Ok(new) => new,
        Err(error) => return Some(format!("the sources of the script runner cannot be read: {error}")),
    };
    let source = runner::first_difference(&old, &new)?;
    Some(format!("the script runner is stale: {source} changed"))
}

/// Why the pack cannot be used as it is.
fn stale(apps: &Path, contract: &[&Path], pack: &Path, sidecar: &Path) -> Option<String> {
    if !pack.is_file() {
        return Some("the built-in apps are not packed yet (target/pack/apps.pack is missing)".to_owned());
    }
    let Ok(old) = std::fs::read_to_string(sidecar) else {
        return Some("target/pack/apps.pack.sources is missing".to_owned());
    };
    let contract = contract.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>();
    let new = match contract.and_then(|contract| sources::fingerprint(apps, &contract.concat())) {
        Ok(new) => new,
        Err(error) => return Some(format!("the sources of the built-in apps cannot be read: {error}")),
    };
    let source = sources::first_difference(&old, &new)?;
    Some(format!("the packed apps are stale: {source} changed"))
}
