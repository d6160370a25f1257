//! `deputy workflow`: from a file to runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::output::{BOLD, DIM, GOOD, Output, printable, table};
use super::workflow_view::{follow, run_failed, show_deployed, show_run, show_runs, show_workflow, watch};
use super::{Done, Error, prompt, step};
use crate::deputy::{
    Caller, Deputy, RunState, WorkflowChecked, WorkflowFile, WorkflowLive, WorkflowRun, WorkflowRuns, WorkflowsPage,
};

#[derive(Subcommand)]
pub enum Command {
    /// Check a workflow file, and say all that is wrong and where
    Check {
        /// A workflow's file, such as welcome.toml
        file: PathBuf,
    },
    /// Check a file, and make it what runs under its name from now on
    Deploy { file: PathBuf },
    /// Your workflows
    List {
        /// How many at the most
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on behind this one: the `next` of the list before
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
    },
    /// Run a workflow by hand, in this process, and wait for its end
    #[command(group = clap::ArgGroup::new("what").required(true).args(["name", "local"]))]
    Run {
        /// A workflow that was deployed
        name: Option<String>,
        /// `trigger.body`: any JSON
        #[arg(long, value_name = "JSON", conflicts_with = "input_file")]
        input: Option<String>,
        /// The input from a file, or `-` for standard input
        #[arg(long, value_name = "FILE")]
        input_file: Option<PathBuf>,
        /// A second run with the same key within a week is the first one
        #[arg(long, value_name = "KEY", conflicts_with = "local")]
        idempotency_key: Option<String>,
        /// A workflow's file: run it as it is, without deploying it and without keeping the run
        #[arg(long, value_name = "FILE")]
        local: Option<PathBuf>,
    },
    /// The runs of a workflow, newest first
    Runs {
        name: String,
        /// Only those in one state
        #[arg(long, value_enum)]
        state: Option<State>,
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Go on behind this one: the `next` of the list before
        #[arg(long, value_name = "RUN")]
        after: Option<String>,
    },
    /// One workflow, or one run with what each step did
    Show {
        /// A workflow's name, or a run's id
        what: String,
        /// Of a run that has not ended: wait for its end, and tell what happens
        #[arg(long)]
        follow: bool,
    },
    /// End a run, or all runs of a workflow that have not ended
    Cancel {
        /// A run's id, or a workflow's name
        what: String,
    },
    /// Let triggers start runs again
    Enable { name: String },
    /// Let no trigger start a run; by hand it can still be run
    Disable { name: String },
    /// Forget a workflow; its runs stay to be looked at
    Remove {
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Done => Self::Done,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::Check { file } => {
            let checked = deputy.workflow_check(caller, &WorkflowFile::read(&file)?).await?;
            output.emit(&checked, || describe(&checked))?;
        }
        Command::Deploy { file } => {
            let deployed = deputy.workflow_deploy(caller, &WorkflowFile::read(&file)?).await?;
            output.emit(&deployed, || show_deployed(&deployed))?;
        }
        Command::List { limit, after } => {
            let page = deputy.workflow_list(caller, after.as_deref(), limit).await?;
            output.emit(&page, || list(&page))?;
        }
        Command::Run { name, input, input_file, idempotency_key, local } => {
            let text = match (input, input_file) {
                (Some(text), _) => Some(text),
                (None, Some(file)) => Some(step::read_input(&file)?),
                (None, None) => None,
            };
            let input = text.map(|text| serde_json::from_str::<Value>(&text)).transpose().map_err(|error| {
                Error::new("input_invalid", format!("the input is no JSON: {error}"))
                    .with_fix("give JSON: --input '{\"name\":\"value\"}'")
            })?;
            let input = input.unwrap_or(Value::Null);
            match (local, name) {
                (Some(file), _) => return run_local(&WorkflowFile::read(&file)?, input, deputy, caller, output).await,
                (None, Some(name)) => {
                    let run = WorkflowRun { name, input, idempotency_key };
                    return run_deployed(run, deputy, caller, output).await;
                }
                (None, None) => return Err(Error::new("usage", "name a workflow, or a file with --local")),
            }
        }
        Command::Runs { name, state, limit, after } => {
            let list = WorkflowRuns { name: name.clone(), state: state.map(RunState::from), after, limit };
            let page = deputy.workflow_runs(caller, list).await?;
            output.emit(&page, || show_runs(&name, &page))?;
        }
        Command::Show { what, follow: wait } => {
            if !what.starts_with("run_") {
                let view = deputy.workflow_show(caller, &what).await?;
                output.emit(&view, || show_workflow(&view))?;
                return Ok(Done::Ok);
            }
            let view = match wait {
                true => follow(&what, deputy, caller, output).await?,
                false => deputy.run_show(caller, &what).await?,
            };
            output.emit(&view, || show_run(&view))?;
        }
        Command::Cancel { what } => {
            let cancelled = deputy.workflow_cancel(caller, &what).await?;
            output.emit(&cancelled, || match cancelled.runs.as_slice() {
                [] => format!("{DIM}every run of {} has ended{DIM:#}", printable(&what)),
                runs => {
                    let lines = runs.iter().map(|run| format!("{GOOD}cancelled{GOOD:#} {}", run.id));
                    lines.collect::<Vec<_>>().join("\n")
                }
            })?;
        }
        Command::Enable { name } => {
            let view = deputy.workflow_enable(caller, &name, true).await?;
            output.emit(&view, || format!("{GOOD}enabled{GOOD:#} {}", view.head.name))?;
        }
        Command::Disable { name } => {
            let view = deputy.workflow_enable(caller, &name, false).await?;
            output.emit(&view, || format!("{GOOD}disabled{GOOD:#} {}: its triggers start nothing", view.head.name))?;
        }
        Command::Remove { name, yes } => {
            let view = deputy.workflow_show(caller, &name).await?;
            if !yes {
                if !prompt::interactive() {
                    let message = format!("removing {} needs a confirmation", view.head.name);
                    return Err(Error::new("usage", message).with_fix("add --yes"));
                }
                let question = format!("Remove {}? Its hook's address is lost.", view.head.name);
                if !prompt::confirm(&question)? {
                    return Err(Error::new("cancelled", "nothing was removed"));
                }
            }
            let removed = deputy.workflow_remove(caller, &name).await?;
            output.emit(&removed, || format!("{GOOD}removed{GOOD:#} {}", removed.name))?;
        }
    }
    Ok(Done::Ok)
}

/// A run by hand; what happens is told on standard error as it happens.
async fn run_deployed(run: WorkflowRun, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    let mut events = deputy.workflow_events().await?;
    let name = run.name.clone();
    let work = deputy.workflow_run(caller, run);
    let others = deputy.answer_others();
    tokio::pin!(work, others);
    let mut stopped = false;
    let view = loop {
        tokio::select! {
            view = &mut work => break view?,
            () = watch(&mut events, output) => {}
            () = &mut others => {}
            result = tokio::signal::ctrl_c(), if !stopped => {
                result.map_err(|error| Error::new("signal_failed", error.to_string()))?;
                stopped = true;
                output.note(&format!("{DIM}stopping when the step has ended{DIM:#}"));
                deputy.workflow_stop().await;
            }
        }
    };
    output.emit(&view, || show_run(&view))?;
    match view.run.state {
        RunState::Done => Ok(Done::Ok),
        RunState::Failed | RunState::Cancelled => Ok(run_failed(&view.end, output)),
        RunState::Queued | RunState::Running => {
            output.note(&format!("the run is kept: `deputy serve`, or `deputy workflow run {name}`, goes on with it"));
            Ok(Done::Failed)
        }
    }
}

async fn run_local(
    file: &WorkflowFile,
    input: Value,
    deputy: &Deputy,
    caller: &Caller,
    output: &Output,
) -> Result<Done, Error> {
    let live = WorkflowLive::default();
    let mut events = live.listen();
    let work = deputy.workflow_local(caller, file, input, &live);
    tokio::pin!(work);
    let ran = loop {
        tokio::select! {
            ran = &mut work => break ran?,
            () = watch(&mut events, output) => {}
        }
    };
    // What was told behind the last look.
    while tokio::time::timeout(Duration::ZERO, watch(&mut events, output)).await.is_ok() {
        if events.is_empty() {
            break;
        }
    }
    output.emit(&ran, || match &ran.output {
        Some(value) => serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()),
        None => format!("{DIM}no step gave anything{DIM:#}"),
    })?;
    if ran.state == RunState::Done {
        return Ok(Done::Ok);
    }
    Ok(run_failed(&Some(ran.end), output))
}

fn list(page: &WorkflowsPage) -> String {
    if page.workflows.is_empty() {
        return format!("{DIM}no workflows yet; write a file, then:{DIM:#} deputy workflow deploy FILE");
    }
    let rows: Vec<_> = page
        .workflows
        .iter()
        .map(|head| {
            let state = if head.enabled { "enabled" } else { "disabled" };
            let triggers = if head.triggers.is_empty() { "by hand".to_owned() } else { head.triggers.join(", ") };
            [
                head.name.clone(),
                head.version.to_string(),
                state.to_owned(),
                triggers,
                head.summary.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let mut text = table(["WORKFLOW", "VERSION", "STATE", "TRIGGERS", "SUMMARY"], &rows);
    if let Some(next) = &page.next {
        text.push_str(&format!("{DIM}more: deputy workflow list --after {next}{DIM:#}\n"));
    }
    text
}

fn describe(checked: &WorkflowChecked) -> String {
    let summary = checked.summary.as_deref().map(|summary| format!("{DIM}: {summary}{DIM:#}")).unwrap_or_default();
    let rows = checked.steps.iter().map(|step| {
        let accounts: Vec<_> = step.accounts.iter().map(|(prop, name)| format!("{prop} = {name}")).collect();
        [step.name.clone(), step.does.clone(), accounts.join(", ")]
    });
    let rows: Vec<_> = rows.collect();
    format!("{GOOD}ok{GOOD:#} {BOLD}{}{BOLD:#}{summary}\n{}", checked.name, table(["STEP", "DOES", "ACCOUNTS"], &rows))
}
