//! All tests by one command, and the measurements.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::build::{self, Guests, Profile};
use crate::command::{Failure, Workspace, hand_over, output, run};
use crate::steps::Steps;
use crate::wasi;

/// Guest workspaces whose tests run on this machine's own target.
const SDKS: &[&str] = &["sdk/rust", "sdk"];
/// Crates whose documentation may hold examples.
const DOCUMENTED: &[&str] = &["host/src", "host/declaration/src", "tests/demo-provider/src"];

/// Builds everything and runs every test; the test runner's summary comes last.
pub fn all(workspace: &Workspace, filter: Option<&str>) -> Result<ExitCode, Failure> {
    build::all(workspace, Profile::Debug, Guests::All)?;
    wasi::build(workspace)?;
    let examples = workspace.root.join("host/examples").is_dir();
    let sdk = SDKS.iter().map(|sdk| workspace.root.join(sdk)).find(|folder| folder.join("Cargo.toml").is_file());
    let documented = filter.is_none() && DOCUMENTED.iter().any(|folder| has_examples(&workspace.root.join(folder)));
    let mut steps = Steps::new(1 + usize::from(examples) + usize::from(sdk.is_some()) + usize::from(documented));
    if examples {
        steps.step("examples", || run(workspace.cargo().args(["build", "--workspace", "--examples"])))?;
    }
    if let Some(folder) = sdk {
        steps.step("tests of the SDK", || {
            let target = workspace.own_target().join("sdk");
            let mut cargo = workspace.guest_cargo(&folder);
            cargo.args(["test", "--workspace", "--target-dir"]).arg(target).args(filter);
            run(&mut cargo)
        })?;
    }
    if documented {
        steps
            .step("examples in the documentation", || run(workspace.cargo().args(["test", "--workspace", "--doc"])))?;
    }
    steps.last("tests", || {
        let mut cargo = workspace.cargo();
        if has_nextest(workspace) {
            cargo.args(["nextest", "run", "--workspace", "--no-fail-fast"]).args(filter);
        } else {
            eprintln!("      cargo-nextest is not installed; using cargo test");
            // Documentation examples ran above.
            cargo
                .args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"])
                .args(filter);
        }
        hand_over(&mut cargo)
    })
}

/// Measures with an optimised host; the figures are ratios within one run.
pub fn bench(workspace: &Workspace) -> Result<ExitCode, Failure> {
    if !workspace.root.join("tests/examples/bench/main.rs").is_file() {
        return Err(Failure::new("tests/examples/bench/main.rs is missing: this checkout has nothing to measure"));
    }
    build::all(workspace, Profile::Release, Guests::All)?;
    wasi::build(workspace)?;
    run(workspace.cargo().args(["build", "--release", "--workspace", "--example", "bench"]))?;
    let bench = workspace.host_target.join("release/examples").join(format!("bench{}", std::env::consts::EXE_SUFFIX));
    hand_over(Command::new(bench).current_dir(&workspace.root))
}

fn has_nextest(workspace: &Workspace) -> bool {
    output(Command::new("cargo").current_dir(&workspace.root).args(["nextest", "--version"])).is_some()
}

/// Whether a fenced block stands in a documentation comment below this folder.
fn has_examples(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return has_examples(&path);
        }
        path.extension().is_some_and(|extension| extension == "rs")
            && fs::read_to_string(&path).is_ok_and(|text| text.lines().any(is_fence))
    })
}

fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
    text.is_some_and(|text| text.trim_start().starts_with("```"))
}

#[cfg(test)]
mod tests {
    use super::is_fence;

    #[test]
    fn only_fences_in_documentation_count() {
        assert!(is_fence("    /// ```"));
        assert!(is_fence("//! ```no_run"));
        assert!(!is_fence("let fence = \"```\";"));
        assert!(!is_fence("// ```"));
    }
}
