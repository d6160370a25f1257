//! `deputy app install`, `update` and `approve`.

use std::path::Path;

use super::output::{BOLD, DIM, GOOD, Output, details, printable};
use super::prompt;
use super::{Done, Error};
use crate::deputy::{AppInstall, AppSource, AppUpdate, Caller, Deputy};

#[derive(clap::Args)]
pub struct Install {
    /// An app.toml, a folder that holds one, a component, or an https URL of one of them
    source: String,
    /// Agree to a new version that asks for more than the one that is there
    #[arg(long)]
    yes: bool,
    /// Only this version: the sha256 that `app build` and `app check` tell
    #[arg(long, value_name = "SHA256")]
    hash: Option<String>,
}

#[derive(clap::Args)]
pub struct Update {
    /// One app [default: all that were installed from a file or URL, and built-in ones with accounts]
    app: Option<String>,
    /// Agree to new versions that ask for more
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args)]
pub struct Approve {
    /// The app whose accounts move to its current version
    app: String,
    /// Without being asked
    #[arg(long)]
    yes: bool,
}

fn is_url(source: &str) -> bool {
    source.starts_with("https://") || source.starts_with("http://")
}

impl Install {
    async fn read(&self, deputy: &Deputy, caller: &Caller, accept: bool) -> Result<AppInstall, Error> {
        let (source, from) = match is_url(&self.source) {
            true => (deputy.app_fetch(caller, &self.source).await?, self.source.clone()),
            false => {
                let path = Path::new(&self.source);
                let source = AppSource::read(path)?;
                let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                (source, whole.display().to_string())
            }
        };
        Ok(AppInstall { source, from: Some(from), accept, expect: self.hash.clone() })
    }

    pub async fn run(self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let first = deputy.app_install(caller, self.read(deputy, caller, self.yes).await?).await;
        let installed = match first {
            // A person sees the difference and decides.
            Err(error) if error.code == "app_widens" && prompt::interactive() && !output.is_json() => {
                eprintln!("{}", printable(&error.message));
                if !prompt::confirm("Install it?")? {
                    return Err(error);
                }
                deputy.app_install(caller, self.read(deputy, caller, true).await?).await?
            }
            other => other?,
        };
        output.emit(&installed, || {
            let mut text = format!("{GOOD}installed{GOOD:#} {} (sha256 {})\n", installed.slug, installed.hash);
            for change in &installed.changes {
                text.push_str(&format!("  {}\n", printable(&change.to_string())));
            }
            text.push_str(&moves(&installed.slug, &installed.accounts));
            text.push_str(&format!("next: deputy connect {}\n", installed.slug));
            text
        })?;
        Ok(Done::Ok)
    }
}

impl Update {
    pub async fn run(self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let updates = deputy.app_update(caller, self.app.as_deref(), self.yes).await?;
        let failed = updates.apps.iter().any(|app| app.error.is_some());
        output.emit(&updates, || match updates.apps.is_empty() {
            true => "no app was installed from a file or URL".to_owned(),
            false => updates.apps.iter().map(told).collect(),
        })?;
        Ok(if failed { Done::Answered(1) } else { Done::Ok })
    }
}

fn told(update: &AppUpdate) -> String {
    let from = update.from.as_deref().map_or_else(|| "built in".to_owned(), printable);
    let mut text = format!("{BOLD}{}{BOLD:#} {} {DIM}({from}){DIM:#}\n", update.app, update.state);
    for change in &update.changes {
        text.push_str(&format!("  {}\n", printable(&change.to_string())));
    }
    if let Some(error) = &update.error {
        text.push_str(&format!("  {}\n", printable(&error.message).replace('\n', "\n  ")));
        match error.code == "app_widens" {
            true => text.push_str(&format!("  agree: deputy app update {} --yes\n", update.app)),
            false => text.push_str(&details(error)),
        }
    }
    text + &moves(&update.app, &update.accounts)
}

impl Approve {
    pub async fn run(self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let mut approval = deputy.app_approve(caller, &self.app, self.yes).await?;
        let waiting = !approval.versions.is_empty();
        let shown = |approval: &crate::deputy::AppApproval| {
            let mut text = String::new();
            for version in &approval.versions {
                let from = version.hash.get(..12).unwrap_or_default();
                text.push_str(&format!("{} account(s) of version {from}…\n", version.accounts));
                for change in &version.changes {
                    text.push_str(&format!("  {}\n", printable(&change.to_string())));
                }
            }
            text
        };
        if waiting && !self.yes {
            if !prompt::interactive() || output.is_json() {
                output.emit(&approval, || {
                    format!("{}agree: deputy app approve {} --yes\n", shown(&approval), self.app)
                })?;
                return Ok(Done::Answered(1));
            }
            eprint!("{}", shown(&approval));
            if !prompt::confirm("Move these accounts to the current version?")? {
                return Ok(Done::Answered(1));
            }
            approval = deputy.app_approve(caller, &self.app, true).await?;
        }
        let refused = !approval.accounts.refused.is_empty();
        output.emit(&approval, || match waiting {
            true => shown(&approval) + &moves(&approval.app, &approval.accounts),
            false => format!("every account of {} keeps to its current version\n", approval.app),
        })?;
        Ok(if refused { Done::Answered(1) } else { Done::Ok })
    }
}

fn moves(app: &str, moves: &crate::deputy::Moves) -> String {
    let mut text = String::new();
    if moves.moved > 0 {
        text.push_str(&format!("  {} account(s) follow\n", moves.moved));
    }
    if moves.waiting > 0 {
        let keep = "account(s) keep to the version they were connected with";
        text.push_str(&format!("  {} {keep}; see what changes: deputy app approve {app}\n", moves.waiting));
    }
    for refused in &moves.refused {
        text.push_str(&format!("  {}\n", printable(refused)));
    }
    if let Some(note) = &moves.note {
        text.push_str(&format!("  {note}\n"));
    }
    text
}
