//! `cargo xtask`: everything a person types to set up, build, show, test and measure Deputy.
//!
//! No dependencies, so that it starts in seconds on a fresh machine. It runs the ordinary tools (cargo, rustup, npm),
//! says what it runs and how long it took, and when one fails it names the command to run.

mod build;
mod command;
mod runner;
mod setup;
mod steps;
mod test;
mod wasi;

use std::process::ExitCode;

use build::{Guests, Profile};
use command::{Failure, Workspace};

const HELP: &str = "\
cargo xtask COMMAND

  setup              add what is missing on this machine, and say what it was
  build [--release]  guests, the script runner, the pack of apps, then the host: leaves target/debug/deputy or target/release/deputy
  demo [ARGS]        build what the demo needs and run `deputy demo ARGS`, such as `--json`
  test [FILTER]      set up, build, and run all tests, or those whose name holds FILTER
  bench              build with optimisation and measure; see docs/performance.md

Set CARGO_TARGET_DIR to build the host elsewhere; guests and the pack always stand under target/ of this folder.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.exit)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode, Failure> {
    let workspace = Workspace::find()?;
    let (command, rest) = match arguments.split_first() {
        None => ("help", &[][..]),
        Some((command, rest)) => (command.as_str(), rest),
    };
    match command {
        "setup" => {
            no_more(command, rest)?;
            setup::all(&workspace)?;
        }
        "build" => {
            let profile = match rest {
                [] => Profile::Debug,
                [flag] if flag == "--release" => Profile::Release,
                _ => return Err(Failure::usage("`cargo xtask build` takes `--release` and nothing else")),
            };
            setup::for_build(&workspace)?;
            build::all(&workspace, profile, Guests::All)?;
        }
        "demo" => {
            setup::for_build(&workspace)?;
            build::all(&workspace, Profile::Debug, Guests::Demo)?;
            return build::run_deputy(&workspace, rest);
        }
        "test" => {
            let filter = match rest {
                [] => None,
                [filter] if !filter.starts_with('-') => Some(filter.as_str()),
                _ => return Err(Failure::usage("`cargo xtask test` takes one filter: a part of the tests' names")),
            };
            setup::all(&workspace)?;
            return test::all(&workspace, filter);
        }
        "bench" => {
            no_more(command, rest)?;
            setup::for_build(&workspace)?;
            return test::bench(&workspace);
        }
        "help" | "--help" | "-h" => println!("{HELP}"),
        other => return Err(Failure::usage(format!("there is no `cargo xtask {other}`; see `cargo xtask help`"))),
    }
    Ok(ExitCode::SUCCESS)
}

fn no_more(command: &str, rest: &[String]) -> Result<(), Failure> {
    match rest {
        [] => Ok(()),
        [first, ..] => Err(Failure::usage(format!("`cargo xtask {command}` takes no arguments, but got `{first}`"))),
    }
}
