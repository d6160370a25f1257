//! The one build: guests, the pack of apps, the host.
//!
//! Guests are built in one cargo call with a target folder of their own; the host's build takes their bytes and the
//! pack from `target/` and runs no cargo itself. All host builds select the whole workspace and then one binary:
//! cargo unifies features over the selected packages, so the pack tool, the host and the tests share every compiled
//! dependency. Selecting `-p deputy-declaration` alone would compile serde, wasmparser and others a second time.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::command::{Failure, Workspace, hand_over, run};
use crate::runner;
use crate::steps::Steps;

pub const WASM: &str = "wasm32-unknown-unknown";
const GUESTS: &str = "tests/guests";
/// The only guests that the host itself embeds.
const DEMO_GUESTS: &[&str] = &["demo-step"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

impl Profile {
    /// The folder below cargo's target folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Release => "release",
        }
    }

    pub fn apply(self, command: &mut Command) {
        if self == Self::Release {
            command.arg("--release");
        }
    }
}

/// Which guests a command needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    All,
    Demo,
}

pub fn all(workspace: &Workspace, profile: Profile, guests: Guests) -> Result<(), Failure> {
    let mut steps = Steps::new(4);
    steps.step("guests", || build_guests(workspace, guests))?;
    steps.step("script runner", || runner::build(workspace, profile))?;
    steps.step("pack", || pack(workspace, profile))?;
    steps.step("host", || host(workspace, profile))?;
    let own = workspace.own_target().join(profile.folder()).join("deputy");
    eprintln!("built {}", own.strip_prefix(&workspace.root).unwrap_or(&own).display());
    Ok(())
}

/// Runs the binary that [`all`] left.
pub fn run_deputy(workspace: &Workspace, arguments: &[String]) -> Result<ExitCode, Failure> {
    hand_over(Command::new(workspace.deputy(Profile::Debug.folder())).arg("demo").args(arguments))
}

/// Core modules with their component types embedded; the host encodes them to components itself.
fn build_guests(workspace: &Workspace, guests: Guests) -> Result<(), Failure> {
    let folder = workspace.root.join(GUESTS);
    if !folder.join("Cargo.toml").is_file() {
        eprintln!("      no {GUESTS}: nothing to build");
        return Ok(());
    }
    let target = workspace.own_target().join("guests");
    let mut cargo = workspace.guest_cargo(&folder);
    cargo.args(["build", "--release", "--target", WASM, "--target-dir"]).arg(&target);
    match guests {
        Guests::All => {
            cargo.arg("--workspace");
        }
        Guests::Demo => {
            for guest in DEMO_GUESTS {
                cargo.args(["--package", guest]);
            }
        }
    }
    run(&mut cargo)?;
    copy_modules(&target.join(WASM).join("release"), &target.join("components"))
}

/// Copies what changed, so that an unchanged guest causes no new build of the host.
fn copy_modules(from: &Path, to: &Path) -> Result<(), Failure> {
    let failed = |what: &str, path: &Path, error: std::io::Error| {
        Failure::new(format!("cannot {what} {}: {error}", path.display()))
    };
    fs::create_dir_all(to).map_err(|error| failed("create", to, error))?;
    for entry in fs::read_dir(from).map_err(|error| failed("read", from, error))? {
        let path = entry.map_err(|error| failed("read", from, error))?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let bytes = fs::read(&path).map_err(|error| failed("read", &path, error))?;
        let copy = to.join(path.file_name().unwrap_or_default());
        if fs::read(&copy).ok().as_ref() != Some(&bytes) {
            fs::write(&copy, bytes).map_err(|error| failed("write", &copy, error))?;
        }
    }
    Ok(())
}

/// Turns `app-plugins` into the pack that the host embeds.
fn pack(workspace: &Workspace, profile: Profile) -> Result<(), Failure> {
    if !workspace.root.join("host/declaration/src/bin/deputy-pack.rs").is_file()
        || !workspace.root.join("app-plugins").is_dir()
    {
        eprintln!("      no app-plugins or no deputy-pack: nothing to pack");
        return Ok(());
    }
    let tool = workspace.host_tool("deputy-pack", profile)?;
    run(Command::new(tool).current_dir(&workspace.root).args(["app-plugins", "target/pack"]))
}

fn host(workspace: &Workspace, profile: Profile) -> Result<(), Failure> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--workspace", "--bin", "deputy"]);
    profile.apply(&mut cargo);
    run(&mut cargo)?;
    let built = workspace.deputy(profile.folder());
    let own = workspace.own_target().join(profile.folder());
    let wanted = own.join(built.file_name().unwrap_or_default());
    if built == wanted || same_file(&built, &wanted) {
        return Ok(());
    }
    place(&built, &own, &wanted).map_err(|error| {
        Failure::new(format!(
            "the host is built at {}, but cannot be linked to {}: {error}",
            built.display(),
            wanted.display()
        ))
    })
}

/// A hard link, or a copy where the folders stand on different disks.
fn place(built: &Path, folder: &Path, wanted: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    if wanted.exists() {
        fs::remove_file(wanted)?;
    }
    if fs::hard_link(built, wanted).is_err() {
        fs::copy(built, wanted)?;
    }
    Ok(())
}

#[cfg(unix)]
fn same_file(left: &Path, right: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (fs::metadata(left), fs::metadata(right)) {
        (Ok(left), Ok(right)) => left.dev() == right.dev() && left.ino() == right.ino(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn same_file(_: &Path, _: &Path) -> bool {
    false
}
