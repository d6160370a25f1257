//! How many real API descriptions become an app:
//! `cargo run --release -p deputy-declaration --example import_many <folder> [<where to write the drafts>]`.
//!
//! Reads every `.json`, `.yaml` and `.yml` below the folder as an OpenAPI description, writes the draft, and reads it
//! again as `app check` would. Counts what came of it; a crash is a defect and is named.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use deputy_declaration::draft::openapi;
use deputy_declaration::source::parse;

#[derive(Default)]
struct Count {
    files: usize,
    complete: usize,
    with_test: usize,
    crashed: Vec<PathBuf>,
    /// The draft says that it is complete, and its text does not pass.
    unsound: BTreeMap<String, Vec<PathBuf>>,
    no_description: BTreeMap<String, usize>,
    missing: BTreeMap<&'static str, usize>,
    notes: BTreeMap<String, usize>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(folder) = arguments.next() else {
        eprintln!("name a folder with OpenAPI descriptions");
        return ExitCode::from(2);
    };
    let drafts = arguments.next();
    let mut files = Vec::new();
    collect(&folder, &mut files);
    files.sort();
    let mut count = Count::default();
    for file in &files {
        one(file, drafts.as_deref(), &mut count);
    }
    report(&count);
    ExitCode::from(u8::from(!count.crashed.is_empty() || !count.unsound.is_empty()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "json" || end == "yaml" || end == "yml") {
            files.push(path);
        }
    }
}

fn one(file: &Path, drafts: Option<&Path>, count: &mut Count) {
    let Ok(text) = std::fs::read_to_string(file) else { return };
    count.files += 1;
    // By its name alone: where relative servers stand is then not known.
    let source = file.file_name().unwrap_or_default().to_string_lossy();
    let read = catch_unwind(AssertUnwindSafe(|| {
        let draft = openapi(&text, &source, "2026-11-23")?;
        let toml = draft.to_toml();
        let parsed = parse("app.toml", &toml);
        Ok::<_, deputy_declaration::draft::DraftError>((draft, toml, parsed))
    }));
    let (draft, toml, parsed) = match read {
        Err(_) => return count.crashed.push(file.to_owned()),
        Ok(Err(error)) => return *count.no_description.entry(shortened(&error.to_string())).or_default() += 1,
        Ok(Ok(read)) => read,
    };
    for note in &draft.notes {
        *count.notes.entry(without_names(note)).or_default() += 1;
    }
    if draft.base.is_none() {
        *count.missing.entry("no base").or_default() += 1;
    }
    if draft.methods.is_empty() {
        *count.missing.entry("no auth method").or_default() += 1;
    }
    match parsed {
        Ok(_) => {
            count.complete += 1;
            count.with_test += usize::from(draft.test.is_some());
        }
        Err(problems) if draft.is_complete() => {
            let first = problems.0.first().map(|problem| without_names(&problem.message)).unwrap_or_default();
            count.unsound.entry(first).or_default().push(file.to_owned());
        }
        Err(_) => {}
    }
    if let Some(drafts) = drafts {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Err(error) = std::fs::write(drafts.join(format!("{name}.toml")), toml) {
            eprintln!("cannot write the draft of {}: {error}", file.display());
        }
    }
}

/// What stands in backticks differs from file to file.
fn without_names(text: &str) -> String {
    text.split('`').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { "…" }).collect()
}

fn shortened(text: &str) -> String {
    let text: String = text.chars().take(60).collect();
    text.split(" at line").next().unwrap_or(&text).to_owned()
}

fn report(count: &Count) {
    println!(
        "{} files, {} complete apps, {} of them with a test request",
        count.files, count.complete, count.with_test
    );
    println!("{} crashes", count.crashed.len());
    for file in &count.crashed {
        println!("  {}", file.display());
    }
    let list = |title: &str, counted: Vec<(&str, usize)>| {
        println!("{title}");
        let mut counted = counted;
        counted.sort_by_key(|(_, number)| std::cmp::Reverse(*number));
        for (what, number) in counted.iter().take(40) {
            println!("  {number:>5}  {what}");
        }
    };
    list("not read:", count.no_description.iter().map(|(what, number)| (what.as_str(), *number)).collect());
    list("incomplete:", count.missing.iter().map(|(what, number)| (*what, *number)).collect());
    list(
        "complete and refused by the check:",
        count.unsound.iter().map(|(what, files)| (what.as_str(), files.len())).collect(),
    );
    for (what, files) in &count.unsound {
        println!(
            "  {what}: {}",
            files.iter().take(5).map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ")
        );
    }
    list("notes:", count.notes.iter().map(|(what, number)| (what.as_str(), *number)).collect());
}
