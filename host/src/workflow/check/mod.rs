//! The check before a workflow is deployed: everything that can be known without running it.
//!
//! Pure over [`Known`]: what apps, accounts and programs there are. All faults are told together, each at its place in
//! the file, with the way out. A workflow that passes may still fail in a run (a server's answer may lack a field), but
//! not for a reason that stood in its file.

mod names;
mod props;
mod steps;
mod texts;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::source::Problem;
use deputy_declaration::types::App;

use super::source::Source;
use super::types::Workflow;
use crate::ids::AccountId;
use crate::step::Prop;

/// What there is. The facade answers from catalog, accounts and files.
pub trait Known {
    /// The version that the slug stands for now.
    fn app(&self, slug: &str) -> Result<Arc<App>, Unknown>;
    /// By any of an account's names.
    fn account(&self, name: &str) -> Result<AccountFacts, Unknown>;
    /// By the path in the file, relative to it.
    fn program(&self, path: &str) -> Result<ProgramFacts, Unknown>;
}

/// Why there is nothing by that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    pub message: String,
    pub help: Option<String>,
}

#[derive(Debug, Clone)]
pub struct AccountFacts {
    pub id: AccountId,
    /// `app/nickname`
    pub name: String,
    /// The app's slug.
    pub app: String,
    /// None: nobody knows what was granted, as with a pasted key.
    pub scopes: Option<Vec<String>>,
    /// `https://host`
    pub origins: Vec<String>,
    /// The declaration that it keeps to.
    pub declaration: Arc<App>,
    /// Index into the declaration's methods.
    pub method: usize,
}

#[derive(Debug, Clone)]
pub struct ProgramFacts {
    /// SHA-256 in hex.
    pub hash: String,
    pub props: Vec<Prop>,
}

/// A workflow without a known fault.
#[derive(Debug, Clone)]
pub struct Checked {
    /// With the hashes of its programs.
    pub workflow: Workflow,
    /// For each step: prop → account.
    pub bindings: Vec<BTreeMap<String, AccountFacts>>,
}

/// Checks a file that was read. `file` stands in the problems; there is at least one where this fails.
pub fn check(mut source: Source<'_>, file: &str, known: &dyn Known) -> Result<Checked, Vec<Problem>> {
    let Some(mut workflow) = source.workflow.take() else { return Err(source.problems(file)) };
    let mut bindings = Vec::new();
    for index in 0..workflow.steps.len() {
        texts::check(&mut source, &workflow, index);
        bindings.push(match source.is_sound(index) {
            true => steps::check(&mut source, &mut workflow.steps[index], index, known),
            false => BTreeMap::new(),
        });
    }
    if source.is_faultless() { Ok(Checked { workflow, bindings }) } else { Err(source.problems(file)) }
}
