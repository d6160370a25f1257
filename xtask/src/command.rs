//! Finding the workspace, and running other programs in it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use crate::build::Profile;

/// One sentence that says what to do, and the exit code: 1 failed, 2 wrong use.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub exit: u8,
}

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: 1 }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit: 2 }
    }
}

/// Where things stand.
pub struct Workspace {
    /// The folder that holds `host`, `tests` and `xtask`.
    pub root: PathBuf,
    /// The folder with cargo's `debug` and `release`: wherever cargo was told to put them.
    pub host_target: PathBuf,
}

impl Workspace {
    pub fn find() -> Result<Self, Failure> {
        // `cargo run` tells it; the compiled-in path serves a binary that is started by hand.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest).parent().map(Path::to_path_buf).unwrap_or_default();
        if !root.join("host/Cargo.toml").is_file() {
            return Err(Failure::new(format!(
                "{} is not Deputy's folder: run `cargo xtask` inside a checkout",
                root.display()
            )));
        }
        // This program was built by the same cargo with the same settings: `<target>/debug/xtask`.
        let own =
            std::env::current_exe().map_err(|error| Failure::new(format!("cannot find this program: {error}")))?;
        let host_target =
            own.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_else(|| root.join("target"));
        Ok(Self { root, host_target })
    }

    /// `target/` of the workspace itself, whatever `CARGO_TARGET_DIR` says.
    pub fn own_target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// Builds a tool of the host workspace; its path.
    pub fn host_tool(&self, name: &str, profile: Profile) -> Result<PathBuf, Failure> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--workspace", "--bin", name]);
        profile.apply(&mut cargo);
        run(&mut cargo)?;
        Ok(self.host_target.join(profile.folder()).join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
    }

    /// The host binary of a profile.
    pub fn deputy(&self, profile: &str) -> PathBuf {
        self.host_target.join(profile).join(format!("deputy{}", std::env::consts::EXE_SUFFIX))
    }

    /// Cargo for the host workspace, free of what the outer `cargo run` put into the environment.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
        command.current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        // Relative paths would be read from another folder than the outer cargo read them.
        if std::env::var_os("CARGO_TARGET_DIR").is_some() {
            command.env("CARGO_TARGET_DIR", &self.host_target);
        }
        command
    }

    /// Cargo for a workspace of guests: no flags, target or profile of the host may reach it.
    pub fn guest_cargo(&self, folder: &Path) -> Command {
        let mut command = self.cargo();
        command.current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if is_host_flag(&name.to_string_lossy()) {
                command.env_remove(&name);
            }
        }
        command.env_remove("CARGO_TARGET_DIR");
        command
    }
}

fn is_host_flag(name: &str) -> bool {
    matches!(
        name,
        "RUSTFLAGS" | "RUSTDOCFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "CARGO_BUILD_RUSTFLAGS" | "CARGO_BUILD_TARGET"
    ) || name.starts_with("CARGO_PROFILE_")
        || (name.starts_with("CARGO_TARGET_") && name != "CARGO_TARGET_DIR")
}

/// Runs a command to its end, with its output on ours.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = status(command)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` failed; its messages stand above", shown(command))))
}

/// Runs a command whose exit code becomes ours.
pub fn hand_over(command: &mut Command) -> Result<ExitCode, Failure> {
    let status = status(command)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map(ExitCode::from).ok_or_else(|| Failure::new(format!("`{}` was ended by {status}", shown(command))))
}

/// What a command prints, if it can be run and succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn status(command: &mut Command) -> Result<ExitStatus, Failure> {
    command.status().map_err(|error| Failure::new(format!("cannot run `{}`: {error}", shown(command))))
}

/// As a person would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or(command.get_program());
    let mut text = program.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_get_no_flags_of_the_host() {
        for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_DEV_DEBUG", "CARGO_TARGET_WASM32_RUNNER"] {
            assert!(is_host_flag(name), "{name}");
        }
        for name in ["PATH", "CARGO_HOME", "CARGO_NET_OFFLINE"] {
            assert!(!is_host_flag(name), "{name}");
        }
    }

    #[test]
    fn a_failed_command_is_named() {
        let failure = run(Command::new("false").arg("--why")).unwrap_err();
        assert_eq!((failure.message.as_str(), failure.exit), ("`false --why` failed; its messages stand above", 1));
        let failure = run(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(failure.message.starts_with("cannot run `program`: "), "{}", failure.message);
    }
}
