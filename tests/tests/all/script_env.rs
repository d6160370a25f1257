//! What scripts find as globals: the tests of `sdk/js`, which Node runs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::support::deputy::Deputy;

fn node(tests: &[String], deputy: Option<&OsStr>) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/js"));
    for packages in ["node_modules", "runner/js/node_modules"] {
        assert!(folder.join(packages).is_dir(), "sdk/js/{packages} is missing: run `cargo xtask setup`");
    }
    let mut command = Command::new("node");
    command.current_dir(folder).args(["--no-warnings", "--experimental-vm-modules", "--test"]).args(tests);
    if let Some(deputy) = deputy {
        command.env("DEPUTY_BIN", deputy);
    }
    let output =
        command.output().unwrap_or_else(|error| panic!("cannot start node ({error}): run `cargo xtask setup`"));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    for counts in told.lines().filter(|line| line.contains("web-platform tests:")) {
        println!("{counts}");
    }
}

/// Both ways to write a step, fetch, the other globals, the types, and the web-platform tests: in a fresh context of
/// Node that has the language and nothing else.
#[test]
fn the_environment_of_scripts_keeps_its_promises() {
    let names = ["fetch", "globals", "packages", "step", "types", "wpt"];
    node(&names.map(|name| format!("test/{name}.test.mjs")), None);
}

/// The same web-platform tests in the sandbox itself, each file as a step; and fetch against a server.
#[test]
fn web_platform_tests_and_fetch_pass_in_the_sandbox() {
    let deputy = Deputy::new(&[]);
    let names = ["sandbox", "wpt"].map(|name| format!("test/{name}.test.mjs"));
    node(&names, Some(deputy.command(&["--version"]).get_program()));
}
