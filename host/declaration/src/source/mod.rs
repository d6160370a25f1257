//! `app.toml`: the form in which a person writes a declaration.
//!
//! The author's form is shorter than the declaration: templates are strings, lists of names are tables, and what most
//! apps share is a default. `docs/app-toml.md` lists every key. Every mistake is told at its line and column, with the
//! nearest right word, and as many as can be found at once.

mod actions;
mod app;
mod beside;
mod calls;
mod exchange;
mod family;
mod inputs;
mod json;
mod marker;
mod method;
mod oauth2;
mod pagination;
mod placeholder;
pub mod reader;
mod request;
mod rules;
mod signals;
mod tokens;
pub(crate) mod waivers;

use std::fmt;
use std::ops::Range;

use crate::types::App;
use crate::validate::validate;

pub use beside::{Beside, FIXTURES};
pub use pagination::next as next_page;
use reader::Reader;

/// One mistake in an `app.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In bytes of the text.
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n  help: {help}"))
    }
}

/// All mistakes found, in the order of the text. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Problems {
    pub fn code(&self) -> &'static str {
        "app_source_invalid"
    }
}

/// Reads and validates an `app.toml` that stands alone. `file_name` only stands in the problems.
pub fn parse(file_name: &str, text: &str) -> Result<App, Problems> {
    parse_with(file_name, text, &Beside::default())
}

/// As [`parse`], with what stands beside it: scripts, the logo, the family.
pub fn parse_with(file_name: &str, text: &str, beside: &Beside) -> Result<App, Problems> {
    let family = beside.family_text();
    let texts = family::Texts::new(text, family.map(|(_, text)| text));
    let mut reader = Reader::new(&texts.whole);
    let app = app::read(&mut reader, &texts, beside);
    if reader.faults.is_empty()
        && let Some(app) = &app
    {
        for finding in validate(app) {
            let span = reader.span_of(&finding.path);
            reader.faults.push(reader::Fault { span, message: finding.message, help: finding.help });
        }
    }
    match app {
        Some(app) if reader.faults.is_empty() => Ok(app),
        _ => Err(placed(file_name, text, family, texts.split(reader.faults))),
    }
}

/// Where the field at this path was written, or the nearest part around it: `app.toml:12:1`. A path is that of a
/// [`Finding`](crate::validate::Finding): `methods[0].revoke[0]`.
pub fn locate(file_name: &str, text: &str, beside: &Beside, path: &str) -> Option<String> {
    let family = beside.family_text();
    let texts = family::Texts::new(text, family.map(|(_, text)| text));
    let mut reader = Reader::new(&texts.whole);
    app::read(&mut reader, &texts, beside)?;
    let fault = reader::Fault { span: reader.span_of(path), message: String::new(), help: None };
    let problem = placed(file_name, text, family, texts.split(vec![fault])).0.pop()?;
    Some(format!("{}:{}:{}", problem.file, problem.line, problem.column))
}

fn placed(
    file_name: &str,
    text: &str,
    family: Option<(&str, &str)>,
    (own, of_family): (Vec<reader::Fault>, Vec<reader::Fault>),
) -> Problems {
    let mut all = problems(file_name, text, own);
    if let Some((file, text)) = family {
        all.0.extend(problems(file, text, of_family).0);
    }
    all
}

/// The faults with their places in the text, in its order.
pub fn problems(file_name: &str, text: &str, mut faults: Vec<reader::Fault>) -> Problems {
    faults.sort_by_key(|fault| fault.span.start);
    let place = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    };
    let problem = |fault: reader::Fault| {
        let (line, column) = place(fault.span.start);
        let reader::Fault { span, message, help } = fault;
        Problem { file: file_name.to_owned(), line, column, span, message, help }
    };
    Problems(faults.into_iter().map(problem).collect())
}

#[cfg(test)]
pub(crate) mod tests;
