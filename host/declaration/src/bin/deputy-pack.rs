//! `deputy-pack <app-plugins folder> <out folder> [--lint]`: builds every app and packs them for the binary. With
//! `--lint` it prints what the lints say of the apps, and fails when they say anything.

use std::path::Path;
use std::process::ExitCode;

use deputy_declaration::pack;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let lint = arguments.last().is_some_and(|last| last == "--lint");
    arguments.truncate(arguments.len() - usize::from(lint));
    let [apps, out] = &arguments[..] else {
        eprintln!("usage: deputy-pack <app-plugins folder> <out folder> [--lint]");
        return ExitCode::from(2);
    };
    let written = pack::build(Path::new(apps)).and_then(|built| {
        let path = pack::write(&built, Path::new(out))?;
        Ok((built, path))
    });
    match written {
        Ok((built, path)) => {
            println!("{} apps, {} bytes: {}", built.apps, built.bytes.len(), path.display());
            if !lint || built.warnings.is_empty() {
                return ExitCode::SUCCESS;
            }
            for warning in &built.warnings {
                eprintln!("{warning}");
            }
            eprintln!("{} warnings", built.warnings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
