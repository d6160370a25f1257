//! The command line: one file a command group, each of which parses, calls one verb of the facade, and renders.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong use; `request` adds 4 and 5 for answers of those classes.

mod account;
mod action;
mod app;
mod app_dev;
mod app_import;
mod app_new;
#[cfg(feature = "conformance")]
mod app_test;
mod app_updates;
mod client;
mod connect;
#[cfg(feature = "demo")]
mod demo;
mod output;
mod prompt;
mod request;
mod serve;
mod step;
mod workflow;
mod workflow_view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::deputy::{Caller, Deputy, Error, Overrides};
use output::Output;

const ABOUT: &str = "Lets code use people's accounts without ever holding their keys.";

const LONG_ABOUT: &str = "\
Lets code use people's accounts without ever holding their keys.

A person connects an account at an app once, by OAuth or by pasting a key. From then on an HTTP request or a \
sandboxed step calls the app through that account: deputy adds the credential on the way out, keeps it fresh, and \
scrubs it from the answer.";

const AFTER_HELP: &str = "\
Start here:
  deputy demo                          see the main job done against a provider on this machine
  deputy app list                      the apps there are
  deputy connect github --method token connect an account by pasting a key
  deputy request github GET /user      call the app through it
  deputy action list github            what the app can do without writing a request
  deputy step new --js hello           write a step in JavaScript; without --js in Rust
  deputy workflow check FILE           steps in order, with triggers; see docs/workflows.md";

#[derive(Parser)]
#[command(name = "deputy", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true, max_term_width = 100)]
struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args)]
struct Global {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Where accounts and apps are kept [default: the platform's data folder; environment: DEPUTY_DATA]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The folder of deputy.toml and of the key files [default: the platform's; environment: DEPUTY_CONFIG]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// See the main job done, end to end, against a provider on this machine
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    /// List, build, check and install apps
    #[command(subcommand)]
    App(app::Command),
    /// Register the OAuth client of an app: once, for all accounts
    #[command(subcommand)]
    Client(client::Command),
    /// Connect an account, by OAuth in the browser or by pasting a key
    Connect(connect::Args),
    /// List, show, test, rename, reconnect, replace, disable and delete accounts
    #[command(subcommand)]
    Account(account::Command),
    /// Make one HTTP request through an account
    Request(Box<request::Args>),
    /// List, show and run the actions that apps bring
    #[command(subcommand)]
    Action(action::Command),
    /// Write, check and run sandboxed steps
    #[command(subcommand)]
    Step(step::Command),
    /// Put steps in order: check, deploy and run workflows, and look at their runs
    #[command(subcommand)]
    Workflow(workflow::Command),
    /// Keep running: take hooks, follow schedules, work on queued runs
    Serve(serve::Args),
}

/// How a command ended, when it did not fail.
enum Done {
    Ok,
    /// The failure is told already.
    Failed,
    /// An HTTP answer of class 4 or 5.
    Answered(u8),
}

pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let output = Output::new(args.global.json);
    trace(matches!(args.command, Command::Serve(_)));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.error(&Error::new("runtime_failed", format!("cannot start the runtime: {error}")));
            return ExitCode::from(1);
        }
    };
    let result = runtime.block_on(run(args, &output));
    // Blocking reads of standard input must not keep a finished command alive.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match result {
        Ok(Done::Ok) => ExitCode::SUCCESS,
        Ok(Done::Failed) => ExitCode::from(1),
        Ok(Done::Answered(class)) => ExitCode::from(class),
        Err(error) => {
            output.error(&error);
            ExitCode::from(if error.code == "usage" { 2 } else { 1 })
        }
    }
}

async fn run(args: Args, output: &Output) -> Result<Done, Error> {
    #[cfg(feature = "demo")]
    if let Command::Demo(demo) = args.command {
        return demo::run(demo, output).await;
    }
    let deputy = Deputy::open(Overrides { data: args.global.data, config: args.global.config })?;
    let caller = Caller::local();
    if let Command::Serve(serve) = args.command {
        return serve::run(serve, deputy, &caller, output).await;
    }
    let done = match args.command {
        #[cfg(feature = "demo")]
        Command::Demo(_) => Ok(Done::Ok),
        Command::App(command) => app::run(command, &deputy, &caller, output).await,
        Command::Client(command) => client::run(command, &deputy, &caller, output).await,
        Command::Connect(args) => connect::run(args, &deputy, &caller, output).await,
        Command::Account(command) => account::run(command, &deputy, &caller, output).await,
        Command::Request(args) => request::run(*args, &deputy, &caller, output).await,
        Command::Action(command) => action::run(command, &deputy, &caller, output).await,
        // Handled above: it keeps the facade for itself.
        Command::Serve(_) => Ok(Done::Ok),
        Command::Step(command) => step::run(command, &deputy, &caller, output).await,
        Command::Workflow(command) => workflow::run(command, &deputy, &caller, output).await,
    };
    deputy.close().await;
    done
}

/// Clap's own errors, as JSON when asked for. Help and version are no errors.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let rendered = error.render().to_string();
        let mut lines = rendered.lines();
        // The first paragraph: a sentence, or a sentence and the names it is about.
        let message: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let message = message.join(" ").trim_start_matches("error: ").to_owned();
        let fix = lines.map(str::trim).find(|line| line.starts_with("Usage:") || line.starts_with("tip:"));
        let mut error = Error::new("usage", message);
        error.fix = fix.map(str::to_owned);
        Output::new(true).error(&error);
        return ExitCode::from(2);
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Diagnostics on standard error, by `DEPUTY_LOG`; otherwise warnings of a server, and nothing of commands. Libraries stay at `warn` whatever is asked, since
/// some of them trace whole requests.
fn trace(serves: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = match std::env::var("DEPUTY_LOG") {
        Ok(filter) => filter,
        Err(_) if serves => "warn".to_owned(),
        Err(_) => return,
    };
    let filter = EnvFilter::new(format!("warn,deputy={filter}"));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// Names of flags are unique, also against the global ones, and every help text can be rendered.
    #[test]
    fn the_command_line_is_sound() {
        let mut command = super::Args::command();
        command.build();
        command.clone().debug_assert();
        let mut waiting = vec![command];
        while let Some(mut command) = waiting.pop() {
            let mut names: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
            names.sort_unstable();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "`{}` has a flag twice: {names:?}", command.get_name());
            assert!(command.render_long_help().to_string().contains("Usage"));
            waiting.extend(command.get_subcommands().cloned());
        }
    }
}
