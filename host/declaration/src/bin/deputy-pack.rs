//! `deputy-pack <app-plugins folder> <out folder>`: builds every app and packs them for the binary.

use std::path::Path;
use std::process::ExitCode;

use deputy_declaration::pack;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [apps, out] = &arguments[..] else {
        eprintln!("usage: deputy-pack <app-plugins folder> <out folder>");
        return ExitCode::from(2);
    };
    let written = pack::build(Path::new(apps)).and_then(|built| {
        let path = pack::write(&built, Path::new(out))?;
        Ok((built, path))
    });
    match written {
        Ok((built, path)) => {
            println!("{} apps, {} bytes: {}", built.apps, built.bytes.len(), path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
