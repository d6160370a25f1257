//! The check of a workflow file against this machine: its apps, its accounts, the programs beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deputy_declaration::types::{App, AuthKind};
use serde::Serialize;

use super::{Caller, Deputy, Error, Problem, Program, read_program};
use crate::app::Catalog;
use crate::step::Prop;
use crate::workflow::check::{AccountFacts, Checked, Known, ProgramFacts, Unknown, check};
use crate::workflow::source::{MAX_FILE_BYTES, Source};
use crate::workflow::{StepWhat, Trigger, Workflow, programs};

/// A workflow's file, read.
#[derive(Debug)]
pub struct WorkflowFile {
    /// Stands in the problems.
    pub name: String,
    pub text: String,
    /// Where its programs are looked for.
    pub folder: PathBuf,
}

impl WorkflowFile {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |message: String| Error::new("workflow_unreadable", message);
        let size =
            std::fs::metadata(path).map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?.len();
        if size > MAX_FILE_BYTES as u64 {
            let message = format!("{} has {size} bytes; a workflow may have {MAX_FILE_BYTES}", path.display());
            return Err(Error::new("workflow_too_large", message));
        }
        let bytes = std::fs::read(path).map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            failed(format!("{} is not UTF-8 from byte {at} on", path.display()))
        })?;
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(Self { name: path.display().to_string(), text, folder })
    }
}

/// What a workflow that passed will do, on one screen.
#[derive(Debug, Serialize)]
pub struct WorkflowChecked {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    pub triggers: Vec<Trigger>,
    pub steps: Vec<StepSummary>,
}

#[derive(Debug, Serialize)]
pub struct StepSummary {
    pub name: String,
    /// `action github/create-issue`, `http POST /pages`, `notify.js`
    pub does: String,
    /// Prop → account.
    pub accounts: BTreeMap<String, String>,
    /// Of a script or a component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program_bytes: Option<usize>,
}

/// A workflow that passed, with the programs that it needs by their hashes.
pub(super) struct Ready {
    pub checked: Checked,
    pub programs: BTreeMap<String, Program>,
}

impl Deputy {
    /// Every fault of the file at once, or what it does. Opens no store where the workflow names no account.
    pub async fn workflow_check(&self, caller: &Caller, file: &WorkflowFile) -> Result<WorkflowChecked, Error> {
        Ok(summary(&self.workflow_ready(caller, file).await?))
    }

    /// For the check and for deploying.
    pub(super) async fn workflow_ready(&self, caller: &Caller, file: &WorkflowFile) -> Result<Ready, Error> {
        let source = Source::read(&file.text);
        let mut world = World { catalog: self.catalog.clone(), accounts: BTreeMap::new(), programs: BTreeMap::new() };
        let mut programs = BTreeMap::new();
        if let Some(workflow) = &source.workflow {
            let (names, paths) = named(workflow);
            for name in names {
                let facts = self.account_facts(caller, &name).await?;
                world.accounts.insert(name, facts);
            }
            for path in paths {
                let facts = match self.program_facts(&file.folder.join(&path)).await {
                    Ok((hash, program, props)) => {
                        programs.insert(hash.clone(), program);
                        Ok(ProgramFacts { hash, props })
                    }
                    Err(error) => {
                        let message = match error.code == "step_unreadable" || error.code == "step_too_large" {
                            true => error.message,
                            false => format!("{path}: {}", error.message),
                        };
                        Err(Unknown { message, help: error.fix })
                    }
                };
                world.programs.insert(path, facts);
            }
        }
        match check(source, &file.name, &world) {
            Ok(checked) => Ok(Ready { checked, programs }),
            Err(problems) => {
                let count = problems.len();
                let message = format!("{} has {count} problem{}", file.name, if count == 1 { "" } else { "s" });
                let problems = problems.into_iter().map(|problem| Problem {
                    file: problem.file,
                    line: problem.line,
                    column: problem.column,
                    message: problem.message,
                    help: problem.help,
                });
                Err(Error { problems: problems.collect(), ..Error::new("workflow_invalid", message) })
            }
        }
    }

    /// An account that is not there is a fault of the file; a store that cannot be read is not.
    async fn account_facts(&self, caller: &Caller, name: &str) -> Result<Result<AccountFacts, Unknown>, Error> {
        let bound = match self.bind(caller, name).await {
            Ok(bound) => bound,
            Err(error) if error.code == "account_ambiguous" => {
                let help = format!("name one of {}", error.candidates.join(", "));
                return Ok(Err(Unknown { message: error.message, help: Some(help) }));
            }
            Err(error) if error.code == "account_not_found" => {
                return Ok(Err(Unknown { message: error.message, help: error.fix }));
            }
            Err(error) => return Err(error),
        };
        if let Ok(account) = self.opened().await?.accounts.show(caller, bound.account.as_str()).await
            && account.disabled
        {
            let help = Some(format!("deputy account enable {}", account.name));
            return Ok(Err(Unknown { message: format!("{} is disabled", account.name), help }));
        }
        let kind = bound.declaration.methods.get(bound.method).map(|method| &method.kind);
        // Of a pasted key nobody knows what it may do, nor where the provider does not say what it granted.
        let known = matches!(kind, Some(AuthKind::OAuth2Code(_))) && !bound.scopes.is_empty();
        Ok(Ok(AccountFacts {
            id: bound.account,
            name: bound.name,
            app: bound.app,
            scopes: known.then_some(bound.scopes),
            origins: bound.origins,
            declaration: bound.declaration,
            method: bound.method,
        }))
    }

    async fn program_facts(&self, path: &Path) -> Result<(String, Program, Vec<Prop>), Error> {
        let program = read_program(path)?;
        let hash = programs::hash(programs::bytes(&program));
        let props = self.steps()?.check(&program).await?;
        Ok((hash, program, props))
    }
}

/// The accounts and the programs that a file names.
fn named(workflow: &Workflow) -> (BTreeSet<String>, BTreeSet<String>) {
    let accounts = workflow.steps.iter().flat_map(|step| step.accounts.values().cloned()).collect();
    let programs = workflow.steps.iter().filter_map(|step| match &step.what {
        StepWhat::Program { path, .. } if !path.is_empty() => Some(path.clone()),
        _ => None,
    });
    (accounts, programs.collect())
}

fn summary(ready: &Ready) -> WorkflowChecked {
    let Checked { workflow, bindings } = &ready.checked;
    let steps = workflow.steps.iter().zip(bindings).map(|(step, bound)| StepSummary {
        name: step.name.clone(),
        does: match &step.what {
            StepWhat::Action { app, action } => format!("action {app}/{action}"),
            StepWhat::Http(call) => format!("http {} {}", call.method, call.path),
            StepWhat::Program { path, .. } => path.clone(),
        },
        accounts: bound.iter().map(|(prop, account)| (prop.clone(), account.name.clone())).collect(),
        program_bytes: match &step.what {
            StepWhat::Program { hash, .. } => ready.programs.get(hash).map(|program| programs::bytes(program).len()),
            StepWhat::Action { .. } | StepWhat::Http(_) => None,
        },
    });
    WorkflowChecked {
        name: workflow.name.clone(),
        summary: workflow.summary.clone(),
        triggers: workflow.triggers.clone(),
        steps: steps.collect(),
    }
}

/// What was looked up for one file. Apps are files: they are asked for on the way.
struct World {
    catalog: Arc<Catalog>,
    accounts: BTreeMap<String, Result<AccountFacts, Unknown>>,
    programs: BTreeMap<String, Result<ProgramFacts, Unknown>>,
}

impl Known for World {
    fn app(&self, slug: &str) -> Result<Arc<App>, Unknown> {
        match self.catalog.current(slug) {
            Ok(pinned) => Ok(pinned.app),
            Err(error) => Err(Unknown { message: error.to_string(), help: error.fix() }),
        }
    }

    fn account(&self, name: &str) -> Result<AccountFacts, Unknown> {
        found(&self.accounts, name, "account")
    }

    fn program(&self, path: &str) -> Result<ProgramFacts, Unknown> {
        found(&self.programs, path, "program")
    }
}

fn found<T: Clone>(known: &BTreeMap<String, Result<T, Unknown>>, name: &str, what: &str) -> Result<T, Unknown> {
    let missing = || Err(Unknown { message: format!("the {what} `{name}` was not looked up"), help: None });
    known.get(name).cloned().unwrap_or_else(missing)
}
