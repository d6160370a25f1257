//! Programs for tests of the WASI door: Rust for wasm32-wasip2, and a step in Python. They are no part of the build.
//!
//! componentize-py makes the component from the Python program and an interpreter; the Python registry offers it as one
//! wheel, which goes into the target folder. What it made is kept while its sources are as they were: it takes half a
//! minute.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, Workspace, output, run};

const WASM: &str = "wasm32-wasip2";
const GUESTS: &str = "tests/guests-wasi";
const PYTHON: &str = "tests/guests-wasi/python";
const STEP_WIT: &str = "wit/step/0.1.0/step.wit";

const COMPONENTIZE: &str = "0.25.1";
/// Of the wheels of that version, for the systems that Deputy is built on.
const COMPONENTIZE_WHEELS: &[&str] = &["8623cd8cab8453cb0cd8bf03f3c7103420d06f2f3d360186a280a70a1ca5e89f"];

/// Leaves the components beside those of the other guests.
pub fn build(workspace: &Workspace) -> Result<(), Failure> {
    target(workspace)?;
    let folder = workspace.own_target().join("guests");
    let mut cargo = workspace.guest_cargo(&workspace.root.join(GUESTS));
    run(cargo.args(["build", "--release", "--locked", "--workspace", "--target", WASM, "--target-dir"]).arg(&folder))?;
    let components = folder.join("components");
    fs::create_dir_all(&components).map_err(|error| cannot("create", &components, &error))?;
    let built = folder.join(WASM).join("release");
    for entry in fs::read_dir(&built).map_err(|error| cannot("read", &built, &error))? {
        let path = entry.map_err(|error| cannot("read", &built, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| name.ends_with(".wasm")) else {
            continue;
        };
        // A program keeps the hyphens of its name and a library does not.
        let copy = components.join(name.replace('-', "_"));
        fs::copy(&path, &copy).map_err(|error| cannot("write", &copy, &error))?;
    }
    python(workspace, &components)
}

fn target(workspace: &Workspace) -> Result<(), Failure> {
    let sysroot = output(Command::new("rustc").current_dir(&workspace.root).args(["--print", "sysroot"]));
    if sysroot.is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(WASM).join("lib").is_dir()) {
        return Ok(());
    }
    eprintln!("      adding the target {WASM}: rustup target add {WASM}");
    run(Command::new("rustup").current_dir(&workspace.root).args(["target", "add", WASM])).map_err(|failure| {
        let fix = format!("run `rustup target add {WASM}` in {}", workspace.root.display());
        Failure::new(format!("the Rust target {WASM} is missing and could not be added ({}): {fix}", failure.message))
    })
}

/// The step in Python.
fn python(workspace: &Workspace, components: &Path) -> Result<(), Failure> {
    let source = workspace.root.join(PYTHON);
    let (component, sidecar) = (components.join("wasi_python.wasm"), components.join("wasi_python.sources"));
    let mut now = format!("componentize-py {COMPONENTIZE}\n");
    for path in [source.join("app.py"), source.join("wit/world.wit"), workspace.root.join(STEP_WIT)] {
        now.push_str(&fs::read_to_string(&path).map_err(|error| cannot("read", &path, &error))?);
    }
    if component.is_file() && fs::read_to_string(&sidecar).is_ok_and(|old| old == now) {
        eprintln!("      the step in Python is fresh");
        return Ok(());
    }
    let tool = componentize(workspace)?;
    let wit = wit(workspace)?;
    let mut python = Command::new("python3");
    python.current_dir(&workspace.root).env("PYTHONPATH", tool);
    python.args(["-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]);
    python.arg("-d").arg(wit).args(["-w", "fetch"]);
    // The name under which the client that componentize-py brings looks for it; `deputy:step` has `types` as well.
    python.args(["--import-interface-name", &format!("wasi:http/types@{WASI}=types")]);
    run(python.args(["componentize", "app", "-p"]).arg(&source).arg("-o").arg(&component))?;
    // Last: a build that was interrupted is not fresh.
    fs::write(&sidecar, now).map_err(|error| cannot("write", &sidecar, &error))
}

/// The version of WASI whose interfaces the step in Python names.
const WASI: &str = "0.2.12";

/// The interfaces that the step in Python names, side by side: its own world, ours, and those of WASI as the crate
/// `wasip2` carries them, which the Rust programs use.
fn wit(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let mut metadata = workspace.guest_cargo(&workspace.root.join(GUESTS));
    let metadata = output(metadata.args(["metadata", "--locked", "--format-version", "1"]))
        .ok_or_else(|| Failure::new(format!("`cargo metadata` failed in {GUESTS}")))?;
    let crate_folder = manifest_folder(&metadata, &format!("+wasi-{WASI}"))
        .ok_or_else(|| Failure::new(format!("{GUESTS}/Cargo.lock names no wasip2 with WASI {WASI}")))?;
    let to = workspace.own_target().join("tools/wasi-wit");
    if to.is_dir() {
        fs::remove_dir_all(&to).map_err(|error| cannot("remove", &to, &error))?;
    }
    copy_files(&workspace.root.join(PYTHON).join("wit"), &to)?;
    copy_files(&crate_folder.join("wit/deps"), &to.join("deps"))?;
    let step = to.join("deps/step");
    fs::create_dir_all(&step).map_err(|error| cannot("create", &step, &error))?;
    let from = workspace.root.join(STEP_WIT);
    fs::copy(&from, step.join("step.wit")).map_err(|error| cannot("copy", &from, &error))?;
    Ok(to)
}

/// The folder of the crate `wasip2` whose version ends so, from what `cargo metadata` prints.
fn manifest_folder(metadata: &str, version: &str) -> Option<PathBuf> {
    metadata.split("\"manifest_path\":\"").skip(1).find_map(|rest| {
        // As JSON writes it; a folder with a quotation mark in its name is not found, and said to be missing.
        let path = PathBuf::from(rest.split('"').next()?.replace("\\\\", "\\"));
        let folder = path.parent()?;
        let name = folder.file_name()?.to_str()?;
        (name.starts_with("wasip2-") && name.ends_with(version)).then(|| folder.to_path_buf())
    })
}

/// The files of a folder; what lies deeper stays.
fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| cannot("create", to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| cannot("read", from, &error))? {
        let path = entry.map_err(|error| cannot("read", from, &error))?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name)).map_err(|error| cannot("copy", &path, &error))?;
        }
    }
    Ok(())
}

/// componentize-py in the tools' folder, from the Python registry: the folder to import it from.
fn componentize(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let tools = workspace.own_target().join("tools");
    let folder = tools.join(format!("componentize-py-{COMPONENTIZE}"));
    if folder.join("componentize_py").is_dir() {
        return Ok(folder);
    }
    eprintln!("      installing componentize-py {COMPONENTIZE} into {}", tools.display());
    fs::create_dir_all(&tools).map_err(|error| cannot("create", &tools, &error))?;
    let wanted = tools.join("componentize-py.txt");
    let hashes: String = COMPONENTIZE_WHEELS.iter().map(|hash| format!(" --hash=sha256:{hash}")).collect();
    fs::write(&wanted, format!("componentize-py=={COMPONENTIZE}{hashes}\n"))
        .map_err(|error| cannot("write", &wanted, &error))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]);
    pip.args(["--disable-pip-version-check", "--upgrade", "--target"]).arg(&folder).arg("-r").arg(&wanted);
    run(&mut pip).map_err(|failure| {
        Failure::new(format!(
            "the tests run a step in Python, and componentize-py could not be installed ({}): run `apt-get install \
             python3-pip`, and test again",
            failure.message
        ))
    })?;
    Ok(folder)
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_with_the_interfaces_is_found() {
        let metadata = r#"{"packages":[{"name":"wstd","manifest_path":"/r/wstd-0.6.8/Cargo.toml"},
            {"name":"wasip2","manifest_path":"/r/wasip2-1.0.4+wasi-0.2.12/Cargo.toml","x":1}]}"#;
        let found = manifest_folder(metadata, "+wasi-0.2.12");
        assert_eq!(found.as_deref(), Some(Path::new("/r/wasip2-1.0.4+wasi-0.2.12")));
        assert_eq!(manifest_folder(metadata, "+wasi-0.2.3"), None);
    }
}
