//! Workflows and runs as people read them, at rest and as they happen.

use std::io::Write;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::output::{BAD, BOLD, DIM, GOOD, Output, printable, table};
use super::{Done, Error};
use crate::deputy::{
    Attempt, AttemptState, Caller, Deputy, Event, Happened, Hook, RequestSummary, RunEnd, RunHead, RunState, RunView,
    RunsPage, ScheduleView, WorkflowDeployed, WorkflowView,
};

/// How often the records are looked at while another process works on a run.
const LOOK: Duration = Duration::from_millis(500);

pub fn show_deployed(deployed: &WorkflowDeployed) -> String {
    let mut text = match deployed.deployed {
        true => format!("{GOOD}deployed{GOOD:#} {BOLD}{}{BOLD:#} version {}\n", deployed.name, deployed.version),
        false => format!(
            "{BOLD}{}{BOLD:#} is deployed already, as version {}: nothing was changed\n",
            deployed.name, deployed.version
        ),
    };
    if !deployed.enabled {
        text.push_str(&format!("{BAD}it is disabled{BAD:#}: deputy workflow enable {}\n", deployed.name));
    }
    for rebound in &deployed.rebound {
        text.push_str(&format!(
            "{BAD}another account{BAD:#} for `{}` of step {}: {} instead of {}\n",
            rebound.prop, rebound.step, rebound.to, rebound.from
        ));
    }
    triggers(&deployed.hooks, &deployed.schedules, &mut text);
    for command in &deployed.next {
        text.push_str(&format!("{DIM}next:{DIM:#} {command}\n"));
    }
    text
}

fn triggers(hooks: &[Hook], schedules: &[ScheduleView], text: &mut String) {
    for hook in hooks {
        let proof = match &hook.key_env {
            Some(variable) => format!("signed; the key stands in {variable} of `deputy serve`"),
            None => "secret: whoever knows it can start runs".to_owned(),
        };
        text.push_str(&format!("  {DIM}hook{DIM:#}      {} {DIM}({proof}){DIM:#}\n", hook.url));
    }
    for schedule in schedules {
        let next = schedule.next_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        text.push_str(&format!(
            "  {DIM}schedule{DIM:#}  {} {} {DIM}(next {next}){DIM:#}\n",
            schedule.cron, schedule.zone
        ));
    }
}

pub fn show_workflow(view: &WorkflowView) -> String {
    let head = &view.head;
    let state = if head.enabled { format!("{GOOD}enabled{GOOD:#}") } else { format!("{BAD}disabled{BAD:#}") };
    let mut text = format!("{BOLD}{}{BOLD:#} version {}, {state}\n", head.name, head.version);
    if let Some(summary) = &head.summary {
        text.push_str(&format!("  {}\n", printable(summary)));
    }
    triggers(&view.hooks, &view.schedules, &mut text);
    for (step, props) in &view.accounts {
        for (prop, account) in props {
            text.push_str(&format!("  {DIM}account{DIM:#}   {step}: {prop} = {account}\n"));
        }
    }
    let counts: Vec<_> =
        view.runs.iter().filter(|(_, count)| **count > 0).map(|(state, count)| format!("{count} {state}")).collect();
    match view.latest.is_empty() {
        true => text.push_str(&format!("{DIM}no runs yet:{DIM:#} deputy workflow run {}\n", head.name)),
        false => {
            text.push_str(&format!("  {DIM}runs{DIM:#}      {}\n", counts.join(", ")));
            text.push_str(&runs_table(&view.latest));
        }
    }
    text
}

pub fn show_runs(name: &str, page: &RunsPage) -> String {
    if page.runs.is_empty() {
        return format!("{DIM}no such runs; start one:{DIM:#} deputy workflow run {}", printable(name));
    }
    let mut text = runs_table(&page.runs);
    if let Some(next) = &page.next {
        text.push_str(&format!("{DIM}{} in all; more: --after {next}{DIM:#}\n", page.total));
    }
    text
}

fn runs_table(runs: &[RunHead]) -> String {
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            let error = run.error.as_deref().map(|code| match &run.step {
                Some(step) => format!("{step}: {code}"),
                None => code.to_owned(),
            });
            let lasted = match (run.started_at, run.ended_at) {
                (Some(start), Some(end)) => format!("{} ms", end.since(start).as_millis()),
                _ => String::new(),
            };
            [
                run.id.to_string(),
                run.state.word().to_owned(),
                run.trigger.word().to_owned(),
                run.created_at.to_string(),
                lasted,
                error.unwrap_or_default(),
            ]
        })
        .collect();
    table(["RUN", "STATE", "BY", "CREATED", "LASTED", "ERROR"], &rows)
}

pub fn show_run(view: &RunView) -> String {
    let run = &view.run;
    let state = match run.state {
        RunState::Done => format!("{GOOD}done{GOOD:#}"),
        RunState::Failed => format!("{BAD}failed{BAD:#}"),
        other => other.word().to_owned(),
    };
    let mut text = format!("{BOLD}{}{BOLD:#} of {} version {}: {state}\n", run.id, run.workflow, run.version);
    for attempt in &view.attempts {
        text.push_str(&attempt_line(attempt));
        text.push('\n');
        for line in &attempt.logs {
            text.push_str(&format!("      {DIM}{}{DIM:#}\n", printable(&line.message)));
        }
        if attempt.logs_left_out > 0 {
            text.push_str(&format!("      {DIM}({} more lines were not kept){DIM:#}\n", attempt.logs_left_out));
        }
        for request in &attempt.requests {
            text.push_str(&format!("      {}\n", request_line(request)));
        }
        if attempt.requests_left_out > 0 {
            text.push_str(&format!("      {DIM}({} more requests){DIM:#}\n", attempt.requests_left_out));
        }
    }
    if let Some(reason) = view.end.as_ref().and_then(|end| end.exit.as_ref()) {
        text.push_str(&format!("{DIM}ended early:{DIM:#} {}\n", printable(reason)));
    }
    if let Some(output) = &view.output {
        let shown = serde_json::to_string_pretty(output).unwrap_or_else(|_| output.to_string());
        text.push_str(&printable(&shown).replace("\n  ", "\n"));
        text.push('\n');
    }
    text
}

fn place(step: &str, item: Option<u32>, attempt: u32) -> String {
    let item = item.map(|item| format!("[{item}]")).unwrap_or_default();
    let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    format!("{}{item}{again}", printable(step))
}

fn attempt_line(attempt: &Attempt) -> String {
    let place = place(&attempt.step, attempt.item, attempt.attempt);
    let lasted = attempt.ended_at.since(attempt.started_at).as_millis();
    let used = match attempt.memory_peak_bytes {
        0 => String::new(),
        bytes => format!(", {} ms of a processor, {} KiB", attempt.cpu_ms, bytes / 1024),
    };
    match (attempt.state, &attempt.error) {
        (AttemptState::Skipped, _) => format!("  {DIM}skipped {place}{DIM:#}"),
        (AttemptState::Done, _) => format!("  {GOOD}done{GOOD:#} {place} {DIM}{lasted} ms{used}{DIM:#}"),
        (AttemptState::Failed, error) => {
            let why = error.as_ref().map(|error| format!(": {}", printable(&error.message))).unwrap_or_default();
            format!("  {BAD}failed{BAD:#} {place} {DIM}{lasted} ms{used}{DIM:#}{why}")
        }
    }
}

fn request_line(request: &RequestSummary) -> String {
    let end = match (request.status, &request.error) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.clone(),
        (None, None) => "no answer".to_owned(),
    };
    let renewed = if request.renewed { ", token refreshed" } else { "" };
    let through = if request.account.is_empty() { "no account" } else { request.account.as_str() };
    let target = printable(&format!("{} {}{}", request.method, request.origin, request.path));
    format!("{DIM}{target} → {end}, {} ms ({through}{renewed}){DIM:#}", request.duration_ms)
}

/// What went wrong, at the end.
pub fn run_failed(end: &Option<RunEnd>, output: &Output) -> Done {
    if let Some(failure) = end.as_ref().and_then(|end| end.error.as_ref()) {
        let mut error = Error::new(failure.code.clone(), failure.message.clone());
        error.fix = failure.fix.clone();
        // As JSON the run itself was told already, with its error.
        if !output.is_json() {
            output.error(&error);
        }
    }
    Done::Failed
}

/// Tells one thing that happens, on standard error and to people only. Ends when it has told it.
pub async fn watch(events: &mut Receiver<Event>, output: &Output) {
    match events.recv().await {
        Ok(event) if !output.is_json() => {
            if let Some(text) = told(&event) {
                // A closed standard error is no reason to stop a run.
                let _ = writeln!(anstream::stderr(), "{text}");
            }
        }
        Ok(_) | Err(RecvError::Lagged(_)) => {}
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

fn told(event: &Event) -> Option<String> {
    match &event.what {
        Happened::Begun { step, item, attempt } => {
            Some(format!("  {DIM}begins {} of {}{DIM:#}", place(step, *item, *attempt), event.run))
        }
        Happened::Log { step, item, line } => {
            let level = format!("{:?}", line.level).to_lowercase();
            Some(format!("    {DIM}{} {level}{DIM:#} {}", place(step, *item, 1), printable(&line.message)))
        }
        Happened::Left(attempt) => {
            let mut text: String =
                attempt.requests.iter().map(|request| format!("    {}\n", request_line(request))).collect();
            text.push_str(&attempt_line(attempt));
            Some(text)
        }
        Happened::Ended { .. } => None,
    }
}

/// Waits for the end of a run that another process works on, and tells each attempt once it is recorded.
pub async fn follow(run: &str, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<RunView, Error> {
    let mut seen = 0;
    loop {
        let view = deputy.run_show(caller, run).await?;
        if !output.is_json() {
            for attempt in view.attempts.iter().skip(seen) {
                let _ = writeln!(anstream::stderr(), "{}", attempt_line(attempt));
            }
        }
        seen = view.attempts.len();
        if view.run.state.has_ended() {
            return Ok(view);
        }
        if !deputy.runs_elsewhere().await? {
            let message = format!("nobody works on {run} while this command has the store");
            let name = &view.run.workflow;
            return Err(Error::new("run_idle", message)
                .with_fix(format!("start `deputy serve`, or go on with it by `deputy workflow run {name}`")));
        }
        tokio::time::sleep(LOOK).await;
    }
}
