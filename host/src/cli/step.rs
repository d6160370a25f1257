//! `deputy step`: from an empty folder to a run.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::output::{DIM, GOOD, Output, printable, table};
use super::{Done, Error, prompt};
use crate::deputy::{Caller, Deputy, Language, LogLine, StepRan, StepRun, read_program};

/// The largest input a step takes.
const MAX_INPUT_BYTES: u64 = 8 << 20;

/// How often `--watch` looks at the file.
const WATCH_EVERY: Duration = Duration::from_millis(300);

#[derive(Subcommand)]
pub enum Command {
    /// Write a folder with a new step, ready to build: in Rust, or with --js in TypeScript
    New {
        /// In TypeScript, with npm and esbuild
        #[arg(long)]
        js: bool,
        /// The folder to make; its name is the step's
        path: PathBuf,
    },
    /// Say what a step needs, or why it cannot run here
    Check {
        /// A component, or a core module built with the SDK
        path: PathBuf,
    },
    /// Run a step with accounts bound to its props
    Run {
        /// A script (.js, .mjs) or a component (.wasm)
        path: PathBuf,
        /// The input, as a JSON object
        #[arg(long, value_name = "JSON", conflicts_with = "input_file")]
        input: Option<String>,
        /// The input from a file, or `-` for standard input
        #[arg(long, value_name = "FILE")]
        input_file: Option<PathBuf>,
        /// Give a prop of type app an account; may be given again
        #[arg(long, value_name = "PROP=ACCOUNT", value_parser = binding)]
        bind: Vec<(String, String)>,
        /// Let requests that name no account go through this prop's, where it reaches the URL; may be given again
        #[arg(long, value_name = "PROP")]
        ambient: Vec<String>,
        /// How long the run may take, such as 5s or 500ms [default: 60s]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        timeout: Option<Duration>,
        /// Run again whenever the file changes
        #[arg(long)]
        watch: bool,
    },
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::New { js, path } => {
            let language = if js { Language::JavaScript } else { Language::Rust };
            let new = deputy.step_new(caller, &path, language).await?;
            output.emit(&new, || {
                let mut text = format!("{GOOD}created{GOOD:#} {}\n", path.display());
                for file in &new.files {
                    text.push_str(&format!("  {}\n", file.display()));
                }
                text.push_str("next:\n");
                for command in &new.next {
                    text.push_str(&format!("  {command}\n"));
                }
                text
            })?;
        }
        Command::Check { path } => {
            let checked = deputy.step_check(caller, read_program(&path)?).await?;
            output.emit(&checked, || {
                let mut text = match (checked.command, checked.props.is_empty()) {
                    (true, _) => format!(
                        "{GOOD}ok{GOOD:#}: a WASI command, which declares no props: its input is its standard input, its \
                         output its standard output"
                    ),
                    (false, true) => format!("{GOOD}ok{GOOD:#}: needs nothing"),
                    (false, false) => {
                        let rows: Vec<_> = checked
                            .props
                            .iter()
                            .map(|prop| {
                                let need = match &prop.default {
                                    Some(default) => format!("default {default}"),
                                    None if prop.optional => "optional".to_owned(),
                                    None => "required".to_owned(),
                                };
                                let help = prop.help.clone().or(prop.label.clone()).unwrap_or_default();
                                [prop.name.clone(), prop.kind.word(), need, help]
                            })
                            .collect();
                        format!("{GOOD}ok{GOOD:#}\n{}", table(["PROP", "TYPE", "", "HELP"], &rows))
                    }
                };
                if !checked.wasi.is_empty() {
                    text.push_str(&format!("\n{DIM}imports {}{DIM:#}", checked.wasi.join(", ")));
                }
                text
            })?;
        }
        Command::Run { path, input, input_file, bind, ambient, timeout, watch } => {
            let text = match (input, input_file) {
                (Some(text), _) => text,
                (None, Some(file)) => read_input(&file)?,
                (None, None) => "{}".to_owned(),
            };
            let input = serde_json::from_str(&text).map_err(|error| {
                Error::new("input_invalid", format!("the input is no JSON: {error}"))
                    .with_fix("give a JSON object: --input '{\"name\":\"value\"}'")
            })?;
            let mut bindings = BTreeMap::new();
            for (prop, account) in bind {
                if bindings.insert(prop.clone(), account).is_some() {
                    return Err(Error::new("usage", format!("prop `{prop}` is bound twice")));
                }
            }
            let wanted = Wanted { path, input, bindings, ambient, timeout };
            return match watch {
                true => wanted.watch(deputy, caller, output).await,
                false => wanted.run(deputy, caller, output).await,
            };
        }
    }
    Ok(Done::Ok)
}

/// A run as it was asked for.
struct Wanted {
    path: PathBuf,
    input: serde_json::Value,
    bindings: BTreeMap<String, String>,
    ambient: Vec<String>,
    timeout: Option<Duration>,
}

impl Wanted {
    async fn run(&self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let (log, mut lines) = tokio::sync::mpsc::unbounded_channel();
        let show = !output.is_json();
        let printer = tokio::spawn(async move {
            while let Some(line) = lines.recv().await {
                if show {
                    print_log(&line);
                }
            }
        });
        let run = StepRun {
            program: read_program(&self.path)?,
            input: self.input.clone(),
            bindings: self.bindings.clone(),
            ambient: self.ambient.clone(),
            timeout: self.timeout,
            log: Some(log),
        };
        let result = deputy.step_run(caller, run).await;
        let _ = printer.await;
        let ran = result?;
        match (&ran.output, &ran.error) {
            (Some(returned), _) => output.emit(&ran, || {
                serde_json::to_string_pretty(&returned.value).unwrap_or_else(|_| returned.value.to_string())
            })?,
            // With what the run did before it failed.
            (None, _) if output.is_json() => output.emit(&ran, String::new)?,
            (None, Some(error)) => output.error(error),
            (None, None) => {}
        }
        output.note(&told(&ran));
        Ok(if ran.error.is_some() { Done::Failed } else { Done::Ok })
    }

    /// Runs whenever the program's file has changed, until the command is stopped.
    async fn watch(&self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let mut seen = None;
        loop {
            let now = std::fs::metadata(&self.path).ok().map(|file| (file.modified().ok(), file.len()));
            if now.is_some() && now != seen {
                seen = now;
                if let Err(error) = self.run(deputy, caller, output).await {
                    output.error(&error);
                }
                output.note(&format!("{DIM}watching {}; end with ctrl-c{DIM:#}", self.path.display()));
            }
            tokio::select! {
                () = tokio::time::sleep(WATCH_EVERY) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Done::Ok),
            }
        }
    }
}

/// What the sandbox used, and each request with its status and timing; never a query, a header or a body.
fn told(ran: &StepRan) -> String {
    let mut text = String::new();
    for request in &ran.requests {
        let status = match (&request.status, &request.error) {
            (Some(status), _) => status.to_string(),
            (None, error) => error.clone().unwrap_or_default(),
        };
        let account = if request.account.is_empty() { "no account" } else { &request.account };
        let line = format!("{} {}{}", request.method, request.origin, request.path);
        text.push_str(&format!(
            "{DIM}{status:>6} {:>6} ms  {} ({account}){DIM:#}\n",
            request.duration_ms,
            printable(&line)
        ));
    }
    let requests = ran.requests.len();
    let plural = if requests == 1 { "" } else { "s" };
    text.push_str(&format!(
        "{DIM}{requests} request{plural}, {} ms, of which {} ms on a processor, {} KiB{DIM:#}",
        ran.duration_ms,
        ran.cpu_ms,
        ran.memory_peak_bytes / 1024
    ));
    text
}

pub fn print_log(line: &LogLine) {
    let level = format!("{:?}", line.level).to_lowercase();
    let _ = writeln!(anstream::stderr(), "{DIM}{level}{DIM:#} {}", printable(&line.message));
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::new("input_failed", format!("cannot read {}: {error}", path.display())))
}

pub fn read_input(file: &Path) -> Result<String, Error> {
    let bytes = match file.as_os_str() == "-" {
        true => prompt::stdin_bytes(MAX_INPUT_BYTES)?,
        false => read(file)?,
    };
    String::from_utf8(bytes).map_err(|_| Error::new("input_invalid", "the input is not UTF-8"))
}

fn binding(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((prop, account)) if !prop.is_empty() && !account.is_empty() => Ok((prop.to_owned(), account.to_owned())),
        _ => Err("the form is prop=account, such as github=github/work".to_owned()),
    }
}

/// `5s`, `500ms`, `2m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text[..text.len() - unit.len()].parse::<u64>();
    match (number, unit) {
        (Ok(0), _) | (Err(_), _) => Err("a time such as 5s, 500ms or 2m".to_owned()),
        (Ok(number), "ms") => Ok(Duration::from_millis(number)),
        (Ok(number), "s" | "") => Ok(Duration::from_secs(number)),
        (Ok(number), "m") => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err("a time such as 5s, 500ms or 2m".to_owned()),
    }
}
