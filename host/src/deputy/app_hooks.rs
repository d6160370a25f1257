//! The crate `hooks` beside an app.toml: built with cargo, and put beside the declaration.
//!
//! Only `app build` does this. Building a crate runs what its author wrote, so checking and installing a stranger's
//! source never does; they take the component.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use deputy_declaration::compose;
use serde_json::Value;

use super::{AppSource, Error};

/// Beside the app.toml.
const FOLDER: &str = "hooks";
/// Inside the crate, where its Cargo.toml names it so.
const SDK_FOLDER: &str = "deputy-hooks";
const TARGET: &str = "wasm32-unknown-unknown";

const SDK: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../sdk/hooks/Cargo.toml")),
    ("src/identity.rs", include_str!("../../../sdk/hooks/src/identity.rs")),
    ("src/lib.rs", include_str!("../../../sdk/hooks/src/lib.rs")),
    ("src/plumbing.rs", include_str!("../../../sdk/hooks/src/plumbing.rs")),
    ("src/secret.rs", include_str!("../../../sdk/hooks/src/secret.rs")),
    ("src/signing.rs", include_str!("../../../sdk/hooks/src/signing.rs")),
    ("src/token_reply.rs", include_str!("../../../sdk/hooks/src/token_reply.rs")),
    ("wit/hooks.wit", include_str!("../../../sdk/hooks/wit/hooks.wit")),
];

/// The folder of the crate, if there is one.
pub(super) fn beside(source: &AppSource) -> Option<PathBuf> {
    let AppSource::Toml { file, .. } = source else { return None };
    let folder = Path::new(file).with_file_name(FOLDER);
    folder.join("Cargo.toml").is_file().then_some(folder)
}

/// The declaration's component with the hooks of the crate.
pub(super) async fn compose(declaration: Vec<u8>, folder: PathBuf) -> Result<Vec<u8>, Error> {
    let composed = tokio::task::spawn_blocking(move || {
        write_sdk(&folder)?;
        let module = build(&folder)?;
        compose::compose(&declaration, &module).map_err(|error| {
            let mut carried = Error::new(error.code(), format!("{}: {error}", folder.display()));
            carried.fix = error.fix();
            carried
        })
    });
    composed.await.map_err(|error| Error::new("app_hooks_failed", format!("the build stopped: {error}")))?
}

/// Puts the SDK where the crate looks for it: an app then builds with nothing but cargo, against this host's contract.
fn write_sdk(folder: &Path) -> Result<(), Error> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| cannot("read", &manifest, &error))?;
    let manifest: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        Error::new("app_hooks_manifest", format!("{}: {error}", manifest.display()))
    })?;
    let path = manifest.get("dependencies").and_then(|all| all.get("deputy-hooks")?.get("path")?.as_str());
    let sdk = folder.join(SDK_FOLDER);
    if path != Some(SDK_FOLDER) || sdk.exists() {
        return Ok(());
    }
    for (name, text) in SDK {
        let path = sdk.join(name);
        let parent = path.parent().unwrap_or(&sdk);
        fs::create_dir_all(parent).map_err(|error| cannot("make", parent, &error))?;
        fs::write(&path, text).map_err(|error| cannot("write", &path, &error))?;
    }
    Ok(())
}

/// The core module that cargo makes. Its messages go to standard error, as they come.
fn build(folder: &Path) -> Result<Vec<u8>, Error> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(folder)
        .args(["build", "--lib", "--release", "--target", TARGET, "--target-dir", "target"])
        .arg("--message-format=json-render-diagnostics")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // What was set for another build, such as the one that runs this.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.contains("RUSTFLAGS")
            || text.starts_with("CARGO_") && !matches!(&*text, "CARGO_HOME" | "CARGO_NET_OFFLINE")
        {
            cargo.env_remove(&name);
        }
    }
    for (key, value) in
        [("OPT_LEVEL", "s"), ("LTO", "true"), ("CODEGEN_UNITS", "1"), ("STRIP", "true"), ("PANIC", "abort")]
    {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    let output = cargo.output().map_err(|error| {
        Error::new("app_hooks_cargo", format!("cannot run cargo: {error}")).with_fix("install Rust: https://rustup.rs")
    })?;
    if !output.status.success() {
        let message = format!("the crate {} does not build; cargo's messages stand above", folder.display());
        return Err(Error::new("app_hooks_build", message)
            .with_fix(format!("correct it; where the target is missing: rustup target add {TARGET}")));
    }
    let messages =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    // The crate itself is the last that is compiled.
    let module = messages
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let files = message["filenames"].as_array()?.clone();
            files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
        })
        .next_back();
    let module = module.ok_or_else(|| {
        Error::new("app_hooks_no_module", format!("the crate {} makes no WebAssembly module", folder.display()))
            .with_fix("add to its Cargo.toml: [lib] crate-type = [\"cdylib\"]")
    })?;
    fs::read(&module).map_err(|error| cannot("read", &module, &error))
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new("app_hooks_io", format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_whole_and_its_contract_is_the_hosts() {
        let find = |path| SDK.iter().find(|(name, _)| *name == path).unwrap().1;
        let contract = format!("package deputy:app@0.1.0;\n\n{}", deputy_declaration::HOOKS_WIT);
        assert!(find("wit/hooks.wit") == contract, "copy wit/app/0.1.0/hooks.wit to sdk/hooks/wit, below its package");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/hooks/src");
        let mut there: Vec<_> = fs::read_dir(sources)
            .unwrap()
            .map(|entry| format!("src/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        there.sort();
        let mut embedded: Vec<_> = SDK.iter().map(|(path, _)| *path).filter(|path| path.starts_with("src/")).collect();
        embedded.sort_unstable();
        assert_eq!(there, embedded);
    }
}
