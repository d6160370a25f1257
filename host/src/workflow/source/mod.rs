//! The workflow file: TOML in, a [`Workflow`] and the place of everything in it out.
//!
//! Read with the reader of `app.toml`, so both files have the same rules: unknown keys are errors with the nearest right
//! word, and as many faults as can be found are told at once. `docs/workflows.md` lists every key. What a text *means*
//! (expressions, accounts, props) is the next step's work, [`super::check`].

mod call;
mod step;
mod trigger;
mod value;

pub use value::child;

use std::collections::BTreeMap;
use std::ops::Range;

use deputy_declaration::source::reader::{Fault, Offsets, Reader, Table, entries};
use deputy_declaration::source::{Problem, problems};
use toml::de::DeTable;

use super::types::Workflow;

/// More is no file that a person wrote.
pub const MAX_FILE_BYTES: usize = 1 << 20;
const MAX_STEPS: usize = 200;
const MAX_CONCURRENCY: u32 = 1_000;

/// A file as it was read: what it says, and where it says so.
pub struct Source<'s> {
    reader: Reader<'s>,
    /// None: the text is no TOML.
    pub workflow: Option<Workflow>,
    /// Whether each step was read without a fault of its own; what it says of apps and accounts is held against the
    /// world only then.
    sound: Vec<bool>,
}

impl<'s> Source<'s> {
    /// Never fails: faults are kept, for [`Source::problems`].
    pub fn read(text: &'s str) -> Self {
        let mut reader = Reader::new(text);
        if text.len() > MAX_FILE_BYTES {
            reader.fault(
                0..0,
                format!("the file has {} bytes; a workflow may have {MAX_FILE_BYTES}", text.len()),
                None,
            );
            return Self { reader, workflow: None, sound: Vec::new() };
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            reader.fault(error.span().unwrap_or(0..0), error.message(), None);
        }
        if !errors.is_empty() {
            return Self { reader, workflow: None, sound: Vec::new() };
        }
        let root = entries(root.get_ref(), 0..0);
        let mut sound = Vec::new();
        let workflow = workflow(&mut reader, &root, &mut sound);
        Self { reader, workflow: Some(workflow), sound }
    }

    pub fn is_faultless(&self) -> bool {
        self.reader.faults.is_empty()
    }

    pub(super) fn is_sound(&self, step: usize) -> bool {
        self.sound.get(step).copied().unwrap_or(false)
    }

    /// Everything wrong so far, in the order of the text.
    pub fn problems(self, file: &str) -> Vec<Problem> {
        problems(file, self.reader.text, self.reader.faults).0
    }

    /// Where a field stands, or the nearest part around it that does: `steps[2].input.title`.
    pub(super) fn span(&self, path: &str) -> Range<usize> {
        self.reader.span_of(path)
    }

    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        // One mistake is told once, even where several texts share it.
        let message = message.into();
        if !self.reader.faults.iter().any(|fault| fault.span == span && fault.message == message) {
            self.reader.faults.push(Fault { span, message, help });
        }
    }

    /// The place of a part of a text, past the escapes that the file writes it with.
    pub(super) fn inside(&self, path: &str, text: &str, part: Range<usize>) -> Range<usize> {
        let whole = self.reader.span_of(path);
        let raw = self.reader.text.get(whole.clone()).unwrap_or_default();
        Offsets::new(raw, text, whole).span(part)
    }

    /// Line and column, both from 1, of a part of a field's text; for errors of a run, whose workflow has no file.
    pub fn place(&self, path: &str, text: &str, part: Range<usize>) -> (usize, usize) {
        let at = self.inside(path, text, part).start;
        let before = self.reader.text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

fn workflow(reader: &mut Reader<'_>, root: &Table<'_>, sound: &mut Vec<bool>) -> Workflow {
    reader.known(root, "a workflow", &["name", "summary", "concurrency", "trigger", "accounts", "steps"]);
    let name = reader.required(root, "the workflow", "name", "");
    if root.has("name") && !name.is_empty() && !is_name(&name) {
        let help = "use 1 to 60 of a-z, 0-9 and -, with no - at either end";
        reader.fault(reader.span_of("name"), format!("`{}` cannot name a workflow", short(&name)), Some(help.into()));
    } else if root.get("name").is_some_and(|value| value.get_ref().as_str() == Some("")) {
        reader.fault(reader.span_of("name"), "the name is empty", None);
    }
    let concurrency = root.get("concurrency").and_then(|value| {
        let number = reader.number::<u32>(value, "concurrency")?;
        if !(1..=MAX_CONCURRENCY).contains(&number) {
            reader.fault(value.span(), format!("`concurrency` is 1 to {MAX_CONCURRENCY}"), None);
        }
        Some(number)
    });
    let aliases = aliases(reader, root);
    let mut steps = Vec::new();
    match root.get("steps") {
        Some(value) => {
            let items = reader.list(value, "steps");
            if items.len() > MAX_STEPS {
                reader.fault(value.span(), format!("there are {} steps; the limit is {MAX_STEPS}", items.len()), None);
            }
            for item in items.iter().take(MAX_STEPS) {
                let before = reader.faults.len();
                let path = format!("steps[{}]", steps.len());
                reader.at(&*path, item.span());
                steps.push(step::step(reader, item, &path, &aliases, &steps));
                sound.push(reader.faults.len() == before);
            }
            if items.is_empty() && value.get_ref().is_array() {
                reader.fault(value.span(), "the workflow has no steps", None);
            }
        }
        None => {
            let help = "[[steps]]; name = \"first\"; script = \"first.js\"";
            reader.fault(0..0, "the workflow has no steps", Some(help.into()));
        }
    }
    Workflow {
        name,
        summary: reader.optional(root, "summary", ""),
        triggers: trigger::triggers(reader, root),
        steps,
        concurrency,
    }
}

/// A name of the file → the account it stands for, and where that is written.
type Aliases = BTreeMap<String, (String, Range<usize>)>;

fn aliases(reader: &mut Reader<'_>, root: &Table<'_>) -> Aliases {
    let mut aliases = Aliases::new();
    let Some(value) = root.get("accounts") else { return aliases };
    let Some(table) = reader.names(value, "accounts") else { return aliases };
    for entry in &table.entries {
        let path = value::child("accounts", entry.key);
        if let Some(name) = value::account(reader, entry.value, &path) {
            aliases.insert(entry.key.to_owned(), (name, entry.value.span()));
        }
    }
    aliases
}

fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 60 && name.bytes().all(letters) && !name.starts_with('-') && !name.ends_with('-') && !name.is_empty()
}

/// Text of the file for a message.
fn short(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}
