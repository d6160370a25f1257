//! What a declaration may say and rarely should: warnings, beyond the rules of [`validate`](crate::validate).
//!
//! A warning stands at its line. An author who means it says so in the file, with the reason:
//! `lint.allow = [{ rule = "no-test", reason = "the API has no request without side effects" }]`. A waiver that waives
//! nothing is a warning too, so that none outlives its cause. [`one`] looks at an app alone, [`catalogue`] at many, also
//! for apps that are the same twice.

mod duplicates;
mod links;
mod methods;
mod reach;
#[cfg(test)]
mod tests;
mod words;

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::source::reader::Fault;
use crate::source::{Problem, problems, waivers};
use crate::types::App;

/// All rules that a waiver can name.
pub const RULES: [&str; 12] = [
    "duplicate",
    "evidence-source",
    "host-suffixes",
    "http-link",
    "no-scopes",
    "no-test",
    "origin",
    "public-suffix",
    "summary",
    "test-reach",
    "test-writes",
    "unreachable-method",
];

/// An `app.toml` that was read without a problem.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// For the warnings.
    pub file: &'a str,
    pub text: &'a str,
    pub app: &'a App,
}

/// What one rule says, before waivers.
struct Warning {
    rule: &'static str,
    /// The keys that lead to it in the TOML, as far as they are known.
    keys: Vec<String>,
    message: String,
    help: Option<String>,
}

fn warning(rule: &'static str, keys: &[&str], message: impl Into<String>, help: impl Into<String>) -> Warning {
    let help = Some(help.into()).filter(|help| !help.is_empty());
    Warning { rule, keys: keys.iter().map(|key| (*key).to_owned()).collect(), message: message.into(), help }
}

/// The warnings about an app by itself, in the order of the text.
pub fn one(source: Source<'_>) -> Vec<Problem> {
    waived(source, alone(source.app), false)
}

/// The warnings about many apps, also about pairs of them.
pub fn catalogue<'a>(sources: impl IntoIterator<Item = Source<'a>>) -> Vec<Problem> {
    let sources: Vec<Source<'a>> = sources.into_iter().collect();
    let mut pairs = duplicates::find(&sources);
    let found = sources.iter().enumerate().map(|(at, source)| {
        let mut warnings = alone(source.app);
        warnings.extend(pairs.remove(&at).unwrap_or_default());
        waived(*source, warnings, true)
    });
    found.flatten().collect()
}

fn alone(app: &App) -> Vec<Warning> {
    let mut warnings = Vec::new();
    words::check(app, &mut warnings);
    links::check(app, &mut warnings);
    reach::check(app, &mut warnings);
    methods::check(app, &mut warnings);
    warnings
}

/// What is left after the waivers, and the waivers that were not needed. `pairs`: whether duplicates were looked for.
fn waived(source: Source<'_>, mut warnings: Vec<Warning>, pairs: bool) -> Vec<Problem> {
    let waivers = waivers::of(source.text);
    let mut faults = Vec::new();
    for waiver in &waivers {
        let before = warnings.len();
        warnings.retain(|warning| warning.rule != waiver.rule);
        if warnings.len() == before && (pairs || waiver.rule != "duplicate") {
            let message = format!("nothing here breaks the rule `{}` (unneeded-waiver)", waiver.rule);
            faults.push(Fault { span: waiver.span.clone(), message, help: Some("remove the waiver".into()) });
        }
    }
    if warnings.is_empty() && faults.is_empty() {
        return Vec::new();
    }
    let (root, _) = DeTable::parse_recoverable(source.text);
    for Warning { rule, keys, message, help } in warnings {
        let span = span(root.get_ref(), &keys);
        faults.push(Fault { span, message: format!("{message} ({rule})"), help });
    }
    problems(source.file, source.text, faults).0
}

/// Where the last of the keys that was written stands; the begin of the text when the first was not.
fn span(root: &DeTable<'_>, keys: &[String]) -> Range<usize> {
    let (mut table, mut span) = (root, 0..0);
    for key in keys {
        let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) else { break };
        span = name.span();
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    span
}
