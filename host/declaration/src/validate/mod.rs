//! Everything about a declaration that its types cannot say.
//!
//! One list of rules for both ways in: `source` maps the findings to lines of an `app.toml`, the catalog shows them
//! with their field path for a component of any origin. A declaration without findings is safe to act on: every name
//! resolves, every pattern compiles, no value of an account can move a URL to another host, and secrets stand only in
//! rules. A declaration comes from a stranger, so sizes are bounded too.

mod actions;
mod calls;
mod category;
mod inputs;
mod logo;
mod method;
mod oauth2;
mod pagination;
mod place;
mod reach;
mod request;
mod rules;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use crate::template::{self, Fault, Name};
use crate::types::{App, Part};

pub use category::CATEGORIES;
pub use text::{is_header_name, is_host_owned_header, is_id, is_name, is_slug};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The field in the JSON form: `methods[0].rule-sets[0].rules[1].header.value[0]`. Empty: the whole declaration.
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "declaration" } else { &self.path };
        write!(f, "{path}: {}", self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// The largest declaration, in bytes of its JSON form.
pub const MAX_DECLARATION_BYTES: usize = 512 << 10;

/// The largest script of an action, in bytes.
pub const MAX_SCRIPT_BYTES: usize = 256 << 10;

/// The largest logo, in bytes.
pub const MAX_LOGO_BYTES: usize = 16 << 10;

/// All broken rules, in the order of the declaration; empty when it is sound.
pub fn validate(app: &App) -> Vec<Finding> {
    let mut check = Check { app, findings: Vec::new() };
    text::texts(&mut check);
    identity(&mut check);
    logo::logo(&mut check);
    inputs::inputs(&mut check);
    method::methods(&mut check);
    reach::base_and_reach(&mut check);
    reach::headers(&mut check);
    reach::test(&mut check);
    reach::signals(&mut check);
    pagination::pagination(&mut check);
    actions::actions(&mut check);
    check.findings
}

/// The names besides the inputs that a template may mention.
#[derive(Debug, Clone, Copy)]
struct Known<'n> {
    tokens: &'n [&'n str],
    host: &'n [&'n str],
}

/// Inputs alone.
const PUBLIC: Known<'static> = Known { tokens: &[], host: &[] };

/// The findings so far, and the words to add one.
struct Check<'a> {
    app: &'a App,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn fail(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding { path: path.into(), message: message.into(), help: None });
    }

    fn fail_with(&mut self, path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Finding { path: path.into(), message: message.into(), help: Some(help.into()) });
    }

    /// The same name twice, compared by `key`.
    fn unique<K: Ord + fmt::Display>(&mut self, what: &str, names: impl IntoIterator<Item = (String, K)>) {
        let mut seen: BTreeMap<K, String> = BTreeMap::new();
        for (path, name) in names {
            if let Some(first) = seen.get(&name) {
                let message = format!("the {what} `{name}` is declared twice, first at {first}");
                self.fail(path, message);
            } else {
                seen.insert(name, path);
            }
        }
    }

    /// Every name of the template is declared.
    fn declared(&mut self, path: &str, template: &[Part], known: Known<'_>) -> bool {
        let inputs: Vec<&str> = self.app.inputs.iter().map(|input| input.name.as_str()).collect();
        let mut sound = true;
        for (index, part) in template.iter().enumerate() {
            let (known, what, name) = match part {
                Part::Text(_) => continue,
                Part::Input(placeholder) => (&inputs[..], "input", &placeholder.name),
                Part::Token(placeholder) => (known.tokens, "token", &placeholder.name),
                Part::Host(placeholder) => (known.host, "value of the host", &placeholder.name),
            };
            if !known.contains(&name.as_str()) {
                sound = false;
                let help = crate::suggest::nearest(name, known.iter().copied())
                    .map(|near| format!("did you mean `{{{near}}}`?"))
                    .or_else(|| (!known.is_empty()).then(|| format!("declared: {}", known.join(", "))));
                let message = format!("`{{{name}}}` names no {what} that is declared here");
                let path = format!("{path}[{index}]");
                self.findings.push(Finding { path, message, help });
            }
        }
        sound
    }

    /// A template that becomes a URL.
    fn url<'t>(&mut self, path: &str, template: &'t [Part]) -> Option<template::Authority<'t>> {
        // A secret is reported by `shape`, declared or not.
        let public: Vec<Part> = template.iter().filter(|part| !matches!(part, Part::Token(_))).cloned().collect();
        if public.len() == template.len() && !self.declared(path, template, PUBLIC) {
            return None;
        }
        match template::shape(template, &self.app.inputs) {
            Err(Fault { part, message, help }) => {
                let path = part.map_or(path.to_owned(), |part| format!("{path}[{part}]"));
                self.findings.push(Finding { path, message, help });
                None
            }
            Ok(authority) => {
                if let Some((message, help)) = reach::form(self.app, template) {
                    self.findings.push(Finding { path: path.to_owned(), message, help });
                    return None;
                }
                Some(authority)
            }
        }
    }

    fn pointer(&mut self, path: &str, pointer: &str) {
        if !text::is_pointer(pointer) {
            let help = if pointer.starts_with('/') {
                "`~` is written `~0`, `/` within a name `~1`".to_owned()
            } else {
                format!("write `/{}`", pointer.trim_start_matches("$.").replace('.', "/"))
            };
            self.fail_with(path, format!("`{pointer}` is no JSON Pointer (RFC 6901)"), help);
        }
    }

    fn link(&mut self, path: &str, link: Option<&str>) {
        if let Some(link) = link
            && !url::Url::parse(link)
                .is_ok_and(|url| url.scheme() == "https" && url.domain().is_some_and(|domain| domain.contains('.')))
        {
            self.fail(path, format!("`{link}` is no https link"));
        }
    }

    /// A short text that people read.
    fn words(&mut self, path: &str, what: &str, text: &str, limit: usize) {
        if text.trim().is_empty() {
            self.fail(path, format!("the {what} is empty"));
        } else if text.chars().count() > limit {
            self.fail(path, format!("the {what} is longer than {limit} characters"));
        }
    }

    fn pattern(&mut self, path: &str, pattern: &str) {
        if let Err(reason) = template::whole(pattern) {
            self.fail(path, format!("the pattern does not compile: {reason}"));
        }
    }
}

fn identity(check: &mut Check<'_>) {
    let app = check.app;
    if !is_slug(&app.slug) {
        let message = format!("`{}` is no slug: 1 to 40 of a-z, 0-9 and hyphens between them", app.slug);
        check.fail("slug", message);
    }
    check.words("name", "name", &app.name, 80);
    check.words("summary", "summary", &app.summary, 300);
    for (index, category) in app.categories.iter().enumerate() {
        if !CATEGORIES.contains(&category.as_str()) {
            let help = crate::suggest::nearest(category, CATEGORIES)
                .map_or_else(|| format!("one of {}", CATEGORIES.join(", ")), |near| format!("did you mean `{near}`?"));
            check.fail_with(format!("categories[{index}]"), format!("`{category}` is no category"), help);
        }
    }
    let names = app.categories.iter().enumerate().map(|(at, category)| (format!("categories[{at}]"), category));
    check.unique("category", names);
    for (path, link) in [("homepage", &app.homepage), ("docs", &app.docs)] {
        check.link(path, link.as_deref());
    }
    if app.evidence.date.parse::<text::Day>().is_err() {
        check.fail_with("evidence.date", format!("`{}` is no day", app.evidence.date), "write it as 2026-11-23");
    }
    if app.evidence.source.trim().is_empty() {
        check.fail("evidence.source", "the source is empty: say where the facts come from");
    }
}

/// The tokens a template mentions.
fn token_names(template: &[Part]) -> impl Iterator<Item = &str> {
    template::names(template).filter_map(|name| match name {
        Name::Token(name) => Some(name),
        Name::Input(_) | Name::Host(_) => None,
    })
}

#[cfg(test)]
mod tests;
