//! `deputy workflow`: from a file to runs.

use std::path::PathBuf;

use clap::Subcommand;

use super::output::{BOLD, DIM, GOOD, Output, table};
use super::{Done, Error};
use crate::deputy::{Caller, Deputy, WorkflowChecked, WorkflowFile};

#[derive(Subcommand)]
pub enum Command {
    /// Check a workflow file, and say all that is wrong and where
    Check {
        /// A workflow's file, such as welcome.toml
        file: PathBuf,
    },
}

pub async fn run(command: Command, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    match command {
        Command::Check { file } => {
            let checked = deputy.workflow_check(caller, &WorkflowFile::read(&file)?).await?;
            output.emit(&checked, || describe(&checked))?;
        }
    }
    Ok(Done::Ok)
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
