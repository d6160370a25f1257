//! The catalogue: what building all apps costs, and what carrying them costs a command.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use deputy::deputy::{AppFilter, Caller, Config, Deputy, Overrides};
use deputy_declaration::pack;

use crate::{ROUNDS, Result, median, resident, row, workspace};

/// All apps from their TOML to the pack, beside reading the same files as plain TOML.
pub fn built() -> Result<()> {
    let apps = workspace().join("app-plugins");
    let (mut ours, mut beside, mut size) = (Vec::new(), Vec::new(), (0, 0));
    for _ in 0..3 {
        let began = Instant::now();
        let built = pack::build(&apps).map_err(|error| error.to_string())?;
        ours.push(began.elapsed());
        size = (built.apps, built.bytes.len());
        let began = Instant::now();
        for file in pack::sources::app_files(&apps)? {
            toml::from_str::<toml::Table>(&std::fs::read_to_string(file)?)?;
        }
        beside.push(began.elapsed());
    }
    row("all apps built, beside parsing their TOML", median(ours), median(beside), "");
    println!("the pack: {} apps, {} bytes, {} an app", size.0, size.1, size.1 / size.0.max(1));
    Ok(())
}

/// Commands over the index and over one app, from start to exit, beside a command that does nothing.
pub fn commands() -> Result<()> {
    let program = std::env::current_exe()?.parent().and_then(Path::parent).ok_or("no folder")?.join("deputy");
    let folder = tempfile::tempdir()?;
    let time = |arguments: &[&str]| -> Result<Duration> {
        let began = Instant::now();
        let output = Command::new(&program)
            .args(arguments)
            .env("DEPUTY_DATA", folder.path().join("data"))
            .env("DEPUTY_CONFIG", folder.path().join("config"))
            .output()?;
        match output.status.success() {
            true => Ok(began.elapsed()),
            false => Err(format!("{arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    };
    let commands: [&[&str]; 3] = [&["app", "list"], &["app", "search", "gogle", "sheets"], &["app", "show", "slack"]];
    let mut ours = [const { Vec::new() }; 3];
    let mut beside = Vec::new();
    for _ in 0..ROUNDS {
        for (arguments, ours) in commands.iter().zip(&mut ours) {
            ours.push(time(arguments)?);
        }
        beside.push(time(&["--version"])?);
    }
    let beside = median(beside);
    for (arguments, ours) in commands.iter().zip(ours) {
        row(&format!("deputy {}, beside --version", arguments.join(" ")), median(ours), beside, "");
    }
    Ok(())
}

/// What a process holds after it has read the index, searched it, and opened one app.
pub async fn memory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let caller = Caller::local();
    let overrides = Overrides { data: Some(folder.path().join("data")), config: Some(folder.path().join("config")) };
    let deputy = Deputy::with_config(Config::load(overrides, &|_| None)?)?;
    let before = resident();
    let listed = deputy.app_list(&caller, AppFilter::default()).await?.apps.len();
    let after_list = resident();
    deputy.app_show(&caller, "slack").await?;
    let after_show = resident();
    println!(
        "listing {listed} apps: {} KiB more resident; opening one: {} KiB",
        after_list.saturating_sub(before) / 1024,
        after_show.saturating_sub(after_list) / 1024
    );
    deputy.close().await;
    Ok(())
}
